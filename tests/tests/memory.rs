//! Memory stays bounded however many files there are.

use std::fs;

use modiolus_tests::{Finished, Table, modiolus, scans};

/// What is promised for indexing and filtering.
const MOST_KIB: u64 = 150 * 1024;

#[test]
fn five_thousand_files_take_less_than_150_mb() {
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output] = ["scans", "output"].map(|name| folder.path().join(name));
    let axial = folder.path().join("axial");
    let mut slice = scans::coronal(0, 400);
    slice.orientation = Some(scans::AXIAL);
    scans::write(&axial, &scans::file(&slice));
    for patient in 0..10 {
        let place = delivery.join(patient.to_string());
        for number in 0..10 {
            let path = place.join(format!("C{number}"));
            scans::write(&path, &scans::file(&scans::coronal(patient * 10 + number, 400)));
        }
        // Links share their bytes on the disk; for a reader each is a file.
        (0..490).for_each(|number| fs::hard_link(&axial, place.join(format!("A{number}"))).unwrap());
    }
    let run = Finished::success(
        modiolus().arg("run").arg(&delivery).args(["--until", "filter", "--output"]).arg(&output),
    );
    let table = Table::read(&output).none_failed();
    assert_eq!((table.rows().len(), table.kept().len()), (5000, 100));
    assert!(run.peak_kib > 0 && run.peak_kib < MOST_KIB, "{} KiB", run.peak_kib);
}
