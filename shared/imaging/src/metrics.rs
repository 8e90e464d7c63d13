//! How well a mask agrees with the truth.
//!
//! Definitions follow Maier-Hein et al., "Metrics reloaded" (Nature Methods 2024). An empty truth or an empty mask has no ratio
//! and no distance of its own, so these are fixed here: **both empty** is perfect agreement (IoU = Dice = precision = recall =
//! surface Dice = 1, distances 0); **one empty** is none at all (overlaps 0, distances absent).

use serde::{Deserialize, Serialize};

use crate::distance::to_nearest_set;
use crate::grid::{Grid, GridError, Mask, Region, Spacing};
use crate::thinning::skeleton;

/// Ratios of pixel counts, each 0..=1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    /// Intersection over union (Jaccard index).
    pub iou: f64,
    /// Dice coefficient (F1 score).
    pub dice: f64,
    /// The part of the mask that is true.
    pub precision: f64,
    /// The part of the truth that is in the mask (sensitivity).
    pub recall: f64,
}

impl Overlap {
    /// The overlap of a mask with the truth. An error if their sizes differ.
    pub fn of(truth: &Mask, mask: &Mask) -> Result<Self, GridError> {
        truth.check_same_size(mask)?;
        let both = truth.values().iter().zip(mask.values()).filter(|(truth, mask)| **truth && **mask).count();
        Ok(Self::from_counts(truth.count(), mask.count(), both))
    }

    /// The overlap from the pixel counts of the truth, of the mask, and of both at once.
    pub fn from_counts(truth: usize, mask: usize, both: usize) -> Self {
        if truth == 0 && mask == 0 {
            return Self { iou: 1.0, dice: 1.0, precision: 1.0, recall: 1.0 };
        }
        let ratio = |part: usize, whole: usize| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        Self {
            iou: ratio(both, (truth + mask).saturating_sub(both)),
            dice: ratio(2 * both, truth + mask),
            precision: ratio(both, mask),
            recall: ratio(both, truth),
        }
    }
}

/// The distances from each pixel of one set to the nearest of the other, both ways.
struct Distances {
    from_truth: Vec<f64>,
    from_mask: Vec<f64>,
}

enum Compared {
    BothEmpty,
    OneEmpty,
    Distances(Distances),
}

/// The 95 % Hausdorff distance of the surfaces, in mm (in pixels with [`PIXELS`](crate::PIXELS)): the greater of the two directed
/// 95th percentiles, interpolated between ranks. A surface is the mask's pixels with a 4-neighbour outside it (the picture's
/// border counts as outside). None if exactly one mask is empty.
pub fn hausdorff95(truth: &Mask, mask: &Mask, spacing: Spacing) -> Result<Option<f64>, GridError> {
    Ok(match compare(truth, mask, spacing, surface)? {
        Compared::BothEmpty => Some(0.0),
        Compared::OneEmpty => None,
        Compared::Distances(Distances { from_truth, from_mask }) => {
            Some(percentile(from_truth, 0.95).max(percentile(from_mask, 0.95)))
        }
    })
}

/// Normalised surface Dice: the part of both surfaces that lies within `tolerance` (mm, or pixels with [`PIXELS`](crate::PIXELS)) of
/// the other one. Pixels are counted, as thin surfaces have nearly equal elements.
pub fn surface_dice(truth: &Mask, mask: &Mask, spacing: Spacing, tolerance: f64) -> Result<f64, GridError> {
    Ok(match compare(truth, mask, spacing, surface)? {
        Compared::BothEmpty => 1.0,
        Compared::OneEmpty => 0.0,
        Compared::Distances(Distances { from_truth, from_mask }) => {
            let all = from_truth.len() + from_mask.len();
            let near = from_truth.iter().chain(&from_mask).filter(|&&distance| distance <= tolerance).count();
            near as f64 / all as f64
        }
    })
}

/// The mean distance between the centre lines, in mm (in pixels with [`PIXELS`](crate::PIXELS)): the mean of the two directed means
/// between the skeletons (Zhang-Suen). It tells a displaced array from one that is only drawn thicker. None if exactly one mask
/// is empty.
pub fn centreline_distance(truth: &Mask, mask: &Mask, spacing: Spacing) -> Result<Option<f64>, GridError> {
    Ok(match compare(truth, mask, spacing, skeleton)? {
        Compared::BothEmpty => Some(0.0),
        Compared::OneEmpty => None,
        Compared::Distances(Distances { from_truth, from_mask }) => {
            let mean = |distances: Vec<f64>| distances.iter().sum::<f64>() / distances.len() as f64;
            Some((mean(from_truth) + mean(from_mask)) / 2.0)
        }
    })
}

/// The pixels of a mask with a 4-neighbour outside it.
pub fn surface(mask: &Mask) -> Mask {
    let (rows, columns) = mask.size();
    let inner = |row: usize, column: usize| {
        row > 0
            && column > 0
            && row + 1 < rows
            && column + 1 < columns
            && mask[(row - 1, column)]
            && mask[(row + 1, column)]
            && mask[(row, column - 1)]
            && mask[(row, column + 1)]
    };
    let mut surface = mask.like(false);
    for ((row, column), _) in mask.cells().filter(|cell| *cell.1) {
        surface[(row, column)] = !inner(row, column);
    }
    surface
}

