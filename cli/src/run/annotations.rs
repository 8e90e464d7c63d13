//! Annotations: which slice each belongs to, and what became of it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use modiolus_imaging::metrics::Overlap;
use modiolus_imaging::png;
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::job::preprocess::{AnnotationVerdict, PreprocessJob};
use modiolus_pipeline::{Digest, ModelVersion, ObjectKey};
use modiolus_store::ObjectStore;

use super::objects;
use super::rows::Row;
use super::summary::Annotation;
use super::tree::Tree;

/// A mask PNG or a labelme file with its picture inside is well below this.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// An annotation file with the slice that it belongs to.
pub(crate) struct Matched {
    file: String,
    /// PATIENT/STEM.
    name: String,
    slice: SliceRef,
    digest: Digest,
}

/// The annotations of a folder: those that have a slice, and what is wrong with the others.
pub(crate) struct Annotations {
    pub(crate) matched: Vec<Matched>,
    pub(crate) refused: Vec<Annotation>,
}

impl Matched {
    /// The job that makes a sample of it.
    pub(crate) fn job(&self) -> PreprocessJob {
        PreprocessJob::Annotation { slice: self.slice.clone(), annotation: self.digest }
    }
}

/// Reads a folder's annotations (`PATIENT_STEM.json|png`, `PATIENT_STEM_mask.png` or `PATIENT/STEM.json|png`) into the
/// store and finds their slices.
pub(crate) async fn collect(folder: &Path, rows: &[Row], store: &dyn ObjectStore) -> Result<Annotations> {
    let slices = by_name(rows);
    let mut annotations = Annotations { matched: Vec::new(), refused: Vec::new() };
    for (file, path) in files(folder)? {
        match find(&file, &slices) {
            Some((name, slice)) => match read(&path) {
                Ok(bytes) => {
                    let digest = Digest::of(&bytes);
                    store.put(ObjectKey::Annotation(digest), bytes.into()).await?;
                    annotations.matched.push(Matched { file, name, slice, digest });
                }
                Err(error) => annotations.refused.push(refused(file, name, format!("{error:#}"))),
            },
            None => {
                let why =
                    "no kept slice has this name: it has to be PATIENT_STEM or PATIENT/STEM as in images/";
                annotations.refused.push(refused(file, String::new(), why.to_owned()));
            }
        }
    }
    Ok(annotations)
}

/// What became of the matched annotations, once their jobs are done; accepted masks go to `annotations/PATIENT/STEM.png`.
pub(crate) async fn outcomes(
    annotations: Annotations,
    model: &ModelVersion,
    store: &dyn ObjectStore,
    tree: &mut Tree<'_>,
) -> Result<Vec<Annotation>> {
    let mut outcomes = annotations.refused;
    for matched in annotations.matched {
        let SliceRef { patient, slice } = matched.slice;
        let key = ObjectKey::AnnotationVerdict(patient.clone(), slice.clone(), matched.digest);
        let Some(verdict) = objects::json_if_there(store, key).await? else {
            outcomes.push(refused(
                matched.file,
                matched.name,
                "it could not be processed; see the messages above".into(),
            ));
            continue;
        };
        outcomes.push(match verdict {
            AnnotationVerdict::Refused { why } => refused(matched.file, matched.name, why),
            AnnotationVerdict::Accepted { mask, .. } => {
                let drawn = objects::bytes(store, ObjectKey::Sample(mask)).await?;
                let predicted = objects::bytes(store, ObjectKey::Mask(model.clone(), patient, slice)).await?;
                let iou = Overlap::of(&png::decode_mask(&drawn)?, &png::decode_mask(&predicted)?)?.iou;
                tree.write(Path::new("annotations").join(format!("{}.png", matched.name)), &drawn)?;
                Annotation {
                    file: matched.file,
                    verdict: "accepted",
                    why: String::new(),
                    slice: matched.name,
                    iou: Some(iou),
                }
            }
        });
    }
    outcomes.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(outcomes)
}

fn refused(file: String, slice: String, why: String) -> Annotation {
    Annotation { file, verdict: "refused", why, slice, iou: None }
}

/// Kept slices by PATIENT/STEM and by PATIENT_STEM.
fn by_name(rows: &[Row]) -> HashMap<String, (String, SliceRef)> {
    let mut slices = HashMap::new();
    for row in rows {
        let Some(kept) = &row.kept else { continue };
        let name = format!("{}/{}", row.patient, row.stem);
        let slice = SliceRef { patient: kept.patient.clone(), slice: kept.slice.clone() };
        slices.insert(format!("{}_{}", row.patient, row.stem), (name.clone(), slice.clone()));
        slices.insert(name.clone(), (name, slice));
    }
    slices
}

fn find(file: &str, slices: &HashMap<String, (String, SliceRef)>) -> Option<(String, SliceRef)> {
    let (name, ending) = file.rsplit_once('.')?;
    let without_mask = name.strip_suffix("_mask").filter(|_| ending.eq_ignore_ascii_case("png"));
    slices.get(name).or_else(|| slices.get(without_mask?)).cloned()
}

/// The JSON and PNG files of a folder and its patients' folders, ordered by name.
pub(crate) fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for (name, path) in entries(folder)? {
        if path.is_dir() {
            let inner = entries(&path)?.into_iter().map(|(file, path)| (format!("{name}/{file}"), path));
            files.extend(inner.filter(|(_, path)| path.is_file()));
        } else {
            files.push((name, path));
        }
    }
    files.retain(|(file, _)| {
        let lower = file.to_ascii_lowercase();
        let hidden = file.rsplit('/').next().is_some_and(|name| name.starts_with('.'));
        !hidden && (lower.ends_with(".json") || lower.ends_with(".png"))
    });
    files.sort();
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let said = || format!("{} can't be listed", folder.display());
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).with_context(said)? {
        let entry = entry.with_context(said)?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    Ok(entries)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let length = fs::metadata(path).context("it can't be read")?.len();
    if length > MAX_BYTES {
        bail!("it has {length} bytes; at most {MAX_BYTES} are allowed");
    }
    fs::read(path).context("it can't be read")
}
