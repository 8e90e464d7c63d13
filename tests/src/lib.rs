//! What the scenarios share: the real programs under a deadline, scans to give them, and their output as users read it.
//!
//! Every scenario runs `modiolus` as it was built into this profile's folder, in a temporary folder of its own, without
//! the network. They run in any order and beside each other.

pub mod cluster;
pub mod collector;
pub mod console;
pub mod door;
pub mod program;
pub mod results;
pub mod reviewed;
pub mod scans;

pub use program::{Finished, Process, modiolus, shell};
pub use results::{Table, files_below, snapshot};
