//! `modiolus-train`: takes jobs from the queue `train`; reads the buckets `datasets` and `models`; writes `models`; publishes
//! to `train`, the next segment. On a GPU where there is one.

use std::process::ExitCode;
use std::thread::available_parallelism;

use modiolus_runtime::{program, service};
use modiolus_segmentation::{Device, wait_passively};
use modiolus_train::TrainStage;

fn main() -> ExitCode {
    wait_passively();
    service::main(program!(), |_| {
        let cores = available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Ok(TrainStage::new(Device::choose(), cores))
    })
}
