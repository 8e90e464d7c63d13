//! Judges models on phantoms of each style and quality, and on pictures in folders.
//!
//! usage: judge SLICES MODEL_FILE... [-- PICTURES_DIR [MASKS_DIR]]...
//!
//! SLICES phantoms of each kind with seeds that no model was trained on. After `--`: `NAME.png` against `NAME_mask.png`; without
//! masks the pictures show no array, and what counts is how many of them a mask is drawn on; then made metal is laid onto
//! enlarged parts of them.

use std::error::Error;
use std::path::Path;

use modiolus_imaging::metrics::{Overlap, surface_dice};
use modiolus_imaging::{Image8, Mask, PIXELS, Region, png};
use modiolus_phantom::{Quality, SliceOptions, Style, slice, slice_onto};
use modiolus_segmentation::Predictor;
use rayon::prelude::*;

/// Seeds far from those of training.
const FIRST_SEED: u64 = 2_000_000_000;

type Judged = Vec<(Image8, Mask)>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut groups = arguments.split(|argument| argument == "--");
    let first = groups.next().unwrap_or_default();
    let [count, models @ ..] = first else {
        return Err("usage: judge SLICES MODEL_FILE... [-- PICTURES_DIR [MASKS_DIR]]...".into());
    };
    let mut sets = phantoms(count.parse()?);
    for group in groups {
        let [images, masks @ ..] = group else { return Err("-- without a folder".into()) };
        let set = pictures(Path::new(images), masks.first().map(Path::new))?;
        if masks.is_empty() {
            sets.push((format!("arrays on {images}"), arrays_on(&set, count.parse()?)?));
        }
        sets.push((images.clone(), set));
    }
    for model in models {
        println!("{model}");
        let predictor = Predictor::load(&std::fs::read(model)?)?;
        for (name, set) in &sets {
            judge(&predictor, name, set)?;
        }
    }
    Ok(())
}

fn phantoms(count: u64) -> Vec<(String, Judged)> {
    let qualities = [Quality::Clean, Quality::Blurred].map(|quality| (Style::Anatomy, quality));
    let kinds = Style::ALL.map(|style| (style, Quality::Any)).into_iter().chain(qualities);
    let set = |(style, quality): (Style, Quality)| {
        let options = SliceOptions { styles: style.alone(), quality, ..SliceOptions::default() };
        let made = (FIRST_SEED..FIRST_SEED + count).into_par_iter().map(|seed| slice(seed, &options));
        (format!("{style:?} {quality:?}"), made.map(|made| (made.image, made.mask)).collect())
    };
    kinds.map(set).collect()
}

/// Made metal on parts of pictures whose dark and bright ends lie where those of an ear do.
fn arrays_on(set: &Judged, count: u64) -> Result<Judged, Box<dyn Error>> {
    let mut judged = Vec::new();
    for seed in FIRST_SEED..FIRST_SEED + count {
        let (picture, _) = &set[seed as usize * 37 % set.len()];
        let side = 70 + seed as usize % 50;
        let within = |length: usize, by: usize| seed as usize * by % (length.saturating_sub(side).max(1));
        let (rows, columns) = (side.min(picture.rows()), side.min(picture.columns()));
        let (row, column) = (within(picture.rows(), 61), within(picture.columns(), 83));
        let part = picture.crop(Region { row, column, rows, columns })?;
        let background = part.map(|&grey| (f32::from(grey) * 0.6) as u8);
        let made = slice_onto(seed, &SliceOptions { empty: 0.0, ..SliceOptions::default() }, &background)?;
        judged.push((made.image, made.mask));
    }
    Ok(judged)
}

fn pictures(images: &Path, masks: Option<&Path>) -> Result<Judged, Box<dyn Error>> {
    let mut files: Vec<_> = std::fs::read_dir(images)?.collect::<Result<_, _>>()?;
    files.sort_by_key(|file| file.file_name());
    let mut judged = Vec::new();
    for file in files {
        let image = png::decode_grey(&std::fs::read(file.path())?)?;
        let name = file.file_name().to_string_lossy().replace(".png", "_mask.png");
        let mask = match masks {
            Some(masks) => png::decode_mask(&std::fs::read(masks.join(name))?)?,
            None => image.map(|_| false),
        };
        judged.push((image, mask));
    }
    Ok(judged)
}

/// Mean IoU and NSD at 2 px over pictures with an array; of those without, the share on which something is drawn.
fn judge(predictor: &Predictor, name: &str, set: &Judged) -> Result<(), Box<dyn Error>> {
    let drawn = set.par_iter().map(|(image, _)| predictor.mask_slice(image));
    let drawn: Vec<Mask> = drawn.collect::<Result<_, _>>()?;
    let (mut iou, mut nsd, mut with, mut wrong) = (0.0, 0.0, 0_u32, 0);
    for ((_, truth), mask) in set.iter().zip(&drawn) {
        if truth.is_blank() {
            wrong += usize::from(!mask.is_blank());
            continue;
        }
        with += 1;
        iou += Overlap::of(truth, mask)?.iou;
        nsd += surface_dice(truth, mask, PIXELS, 2.0)?;
    }
    let mean = |sum: f64| sum / f64::from(with.max(1));
    println!(
        "{name:>20}: IoU {:.3}, NSD {:.3} on {with}; drawn on {wrong} of {} without an array",
        mean(iou),
        mean(nsd),
        set.len() - with as usize
    );
    Ok(())
}
