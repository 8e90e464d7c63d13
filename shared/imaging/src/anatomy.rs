//! Where the anatomy is: the box around the largest bright part.
//!
//! The pipeline is the one people write with OpenCV, number for number: `GaussianBlur((5, 5), 0)`, `threshold(OTSU)`,
//! `findContours(RETR_EXTERNAL)`, the bounding box of the contour with the largest `contourArea`.

use crate::contour;
use crate::grid::{Grid, Image8, Mask, Region};

/// A part must enclose more than this many pixels to be anatomy.
pub const LEAST_AREA: f64 = 100.0;

/// The box around the anatomy: around the largest part of the Otsu mask; the whole picture if no part is over [`LEAST_AREA`].
pub fn crop_box(image: &Image8) -> Region {
    let smooth = blur(image);
    let threshold = otsu(&smooth);
    let bright = smooth.map(|&grey| grey > threshold);
    largest_part(&bright).unwrap_or(image.whole())
}

fn largest_part(mask: &Mask) -> Option<Region> {
    let mut best: Option<(f64, contour::Outline)> = None;
    for outline in contour::outlines(mask) {
        let area = contour::area(&outline);
        if area > best.as_ref().map_or(LEAST_AREA, |best| best.0) {
            best = Some((area, outline));
        }
    }
    Region::around(best?.1)
}

/// OpenCV's `GaussianBlur((5, 5), 0)` for 8 bits: weights 1 4 6 4 1 over 16 in both directions, exact sums, one rounding, border
/// mirrored without repeating its pixel.
pub fn blur(image: &Image8) -> Image8 {
    let (rows, columns) = image.size();
    let mut across: Grid<u16> = image.like(0);
    for row in 0..rows {
        let line = image.row(row);
        let padded: Vec<u16> = (0..columns + 4).map(|at| u16::from(line[mirrored(at, columns)])).collect();
        for (k, weight) in BINOMIAL.into_iter().enumerate() {
            add(across.row_mut(row), &padded[k..], weight);
        }
    }
    let mut smooth = image.like(0);
    for row in 0..rows {
        // At most 16 x 16 x 255 + 128: it fits 16 bits.
        let mut sum = vec![128; columns];
        for (k, weight) in BINOMIAL.into_iter().enumerate() {
            add(&mut sum, across.row(mirrored(row + k, rows)), weight);
        }
        smooth.row_mut(row).iter_mut().zip(sum).for_each(|(grey, sum)| *grey = (sum / 256) as u8);
    }
    smooth
}

const BINOMIAL: [u16; 5] = [1, 4, 6, 4, 1];

fn add(sums: &mut [u16], values: &[u16], weight: u16) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
}

/// The position `shifted - 2`, mirrored at the ends of `length` (OpenCV's BORDER_REFLECT_101).
fn mirrored(shifted: usize, length: usize) -> usize {
    let last = length as isize - 1;
    let mut at = shifted as isize - 2;
    // A side of one or two pixels is shorter than the filter's reach.
    while last > 0 && !(0..=last).contains(&at) {
        at = if at < 0 { -at } else { 2 * last - at };
    }
    at.clamp(0, last) as usize
}

/// Otsu's threshold: the grey that best parts the histogram in two (greater than it is bright). The first best, as in OpenCV.
pub fn otsu(image: &Image8) -> u8 {
    let mut histogram = [0_u32; 256];
    image.values().iter().for_each(|&grey| histogram[usize::from(grey)] += 1);
    let scale = 1.0 / image.values().len() as f64;
    let mean = histogram.iter().enumerate().map(|(grey, &n)| grey as f64 * f64::from(n)).sum::<f64>() * scale;
    let (mut dark, mut dark_mean, mut best, mut threshold) = (0.0, 0.0, 0.0, 0);
    for (grey, &n) in histogram.iter().enumerate() {
        let part = f64::from(n) * scale;
        dark_mean *= dark;
        dark += part;
        let bright = 1.0 - dark;
        if dark.min(bright) < f64::from(f32::EPSILON) || dark.max(bright) > 1.0 - f64::from(f32::EPSILON) {
            continue;
        }
        dark_mean = (dark_mean + grey as f64 * part) / dark;
        let bright_mean = (mean - dark * dark_mean) / bright;
        let between = dark * bright * (dark_mean - bright_mean) * (dark_mean - bright_mean);
        if between > best {
            (best, threshold) = (between, grey as u8);
        }
    }
    threshold
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::real;

    /// Noise that the reference values were made from, too.
    fn noise(mut seed: u64, rows: usize, columns: usize) -> Image8 {
        Grid::from_fn(rows, columns, |_, _| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 56) as u8
        })
        .unwrap()
    }

    #[test]
    fn the_blur_is_that_of_opencv() {
        let smooth = blur(&noise(1, 12, 17));
        let first = [131, 130, 136, 153, 162, 148, 129, 131, 140, 133, 134, 153, 152, 125, 110, 115, 119];
        assert_eq!(smooth.row(0), first);
        assert_eq!(smooth.values().iter().map(|&grey| u32::from(grey)).sum::<u32>(), 25593);
        assert_eq!(blur(&noise(7, 1, 9)).values(), [198, 201, 177, 118, 72, 65, 88, 127, 148]);
        assert_eq!(blur(&noise(7, 9, 1)).values(), [198, 201, 177, 118, 72, 65, 88, 127, 148]);
        assert_eq!(blur(&noise(7, 2, 2)).values(), [168; 4]);
        assert_eq!(blur(&Grid::filled(3, 3, 255).unwrap()).values(), [255; 9]);
    }

    #[test]
    fn the_threshold_is_that_of_opencv() {
        assert_eq!(otsu(&blur(&noise(1, 12, 17))), 124);
        assert_eq!(otsu(&Grid::filled(4, 4, 9).unwrap()), 0);
    }

    #[test]
    fn the_box_holds_the_largest_part_as_with_opencv() {
        let grain = noise(3, 80, 100);
        let image = Grid::from_fn(80, 100, |row, column| {
            let disc = row.abs_diff(40).pow(2) + column.abs_diff(60).pow(2) <= 625;
            let block = (4..=30).contains(&row) && (3..=20).contains(&column);
            let dot = (10..13).contains(&row) && (30..33).contains(&column);
            let grey =
                [(dot, 255), (block, 200), (disc, 150)].iter().find(|part| part.0).map_or(20, |part| part.1);
            (grey + u16::from(grain[(row, column)] / 16)) as u8
        })
        .unwrap();
        // OpenCV 5.0: threshold 87, contourArea 1886.
        assert_eq!(crop_box(&image), Region { row: 16, column: 36, rows: 49, columns: 49 });
    }

    #[test]
    fn real_slices_have_the_boxes_that_opencv_finds() {
        let Some(slices) = real::cbct_pictures() else { return };
        let boxes = [(3, 253, 233), (72, 184, 161), (11, 245, 247), (3, 253, 233), (75, 181, 161)];
        for ((name, image), (row, rows, columns)) in slices.iter().zip(boxes) {
            assert_eq!(crop_box(image), Region { row, column: 0, rows, columns }, "{name}");
        }
    }

    #[test]
    fn without_a_large_part_the_whole_picture_is_kept() {
        for image in [
            Grid::filled(30, 20, 7).unwrap(),
            Grid::from_fn(30, 20, |r, c| if r < 8 && c < 8 { 200 } else { 0 }).unwrap(),
        ] {
            assert_eq!(crop_box(&image), image.whole());
        }
    }
}
