//! What training relies on in made slices.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use modiolus_imaging::components::{Connectivity, components};
use modiolus_phantom::{PhantomSlice, Quality, SliceOptions, Style, Vendor, slice, slice_onto};
use rayon::prelude::*;

/// Some slices, made once for all tests.
fn slices() -> &'static [PhantomSlice] {
    static SLICES: OnceLock<Vec<PhantomSlice>> = OnceLock::new();
    SLICES.get_or_init(|| {
        (0..100_u64).into_par_iter().map(|seed| slice(seed, &SliceOptions::default())).collect()
    })
}

fn share(slice: &PhantomSlice) -> f64 {
    let set = slice.mask.values().iter().filter(|&&set| set).count();
    set as f64 / slice.mask.values().len() as f64
}

#[test]
fn a_seed_gives_the_same_slice_again_and_another_seed_another() {
    let options = SliceOptions::default();
    assert_eq!(slice(7, &options), slice(7, &options));
    assert_ne!(slice(7, &options).image, slice(8, &options).image);
}

#[test]
fn the_bytes_of_a_seed_are_known() {
    // A change here means that models trained before can't be trained again from their recipe: say so in the changelog.
    let made = slice(1, &SliceOptions::default());
    let sum =
        made.image.values().iter().fold(0_u32, |sum, &g| sum.wrapping_mul(31).wrapping_add(u32::from(g)));
    assert_eq!(sum, KNOWN);
}

const KNOWN: u32 = 273_250_776;

#[test]
fn masks_are_as_large_as_on_real_slices() {
    let made = slices();
    let with: Vec<&PhantomSlice> = made.iter().filter(|slice| slice.has_array()).collect();
    assert!((70..98).contains(&with.len()), "{} of 100 show an array", with.len());
    let mean = with.iter().map(|slice| share(slice)).sum::<f64>() / with.len() as f64;
    assert!((0.003..0.012).contains(&mean), "mean share {mean}");
    let usual = with.iter().filter(|slice| (0.0008..0.016).contains(&share(slice))).count();
    assert!(usual * 100 >= with.len() * 90, "{usual} of {} are of usual size", with.len());
}

#[test]
fn a_wanted_vendor_is_the_only_one() {
    for vendor in [Vendor::Cochlear, Vendor::AdvancedBionics, Vendor::MedEl, Vendor::Oticon] {
        let options = SliceOptions {
            rows: 64,
            columns: 64,
            empty: 0.0,
            vendor: Some(vendor),
            ..SliceOptions::default()
        };
        assert!((0..4).all(|seed| slice(seed, &options).model.is_some_and(|model| model.vendor == vendor)));
    }
}

#[test]
fn every_vendor_appears_and_slices_without_an_array_have_an_empty_mask() {
    let made = slices();
    let vendors: BTreeSet<Vendor> =
        made.iter().filter_map(|slice| slice.model).map(|model| model.vendor).collect();
    assert_eq!(vendors.len(), 4);
    let without: Vec<_> = made.iter().filter(|slice| slice.model.is_none()).collect();
    assert!(!without.is_empty());
    assert!(without.iter().all(|slice| !slice.has_array() && slice.contacts.is_empty()));
}

#[test]
fn the_mask_is_brighter_than_its_surroundings_and_at_the_contacts() {
    for made in slices().iter().filter(|slice| slice.has_array()) {
        let grey = made.image.values().iter().zip(made.mask.values());
        let (set, unset): (Vec<_>, Vec<_>) = grey.partition(|(_, set)| **set);
        assert!(set.iter().all(|(grey, _)| **grey >= 115));
        let mean = |pixels: &[(&u8, &bool)]| {
            pixels.iter().map(|(grey, _)| f64::from(**grey)).sum::<f64>() / pixels.len() as f64
        };
        assert!(mean(&set) > mean(&unset) + 40.0);
        for contact in made.contacts.iter().filter(|contact| contact.visible) {
            let column = (contact.x_mm / made.spacing_mm[1]).round() as usize;
            let row = (contact.y_mm / made.spacing_mm[0]).round() as usize;
            assert!(made.mask[(row, column)]);
        }
    }
}

#[test]
fn every_style_shows_arrays_and_looks_different() {
    let of = |style: Style| SliceOptions { styles: style.alone(), empty: 0.0, ..SliceOptions::default() };
    let mut pictures = BTreeSet::new();
    for style in Style::ALL {
        let made: Vec<_> = (0..8).map(|seed| slice(seed, &of(style))).collect();
        assert!(made.iter().filter(|slice| slice.has_array()).count() >= 7, "{style:?}");
        pictures.insert(made[0].image.values().to_vec());
    }
    assert_eq!(pictures.len(), Style::ALL.len());
}

