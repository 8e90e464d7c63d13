//! What measuring finds of the contacts of made arrays.

use modiolus_imaging::contacts::electrode_array;
use modiolus_phantom::{PhantomSlice, Quality, SliceContact, SliceOptions, slice};
use rayon::prelude::*;

/// Clean slices with an array.
fn clean(count: u64) -> Vec<PhantomSlice> {
    let options = SliceOptions { empty: 0.0, quality: Quality::Clean, ..SliceOptions::default() };
    (7_000_000..7_000_000 + count).into_par_iter().map(|seed| slice(seed, &options)).collect()
}

#[test]
fn found_contacts_lie_on_true_ones() {
    let mut errors = Vec::new();
    let (mut counted, mut exact) = (0, 0);
    let made = clean(80);
    for made in &made {
        let visible: Vec<&SliceContact> = made.contacts.iter().filter(|contact| contact.visible).collect();
        let spacing = made.spacing_mm.map(f64::from);
        let found = electrode_array(&made.image, &made.mask, spacing).map(|array| array.contacts);
        let found = found.unwrap_or_default();
        counted += usize::from(!found.is_empty());
        exact += usize::from(found.len() == visible.len());
        for contact in found {
            let off = |true_: &&SliceContact| {
                (contact.at_mm.0 - f64::from(true_.y_mm)).hypot(contact.at_mm.1 - f64::from(true_.x_mm))
            };
            errors.extend(visible.iter().map(off).min_by(f64::total_cmp));
        }
    }
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    assert!(mean < 0.1, "mean distance to the nearest true contact: {mean} mm");
    assert!(counted * 100 >= made.len() * 85, "{counted} of {} have a count", made.len());
    assert!(exact * 100 >= made.len() * 77, "{exact} of {} are counted exactly", made.len());
}

#[test]
fn contacts_are_mostly_numbered_from_the_base() {
    let (mut told, mut from_base) = (0, 0);
    for made in clean(150) {
        let spacing = made.spacing_mm.map(f64::from);
        let Some(array) = electrode_array(&made.image, &made.mask, spacing) else { continue };
        // Where the spiral shows too little of itself, nobody can tell.
        let ([first, .., last], Some(_)) = (&array.contacts[..], array.insertion_deg) else { continue };
        let nearest = |at: (f64, f64)| {
            let off =
                |true_: &SliceContact| (at.0 - f64::from(true_.y_mm)).hypot(at.1 - f64::from(true_.x_mm));
            let distances = made.contacts.iter().map(off).enumerate();
            distances.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(number, _)| number)
        };
        told += 1;
        from_base += usize::from(nearest(first.at_mm) < nearest(last.at_mm));
    }
    // docs/experiments.md tells of those that are not.
    assert!(told > 60 && from_base * 100 >= told * 80, "{from_base} of {told}");
}
