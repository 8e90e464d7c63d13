//! Trains the base model: a network on phantom slices, new ones in each epoch.
//!
//! usage: train_base MODEL_FILE [PLAN_FILE [BASE_FILE]]
//!
//! Without a plan: the recipe of the model that ships; with one, that plan on the same phantoms. From the model in BASE_FILE: a
//! second course, on a harder mixture (`SliceOptions::training`: more of what is taken for an array).
//!
//! One thread does all, so that the same plan gives the same bytes on the same kind of processor. The model so far is
//! written after each epoch, and beside it (`MODEL_FILE.average`) the mean of its last epochs. See models/README.md.

use std::error::Error;
use std::time::Instant;

use modiolus_phantom::{SliceOptions, Style, slice};
use modiolus_pipeline::Plan;
use modiolus_segmentation::{Data, Device, ModelFile, Picture, Training, device};

/// New phantom slices per epoch.
const SLICES: u64 = 48;

/// Seeds of the phantom slices that judge; none is trained on.
const JUDGING: std::ops::Range<u64> = 1_000_000_000..1_000_000_008;

/// So many seeds of phantoms belong to each seed of a plan.
const SEEDS: u64 = 100_000_000;

/// The share of the epochs, at the end, whose mean is kept too.
const AVERAGED: f64 = 0.2;

/// A plan and what it is carried out on.
struct Course {
    plan: Plan,
    slices: fn(u64) -> SliceOptions,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [output, rest @ ..] = &arguments[..] else {
        return Err("usage: train_base MODEL_FILE [PLAN_FILE [BASE_FILE]]".into());
    };
    let read_model = |file: &String| Ok::<_, Box<dyn Error>>(ModelFile::decode(&std::fs::read(file)?)?);
    let base = rest.get(1).map(read_model).transpose()?;
    let mut course = shipped()?;
    if let Some(file) = rest.first() {
        course.plan = serde_json::from_slice(&std::fs::read(file)?)?;
    }
    if base.is_some() {
        course.slices = SliceOptions::training;
    }
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    device::use_threads(1);
    train(&course, base.as_ref(), output)
}

/// How the model that ships came to be.
fn shipped() -> Result<Course, serde_json::Error> {
    Ok(Course {
        plan: serde_json::from_str(include_str!("../models/base.plan.json"))?,
        slices: |_| SliceOptions { styles: &Style::TRAINING, ..SliceOptions::default() },
    })
}

impl Course {
    fn phantom(&self, seed: u64, held_out: bool) -> Picture {
        let made = slice(seed, &(self.slices)(seed));
        Picture { image: made.image, mask: made.mask, held_out }
    }
}

fn train(course: &Course, base: Option<&ModelFile>, output: &str) -> Result<(), Box<dyn Error>> {
    let plan = &course.plan;
    let first = plan.seed.checked_mul(SEEDS).filter(|first| first + SEEDS <= JUDGING.start);
    let first = first.ok_or("the plan's seed has to be below 10: other phantoms judge")?;
    let judged: Vec<Picture> = JUDGING.map(|seed| course.phantom(seed, true)).collect();
    let mut training = Training::start(plan.clone(), base, None, Device::choose(), 1)?;
    let mut average: Option<(ModelFile, f32)> = None;
    let start = Instant::now();
    for epoch in 0..plan.epochs {
        let seeds = first + u64::from(epoch) * SLICES..first + u64::from(epoch + 1) * SLICES;
        let mut pictures: Vec<Picture> = seeds.map(|seed| course.phantom(seed, false)).collect();
        pictures.extend_from_slice(&judged);
        let data = Data::new(&pictures, plan)?;
        training.train_epochs(&data, epoch + 1, &|| false, &mut |metrics| {
            println!(
                "{}, epoch {} of {}: loss {:.3}, judged {:.3}, IoU {:.3}, {:.0} s",
                plan.name,
                metrics.epoch,
                metrics.epochs,
                metrics.loss,
                metrics.judged_loss,
                metrics.iou,
                start.elapsed().as_secs_f64()
            );
        })?;
        let model = training.model()?;
        std::fs::write(output, model.encode()?)?;
        if f64::from(epoch + 1) > f64::from(plan.epochs) * (1.0 - AVERAGED) {
            let so_far = average.take();
            let (mean, _) = average.insert(averaged(so_far, model));
            std::fs::write(format!("{output}.average"), mean.encode()?)?;
        }
    }
    Ok(())
}

/// The mean of all models so far (and how many they are) and one more.
fn averaged(so_far: Option<(ModelFile, f32)>, model: ModelFile) -> (ModelFile, f32) {
    let Some((mut mean, count)) = so_far else { return (model, 1.0) };
    for (mean, new) in mean.weights.values_mut().zip(model.weights.values()) {
        mean.iter_mut().zip(new).for_each(|(mean, new)| *mean += (new - *mean) / (count + 1.0));
    }
    mean.origin = model.origin;
    (mean, count + 1.0)
}
