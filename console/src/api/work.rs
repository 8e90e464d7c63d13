//! What to annotate next.

use std::collections::{HashMap, HashSet};

use axum::Json;
use modiolus_pipeline::{Clarity, PatientKey};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::slices::{Listed, Sayings};
use crate::app::Console;
use crate::extract::QueryParams;
use crate::failure::{ApiResult, ErrorBody};
use crate::notes::Which;

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

impl Next {
    /// Which slice it is.
    pub(crate) fn which(self) -> Which {
        (self.slice.patient, self.slice.slice)
    }
}

/// What comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum By {
    /// One slice of each patient, then the next of each, patients with the fewest annotated slices first; of each patient those
    /// of which the model is least sure.
    #[default]
    Patient,
    /// The slices of which the model is least sure, whosever they are.
    Uncertainty,
}

/// How many, in which order.
#[derive(Deserialize, IntoParams)]
pub(crate) struct Wanted {
    /// Give so many at most; otherwise 50, at most 1000.
    limit: Option<usize>,
    /// patient or uncertainty; otherwise patient.
    #[param(inline)]
    by: Option<By>,
}

impl Wanted {
    /// What comes first.
    pub(crate) fn by(&self) -> By {
        self.by.unwrap_or_default()
    }
}

/// The slices to annotate next, each with the reason. Those on which people have said that they show no clear array are left out.
#[utoipa::path(get, path = "/work", tag = "annotations", params(Wanted),
    responses((status = 200, body = [Next]), (status = 400, body = ErrorBody)))]
pub(crate) async fn list(app: App, QueryParams(wanted): QueryParams<Wanted>) -> ApiResult<Json<Vec<Next>>> {
    Ok(Json(next(&app, wanted.limit.unwrap_or(SHOWN).min(MOST), wanted.by()).await?))
}

/// The next ones.
pub(crate) async fn next(app: &Console, limit: usize, by: By) -> ApiResult<Vec<Next>> {
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
    Ok(ordered(open, &covered, by).into_iter().take(limit).collect())
}

fn ordered(mut open: Vec<(String, Listed)>, covered: &HashMap<PatientKey, usize>, by: By) -> Vec<Next> {
    let clear = |listed: &Listed| by == By::Patient && listed.triage == Some(Clarity::Clear);
    let unsure = |listed: &Listed| listed.uncertainty.unwrap_or(-1.0);
    open.sort_by(|(_, a), (_, b)| {
        clear(b)
            .cmp(&clear(a))
            .then(unsure(b).total_cmp(&unsure(a)))
            .then(b.array_score.total_cmp(&a.array_score))
            .then_with(|| a.slice.cmp(&b.slice))
    });
    let mut turns: HashMap<PatientKey, usize> = HashMap::new();
    let mut next: Vec<(usize, Next)> = open
        .into_iter()
        .map(|(run, slice)| {
            let annotated = covered.get(&slice.patient).copied().unwrap_or_default();
            let before = turns.entry(slice.patient.clone()).or_default();
            let reason = reason(annotated, *before, &slice, by);
            *before += 1;
            (annotated + *before, Next { run, slice, reason })
        })
        .collect();
    if by == By::Patient {
        // Stable: within a turn the order stays.
        next.sort_by_key(|(turn, _)| *turn);
    }
    next.into_iter().map(|(_, next)| next).collect()
}

/// Why a slice comes where it does: how many of its patient are annotated and how many stand before it here, and how sure people and
/// the model are.
fn reason(annotated: usize, before: usize, slice: &Listed, by: By) -> String {
    let said = match slice.triage {
        Some(Clarity::Clear) => Some("people say that the array is clear".to_owned()),
        Some(Clarity::Unsure) => Some("people are unsure".to_owned()),
        _ => None,
    };
    let patient = match annotated {
        0 => "nothing of this patient is annotated".to_owned(),
        1 => "one slice of this patient is annotated".to_owned(),
        n => format!("{n} slices of this patient are annotated"),
    };
    let place = (before > 0).then(|| format!("no. {} of this patient", before + 1));
    let model = || match slice.uncertainty {
        Some(uncertainty) => format!("the model is unsure by {:.0} %", 100.0 * uncertainty),
        None => format!("array score {:.2}", slice.array_score),
    };
    match by {
        By::Uncertainty => said.unwrap_or_else(model),
        By::Patient => [Some(patient), place, said].into_iter().flatten().collect::<Vec<_>>().join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(
        patient: &str,
        slice: &str,
        uncertainty: Option<f64>,
        triage: Option<Clarity>,
    ) -> (String, Listed) {
        let listed = Listed {
            patient: patient.parse().unwrap(),
            slice: slice.parse().unwrap(),
            name: slice.to_owned(),
            rows: 4,
            columns: 4,
            spacing_mm: None,
            array_score: 0.5,
            electrode_px: None,
            model: None,
            uncertainty,
            triage,
            annotation: None,
        };
        ("r-1".to_owned(), listed)
    }

    fn order(by: By) -> Vec<(String, String)> {
        let open = vec![
            open("P-1", "s-1", Some(0.9), None),
            open("P-1", "s-2", Some(0.8), None),
            open("P-2", "s-3", Some(0.3), None),
            open("P-2", "s-4", Some(0.1), Some(Clarity::Clear)),
            open("P-3", "s-5", None, None),
        ];
        let covered = HashMap::from([("P-1".parse().unwrap(), 2)]);
        ordered(open, &covered, by).into_iter().map(|next| (next.slice.name, next.reason)).collect()
    }

    #[test]
    fn patients_of_whom_nothing_is_annotated_come_first_and_what_is_clear_before_what_is_unsure() {
        let order = order(By::Patient);
        let names: Vec<&str> = order.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["s-4", "s-5", "s-3", "s-1", "s-2"]);
        assert_eq!(order[0].1, "nothing of this patient is annotated; people say that the array is clear");
        assert_eq!(order[3].1, "2 slices of this patient are annotated");
        assert!(order[4].1.ends_with("; no. 2 of this patient"), "{}", order[4].1);
    }

    #[test]
    fn by_uncertainty_the_least_sure_come_first_whosever_they_are() {
        let order = order(By::Uncertainty);
        let names: Vec<&str> = order.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["s-1", "s-2", "s-3", "s-4", "s-5"]);
        assert_eq!(order[1].1, "the model is unsure by 80 %");
    }
}
