//! Two models on the same slices: those that people have annotated.

use std::sync::Arc;

use bytes::Bytes;
use modiolus_imaging::metrics::Overlap;
use modiolus_imaging::png;
use modiolus_pipeline::{Fetched, ModelVersion, ObjectKey, PatientKey, Read, Revision, SliceId};
use serde::Serialize;
use utoipa::ToSchema;

use super::pictures::away;
use crate::app::Console;
use crate::failure::ApiResult;
use crate::notes::Which;

/// How many slices are compared at most, those annotated last.
const MOST: usize = 200;

/// Two versions beside each other.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Comparison {
    #[schema(value_type = String)]
    version: ModelVersion,
    #[schema(value_type = String)]
    with: ModelVersion,
    /// The mean IoU of the masks of `version` with people's, over the slices that both have drawn.
    iou: Option<f64>,
    with_iou: Option<f64>,
    /// Annotated slices that one of the two has not drawn.
    missing: usize,
    slices: Vec<Compared>,
}

/// A slice that both have drawn.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Compared {
    #[schema(value_type = String)]
    patient: PatientKey,
    #[schema(value_type = String)]
    slice: SliceId,
    iou: f64,
    with_iou: f64,
}

/// The annotated slices, each with its newest revision, those annotated last first.
pub(crate) async fn annotated(app: &Console) -> ApiResult<Vec<(Which, Arc<Revision>)>> {
    let newest = app.notes.newest::<Revision>().await?;
    let newest = newest.into_iter().map(|(which, (_, revision))| (which, revision));
    let mut annotated: Vec<_> = newest.filter(|(_, revision)| revision.state.is_final()).collect();
    annotated.sort_by(|(a, one), (b, other)| other.at.cmp(&one.at).then_with(|| a.cmp(b)));
    annotated.truncate(MOST);
    Ok(annotated)
}

/// How far the masks of two versions are people's.
pub(crate) async fn compare(
    app: &Console,
    version: ModelVersion,
    with: ModelVersion,
) -> ApiResult<Comparison> {
    let (mut slices, mut missing) = (Vec::new(), 0);
    for ((patient, slice), revision) in annotated(app).await? {
        let mask = |model: &ModelVersion| ObjectKey::Mask(model.clone(), patient.clone(), slice.clone());
        let keys = [ObjectKey::Annotation(revision.mask), mask(&version), mask(&with)];
        let reads: Vec<Read> = keys.into_iter().map(Read::whole).collect();
        let mut found = Vec::new();
        for fetched in app.store.get_many(&reads).await {
            if let Fetched::Found(object) = fetched? {
                found.push(object.bytes);
            }
        }
        let Ok([truth, one, other]) = <[Bytes; 3]>::try_from(found) else {
            missing += 1;
            continue;
        };
        let (iou, with_iou) = away(move || overlaps(&truth, &one, &other)).await?;
        slices.push(Compared { patient, slice, iou, with_iou });
    }
    let (iou, with_iou) = (mean(&slices, |one| one.iou), mean(&slices, |one| one.with_iou));
    Ok(Comparison { version, with, iou, with_iou, missing, slices })
}

fn overlaps(truth: &[u8], one: &[u8], other: &[u8]) -> ApiResult<(f64, f64)> {
    let mask = |bytes: &[u8]| png::decode_mask(bytes).map_err(anyhow::Error::from);
    let truth = mask(truth)?;
    let iou = |bytes: &[u8]| anyhow::Ok(Overlap::of(&truth, &mask(bytes)?)?.iou);
    Ok((iou(one)?, iou(other)?))
}

#[allow(clippy::cast_precision_loss)] // at most MOST of them
fn mean(slices: &[Compared], iou: fn(&Compared) -> f64) -> Option<f64> {
    (!slices.is_empty()).then(|| slices.iter().map(iou).sum::<f64>() / slices.len() as f64)
}
