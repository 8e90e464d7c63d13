//! The exact Euclidean distance transform (Felzenszwalb and Huttenlocher, "Distance Transforms of Sampled Functions", 2012):
//! two passes of lower envelopes of parabolas, linear in the number of pixels.

use crate::grid::{Grid, Mask, Spacing};

/// For every pixel the distance to the nearest set pixel, in mm of the spacing; infinite if none is set.
pub(crate) fn to_nearest_set(mask: &Mask, spacing: Spacing) -> Grid<f64> {
    let (rows, columns) = mask.size();
    let mut squared = mask.map(|&set| if set { 0.0 } else { f64::INFINITY });
    let mut envelope = Envelope::default();
    let mut line = vec![0.0; rows];
    for column in 0..columns {
        (0..rows).for_each(|row| line[row] = squared[(row, column)]);
        envelope.lower(&mut line, spacing[0]);
        (0..rows).for_each(|row| squared[(row, column)] = line[row]);
    }
    for row in 0..rows {
        envelope.lower(squared.row_mut(row), spacing[1]);
    }
    squared.map(|square| square.sqrt())
}

/// The parabolas that form the lower envelope of a line, and where each begins.
#[derive(Default)]
struct Envelope {
    peaks: Vec<(f64, f64)>,
    starts: Vec<f64>,
}

impl Envelope {
    /// Replaces each value by the least of `value[k] + distance(here, k)^2`.
    fn lower(&mut self, line: &mut [f64], step: f64) {
        self.peaks.clear();
        self.starts.clear();
        for (i, &height) in line.iter().enumerate().filter(|(_, height)| height.is_finite()) {
            let x = i as f64 * step;
            let start = loop {
                let Some(&(x0, height0)) = self.peaks.last() else { break f64::NEG_INFINITY };
                let crossing = ((height + x * x) - (height0 + x0 * x0)) / (2.0 * (x - x0));
                if self.starts.last().is_some_and(|&start| crossing > start) {
                    break crossing;
                }
                self.peaks.pop();
                self.starts.pop();
            };
            self.peaks.push((x, height));
            self.starts.push(start);
        }
        if self.peaks.is_empty() {
            return;
        }
        let mut k = 0;
        for (i, value) in line.iter_mut().enumerate() {
            let x = i as f64 * step;
            while self.starts.get(k + 1).is_some_and(|&start| start < x) {
                k += 1;
            }
            let (peak, height) = self.peaks[k];
            *value = (x - peak) * (x - peak) + height;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::grid::PIXELS;

    #[test]
    fn an_empty_mask_is_infinitely_far() {
        let distances = to_nearest_set(&Grid::filled(3, 4, false).unwrap(), PIXELS);
        assert!(distances.values().iter().all(|distance| distance.is_infinite()));
    }

    proptest! {
        #[test]
        fn it_equals_the_search_over_all_pairs(
            rows in 1_usize..12, columns in 1_usize..12, bits in proptest::collection::vec(proptest::bool::weighted(0.2), 144),
            row_mm in 0.1_f64..3.0, column_mm in 0.1_f64..3.0,
        ) {
            let mask = Grid::new(rows, columns, bits[..rows * columns].to_vec()).unwrap();
            let distances = to_nearest_set(&mask, [row_mm, column_mm]);
            for ((row, column), &distance) in distances.cells() {
                let to = |(r, c): (usize, usize)| (row.abs_diff(r) as f64 * row_mm).hypot(column.abs_diff(c) as f64 * column_mm);
                let nearest = mask.cells().filter(|cell| *cell.1).map(|cell| to(cell.0)).fold(f64::INFINITY, f64::min);
                prop_assert!(distance == nearest || (distance - nearest).abs() < 1e-9, "{distance} {nearest}");
            }
        }
    }
}
