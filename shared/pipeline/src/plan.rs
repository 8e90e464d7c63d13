//! Plans: everything that decides what a network learns, as one JSON object named by its hash.
//!
//! Hyper-parameters are no configuration: the plan is kept with the training and inside each checkpoint and model.

use serde::{Deserialize, Serialize};

use crate::{Digest, PlanId};

/// The highest rate at which a trained model goes on: see docs/experiments.md.
const FINE_TUNING_RATE: f64 = 5e-4;

/// The share of phantoms when a trained model goes on: see docs/experiments.md.
const FINE_TUNING_REHEARSAL: f64 = 0.75;

/// A recipe for a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// A name for people.
    pub name: String,
    /// The network.
    pub network: Network,
    /// How a slice becomes the network's input.
    pub input: Input,
    /// What is minimised.
    pub loss: Loss,
    /// Steps and rates.
    pub optimizer: Optimizer,
    /// Random changes to pictures while training.
    pub augmentation: Augmentation,
    /// How many times the dataset is gone through.
    pub epochs: u32,
    /// Pictures per step.
    pub batch: u32,
    /// The share of patients that is held out, 0 to 0.5. At least one patient when there are two or more.
    pub held_out: f64,
    /// Probability above which a pixel is electrode.
    pub threshold: f64,
    /// Whether normalisation keeps the means and variances of the model that the training starts from: a few pictures have
    /// other ones than the world has.
    #[serde(default)]
    pub frozen_norm: bool,
    /// The share of patches that are cut from new phantoms, 0 to 0.9, so that a few pictures don't make the network forget
    /// all others.
    #[serde(default)]
    pub rehearsal: f64,
    /// The seed of weights, order and augmentation.
    pub seed: u64,
}

/// A network's architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Network {
    /// One level: convolution with `features`, pool, convolution with twice as many, up, concatenate, convolution, 1x1.
    OneLevelUnet {
        /// Feature maps on the full grid.
        features: u32,
    },
    /// A U-Net with `levels` poolings, two convolutions a level with batch normalisation, features doubling per level up to sixteenfold. What
    /// it says of a pixel depends on the pixel's surroundings alone, not on how large a picture it is shown at once.
    Unet {
        /// How often the grid is halved.
        levels: u32,
        /// Feature maps on the full grid.
        features: u32,
    },
}

/// How a slice becomes the network's input (after window and 8 bit, values 0 to 1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Input {
    /// Crop to the anatomy, scale with the aspect kept, pad to `size` x `size`.
    Fit {
        /// Rows and columns of the network's grid.
        size: u32,
    },
    /// Crop to the anatomy, keep the pixels, pad rows and columns to a multiple; trained on patches of `patch` x `patch`.
    Native {
        /// Rows and columns are padded to a multiple of this.
        multiple: u32,
        /// The side of the square patches that training cuts out, pixels.
        patch: u32,
        /// How many patches make an epoch, however many pictures there are: every second one around an electrode.
        patches: u32,
    },
}

/// What is minimised: the sum of these terms by their weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// Binary cross-entropy.
    pub cross_entropy: f64,
    /// One minus soft Dice over the batch.
    pub dice: f64,
    /// The weight of the same loss on each coarser grid of a U-Net's way up (deep supervision); 0 is none.
    #[serde(default)]
    pub deep: f64,
}

/// Adam, and how its rate changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimizer {
    /// The highest learning rate.
    pub rate: f64,
    /// Decoupled weight decay (AdamW); 0 is plain Adam.
    pub weight_decay: f64,
    /// The course of the rate.
    pub schedule: Schedule,
}

/// The course of the learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// The same from first to last.
    Constant,
    /// A short linear rise, then half a cosine down to 1 % of it.
    Cosine,
}

/// Ranges of the random changes. Zero switches one off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Rotation by up to this many degrees either way.
    pub rotation_degrees: f64,
    /// Shift by up to this share of the picture's side.
    pub shift: f64,
    /// Shear by up to this (tangent of the angle).
    pub shear: f64,
    /// Zoom by 1 ± this.
    pub zoom: f64,
    /// Mirror left-right with probability one half.
    pub flip_horizontal: bool,
    /// Mirror top-bottom with probability one half.
    pub flip_vertical: bool,
    /// Gamma between 1/(1+this) and 1+this.
    pub gamma: f64,
    /// Contrast by 1 ± this around the mean.
    pub contrast: f64,
    /// Brightness by ± this (of the range 0 to 1).
    pub brightness: f64,
    /// Gaussian blur with a standard deviation of up to this many pixels.
    pub blur: f64,
    /// Gaussian noise with a standard deviation of up to this (of the range 0 to 1).
    pub noise: f64,
}

