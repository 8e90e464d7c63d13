//! `modiolus` with the network: what `modiolus` goes on in when a command needs it.

use std::process::ExitCode;

use anyhow::Result;
use bytes::Bytes;
use modiolus_cli::network::{Network, Pair, Predictor};
use modiolus_imaging::{Image8, Mask};
use modiolus_infer::InferStage;
use modiolus_pipeline::job::train::Dataset;
use modiolus_pipeline::{ObjectKey, Plan, Split};
use modiolus_runtime::House;
use modiolus_segmentation::{Checkpoint, Device, ModelFile, device};
use modiolus_train::TrainStage;

fn main() -> ExitCode {
    modiolus_cli::main(Some(&Libtorch))
}

/// The network on libtorch.
struct Libtorch;

struct Loaded(modiolus_segmentation::Predictor);

impl Predictor for Loaded {
    fn mask(&self, slice: &Image8) -> Result<Mask> {
        Ok(self.0.mask_slice(slice)?)
    }
}

impl Network for Libtorch {
    fn plan_of(&self, model: &[u8]) -> Result<Plan> {
        Ok(ModelFile::decode(model)?.origin.plan)
    }

    fn model_so_far(&self, checkpoint: &[u8]) -> Result<Vec<u8>> {
        Ok(Checkpoint::decode(checkpoint)?.model.encode()?)
    }

    fn predictor(&self, model: &[u8]) -> Result<Box<dyn Predictor>> {
        Ok(Box::new(Loaded(modiolus_segmentation::Predictor::load(model)?)))
    }

    fn default_plan(&self) -> Plan {
        Plan::default()
    }

    fn assemble(
        &self,
        pairs: Vec<Pair>,
        plan: &Plan,
        earlier: &Split,
    ) -> Result<(Dataset, Vec<(ObjectKey, Bytes)>)> {
        let named = |Pair { name, patient, image, mask }| modiolus_train::Pair { name, patient, image, mask };
        Ok(modiolus_train::assemble_after(pairs.into_iter().map(named).collect(), plan, earlier)?)
    }

    fn with_infer(&self, house: House, slots: usize) -> House {
        house.with(InferStage::new(Device::choose()), slots)
    }

    fn with_train(&self, house: House) -> House {
        house.with(TrainStage::new(Device::choose(), device::cores()), 1)
    }

    fn device(&self) -> String {
        Device::choose().to_string()
    }
}
