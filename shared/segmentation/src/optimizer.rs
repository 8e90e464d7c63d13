//! Adam with decoupled weight decay, written on tensors, because tch's own can't save its moments.
//!
//! Source: Kingma and Ba 2014 (arXiv:1412.6980), algorithm 1; Loshchilov and Hutter 2017 (arXiv:1711.05101), algorithm 2.

use modiolus_pipeline::plan::{self, Schedule};
use tch::Tensor;

use crate::network::{Network, Part, Role, Weights, to_tensor, to_values};
use crate::{Device, Error};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// The share of all steps in which the cosine schedule's rate rises, and the share of the rate that it falls to.
const WARM_UP: f64 = 0.05;
const LOWEST: f64 = 0.01;

/// Adam's state.
#[derive(Debug)]
pub struct Adam {
    plan: plan::Optimizer,
    steps: u64,
    moments: Vec<(Tensor, Tensor)>,
}

/// Adam's state as plain numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Moments {
    /// How many steps were taken.
    pub steps: u64,
    /// The running means of the gradients, by part.
    pub first: Weights,
    /// The running means of their squares.
    pub second: Weights,
}

impl Adam {
    /// Adam before its first step.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn new(plan: &plan::Optimizer, network: &mut Network) -> Result<Self, Error> {
        let zeros = |tensor: &Tensor| tch::no_grad(|| tensor.f_zeros_like());
        let moments =
            network.trained().map(|(_, t)| Ok((zeros(t)?, zeros(t)?))).collect::<Result<_, Error>>()?;
        Ok(Self { plan: plan.clone(), steps: 0, moments })
    }

    /// Adam as it was.
    ///
    /// # Errors
    /// When a part's moment is missing or has another size.
    pub fn restored(plan: &plan::Optimizer, network: &mut Network, state: &Moments) -> Result<Self, Error> {
        let device = network.device();
        let moment = |from: &Weights, part: &Part| moment(from, part, device);
        let pair = |part: &Part| Ok((moment(&state.first, part)?, moment(&state.second, part)?));
        let moments = network.trained().map(|(part, _)| pair(part)).collect::<Result<_, Error>>()?;
        Ok(Self { plan: plan.clone(), steps: state.steps, moments })
    }

    /// The state as plain numbers.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn state(&self, network: &mut Network) -> Result<Moments, Error> {
        let mut state = Moments { steps: self.steps, ..Moments::default() };
        for ((part, _), (first, second)) in network.trained().zip(&self.moments) {
            state.first.insert(part.name.clone(), to_values(first)?);
            state.second.insert(part.name.clone(), to_values(second)?);
        }
        Ok(state)
    }

    /// One step along the gradients, which are cleared; `all_steps` is how many the whole plan has.
    ///
    /// # Errors
    /// Those of libtorch.
    pub fn step(&mut self, network: &mut Network, all_steps: u64) -> Result<(), Error> {
        let rate = rate(&self.plan, self.steps, all_steps);
        self.steps += 1;
        let count = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let (unbias1, unbias2) = (1.0 - BETA1.powi(count), 1.0 - BETA2.powi(count));
        let decay = 1.0 - rate * self.plan.weight_decay;
        tch::no_grad(|| {
            for ((part, tensor), (first, second)) in network.trained().zip(&mut self.moments) {
                let mut gradient = tensor.f_grad()?;
                if !gradient.defined() {
                    // A head of a coarse grid, where the plan has no deep supervision.
                    continue;
                }
                *first = first.f_mul_scalar_(BETA1)?.f_add_(&gradient.f_mul_scalar(1.0 - BETA1)?)?;
                *second =
                    second.f_mul_scalar_(BETA2)?.f_add_(&gradient.f_square()?.f_mul_scalar_(1.0 - BETA2)?)?;
                let divisor = second.f_div_scalar(unbias2)?.f_sqrt_()?.f_add_scalar_(EPSILON)?;
                let change = first.f_div(&divisor)?.f_mul_scalar_(-rate / unbias1)?;
                if part.role == Role::Kernel && self.plan.weight_decay > 0.0 {
                    let _ = tensor.f_mul_scalar_(decay)?;
                }
                let _ = tensor.f_add_(&change)?;
                let _ = gradient.f_zero_()?;
            }
            Ok(())
        })
    }
}

fn moment(from: &Weights, part: &Part, device: Device) -> Result<Tensor, Error> {
    let why = || format!("the moments of {} are missing or have another shape", part.name);
    let values = from.get(&part.name).filter(|values| values.len() == part.len());
    to_tensor(values.ok_or_else(|| Error::File { what: "the checkpoint", why: why() })?, part, device)
}

/// The learning rate of the step after `done` of `all` steps.
pub fn rate(plan: &plan::Optimizer, done: u64, all: u64) -> f64 {
    let (done, all) = (done as f64, all.max(1) as f64);
    match plan.schedule {
        Schedule::Constant => plan.rate,
        Schedule::Cosine => {
            let rise = (all * WARM_UP).max(1.0);
            let fall = ((done - rise) / (all - rise).max(1.0)).clamp(0.0, 1.0);
            let cosine = LOWEST + (1.0 - LOWEST) * (1.0 + (std::f64::consts::PI * fall).cos()) / 2.0;
            plan.rate * ((done + 1.0) / rise).min(1.0) * cosine
        }
    }
}

#[cfg(test)]
mod tests {
    use modiolus_pipeline::Plan;

    use super::*;

    #[test]
    fn the_cosine_rises_and_falls_to_one_per_cent() {
        let plan = Plan::default().optimizer;
        let rates: Vec<_> = (0..200).map(|step| rate(&plan, step, 200) / plan.rate).collect();
        assert!(rates[0] < 0.2 && rates[10] > 0.99 && (rates[105] - 0.5).abs() < 0.05 && rates[199] < 0.011);
    }

    #[test]
    fn the_first_step_has_the_length_of_the_rate() {
        let mut plan = Plan::one_level_unet();
        plan.network = plan::Network::OneLevelUnet { features: 2 };
        let mut network = Network::seeded(&plan, Device::CPU).unwrap();
        let before = network.weights().unwrap();
        let mut adam = Adam::new(&plan.optimizer, &mut network).unwrap();
        let input = Tensor::ones([1, 1, 8, 8], (tch::Kind::Float, tch::Device::Cpu));
        network.forward(&input, true).unwrap().sum(tch::Kind::Float).backward();
        adam.step(&mut network, 1).unwrap();
        let after = network.weights().unwrap();
        // Adam's first change is the rate times the sign of the gradient; the head's bias has a gradient of 64.
        assert!((before["head.bias"][0] - after["head.bias"][0] - 1e-4).abs() < 1e-7);
    }
}
