//! The array's middle line through its spots, and how bright the array is along it.

use std::ops::Range;

use super::comb::median;
use super::patch::{Patch, Point};
use super::spots::distance;
use super::trail::{length, minus, turn};

/// The way between the line's points, mm.
pub(super) const WAY_MM: f64 = 0.03;

/// The array is summed across its width, weighted by a Gaussian of this share of it: where metal is brighter than white, its
/// width still tells contacts from wire.
const ACROSS: f64 = 0.8;
const ACROSS_STEPS: i32 = 8;

/// A line of points, [`WAY_MM`] apart.
pub(super) struct Path {
    pub(super) points: Vec<Point>,
    /// How far along the line each of the nodes lies that it was drawn through, mm.
    pub(super) nodes_mm: Vec<f64>,
    /// The points between the mask's ends.
    pub(super) array: Range<usize>,
    /// Half the array's width, mm.
    half_width: f64,
}

impl Path {
    /// A smooth line through at least two spots and on beyond the first and the last: the outermost contacts may have no spots.
    pub(super) fn through(spots: &[Point], patch: &Patch) -> Self {
        let mut knots = spots.to_vec();
        for _ in 0..2 {
            for _ in 0..BEYOND {
                let n = knots.len();
                knots.push(beyond(n.checked_sub(3).map(|i| knots[i]), knots[n - 2], knots[n - 1]));
            }
            knots.reverse();
        }
        let (mut points, mut nodes_mm, mut way) = (vec![knots[0]], Vec::new(), 0.0);
        let mut last = knots[0];
        for i in 0..knots.len() - 1 {
            let around =
                [knots[i.saturating_sub(1)], knots[i], knots[i + 1], knots[(i + 2).min(knots.len() - 1)]];
            if (BEYOND..BEYOND + spots.len()).contains(&i) {
                nodes_mm.push(way);
            }
            let steps = (distance(knots[i], knots[i + 1]) / 0.005).ceil().max(1.0);
            for step in 1..=steps as usize {
                let next = catmull_rom(around, step as f64 / steps);
                way += distance(last, next);
                last = next;
                if way >= points.len() as f64 * WAY_MM {
                    points.push(next);
                }
            }
        }
        let widths = spots.iter().map(|&spot| patch.half_width(spot)).collect();
        let mut path = Self {
            points,
            nodes_mm,
            half_width: median(widths).unwrap_or(0.0).max(NARROWEST_MM),
            array: 0..0,
        };
        path.end_with_mask(patch);
        path
    }

    /// Cuts off what lies well beyond the mask's ends: there may be another turn of the spiral.
    fn end_with_mask(&mut self, patch: &Patch) {
        let (Some(&first), Some(&last)) = (self.nodes_mm.first(), self.nodes_mm.last()) else { return };
        let index = |mm: f64| ((mm / WAY_MM) as usize).min(self.points.len() - 1);
        let outside = |i: &usize| !patch.is_in_mask(self.points[*i]);
        let end = (index(last) + 1..self.points.len()).find(outside).unwrap_or(self.points.len());
        let begin = (0..index(first)).rev().find(outside).map_or(0, |i| i + 1);
        let cut = begin.saturating_sub(FLANK);
        self.points.truncate(end + FLANK);
        self.points.drain(..cut);
        self.nodes_mm.iter_mut().for_each(|mm| *mm -= cut as f64 * WAY_MM);
        self.array = begin - cut..end - cut;
    }

