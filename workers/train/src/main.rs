//! `modiolus-train`: takes jobs from the queue `train`; reads and writes the buckets `datasets` and `models`; publishes to
//! `train`, the next segment and, when people have drawn enough, the first of a new training. On a GPU where there is one.

use std::process::ExitCode;
use std::thread::available_parallelism;

use modiolus_runtime::{program, service};
use modiolus_segmentation::{Device, wait_passively};
use modiolus_train::{TrainStage, retrain};

fn main() -> ExitCode {
    wait_passively();
    let stage = |_: &_| {
        let cores = available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Ok(TrainStage::new(Device::choose(), cores))
    };
    service::main_beside(program!(), stage, retrain::keep_looking)
}
