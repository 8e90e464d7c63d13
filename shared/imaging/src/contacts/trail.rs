//! The order of a mask's parts along an array: a trail that turns evenly, in even steps.
//!
//! Neighbouring turns of the spiral lie nearer to each other (1.2 mm) than the contacts of a long array (2.4 mm), so the
//! nearest part often is not the next one. What tells is that step and turn change little from one contact to the next.

use std::f64::consts::{PI, TAU};

use super::patch::{Patch, Point};
use super::spots::distance;

/// The furthest step from one part to the next, mm: the spiral dips out of the slice's plane and comes back into it.
const FURTHEST_MM: f64 = 9.0;

/// How many trails are followed at a time.
const BEAM: usize = 6;

/// What a node costs that is left out, and a contact that is missing between two parts.
const LEFT_OUT: f64 = 8.0;
const MISSING: f64 = 0.7;
/// The spread of ln(step / pitch) that costs 1.
const STEP_SPREAD: f64 = 0.25;
/// The spread of a turn, radians, against the turn before, and against going straight on.
const TURN_SPREAD: f64 = 0.6;
const STRAIGHT_SPREAD: f64 = 1.5;
/// No array turns back more sharply than this from one contact to the next, radians.
const SHARPEST: f64 = 2.0;
/// What a mm of darkness between two parts costs: wires join contacts.
const DARKNESS: f64 = 0.7;

#[derive(Clone)]
struct Trail {
    /// The parts in their order, and whether each is walked backwards.
    parts: Vec<(usize, bool)>,
    nodes: usize,
    cost: f64,
    /// The distance of parts that follow each other, mm, as far as seen.
    pitch: Option<f64>,
    last: Point,
    /// The step to the last node, and its turn per mm.
    step: Option<Point>,
    bend: Option<f64>,
}

/// The nodes of a mask's parts in the order of the array, from one end to the other; parts may be left out.
pub(super) fn trail(parts: &[Vec<Point>], patch: &Patch) -> Vec<Point> {
    let all: usize = parts.iter().map(Vec::len).sum();
    let mut best: Option<Trail> = None;
    for first in 0..parts.len() {
        for backwards in [false, true].into_iter().take(parts[first].len()) {
            follow(Trail::from(first, backwards, parts), parts, all, patch, &mut best);
        }
    }
    let walked = |(part, backwards): (usize, bool)| -> Vec<Point> {
        let nodes = parts[part].iter().copied();
        if backwards { nodes.rev().collect() } else { nodes.collect() }
    };
    best.map_or_else(Vec::new, |best| best.parts.into_iter().flat_map(walked).collect())
}

/// Follows the cheapest trails from a start, and remembers the best of all, with the cost of what it leaves out.
fn follow(start: Trail, parts: &[Vec<Point>], all: usize, patch: &Patch, best: &mut Option<Trail>) {
    let full = |trail: &Trail| trail.cost + LEFT_OUT * (all - trail.nodes) as f64;
    let mut beam = vec![start];
    while !beam.is_empty() {
        for trail in &beam {
            if best.as_ref().is_none_or(|best| full(trail) < full(best)) {
                *best = Some(trail.clone());
            }
        }
        let limit = best.as_ref().map_or(f64::INFINITY, full);
        let next = |trail: &Trail| -> Vec<Trail> {
            let open = (0..parts.len()).filter(|part| trail.parts.iter().all(|(walked, _)| walked != part));
            let ways = open.flat_map(|part| {
                [false, true].into_iter().take(parts[part].len()).map(move |back| (part, back))
            });
            ways.filter_map(|(part, backwards)| trail.and(part, backwards, parts, patch)).collect()
        };
        let mut longer: Vec<Trail> = beam.iter().flat_map(next).filter(|trail| trail.cost < limit).collect();
        longer.sort_by(|a, b| full(a).total_cmp(&full(b)));
        longer.truncate(BEAM);
        beam = longer;
    }
}

