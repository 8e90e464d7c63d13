//! `modiolus`: the operator's tool, and every stage in one process for one machine.
//!
//! This binary doesn't link libtorch, which takes a quarter of a second and 120 MB to start. A command that needs the
//! network goes on in its sibling, `modiolus-network`.

use std::process::ExitCode;

fn main() -> ExitCode {
    modiolus_cli::main(None)
}
