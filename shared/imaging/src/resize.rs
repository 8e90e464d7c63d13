//! Other sizes: bilinear with antialiasing for pictures, nearest neighbour for masks.
//!
//! Positions follow the pixel centres: output pixel `i` looks at `(i + 0.5) * input / output - 0.5`. The bilinear filter is the
//! triangle, widened when shrinking so that every input pixel counts (as PIL and `antialias=True` in torchvision do).

use crate::grid::{Grid, GridError, Image8, Values};

/// For one output pixel: the first input pixel that counts, and the weights from there on (they sum to 1).
struct Taps {
    start: usize,
    weights: Vec<f32>,
}

fn taps(input: usize, output: usize) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    let reach = scale.max(1.0);
    let tap = |i: usize| {
        let centre = (i as f64 + 0.5) * scale - 0.5;
        let start = (centre - reach).ceil().max(0.0) as usize;
        let end = ((centre + reach).floor() as usize).min(input - 1);
        let raw: Vec<f64> =
            (start..=end).map(|k| (1.0 - (k as f64 - centre).abs() / reach).max(0.0)).collect();
        let sum: f64 = raw.iter().sum();
        Taps { start, weights: raw.iter().map(|weight| (weight / sum) as f32).collect() }
    };
    (0..output).map(tap).collect()
}

/// A picture in another size, bilinear, antialiased when shrinking. The same size gives the same values.
pub fn bilinear(values: &Values, rows: usize, columns: usize) -> Result<Values, GridError> {
    let mut narrow = Grid::filled(values.rows(), columns, 0.0)?;
    let across = taps(values.columns(), columns);
    for row in 0..values.rows() {
        let source = values.row(row);
        for (target, tap) in narrow.row_mut(row).iter_mut().zip(&across) {
            *target =
                tap.weights.iter().zip(&source[tap.start..]).map(|(weight, value)| weight * value).sum();
        }
    }
    let mut resized = Grid::filled(rows, columns, 0.0)?;
    for (row, tap) in taps(values.rows(), rows).iter().enumerate() {
        let target = resized.row_mut(row);
        for (k, &weight) in tap.weights.iter().enumerate() {
            for (target, value) in target.iter_mut().zip(narrow.row(tap.start + k)) {
                *target += weight * value;
            }
        }
    }
    Ok(resized)
}

/// [`bilinear`] for a picture of 8 bits, rounded to the nearest grey.
pub fn bilinear8(image: &Image8, rows: usize, columns: usize) -> Result<Image8, GridError> {
    Ok(bilinear(&image.map(|&grey| f32::from(grey)), rows, columns)?.map(|grey| grey.round() as u8))
}

/// A grid in another size: each pixel takes the value of the input pixel that its centre falls into.
pub fn nearest<T: Clone>(grid: &Grid<T>, rows: usize, columns: usize) -> Result<Grid<T>, GridError> {
    // (2 i + 1) input / (2 output), in whole numbers: no rounding can pick a neighbour.
    let at = |i: usize, input: usize, output: usize| (2 * i + 1) * input / (2 * output);
    Grid::from_fn(rows, columns, |row, column| {
        grid[(at(row, grid.rows(), rows), at(column, grid.columns(), columns))].clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_size_is_the_same_picture() {
        let image = Grid::from_fn(5, 7, |row, column| (row * 31 + column * 17) as u8).unwrap();
        assert_eq!(bilinear8(&image, 5, 7).unwrap(), image);
        assert_eq!(nearest(&image, 5, 7).unwrap(), image);
    }

    #[test]
    fn enlarging_interpolates_and_keeps_the_border() {
        let image = Grid::new(1, 2, vec![0.0, 1.0]).unwrap();
        assert_eq!(bilinear(&image, 1, 4).unwrap().values(), [0.0, 0.25, 0.75, 1.0]);
        assert_eq!(nearest(&image, 2, 4).unwrap().values(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn shrinking_counts_every_pixel() {
        // A checkerboard of single pixels would vanish or alias without the wider filter.
        let image = Grid::from_fn(64, 64, |row, column| ((row + column) % 2 * 255) as u8).unwrap();
        let small = bilinear8(&image, 16, 16).unwrap();
        assert!(small.values().iter().all(|grey| (125..=130).contains(grey)), "{:?}", small.row(0));
        // PIL 13: Image.fromarray([[0, 10, 20, 30, 40, 50]], "L").resize((3, 1), BILINEAR) = 7, 25, 43
        let row = Grid::new(1, 6, vec![0_u8, 10, 20, 30, 40, 50]).unwrap();
        assert_eq!(bilinear8(&row, 1, 3).unwrap().values(), [7, 25, 43]);
    }

    #[test]
    fn impossible_sizes_are_errors() {
        let image = Grid::filled(2, 2, 0.0).unwrap();
        assert!(bilinear(&image, 0, 5).is_err() && bilinear(&image, 5, 1 << 40).is_err());
        assert!(nearest(&image, 0, 5).is_err());
    }
}
