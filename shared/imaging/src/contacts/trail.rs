//! The order of a mask's parts along an array: a trail that turns evenly, in even steps.
//!
//! Neighbouring turns of the spiral lie nearer to each other (1.2 mm) than the contacts of a long array (2.4 mm), so the
//! nearest part often is not the next one. What tells is that step and turn change little from one contact to the next.

use std::f64::consts::{PI, TAU};

use super::patch::{Patch, Point};
use super::path::distance;

/// The furthest step from one part to the next, mm: the spiral dips out of the slice's plane and comes back into it.
const FURTHEST_MM: f64 = 16.0;

/// How many trails are followed at a time.
const BEAM: usize = 12;

/// How often a trail is improved at most.
const ROUNDS: usize = 40;

/// A trail over more parts than an array has contacts is improved part by part: there are too many stretches.
const MOST_IN_STRETCHES: usize = 24;

/// What a node costs that is left out, and a contact that is missing between two parts.
const LEFT_OUT: f64 = 16.0;
const MISSING: f64 = 0.7;
/// The spread of ln(step / pitch) that costs 1.
const STEP_SPREAD: f64 = 0.35;
/// The spread of a turn, radians, against the turn before, and against going straight on.
const TURN_SPREAD: f64 = 0.6;
const STRAIGHT_SPREAD: f64 = 1.5;
/// No array turns back more sharply than this from one contact to the next, radians.
const SHARPEST: f64 = 2.6;
/// What a mm of darkness between two parts costs: wires join contacts.
const DARKNESS: f64 = 0.7;
/// What a mm between two parts costs: of two even trails, the one that leaves out every other contact is longer.
const LENGTH: f64 = 0.3;

/// A part of the mask, and whether it is walked backwards.
type Step = (usize, bool);

/// Parts in the order in which they are walked, and what that costs.
#[derive(Clone)]
struct Trail {
    steps: Vec<Step>,
    walk: Walk,
}

/// Where a trail has come to.
#[derive(Clone, Copy)]
struct Walk {
    cost: f64,
    nodes: usize,
    /// The distance of parts that follow each other, mm, as far as seen.
    pitch: Option<f64>,
    last: Point,
    /// The step to the last node, and its turn per mm.
    step: Option<Point>,
    bend: Option<f64>,
}

/// A mask's parts in the order of the array, from one end to the other, each as its nodes; parts may be left out.
pub(super) fn trail(parts: &[Vec<Point>], patch: &Patch) -> Vec<Vec<Point>> {
    let ground = Ground::of(parts, patch);
    let starts = (0..parts.len()).flat_map(|part| ground.ways(part).map(move |back| (part, back)));
    let mut best: Option<Trail> = None;
    for start in starts {
        ground.follow(start, &mut best);
    }
    let walked = |step: &Step| -> Vec<Point> { ground.nodes(*step).collect() };
    best.map_or_else(Vec::new, |best| ground.improved(best).steps.iter().map(walked).collect())
}

/// What trails are walked on.
struct Ground<'a> {
    parts: &'a [Vec<Point>],
    /// How much of the way between the ends of parts is dark, mm: by twice the part, plus one for its last node.
    dark: Vec<Vec<f64>>,
    /// The number of all nodes.
    all: usize,
}

impl<'a> Ground<'a> {
    fn of(parts: &'a [Vec<Point>], patch: &Patch) -> Self {
        let ends: Vec<Point> = parts.iter().flat_map(|nodes| [nodes[0], nodes[nodes.len() - 1]]).collect();
        let from = |from: &Point| ends.iter().map(|to| darkness(*from, *to, patch)).collect();
        Self { parts, dark: ends.iter().map(from).collect(), all: parts.iter().map(Vec::len).sum() }
    }

    /// A single node is walked one way only.
    fn ways(&self, part: usize) -> impl Iterator<Item = bool> + use<> {
        [false, true].into_iter().take(self.parts[part].len())
    }

