//! Places along the middle of each part of a mask: what is put in order to make the array's line.
//!
//! A contact that stands alone is one part and has one node; a band of contacts that touch has several. The middle of a band
//! is its skeleton, which no grey level moves: where metal is brighter than white, the brightest places lie on its rim.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::patch::{Patch, Point};
use super::path::distance;
use crate::components::{Connectivity, components};
use crate::grid::{Mask, Spacing};
use crate::thinning::skeleton;

/// The distance of nodes along a band, mm.
const STEP_MM: f64 = 0.6;

/// A part with a shorter middle line is one contact.
const SHORTEST_BAND_MM: f64 = 0.45;

/// More parts than any array has contacts, twice over: a mask that has more shows something else.
const MOST: usize = 44;

type Pixel = (usize, usize);

/// The nodes of each of a mask's parts, from one end of the part to the other.
pub(super) fn nodes(mask: &Mask, patch: &Patch, spacing: Spacing) -> Vec<Vec<Point>> {
    let thin = skeleton(mask);
    let mut nodes = Vec::new();
    for part in components(mask, Connectivity::Eight) {
        let line: Vec<Pixel> = part.pixels.iter().copied().filter(|&at| thin[at]).collect();
        let line = longest(&line, spacing);
        let long: f64 = line.windows(2).map(|pair| distance(pair[0], pair[1])).sum();
        let widest = line.iter().map(|&at| patch.half_width(at)).fold(0.0, f64::max);
        match long > (1.5 * widest).max(SHORTEST_BAND_MM) {
            true => nodes.push(spread(&line, long)),
            false => nodes.push(vec![patch.centre_of(&part.pixels)]),
        }
    }
    nodes.sort_by_key(|part| std::cmp::Reverse(part.len()));
    nodes.truncate(MOST);
    nodes
}

/// The longest of the shortest ways between two pixels of a skeleton, as places in mm.
fn longest(pixels: &[Pixel], spacing: Spacing) -> Vec<Point> {
    let place = |at: Pixel| [at.0 as f64 * spacing[0], at.1 as f64 * spacing[1]];
    let Some(&first) = pixels.first() else { return Vec::new() };
    let furthest = |from: Pixel| {
        let ways = ways(pixels, from, place);
        let end = ways.iter().max_by(|a, b| a.1.0.total_cmp(&b.1.0).then(a.0.cmp(b.0)));
        let end = end.map_or(from, |(at, _)| *at);
        (end, ways)
    };
    let (end, _) = furthest(first);
    let (other, ways) = furthest(end);
    let back = std::iter::successors(Some(other), |at| ways.get(at).and_then(|way| way.1));
    back.map(place).collect()
}

/// The length of the shortest way from a pixel to each that it is joined to, and the pixel before it on that way (Dijkstra).
fn ways(
    pixels: &[Pixel],
    from: Pixel,
    place: impl Fn(Pixel) -> Point,
) -> HashMap<Pixel, (f64, Option<Pixel>)> {
    let mut ways: HashMap<Pixel, (f64, Option<Pixel>)> = HashMap::from([(from, (0.0, None))]);
    let there: HashSet<Pixel> = pixels.iter().copied().collect();
    let mut open = BinaryHeap::from([Open(0.0, from)]);
    while let Some(Open(way, at)) = open.pop() {
        if ways[&at].0 < way {
            continue;
        }
        for i in 0..9 {
            let (Some(row), Some(column)) = ((at.0 + i / 3).checked_sub(1), (at.1 + i % 3).checked_sub(1))
            else {
                continue;
            };
            let next = (row, column);
            let longer = way + distance(place(at), place(next));
            if there.contains(&next) && ways.get(&next).is_none_or(|known| longer < known.0) {
                ways.insert(next, (longer, Some(at)));
                open.push(Open(longer, next));
            }
        }
    }
    ways
}

/// The nearest first; among equals, by position.
struct Open(f64, Pixel);

impl Ord for Open {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0).then(other.1.cmp(&self.1))
    }
}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Open {}

/// Evenly spread places on a line of this length, its ends among them; each the mean of the line's points around it, since pixels
/// make steps.
fn spread(line: &[Point], long: f64) -> Vec<Point> {
    let gaps = (long / STEP_MM).round().max(1.0);
    let step = long / gaps;
    let mut ways = vec![0.0];
    for pair in line.windows(2) {
        ways.push(ways[ways.len() - 1] + distance(pair[0], pair[1]));
    }
    let node = |i: usize| {
        let middle = i as f64 * step;
        // Symmetric, so that the ends stay where they are.
        let reach = (step / 2.0).min(middle).min(long - middle).max(1e-9);
        let near = line.iter().zip(&ways).filter(|(_, way)| (**way - middle).abs() <= reach + 1e-9);
        let (sum, n) = near.fold(([0.0; 2], 0.0), |(sum, n): (Point, f64), (at, _)| {
            ([sum[0] + at[0], sum[1] + at[1]], n + 1.0)
        });
        if n > 0.0 {
            [sum[0] / n, sum[1] / n]
        } else {
            line[ways.partition_point(|way| *way < middle).min(line.len() - 1)]
        }
    };
    (0..=gaps as usize).map(node).collect()
}
