//! What a mask measures: area, extent, position, parts, the electrode array in it, and how sure the network was of it.

use serde::{Deserialize, Serialize};

use crate::components::{Connectivity, centroid, components};
use crate::contacts::{ElectrodeArray, electrode_array};
use crate::grid::{GridError, Image8, Mask, Spacing, Values};

/// The numbers of one mask. Lengths and areas in mm are absent where the slice has no PixelSpacing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurements {
    /// The number of electrode pixels.
    pub electrode_px: usize,
    /// Their area, in mm2.
    pub area_mm2: Option<f64>,
    /// The largest distance between the centres of two electrode pixels, in mm: 0 for a single pixel, absent for an empty mask.
    pub extent_mm: Option<f64>,
    /// The mean position of the electrode pixels, (row, column) in pixels; absent for an empty mask.
    pub centroid: Option<(f64, f64)>,
    /// The number of 8-connected parts.
    pub components: usize,
    /// The electrode array; absent for an empty mask and without PixelSpacing.
    #[serde(default)]
    pub array: Option<ElectrodeArray>,
    /// How unsure the network was of the mask, 0 to 1; absent where nobody asked it.
    #[serde(default)]
    pub uncertainty: Option<f64>,
}

impl Measurements {
    /// Measures a mask on its slice; `spacing` is the slice's PixelSpacing.
    pub fn of(image: &Image8, mask: &Mask, spacing: Option<Spacing>) -> Self {
        let parts = components(mask, Connectivity::Eight);
        let electrode_px = parts.iter().map(|part| part.area()).sum();
        Self {
            electrode_px,
            area_mm2: spacing.map(|spacing| electrode_px as f64 * spacing[0] * spacing[1]),
            extent_mm: spacing.and_then(|spacing| extent(mask, spacing)),
            centroid: centroid(parts.iter().flat_map(|part| part.pixels.iter().copied())),
            components: parts.len(),
            array: spacing.and_then(|spacing| electrode_array(image, mask, spacing)),
            uncertainty: None,
        }
    }
}

/// How far two predictions of one picture differ, 0 to 1: one minus the sum of the lesser probabilities over that of the greater ones
/// (Ruzicka's distance, the soft form of 1 - IoU). Pixels that both take for background don't count, and a few pixels that hardly
/// anybody takes for more are no great difference: the divisor is at least the sum that makes an array.
///
/// # Errors
/// When their sizes differ.
pub fn disagreement(one: &Values, other: &Values) -> Result<f64, GridError> {
    one.check_same_size(other)?;
    let pairs = one.values().iter().zip(other.values()).map(|(a, b)| (a.min(*b), a.max(*b)));
    let (low, high) = pairs
        .filter(|(_, high)| *high >= LEAST_PROBABILITY)
        .fold((0.0, 0.0), |sum, (low, high)| (sum.0 + f64::from(low), sum.1 + f64::from(high)));
    Ok((high - low) / high.max(LEAST_SUM))
}

/// A lower sum of probabilities is no array: one minus a ratio would call next to nothing the least sure of all.
const LEAST_SUM: f64 = 16.0;

/// A lower probability is background: thousands of such pixels would outweigh an array.
const LEAST_PROBABILITY: f32 = 0.05;

/// The largest distance between the centres of two pixels of a mask, in mm (in pixels with [`PIXELS`](crate::PIXELS)); none if the mask
/// is empty.
pub fn extent(mask: &Mask, spacing: Spacing) -> Option<f64> {
    farthest(&hull_of(mask), spacing)
}

/// The largest distance between two of these corners of a convex hull, in mm.
pub(crate) fn farthest(hull: &[(i64, i64)], spacing: Spacing) -> Option<f64> {
    let off = |a: (i64, i64), b: (i64, i64)| {
        ((a.0 - b.0) as f64 * spacing[0]).hypot((a.1 - b.1) as f64 * spacing[1])
    };
    // The farthest pair are corners of the convex hull, and a hull of whole numbers has few corners: all pairs are cheap.
    let pairs = hull.iter().enumerate().flat_map(|(i, &a)| hull[i..].iter().map(move |&b| off(a, b)));
    pairs.max_by(f64::total_cmp)
}

/// The convex hull's corners, over the first and last pixel of each row.
fn hull_of(mask: &Mask) -> Vec<(i64, i64)> {
    let mut ends = Vec::new();
    for row in 0..mask.rows() {
        let line = mask.row(row);
        if let (Some(first), Some(last)) =
            (line.iter().position(|&set| set), line.iter().rposition(|&set| set))
        {
            ends.push((row as i64, first as i64));
            ends.push((row as i64, last as i64));
        }
    }
    hull(ends)
}