fn compare(
    truth: &Mask,
    mask: &Mask,
    spacing: Spacing,
    part: impl Fn(&Mask) -> Mask,
) -> Result<Compared, GridError> {
    truth.check_same_size(mask)?;
    match (truth.is_blank(), mask.is_blank()) {
        (true, true) => return Ok(Compared::BothEmpty),
        (false, false) => {}
        _ => return Ok(Compared::OneEmpty),
    }
    // Nothing outside the box around both can be nearest to anything.
    let set = |mask: &Mask| mask.cells().filter(|cell| *cell.1).map(|cell| cell.0).collect::<Vec<_>>();
    let region = Region::around(set(truth).into_iter().chain(set(mask))).unwrap_or(truth.whole());
    let (truth, mask) = (part(&truth.crop(region)?), part(&mask.crop(region)?));
    let from_truth = chosen(&to_nearest_set(&mask, spacing), &truth);
    let from_mask = chosen(&to_nearest_set(&truth, spacing), &mask);
    Ok(Compared::Distances(Distances { from_truth, from_mask }))
}

fn chosen(distances: &Grid<f64>, at: &Mask) -> Vec<f64> {
    distances
        .values()
        .iter()
        .zip(at.values())
        .filter(|(_, set)| **set)
        .map(|(distance, _)| *distance)
        .collect()
}

/// A percentile of at least one value, linear between ranks (numpy's default).
fn percentile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let rank = part * (values.len() - 1) as f64;
    let (low, high) = (values[rank.floor() as usize], values[rank.ceil() as usize]);
    low + (high - low) * rank.fract()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::PIXELS;

    fn block(row: usize, column: usize, rows: usize, columns: usize) -> Mask {
        Grid::from_fn(20, 30, |r, c| {
            (row..row + rows).contains(&r) && (column..column + columns).contains(&c)
        })
        .unwrap()
    }

    #[test]
    fn overlap_is_counted_by_hand() {
        // 4 x 4 = 16 true, 4 x 6 = 24 in the mask, 4 x 3 = 12 in both; union 28.
        let overlap = Overlap::of(&block(2, 2, 4, 4), &block(2, 3, 4, 6)).unwrap();
        assert_eq!(overlap, Overlap { iou: 12.0 / 28.0, dice: 24.0 / 40.0, precision: 0.5, recall: 0.75 });
    }

    #[test]
    fn distances_are_measured_by_hand() {
        let (truth, moved) = (block(5, 5, 6, 6), block(5, 8, 6, 6));
        // The truth's surface has 20 pixels. Its left column (6) is 3 from the moved surface, the rows above and below have one
        // pixel each at 2, 1 and 0: rank 0.95 * 19 = 18.05 is among the 3s.
        assert_eq!(hausdorff95(&truth, &moved, PIXELS).unwrap(), Some(3.0));
        assert_eq!(hausdorff95(&truth, &moved, [7.0, 0.5]).unwrap(), Some(1.5));
        assert_eq!(hausdorff95(&truth, &truth, PIXELS).unwrap(), Some(0.0));
        assert_eq!(surface_dice(&truth, &truth, PIXELS, 0.0).unwrap(), 1.0);
        assert_eq!(surface_dice(&truth, &moved, PIXELS, 3.0).unwrap(), 1.0);
        assert_eq!(surface_dice(&truth, &block(5, 20, 6, 6), PIXELS, 3.0).unwrap(), 0.0);
    }

    #[test]
    fn the_centreline_ignores_thickness_and_sees_displacement() {
        let (thin, thick, moved) = (block(9, 4, 1, 20), block(8, 4, 3, 20), block(12, 4, 1, 20));
        assert!(centreline_distance(&thin, &thick, PIXELS).unwrap().unwrap() < 0.2);
        assert_eq!(centreline_distance(&thin, &moved, PIXELS).unwrap(), Some(3.0));
        assert_eq!(centreline_distance(&thin, &moved, [0.125, 9.0]).unwrap(), Some(0.375));
    }

    #[test]
    fn empty_masks_are_defined() {
        let (blank, full) = (block(0, 0, 0, 0), block(1, 1, 3, 3));
        let overlap = |truth, mask| Overlap::of(truth, mask).unwrap();
        assert_eq!(overlap(&blank, &blank), Overlap { iou: 1.0, dice: 1.0, precision: 1.0, recall: 1.0 });
        let none = Overlap { iou: 0.0, dice: 0.0, precision: 0.0, recall: 0.0 };
        for (truth, mask) in [(&blank, &full), (&full, &blank)] {
            assert_eq!(overlap(truth, mask), none);
            assert_eq!(hausdorff95(truth, mask, PIXELS).unwrap(), None);
            assert_eq!(centreline_distance(truth, mask, PIXELS).unwrap(), None);
            assert_eq!(surface_dice(truth, mask, PIXELS, 1.0).unwrap(), 0.0);
        }
        assert_eq!(hausdorff95(&blank, &blank, PIXELS).unwrap(), Some(0.0));
        assert_eq!(centreline_distance(&blank, &blank, PIXELS).unwrap(), Some(0.0));
        assert_eq!(surface_dice(&blank, &blank, PIXELS, 1.0).unwrap(), 1.0);
    }

    #[test]
    fn masks_of_different_sizes_are_an_error() {
        let other = Grid::filled(20, 31, true).unwrap();
        assert!(Overlap::of(&block(1, 1, 3, 3), &other).is_err());
        assert!(hausdorff95(&block(1, 1, 3, 3), &other, PIXELS).is_err());
    }

    #[test]
    fn the_percentile_is_interpolated() {
        assert_eq!(percentile((0..=100).map(f64::from).collect(), 0.95), 95.0);
        assert_eq!(percentile(vec![10.0, 0.0], 0.95), 9.5);
        assert_eq!(percentile(vec![4.0], 0.95), 4.0);
    }
}
