//! How often contacts are counted right on clean phantoms with their true masks, by kind of array, and how far found contacts lie from
//! true ones: the table of docs/experiments.md.
//!
//! usage: contacts [SLICES [FIRST_SEED]]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

use modiolus_imaging::contacts::electrode_array;
use modiolus_phantom::{ArrayModel, PhantomSlice, Quality, SliceContact, SliceOptions, Vendor, slice};
use rayon::prelude::*;

#[derive(Default)]
struct Row {
    slices: usize,
    counted: usize,
    exact: usize,
    nearly: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let count = numbers.next().transpose()?.unwrap_or(200);
    let first = numbers.next().transpose()?.unwrap_or(8_000_000);
    let options = SliceOptions { empty: 0.0, quality: Quality::Clean, ..SliceOptions::default() };
    let made: Vec<PhantomSlice> =
        (first..first + count).into_par_iter().map(|seed| slice(seed, &options)).collect();
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    let (mut errors, mut seconds) = (Vec::new(), 0.0);
    for (made, model) in made.iter().filter_map(|made| Some((made, made.model?))) {
        let start = Instant::now();
        let array = electrode_array(&made.image, &made.mask, made.spacing_mm.map(f64::from));
        seconds += start.elapsed().as_secs_f64();
        let found = array.map(|array| array.contacts).unwrap_or_default();
        let shown: Vec<&SliceContact> = made.contacts.iter().filter(|contact| contact.visible).collect();
        for name in [kind(model), "all"] {
            let row = rows.entry(name).or_default();
            row.slices += 1;
            row.counted += usize::from(!found.is_empty());
            row.exact += usize::from(found.len() == shown.len());
            row.nearly += usize::from(!found.is_empty() && found.len().abs_diff(shown.len()) <= 1);
        }
        for contact in found {
            let off = |at: &&SliceContact| {
                (contact.at_mm.0 - f64::from(at.y_mm)).hypot(contact.at_mm.1 - f64::from(at.x_mm))
            };
            errors.extend(shown.iter().map(off).min_by(f64::total_cmp));
        }
    }
    println!("arrays: slices, counted, exact, off by at most one");
    for (name, Row { slices, counted, exact, nearly }) in rows {
        println!("{name}: {slices}, {counted}, {exact}, {nearly}");
    }
    errors.sort_by(f64::total_cmp);
    println!(
        "to the nearest true contact: mean {:.3} mm, 95 % within {:.3} mm; {:.1} ms a slice",
        errors.iter().sum::<f64>() / errors.len().max(1) as f64,
        errors.get(errors.len() * 19 / 20).unwrap_or(&0.0),
        seconds * 1e3 / count.max(1) as f64
    );
    Ok(())
}

fn kind(model: &ArrayModel) -> &'static str {
    match model.vendor {
        Vendor::MedEl => "Med-El",
        Vendor::AdvancedBionics | Vendor::Oticon => "Advanced Bionics and Oticon",
        Vendor::Cochlear if model.pitch_mm > 0.8 => "Cochlear CI622",
        Vendor::Cochlear => "Cochlear CI612, CI632 and Hybrid L24",
    }
}