/// The corners of the convex hull of some points, in order around it (Andrew's monotone chain). Those of the first and the last
/// point in reading order appear twice.
pub(crate) fn hull(mut points: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    points.sort_unstable();
    points.dedup();
    let mut corners = half_hull(points.iter().copied());
    corners.extend(half_hull(points.iter().rev().copied()));
    corners
}

fn half_hull(points: impl Iterator<Item = (i64, i64)>) -> Vec<(i64, i64)> {
    let turn =
        |a: (i64, i64), b: (i64, i64), c: (i64, i64)| (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0);
    let mut chain: Vec<(i64, i64)> = Vec::new();
    for point in points {
        while let [.., a, b] = chain[..] {
            if turn(a, b, point) > 0 {
                break;
            }
            chain.pop();
        }
        chain.push(point);
    }
    chain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::grid::{Grid, PIXELS};

    #[test]
    fn a_block_is_measured_by_hand() {
        let mask = Grid::from_fn(20, 30, |r, c| (5..8).contains(&r) && (10..14).contains(&c)).unwrap();
        let measured = Measurements::of(&mask.like(0), &mask, Some([0.5, 0.25]));
        assert_eq!(measured.electrode_px, 12);
        assert_eq!(measured.area_mm2, Some(12.0 * 0.125));
        assert_eq!(measured.extent_mm, Some((2.0_f64 * 0.5).hypot(3.0 * 0.25)));
        assert_eq!((measured.centroid, measured.components), (Some((6.0, 11.5)), 1));
    }

    #[test]
    fn without_spacing_there_are_no_mm_and_an_empty_mask_has_area_zero() {
        let blank = Grid::filled(4, 4, false).unwrap();
        let measured = Measurements::of(&blank.like(0), &blank, Some([1.0, 1.0]));
        assert_eq!((measured.electrode_px, measured.area_mm2, measured.extent_mm), (0, Some(0.0), None));
        assert_eq!((measured.centroid, measured.components), (None, 0));
        let dot = Grid::from_fn(4, 4, |r, c| r == 1 && c == 2).unwrap();
        let measured = Measurements::of(&dot.like(0), &dot, None);
        assert_eq!((measured.area_mm2, measured.extent_mm), (None, None));
        assert_eq!(extent(&dot, PIXELS), Some(0.0));
    }

    #[test]
    fn predictions_disagree_by_what_only_one_of_them_sees() {
        // Each value twelve times over.
        let row = |values: [f32; 4]| Grid::new(12, 4, values.repeat(12)).unwrap();
        let seen = row([0.0, 0.5, 1.0, 0.01]);
        let differ = |other| disagreement(&seen, &row(other)).unwrap();
        assert_eq!(differ([0.04, 0.5, 1.0, 0.0]), 0.0);
        assert_eq!(differ([0.0, 1.0, 0.5, 0.0]), 0.5);
        assert_eq!(differ([1.0, 0.0, 0.0, 0.0]), 1.0);
        assert_eq!(disagreement(&row([0.0; 4]), &row([0.04; 4])), Ok(0.0));
        // Two pixels that only one of them takes for electrode are no array, and less than half an array in dispute.
        let speck = |value| {
            Grid::from_fn(9, 9, |row, column| if (row, column / 2) == (4, 2) { value } else { 0.0 }).unwrap()
        };
        assert_eq!(disagreement(&speck(0.0), &speck(1.0)), Ok(2.0 / 16.0));
        assert_eq!(disagreement(&speck(0.0), &speck(0.0)), Ok(0.0));
        assert!(disagreement(&seen, &Grid::filled(2, 2, 0.0).unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn the_extent_is_that_of_all_pairs(bits in proptest::collection::vec(proptest::bool::weighted(0.2), 120), row_mm in 0.1_f64..4.0) {
            let mask = Grid::new(10, 12, bits).unwrap();
            let set: Vec<_> = mask.cells().filter(|cell| *cell.1).map(|cell| cell.0).collect();
            let off = |a: (usize, usize), b: (usize, usize)| (a.0.abs_diff(b.0) as f64 * row_mm).hypot(a.1.abs_diff(b.1) as f64);
            let farthest = set.iter().flat_map(|&a| set.iter().map(move |&b| off(a, b))).max_by(f64::total_cmp);
            prop_assert_eq!(extent(&mask, [row_mm, 1.0]), farthest);
        }
    }
}
