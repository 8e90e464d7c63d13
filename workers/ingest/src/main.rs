//! `modiolus-ingest`: takes jobs from the queue `ingest`; reads the bucket `incoming` and writes the index there; publishes
//! to `filter`.

use std::process::ExitCode;

use modiolus_ingest::IngestStage;
use modiolus_runtime::{program, service};

fn main() -> ExitCode {
    service::main(program!(), |_| Ok(IngestStage))
}
