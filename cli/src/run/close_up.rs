//! An electrode array from close by: its contacts with their numbers, in the pixels of the slice's picture.

use modiolus_imaging::contacts::ElectrodeArray;
use serde::Serialize;

/// What is seen around the contacts, and how high a number is, as shares of the array's longer side.
const MARGIN: f64 = 0.18;
const LETTER: f64 = 0.07;

/// A part of a picture with numbered marks; x to the right, y downwards.
#[derive(Serialize)]
pub(super) struct CloseUp {
    /// The part, as SVG's viewBox.
    view_box: String,
    letter: String,
    dot: String,
    marks: Vec<Mark>,
}

/// One contact, and where its number stands: on the side away from the spiral's centre.
#[derive(Serialize)]
struct Mark {
    contact: [String; 2],
    label: [String; 2],
}

impl CloseUp {
    /// The contacts of an array; none if there are none.
    pub(super) fn of(array: &ElectrodeArray) -> Option<Self> {
        let places: Vec<[f64; 2]> =
            array.contacts.iter().map(|contact| [contact.at.1, contact.at.0]).collect();
        let ends = |i: usize| {
            let along = places.iter().map(move |place| place[i]);
            Some((along.clone().min_by(f64::total_cmp)?, along.max_by(f64::total_cmp)?))
        };
        let [(left, right), (top, bottom)] = [ends(0)?, ends(1)?];
        let side = (right - left).max(bottom - top).max(1.0);
        let middle = [(left + right) / 2.0, (top + bottom) / 2.0];
        let centre = array.centre.map_or(middle, |(row, column)| [column, row]);
        let (margin, letter) = (MARGIN * side, LETTER * side);
        let numbers = [left - margin, top - margin, right - left + 2.0 * margin, bottom - top + 2.0 * margin];
        Some(Self {
            view_box: numbers.map(short).join(" "),
            letter: short(letter),
            dot: short(letter / 5.0),
            marks: places.iter().map(|&place| Mark::of(place, centre, letter)).collect(),
        })
    }
}

impl Mark {
    fn of(place: [f64; 2], centre: [f64; 2], letter: f64) -> Self {
        let away = [place[0] - centre[0], place[1] - centre[1]];
        let length = away[0].hypot(away[1]).max(1e-6);
        let label = std::array::from_fn(|i| short(place[i] + away[i] / length * 1.2 * letter));
        Self { contact: place.map(short), label }
    }
}

fn short(value: f64) -> String {
    format!("{value:.2}")
}

#[cfg(test)]
mod tests {
    use modiolus_imaging::contacts::Contact;

    use super::*;

    fn array(places: &[(f64, f64)]) -> ElectrodeArray {
        let contact = |&at: &(f64, f64)| Contact { at, at_mm: at, along_mm: 0.0, angle_deg: None };
        ElectrodeArray {
            contacts: places.iter().map(contact).collect(),
            length_mm: 0.0,
            insertion_deg: None,
            centre: Some((20.0, 40.0)),
            spacing_mm: None,
            spacing_cv: None,
            contrast: 0.5,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn numbers_stand_outside_of_the_spiral_and_inside_of_the_view() {
        let close = CloseUp::of(&array(&[(20.0, 30.0), (30.0, 40.0), (20.0, 50.0)])).unwrap();
        // 20 pixels wide, 10 high, and 18 % of 20 around it.
        assert_eq!(close.view_box, "26.40 16.40 27.20 17.20");
        assert_eq!(close.letter, "1.40");
        let labels: Vec<_> = close.marks.iter().map(|mark| mark.label.join(" ")).collect();
        assert_eq!(labels, ["28.32 20.00", "40.00 31.68", "51.68 20.00"]);
        assert_eq!(close.marks[0].contact, ["30.00", "20.00"]);
    }

    #[test]
    fn without_contacts_there_is_nothing_to_see() {
        assert!(CloseUp::of(&array(&[])).is_none());
    }
}
