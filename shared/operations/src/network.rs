//! What is asked of the network, without naming the crate that has it: so libtorch is linked only where it is needed.

use anyhow::Result;
use bytes::Bytes;
use modiolus_imaging::{Image8, Mask};
use modiolus_pipeline::job::train::Dataset;
use modiolus_pipeline::{ObjectKey, Plan, Split};
use modiolus_runtime::House;

/// The network, as far as programs for people need it.
pub trait Network: Send + Sync {
    /// The plan inside a model file.
    ///
    /// # Errors
    /// In words: not a model, another architecture, weights that don't fit or are no numbers.
    fn plan_of(&self, model: &[u8]) -> Result<Plan>;

    /// The model file of a training that is not done, from its checkpoint.
    ///
    /// # Errors
    /// As [`Network::plan_of`].
    fn model_so_far(&self, checkpoint: &[u8]) -> Result<Vec<u8>>;

    /// A model that is ready to predict.
    ///
    /// # Errors
    /// As [`Network::plan_of`].
    fn predictor(&self, model: &[u8]) -> Result<Box<dyn Predictor>>;

    /// The plan that is used when nobody says otherwise.
    fn default_plan(&self) -> Plan;

    /// Splits pairs by patient and by equal pixels into a dataset, patients of an earlier split as there, and gives the objects
    /// that it lists.
    ///
    /// # Errors
    /// In words, naming the pair: a picture or mask that can't be read, sizes that differ, nothing to learn from.
    fn assemble(
        &self,
        pairs: Vec<Pair>,
        plan: &Plan,
        earlier: &Split,
    ) -> Result<(Dataset, Vec<(ObjectKey, Bytes)>)>;

    /// Adds the infer stage to a house.
    fn with_infer(&self, house: House, slots: usize) -> House;

    /// Adds the train stage to a house.
    fn with_train(&self, house: House) -> House;

    /// What the network computes on, in words.
    fn device(&self) -> String;
}

/// A loaded model.
pub trait Predictor: Sync {
    /// The mask of a slice, on the slice's own grid: what the infer stage draws.
    ///
    /// # Errors
    /// In words, when libtorch fails.
    fn mask(&self, slice: &Image8) -> Result<Mask>;
}

/// A picture with its true mask, both as PNG bytes.
pub struct Pair {
    /// The picture's name.
    pub name: String,
    /// Whose.
    pub patient: String,
    /// The picture, 8 bit.
    pub image: Vec<u8>,
    /// The mask, of the same size.
    pub mask: Vec<u8>,
}
