//! The electrode array on a slice: its contacts, and how it lies.
//!
//! The mask's parts ([`nodes`]) are put in the order of the array ([`trail`]), a line is drawn through them ([`path`]) and the array's brightness is
//! measured along it, on its flanks where its middle is white. The row of nearly even contacts that explains that brightness best is
//! the one that is counted ([`comb`]). A logarithmic spiral through the contacts gives the centre around which angles are counted ([`spiral`]).
//!
//! What one slice can't tell: the angle from the round window and the part of the array outside of the cochlea (neither the window nor
//! contacts beyond the plane are seen), and contacts so near to each other for the scanner's blur that another number of them would look the same:
//! then there is no count, and [`Warning::NotResolved`] says so.

mod comb;
mod nodes;
mod patch;
mod path;
mod spiral;
mod trail;

use serde::{Deserialize, Serialize};

use crate::grid::{Image8, Mask, Spacing};
use comb::Comb;
use patch::{Patch, Point};
use path::{Path, WAY_MM};
use spiral::Spiral;

/// No maker's array has fewer contacts.
const FEWEST_CONTACTS: usize = 12;

/// An electrode array as one slice shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ElectrodeArray {
    /// The contacts that can be seen, from base to tip (from either end, where the slice shows too little of the spiral to tell); empty where
    /// they can't be told apart.
    pub contacts: Vec<Contact>,
    /// From the first to the last contact along the array, mm, as the slice shows it; where contacts can't be told apart, the length of the
    /// band that they melt into.
    pub length_mm: f64,
    /// The angle from the first to the last contact around the spiral's centre, degrees. (From the round window it can't be known.)
    pub insertion_deg: Option<f64>,
    /// The centre of the spiral, (row, column) in pixels.
    pub centre: Option<(f64, f64)>,
    /// The mean distance between neighbouring contacts along the array, mm.
    pub spacing_mm: Option<f64>,
    /// Its standard deviation as a share of it: how uneven contacts lie.
    pub spacing_cv: Option<f64>,
    /// How much darker it is between contacts than on them (median), as a share of their brightness over the background:
    /// near 0 they melt together.
    pub contrast: f64,
    /// What people should look at.
    pub warnings: Vec<Warning>,
}

/// One electrode contact.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    /// Its middle, (row, column) in pixels.
    pub at: (f64, f64),
    /// Its middle in mm from that of the picture's first pixel: downwards, to the right.
    pub at_mm: (f64, f64),
    /// The way along the array from the first contact, mm.
    pub along_mm: f64,
    /// The angle around the spiral's centre from the first contact, degrees.
    pub angle_deg: Option<f64>,
}

/// Something about an array that people should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warning {
    /// Another number of contacts explains the picture nearly as well: a count would be a guess, so there is none.
    NotResolved,
    /// Fewer contacts than the smallest array has: the others lie outside of the slice, or of the mask.
    FewContacts,
}

impl Warning {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotResolved => "not-resolved",
            Self::FewContacts => "few-contacts",
        }
    }

    /// What it means, for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::NotResolved => "contacts melt together, or so few are seen that a count would be a guess",
            Self::FewContacts => {
                "fewer contacts than any array has: the others lie outside of this slice, or of the mask"
            }
        }
    }
}

/// The array in a slice's mask; `spacing` is the slice's PixelSpacing. None where the mask is empty or has no two nodes, or where the
/// spacing is none that an ear could be seen with.
pub fn electrode_array(image: &Image8, mask: &Mask, spacing: Spacing) -> Option<ElectrodeArray> {
    let usable = image.size() == mask.size() && spacing.iter().all(|mm| (0.01..=2.0).contains(mm));
    let patch = Patch::around(image, mask, spacing).filter(|_| usable)?;
    let trail = trail::trail(&nodes::nodes(mask, &patch, spacing), &patch);
    let path = Path::through(&trail, &patch)?;
    let comb = comb::comb(&path.profile(&patch));
    Some(Measuring { path: &path, patch: &patch, spacing }.array(&comb))
}

struct Measuring<'a> {
    path: &'a Path,
    patch: &'a Patch<'a>,
    spacing: Spacing,
}

/// Contacts in their order, with the way along the array to each, mm.
struct Row {
    places: Vec<Point>,
    ways: Vec<f64>,
    spiral: Option<Spiral>,
}

