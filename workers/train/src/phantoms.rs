//! Made slices that every candidate and its rival draw: what was known before has to be known afterwards, also where few
//! patients are held out or none.

use std::sync::OnceLock;

use modiolus_imaging::{Image8, Mask};
use modiolus_phantom::{SliceOptions, Vendor, slice};
use rayon::prelude::*;

/// What stands in a patient's place for slices without an array.
pub(crate) const NO_ARRAY: &str = "no array";

/// How many slices show an array of each vendor, and how many none.
const OF_A_KIND: u64 = 12;

/// Their seeds are those of no training and of no other judge.
const FIRST_SEED: u64 = 4_000_000_000;

/// The vendors, by the names that stand in a patient's place.
const VENDORS: [(&str, Vendor); 4] = [
    ("Advanced Bionics", Vendor::AdvancedBionics),
    ("Cochlear", Vendor::Cochlear),
    ("Med-El", Vendor::MedEl),
    ("Oticon", Vendor::Oticon),
];

/// One made slice with its truth.
pub(crate) struct Phantom {
    pub(crate) kind: &'static str,
    pub(crate) image: Image8,
    pub(crate) mask: Mask,
}

/// All of them, made once in a process: the same everywhere.
pub(crate) fn phantoms() -> &'static [Phantom] {
    static MADE: OnceLock<Vec<Phantom>> = OnceLock::new();
    MADE.get_or_init(|| {
        let vendors = VENDORS.iter().map(|(kind, vendor)| {
            (*kind, SliceOptions { vendor: Some(*vendor), empty: 0.0, ..SliceOptions::default() })
        });
        let none = (NO_ARRAY, SliceOptions { empty: 1.0, leads: 0.5, ..SliceOptions::default() });
        let kinds: Vec<_> = vendors.chain([none]).collect();
        let seeds = (FIRST_SEED..).step_by(OF_A_KIND as usize);
        let wanted = seeds
            .zip(&kinds)
            .flat_map(|(first, kind)| (first..first + OF_A_KIND).map(move |seed| (seed, kind)));
        let wanted: Vec<_> = wanted.collect();
        let make = |(seed, (kind, options)): (u64, &(&'static str, SliceOptions))| {
            let made = slice(seed, options);
            Phantom { kind, image: made.image, mask: made.mask }
        };
        wanted.into_par_iter().map(make).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vendor_has_its_share_and_nothing_else_an_array() {
        let with_array = |kind: &str| {
            phantoms().iter().filter(|phantom| phantom.kind == kind && !phantom.mask.is_blank()).count()
        };
        for (kind, _) in VENDORS {
            assert_eq!(with_array(kind), OF_A_KIND as usize, "{kind}");
        }
        assert_eq!((with_array(NO_ARRAY), phantoms().len()), (0, 60));
    }
}
