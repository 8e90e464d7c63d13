//! `modiolus-train`: takes jobs from the queue `train`; reads the bucket `datasets`, reads and writes `models`; publishes to
//! `train`, the next segment. On a GPU where there is one.

use std::process::ExitCode;

use modiolus_runtime::{program, service};
use modiolus_segmentation::{Device, device, wait_passively};
use modiolus_train::TrainStage;

fn main() -> ExitCode {
    wait_passively();
    let stage = |_: &_| {
        let device = Device::choose();
        tracing::info!(%device, "networks are trained on {device}");
        Ok(TrainStage::new(device, device::cores()))
    };
    service::main(program!(), stage)
}
