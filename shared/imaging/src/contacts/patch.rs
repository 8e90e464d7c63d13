//! The part of a picture around a mask, on a square grid in mm: what comes after need not know of pixels.

use crate::distance::to_nearest_set;
use crate::grid::{Grid, Image8, Mask, Region, Spacing, Values};

/// A place in mm: downwards (rows), to the right (columns), from the centre of the picture's first pixel.
pub(super) type Point = [f64; 2];

/// The grid's step, mm: a third of the sharpest spot.
pub(super) const STEP_MM: f64 = 0.08;

/// What is looked at around the mask, mm.
const MARGIN_MM: f64 = 1.6;

/// A mask that reaches further is no array's: the longest one, stretched out, is 31.5 mm long.
const WIDEST_MM: f64 = 60.0;

/// Grey levels on a grid of [`STEP_MM`].
pub(super) struct Patch<'a> {
    pub(super) greys: Values,
    origin: Point,
    mask: &'a Mask,
    spacing: Spacing,
    /// For every pixel the distance to the nearest one outside of the mask, mm.
    depths: Grid<f64>,
    /// The usual grey levels around the metal and in its middle.
    levels: (f64, f64),
}

impl<'a> Patch<'a> {
    /// The patch around a mask; none where the mask is empty or wider than any array.
    pub(super) fn around(image: &Image8, mask: &'a Mask, spacing: Spacing) -> Option<Self> {
        let region = Region::around(mask.cells().filter(|cell| *cell.1).map(|cell| cell.0))?;
        let corner = [region.row, region.column];
        let extent = [region.rows, region.columns];
        let size: [f64; 2] = std::array::from_fn(|i| extent[i] as f64 * spacing[i]);
        if !size.iter().all(|mm| *mm <= WIDEST_MM) {
            return None;
        }
        let origin: Point = std::array::from_fn(|i| corner[i] as f64 * spacing[i] - MARGIN_MM);
        let steps = size.map(|mm| ((mm + 2.0 * MARGIN_MM) / STEP_MM).ceil() as usize + 1);
        let grey = |row: usize, column: usize| {
            let at = [origin[0] + row as f64 * STEP_MM, origin[1] + column as f64 * STEP_MM];
            cubic(image, at[0] / spacing[0], at[1] / spacing[1])
        };
        let greys = Grid::from_fn(steps[0], steps[1], grey).ok()?;
        let depths = to_nearest_set(&mask.map(|&set| !set), spacing);
        let levels = levels(image, mask);
        Some(Self { greys, origin, mask, spacing, depths, levels })
    }

    /// The grey level at a place, by bilinear interpolation on the patch.
    pub(super) fn grey(&self, at: Point) -> f64 {
        let inside = |mm: f64, length: usize| (mm / STEP_MM).clamp(0.0, (length - 1) as f64 - 1e-6).max(0.0);
        let (row, column) = (
            inside(at[0] - self.origin[0], self.greys.rows()),
            inside(at[1] - self.origin[1], self.greys.columns()),
        );
        let (top, left) = (row as usize, column as usize);
        let (down, right) = (row - top as f64, column - left as f64);
        let value = |row, column| f64::from(*self.greys.get(row, column).unwrap_or(&0.0));
        let across = |row| value(row, left) * (1.0 - right) + value(row, left + 1) * right;
        across(top) * (1.0 - down) + across(top + 1) * down
    }

    /// The grey level at a place, 0 as around the metal and 1 as in its middle.
    pub(super) fn brightness(&self, at: Point) -> f64 {
        let (ground, metal) = self.levels;
        ((self.grey(at) - ground) / (metal - ground).max(1.0)).clamp(0.0, 1.0)
    }

    /// Whether the pixel at a place is in the mask.
    pub(super) fn is_in_mask(&self, at: Point) -> bool {
        self.pixel(at).is_some_and(|at| self.mask[at])
    }

    /// How far the mask reaches around a place, mm; 0 outside of it.
    pub(super) fn half_width(&self, at: Point) -> f64 {
        self.pixel(at).map_or(0.0, |at| self.depths[at])
    }

