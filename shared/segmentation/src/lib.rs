//! Networks that draw masks. The only crate that names tch (libtorch).
//!
//! A [`Plan`](modiolus_pipeline::Plan) says everything that decides what a network learns. [`Training`] carries it out on
//! [`Data`] epoch by epoch and leaves a [`Checkpoint`] (weights and the optimizer's moments: 2 + 2 epochs equal 4, bit for
//! bit on one thread) or a [`ModelFile`] (weights), which a [`Predictor`] turns into probabilities.
//!
//! Nothing here reads a clock, a disk or global randomness: weights, order and augmentation follow from the plan's seed.

pub mod augment;
pub mod checkpoint;
pub mod data;
pub mod device;
pub mod loss;
pub mod memory;
pub mod network;
pub mod optimizer;
pub mod prediction;
pub mod training;

mod error;
mod strays;

pub use checkpoint::{Checkpoint, ModelFile, Origin};
pub use data::{Data, Picture, Rehearsed};
pub use device::{Device, wait_passively};
pub use error::Error;
pub use network::Network;
pub use prediction::Predictor;
pub use training::Training;
