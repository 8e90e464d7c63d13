//! `modiolus-init`: prepares a cluster, and stands before its store. Touches the folders that it is given and Garage, nothing
//! else.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use modiolus_init::{door, secrets, store, tls};

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
        /// Where broker and store are to be reached over TLS: their names, and addresses, for which to make certificates
        #[arg(long, env = "MODIOLUS_TLS_NAMES", value_delimiter = ',', value_name = "NAME")]
        tls_names: Vec<String>,
    },
    /// Waits for Garage, then makes buckets, keys and rules, and sets the rights
    Store(store::Place),
    /// Serves TLS in front of Garage, which has none
    Door(door::Place),
}

/// Names that are empty come of settings that are not set.
fn over_tls(all: &Path, handed: &Path, names: &[String]) -> anyhow::Result<()> {
    let names = names.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    let names: Vec<String> = names.collect();
    if names.is_empty() { Ok(()) } else { tls::hand_out(all, handed, &names) }
}

fn main() -> ExitCode {
    let Arguments { secrets: all, half } = Arguments::parse();
    let (done, what) = match half {
        Half::Secrets { handed, virtual_host, tls_names } => {
            let done = secrets::make(&all).and_then(|()| secrets::hand_out(&all, &handed, &virtual_host));
            (done.and_then(|()| over_tls(&all, &handed, &tls_names)), "secrets and definitions")
        }
        Half::Store(place) => (store::prepare(&all, &place), "buckets, keys and rights"),
        Half::Door(place) => (door::keep(&place), "door and server"),
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