    /// The middle of some pixels, the brighter the heavier, mm.
    pub(super) fn centre_of(&self, pixels: &[(usize, usize)]) -> Point {
        let place = |at: &(usize, usize)| [at.0 as f64 * self.spacing[0], at.1 as f64 * self.spacing[1]];
        let (sum, weight) = pixels.iter().map(place).fold(([0.0; 2], 0.0), |(sum, weight), at| {
            let light = self.brightness(at).max(0.05);
            ([sum[0] + light * at[0], sum[1] + light * at[1]], weight + light)
        });
        [sum[0] / weight, sum[1] / weight]
    }

    fn pixel(&self, at: Point) -> Option<(usize, usize)> {
        let [row, column]: [f64; 2] = std::array::from_fn(|i| (at[i] / self.spacing[i]).round());
        let pixel = (row as usize, column as usize);
        (row >= 0.0 && column >= 0.0 && self.mask.get(pixel.0, pixel.1).is_some()).then_some(pixel)
    }
}

/// The median of what lies in the mask, and the lower quartile of what lies beside it.
fn levels(image: &Image8, mask: &Mask) -> (f64, f64) {
    let near = Grid::from_fn(mask.rows(), mask.columns(), |row, column| {
        let rows = row.saturating_sub(4)..(row + 5).min(mask.rows());
        !mask[(row, column)]
            && rows.into_iter().any(|r| {
                mask.row(r)[column.saturating_sub(4)..(column + 5).min(mask.columns())].contains(&true)
            })
    });
    let of = |where_: &Mask, share: usize| {
        let mut greys: Vec<u8> = image
            .values()
            .iter()
            .zip(where_.values())
            .filter(|(_, set)| **set)
            .map(|(grey, _)| *grey)
            .collect();
        greys.sort_unstable();
        greys.get(greys.len() / share).map_or(0.0, |grey| f64::from(*grey))
    };
    (near.map_or(0.0, |near| of(&near, 4)), of(mask, 2))
}

/// The grey level between pixels, by Catmull and Rom's cubic; beyond the border, that of the border.
fn cubic(image: &Image8, row: f64, column: f64) -> f32 {
    let (top, left) = (row.floor(), column.floor());
    let (down, right) = (weights(row - top), weights(column - left));
    let clamped =
        |from: f64, i: usize, length: usize| (from + i as f64 - 1.0).clamp(0.0, (length - 1) as f64) as usize;
    let line = |row: usize| -> f64 {
        let values = image.row(row);
        right.iter().enumerate().map(|(i, w)| w * f64::from(values[clamped(left, i, values.len())])).sum()
    };
    let sum: f64 = down.iter().enumerate().map(|(i, w)| w * line(clamped(top, i, image.rows()))).sum();
    sum as f32
}

fn weights(t: f64) -> [f64; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [
        (-t3 + 2.0 * t2 - t) / 2.0,
        (3.0 * t3 - 5.0 * t2 + 2.0) / 2.0,
        (-3.0 * t3 + 4.0 * t2 + t) / 2.0,
        (t3 - t2) / 2.0,
    ]
}

/// Weights of a Gaussian of this sigma in steps: odd length, sum 1.
pub(super) fn gaussian(sigma: f64) -> Vec<f64> {
    let half = (sigma * 3.0).ceil().max(1.0) as i32;
    let weights: Vec<f64> = (-half..=half).map(|i| (-0.5 * (f64::from(i) / sigma).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// A line smoothed by such weights; beyond its ends, the ends.
pub(super) fn smoothed(line: &[f64], weights: &[f64]) -> Vec<f64> {
    let half = weights.len() / 2;
    let value = |i: usize, k: usize| line[(i + k).saturating_sub(half).min(line.len() - 1)];
    (0..line.len())
        .map(|i| weights.iter().enumerate().map(|(k, weight)| weight * value(i, k)).sum())
        .collect()
}
