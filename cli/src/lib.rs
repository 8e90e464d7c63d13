//! The command line of Modiolus, all but the network.
//!
//! Two binaries share this library: `modiolus`, which starts in a millisecond, and `modiolus-network`, the same with the
//! network. So that only the second links libtorch, nothing here names a crate that does; what needs the network asks
//! [`Network`].

mod arguments;
mod cluster;
mod evaluate;
mod failure;
mod header;
mod inspect;
mod models;
pub mod network;
mod output;
mod pairs;
mod phantom;
mod predict;
mod run;
mod select;
mod serve;
mod terminal;
mod train;
mod users;

use std::process::ExitCode;

use clap::Parser;

use modiolus_operations::place;

use arguments::{Arguments, Command, ModelsAction, Until};
pub use network::{Network, Pair, Predictor};

/// Parses the command line and does what it says. Without a network, commands that need one go on in the sibling binary.
pub fn main(network: Option<&'static dyn Network>) -> ExitCode {
    let arguments = Arguments::parse();
    failure::exit(dispatch(&arguments.command, network))
}

fn dispatch(command: &Command, network: Option<&'static dyn Network>) -> anyhow::Result<()> {
    let network = match network {
        None if needs_network(command) => return Err(network::go_on_in_sibling()),
        network => network,
    };
    match command {
        Command::Inspect(options) => inspect::inspect(options),
        Command::Select(options) => select::select(options),
        Command::Run(options) => run::run(options, network),
        Command::Phantom(options) => phantom::phantom(options),
        Command::Train(options) => train::train(options, network::required(network)?),
        Command::Predict(options) => predict::predict(options, network::required(network)?),
        Command::Evaluate(options) => evaluate::evaluate(options),
        Command::Models(options) => models::models(options, network),
        Command::Serve(options) => serve::serve(options, network::required(network)?),
        Command::Users(options) => users::users(options),
        Command::Cluster(command) => cluster::run(command, network),
    }
}

fn needs_network(command: &Command) -> bool {
    match command {
        Command::Run(options) => options.until != Some(Until::Filter),
        Command::Train(_) | Command::Predict(_) | Command::Serve(_) => true,
        Command::Models(options) => matches!(options.action, ModelsAction::Promote { .. }),
        // Submitting may: it goes on in the sibling when it does.
        Command::Cluster(_) => false,
        Command::Inspect(_) | Command::Select(_) | Command::Phantom(_) => false,
        Command::Evaluate(_) | Command::Users(_) => false,
    }
}
