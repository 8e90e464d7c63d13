//! A real head CT without an implant: 108 axial slices.

use modiolus_tests::{Finished, Table, modiolus, scans};

fn kept(plane: &str) -> Option<usize> {
    let head = scans::real("head-ct")?;
    let folder = tempfile::tempdir().unwrap();
    let mut command = modiolus();
    command
        .arg("run")
        .arg(&head)
        .args(["--until", "filter", "--json", "--plane", plane, "--output"])
        .arg(folder.path());
    let summary = Finished::success(&mut command).json();
    let table = Table::read(folder.path()).none_failed();
    assert_eq!((table.rows().len(), &summary["counts"]["files"]), (108, &108.into()));
    assert_eq!(summary["counts"]["kept"], table.kept().len());
    let refused = table.with_verdict("refused");
    assert!(refused.iter().all(|row| row["reason"] == "other-plane" && row["plane"] == "axial"));
    Some(table.kept().len())
}

#[test]
fn none_is_kept_under_coronal() {
    assert!(kept("coronal").is_none_or(|slices| slices == 0));
}

#[test]
fn all_are_kept_under_axial_by_name_or_by_cosines() {
    assert!(kept("axial").is_none_or(|slices| slices == 108));
    assert!(kept("1,0,0,0,1,0").is_none_or(|slices| slices == 108));
}
