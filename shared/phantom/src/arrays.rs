//! The electrode arrays that exist: contacts, pitch, depth and thickness.
//!
//! Pitches, depths and angles follow a public table of arrays for a duct of 36.2 mm (the one that
//! [`template_radius`](crate::cochlea) also gives); thickness is from the makers' leaflets.

/// Who makes an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Vendor {
    /// Cochlear Ltd: 22 contacts, mostly half bands, a dense ring in the picture.
    Cochlear,
    /// Advanced Bionics: 16 contacts and a marker.
    AdvancedBionics,
    /// Med-El: 12 contacts, widely spaced; the tips of the FLEX arrays carry single, dimmer ones.
    MedEl,
    /// Oticon Medical: 20 contacts.
    Oticon,
}

/// One array as its maker describes it. Contact 0 is the most basal one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArrayModel {
    /// What surgeons call it.
    pub name: &'static str,
    /// Its maker.
    pub vendor: Vendor,
    /// Number of contacts.
    pub contacts: usize,
    /// Distance between neighbouring contacts along the array, mm.
    pub pitch_mm: f32,
    /// Depth of the most apical contact below the round window after full insertion, mm along the array.
    pub depth_mm: f32,
    /// Radius of its path as a share of the lateral wall's: 1 for straight arrays, less for pre-curved ones.
    pub radius_share: f32,
    /// Diameter at tip and base, mm.
    pub diameter_mm: [f32; 2],
    /// Apical contacts that are single instead of a pair, and dimmer.
    pub single_contacts: usize,
}

#[allow(clippy::too_many_arguments)] // one line of the table per array
const fn model(
    name: &'static str,
    vendor: Vendor,
    contacts: usize,
    pitch_mm: f32,
    depth_mm: f32,
    radius_share: f32,
    diameter_mm: [f32; 2],
    single_contacts: usize,
) -> ArrayModel {
    ArrayModel { name, vendor, contacts, pitch_mm, depth_mm, radius_share, diameter_mm, single_contacts }
}

use Vendor::{AdvancedBionics as Ab, Cochlear, MedEl, Oticon};

/// Every array that the phantom knows.
pub const MODELS: [ArrayModel; 16] = [
    model("CI612 Contour Advance", Cochlear, 22, 0.68, 18.9, 0.85, [0.5, 0.8], 0),
    model("CI622 Slim Straight", Cochlear, 22, 0.91, 24.7, 1.0, [0.3, 0.6], 0),
    model("CI632 Slim Modiolar", Cochlear, 22, 0.67, 18.0, 0.85, [0.38, 0.5], 0),
    model("Hybrid L24", Cochlear, 22, 0.69, 16.0, 1.0, [0.33, 0.5], 0),
    model("HiFocus SlimJ", Ab, 16, 1.3, 22.5, 1.0, [0.33, 0.7], 0),
    model("HiFocus Mid-Scala", Ab, 16, 0.975, 18.0, 0.92, [0.5, 0.7], 0),
    model("HiFocus 1J", Ab, 16, 1.1, 22.0, 1.0, [0.4, 0.8], 0),
    model("FLEX20", MedEl, 12, 1.4, 19.4, 1.0, [0.4, 0.8], 5),
    model("FLEX24", MedEl, 12, 1.9, 23.2, 1.0, [0.4, 0.8], 5),
    model("FLEX28", MedEl, 12, 2.1, 27.2, 1.0, [0.4, 0.8], 5),
    model("FLEXsoft", MedEl, 12, 2.4, 30.6, 1.0, [0.4, 1.3], 5),
    model("Standard", MedEl, 12, 2.4, 30.4, 1.0, [0.5, 1.3], 0),
    model("Medium", MedEl, 12, 1.9, 22.9, 1.0, [0.5, 1.0], 0),
    model("Compressed", MedEl, 12, 1.1, 14.1, 1.0, [0.5, 0.9], 0),
    model("FORM24", MedEl, 12, 1.7, 22.8, 1.0, [0.5, 0.8], 0),
    model("EVO", Oticon, 20, 1.2, 24.5, 1.0, [0.4, 0.5], 0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_array_fits_into_a_cochlea_with_its_base_at_most_5_mm_outside() {
        for array in &MODELS {
            let active = array.pitch_mm * (array.contacts - 1) as f32;
            assert!(array.depth_mm <= 31.5 && array.depth_mm - active > -5.0, "{}", array.name);
            assert!(array.diameter_mm[0] <= array.diameter_mm[1], "{}", array.name);
        }
    }
}
