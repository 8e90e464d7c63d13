//! `modiolus-preprocess`: takes jobs from the queue `preprocess`; reads the buckets `scans`, `datasets` and `models` (their
//! plans); writes `scans` and `datasets`; publishes to `infer`.

use std::process::ExitCode;

use modiolus_preprocess::PreprocessStage;
use modiolus_runtime::{program, service};

fn main() -> ExitCode {
    service::main(program!(), |_| Ok(PreprocessStage))
}
