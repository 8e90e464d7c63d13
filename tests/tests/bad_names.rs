//! Names that mean harm or are merely unusual: they stay names.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use modiolus_dicom::write::CtImage;
use modiolus_tests::{Finished, Table, files_below, modiolus, results, scans};

fn entries(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

/// The report: whatever the names, its links lead to files that are there.
#[track_caller]
fn page_with_good_links(output: &Path) -> String {
    let page = fs::read_to_string(output.join("index.html")).unwrap();
    for link in results::links(&page) {
        assert!(output.join(&link).is_file(), "index.html: {}", link.display());
    }
    page
}

#[test]
fn no_patient_id_leads_out_of_the_output() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("a/b/c");
    let [delivery, output] = ["scans", "output"].map(|name| place.join(name));
    let long = "x".repeat(10_000);
    let ids = [
        "../../escaped",
        "/escaped",
        "a/b",
        "a\0b",
        "..",
        ".",
        "",
        "~",
        "Иванов Иван",
        &long,
        "-rf",
        "a\nb",
        "CON",
        "<script>alert(1)</script>",
    ];
    for (number, id) in (1..).zip(ids) {
        let image = CtImage {
            patient_id: id.to_owned(),
            patient_name: "Сидоров^Пётр".into(),
            ..scans::coronal(number, 48)
        };
        scans::write(&delivery.join(format!("I{number:02}")), &scans::file(&image));
    }
    let mut command = modiolus();
    command.arg("run").arg(&delivery).arg("--output").arg(&output).arg("--keep-patient-ids");
    let run = Finished::success(&mut command);

    let table = Table::read(&output).none_failed();
    let patients: BTreeSet<&str> =
        table.rows().iter().map(|row| row["patient"].as_str()).filter(|id| !id.is_empty()).collect();
    let kept: Vec<_> = table.with_verdict("kept");
    assert!(kept.len() >= ids.len() - 2, "a strange id is no reason to refuse a slice: {run}");
    for patient in &patients {
        assert!(!patient.starts_with('.') && patient.len() < 100, "{patient}");
        assert!(patient.chars().all(|c| c.is_ascii_graphic() && !"/<>\"'&\\".contains(c)), "{patient}");
    }
    assert!(patients.len() >= kept.len() - 1, "different ids stay different: {patients:?}");
    assert_eq!(
        entries(&output.join("masks")).len(),
        kept.iter().map(|row| &row["patient"]).collect::<BTreeSet<_>>().len()
    );
    for (folder, inside) in
        [(folder.path(), "a"), (&folder.path().join("a"), "b"), (&folder.path().join("a/b"), "c")]
    {
        assert_eq!(entries(folder), BTreeSet::from([inside.to_owned()]));
    }
    assert_eq!(entries(&place), BTreeSet::from(["output".to_owned(), "scans".to_owned()]));
    let page = page_with_good_links(&output);
    assert!(!page.contains("<script>alert"), "the page escapes what it shows");
    assert!(!run.stderr.contains("Иванов") && !run.stderr.contains("Сидоров"), "{run}");
}

#[test]
fn no_identity_is_kept_where_none_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output] = ["scans", "output"].map(|name| folder.path().join(name));
    for number in 1..=2 {
        let image = CtImage {
            patient_id: "ID-77-4711".into(),
            patient_name: "Mustermann^Erika".into(),
            ..scans::coronal(number, 48)
        };
        scans::write(&delivery.join(format!("I{number}")), &scans::file(&image));
    }
    let run = Finished::success(modiolus().arg("run").arg(&delivery).arg("--output").arg(&output));
    // The buckets for what people may see, and everything that is copied out; `incoming` alone may hold identity.
    let open = files_below(&output).into_iter().filter(|path| !path.starts_with(".modiolus/incoming"));
    for path in open {
        let bytes = fs::read(output.join(&path)).unwrap();
        for secret in ["ID-77-4711", "Mustermann", "2.25.1000.", "2.25.1001"] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found && !path.to_string_lossy().contains(secret), "{secret} is in {}", path.display());
        }
    }
    assert!(!run.stderr.contains("4711") && !run.stdout.contains("4711"), "{run}");
}

#[test]
fn every_file_name_that_a_disk_can_hold_has_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output] = ["scans", "output"].map(|name| folder.path().join(name));
    let long = "n".repeat(255);
    let names: [&[u8]; 11] = [
        b"plain.dcm",
        b"PLAIN.DCM",
        b"-rf",
        b"a b,c\"d;e",
        b"new\nline",
        b"latin1-\xE4\xFF",
        "снимок".as_bytes(),
        long.as_bytes(),
        b"<b>.dcm",
        b"100%.dcm",
        b"..dcm",
    ];
    for (number, name) in (1..).zip(names) {
        scans::write(
            &delivery.join("деталь 1").join(OsStr::from_bytes(name)),
            &scans::file(&scans::coronal(number, 32)),
        );
    }
    Finished::success(
        modiolus().arg("run").arg(&delivery).args(["--keep-patient-ids", "--output"]).arg(&output),
    );
    let table = Table::read(&output).none_failed();
    assert_eq!((table.rows().len(), table.kept().len()), (names.len(), names.len()));
    assert_eq!(files_below(&output.join("slices")).len(), names.len(), "no slice overwrites another");
    assert_eq!(files_below(&output.join("masks")).len(), names.len());
    assert!(output.join("masks/4711/plain.png").is_file());
    assert!(!page_with_good_links(&output).contains("<b>.dcm"));
}

#[test]
fn a_file_that_is_named_for_its_patient_gives_its_name_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output, kept] = ["scans", "output", "kept"].map(|name| folder.path().join(name));
    let names: [&[u8]; 5] = [b"MUSTERMANN_3.dcm", b"ct jorg 4", b"I5", b"0004711-6.dcm", b"ct J\xD6RG 7"];
    for (number, name) in (3..).zip(names) {
        let image = CtImage {
            patient_name: "Mustermann^Jörg".into(),
            series_number: 7,
            ..scans::coronal(number, 48)
        };
        scans::write(&delivery.join(OsStr::from_bytes(name)), &scans::file(&image));
    }
    let run = |output: &Path, more: &[&str]| {
        let mut command = modiolus();
        command.arg("run").arg(&delivery).args(["--until", "filter", "--output"]).arg(output).args(more);
        Finished::success(&mut command);
        files_below(&output.join("slices"))
            .into_iter()
            .filter_map(|path| path.file_stem().map(OsStr::to_owned))
            .map(|stem| stem.into_string().unwrap())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(run(&output, &[]), ["7_3", "7_4", "I5", "7_6", "7_7"].map(str::to_owned).into());
    for path in files_below(&output) {
        let path = path.to_string_lossy().to_lowercase();
        assert!(!["mustermann", "jorg", "j_d6rg", "4711"].iter().any(|part| path.contains(part)), "{path}");
    }
    assert!(run(&kept, &["--keep-patient-ids"]).contains("MUSTERMANN_3"));
}
