//! Trains the base model: a network on phantom slices, new ones in each epoch.
//!
//! usage: train_base MODEL_FILE [PLAN_FILE [BASE_FILE]]
//!
//! Without a plan: both courses of the model that ships, the first into `MODEL_FILE.first`. With one: that plan alone, on the first
//! course's phantoms; from the model in BASE_FILE, on the second's harder mixture.
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

/// What a course ends with.
struct Trained {
    last: ModelFile,
    average: ModelFile,
}

fn main() -> Result<(), Box<dyn Error>> {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    device::use_threads(1);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [output] => shipped(output),
        [output, plan] => train(&Course::first(&std::fs::read(plan)?)?, None, output).map(drop),
        [output, plan, base] => {
            let base = ModelFile::decode(&std::fs::read(base)?)?;
            train(&Course::second(&std::fs::read(plan)?)?, Some(&base), output).map(drop)
        }
        _ => Err("usage: train_base MODEL_FILE [PLAN_FILE [BASE_FILE]]".into()),
    }
}

/// How the model that ships came to be: the second course goes on from the first one's end and teaches what is no array.
fn shipped(output: &str) -> Result<(), Box<dyn Error>> {
    let first = Course::first(include_bytes!("../models/base.first.plan.json"))?;
    let second = Course::second(include_bytes!("../models/base.plan.json"))?;
    let base = train(&first, None, &format!("{output}.first"))?.last;
    let model = train(&second, Some(&base), output)?.average;
    Ok(std::fs::write(output, model.encode()?)?)
}

impl Course {
    fn first(plan: &[u8]) -> Result<Self, serde_json::Error> {
        let slices = |_| SliceOptions { styles: &Style::TRAINING, ..SliceOptions::default() };
        Ok(Self { plan: serde_json::from_slice(plan)?, slices })
    }

    fn second(plan: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(Self { plan: serde_json::from_slice(plan)?, slices: SliceOptions::training })
    }

    fn phantom(&self, seed: u64, held_out: bool) -> Picture {
        let made = slice(seed, &(self.slices)(seed));
        Picture { image: made.image, mask: made.mask, held_out }
    }
}

fn train(course: &Course, base: Option<&ModelFile>, output: &str) -> Result<Trained, Box<dyn Error>> {
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
    let (average, _) = average.ok_or("the plan has no epochs")?;
    Ok(Trained { last: training.model()?, average })
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
