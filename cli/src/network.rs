//! The network, which lies in another binary.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
pub use modiolus_operations::network::{Network, Pair, Predictor};

/// The binary that has the network.
const SIBLING: &str = "modiolus-network";

/// How OpenMP's threads wait.
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";

/// Goes on in the binary that has the network, with the same arguments. Returns only if that fails.
pub(crate) fn go_on_in_sibling() -> anyhow::Error {
    let sibling = match std::env::current_exe().context("this program's own path is unknown") {
        Ok(path) => path.with_file_name(SIBLING),
        Err(error) => return error,
    };
    let mut command = Command::new(&sibling);
    command.args(std::env::args_os().skip(1));
    // libtorch's OpenMP threads spin while they wait, which costs several times the work on a busy machine. The library
    // reads this when it is loaded.
    if std::env::var_os(WAIT_POLICY).is_none() {
        command.env(WAIT_POLICY, "passive");
    }
    let error = command.exec();
    anyhow!("{} can't be started: {error}. It has to lie beside modiolus", sibling.display())
}

/// The network, where a command can't do without.
pub(crate) fn required(network: Option<&dyn Network>) -> Result<&dyn Network> {
    network.context("this command needs the network, and this binary has none")
}