impl Trail {
    fn from(part: usize, backwards: bool, parts: &[Vec<Point>]) -> Self {
        let nodes = &parts[part];
        let start = if backwards { nodes[nodes.len() - 1] } else { nodes[0] };
        let empty =
            Self { parts: Vec::new(), nodes: 0, cost: 0.0, pitch: None, last: start, step: None, bend: None };
        empty.walked(part, backwards, nodes)
    }

    /// The trail and a step to the next part; none if that is too far or too sharp a turn.
    fn and(&self, part: usize, backwards: bool, parts: &[Vec<Point>], patch: &Patch) -> Option<Self> {
        let nodes = &parts[part];
        let first = if backwards { nodes[nodes.len() - 1] } else { nodes[0] };
        let step = minus(first, self.last);
        let long = length(step);
        if long > FURTHEST_MM {
            return None;
        }
        let pitches = self.pitch.map_or(1.0, |pitch| (long / pitch).round().max(1.0));
        let odd_step = self.pitch.map_or(0.0, |pitch| (long / pitch / pitches).ln() / STEP_SPREAD);
        let mut longer = self.clone();
        longer.cost +=
            odd_step * odd_step + MISSING * (pitches - 1.0) + DARKNESS * darkness(self.last, first, patch);
        longer.cost += self.turn_cost(step, pitches)?;
        // The pitch forgets: a slice that leans shortens it here and there.
        let share = long / pitches;
        longer.pitch = Some(self.pitch.map_or(share, |pitch| pitch + (share - pitch) * 0.4));
        longer.go(first);
        if let [.., _, _] = nodes[..] {
            // A band says at once where it goes: straight on from the step that leads to it.
            let second = if backwards { nodes[nodes.len() - 2] } else { nodes[1] };
            longer.cost += longer.turn_cost(minus(second, first), 1.0)?;
        }
        Some(longer.walked(part, backwards, nodes))
    }

    /// What it costs to go on by a step; none if the turn is too sharp.
    fn turn_cost(&self, step: Point, pitches: f64) -> Option<f64> {
        let Some(before) = self.step else { return Some(0.0) };
        let turn = turn(before, step);
        let way = (length(before) + length(step)) / 2.0;
        let odd =
            self.bend.map_or(0.0, |bend| (turn - (bend * way).clamp(-SHARPEST, SHARPEST)) / TURN_SPREAD);
        let straight = turn / STRAIGHT_SPREAD;
        (turn.abs() <= SHARPEST).then_some((odd * odd + straight * straight) / pitches)
    }

    /// The trail after a part's nodes, the first of which it has reached.
    fn walked(mut self, part: usize, backwards: bool, nodes: &[Point]) -> Self {
        for i in 1..nodes.len() {
            self.go(nodes[if backwards { nodes.len() - 1 - i } else { i }]);
        }
        self.parts.push((part, backwards));
        self.nodes += nodes.len();
        self
    }

    fn go(&mut self, to: Point) {
        let step = minus(to, self.last);
        self.bend = self.step.map(|before| turn(before, step) / ((length(before) + length(step)) / 2.0));
        (self.step, self.last) = (Some(step), to);
    }
}

/// How much of the way between two places is dark, mm.
fn darkness(from: Point, to: Point, patch: &Patch) -> f64 {
    const STEPS: i32 = 16;
    let at = |i: i32| {
        let share = (f64::from(i) + 0.5) / f64::from(STEPS);
        [from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share]
    };
    let dark: f64 = (0..STEPS).map(|i| 1.0 - patch.brightness(at(i))).sum();
    dark / f64::from(STEPS) * distance(from, to)
}

pub(super) fn minus(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1]]
}

pub(super) fn length(step: Point) -> f64 {
    step[0].hypot(step[1]).max(1e-9)
}

/// The angle from one step to the next, -pi to pi.
pub(super) fn turn(before: Point, after: Point) -> f64 {
    let angle = after[0].atan2(after[1]) - before[0].atan2(before[1]);
    (angle + PI).rem_euclid(TAU) - PI
}
