//! Contacts along the array's middle line: a comb of teeth at nearly even distances, matched to the brightness there.
//!
//! A contact between two bright ones may have no maximum of its own, and noise may have one; that makers set contacts at even
//! distances tells both. The best comb of all is found by dynamic programming over its teeth.

use super::patch::{Patch, Point, gaussian, smoothed};
use super::path::{Path, WAY_MM};

/// What a tooth has to be worth, against the median spot.
const LEAST: f64 = 0.2;

/// What a step costs that differs from the pitch: this times ln(step / pitch) squared.
const UNEVEN: f64 = 3.0;

/// What a missing tooth costs, inside the mask and outside of it (there the contact is out of the plane).
const MISSING: f64 = 1.2;
const MISSING_OUTSIDE: f64 = 0.05;

/// The pitch's share that brightness is smoothed over, and that it is compared with.
const FINE: f64 = 0.12;
const COARSE: f64 = 0.42;

/// Steps below this share of the pitch are none, nor are those above this many pitches.
const SHORTEST: f64 = 0.55;
const LONGEST: f64 = 10.0;

/// The teeth along a path.
pub(super) struct Comb {
    /// Position of each on the path, in steps of [`WAY_MM`].
    pub(super) teeth: Vec<f64>,
    /// How much darker it is half way between two teeth than on them, median, as a share of their brightness over what surrounds the array: 0 where
    /// contacts melt together.
    pub(super) contrast: f64,
}

/// The pitches that are tried, as shares of the spots' own: where contacts melt together, spots are missing.
const TRIED: [f64; 13] = [0.45, 0.5, 0.55, 0.6, 0.66, 0.73, 0.8, 0.88, 0.95, 1.0, 1.08, 1.18, 1.3];

/// What another pitch than the spots' own has to gain: this times |ln(share)|.
const DOUBT: f64 = 0.25;

/// Finds the teeth.
pub(super) fn comb(path: &Path, patch: &Patch, spots: &[Point]) -> Comb {
    let profile = path.profile(patch);
    let inside: Vec<bool> = path
        .points
        .iter()
        .enumerate()
        .map(|(i, &at)| path.array.contains(&i) && patch.is_in_mask(at))
        .collect();
    let usual = path.pitch_of(spots);
    let tried = TRIED.iter().map(|share| {
        let worth = worths(&profile, share * usual);
        let teeth = best_teeth(&worth, &vec![share * usual; worth.len()], &inside);
        (depth(&worth, &teeth) - DOUBT * share.ln().abs(), teeth)
    });
    let Some((_, teeth)) = tried.max_by(|a, b| a.0.total_cmp(&b.0)) else {
        return Comb { teeth: Vec::new(), contrast: 0.0 };
    };
    let ways: Vec<f64> = teeth.iter().map(|&tooth| tooth as f64 * WAY_MM).collect();
    let pitch = pitches(&ways, path.points.len());
    let worth = worths(&profile, median(pitch.clone()).unwrap_or(usual));
    let teeth = best_teeth(&worth, &pitch, &inside);
    let contrast = contrast(&profile, &teeth);
    let top = |&i: &usize| {
        let (before, here, after) =
            (worth[i.saturating_sub(1)], worth[i], worth[(i + 1).min(worth.len() - 1)]);
        let bend = before + after - 2.0 * here;
        i as f64 + if bend < 0.0 { ((before - after) / (2.0 * bend)).clamp(-0.5, 0.5) } else { 0.0 }
    };
    Comb { teeth: teeth.iter().map(top).collect(), contrast }
}

/// How much more the teeth are worth than the gaps between them, mean.
fn depth(worth: &[f64], teeth: &[usize]) -> f64 {
    let gaps = teeth.windows(2).map(|pair| worth[(pair[0] + pair[1]) / 2]);
    let n = teeth.len().max(2) as f64;
    teeth.iter().map(|&tooth| worth[tooth]).sum::<f64>() / n - gaps.sum::<f64>() / (n - 1.0)
}

pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The pitch around each point of the path, mm: a slice that leans away from the spiral's plane shortens it here and there.
fn pitches(teeth_mm: &[f64], points: usize) -> Vec<f64> {
    let steps: Vec<f64> = teeth_mm.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let overall = median(steps.clone()).unwrap_or(1.0);
    let local: Vec<f64> = (0..steps.len())
        .map(|i| steps[i.saturating_sub(2)..(i + 3).min(steps.len())].to_vec())
        .map(|around| median(around).unwrap_or(overall).clamp(0.6 * overall, 1.6 * overall))
        .collect();
    let at = |i: usize| {
        let step = teeth_mm.partition_point(|&tooth| tooth <= i as f64 * WAY_MM).saturating_sub(1);
        local.get(step.min(local.len().saturating_sub(1))).copied().unwrap_or(overall)
    };
    let rough: Vec<f64> = (0..points).map(at).collect();
    smoothed(&rough, &gaussian(0.5 * overall / WAY_MM))
}

/// How well each point of the path would do as a tooth: 1 as most of the brightest.
fn worths(profile: &[f64], pitch: f64) -> Vec<f64> {
    let fine = smoothed(profile, &gaussian(FINE * pitch / WAY_MM));
    let coarse = smoothed(profile, &gaussian(COARSE * pitch / WAY_MM));
    let raised: Vec<f64> = fine.iter().zip(&coarse).map(|(fine, coarse)| fine - coarse).collect();
    let tops = raised.windows(3).filter(|w| w[1] > 0.0 && w[1] >= w[0] && w[1] > w[2]).map(|w| w[1]);
    let usual = median(tops.collect()).unwrap_or(1.0).max(1e-3);
    raised.iter().map(|raised| (raised / usual).min(1.0)).collect()
}

/// The comb with the greatest worth. Positions are steps on the path.
fn best_teeth(worth: &[f64], pitch: &[f64], inside: &[bool]) -> Vec<usize> {
    let mut best: Vec<(f64, Option<usize>)> = Vec::with_capacity(worth.len());
    for i in 0..worth.len() {
        let mut chosen = (0.0, None);
        if inside[i] {
            let first = i.saturating_sub((LONGEST * pitch[i] / WAY_MM) as usize);
            for j in (first..i).filter(|&j| best[j].0.is_finite()) {
                let Some(cost) = step_cost(j, i, pitch, inside) else { break };
                if best[j].0 - cost > chosen.0 {
                    chosen = (best[j].0 - cost, Some(j));
                }
            }
            best.push((chosen.0 + worth[i] - LEAST, chosen.1));
        } else {
            best.push((f64::NEG_INFINITY, None));
        }
    }
    let last = (0..best.len()).max_by(|&a, &b| best[a].0.total_cmp(&best[b].0));
    let mut teeth: Vec<usize> = std::iter::successors(last, |&i| best[i].1).collect();
    teeth.retain(|&i| inside[i]);
    teeth.reverse();
    teeth
}

/// What it costs to have two teeth next to each other; none if they are too near.
fn step_cost(from: usize, to: usize, pitch: &[f64], inside: &[bool]) -> Option<f64> {
    let pitches = (to - from) as f64 * WAY_MM / pitch[(from + to) / 2];
    if pitches < SHORTEST {
        return None;
    }
    let steps = pitches.round().max(1.0);
    let missing = (1..steps as usize).map(|k| {
        let at = from + (to - from) * k / steps as usize;
        if inside[at] { MISSING } else { MISSING_OUTSIDE }
    });
    let uneven = UNEVEN * steps * (pitches / steps).ln().powi(2);
    Some(uneven + missing.sum::<f64>())
}

fn contrast(profile: &[f64], teeth: &[usize]) -> f64 {
    let ground = profile.iter().copied().fold(f64::INFINITY, f64::min);
    let dip = |pair: &[usize]| {
        let between = profile[(pair[0] + pair[1]) / 2] - ground;
        let on = (profile[pair[0]] - ground).min(profile[pair[1]] - ground);
        1.0 - between / on.max(1e-6)
    };
    median(teeth.windows(2).map(dip).collect()).unwrap_or(1.0)
}
