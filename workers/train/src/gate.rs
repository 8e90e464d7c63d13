//! The gate: whether a candidate may become the current model.

use std::collections::BTreeMap;

use modiolus_imaging::metrics::Overlap;
use modiolus_imaging::{Image8, Mask};
use modiolus_pipeline::ModelVersion;
use modiolus_pipeline::job::train::{Gate, PatientScore};
use modiolus_segmentation::{Error, Predictor};
use rayon::prelude::*;

/// A picture that judges: whose it is, itself, its true mask.
pub(crate) struct Judge<'a> {
    pub(crate) patient: &'a str,
    pub(crate) image: &'a Image8,
    pub(crate) mask: &'a Mask,
}

/// Judges a candidate, and the rival on the same pictures. `held_out` says whether these were held out from training; if
/// they were not, they can't tell who is better.
pub(crate) fn gate(
    candidate: (ModelVersion, &Predictor),
    rival: Option<(ModelVersion, &Predictor)>,
    judges: &[Judge<'_>],
    held_out: bool,
) -> Result<Gate, Error> {
    let candidate_iou = scores(candidate.1, judges)?;
    let rival_iou = rival.as_ref().map_or(Ok(Vec::new()), |(_, rival)| scores(rival, judges))?;
    let (ours, theirs) = (mean(&candidate_iou), mean(&rival_iou));
    let pictures = judges.len();
    let (promoted, why) = match (&rival, held_out) {
        (None, _) if ours <= 0.0 => (false, format!("it found nothing that is true on {pictures} pictures")),
        (None, true) => (true, format!("there is no other model; mean IoU {ours:.3} over held-out patients")),
        (None, false) => (
            true,
            format!(
                "there is no other model; mean IoU {ours:.3} on the pictures it learned from, none was held out"
            ),
        ),
        (Some(_), false) => {
            (false, "not judged: no patient could be held out, so nothing tells whether it is better".into())
        }
        (Some((version, _)), true) if ours > theirs => {
            (true, format!("mean IoU {ours:.3} over held-out patients, {version} has {theirs:.3}"))
        }
        (Some((version, _)), true) => (
            false,
            format!("mean IoU {ours:.3} over held-out patients is not above the {theirs:.3} of {version}"),
        ),
    };
    let rival = rival.map(|(version, _)| version);
    Ok(Gate { candidate: candidate.0, rival, candidate_iou, rival_iou, promoted, why })
}

fn scores(predictor: &Predictor, judges: &[Judge<'_>]) -> Result<Vec<PatientScore>, Error> {
    let iou = |judge: &Judge<'_>| Ok(Overlap::of(judge.mask, &predictor.mask_slice(judge.image)?)?.iou);
    let ious: Vec<f64> = judges.par_iter().map(iou).collect::<Result<_, Error>>()?;
    let mut by_patient: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (judge, iou) in judges.iter().zip(ious) {
        by_patient.entry(judge.patient).or_default().push(iou);
    }
    let score = |(patient, ious): (&str, Vec<f64>)| PatientScore {
        patient: patient.to_owned(),
        pictures: ious.len() as u32,
        iou: ious.iter().sum::<f64>() / ious.len() as f64,
    };
    Ok(by_patient.into_iter().map(score).collect())
}

fn mean(scores: &[PatientScore]) -> f64 {
    scores.iter().map(|score| score.iou).sum::<f64>() / scores.len().max(1) as f64
}
