//! Judges models on phantoms of each style and quality, and on pictures in folders.
//!
//! usage: judge [--json] SLICES MODEL_FILE... [-- PICTURES_DIR [MASKS_DIR]]...
//!
//! SLICES phantoms of each kind with seeds that no model was trained on. `threshold` instead of a file draws whatever is brighter
//! than 150. After `--`: `NAME.png` against `NAME_mask.png`; without masks the pictures show no array, and what counts is how
//! many of them a mask is drawn on; then made metal is laid onto enlarged parts of them.

use std::error::Error;
use std::path::Path;

use modiolus_imaging::contacts::electrode_array;
use modiolus_imaging::metrics::{Overlap, centreline_distance, surface_dice};
use modiolus_imaging::{Image8, Mask, PIXELS, Region, png};
use modiolus_phantom::{PhantomSlice, Quality, SliceContact, SliceOptions, Style, slice, slice_onto};
use modiolus_segmentation::Predictor;
use rayon::prelude::*;
use serde::Serialize;

/// Seeds far from those of training.
const FIRST_SEED: u64 = 2_000_000_000;

/// What many people threshold at.
const THRESHOLD: u8 = 150;

const USAGE: &str = "usage: judge [--json] SLICES MODEL_FILE... [-- PICTURES_DIR [MASKS_DIR]]...";

/// A picture, its true mask, and what else is known of it.
struct Case {
    image: Image8,
    truth: Mask,
    phantom: Option<PhantomSlice>,
}

/// Who draws.
enum Artist {
    Threshold,
    Network(Box<Predictor>),
}

/// How well a set is drawn. Means over the pictures with an array.
#[derive(Default, Serialize)]
struct Report {
    model: String,
    set: String,
    with_array: usize,
    iou: f64,
    nsd_2px: f64,
    dice: f64,
    /// Over the pictures on which something is drawn.
    centreline_px: f64,
    without_array: usize,
    /// On how many of them something is drawn.
    drawn_on: usize,
    /// How many pixels lead, wires, coil and clips have, and the share of them that is drawn.
    other_metal_px: usize,
    other_metal: f64,
    contacts: Contacts,
}

/// What measuring finds of the contacts that a picture shows.
#[derive(Default, Serialize)]
struct Contacts {
    shown: usize,
    found: usize,
    /// Pictures with a count, and with the right one.
    counted: usize,
    exact: usize,
    /// Mean distance from a found contact to the nearest true one.
    error_mm: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.first().is_some_and(|first| first == "--json");
    arguments.drain(..usize::from(json));
    let mut groups = arguments.split(|argument| argument == "--");
    let [count, models @ ..] = groups.next().unwrap_or_default() else { return Err(USAGE.into()) };
    let count = count.parse()?;
    let mut sets = phantoms(count);
    for group in groups {
        let [images, masks @ ..] = group else { return Err(USAGE.into()) };
        let set = pictures(Path::new(images), masks.first().map(Path::new))?;
        if masks.is_empty() {
            sets.push((format!("arrays on {images}"), arrays_on(&set, count)?));
        }
        sets.push((images.clone(), set));
    }
    for model in models {
        let artist = Artist::named(model)?;
        for (name, set) in &sets {
            let report = Report { model: model.clone(), set: name.clone(), ..judge(&artist, set)? };
            if json { println!("{}", serde_json::to_string(&report)?) } else { report.print() }
        }
    }
    Ok(())
}

impl Artist {
    fn named(model: &str) -> Result<Self, Box<dyn Error>> {
        Ok(match model {
            "threshold" => Self::Threshold,
            file => {
                let bytes = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
                Self::Network(Box::new(Predictor::load(&bytes)?))
            }
        })
    }

    fn draw(&self, image: &Image8) -> Result<Mask, modiolus_segmentation::Error> {
        match self {
            Self::Threshold => Ok(image.map(|&grey| grey > THRESHOLD)),
            Self::Network(predictor) => predictor.mask_slice(image),
        }
    }
}

impl From<PhantomSlice> for Case {
    fn from(made: PhantomSlice) -> Self {
        Self { image: made.image.clone(), truth: made.mask.clone(), phantom: Some(made) }
    }
}

/// Every style, the ends of quality, and slices without an array on which much looks like one.
fn phantoms(count: u64) -> Vec<(String, Vec<Case>)> {
    let anatomy = SliceOptions::default;
    let style =
        |style: Style| (format!("{style:?} Any"), SliceOptions { styles: style.alone(), ..anatomy() });
    let quality = |quality| (format!("Anatomy {quality:?}"), SliceOptions { quality, ..anatomy() });
    let no_array = SliceOptions { empty: 1.0, bone_windows: 0.3, leads: 0.7, ..anatomy() };
    let no_implant = SliceOptions { empty: 1.0, bone_windows: 0.3, bare: 1.0, ..anatomy() };
    let mut kinds: Vec<_> = Style::ALL.into_iter().map(style).collect();
    kinds.extend([Quality::Clean, Quality::Blurred].map(quality));
    kinds.push(("Anatomy, no array".into(), no_array));
    kinds.push(("Anatomy, no implant".into(), no_implant));
    let set = |(name, options): (String, SliceOptions)| {
        let seeds = (FIRST_SEED..FIRST_SEED + count).into_par_iter();
        (name, seeds.map(|seed| slice(seed, &options).into()).collect())
    };
    kinds.into_iter().map(set).collect()
}