impl Row {
    /// The distances of neighbours, mm; where contacts between are out of the plane, their share of it.
    fn pitches(&self) -> Vec<f64> {
        let steps: Vec<f64> = self.ways.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let usual = comb::median(steps.clone()).unwrap_or(1.0);
        steps.into_iter().map(|step| step / (step / usual).round().max(1.0)).collect()
    }
}

impl Measuring<'_> {
    fn array(&self, comb: &Comb) -> ElectrodeArray {
        let row = self.row(comb);
        let steps = row.pitches();
        let (mean, spread) = mean_and_spread(&steps);
        let is_resolved = comb.is_sure && !steps.is_empty();
        let spacing = Some((mean, spread)).filter(|_| is_resolved);
        let length = row.ways.last().copied().unwrap_or(0.0);
        ElectrodeArray {
            length_mm: if is_resolved { length } else { self.band_mm() },
            insertion_deg: row.spiral.as_ref().and_then(|spiral| spiral.angles.last().copied()),
            centre: row.spiral.as_ref().map(|spiral| self.pixels(spiral.centre)),
            spacing_mm: spacing.map(|(mean, _)| mean),
            spacing_cv: spacing.map(|(mean, spread)| spread / mean),
            contrast: comb.contrast,
            warnings: self.warnings(&row, is_resolved),
            contacts: if is_resolved { self.contacts(&row) } else { Vec::new() },
        }
    }

    /// The contacts from base to tip: the spiral winds inwards.
    fn row(&self, comb: &Comb) -> Row {
        let place = |tooth: &f64| {
            self.path.centred((tooth.round() as usize).min(self.path.points.len() - 1), self.patch)
        };
        let mut places: Vec<Point> = comb.teeth.iter().map(place).collect();
        let mut spiral = spiral::spiral(&places);
        let outwards = spiral.as_ref().is_some_and(|spiral| !spiral.is_inwards);
        let mut teeth = comb.teeth.clone();
        if outwards {
            places.reverse();
            teeth.reverse();
            spiral = spiral::spiral(&places);
        }
        let ways = teeth.iter().map(|tooth| (tooth - teeth[0]).abs() * WAY_MM).collect();
        Row { places, ways, spiral }
    }

    fn contacts(&self, row: &Row) -> Vec<Contact> {
        let contact = |(i, &at): (usize, &Point)| Contact {
            at: self.pixels(at),
            at_mm: (at[0], at[1]),
            along_mm: row.ways[i],
            angle_deg: row.spiral.as_ref().map(|spiral| spiral.angles[i]),
        };
        row.places.iter().enumerate().map(contact).collect()
    }

    fn warnings(&self, row: &Row, is_resolved: bool) -> Vec<Warning> {
        let cases = [
            (Warning::NotResolved, !is_resolved),
            (Warning::FewContacts, is_resolved && row.places.len() < FEWEST_CONTACTS),
        ];
        cases.into_iter().filter(|(_, holds)| *holds).map(|(warning, _)| warning).collect()
    }

    /// How long the line lies in the mask, from its first point there to the last.
    fn band_mm(&self) -> f64 {
        let inside = |at: &Point| self.patch.is_in_mask(*at);
        let points = &self.path.points;
        match (points.iter().position(inside), points.iter().rposition(inside)) {
            (Some(first), Some(last)) => (last - first) as f64 * WAY_MM,
            _ => 0.0,
        }
    }

    fn pixels(&self, at: Point) -> (f64, f64) {
        (at[0] / self.spacing[0], at[1] / self.spacing[1])
    }
}

