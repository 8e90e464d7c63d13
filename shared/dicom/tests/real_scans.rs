//! Every file of a real export gets the right verdict.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use modiolus_dicom::header::FIRST_READ;
use modiolus_dicom::{Attributes, HeaderRead, read_header, verdict};
use modiolus_pipeline::{Plane, Reason};

/// The folder with this name among the real scans, which are not part of the project.
fn real(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/real").join(name);
    if !folder.is_dir() {
        eprintln!("skipped: {} is absent", folder.display());
        return None;
    }
    Some(folder)
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Reads a header as the ingest stage does: by growing prefixes.
fn header_of(bytes: &[u8]) -> Result<Box<Attributes>, Reason> {
    let mut up_to = bytes.len().min(FIRST_READ as usize);
    loop {
        match read_header(&bytes[..up_to], bytes.len() as u64) {
            HeaderRead::Complete(attributes) => return Ok(attributes),
            HeaderRead::Refused { refusal, .. } => return Err(refusal.reason),
            HeaderRead::NeedMore { up_to: next } => {
                assert!(next as usize > up_to && next as usize <= bytes.len());
                up_to = next as usize;
            }
        }
    }
}

fn verdicts(folder: &Path, plane: Plane) -> BTreeMap<String, Vec<String>> {
    let mut verdicts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in files_below(folder) {
        let outcome = header_of(&std::fs::read(&path).unwrap())
            .and_then(|attributes| verdict(&attributes, plane).map_err(|refusal| refusal.reason));
        let verdict = outcome.map_or_else(|reason| reason.code().to_owned(), |()| "kept".to_owned());
        verdicts.entry(verdict).or_default().push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    verdicts
}

#[test]
fn the_cbct_export_keeps_five_coronal_slices_and_names_its_junk() {
    let Some(folder) = real("cbct") else { return };
    let found = verdicts(&folder, Plane::CORONAL);
    let names = |verdict: &str| found.get(verdict).cloned().unwrap_or_default();
    assert_eq!(names("kept"), ["I0000613", "I0000619", "I0000616", "I0000620", "I0000626"]);
    assert_eq!(names("no-pixels"), ["I0000902", "I0000903", "I0000902", "I0000903"]);
    assert_eq!(names("report-page"), ["I0000904", "I0000904"]);
    assert_eq!(names("empty"), ["I0000905", "I0000905"]);
    assert_eq!(names("not-dicom"), ["notes.txt", "notes.txt"]);
    assert_eq!(names("apple-double").len(), 13);
    assert_eq!(names("other-plane").len(), 28, "sagittal, oblique and twelve axial slices of each patient");
    assert_eq!(found.values().map(Vec::len).sum::<usize>(), 56);
}

#[test]
fn the_head_ct_is_axial_throughout() {
    let Some(folder) = real("head-ct") else { return };
    assert_eq!(verdicts(&folder, Plane::AXIAL)["kept"].len(), 108);
    assert!(!verdicts(&folder, Plane::CORONAL).contains_key("kept"));
}
