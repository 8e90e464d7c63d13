//! `modiolus-infer`: takes jobs from the queue `infer`; reads the buckets `scans` and `models`; writes `results`. On a GPU
//! where there is one.

use std::process::ExitCode;

use modiolus_infer::InferStage;
use modiolus_runtime::{program, service};
use modiolus_segmentation::{Device, wait_passively};

fn main() -> ExitCode {
    wait_passively();
    let stage = |_: &_| {
        let device = Device::choose();
        tracing::info!(%device, "masks are drawn on {device}");
        Ok(InferStage::new(device))
    };
    service::main(program!(), stage)
}
