//! `modiolus-init`: prepares a cluster. Touches the folders that it is given and Garage, nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use modiolus_init::{secrets, store};

/// Prepares a cluster: secrets and definitions before its servers start, buckets and keys once the store runs. May run again.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The folder of all secrets
    #[arg(long, env = "MODIOLUS_SECRETS", default_value = "/secrets", value_name = "FOLDER")]
    secrets: PathBuf,
    #[command(subcommand)]
    half: Half,
}

#[derive(Subcommand)]
enum Half {
    /// Makes the secrets that are missing, and hands to each member of the cluster its own
    Secrets {
        /// Has a folder for each who gets something: ingest, filter, preprocess, train, infer, console, operator, rabbitmq,
        /// garage. Those that are missing are passed over
        #[arg(long, default_value = "/handed", value_name = "FOLDER")]
        handed: PathBuf,
        /// RabbitMQ's virtual host
        #[arg(long, env = "MODIOLUS__BROKER__VIRTUAL_HOST", default_value = "modiolus")]
        virtual_host: String,
    },
    /// Waits for Garage, then makes buckets, keys and rules, and sets the rights
    Store(store::Place),
}

fn main() -> ExitCode {
    let Arguments { secrets: all, half } = Arguments::parse();
    let (done, what) = match half {
        Half::Secrets { handed, virtual_host } => {
            let done = secrets::make(&all).and_then(|()| secrets::hand_out(&all, &handed, &virtual_host));
            (done, "secrets and definitions")
        }
        Half::Store(place) => (store::prepare(&all, &place), "buckets, keys and rights"),
    };
    match done {
        Ok(()) => {
            println!("modiolus-init: {what} are as they should be");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("modiolus-init: {error:#}");
            ExitCode::FAILURE
        }
    }
}