    /// The usual distance along the line between spots beside it, mm; without any, that of its nodes.
    pub(super) fn pitch_of(&self, spots: &[Point]) -> f64 {
        let nearest = |spot: &Point| {
            let away = |i: &usize| distance(self.points[*i], *spot);
            (0..self.points.len())
                .min_by(|a, b| away(a).total_cmp(&away(b)))
                .filter(|i| away(i) < 2.0 * self.half_width)
        };
        let mut ways: Vec<f64> = spots.iter().filter_map(nearest).map(|i| i as f64 * WAY_MM).collect();
        ways.sort_by(f64::total_cmp);
        let steps =
            |ways: &[f64]| ways.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step > 0.3).collect();
        median(steps(&ways)).or_else(|| median(steps(&self.nodes_mm))).unwrap_or(1.0)
    }

    /// The unit vector across the line at one of its points.
    pub(super) fn across(&self, i: usize) -> Point {
        let end = self.points.len() - 1;
        let along = minus(self.points[(i + 2).min(end)], self.points[i.saturating_sub(2)]);
        let long = length(along);
        [along[1] / long, -along[0] / long]
    }

    /// Grey levels summed across the line, at each of its points.
    pub(super) fn profile(&self, patch: &Patch) -> Vec<f64> {
        let sigma = ACROSS * self.half_width;
        let step = 2.0 * sigma / f64::from(ACROSS_STEPS);
        let weight = |k: i32| (-0.5 * (f64::from(k) * step / sigma).powi(2)).exp();
        let bright = |i: usize| {
            let across = self.across(i);
            let grey = |k: i32| weight(k) * patch.grey(aside(self.points[i], across, f64::from(k) * step));
            (-ACROSS_STEPS..=ACROSS_STEPS).map(grey).sum::<f64>()
        };
        (0..self.points.len()).map(bright).collect()
    }

    /// Where the array's middle lies beside one of the line's points: the centre of what is brighter there than at its sides.
    pub(super) fn centred(&self, i: usize, patch: &Patch) -> Point {
        let across = self.across(i);
        let steps = -ACROSS_STEPS..=ACROSS_STEPS;
        let greys: Vec<(f64, f64)> = steps
            .map(|k| f64::from(k) / f64::from(ACROSS_STEPS) * self.half_width)
            .map(|off| (off, patch.grey(aside(self.points[i], across, off))))
            .collect();
        let ground = greys.iter().map(|(_, grey)| *grey).fold(f64::INFINITY, f64::min);
        let weight: f64 = greys.iter().map(|(_, grey)| grey - ground).sum();
        let moment: f64 = greys.iter().map(|(off, grey)| off * (grey - ground)).sum();
        aside(self.points[i], across, if weight > 0.0 { moment / weight } else { 0.0 })
    }
}

/// The points that stay beyond the mask's ends: the last contact's brightness has to fall before it is seen to be one.
const FLANK: usize = 25;

/// No array is taken to be narrower than this, on each side, mm.
const NARROWEST_MM: f64 = 0.25;

fn aside(at: Point, across: Point, by: f64) -> Point {
    [at[0] + across[0] * by, at[1] + across[1] * by]
}

/// How many spots the line goes on beyond its ends.
const BEYOND: usize = 3;

/// The spot that would follow after the last one, with the same step and turn.
fn beyond(before: Option<Point>, from: Point, last: Point) -> Point {
    let step = minus(last, from);
    let angle = before.map_or(0.0, |before| turn(minus(from, before), step).clamp(-1.0, 1.0));
    let (sin, cos) = angle.sin_cos();
    // Turned as `turn` measures it: from the columns' direction towards the rows'.
    [last[0] + step[0] * cos + step[1] * sin, last[1] + step[1] * cos - step[0] * sin]
}

/// Between the second and the third of four knots, by the centripetal spline of Catmull and Rom, which makes no loops
/// (Yuksel et al. 2011).
fn catmull_rom(knots: [Point; 4], t: f64) -> Point {
    let mut times = [0.0; 4];
    for i in 1..4 {
        times[i] = times[i - 1] + distance(knots[i], knots[i - 1]).sqrt().max(1e-3);
    }
    let at = times[1] + t * (times[2] - times[1]);
    let mut line = knots.to_vec();
    for level in 1..4 {
        line = (0..4 - level)
            .map(|i| {
                // The pyramid's upper levels reach over three knots, the last one again over two.
                let (from, to) = if level == 3 { (1, 2) } else { (i, i + level) };
                let share = (at - times[from]) / (times[to] - times[from]);
                std::array::from_fn(|k| line[i][k] + (line[i + 1][k] - line[i][k]) * share)
            })
            .collect();
    }
    line[0]
}
