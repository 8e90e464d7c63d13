//! What others rely on in an export.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;
use dicom_object::open_file;
use modiolus_imaging::png::{decode_grey, decode_mask};
use modiolus_phantom::{ExportOptions, PhantomError, Summary, export};
use serde_json::Value;

fn make(root: &Path, patients: usize, files: usize, seed: u64) -> (Summary, PathBuf, PathBuf) {
    let (output, truth) = (root.join("scans"), root.join("truth"));
    let options = ExportOptions { patients, files, seed, output: &output, truth: Some(&truth) };
    (export(&options).expect("a temporary folder can be written to"), output, truth)
}

fn all_files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder just made").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.path(), fs::read(entry.path()).expect("a file just made"));
            }
        }
    }
    found
}

#[test]
fn a_seed_gives_the_same_files_again() {
    let (a, b) = (tempfile::tempdir().expect("temporary"), tempfile::tempdir().expect("temporary"));
    make(a.path(), 2, 22, 9);
    make(b.path(), 2, 22, 9);
    let strip = |root: &Path| -> BTreeMap<PathBuf, Vec<u8>> {
        let short = |path: PathBuf| path.strip_prefix(root).map(Path::to_path_buf).unwrap_or(path);
        all_files(root).into_iter().map(|(path, bytes)| (short(path), bytes)).collect()
    };
    assert_eq!(strip(a.path()), strip(b.path()));
}

#[test]
fn an_export_has_the_files_asked_for_and_truth_for_its_coronal_slices() {
    let root = tempfile::tempdir().expect("temporary");
    let (summary, output, truth) = make(root.path(), 2, 60, 1);
    assert_eq!(summary.files, 120);
    assert_eq!(all_files(&output).len(), 120);
    assert!((9..=12).contains(&(summary.coronal / 2)) && summary.with_array >= 8);
    let known: Value =
        serde_json::from_slice(&fs::read(truth.join("truth.json")).expect("written")).expect("JSON");
    let images = known["images"].as_object().expect("an object");
    assert_eq!(images.len(), summary.coronal);
    let mut copies = 0;
    for (key, image) in images {
        let file = open_file(output.join(image["path"].as_str().expect("a path"))).expect("readable");
        let number = |tag| file.element(tag).expect("present").to_int::<u64>().expect("a number");
        assert_eq!(image["rows"], number(tags::ROWS));
        assert_eq!(image["cols"], number(tags::COLUMNS));
        let read = |path: String| fs::read(truth.join(path)).expect("written");
        let mask = decode_mask(&read(format!("masks/{key}_mask.png"))).expect("a mask");
        let picture = decode_grey(&read(format!("images/{key}.png"))).expect("a picture");
        assert_eq!(mask.size(), picture.size());
        assert_eq!(mask.size(), (number(tags::ROWS) as usize, number(tags::COLUMNS) as usize));
        assert_eq!(image["electrode_px"], mask.values().iter().filter(|&&set| set).count());
        let orientation = file.element(tags::IMAGE_ORIENTATION_PATIENT).expect("present");
        let rounded: Vec<i64> = orientation
            .to_multi_float64()
            .expect("numbers")
            .iter()
            .map(|c| (c * 10.0).round() as i64)
            .collect();
        assert_eq!(rounded, [10, 0, 0, 0, 0, -10]);
        if let Some(original) = image["same_picture_as"].as_str() {
            copies += 1;
            assert_eq!(read(format!("images/{key}.png")), read(format!("images/{original}.png")));
        }
    }
    assert_eq!(copies, 2);
}

#[test]
fn uids_are_unique_and_a_patient_has_one_study() {
    let root = tempfile::tempdir().expect("temporary");
    let (_, output, _) = make(root.path(), 2, 26, 4);
    let (mut instances, mut studies) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
    for path in all_files(&output).keys() {
        // Truncated files and junk don't open; that is what they are for.
        let Ok(file) = open_file(path) else { continue };
        let read = |tag| file.element(tag).expect("present").to_str().expect("text").trim().to_owned();
        instances.push(read(tags::SOP_INSTANCE_UID));
        studies.entry(read(tags::PATIENT_ID)).or_default().push(read(tags::STUDY_INSTANCE_UID));
    }
    let count = instances.len();
    assert!(count > 35, "{count} files are readable");
    instances.sort();
    instances.dedup();
    assert_eq!(instances.len(), count);
    assert_eq!(studies.len(), 2);
    assert!(studies.values_mut().all(|uids| {
        uids.dedup();
        uids.len() == 1
    }));
}

#[test]
fn too_much_or_nothing_is_refused_and_named() {
    let root = tempfile::tempdir().expect("temporary");
    for (patients, files) in [(0, 10), (10_001, 10), (1, 0), (1, 100_001)] {
        let options = ExportOptions { patients, files, seed: 0, output: root.path(), truth: None };
        assert!(matches!(export(&options), Err(PhantomError::Limit { .. })), "{patients} {files}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let root = tempfile::tempdir().expect("temporary");
    let file = root.path().join("taken");
    fs::write(&file, b"").expect("temporary");
    let options = ExportOptions { patients: 1, files: 3, seed: 0, output: &file, truth: None };
    let message = export(&options).expect_err("a file is in the way").to_string();
    assert!(message.contains("taken"), "{message}");
}

#[test]
fn small_exports_have_exactly_the_files_asked_for() {
    for files in [1, 5, 13, 30] {
        let root = tempfile::tempdir().expect("temporary");
        let (summary, output, _) = make(root.path(), 1, files, 2);
        assert_eq!((summary.files, all_files(&output).len()), (files, files));
        assert!(summary.coronal > 0);
    }
}