    fn nodes(&self, (part, backwards): Step) -> impl Iterator<Item = Point> + Clone + use<'_> {
        let nodes = &self.parts[part];
        (0..nodes.len()).map(move |i| nodes[if backwards { nodes.len() - 1 - i } else { i }])
    }

    /// The cost of a walk with that of what it leaves out.
    fn full(&self, walk: &Walk) -> f64 {
        walk.cost + LEFT_OUT * (self.all - walk.nodes) as f64
    }

    /// Follows the cheapest trails from a start, and remembers the best of all.
    fn follow(&self, start: Step, best: &mut Option<Trail>) {
        let mut beam = vec![Trail { steps: vec![start], walk: self.start(start) }];
        while !beam.is_empty() {
            for trail in &beam {
                if best.as_ref().is_none_or(|best| self.full(&trail.walk) < self.full(&best.walk)) {
                    *best = Some(trail.clone());
                }
            }
            let limit = best.as_ref().map_or(f64::INFINITY, |best| self.full(&best.walk));
            let next = |(from, trail): (usize, &Trail)| -> Vec<(usize, Step, Walk)> {
                let open =
                    (0..self.parts.len()).filter(|part| trail.steps.iter().all(|(walked, _)| walked != part));
                let ways = open.flat_map(|part| self.ways(part).map(move |back| (part, back)));
                let last = trail.steps[trail.steps.len() - 1];
                ways.filter_map(|step| Some((from, step, self.and(trail.walk, last, step)?))).collect()
            };
            let mut longer: Vec<(usize, Step, Walk)> =
                beam.iter().enumerate().flat_map(next).filter(|(.., walk)| walk.cost < limit).collect();
            longer.sort_by(|a, b| self.full(&a.2).total_cmp(&self.full(&b.2)));
            longer.truncate(BEAM);
            let trail = |&(from, step, walk): &(usize, Step, Walk)| {
                let mut steps = beam[from].steps.clone();
                steps.push(step);
                Trail { steps, walk }
            };
            beam = longer.iter().map(trail).collect();
        }
    }

    /// Takes stretches of a trail out and puts them back elsewhere or the other way round, and parts in that it left out, for as long as that
    /// is cheaper: a trail that leaves a part out at first is cheaper there, and only pays when it comes back for it.
    fn improved(&self, mut best: Trail) -> Trail {
        for _ in 0..ROUNDS {
            let mut better: Option<Trail> = None;
            for (rest, stretch) in self.moves(&best) {
                let left_out = self.all
                    - rest.iter().chain(&stretch).map(|step| self.parts[step.0].len()).sum::<usize>();
                let turned = self.turned(&stretch);
                for at in 0..=rest.len() {
                    for stretch in [&stretch, &turned] {
                        let limit =
                            self.full(&better.as_ref().unwrap_or(&best).walk) - LEFT_OUT * left_out as f64;
                        let steps = rest[..at].iter().chain(stretch).chain(&rest[at..]).copied();
                        if let Some(walk) = self.walk(steps, limit - 1e-9) {
                            let (before, after) = rest.split_at(at);
                            better = Some(Trail { steps: [before, stretch, after].concat(), walk });
                        }
                    }
                }
            }
            match better {
                Some(better) => best = better,
                None => break,
            }
        }
        best
    }

    /// Each stretch of a trail and each part that it left out, with what is left of the trail then.
    fn moves(&self, trail: &Trail) -> Vec<(Vec<Step>, Vec<Step>)> {
        let n = trail.steps.len();
        let longest = if n > MOST_IN_STRETCHES { 1 } else { n };
        let ranges = (0..n).flat_map(|from| (from + 1..=n.min(from + longest)).map(move |to| from..to));
        let stretches = ranges.map(|stretch| {
            let mut rest = trail.steps.clone();
            let stretch = rest.drain(stretch).collect();
            (rest, stretch)
        });
        let left_out = (0..self.parts.len()).filter(|part| trail.steps.iter().all(|step| step.0 != *part));
        stretches.chain(left_out.map(|part| (trail.steps.clone(), vec![(part, false)]))).collect()
    }

    /// A stretch walked the other way round.
    fn turned(&self, stretch: &[Step]) -> Vec<Step> {
        let turned = |&(part, backwards): &Step| (part, !backwards && self.parts[part].len() > 1);
        stretch.iter().rev().map(turned).collect()
    }

    /// The walk over these parts if it costs less than a limit.
    fn walk(&self, mut steps: impl Iterator<Item = Step>, limit: f64) -> Option<Walk> {
        let mut last = steps.next()?;
        let mut walk = self.start(last);
        for step in steps {
            walk = self.and(walk, last, step).filter(|walk| walk.cost < limit)?;
            last = step;
        }
        (walk.cost < limit).then_some(walk)
    }

    fn start(&self, step: Step) -> Walk {
        let last = self.parts[step.0][if step.1 { self.parts[step.0].len() - 1 } else { 0 }];
        let walk = Walk { cost: 0.0, nodes: 0, pitch: None, last, step: None, bend: None };
        walk.over(self.nodes(step))
    }

    /// The walk and a step to the next part; none if that is too far or too sharp a turn.
    fn and(&self, walk: Walk, from: Step, to: Step) -> Option<Walk> {
        let mut nodes = self.nodes(to);
        let first = nodes.next()?;
        let step = minus(first, walk.last);
        let long = length(step);
        if long > FURTHEST_MM {
            return None;
        }
        let pitches = walk.pitch.map_or(1.0, |pitch| (long / pitch).round().max(1.0));
        let odd_step = walk.pitch.map_or(0.0, |pitch| (long / pitch / pitches).ln() / STEP_SPREAD);
        let dark = self.dark[2 * from.0 + usize::from(!from.1)][2 * to.0 + usize::from(to.1)];
        let mut longer = walk;
        longer.cost += odd_step * odd_step + MISSING * (pitches - 1.0) + DARKNESS * dark + LENGTH * long;
        longer.cost += walk.turn_cost(step, pitches)?;
        // The pitch forgets: a slice that leans shortens it here and there.
        let share = long / pitches;
        longer.pitch = Some(walk.pitch.map_or(share, |pitch| pitch + (share - pitch) * 0.4));
        longer.go(first);
        longer.nodes += 1;
        let mut next = nodes.clone();
        if let (Some(second), Some(_)) = (next.next(), next.next()) {
            // A band says at once where it goes: straight on from the step that leads to it.
            longer.cost += longer.turn_cost(minus(second, first), 1.0)?;
        }
        Some(longer.over_rest(nodes))
    }
}

