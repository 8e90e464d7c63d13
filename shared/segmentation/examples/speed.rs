//! Measures the reference network on the CPU, for `deploy/bench torch`.
//!
//! usage: speed train BATCH STEPS | speed predict BATCH REPEATS
//!
//! Pictures are phantoms of 256 x 256. Prints the seconds of each training step from one to the next, waiting for data
//! included, or of each prediction of BATCH pictures at once.

use std::cell::RefCell;
use std::error::Error;
use std::time::Instant;

use modiolus_phantom::training_pair;
use modiolus_pipeline::Plan;
use modiolus_pipeline::plan::Augmentation;
use modiolus_segmentation::{Data, Device, Picture, Predictor, Training, device};
use rayon::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    device::wait_passively();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, batch, times] = &arguments[..] else {
        return Err("usage: speed train BATCH STEPS | speed predict BATCH REPEATS".into());
    };
    let (batch, times) = (batch.parse()?, times.parse()?);
    let plan = Plan { batch, epochs: 1, augmentation: Augmentation::NONE, ..Plan::one_level_unet() };
    let seconds = match what.as_str() {
        "train" => train(plan, times)?,
        "predict" => predict(plan, times)?,
        other => return Err(format!("{other}: train or predict").into()),
    };
    seconds.iter().for_each(|seconds| println!("{seconds}"));
    Ok(())
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn train(plan: Plan, steps: u64) -> Result<Vec<f64>, Box<dyn Error>> {
    // The first step warms up, and a last one ends the time of the one before.
    let count = u64::from(plan.batch) * (steps + 2);
    let picture = |seed| {
        let (image, mask) = training_pair(seed);
        Picture { image, mask, held_out: false }
    };
    let mut pictures: Vec<Picture> = (0..count).into_par_iter().map(picture).collect();
    pictures.push(Picture { held_out: true, ..pictures[0].clone() });
    let data = Data::new(&pictures, &plan)?;
    let mut training = Training::start(plan, None, None, Device::CPU, threads())?;
    let moments = RefCell::new(Vec::new());
    let stop = || {
        moments.borrow_mut().push(Instant::now());
        false
    };
    training.train_epochs(&data, 1, &stop, &mut |_| ())?;
    let moments = moments.into_inner();
    Ok(moments.windows(2).skip(1).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect())
}

fn predict(plan: Plan, repeats: u64) -> Result<Vec<f64>, Box<dyn Error>> {
    let count = u64::from(plan.batch);
    let model = Training::start(plan, None, None, Device::CPU, 1)?.model()?;
    let predictor = Predictor::new(model, Device::CPU);
    let pictures: Vec<_> = (0..count).map(|seed| training_pair(seed).0).collect();
    let once = || {
        let start = Instant::now();
        pictures.par_iter().try_for_each(|picture| predictor.predict(picture).map(drop))?;
        Ok(start.elapsed().as_secs_f64())
    };
    once().and_then(|_| (0..repeats).map(|_| once()).collect())
}
