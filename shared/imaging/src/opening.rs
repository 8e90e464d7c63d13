//! What is left of a picture when all that is thin and bright is taken away: grey opening with a rectangle.

use crate::grid::{Grid, Image8};

/// Every bright part is kept as far as a rectangle of `2 * radius + 1` rows and columns fits into it.
pub(crate) fn opening(image: &Image8, radius: (usize, usize)) -> Image8 {
    let eroded = square(image, radius, u8::MAX, u8::min);
    square(&eroded, radius, u8::MIN, u8::max)
}

/// The extreme of each pixel's rectangle, as far as it lies inside the picture.
fn square(image: &Image8, radius: (usize, usize), outside: u8, pick: impl Fn(u8, u8) -> u8) -> Image8 {
    let down = column_wise(image, radius.0, outside, &pick);
    transposed(&column_wise(&transposed(&down), radius.1, outside, &pick))
}

fn transposed(image: &Image8) -> Image8 {
    Grid::from_fn(image.columns(), image.rows(), |row, column| image[(column, row)])
        .unwrap_or_else(|_| image.clone())
}

/// The extreme over `radius` rows up and down, by doubling: extremes of 1, 2, 4, ... rows, then of two that overlap.
fn column_wise(image: &Image8, radius: usize, outside: u8, pick: impl Fn(u8, u8) -> u8) -> Image8 {
    let (rows, columns) = image.size();
    let window = 2 * radius.min(rows) + 1;
    let rim = vec![outside; window / 2 * columns];
    let mut lines = [&rim, image.values(), &rim].concat();
    let mut merge = |rows: usize| {
        lines = lines.iter().zip(&lines[rows * columns..]).map(|(&here, &below)| pick(here, below)).collect();
    };
    let mut reach = 1;
    while 2 * reach <= window {
        merge(reach);
        reach *= 2;
    }
    merge(window - reach);
    let mut result = image.like(0);
    result.values_mut().copy_from_slice(&lines);
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_equals_the_search_over_every_rectangle(
            (rows, columns) in (1_usize..12, 1_usize..12), radius in (0_usize..5, 0_usize..5), seed: u64,
        ) {
            let image = Grid::from_fn(rows, columns, |r, c| (seed.rotate_left((r * 13 + c * 5) as u32) & 255) as u8).unwrap();
            let over = |image: &Image8, pick: fn(u8, u8) -> u8| {
                Grid::from_fn(rows, columns, |row, column| {
                    let near = image.cells().filter(|((r, c), _)| r.abs_diff(row) <= radius.0 && c.abs_diff(column) <= radius.1);
                    near.map(|cell| *cell.1).reduce(pick).unwrap()
                })
                .unwrap()
            };
            prop_assert_eq!(opening(&image, radius), over(&over(&image, u8::min), u8::max));
        }
    }
}
