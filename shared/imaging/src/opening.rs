//! What is left of a picture when all that is thin and bright is taken away: grey opening with a rectangle.

use crate::grid::Image8;

/// Every bright part is kept as far as a rectangle of `2 * radius + 1` rows and columns fits into it.
pub(crate) fn opening(image: &Image8, radius: (usize, usize)) -> Image8 {
    let eroded = square(image, radius, u8::MAX, u8::min);
    square(&eroded, radius, u8::MIN, u8::max)
}

/// The extreme of each pixel's rectangle, as far as it lies inside the picture.
fn square(image: &Image8, radius: (usize, usize), outside: u8, pick: impl Fn(u8, u8) -> u8) -> Image8 {
    row_wise(&column_wise(image, radius.0, outside, &pick), radius.1, outside, &pick)
}

/// The extreme over `radius` rows up and down.
fn column_wise(image: &Image8, radius: usize, outside: u8, pick: impl Fn(u8, u8) -> u8) -> Image8 {
    let (rows, columns) = image.size();
    let radius = radius.min(rows);
    let rim = vec![outside; radius * columns];
    let extremes = extremes([&rim, image.values(), &rim].concat(), columns, 2 * radius + 1, pick);
    let mut result = image.like(0);
    result.values_mut().copy_from_slice(&extremes);
    result
}

/// The extreme over `radius` columns left and right.
fn row_wise(image: &Image8, radius: usize, outside: u8, pick: impl Fn(u8, u8) -> u8) -> Image8 {
    let columns = image.columns();
    let radius = radius.min(columns);
    let width = columns + 2 * radius;
    let mut padded = vec![outside; image.rows() * width];
    for (padded, row) in padded.chunks_exact_mut(width).zip(image.values().chunks_exact(columns)) {
        padded[radius..radius + columns].copy_from_slice(row);
    }
    let extremes = extremes(padded, 1, 2 * radius + 1, pick);
    let mut result = image.like(0);
    for (result, extremes) in result.values_mut().chunks_exact_mut(columns).zip(extremes.chunks(width)) {
        result.copy_from_slice(&extremes[..columns]);
    }
    result
}

/// The extreme of each value and the `window - 1` that follow it at this stride, as far as all of them are there. By
/// doubling: extremes of 1, 2, 4, ... values, then of two that overlap.
fn extremes(mut values: Vec<u8>, stride: usize, window: usize, pick: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    let mut merge = |reach: usize| {
        let next = &values[reach * stride..];
        values = values.iter().zip(next).map(|(&here, &there)| pick(here, there)).collect();
    };
    let mut reach = 1;
    while 2 * reach <= window {
        merge(reach);
        reach *= 2;
    }
    merge(window - reach);
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::grid::Grid;

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
