//! A mask as a labelme file that gives the same mask back.

use serde::Serialize;
use serde_json::Value;

use super::Kind;
use crate::contour;
use crate::grid::Mask;

/// The version of labelme whose form this is.
const VERSION: &str = "5.5.0";

/// A labelme file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    version: &'static str,
    flags: serde_json::Map<String, Value>,
    shapes: Vec<Shape>,
    image_path: &'a str,
    /// labelme reads the picture beside the file then.
    image_data: (),
    image_height: usize,
    image_width: usize,
    /// labelme keeps what it doesn't know.
    #[serde(skip_serializing_if = "Option::is_none")]
    modiolus: Option<&'a Value>,
}

#[derive(Serialize)]
struct Shape {
    label: &'static str,
    points: Vec<(usize, usize)>,
    group_id: (),
    description: &'static str,
    shape_type: &'static str,
    flags: serde_json::Map<String, Value>,
}

/// The labelme file (JSON) of a mask, whose picture lies at `image_path` beside it. Each part is a polygon around its outermost
/// pixels; where that would fill a hole, the mask is written as rectangles, so that nothing is lost.
pub fn write(mask: &Mask, image_path: &str) -> Vec<u8> {
    write_from(mask, image_path, None)
}

/// The same, with a note of where it comes from, which labelme keeps and [`origin`](super::origin) reads.
pub fn write_from(mask: &Mask, image_path: &str, origin: Option<&Value>) -> Vec<u8> {
    let polygons: Vec<Shape> = contour::outlines(mask).iter().map(|outline| polygon(outline)).collect();
    let file = written(mask, image_path, polygons, origin);
    match super::parse(&file, mask.rows(), mask.columns()) {
        Ok(back) if back.electrode == *mask => file,
        _ => written(mask, image_path, rectangles(mask), origin),
    }
}

fn written(mask: &Mask, image_path: &str, shapes: Vec<Shape>, origin: Option<&Value>) -> Vec<u8> {
    let file = File {
        version: VERSION,
        flags: serde_json::Map::new(),
        shapes,
        image_path,
        image_data: (),
        image_height: mask.rows(),
        image_width: mask.columns(),
        modiolus: origin,
    };
    serde_json::to_vec_pretty(&file).expect("numbers and texts always have a JSON form")
}

fn shape(kind: Kind, points: Vec<(usize, usize)>) -> Shape {
    let (label, description) = ("electrode", "");
    Shape { label, points, group_id: (), description, shape_type: kind.name(), flags: serde_json::Map::new() }
}

fn polygon(outline: &[(usize, usize)]) -> Shape {
    let mut points: Vec<(usize, usize)> = outline.iter().map(|&(row, column)| (column, row)).collect();
    // labelme's polygons have three corners, those of a pixel or a line of them fewer.
    while points.len() < 3 {
        points.extend(points.last().copied());
    }
    shape(Kind::Polygon, points)
}

/// Runs of pixels, those below each other with equal ends in one rectangle.
fn rectangles(mask: &Mask) -> Vec<Shape> {
    let mut done: Vec<Shape> = Vec::new();
    let mut open: Vec<((usize, usize), usize)> = Vec::new();
    for row in 0..=mask.rows() {
        let runs = if row < mask.rows() { runs(mask.row(row)) } else { Vec::new() };
        open.retain(|&((from, to), first)| {
            let goes_on = runs.contains(&(from, to));
            if !goes_on {
                done.push(shape(Kind::Rectangle, vec![(from, first), (to, row - 1)]));
            }
            goes_on
        });
        for run in runs {
            if !open.iter().any(|(known, _)| *known == run) {
                open.push((run, row));
            }
        }
    }
    done
}

/// The first and last column of each run of set pixels.
fn runs(row: &[bool]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (column, _) in row.iter().enumerate().filter(|(_, set)| **set) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == column => *last = column,
            _ => runs.push((column, column)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse;
    use super::*;
    use crate::grid::Grid;

    fn back(mask: &Mask) -> Mask {
        parse(&write(mask, "a.png"), mask.rows(), mask.columns()).unwrap().electrode
    }

    #[test]
    fn parts_are_polygons_and_holes_are_kept() {
        let disc = |hole: usize| {
            Grid::from_fn(40, 50, |row, column| {
                let far = row.abs_diff(20).pow(2) + column.abs_diff(20).pow(2);
                (hole..150).contains(&far) || (row == 3 && column > 45)
            })
            .unwrap()
        };
        let shapes = |mask: &Mask| parse(&write(mask, "a.png"), 40, 50).unwrap().shapes;
        assert_eq!(back(&disc(0)), disc(0));
        assert!(shapes(&disc(0)).iter().all(|shape| shape.kind == Kind::Polygon));
        assert_eq!(back(&disc(20)), disc(20));
        assert!(shapes(&disc(20)).iter().all(|shape| shape.kind == Kind::Rectangle));
        assert!(shapes(&Grid::filled(40, 50, false).unwrap()).is_empty());
    }

    #[test]
    fn a_file_says_where_it_comes_from_if_it_was_told() {
        let mask = Grid::filled(4, 5, true).unwrap();
        let from = serde_json::json!({ "slice": "s-1" });
        let file = write_from(&mask, "a.png", Some(&from));
        assert_eq!(super::super::origin(&file), Some(from));
        assert_eq!(parse(&file, 4, 5).unwrap().electrode, mask);
        assert_eq!(super::super::origin(&write(&mask, "a.png")), None);
    }

    proptest! {
        #[test]
        fn any_mask_comes_back_from_its_file(pixels in prop::collection::vec(prop::bool::weighted(0.6), 12 * 17)) {
            let mask = Grid::new(12, 17, pixels).unwrap();
            prop_assert_eq!(back(&mask), mask);
        }
    }
}
