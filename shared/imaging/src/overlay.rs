//! Pictures for people: a slice with its mask drawn on it.

use crate::grid::{Grid, GridError, Image8, Mask, Rgb};
use crate::metrics::surface;

/// The colour of a predicted mask. Orange and blue stay apart for colour-blind eyes (Okabe and Ito).
pub const PREDICTION: Rgb = [255, 140, 0];

/// The colour of an annotation.
pub const ANNOTATION: Rgb = [60, 170, 255];

/// How much of the colour fills the mask, of 256; the metal must stay visible beneath.
const FILL: u16 = 56;

/// The slice in grey, its mask filled slightly and outlined in [`PREDICTION`], and where given the annotation outlined in
/// [`ANNOTATION`]. The outline runs just outside the mask, so that it hides none of its pixels (on it where the picture ends).
/// An error if the sizes differ.
pub fn overlay(image: &Image8, mask: &Mask, annotation: Option<&Mask>) -> Result<Grid<Rgb>, GridError> {
    image.check_same_size(mask)?;
    let mut picture = image.map(|&grey| [grey; 3]);
    for (pixel, &set) in picture.values_mut().iter_mut().zip(mask.values()) {
        if set {
            *pixel = std::array::from_fn(|i| blend(pixel[i], PREDICTION[i], FILL));
        }
    }
    if let Some(annotation) = annotation {
        image.check_same_size(annotation)?;
        draw(&mut picture, &rim(annotation), ANNOTATION);
    }
    draw(&mut picture, &rim(mask), PREDICTION);
    Ok(picture)
}

fn blend(under: u8, over: u8, weight: u16) -> u8 {
    ((u16::from(under) * (256 - weight) + u16::from(over) * weight) / 256) as u8
}

fn draw(picture: &mut Grid<Rgb>, rim: &Mask, colour: Rgb) {
    for (pixel, _) in picture.values_mut().iter_mut().zip(rim.values()).filter(|(_, set)| **set) {
        *pixel = colour;
    }
}

/// The pixels outside a mask that share an edge with it: the surface of the background, without the picture's own border.
fn rim(mask: &Mask) -> Mask {
    let mut rim = mask.like(false);
    for ((row, column), _) in surface(mask).cells().filter(|cell| *cell.1) {
        for (down, right) in [(0, 1), (1, 0), (0, -1), (-1, 0)] {
            let at = row.checked_add_signed(down).zip(column.checked_add_signed(right));
            match at.filter(|at| mask.get(at.0, at.1).is_some()) {
                Some(at) => rim[at] |= !mask[at],
                None => rim[(row, column)] = true,
            }
        }
    }
    rim
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outline_runs_around_the_mask_and_the_grey_shows_through() {
        let image = Grid::filled(5, 5, 100).unwrap();
        let mask = Grid::from_fn(5, 5, |row, column| (row, column) == (2, 2)).unwrap();
        let picture = overlay(&image, &mask, None).unwrap();
        for at in [(1, 2), (3, 2), (2, 1), (2, 3)] {
            assert_eq!(picture[at], PREDICTION);
        }
        assert_eq!((picture[(1, 1)], picture[(0, 0)]), ([100; 3], [100; 3]));
        assert_ne!(picture[(2, 2)], [100; 3]);
        assert_ne!(picture[(2, 2)], PREDICTION);
    }

    #[test]
    fn at_the_border_the_outline_lies_on_the_mask() {
        let picture =
            overlay(&Grid::filled(2, 3, 0).unwrap(), &Grid::filled(2, 3, true).unwrap(), None).unwrap();
        assert!(picture.values().iter().all(|pixel| *pixel == PREDICTION));
    }

    #[test]
    fn the_annotation_has_its_own_colour_and_sizes_must_agree() {
        let image = Grid::filled(5, 9, 0).unwrap();
        let at = |column| Grid::from_fn(5, 9, move |r, c| r == 2 && c == column).unwrap();
        let picture = overlay(&image, &at(2), Some(&at(6))).unwrap();
        assert_eq!((picture[(1, 2)], picture[(1, 6)], picture[(2, 6)]), (PREDICTION, ANNOTATION, [0; 3]));
        assert!(overlay(&image, &Grid::filled(9, 5, false).unwrap(), None).is_err());
        assert!(overlay(&image, &at(2), Some(&Grid::filled(9, 5, false).unwrap())).is_err());
    }
}
