//! A real export of two patients, with all the junk that was in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use modiolus_tests::results::{self, Row, Table, files_below, snapshot};
use modiolus_tests::{Finished, modiolus, scans};
use serde_json::Value;

#[test]
fn five_coronal_slices_are_kept_and_everything_else_is_named() {
    let Some(cbct) = scans::real("cbct") else { return };
    let Some(truth) = scans::real("cbct-truth") else { return };
    let truth: Value = serde_json::from_slice(&fs::read(truth.join("truth.json")).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let before = snapshot(&cbct);
    let run = Finished::success(
        modiolus().arg("run").arg(&cbct).arg("--output").arg(folder.path()).arg("--keep-patient-ids"),
    );
    assert!(run.stderr.contains("5 slices kept"), "{run}");
    assert_eq!(snapshot(&cbct), before, "scans are never written to");

    let table = Table::read(folder.path()).none_failed();
    let delivered: BTreeSet<String> = before.keys().map(|path| path.display().to_string()).collect();
    assert_eq!(table.rows().iter().map(|row| row["path"].clone()).collect::<BTreeSet<_>>(), delivered);

    let images: Vec<&Value> = truth["images"].as_object().unwrap().values().collect();
    let wanted: BTreeSet<&str> = images.iter().map(|image| image["path"].as_str().unwrap()).collect();
    assert_eq!(table.kept().into_iter().collect::<BTreeSet<_>>(), wanted);
    for image in &images {
        kept_as_it_should(folder.path(), table.row(image["path"].as_str().unwrap()), image, &truth);
    }
    junk_is_named(&table);
    patients_share_pictures(folder.path());
    nothing_else_is_left(folder.path());
    page_needs_no_network(folder.path());
    identity_is_gone(folder.path());
}

fn kept_as_it_should(output: &Path, row: &Row, image: &Value, truth: &Value) {
    let path = row["path"].as_str();
    let (patient, stem) = (path.split('/').nth(1).unwrap(), path.rsplit('/').next().unwrap());
    assert_eq!((row["patient"].as_str(), row["plane"].as_str()), (patient, "coronal"), "{path}");
    assert_eq!(row["sop_instance"], image["sop_instance"].as_str().unwrap());
    assert_eq!((row["rows"].as_str(), row["columns"].as_str()), ("256", "256"));
    let original =
        image["same_picture_as"].as_str().map(|name| truth["images"][name]["path"].as_str().unwrap());
    assert_eq!(row["duplicate_of"], original.unwrap_or_default(), "{path}");
    let score: f64 = row["array_score"].parse().unwrap();
    assert!((0.0..=1.0).contains(&score), "{path}: {score}");

    let of = |kind: &str, ending: &str| output.join(kind).join(patient).join(format!("{stem}.{ending}"));
    assert_eq!(results::picture(&of("images", "png")), (256, 256));
    let (rows, columns, electrode) = results::mask(&of("masks", "png"));
    assert_eq!((rows, columns, electrode.to_string()), (256, 256, row["electrode_px"].clone()), "{path}");
    assert!(of("overlays", "png").is_file());
    let shown = Finished::success(modiolus().args(["inspect", "--json"]).arg(of("slices", "dcm"))).json();
    assert_eq!(
        (&shown[0]["plane"], &shown[0]["rows"], &shown[0]["has_pixels"]),
        (&"coronal".into(), &256.into(), &true.into())
    );
}

fn junk_is_named(table: &Table) {
    let mut reasons: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for row in table.with_verdict("refused") {
        let name = row["path"].strip_prefix("200-210/").unwrap().replace("/DICOM", "");
        reasons.entry(row["reason"].as_str()).or_default().insert(name);
    }
    let both = |names: &[&str]| -> BTreeSet<String> {
        names.iter().flat_map(|name| [format!("207/{name}"), format!("208/{name}")]).collect()
    };
    let axial: Vec<String> = (1001..=1012).map(|number| format!("I000{number}")).collect();
    let mut other_planes = vec!["I0000900", "I0000901"];
    other_planes.extend(axial.iter().map(String::as_str));
    assert_eq!(reasons["not-dicom"], both(&["notes.txt"]));
    assert_eq!(reasons["empty"], both(&["I0000905"]));
    assert_eq!(reasons["no-pixels"], both(&["I0000902", "I0000903"]));
    assert_eq!(reasons["report-page"], both(&["I0000904"]));
    assert_eq!(reasons["other-plane"], both(&other_planes));
    let forks: Vec<&str> = table
        .rows()
        .iter()
        .filter(|row| row["reason"] == "apple-double")
        .map(|row| row["path"].as_str())
        .collect();
    assert!(forks.iter().all(|path| path.contains("/._") || path.ends_with("/.DS_Store")), "{forks:?}");
    assert_eq!((forks.len(), reasons.len()), (13, 6), "{reasons:?}");

    for (name, plane) in [("I0000900", "sagittal"), ("I0000901", "oblique"), ("I0001001", "axial")] {
        let row = table.row(&format!("200-210/207/DICOM/{name}"));
        assert_eq!(row["plane"], plane, "{name}");
        assert!(row["detail"].contains(plane), "{name}: {}", row["detail"]);
    }
}

fn patients_share_pictures(output: &Path) {
    let summary: Value = serde_json::from_slice(&fs::read(output.join("summary.json")).unwrap()).unwrap();
    let shared = &summary["shared_pictures"];
    assert_eq!(shared.as_array().map(Vec::len), Some(1), "{shared}");
    assert_eq!(
        (&shared[0]["patients"], &shared[0]["pictures"]),
        (&serde_json::json!(["207", "208"]), &2.into())
    );
    assert_eq!((&summary["counts"]["kept"], &summary["counts"]["duplicates"]), (&5.into(), &2.into()));
    assert_eq!(summary["files"].as_array().map(Vec::len), Some(56));
}

fn nothing_else_is_left(output: &Path) {
    let files: Vec<_> =
        files_below(output).into_iter().filter(|path| !path.starts_with(".modiolus")).collect();
    assert_eq!(files.len(), 3 + 5 * 5, "{files:?}");
    assert_eq!(files.iter().filter(|path| path.starts_with("segmentations")).count(), 5, "{files:?}");
}

fn page_needs_no_network(output: &Path) {
    let page = fs::read_to_string(output.join("index.html")).unwrap();
    for address in ["http://", "https://", "src=\"//", "href=\"//", "@import"] {
        assert!(!page.contains(address), "index.html refers to {address}");
    }
    for part in ["report-page", "notes.txt", "no-pixels"] {
        assert!(page.contains(part), "index.html does not say {part}");
    }
    let links = results::links(&page);
    let pictures = links.iter().filter(|link| link.starts_with("overlays") || link.starts_with("images"));
    assert_eq!(pictures.count(), 5 * 2, "{links:?}");
    assert!(links.iter().all(|link| output.join(link).is_file()), "{links:?}");
}

/// The slices are for passing on: even with --keep-patient-ids nothing inside them says whose they are.
fn identity_is_gone(output: &Path) {
    let source = fs::read_to_string(output.join("summary.csv")).unwrap();
    assert!(source.contains("1.2.826.0.1.3680043.8.498.96024056254315427489481902432284193161"));
    for path in files_below(&output.join("slices")) {
        let bytes = fs::read(output.join("slices").join(&path)).unwrap();
        // The root of all UIDs of the source, and the elements that name the patient.
        assert!(!contains(&bytes, b"1.2.826.0.1.3680043.8.498."), "{}", path.display());
        for (vr, element) in [(b"PN", 0x0010_u16), (b"LO", 0x0020)] {
            let head = [&[0x10, 0x00][..], &element.to_le_bytes(), vr].concat();
            let Some(at) = bytes.windows(6).position(|window| window == head) else { continue };
            let length = usize::from(u16::from_le_bytes([bytes[at + 6], bytes[at + 7]]));
            let value = String::from_utf8_lossy(&bytes[at + 8..at + 8 + length]).into_owned();
            assert!(!["207", "208"].contains(&value.trim()), "{}: {value}", path.display());
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn pseudonyms_hide_patients_by_default_and_stay_the_same_in_a_store() {
    let Some(cbct) = scans::real("cbct") else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = || {
        Finished::success(
            modiolus().arg("run").arg(&cbct).args(["--until", "filter", "--output"]).arg(folder.path()),
        );
        Table::read(folder.path())
    };
    let table = run();
    let patient = |table: &Table, path: &str| table.row(path)["patient"].clone();
    let (one, other) = ("200-210/207/DICOM/I0000613", "200-210/208/DICOM/I0000616");
    assert_ne!(patient(&table, one), patient(&table, other));
    for row in table.rows() {
        assert!(!["207", "208"].contains(&row["patient"].as_str()), "{}", row["patient"]);
        assert!(
            !row["series"].starts_with("1.2.826.") && !row["sop_instance"].starts_with("1.2.826."),
            "{row:?}"
        );
    }
    fs::remove_file(folder.path().join("summary.csv")).unwrap();
    assert_eq!(patient(&run(), one), patient(&table, one));
}
