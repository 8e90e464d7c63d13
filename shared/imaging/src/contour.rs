//! Outlines of a mask as closed polygons.
//!
//! An outline walks over the centres of the outermost pixels of one 8-connected part, so that filling it with
//! [`annotation`](crate::annotation)'s rasteriser (or labelme's) gives the part back, apart from its holes. These are OpenCV's
//! contours of `findContours(RETR_EXTERNAL, CHAIN_APPROX_SIMPLE)`; the tracing is Moore's with Jacob's stopping rule.

use crate::grid::{Grid, Mask};

/// One outline: corners as (row, column), clockwise as seen on screen, beginning with the topmost left pixel. A single pixel has
/// one corner, a line of pixels two or more.
pub type Outline = Vec<(usize, usize)>;

/// The eight neighbours, clockwise on screen, beginning in the east.
const AROUND: [(isize, isize); 8] = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)];

/// The outer outlines of all 8-connected parts of a mask, from top to bottom.
pub fn outlines(mask: &Mask) -> Vec<Outline> {
    let mut seen = mask.like(false);
    let mut outlines = Vec::new();
    for ((row, column), &set) in mask.cells() {
        if set && !seen[(row, column)] {
            flood(mask, &mut seen, (row, column));
            outlines.push(corners(&trace(mask, (row, column))));
        }
    }
    outlines
}

/// The area that an outline encloses, in pixels: that of the polygon through the pixel centres (OpenCV's `contourArea`), so less
/// than the number of its pixels.
pub fn area(outline: &[(usize, usize)]) -> f64 {
    let next = outline.iter().cycle().skip(1);
    let cross = |(&(r0, c0), &(r1, c1)): (&(usize, usize), &(usize, usize))| {
        c0 as f64 * r1 as f64 - c1 as f64 * r0 as f64
    };
    (outline.iter().zip(next).map(cross).sum::<f64>() / 2.0).abs()
}

/// Marks the whole part that holds `start`.
fn flood(mask: &Mask, seen: &mut Grid<bool>, start: (usize, usize)) {
    seen[start] = true;
    let mut open = vec![start];
    while let Some(at) = open.pop() {
        for step in AROUND {
            if let Some(next) = neighbour(mask, at, step).filter(|&next| !seen[next]) {
                seen[next] = true;
                open.push(next);
            }
        }
    }
}

/// Every pixel of the outer border in order, beginning with `start`, the topmost left pixel of its part.
fn trace(mask: &Mask, start: (usize, usize)) -> Outline {
    let step_from = |at, from: usize| {
        (0..8).map(|turn| (from + turn) % 8).find_map(|way| Some((way, neighbour(mask, at, AROUND[way])?)))
    };
    // Nothing is set to the west or above: the search begins in the north-west's successor, north.
    let Some((first_way, second)) = step_from(start, 6) else { return vec![start] };
    let (mut border, mut at, mut way) = (vec![start], second, first_way);
    loop {
        // Back to where we came from, then one further: the next pixel clockwise around `at`.
        let Some((next_way, next)) = step_from(at, (way + 6) % 8) else { return border };
        if at == start && next_way == first_way {
            return border;
        }
        border.push(at);
        (at, way) = (next, next_way);
    }
}

fn neighbour(mask: &Mask, (row, column): (usize, usize), step: (isize, isize)) -> Option<(usize, usize)> {
    let next = (row.checked_add_signed(step.0)?, column.checked_add_signed(step.1)?);
    mask.get(next.0, next.1)?.then_some(next)
}

/// The border without the pixels between two corners.
fn corners(border: &[(usize, usize)]) -> Outline {
    let n = border.len();
    let way = |from: (usize, usize), to: (usize, usize)| {
        (to.0 as isize - from.0 as isize, to.1 as isize - from.1 as isize)
    };
    let turns = |i: usize| way(border[(i + n - 1) % n], border[i]) != way(border[i], border[(i + 1) % n]);
    (0..n).filter(|&i| i == 0 || turns(i)).map(|i| border[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(picture: &[&str]) -> Mask {
        Grid::from_fn(picture.len(), picture[0].len(), |row, column| picture[row].as_bytes()[column] == b'#')
            .unwrap()
    }

    #[test]
    fn a_square_has_four_corners_and_the_area_between_its_centres() {
        let outlines = outlines(&mask(&["....", ".###", ".###", ".###"]));
        assert_eq!(outlines, [vec![(1, 1), (1, 3), (3, 3), (3, 1)]]);
        assert_eq!(area(&outlines[0]), 4.0);
    }

    #[test]
    fn pixels_lines_and_diagonals_are_outlined() {
        assert_eq!(outlines(&mask(&["#"])), [vec![(0, 0)]]);
        assert_eq!(outlines(&mask(&["####"])), [vec![(0, 0), (0, 3)]]);
        assert_eq!(outlines(&mask(&["#..", ".#.", "..#"])), [vec![(0, 0), (2, 2)]]);
        assert_eq!(area(&[(0, 0), (0, 3)]), 0.0);
        assert_eq!(outlines(&mask(&["...", "..."])), Vec::<Outline>::new());
    }

    #[test]
    fn a_part_inside_a_hole_has_its_own_outline_and_the_hole_has_none() {
        let ring = mask(&["#####", "#...#", "#.#.#", "#...#", "#####"]);
        let outlines = outlines(&ring);
        assert_eq!(outlines, [vec![(0, 0), (0, 4), (4, 4), (4, 0)], vec![(2, 2)]]);
    }

    #[test]
    fn the_walk_passes_a_narrow_place_twice() {
        // OpenCV 5: the same ten corners, contourArea 6.
        let bow = mask(&["##.##", "#####", "##.##"]);
        let outlines = outlines(&bow);
        assert_eq!((outlines.len(), outlines[0].len()), (1, 10));
        assert_eq!(area(&outlines[0]), 6.0);
    }
}
