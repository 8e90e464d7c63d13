//! Training: one loop.

use modiolus_imaging::metrics::Overlap;
use modiolus_imaging::{Mask, Values};
use modiolus_pipeline::job::train::EpochMetrics;
use modiolus_pipeline::{Digest, Plan, Split, plan};
use rayon::prelude::*;
use tch::Tensor;

use crate::checkpoint::{Checkpoint, ModelFile, Origin};
use crate::data::{Batch, Data};
use crate::loss::loss;
use crate::memory::Memory;
use crate::network::{Network, floats_to_train, parts};
use crate::optimizer::Adam;
use crate::prediction::Predictor;
use crate::{Device, Error, device};

/// A training between two epochs.
#[derive(Debug)]
pub struct Training {
    plan: Plan,
    network: Network,
    adam: Adam,
    epoch: u32,
    dataset: Option<Digest>,
    /// What was learned from and what was held out so far, its base's pictures included.
    split: Split,
    threads: usize,
}

impl Training {
    /// A training before its first epoch: from the weights of `base`, else from the plan's seed. `threads` is how many an
    /// operation may use: results are the same bit for bit only for the same number.
    ///
    /// # Errors
    /// When the plan can't be carried out or `base` has another network.
    pub fn start(
        plan: Plan,
        base: Option<&ModelFile>,
        dataset: Option<Digest>,
        device: Device,
        threads: usize,
    ) -> Result<Self, Error> {
        plan.check()?;
        check_memory(&plan, device)?;
        let mut network = match base {
            None => Network::seeded(&plan, device)?,
            Some(base) if base.origin.plan.network == plan.network => {
                Network::with_weights(&plan.network, &base.weights, device)?
            }
            Some(base) => {
                let (found, wanted) = (&base.origin.plan.network, &plan.network);
                let why = format!("its network is {found:?}, the plan's {wanted:?}");
                return Err(Error::File { what: "the base model", why });
            }
        };
        let adam = Adam::new(&plan.optimizer, &mut network)?;
        let split = base.map(|base| base.origin.split.clone()).unwrap_or_default();
        Ok(Self { plan, network, adam, epoch: 0, dataset, split, threads })
    }

    /// With the split of its dataset, which its models carry, so that what goes on from them keeps to it.
    #[must_use]
    pub fn splitting(mut self, split: Split) -> Self {
        self.split = self.split.and(split);
        self
    }

