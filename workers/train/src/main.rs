//! `modiolus-train`: takes jobs from the queue `train`; reads the bucket `datasets`, reads and writes `models`; publishes to
//! `train`, the next segment. On a GPU where there is one.

use std::process::ExitCode;
use std::thread::available_parallelism;

use modiolus_runtime::{program, service};
use modiolus_segmentation::{Device, wait_passively};
use modiolus_train::TrainStage;

fn main() -> ExitCode {
    wait_passively();
    let stage = |_: &_| {
        let cores = available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Ok(TrainStage::new(Device::choose(), cores))
    };
    service::main(program!(), stage)
}
