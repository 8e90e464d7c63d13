//! The gate: whether a candidate may become the current model.

use std::collections::BTreeMap;

use modiolus_imaging::metrics::Overlap;
use modiolus_imaging::{Image8, Mask};
use modiolus_pipeline::ModelVersion;
use modiolus_pipeline::job::train::{Gate, PatientScore};
use modiolus_segmentation::{Error, Predictor};
use rayon::prelude::*;

use crate::phantoms::{NO_ARRAY, Phantom, phantoms};

/// How much of IoU a patient, or the arrays of a vendor, may lose. The same person's outlines of the same array, read twice,
/// agree to 0.90: what is lost beyond that isn't chance.
const MOST_LOST: f64 = 0.1;

/// How much of IoU all phantoms together may lose. Five slices learned with phantoms in the mix cost 0.02, without them 0.12
/// (docs/experiments.md).
const MOST_FORGOTTEN: f64 = 0.05;

/// A picture that judges: whose it is, itself, its true mask.
pub(crate) struct Judge<'a> {
    pub(crate) patient: &'a str,
    pub(crate) image: &'a Image8,
    pub(crate) mask: &'a Mask,
}

/// How well a model draws: the judging patients, and phantoms by vendor.
#[derive(Debug, Default)]
pub(crate) struct Scores {
    pub(crate) patients: Vec<PatientScore>,
    pub(crate) phantoms: Vec<PatientScore>,
}

/// A model and its scores.
pub(crate) type Judged = (ModelVersion, Scores);

/// Judges a candidate, where there is one against its rival, both on the same pictures. `held_out` says whether the patients
/// were held out from training; if they were not, they can't tell who is better.
pub(crate) fn gate(candidate: Judged, rival: Option<Judged>, held_out: bool) -> Gate {
    let (candidate, ours) = candidate;
    let (promoted, why) = match &rival {
        None => alone(&ours, held_out),
        Some((rival, theirs)) if held_out => against(rival, &ours, theirs),
        Some((rival, theirs)) => (false, undecided(rival, &ours, theirs)),
    };
    let (rival, theirs) = rival.unzip();
    let theirs = theirs.unwrap_or_default();
    Gate {
        candidate,
        rival,
        candidate_iou: ours.patients,
        rival_iou: theirs.patients,
        candidate_phantoms: ours.phantoms,
        rival_phantoms: theirs.phantoms,
        promoted,
        why,
    }
}

/// The verdict where there is no other model.
fn alone(ours: &Scores, held_out: bool) -> (bool, String) {
    let iou = mean(&ours.patients);
    let pictures: u32 = ours.patients.iter().map(|score| score.pictures).sum();
    match held_out {
        _ if iou <= 0.0 => (false, format!("it found nothing that is true on {pictures} pictures")),
        true => (true, format!("there is no other model; mean IoU {iou:.3} over held-out patients")),
        false => {
            let learned = "on the pictures it learned from, none was held out";
            (true, format!("there is no other model; mean IoU {iou:.3} {learned}"))
        }
    }
}

/// The verdict against a rival: better over all held-out patients, clearly worse for none of them, and nothing forgotten.
fn against(rival: &ModelVersion, ours: &Scores, theirs: &Scores) -> (bool, String) {
    let (iou, before) = (mean(&ours.patients), mean(&theirs.patients));
    if iou <= before {
        let text =
            format!("mean IoU {iou:.3} over held-out patients is not above the {before:.3} of {rival}");
        return (false, text);
    }
    let better = format!("mean IoU {iou:.3} over held-out patients, {rival} has {before:.3}");
    if let Some((ours, theirs)) = worst(&ours.patients, &theirs.patients) {
        return (false, format!("{better}; but that of one of them falls from {theirs:.3} to {ours:.3}"));
    }
    if let Some((ours, theirs)) = worst(arrays(&ours.phantoms), arrays(&theirs.phantoms)) {
        return (
            false,
            format!("{better}; but on phantoms of one vendor it falls from {theirs:.3} to {ours:.3}"),
        );
    }
    let (iou, before) = (mean(&ours.phantoms), mean(&theirs.phantoms));
    if before - iou > MOST_FORGOTTEN {
        return (false, format!("{better}; but on phantoms it falls from {before:.3} to {iou:.3}"));
    }
    (true, better)
}

/// What is said where nobody could be held out.
fn undecided(rival: &ModelVersion, ours: &Scores, theirs: &Scores) -> String {
    let (iou, before) = (mean(&ours.phantoms), mean(&theirs.phantoms));
    format!(
        "not judged: no patient could be held out, so nothing tells whether it is better; mean IoU {iou:.3} on phantoms, {rival} has {before:.3}"
    )
}