    /// A training that goes on where a checkpoint left it.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn resume(checkpoint: &Checkpoint, device: Device, threads: usize) -> Result<Self, Error> {
        let Origin { plan, epoch, dataset, split, .. } = checkpoint.model.origin.clone();
        check_memory(&plan, device)?;
        let mut network = Network::with_weights(&plan.network, &checkpoint.model.weights, device)?;
        let adam = Adam::restored(&plan.optimizer, &mut network, &checkpoint.moments)?;
        Ok(Self { plan, network, adam, epoch, dataset, split, threads })
    }

    /// How many epochs are done.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Trains until `to` epochs are done, at most the plan's, and tells `progress` of each. `stop` is asked between steps.
    ///
    /// # Errors
    /// [`Error::Diverged`] when a loss is no number any more, [`Error::Stopped`] when `stop` says so.
    pub fn train_epochs(
        &mut self,
        data: &Data,
        to: u32,
        stop: &dyn Fn() -> bool,
        progress: &mut dyn FnMut(&EpochMetrics),
    ) -> Result<Vec<EpochMetrics>, Error> {
        let mut metrics = Vec::new();
        while self.epoch < to.min(self.plan.epochs) {
            let epoch = self.train_epoch(data, stop)?;
            progress(&epoch);
            metrics.push(epoch);
        }
        Ok(metrics)
    }

    /// Trains one epoch and judges it.
    fn train_epoch(&mut self, data: &Data, stop: &dyn Fn() -> bool) -> Result<EpochMetrics, Error> {
        device::use_threads(self.threads);
        let plan = self.plan.clone();
        let all_steps = data.steps(&plan) as u64 * u64::from(plan.epochs);
        let (mut sum, mut pictures) = (0.0, 0);
        data.each_batch(&plan, self.epoch, |batch| {
            if stop() {
                return Err(Error::Stopped);
            }
            let (images, masks) = tensors(&batch, self.network.device())?;
            let loss = self.loss(&images, &masks)?;
            let value = loss.f_double_value(&[])?;
            if !value.is_finite() {
                return Err(Error::Diverged { epoch: self.epoch + 1, loss: value });
            }
            loss.f_backward()?;
            self.adam.step(&mut self.network, all_steps)?;
            sum += value * batch.count as f64;
            pictures += batch.count;
            Ok(())
        })?;
        let metrics = self.judge(data, sum / pictures.max(1) as f64)?;
        if !metrics.judged_loss.is_finite() {
            // What the last step made of the weights is no good, though the loss before it was.
            return Err(Error::Diverged { epoch: metrics.epoch, loss: metrics.judged_loss });
        }
        self.epoch += 1;
        Ok(metrics)
    }

    /// The plan's loss, on the full grid and, by its share, on each coarser one, where a pixel is electrode if any below it is.
    fn loss(&self, images: &Tensor, masks: &Tensor) -> Result<Tensor, Error> {
        let (weights, moves_norm) = (&self.plan.loss, !self.plan.frozen_norm);
        if weights.deep == 0.0 {
            return loss(&self.network.forward(images, moves_norm)?, masks, weights);
        }
        let (logits, coarse) = self.network.forward_deep(images, moves_norm)?;
        let mut sum = loss(&logits, masks, weights)?;
        let mut masks = masks.shallow_clone();
        for logits in coarse {
            masks = masks.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
            sum = sum.f_add(&loss(&logits, &masks, weights)?.f_mul_scalar(weights.deep)?)?;
        }
        Ok(sum)
    }

    /// What the network makes of the judging pictures after the epoch's last step.
    fn judge(&self, data: &Data, trained_loss: f64) -> Result<EpochMetrics, Error> {
        let predictor = Predictor::new(self.model()?, self.network.device());
        let weights = &self.plan.loss;
        let judge = |(image, mask): &(_, Mask)| {
            let probability = predictor.predict(image)?;
            let overlap = Overlap::of(mask, &predictor.threshold(&probability))?;
            Ok([judged_loss(&probability, mask, weights), overlap.iou, overlap.dice])
        };
        let judged: Vec<[f64; 3]> = data.judged().par_iter().map(judge).collect::<Result<_, Error>>()?;
        let mean = |index: usize| {
            judged.iter().map(|values| values[index]).sum::<f64>() / judged.len().max(1) as f64
        };
        Ok(EpochMetrics {
            epoch: self.epoch + 1,
            epochs: self.plan.epochs,
            loss: trained_loss,
            judged_loss: mean(0),
            iou: mean(1),
            dice: mean(2),
            held_out: data.is_held_out(),
        })
    }

    /// The model so far.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn model(&self) -> Result<ModelFile, Error> {
        let new = Origin::new(self.plan.clone(), self.epoch, self.dataset);
        let origin = Origin { split: self.split.clone(), ..new };
        Ok(ModelFile { origin, weights: self.network.weights()? })
    }

    /// Everything that is needed to go on elsewhere.
    ///
    /// # Errors
    /// [`Error::Diverged`] when a weight or a moment of the optimizer is no number any more (steps overflow before losses do),
    /// so that what is kept can be gone on from; those of libtorch.
    pub fn checkpoint(&mut self) -> Result<Checkpoint, Error> {
        let checkpoint = Checkpoint { model: self.model()?, moments: self.adam.state(&mut self.network)? };
        match checkpoint.is_finite() {
            true => Ok(checkpoint),
            false => Err(Error::Diverged { epoch: self.epoch, loss: f64::INFINITY }),
        }
    }
}

fn tensors(batch: &Batch, device: Device) -> Result<(Tensor, Tensor), Error> {
    let shape = [batch.count as i64, 1, batch.side as i64, batch.side as i64];
    let tensor = |values: &[f32]| Tensor::f_from_slice(values)?.f_reshape(shape)?.f_to_device(device.0);
    Ok((tensor(&batch.images)?, tensor(&batch.masks)?))
}

/// About how many bytes a training step of a plan takes, libtorch's own needs aside.
pub fn memory_estimate(plan: &Plan) -> u64 {
    let side: u64 = match plan.input {
        plan::Input::Fit { size } => size.into(),
        plan::Input::Native { patch, .. } => patch.into(),
    };
    let pixels = u64::from(plan.batch) * side * side;
    let numbers: usize = parts(&plan.network).iter().map(|part| part.len()).sum();
    // Weights, gradients and two moments.
    4 * (pixels * floats_to_train(&plan.network) + 4 * numbers as u64)
}

/// Whether a step fits into what this process may take. A GPU's memory is its own, and libtorch says when it is full.
fn check_memory(plan: &Plan, device: Device) -> Result<(), Error> {
    match Memory::of_this_process().filter(|_| !device.is_gpu()) {
        Some(memory) => fits(memory_estimate(plan), memory),
        None => Ok(()),
    }
}

