//! The array's middle line through the nodes of its parts, and how bright the array is along it.

use super::comb::median;
use super::patch::{Patch, Point, gaussian, smoothed};
use super::trail::{length, minus, turn};

/// The way between the line's points, mm.
pub(super) const WAY_MM: f64 = 0.03;

/// In how many steps to each side the middle of what is bright is looked for.
const ACROSS_STEPS: i32 = 8;

/// A line of points, [`WAY_MM`] apart.
pub(super) struct Path {
    pub(super) points: Vec<Point>,
    /// How far along the line each of the nodes lies that it was drawn through, mm.
    pub(super) nodes_mm: Vec<f64>,
    /// Whether each point lies in a part of the mask that the line was drawn through, rather than in one that it crosses on its way.
    pub(super) inside: Vec<bool>,
    /// Half the array's width, mm.
    half_width: f64,
}

impl Path {
    /// A smooth line through the nodes of parts and on beyond the first and the last: a part reaches further than its nodes. None if there are
    /// fewer than two nodes.
    pub(super) fn through(parts: &[Vec<Point>], patch: &Patch) -> Option<Self> {
        let nodes = parts.concat();
        if nodes.len() < 2 {
            return None;
        }
        let mut knots = nodes.clone();
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
            if (BEYOND..BEYOND + nodes.len()).contains(&i) {
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
        let widths = nodes.iter().map(|&node| patch.half_width(node)).collect();
        let mut path = Self {
            points,
            nodes_mm,
            half_width: median(widths).unwrap_or(0.0).max(NARROWEST_MM),
            inside: Vec::new(),
        };
        path.mark_parts(parts, patch);
        path.end_with_mask();
        path.centre(patch);
        Some(path)
    }

    /// Finds the points inside: of each part those between its nodes, and those before and after up to the mask's edge.
    fn mark_parts(&mut self, parts: &[Vec<Point>], patch: &Patch) {
        let near = |i: usize| {
            let across = self.across(i);
            [-ASIDE, 0.0, ASIDE].iter().any(|by| patch.is_in_mask(aside(self.points[i], across, *by)))
        };
        let in_mask: Vec<bool> = (0..self.points.len()).map(near).collect();
        self.inside = vec![false; in_mask.len()];
        let index = |mm: f64| ((mm / WAY_MM) as usize).min(in_mask.len() - 1);
        let mut first = 0;
        for part in parts {
            let ends = [first, first + part.len() - 1].map(|node| index(self.nodes_mm[node]));
            let begin = (0..ends[0]).rev().take_while(|&i| in_mask[i]).last().unwrap_or(ends[0]);
            let end = (ends[1] + 1..in_mask.len()).take_while(|&i| in_mask[i]).last().unwrap_or(ends[1]);
            (begin..=end).for_each(|i| self.inside[i] = in_mask[i]);
            first += part.len();
        }
    }

    /// Cuts off what lies well beyond the mask's ends: there may be another turn of the spiral.
    fn end_with_mask(&mut self) {
        let is_inside = |inside: &bool| *inside;
        let (Some(begin), Some(end)) =
            (self.inside.iter().position(is_inside), self.inside.iter().rposition(is_inside))
        else {
            return;
        };
        let (cut, end) = (begin.saturating_sub(FLANK), (end + 1 + FLANK).min(self.points.len()));
        self.points.truncate(end);
        self.points.drain(..cut);
        self.inside.truncate(end);
        self.inside.drain(..cut);
        self.nodes_mm.iter_mut().for_each(|mm| *mm -= cut as f64 * WAY_MM);
    }

    /// The unit vector across the line at one of its points.
    pub(super) fn across(&self, i: usize) -> Point {
        let end = self.points.len() - 1;
        let along = minus(self.points[(i + 2).min(end)], self.points[i.saturating_sub(2)]);
        let long = length(along);
        [along[1] / long, -along[0] / long]
    }

    /// How bright the array is along the line.
    pub(super) fn profile(&self, patch: &Patch) -> Profile {
        let slices: Vec<Vec<f64>> = (0..self.points.len()).map(|i| self.slice(i, patch)).collect();
        let near = gaussian(SIGMA_OVER_MM / WAY_MM);
        let misfits = SIGMAS_MM.map(|sigma| {
            let bell = Bell::of(sigma);
            let misfit =
                |(i, slice): (usize, &Vec<f64>)| if self.inside[i] { bell.fit(slice).1 } else { 0.0 };
            smoothed(&slices.iter().enumerate().map(misfit).collect::<Vec<f64>>(), &near)
        });
        let best = |i: usize| {
            let of = |k: &usize| misfits[*k][i];
            SIGMAS_MM[(0..SIGMAS_MM.len()).min_by(|a, b| of(a).total_cmp(&of(b))).unwrap_or(0)]
        };
        let sigmas = smoothed(&(0..slices.len()).map(best).collect::<Vec<f64>>(), &near);
        let height = |(slice, &sigma): (&Vec<f64>, &f64)| Bell::of(sigma).fit(slice).0;
        let heights: Vec<f64> = slices.iter().zip(&sigmas).map(height).collect();
        Profile {
            heights: smoothed(&heights, &gaussian(SMOOTH_MM / WAY_MM)),
            sigmas,
            inside: self.inside.clone(),
        }
    }

    /// Grey levels across the line at one of its points.
    fn slice(&self, i: usize, patch: &Patch) -> Vec<f64> {
        let across = self.across(i);
        slice_steps().map(|off| patch.grey(aside(self.points[i], across, off))).collect()
    }

    /// Moves the line onto the middle of what is bright beside it.
    fn centre(&mut self, patch: &Patch) {
        let off = |i: usize| {
            let middle = self.centred(i, patch);
            let across = self.across(i);
            (middle[0] - self.points[i][0]) * across[0] + (middle[1] - self.points[i][1]) * across[1]
        };
        let offs: Vec<f64> =
            (0..self.points.len()).map(|i| if self.inside[i] { off(i) } else { 0.0 }).collect();
        let offs = smoothed(&offs, &gaussian(CENTRE_OVER_MM / WAY_MM));
        self.points = (0..offs.len()).map(|i| aside(self.points[i], self.across(i), offs[i])).collect();
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

/// A point is inside even if the line passes the mask's pixels by so much, mm.
const ASIDE: f64 = 0.06;

/// How far aside of the line is looked, mm, in which steps.
const SLICE_MM: f64 = 1.08;
const SLICE_STEP_MM: f64 = 0.06;

/// Half widths of the array's picture that are tried (one sigma, mm), and the way over which it stays the same.
const SIGMAS_MM: [f64; 11] = [0.13, 0.145, 0.16, 0.175, 0.19, 0.21, 0.23, 0.25, 0.275, 0.3, 0.34];
const SIGMA_OVER_MM: f64 = 1.0;

/// Brightness is smoothed along the line by this (one sigma, mm), and the middle of what is bright beside the line by that.
const SMOOTH_MM: f64 = 0.03;
const CENTRE_OVER_MM: f64 = 0.2;

/// Brighter pixels are white: how bright they were isn't known.
const WHITE: f64 = 250.0;

/// What lies further aside than this many sigmas is not fitted.
const REACH: f64 = 2.3;

/// Brightness along a line.
pub(super) struct Profile {
    /// How much brighter the middle of the array is than what lies beside it, grey levels; where it is white, as its flanks tell.
    pub(super) heights: Vec<f64>,
    /// The half width of its picture there (one sigma), mm.
    pub(super) sigmas: Vec<f64>,
    pub(super) inside: Vec<bool>,
}

/// Beside white, so much of the flank is fitted, mm.
const FLANK_MM: f64 = 0.3;

/// How far aside the steps of a slice across the line lie, mm.
fn slice_steps() -> impl Iterator<Item = f64> {
    let steps = (SLICE_MM / SLICE_STEP_MM) as i32;
    (-steps..=steps).map(|k| f64::from(k) * SLICE_STEP_MM)
}

/// What metal of height 1 looks like across the line: a Gaussian.
struct Bell {
    sigma: f64,
    /// How far aside each step of a slice lies, mm, and how bright it is there.
    steps: Vec<(f64, f64)>,
}

impl Bell {
    fn of(sigma: f64) -> Self {
        Self {
            sigma,
            steps: slice_steps().map(|off| (off.abs(), (-0.5 * (off / sigma).powi(2)).exp())).collect(),
        }
    }

    /// The height of the bell over an even ground that is most like a slice's grey levels, and the mean square of what is left then. White says
    /// nothing, so there the flanks alone tell.
    fn fit(&self, slice: &[f64]) -> (f64, f64) {
        let levels = || self.steps.iter().zip(slice);
        let white = levels().filter(|((off, _), grey)| **grey >= WHITE && *off <= REACH * self.sigma);
        let white = white.map(|((off, _), _)| *off).fold(0.0, f64::max);
        let reach = (REACH * self.sigma).max(white + FLANK_MM);
        let (mut n, mut x, mut y, mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        for ((_, bell), grey) in levels().filter(|((off, _), grey)| **grey < WHITE && *off <= reach) {
            n += 1.0;
            x += bell;
            y += grey;
            xx += bell * bell;
            xy += bell * grey;
            yy += grey * grey;
        }
        if n < FEWEST_LEVELS {
            return (255.0, 0.0);
        }
        let (xx, xy, yy) = (xx - x * x / n, xy - x * y / n, yy - y * y / n);
        let height = xy / xx.max(1e-6);
        (height, (yy - height * xy).max(0.0) / n)
    }
}

/// Fewer grey levels tell no height.
const FEWEST_LEVELS: f64 = 4.0;

/// The points that stay beyond the mask's ends: the last contact's brightness has to fall before it is seen to be one.
const FLANK: usize = 25;

/// No array is taken to be narrower than this, on each side, mm.
const NARROWEST_MM: f64 = 0.25;

pub(super) fn distance(a: Point, b: Point) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

fn aside(at: Point, across: Point, by: f64) -> Point {
    [at[0] + across[0] * by, at[1] + across[1] * by]
}

/// How many nodes the line goes on beyond its ends.
const BEYOND: usize = 3;

/// The node that would follow after the last one, with the same step and turn.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flanks_tell_how_bright_white_metal_is() {
        for height in [120.0, 250.0, 600.0] {
            let level = |off: f64| (70.0 + height * (-0.5 * (off / 0.21).powi(2)).exp()).min(255.0);
            let slice: Vec<f64> = slice_steps().map(level).collect();
            let (found, misfit) = Bell::of(0.21).fit(&slice);
            assert!((found / height - 1.0).abs() < 0.01 && misfit < 1.0, "{found} for {height}");
            let (_, wide) = Bell::of(0.3).fit(&slice);
            assert!(wide > misfit + 1.0, "another width is told from it: {wide}");
        }
    }
}
