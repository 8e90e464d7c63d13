//! What to annotate next.

use std::collections::{HashMap, HashSet};

use axum::Json;
use modiolus_pipeline::{Clarity, PatientKey};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::slices::{Listed, Sayings};
use crate::app::Console;
use crate::extract::Asked;
use crate::failure::Answer;

/// How many are given unless fewer or more are asked for.
pub(crate) const SHOWN: usize = 50;

/// How many are given at most.
const MOST: usize = 1000;

/// How many runs are looked through, the latest first.
const RUNS: usize = 20;

/// A slice to annotate, and why.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Next {
    /// The run that it is seen through.
    run: String,
    slice: Listed,
    reason: String,
}

/// How many.
#[derive(Deserialize, IntoParams)]
pub(crate) struct Wanted {
    /// Give so many at most; otherwise 50.
    limit: Option<usize>,
}

/// The slices to annotate next: patients of whom nothing is annotated come first, and of each patient the slices with the
/// clearest arrays. Those that people said show none are left out.
#[utoipa::path(get, path = "/work", tag = "annotations", params(Wanted), responses((status = 200, body = [Next])))]
pub(crate) async fn list(app: App, Asked(wanted): Asked<Wanted>) -> Answer<Json<Vec<Next>>> {
    Ok(Json(next(&app, wanted.limit.unwrap_or(SHOWN).min(MOST)).await?))
}

/// The next ones.
pub(crate) async fn next(app: &Console, limit: usize) -> Answer<Vec<Next>> {
    let sayings = Sayings::read(app).await?;
    let (mut open, mut seen, mut covered) = (Vec::new(), HashSet::new(), HashMap::<PatientKey, usize>::new());
    for run in app.catalogue.runs().await?.into_iter().take(RUNS) {
        let Some(run) = app.catalogue.run(&run).await? else { continue };
        for slice in &run.slices {
            if !seen.insert((slice.found.patient.clone(), slice.found.slice.clone())) {
                continue;
            }
            let listed = sayings.of(&run, slice);
            if listed.is_final() {
                *covered.entry(listed.patient).or_default() += 1;
            } else if listed.triage != Some(Clarity::No) {
                open.push((run.state.run.to_string(), listed));
            }
        }
    }
    Ok(ordered(open, &covered).into_iter().take(limit).collect())
}

/// One slice of each patient, then the next of each, and so on: patients with the fewest annotated slices first.
fn ordered(mut open: Vec<(String, Listed)>, covered: &HashMap<PatientKey, usize>) -> Vec<Next> {
    let clear = |listed: &Listed| listed.triage == Some(Clarity::Clear);
    open.sort_by(|(_, a), (_, b)| {
        clear(b)
            .cmp(&clear(a))
            .then(b.array_score.total_cmp(&a.array_score))
            .then_with(|| a.slice.cmp(&b.slice))
    });
    let mut turns: HashMap<PatientKey, usize> = covered.clone();
    let mut next: Vec<(usize, Next)> = open
        .into_iter()
        .map(|(run, slice)| {
            let turn = turns.entry(slice.patient.clone()).or_default();
            *turn += 1;
            let reason = reason(*turn - 1, &slice);
            (*turn, Next { run, slice, reason })
        })
        .collect();
    // Stable: within a turn the clearest stay first.
    next.sort_by_key(|(turn, _)| *turn);
    next.into_iter().map(|(_, next)| next).collect()
}

fn reason(before: usize, slice: &Listed) -> String {
    let patient = match before {
        0 => "nothing of this patient is annotated".to_owned(),
        1 => "one slice of this patient comes before".to_owned(),
        n => format!("{n} slices of this patient come before"),
    };
    match slice.triage {
        Some(Clarity::Clear) => format!("{patient}; people say that the array is clear"),
        Some(Clarity::Unsure) => format!("{patient}; people are unsure"),
        _ => format!("{patient}; array score {:.2}", slice.array_score),
    }
}
