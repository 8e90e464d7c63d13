//! `modiolus-infer`: takes jobs from the queue `infer`; reads the buckets `scans` and `models`; writes `results`. On a GPU
//! where there is one.

use std::process::ExitCode;

use modiolus_infer::InferStage;
use modiolus_runtime::{program, service};
use modiolus_segmentation::{Device, wait_passively};

fn main() -> ExitCode {
    wait_passively();
    service::main(program!(), |_| Ok(InferStage::new(Device::choose())))
}