/// A plan that can't be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plan's {field} {problem}")]
pub struct BadPlan {
    field: &'static str,
    problem: String,
}

impl Plan {
    /// The name under which the plan is kept.
    pub fn id(&self) -> PlanId {
        PlanId::derived(&Digest::of_json(self))
    }

    /// Checks every field against what can be carried out at all.
    ///
    /// # Errors
    /// Names the first field that is out of its range, and the range.
    pub fn check(&self) -> Result<(), BadPlan> {
        let augmentation = &self.augmentation;
        let (levels, features) = match self.network {
            Network::OneLevelUnet { features } => (1, features),
            Network::Unet { levels, features } => (levels, features),
        };
        let (side, step) = match self.input {
            Input::Fit { size } => (size, size),
            Input::Native { multiple, patch, .. } => (patch, multiple),
        };
        let within = |field, value: f64, low: f64, high: f64| {
            let problem = format!("is {value}; it has to be from {low} to {high}");
            if (low..=high).contains(&value) { Ok(()) } else { Err(BadPlan { field, problem }) }
        };
        within("network levels", levels.into(), 1.0, 6.0)?;
        within("network features", features.into(), 1.0, 256.0)?;
        within("input size or patch", side.into(), 16.0, 2048.0)?;
        if side % (1 << levels) != 0 || step % (1 << levels) != 0 || step == 0 {
            let problem = format!("has to be a multiple of {} for {levels} levels", 1 << levels);
            return Err(BadPlan { field: "input size, patch or multiple", problem });
        }
        if let Input::Native { patches, .. } = self.input {
            within("input patches", patches.into(), 1.0, 1e6)?;
        }
        within("loss cross_entropy", self.loss.cross_entropy, 0.0, 100.0)?;
        within("loss dice", self.loss.dice, 0.0, 100.0)?;
        within("loss deep", self.loss.deep, 0.0, 10.0)?;
        within("loss sum", self.loss.cross_entropy + self.loss.dice, 1e-6, 200.0)?;
        within("optimizer rate", self.optimizer.rate, 1e-8, 1.0)?;
        within("optimizer weight_decay", self.optimizer.weight_decay, 0.0, 1.0)?;
        within("epochs", self.epochs.into(), 1.0, 100_000.0)?;
        within("batch", self.batch.into(), 1.0, 256.0)?;
        within("held_out", self.held_out, 0.0, 0.5)?;
        within("threshold", self.threshold, 0.01, 0.99)?;
        within("rehearsal", self.rehearsal, 0.0, 0.9)?;
        within("augmentation rotation_degrees", augmentation.rotation_degrees, 0.0, 180.0)?;
        within("augmentation shift", augmentation.shift, 0.0, 1.0)?;
        within("augmentation shear", augmentation.shear, 0.0, 1.0)?;
        within("augmentation zoom", augmentation.zoom, 0.0, 0.9)?;
        within("augmentation gamma", augmentation.gamma, 0.0, 4.0)?;
        within("augmentation contrast", augmentation.contrast, 0.0, 1.0)?;
        within("augmentation brightness", augmentation.brightness, 0.0, 1.0)?;
        within("augmentation blur", augmentation.blur, 0.0, 10.0)?;
        within("augmentation noise", augmentation.noise, 0.0, 1.0)
    }

    /// The default: 1.2 million weights on the picture's own pixels, a few hundred steps on patches of 128 x 128.
    pub fn unet() -> Self {
        Self {
            name: "unet".into(),
            network: Network::Unet { levels: 5, features: 8 },
            input: Input::Native { multiple: 32, patch: 128, patches: 80 },
            loss: Loss { cross_entropy: 1.0, dice: 1.0, deep: 0.5 },
            optimizer: Optimizer { rate: 3e-3, weight_decay: 1e-2, schedule: Schedule::Cosine },
            augmentation: Augmentation {
                rotation_degrees: 20.0,
                shift: 0.0,
                shear: 0.1,
                zoom: 0.2,
                flip_horizontal: true,
                flip_vertical: false,
                gamma: 0.3,
                contrast: 0.2,
                brightness: 0.1,
                blur: 0.8,
                noise: 0.03,
            },
            epochs: 24,
            batch: 4,
            held_out: 0.2,
            threshold: 0.5,
            frozen_norm: false,
            rehearsal: 0.0,
            seed: 0,
        }
    }

