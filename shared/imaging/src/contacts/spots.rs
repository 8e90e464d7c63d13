//! Spots: places in a mask that are brighter than what surrounds them.

use super::patch::{Patch, Point, STEP_MM, gaussian, smoothed};
use crate::grid::Values;

/// The spots' own blur and that of their surroundings (one sigma, mm); nearer maxima are one spot.
const SPOT_MM: f64 = 0.09;
const GROUND_MM: f64 = 0.34;
const APART_MM: f64 = 0.28;

/// Spots weaker than this share of the median are noise.
const WEAKEST: f64 = 0.25;

/// More spots than any array has contacts, three times over: the strongest are kept.
const MOST: usize = 64;

/// Maxima nearer to each other than this many half widths of the metal between them are one spot, unless it is darker between them: this
/// share of their brightness.
const SAME_WIDTHS: f64 = 2.0;
const SAME_LEVEL: f64 = 0.97;

/// The places of spots, strongest first.
pub(super) fn spots(patch: &Patch) -> Vec<Point> {
    let fine = blurred(&patch.greys, SPOT_MM / STEP_MM);
    let mut found = maxima(&contrast(&fine, &patch.greys), patch);
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut kept: Vec<(Point, f64)> = Vec::new();
    for (at, strength) in found {
        let is_same = |other: Point| distance(at, other) < APART_MM || are_one(at, other, patch);
        match kept.iter().position(|(other, _)| is_same(*other)) {
            // Where metal is brighter than white, maxima lie on its rim: their middle counts.
            Some(i) => {
                let (other, stronger) = kept[i];
                let share = strength / (strength + stronger);
                kept[i].0 = std::array::from_fn(|k| other[k] + (at[k] - other[k]) * share);
            }
            None if kept.len() < MOST => kept.push((at, strength)),
            None => (),
        }
    }
    let least = kept.get(kept.len() / 2).map_or(0.0, |median| WEAKEST * median.1);
    kept.into_iter().filter(|(_, strength)| *strength >= least).map(|(at, _)| at).collect()
}

fn are_one(a: Point, b: Point, patch: &Patch) -> bool {
    let middle = [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
    let level = SAME_LEVEL * patch.grey(a).min(patch.grey(b));
    distance(a, b) < SAME_WIDTHS * patch.half_width(middle) && patch.grey(middle) >= level
}

pub(super) fn distance(a: Point, b: Point) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// The picture's own blur less a wider one.
fn contrast(fine: &Values, greys: &Values) -> Values {
    let coarse = blurred(greys, GROUND_MM / STEP_MM);
    let mut contrast = fine.clone();
    contrast.values_mut().iter_mut().zip(coarse.values()).for_each(|(fine, coarse)| *fine -= coarse);
    contrast
}

fn blurred(greys: &Values, sigma: f64) -> Values {
    let weights = gaussian(sigma);
    let mut blurred = greys.clone();
    for row in 0..greys.rows() {
        let line: Vec<f64> = greys.row(row).iter().map(|&grey| f64::from(grey)).collect();
        let target = blurred.row_mut(row).iter_mut();
        target.zip(smoothed(&line, &weights)).for_each(|(to, from)| *to = from as f32);
    }
    for column in 0..greys.columns() {
        let line: Vec<f64> = (0..greys.rows()).map(|row| f64::from(blurred[(row, column)])).collect();
        for (row, value) in smoothed(&line, &weights).into_iter().enumerate() {
            blurred[(row, column)] = value as f32;
        }
    }
    blurred
}

/// Maxima among eight neighbours that lie in the mask, between the grid's steps where a parabola has its top, and their
/// height.
fn maxima(contrast: &Values, patch: &Patch) -> Vec<(Point, f64)> {
    let mut found = Vec::new();
    for row in 1..contrast.rows() - 1 {
        for column in 1..contrast.columns() - 1 {
            let here = contrast[(row, column)];
            let around = |i: usize| contrast[(row + i / 3 - 1, column + i % 3 - 1)];
            // Of equal neighbours, the last one counts.
            if here <= 0.0 || (0..4).any(|i| around(i) > here) || (5..9).any(|i| around(i) >= here) {
                continue;
            }
            let top = |before: f32, after: f32| {
                let bend = f64::from(before + after - 2.0 * here);
                if bend < 0.0 { (f64::from(before - after) / (2.0 * bend)).clamp(-0.5, 0.5) } else { 0.0 }
            };
            let at = patch
                .place(row as f64 + top(around(1), around(7)), column as f64 + top(around(3), around(5)));
            if patch.is_in_mask(at) {
                found.push((at, f64::from(here)));
            }
        }
    }
    found
}