/// The mean grey of the brightest tenth of a picture.
fn brightest(made: &PhantomSlice) -> f64 {
    let mut greys = made.image.values().to_vec();
    greys.sort_unstable();
    let tenth = &greys[greys.len() * 9 / 10..];
    tenth.iter().map(|&grey| f64::from(grey)).sum::<f64>() / tenth.len() as f64
}

#[test]
fn in_a_bone_window_bone_is_bright_and_the_array_brighter() {
    let usual = SliceOptions { empty: 0.0, ..SliceOptions::default() };
    let (mut brighter, mut shown) = (0, 0);
    for seed in 0..24 {
        let (before, made) =
            (slice(seed, &usual), slice(seed, &SliceOptions { bone_windows: 1.0, ..usual.clone() }));
        brighter += usize::from(brightest(&made) > brightest(&before) + 15.0);
        shown += usize::from(made.has_array());
        let in_mask = made.image.values().iter().zip(made.mask.values()).filter(|(_, set)| **set);
        assert!(in_mask.into_iter().all(|(grey, _)| *grey > 140), "seed {seed}");
    }
    assert!(brighter >= 20 && shown >= 22, "{brighter} brighter, {shown} with an array");
}

#[test]
fn leads_are_bright_where_no_array_is() {
    let options = SliceOptions { empty: 1.0, leads: 1.0, ..SliceOptions::default() };
    let made: Vec<_> = (0..24).map(|seed| slice(seed, &options)).collect();
    assert!(made.iter().all(|slice| !slice.has_array() && slice.contacts.is_empty()));
    let with_metal = made.iter().filter(|slice| slice.other_metal.count() > 30).count();
    assert!(with_metal >= 18, "{with_metal} of 24 show metal");
}

#[test]
fn a_reference_electrode_is_metal_and_no_array() {
    let metal = |references: f32| {
        let options = SliceOptions { references, empty: 0.0, ..SliceOptions::default() };
        (0..16).map(|seed| slice(seed, &options).other_metal.count()).collect::<Vec<_>>()
    };
    let more = metal(1.0).iter().zip(&metal(0.0)).filter(|(with, without)| with > without).count();
    assert!(more >= 7, "{more} of 16 show more metal");
}

#[test]
fn bare_slices_show_clips_for_their_only_metal() {
    let options = SliceOptions { empty: 1.0, leads: 1.0, bare: 1.0, ..SliceOptions::default() };
    let made: Vec<_> = (0..24).map(|seed| slice(seed, &options)).collect();
    assert!(made.iter().all(|slice| !slice.has_array()));
    let metal: Vec<usize> = made.iter().map(|slice| slice.other_metal.count()).collect();
    let share = |wanted: fn(&usize) -> bool| metal.iter().filter(|count| wanted(count)).count();
    assert!(share(|&count| count == 0) > 4 && share(|&count| count > 20) > 4, "{metal:?}");
}

#[test]
fn a_pixel_is_array_or_other_metal_or_neither() {
    let both = |made: &PhantomSlice| {
        made.mask.values().iter().zip(made.other_metal.values()).any(|(array, other)| *array && *other)
    };
    assert!(!slices().iter().any(both));
    assert!(slices().iter().filter(|made| made.other_metal.count() > 30).count() > 30);
}

#[test]
fn training_sees_every_quality_and_more_slices_without_an_array() {
    let qualities = (0..10).map(|seed| SliceOptions::training(seed).quality);
    assert_eq!(qualities.filter(|quality| *quality == Quality::Any).count(), 7);
    let empty = (0..80).filter(|&seed| !slice(seed, &SliceOptions::training(seed)).has_array()).count();
    assert!((10..32).contains(&empty), "{empty} of 80 without an array");
}

#[test]
fn metal_can_lie_on_a_given_picture() {
    let options = SliceOptions { empty: 0.0, ..SliceOptions::default() };
    let black = modiolus_imaging::Grid::filled(50, 60, 0_u8).unwrap();
    let made = slice_onto(3, &options, &black).unwrap();
    assert!(made.has_array() && made.image.size() == (256, 256));
    let dark = made.image.values().iter().filter(|&&grey| grey < 40).count();
    assert!(dark * 2 > made.image.values().len(), "{dark} dark pixels");
}

#[test]
fn masks_have_no_specks() {
    for made in slices() {
        assert!(components(&made.mask, Connectivity::Four).iter().all(|piece| piece.area() >= 4));
    }
}

#[test]
fn any_size_is_possible_within_limits() {
    for (rows, columns) in [(16, 16), (64, 200), (300, 150)] {
        let made = slice(5, &SliceOptions { rows, columns, empty: 0.0, ..SliceOptions::default() });
        assert_eq!(made.image.size(), (rows, columns));
        assert_eq!(made.mask.size(), (rows, columns));
        assert!(made.spacing_mm.iter().all(|mm| *mm > 0.0));
    }
    assert_eq!(
        slice(5, &SliceOptions { rows: 0, columns: 3, empty: 1.0, ..SliceOptions::default() }).image.size(),
        (16, 16)
    );
}