    /// The plan for going on from a model of this plan: the same in all that decides what a picture means (network, grid, loss,
    /// augmentation), at a low rate that rises and falls, with the normalisation's statistics frozen and phantoms in the mix.
    /// Where it learns from patches, it is the default's short course instead of the long one that the model came from; where
    /// it learns from whole pictures, an epoch is as long as there are pictures, and the number of epochs stays. The
    /// reference of the field goes on as it was trained: that is what makes it the reference.
    pub fn fine_tuning(&self) -> Self {
        let default = Self::default();
        let (input, epochs) = match (&self.input, &default.input) {
            (Input::Native { multiple, patch, .. }, Input::Native { patches, .. }) => {
                (Input::Native { multiple: *multiple, patch: *patch, patches: *patches }, default.epochs)
            }
            _ if matches!(self.network, Network::OneLevelUnet { .. }) => return self.clone(),
            _ => (self.input.clone(), self.epochs),
        };
        let rate = self.optimizer.rate.min(FINE_TUNING_RATE);
        Self {
            name: "fine-tuning".into(),
            input,
            optimizer: Optimizer { rate, schedule: Schedule::Cosine, ..self.optimizer.clone() },
            epochs,
            batch: default.batch,
            held_out: default.held_out,
            frozen_norm: true,
            rehearsal: FINE_TUNING_REHEARSAL,
            seed: default.seed,
            ..self.clone()
        }
    }

    /// The reference of the field: one level, 256 x 256, Adam 1e-4, binary cross-entropy, batch 2, 100 epochs.
    pub fn one_level_unet() -> Self {
        Self {
            name: "one-level-unet".into(),
            network: Network::OneLevelUnet { features: 64 },
            input: Input::Fit { size: 256 },
            loss: Loss { cross_entropy: 1.0, dice: 0.0, deep: 0.0 },
            optimizer: Optimizer { rate: 1e-4, weight_decay: 0.0, schedule: Schedule::Constant },
            augmentation: Augmentation {
                rotation_degrees: 10.0,
                shift: 0.2,
                shear: 0.05,
                zoom: 0.05,
                flip_horizontal: true,
                ..Augmentation::NONE
            },
            epochs: 100,
            batch: 2,
            held_out: 0.2,
            threshold: 0.5,
            frozen_norm: false,
            rehearsal: 0.0,
            seed: 0,
        }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::unet()
    }
}

impl Augmentation {
    /// Pictures stay as they are.
    pub const NONE: Self = Self {
        rotation_degrees: 0.0,
        shift: 0.0,
        shear: 0.0,
        zoom: 0.0,
        flip_horizontal: false,
        flip_vertical: false,
        gamma: 0.0,
        contrast: 0.0,
        brightness: 0.0,
        blur: 0.0,
        noise: 0.0,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_named_by_its_content() {
        let plan = Plan::one_level_unet();
        let other = Plan { seed: 1, ..plan.clone() };
        assert_ne!(plan.id(), other.id());
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&json).unwrap().id(), plan.id());
        assert_eq!(plan.check(), Ok(()));
        assert_eq!(Plan::default().check(), Ok(()));
        assert_eq!(Plan::default().fine_tuning().check(), Ok(()));
    }

    #[test]
    fn going_on_is_gentle_unless_it_is_the_reference() {
        let fit = Plan { input: Input::Fit { size: 256 }, epochs: 60, ..Plan::default() };
        let steady = Optimizer { schedule: Schedule::Constant, ..Plan::default().optimizer };
        for plan in [Plan::default(), fit.clone(), Plan { optimizer: steady, ..fit.clone() }] {
            let gentle = plan.fine_tuning();
            assert_eq!((gentle.check(), &gentle.network, &gentle.loss), (Ok(()), &plan.network, &plan.loss));
            assert_eq!((gentle.optimizer.rate, gentle.optimizer.schedule), (5e-4, Schedule::Cosine));
            assert!(gentle.frozen_norm && gentle.rehearsal == 0.75, "{gentle:?}");
            assert_eq!(gentle.fine_tuning(), gentle);
        }
        assert_eq!((fit.fine_tuning().input, fit.fine_tuning().epochs), (fit.input, 60));
        let slow = Optimizer { rate: 1e-4, ..Plan::default().optimizer };
        assert_eq!(Plan { optimizer: slow, ..Plan::default() }.fine_tuning().optimizer.rate, 1e-4);
        assert_eq!(Plan::one_level_unet().fine_tuning(), Plan::one_level_unet());
    }

    #[test]
    fn a_field_out_of_range_is_named() {
        let plan = Plan { batch: 0, ..Plan::one_level_unet() };
        assert!(plan.check().unwrap_err().to_string().contains("batch"));
        let plan = Plan { input: Input::Fit { size: 255 }, ..Plan::one_level_unet() };
        assert!(plan.check().unwrap_err().to_string().contains("multiple of 2"));
        let plan = Plan { held_out: f64::NAN, ..Plan::one_level_unet() };
        assert!(plan.check().is_err());
    }
}