impl Walk {
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

    /// The walk over a part's nodes, the first of which it has reached.
    fn over(mut self, mut nodes: impl Iterator<Item = Point>) -> Self {
        self.nodes += usize::from(nodes.next().is_some());
        self.over_rest(nodes)
    }

    fn over_rest(mut self, nodes: impl Iterator<Item = Point>) -> Self {
        for node in nodes {
            self.go(node);
            self.nodes += 1;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Grid;

    #[test]
    fn every_part_of_a_spiral_is_walked_in_its_order() {
        // Neighbouring turns lie nearer to each other than neighbouring contacts.
        let place = |i: usize| -> Point {
            let angle = 0.62 * i as f64;
            let radius = 4.6 - 0.18 * angle;
            [8.0 + radius * angle.sin(), 8.0 + radius * angle.cos()]
        };
        let places: Vec<Point> = (0..20).map(place).collect();
        let is_near = |row: usize, column: usize| {
            places.iter().any(|at| distance(*at, [row as f64 * 0.2, column as f64 * 0.2]) < 0.3)
        };
        let mask = Grid::from_fn(80, 80, is_near).unwrap();
        let image = mask.map(|&set| if set { 230 } else { 60 });
        let patch = Patch::around(&image, &mask, [0.2, 0.2]).unwrap();
        // Parts come in any order.
        let parts: Vec<Vec<Point>> = (0..20).map(|i| vec![places[i * 7 % 20]]).collect();
        let mut walked = trail(&parts, &patch).concat();
        if walked.first() != Some(&places[0]) {
            walked.reverse();
        }
        assert_eq!(walked, places);
    }
}
