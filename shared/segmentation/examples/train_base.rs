//! Trains the base model: a network on phantom slices, new ones in each epoch.
//!
//! usage: train_base MODEL_FILE [PLAN_FILE [STYLE,STYLE...]]
//!
//! The plan is models/base.plan.json, if no other is named. One thread does all, so that the same plan gives the same
//! bytes on the same kind of processor. The model so far is written after each epoch. See models/README.md.

use std::error::Error;
use std::time::Instant;

use modiolus_phantom::{SliceOptions, Style, slice};
use modiolus_pipeline::Plan;
use modiolus_segmentation::{Data, Device, Picture, Training, device};

/// New phantom slices per epoch.
const SLICES: u64 = 48;

/// Phantom slices that judge; their seeds are never trained on.
const JUDGING: std::ops::Range<u64> = 1_000_000_000..1_000_000_008;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let output = arguments.next().ok_or("usage: train_base MODEL_FILE [PLAN_FILE [STYLE,STYLE...]]")?;
    let plan: Plan = match arguments.next() {
        Some(file) => serde_json::from_slice(&std::fs::read(file)?)?,
        None => serde_json::from_str(include_str!("../models/base.plan.json"))?,
    };
    let styles: &'static [Style] = match arguments.next() {
        Some(names) => names.split(',').map(style).collect::<Result<Vec<_>, _>>()?.leak(),
        None => &Style::TRAINING,
    };
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    device::use_threads(1);
    train(&plan, styles, &output)
}

fn style(name: &str) -> Result<Style, String> {
    let is_named = |style: &&Style| format!("{style:?}").eq_ignore_ascii_case(name);
    Style::ALL.iter().find(is_named).copied().ok_or_else(|| format!("{name}: one of {:?}", Style::ALL))
}

fn phantom(seed: u64, styles: &'static [Style], held_out: bool) -> Picture {
    let made = slice(seed, &SliceOptions { styles, ..SliceOptions::default() });
    Picture { image: made.image, mask: made.mask, held_out }
}

fn train(plan: &Plan, styles: &'static [Style], output: &str) -> Result<(), Box<dyn Error>> {
    let judged: Vec<Picture> = JUDGING.map(|seed| phantom(seed, styles, true)).collect();
    let mut training = Training::start(plan.clone(), None, None, Device::choose(), 1)?;
    let start = Instant::now();
    for epoch in 0..plan.epochs {
        let seeds = u64::from(epoch) * SLICES..u64::from(epoch + 1) * SLICES;
        let mut pictures: Vec<Picture> = seeds.map(|seed| phantom(seed, styles, false)).collect();
        pictures.extend_from_slice(&judged);
        let data = Data::new(&pictures, plan)?;
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
        std::fs::write(output, training.model()?.encode()?)?;
    }
    Ok(())
}
