//! `modiolus-filter`: takes jobs from the queue `filter`; reads the bucket `incoming`; writes `scans` and `runs`; publishes to
//! `preprocess`. The only worker that knows the key of the pseudonyms.

use std::process::ExitCode;

use modiolus_filter::FilterStage;
use modiolus_runtime::{program, service};

fn main() -> ExitCode {
    service::main(program!(), |configuration| Ok(FilterStage::new(&configuration.pseudonyms.secret()?)))
}