/// The scores of whom has lost most, ours and theirs, if that is more than chance.
fn worst<'a>(
    ours: impl IntoIterator<Item = &'a PatientScore>,
    theirs: impl IntoIterator<Item = &'a PatientScore>,
) -> Option<(f64, f64)> {
    let before: BTreeMap<_, _> = theirs.into_iter().map(|score| (&score.patient, score.iou)).collect();
    let pairs = ours.into_iter().filter_map(|score| Some((score.iou, *before.get(&score.patient)?)));
    let lost = |pair: &(f64, f64)| pair.1 - pair.0;
    pairs.filter(|pair| lost(pair) > MOST_LOST).max_by(|a, b| lost(a).total_cmp(&lost(b)))
}

/// The phantoms with an array. Of the others a few more or less with a mask are chance; they count in the mean.
fn arrays(phantoms: &[PatientScore]) -> impl Iterator<Item = &PatientScore> {
    phantoms.iter().filter(|score| score.patient != NO_ARRAY)
}

/// The mean IoU of the pictures of each patient.
pub(crate) fn scores(predictor: &Predictor, judges: &[Judge<'_>]) -> Result<Vec<PatientScore>, Error> {
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

/// The mean IoU on phantoms of each vendor, and of none.
pub(crate) fn scores_on_phantoms(predictor: &Predictor) -> Result<Vec<PatientScore>, Error> {
    let judge = |phantom: &'static Phantom| Judge {
        patient: phantom.kind,
        image: &phantom.image,
        mask: &phantom.mask,
    };
    scores(predictor, &phantoms().iter().map(judge).collect::<Vec<_>>())
}

fn mean(scores: &[PatientScore]) -> f64 {
    scores.iter().map(|score| score.iou).sum::<f64>() / scores.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(ious: &[(&str, f64)]) -> Vec<PatientScore> {
        let score =
            |&(patient, iou): &(&str, f64)| PatientScore { patient: patient.into(), pictures: 1, iou };
        ious.iter().map(score).collect()
    }

    fn judged(name: &str, patients: [f64; 3], phantoms: [f64; 3]) -> Judged {
        let [a, b, c] = patients;
        let [one, other, none] = phantoms;
        let patients = scores(&[("a", a), ("b", b), ("c", c)]);
        let phantoms = scores(&[("Cochlear", one), ("Oticon", other), (NO_ARRAY, none)]);
        (name.parse().unwrap(), Scores { patients, phantoms })
    }

    fn verdict(patients: [f64; 3], phantoms: [f64; 3]) -> (bool, String) {
        let rival = judged("m-1", [0.6, 0.6, 0.7], [0.8, 0.8, 0.8]);
        let gate = gate(judged("m-2", patients, phantoms), Some(rival), true);
        (gate.promoted, gate.why)
    }

    #[test]
    fn a_better_mean_counts_only_if_nobody_gets_clearly_worse() {
        assert!(verdict([0.7, 0.7, 0.65], [0.8, 0.8, 0.8]).0);
        let (promoted, why) = verdict([0.9, 0.9, 0.55], [0.8, 0.8, 0.8]);
        assert!(!promoted && why.contains("one of them falls from 0.700 to 0.550"), "{why}");
        assert!(verdict([0.6, 0.6, 0.6], [0.9, 0.9, 0.9]).1.contains("not above"));
    }

    #[test]
    fn what_is_forgotten_is_found_on_phantoms() {
        let (promoted, why) = verdict([0.7, 0.7, 0.7], [0.9, 0.65, 0.9]);
        assert!(!promoted && why.contains("one vendor it falls from 0.800 to 0.650"), "{why}");
        let (promoted, why) = verdict([0.7, 0.7, 0.7], [0.74, 0.74, 0.74]);
        assert!(!promoted && why.contains("on phantoms it falls from 0.800 to 0.740"), "{why}");
        // One more mask where no array is may be chance.
        assert!(verdict([0.7, 0.7, 0.7], [0.8, 0.8, 0.68]).0);
    }

    #[test]
    fn where_nobody_is_held_out_phantoms_are_told_but_decide_nothing() {
        let rival = judged("m-1", [0.6, 0.6, 0.7], [0.8, 0.8, 0.8]);
        let gate = gate(judged("m-2", [0.9; 3], [0.9; 3]), Some(rival), false);
        assert!(!gate.promoted && gate.why.contains("not judged"), "{gate:?}");
        assert!(gate.why.contains("0.900 on phantoms, m-1 has 0.800"), "{gate:?}");
    }
}
