//! Trains the base model: the default network on phantom slices, new ones in each epoch.
//!
//! usage: train_base MODEL_FILE [MINUTES [THREADS [PICTURES_DIR MASKS_DIR]]]
//!
//! Stops after the plan's epochs; MINUTES (15) sizes the plan by the speed of its first epoch. The pictures are only looked
//! at: at the end the mean IoU on them is printed, `NAME.png` against `NAME_mask.png`. See models/README.md.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use modiolus_imaging::metrics::Overlap;
use modiolus_imaging::png;
use modiolus_phantom::{SliceOptions, slice};
use modiolus_pipeline::{Plan, plan};
use modiolus_segmentation::{Data, Device, Picture, Predictor, Training};
use rayon::prelude::*;

/// Phantom slices per epoch, and patches cut from each.
const SLICES: u64 = 48;
const PATCHES: u64 = 4;

/// Phantom slices that judge; their seeds are never trained on.
const JUDGING: std::ops::Range<u64> = 1_000_000_000..1_000_000_016;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let output =
        arguments.first().ok_or("usage: train_base MODEL_FILE [MINUTES [THREADS [IMAGES MASKS]]]")?;
    let minutes: f64 = arguments.get(1).map_or(Ok(15.0), |text| text.parse())?;
    let threads: usize = arguments.get(2).map_or(Ok(1), |text| text.parse())?;
    if threads == 1 {
        rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    }
    let judged: Vec<Picture> = JUDGING.into_par_iter().map(|seed| phantom(seed, true)).collect();
    let epochs = epochs_in(minutes, threads, &judged)?;
    println!("{epochs} epochs of {SLICES} new slices on {}", Device::choose());
    let model = train(plan_of(epochs), threads, &judged)?;
    std::fs::write(output, model.encode()?)?;
    if let [_, _, _, images, masks] = &arguments[..] {
        look(Predictor::new(model, Device::choose()), Path::new(images), Path::new(masks))?;
    }
    Ok(())
}

fn plan_of(epochs: u32) -> Plan {
    let mut plan = Plan { name: "base".into(), epochs, ..Plan::default() };
    if let plan::Input::Native { patches, .. } = &mut plan.input {
        *patches = (SLICES * PATCHES) as u32;
    }
    plan
}

fn phantom(seed: u64, held_out: bool) -> Picture {
    let made = slice(seed, &SliceOptions::default());
    Picture { image: made.image, mask: made.mask, held_out }
}

/// How many epochs fit into the time, from the time that one takes.
fn epochs_in(minutes: f64, threads: usize, judged: &[Picture]) -> Result<u32, Box<dyn Error>> {
    let start = Instant::now();
    train(plan_of(1), threads, judged)?;
    Ok((minutes * 60.0 / start.elapsed().as_secs_f64()).max(1.0) as u32)
}

fn train(
    plan: Plan,
    threads: usize,
    judged: &[Picture],
) -> Result<modiolus_segmentation::ModelFile, Box<dyn Error>> {
    let mut training = Training::start(plan.clone(), None, None, Device::choose(), threads)?;
    let start = Instant::now();
    for epoch in 0..plan.epochs {
        let seeds = u64::from(epoch) * SLICES..u64::from(epoch + 1) * SLICES;
        let mut pictures: Vec<Picture> = seeds.into_par_iter().map(|seed| phantom(seed, false)).collect();
        pictures.extend_from_slice(judged);
        let data = Data::new(&pictures, &plan)?;
        training.train_epochs(&data, epoch + 1, &|| false, &mut |metrics| {
            println!(
                "epoch {} of {}: loss {:.3}, judged {:.3}, IoU {:.3}, {:.0} s",
                metrics.epoch,
                metrics.epochs,
                metrics.loss,
                metrics.judged_loss,
                metrics.iou,
                start.elapsed().as_secs_f64()
            );
        })?;
    }
    Ok(training.model()?)
}

/// Prints the IoU on pictures that are not learned from.
fn look(predictor: Predictor, images: &Path, masks: &Path) -> Result<(), Box<dyn Error>> {
    let mut overlaps = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(images)?.collect::<Result<_, _>>()?;
    files.sort_by_key(|file| file.file_name());
    for file in files {
        let name = file.file_name().to_string_lossy().replace(".png", "");
        let image = png::decode_grey(&std::fs::read(file.path())?)?;
        let truth = png::decode_mask(&std::fs::read(masks.join(format!("{name}_mask.png")))?)?;
        let overlap = Overlap::of(&truth, &predictor.mask_slice(&image)?)?;
        println!(
            "{name}: IoU {:.3}, precision {:.3}, recall {:.3}",
            overlap.iou, overlap.precision, overlap.recall
        );
        overlaps.push(overlap.iou);
    }
    println!("mean IoU {:.3}", overlaps.iter().sum::<f64>() / overlaps.len().max(1) as f64);
    Ok(())
}
