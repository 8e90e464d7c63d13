//! Annotations: which slice each belongs to, and what became of it.

use std::path::Path;

use anyhow::Result;
use modiolus_imaging::metrics::Overlap;
use modiolus_imaging::png;
use modiolus_operations::annotations::{NamedSlice, files, read};
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::job::preprocess::{AnnotationVerdict, PreprocessJob};
use modiolus_pipeline::{Digest, ModelVersion, ObjectKey};
use modiolus_store::ObjectStore;

use super::objects;
use super::rows::{self, Row};
use super::summary::Annotation;
use super::tree::Tree;

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
    let slices = rows::names(rows);
    let mut annotations = Annotations { matched: Vec::new(), refused: Vec::new() };
    let files = files(folder)?;
    let found = slices.find_all(&files.iter().map(|(file, _)| file.as_str()).collect::<Vec<_>>());
    for ((file, path), slice) in files.iter().cloned().zip(found) {
        match slice.cloned() {
            Ok(NamedSlice { name, slice, .. }) => match read(&path) {
                Ok(bytes) => {
                    let digest = Digest::of(&bytes);
                    store.put(ObjectKey::Annotation(digest), bytes.into()).await?;
                    annotations.matched.push(Matched { file, name, slice, digest });
                }
                Err(error) => annotations.refused.push(refused(file, name, format!("{error:#}"))),
            },
            Err(why) => annotations.refused.push(refused(file, String::new(), why)),
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
