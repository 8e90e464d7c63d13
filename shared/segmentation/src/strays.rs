//! There is one electrode array on a slice: what lies far from it is something else.

use modiolus_imaging::components::{Component, Connectivity, components};
use modiolus_imaging::{Mask, Values};

/// Fewer connected pixels than this are noise.
const LEAST: usize = 3;

/// Parts of one array lie at most this share of the picture's longer side apart: twice the widest pitch (2.4 mm) on a slice
/// that is 30 mm wide, so that one contact may be out of the plane.
const FURTHEST: f64 = 0.16;

/// A group whose probabilities sum to less is no array: the smallest ones that people segment have four times as much, what is
/// drawn on slices without an implant mostly has less.
const LEAST_CERTAINTY: f64 = 16.0;

/// The mask's parts that belong together with the most certain ones. Parts within reach of each other are a group; the group
/// with the largest sum of probabilities is the array, if that is enough for one.
pub(crate) fn without(mask: &Mask, probability: &Values) -> Mask {
    let furthest = FURTHEST * mask.rows().max(mask.columns()) as f64;
    let parts = components(mask, Connectivity::Eight);
    let mut waiting: Vec<&Component> = parts.iter().filter(|part| part.area() >= LEAST).collect();
    let mut best: (f64, Vec<&Component>) = (LEAST_CERTAINTY, Vec::new());
    while let Some(first) = waiting.pop() {
        let mut group = vec![first];
        let mut next = 0;
        while let Some(part) = group.get(next).copied() {
            let (near, far) = waiting.into_iter().partition(|other| gap(part, other) <= furthest);
            group.extend::<Vec<_>>(near);
            waiting = far;
            next += 1;
        }
        let pixels = group.iter().flat_map(|part| &part.pixels);
        let certainty = pixels.map(|&at| f64::from(probability[at])).sum();
        if certainty > best.0 {
            best = (certainty, group);
        }
    }
    let mut kept = mask.like(false);
    best.1.iter().flat_map(|part| &part.pixels).for_each(|&at| kept[at] = true);
    kept
}

/// The distance between the boxes around two parts, pixels.
fn gap(one: &Component, other: &Component) -> f64 {
    let (a, b) = (one.region, other.region);
    let apart = |first: usize, length: usize, second: usize, width: usize| {
        second.saturating_sub(first + length).max(first.saturating_sub(second + width)) as f64
    };
    apart(a.row, a.rows, b.row, b.rows).hypot(apart(a.column, a.columns, b.column, b.columns))
}

#[cfg(test)]
mod tests {
    use modiolus_imaging::Grid;

    use super::*;

    /// Squares of 5 x 5 pixels with their probabilities on a picture of 100 x 100.
    fn cleaned(squares: &[(usize, usize, f32)]) -> Vec<bool> {
        let inside = |row: usize, column: usize| {
            squares.iter().find(|(y, x, _)| (*y..y + 5).contains(&row) && (*x..x + 5).contains(&column))
        };
        let probability =
            Grid::from_fn(100, 100, |row, column| inside(row, column).map_or(0.1, |square| square.2))
                .unwrap();
        let mask = without(&probability.map(|&p| p > 0.5), &probability);
        squares.iter().map(|&(row, column, _)| mask[(row + 1, column + 1)]).collect()
    }

    #[test]
    fn a_chain_of_contacts_stays_and_a_stray_goes() {
        let array = [(10, 10, 0.9), (10, 25, 0.8), (12, 40, 0.6), (20, 54, 0.9), (80, 90, 1.0)];
        assert_eq!(cleaned(&array), [true, true, true, true, false]);
    }

    #[test]
    fn the_more_certain_group_stays() {
        assert_eq!(cleaned(&[(10, 10, 0.7), (80, 80, 0.9)]), [false, true]);
    }

    #[test]
    fn too_little_is_no_array() {
        assert_eq!(cleaned(&[(10, 10, 0.6)]), [false]);
        assert_eq!(cleaned(&[(10, 10, 0.6), (10, 20, 0.6)]), [true, true]);
    }

    #[test]
    fn single_pixels_go_and_an_empty_mask_stays_empty() {
        let mut probability = Grid::filled(20, 20, 0.0_f32).unwrap();
        probability[(4, 4)] = 1.0;
        assert!(without(&probability.map(|&p| p > 0.5), &probability).is_blank());
        assert!(without(&probability.like(false), &probability).is_blank());
    }
}
