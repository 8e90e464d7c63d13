//! Slices that show the same, under one patient or several.

use std::fs;

use modiolus_dicom::write::{CtImage, Syntax};
use modiolus_tests::{Finished, Table, modiolus, scans};
use serde_json::Value;

#[test]
fn equal_values_are_one_picture_however_they_are_stored_and_blank_ones_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output] = ["scans", "output"].map(|name| folder.path().join(name));
    let slice = scans::coronal(1, 64);
    let blank = CtImage { pixels: vec![0; 64 * 64], ..scans::coronal(2, 64) };
    for patient in ["A", "B"] {
        let of = |image: &CtImage| CtImage { patient_id: patient.into(), ..image.clone() };
        scans::write(&delivery.join(format!("{patient}/blank")), &scans::file(&of(&blank)));
        let mut slice = of(&slice);
        let syntax = match patient {
            "A" => Syntax::ImplicitLittle,
            _ => {
                // The same values, by another intercept and in the other order of bytes.
                slice.pixels.iter_mut().for_each(|pixel| *pixel += 24);
                slice.rescale_intercept -= 24.0;
                Syntax::ExplicitBig
            }
        };
        scans::write(&delivery.join(format!("{patient}/slice")), &slice.to_bytes(syntax));
    }
    Finished::success(
        modiolus()
            .arg("run")
            .arg(&delivery)
            .args(["--until", "filter", "--keep-patient-ids", "--output"])
            .arg(&output),
    );
    let table = Table::read(&output).none_failed();
    assert_eq!(table.kept().len(), 4);
    for (path, same) in [("A/blank", ""), ("A/slice", ""), ("B/blank", ""), ("B/slice", "A/slice")] {
        assert_eq!(table.row(path)["duplicate_of"], same, "{path}");
    }
    let summary: Value = serde_json::from_slice(&fs::read(output.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["shared_pictures"], serde_json::json!([{ "patients": ["A", "B"], "pictures": 1 }]));
}