/// The mean and the standard deviation of some values.
fn mean_and_spread(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::path::distance;
    use super::*;
    use crate::grid::Grid;

    const SPACING: Spacing = [0.2, 0.15];

    /// Contacts on a spiral from base to tip, in mm, and the picture of them: discs that shine into each other.
    fn spiral(contacts: usize, pitch: f64, blur: f64) -> (Vec<Point>, Image8, Mask) {
        let mut angle = 0.9_f64;
        let places: Vec<Point> = (0..contacts)
            .map(|_| {
                let radius = 4.0 * (-0.0755 * angle).exp();
                let at = [9.0 + radius * angle.sin(), 9.5 + radius * angle.cos()];
                angle += pitch / radius;
                at
            })
            .collect();
        let light = |row: usize, column: usize| {
            let at = [row as f64 * SPACING[0], column as f64 * SPACING[1]];
            let sum: f64 =
                places.iter().map(|place| (-0.5 * (distance(at, *place) / blur).powi(2)).exp()).sum();
            40.0 + 180.0 * sum * (0.25 / blur).min(1.0)
        };
        let image = Grid::from_fn(90, 120, |row, column| light(row, column).min(255.0) as u8).unwrap();
        let mask = image.map(|&grey| grey > 120);
        (places, image, mask)
    }

    #[test]
    fn contacts_are_found_where_they_are_and_counted_from_the_base() {
        for (contacts, pitch) in [(12, 2.2), (16, 1.1), (22, 0.9)] {
            let (places, image, mask) = spiral(contacts, pitch, 0.22);
            let array = electrode_array(&image, &mask, SPACING).unwrap();
            assert_eq!(array.contacts.len(), contacts);
            for (contact, place) in array.contacts.iter().zip(&places) {
                let off = distance([contact.at_mm.0, contact.at_mm.1], *place);
                assert!(off < 0.1, "{off} mm");
                assert_eq!(contact.at, (contact.at_mm.0 / SPACING[0], contact.at_mm.1 / SPACING[1]));
            }
            let spacing = array.spacing_mm.unwrap();
            assert!((spacing / pitch - 1.0).abs() < 0.05, "{spacing} for {pitch}");
            assert!(array.spacing_cv.unwrap() < 0.1 && array.warnings.is_empty(), "{array:?}");
            let (row, column) = array.centre.unwrap();
            assert!(distance([row * SPACING[0], column * SPACING[1]], [9.0, 9.5]) < 0.3, "{row} {column}");
        }
    }

    #[test]
    fn the_angle_is_that_around_the_spiral() {
        let (_, image, mask) = spiral(12, 1.9, 0.22);
        let array = electrode_array(&image, &mask, SPACING).unwrap();
        // The way along the spiral divided by its radius, in steps as it was made.
        let mut angle = 0.9_f64;
        (1..12).for_each(|_| angle += 1.9 / (4.0 * (-0.0755 * angle).exp()));
        let swept = (angle - 0.9).to_degrees();
        let found = array.insertion_deg.unwrap();
        assert!((found - swept).abs() < 10.0, "{found} for {swept}");
        assert!((array.length_mm - 11.0 * 1.9).abs() < 1.0, "{}", array.length_mm);
    }

    #[test]
    fn contacts_that_melt_together_are_not_counted() {
        let (_, image, mask) = spiral(22, 0.65, 0.5);
        let array = electrode_array(&image, &mask, SPACING).unwrap();
        assert_eq!(array.warnings, [Warning::NotResolved]);
        assert!(
            array.contacts.is_empty() && array.spacing_mm.is_none() && array.length_mm > 8.0,
            "{array:?}"
        );
    }

    #[test]
    fn few_contacts_are_a_warning() {
        let (_, image, mask) = spiral(7, 1.2, 0.22);
        let array = electrode_array(&image, &mask, SPACING).unwrap();
        assert_eq!((array.contacts.len(), array.warnings), (7, vec![Warning::FewContacts]));
    }

    #[test]
    fn masks_that_show_no_array_have_none() {
        let (_, image, mask) = spiral(12, 1.9, 0.22);
        let none = |mask: &Mask, spacing| electrode_array(&image, mask, spacing).is_none();
        assert!(none(&mask.like(false), SPACING));
        assert!(none(&mask, [0.0, 0.2]) && none(&mask, [f64::NAN, 0.2]) && none(&mask, [50.0, 50.0]));
        assert!(none(&mask.like(true), [1.0, 1.0]), "wider than any array");
        assert!(electrode_array(&image, &Grid::filled(3, 3, true).unwrap(), SPACING).is_none());
        // Every pixel of a small, even picture: no spot stands out.
        assert!(
            electrode_array(
                &Grid::filled(16, 16, 200).unwrap(),
                &Grid::filled(16, 16, true).unwrap(),
                SPACING
            )
            .is_none()
        );
    }
}