/// Made metal on parts of pictures whose dark and bright ends lie where those of an ear do.
fn arrays_on(set: &[Case], count: u64) -> Result<Vec<Case>, Box<dyn Error>> {
    let mut judged = Vec::new();
    for seed in FIRST_SEED..FIRST_SEED + count {
        let picture = &set[seed as usize * 37 % set.len()].image;
        let side = 70 + seed as usize % 50;
        let within = |length: usize, by: usize| seed as usize * by % (length.saturating_sub(side).max(1));
        let (rows, columns) = (side.min(picture.rows()), side.min(picture.columns()));
        let (row, column) = (within(picture.rows(), 61), within(picture.columns(), 83));
        let part = picture.crop(Region { row, column, rows, columns })?;
        let background = part.map(|&grey| (f32::from(grey) * 0.6) as u8);
        let made = slice_onto(seed, &SliceOptions { empty: 0.0, ..SliceOptions::default() }, &background)?;
        judged.push(made.into());
    }
    Ok(judged)
}

fn pictures(images: &Path, masks: Option<&Path>) -> Result<Vec<Case>, Box<dyn Error>> {
    let mut files: Vec<_> = std::fs::read_dir(images)?.collect::<Result<_, _>>()?;
    files.sort_by_key(|file| file.file_name());
    let mut judged = Vec::new();
    for file in files {
        let image = png::decode_grey(&std::fs::read(file.path())?)?;
        let name = file.file_name().to_string_lossy().replace(".png", "_mask.png");
        let truth = match masks {
            Some(masks) => png::decode_mask(&std::fs::read(masks.join(name))?)?,
            None => image.map(|_| false),
        };
        judged.push(Case { image, truth, phantom: None });
    }
    Ok(judged)
}

fn judge(artist: &Artist, set: &[Case]) -> Result<Report, Box<dyn Error>> {
    let drawn: Vec<Mask> = set.par_iter().map(|case| artist.draw(&case.image)).collect::<Result<_, _>>()?;
    let mut report = Report::default();
    let (mut lines, mut metal, mut drawn_metal) = (Vec::new(), 0, 0);
    for (case, mask) in set.iter().zip(&drawn) {
        if let Some(made) = &case.phantom {
            let both = made
                .other_metal
                .values()
                .iter()
                .zip(mask.values())
                .filter(|(metal, drawn)| **metal && **drawn);
            (metal, drawn_metal) = (metal + made.other_metal.count(), drawn_metal + both.count());
        }
        if case.truth.is_blank() {
            report.without_array += 1;
            report.drawn_on += usize::from(!mask.is_blank());
            continue;
        }
        report.with_array += 1;
        let overlap = Overlap::of(&case.truth, mask)?;
        report.iou += overlap.iou;
        report.dice += overlap.dice;
        report.nsd_2px += surface_dice(&case.truth, mask, PIXELS, 2.0)?;
        lines.extend(centreline_distance(&case.truth, mask, PIXELS)?);
    }
    let with = report.with_array.max(1) as f64;
    for sum in [&mut report.iou, &mut report.dice, &mut report.nsd_2px] {
        *sum /= with;
    }
    report.centreline_px = mean(&lines);
    report.other_metal_px = metal;
    report.other_metal = drawn_metal as f64 / metal.max(1) as f64;
    report.contacts = contacts(set, &drawn);
    Ok(report)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Contacts measured on the masks that were drawn, against those that the phantoms show.
fn contacts(set: &[Case], drawn: &[Mask]) -> Contacts {
    let (mut contacts, mut errors) = (Contacts::default(), Vec::new());
    for (case, mask) in set.iter().zip(drawn) {
        let Some(made) = case.phantom.as_ref().filter(|made| made.has_array()) else { continue };
        let shown: Vec<&SliceContact> = made.contacts.iter().filter(|contact| contact.visible).collect();
        let found = electrode_array(&case.image, mask, made.spacing_mm.map(f64::from));
        let found = found.map(|array| array.contacts).unwrap_or_default();
        contacts.shown += shown.len();
        contacts.found += found.len();
        contacts.counted += usize::from(!found.is_empty());
        contacts.exact += usize::from(!found.is_empty() && found.len() == shown.len());
        for contact in found {
            let off = |at: &&SliceContact| {
                (contact.at_mm.0 - f64::from(at.y_mm)).hypot(contact.at_mm.1 - f64::from(at.x_mm))
            };
            errors.extend(shown.iter().map(off).min_by(f64::total_cmp));
        }
    }
    contacts.error_mm = mean(&errors);
    contacts
}

impl Report {
    fn print(&self) {
        let Self {
            model, set, with_array, iou, nsd_2px, drawn_on, without_array, other_metal, contacts, ..
        } = self;
        println!(
            "{model}, {set}: IoU {iou:.3}, NSD {nsd_2px:.3} on {with_array}; drawn on {drawn_on} of {without_array} without an array; \
             other metal {other_metal:.3}; contacts exact on {} of {with_array}, {} counted",
            contacts.exact, contacts.counted
        );
    }
}