fn fits(needed: u64, Memory { most, free }: Memory) -> Result<(), Error> {
    let needed_mb = needed >> 20;
    match needed {
        _ if needed > most => Err(Error::Memory { needed_mb, limit_mb: most >> 20 }),
        _ if needed > free => Err(Error::MemoryInUse { needed_mb, free_mb: free >> 20 }),
        _ => Ok(()),
    }
}

/// The plan's loss of one picture, from probabilities.
fn judged_loss(probability: &Values, mask: &Mask, weights: &plan::Loss) -> f64 {
    let (mut entropy, mut both, mut either) = (0.0, 0.0, 0.0);
    for (&p, &set) in probability.values().iter().zip(mask.values()) {
        let (p, set) = (f64::from(p), f64::from(u8::from(set)));
        // 1e-7 is what libtorch's own clamp at a log of -100 cannot reach with 32-bit probabilities.
        entropy -= (set * p + (1.0 - set) * (1.0 - p)).max(1e-7).ln();
        both += p * set;
        either += p + set;
    }
    let pixels = mask.values().len() as f64;
    weights.cross_entropy * entropy / pixels + weights.dice * (1.0 - (2.0 * both + 1.0) / (either + 1.0))
}

#[cfg(test)]
mod tests {
    use modiolus_imaging::Grid;
    use modiolus_pipeline::plan::{Input, Network as Architecture};

    use super::*;
    use crate::Picture;

    fn data(plan: &Plan) -> Data {
        let image =
            Grid::from_fn(40, 40, |row, column| if row < 12 && column > 20 { 220 } else { 60 }).unwrap();
        let mask = image.map(|&grey| grey > 100);
        Data::new(&[Picture { image, mask, held_out: false }], plan).unwrap()
    }

    fn small(epochs: u32) -> Plan {
        Plan {
            network: Architecture::Unet { levels: 1, features: 4 },
            input: Input::Native { multiple: 2, patch: 32, patches: 32 },
            epochs,
            ..Plan::default()
        }
    }

    #[test]
    fn a_bright_corner_is_learned() {
        for plan in [small(12), Plan { epochs: 60, input: Input::Fit { size: 32 }, ..small(60) }] {
            let data = data(&plan);
            let mut training = Training::start(plan, None, None, Device::CPU, 1).unwrap();
            let mut told = 0;
            let metrics = training.train_epochs(&data, u32::MAX, &|| false, &mut |_| told += 1).unwrap();
            let last = metrics.last().unwrap();
            assert!(last.iou > 0.9 && last.loss < metrics[0].loss, "{last:?}");
            assert_eq!((told, last.epoch, last.held_out), (metrics.len(), training.plan().epochs, false));
        }
    }

    #[test]
    fn a_loss_that_is_no_number_stops_the_training() {
        let plan = small(2);
        let mut checkpoint =
            Training::start(plan.clone(), None, None, Device::CPU, 1).unwrap().checkpoint().unwrap();
        checkpoint.model.weights.get_mut("head.bias").unwrap()[0] = f32::INFINITY;
        let mut training = Training::resume(&checkpoint, Device::CPU, 1).unwrap();
        let error = training.train_epochs(&data(&plan), 2, &|| false, &mut |_| ()).unwrap_err();
        assert!(matches!(error, Error::Diverged { epoch: 1, .. }), "{error}");
    }

    #[test]
    fn a_training_that_is_told_to_stop_stops() {
        let plan = small(2);
        let mut training = Training::start(plan.clone(), None, None, Device::CPU, 1).unwrap();
        let result = training.train_epochs(&data(&plan), 2, &|| true, &mut |_| ());
        assert!(matches!(result, Err(Error::Stopped)));
    }

    #[test]
    fn a_plan_that_needs_too_much_memory_is_refused_before_it_starts() {
        let input = Input::Native { multiple: 64, patch: 2048, patches: 1 };
        let plan =
            Plan { network: Architecture::Unet { levels: 6, features: 64 }, input, batch: 256, ..small(1) };
        assert!(matches!(Training::start(plan, None, None, Device::CPU, 1), Err(Error::Memory { .. })));
        let memory = Memory { most: 8 << 30, free: 2 << 30 };
        assert!(fits(2 << 30, memory).is_ok());
        assert!(matches!(fits(3 << 30, memory), Err(Error::MemoryInUse { needed_mb: 3072, free_mb: 2048 })));
        assert!(matches!(fits(9 << 30, memory), Err(Error::Memory { limit_mb: 8192, .. })));
        assert!(memory_estimate(&Plan::one_level_unet()) < 1 << 30);
        assert!(memory_estimate(&Plan::default()) < 1 << 30);
    }
}
