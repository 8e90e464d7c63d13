//! The centre of the spiral that contacts lie on.
//!
//! From some 100 degrees after the round window on, the cochlea is a logarithmic spiral (Cohen et al. 1996): ln(radius) falls evenly
//! with the angle. The centre is where contacts fit one best.

use super::patch::Point;
use super::trail::turn;

/// Fewer contacts, or a smaller angle (degrees), leave the centre unknown.
const FEWEST: usize = 5;
const SMALLEST_DEG: f64 = 120.0;

/// How far from the contacts' middle the centre is looked for, mm, first and last step.
const FURTHEST_MM: f64 = 3.0;
const FIRST_STEP_MM: f64 = 0.5;
const LAST_STEP_MM: f64 = 0.01;

/// Where the spiral's centre lies and the angle of each contact around it.
pub(super) struct Spiral {
    pub(super) centre: Point,
    /// Degrees from the first contact on, growing along the array.
    pub(super) angles: Vec<f64>,
    /// The first contact lies further from the centre than the last one.
    pub(super) is_inwards: bool,
}

/// The spiral through contacts in their order along the array, if they show enough of one.
pub(super) fn spiral(contacts: &[Point]) -> Option<Spiral> {
    if contacts.len() < FEWEST {
        return None;
    }
    let n = contacts.len() as f64;
    let middle = contacts.iter().fold([0.0; 2], |sum, at| [sum[0] + at[0] / n, sum[1] + at[1] / n]);
    let centre = best_centre(contacts, middle)?;
    let angles = angles(contacts, centre);
    let swept = angles[angles.len() - 1];
    if swept.abs() < SMALLEST_DEG.to_radians() {
        return None;
    }
    let angles: Vec<f64> = angles.into_iter().map(|angle| (angle * swept.signum()).to_degrees()).collect();
    let slope = line(&angles, &log_radii(contacts, centre)).0;
    Some(Spiral { centre, angles, is_inwards: slope < 0.0 })
}

/// Steps to the best neighbour until there is none, then by smaller steps.
fn best_centre(contacts: &[Point], middle: Point) -> Option<Point> {
    let steps = (FURTHEST_MM / FIRST_STEP_MM) as i32;
    let grid = (-steps..=steps).flat_map(|r| (-steps..=steps).map(move |c| (f64::from(r), f64::from(c))));
    let places = grid.map(|(r, c)| [middle[0] + r * FIRST_STEP_MM, middle[1] + c * FIRST_STEP_MM]);
    let mut best =
        places.filter_map(|at| Some((misfit(contacts, at)?, at))).min_by(|a, b| a.0.total_cmp(&b.0))?;
    let mut step = FIRST_STEP_MM / 2.0;
    while step >= LAST_STEP_MM {
        let (_, at) = best;
        let around = [(step, 0.0), (-step, 0.0), (0.0, step), (0.0, -step)];
        let better = around
            .into_iter()
            .map(|(r, c)| [at[0] + r, at[1] + c])
            .filter_map(|at| Some((misfit(contacts, at)?, at)))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|found| found.0 < best.0);
        match better {
            Some(found) => best = found,
            None => step /= 2.0,
        }
    }
    Some(best.1)
}

/// How badly contacts fit a logarithmic spiral around a centre; none where they run back and forth around it.
fn misfit(contacts: &[Point], centre: Point) -> Option<f64> {
    let angles = angles(contacts, centre);
    let swept = angles[angles.len() - 1];
    if swept.abs() < SMALLEST_DEG.to_radians()
        || angles.windows(2).any(|pair| (pair[1] - pair[0]) * swept < 0.0)
    {
        return None;
    }
    let radii = log_radii(contacts, centre);
    let (slope, height) = line(&angles, &radii);
    let off = |(angle, radius): (&f64, &f64)| (radius - height - slope * angle).powi(2);
    Some(angles.iter().zip(&radii).map(off).sum())
}

/// Radians around a centre, from the first contact on.
fn angles(contacts: &[Point], centre: Point) -> Vec<f64> {
    let from = |at: Point| [at[0] - centre[0], at[1] - centre[1]];
    let mut angles = vec![0.0];
    for pair in contacts.windows(2) {
        angles.push(angles[angles.len() - 1] + turn(from(pair[0]), from(pair[1])));
    }
    angles
}

fn log_radii(contacts: &[Point], centre: Point) -> Vec<f64> {
    contacts.iter().map(|at| (at[0] - centre[0]).hypot(at[1] - centre[1]).max(1e-3).ln()).collect()
}

/// Slope and height of the line of least squares.
fn line(x: &[f64], y: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let rise: f64 = x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let run: f64 = x.iter().map(|x| (x - mean_x).powi(2)).sum();
    let slope = if run > 0.0 { rise / run } else { 0.0 };
    (slope, mean_y - slope * mean_x)
}
