//! The commands for a cluster: its broker carries the jobs, its store has the objects, and other programs do the work.
//!
//! Nothing here is needed while a run works: a command that is killed is started again, and goes on.

pub(crate) mod arguments;
mod cancel;
mod dead;
mod doctor;
mod fetch;
mod import;
mod probe;
mod retrain;
mod source;
mod status;
mod submit;
mod wait;
mod watch;

use std::future::Future;
use std::sync::Arc;

use anyhow::{Context, Result};
use modiolus_broker::RabbitMq;
use modiolus_operations::start::now;
use modiolus_runtime::config::Configuration;
use modiolus_store::ObjectStore;

use crate::network::Network;
use arguments::{AnnotationsAction, At, ClusterCommand};

/// The broker's user whom the configuration needn't name.
const USER: &str = "operator";

/// Does what a command says.
pub(crate) fn run(command: &ClusterCommand, network: Option<&dyn Network>) -> Result<()> {
    match command {
        ClusterCommand::Submit(options) => block_on(submit::submit(options, network)),
        ClusterCommand::Status(options) => block_on(status::status(options)),
        ClusterCommand::Watch(options) => block_on(watch::watch(options)),
        ClusterCommand::Fetch(options) => block_on(fetch::fetch(options)),
        ClusterCommand::Cancel(options) => block_on(cancel::cancel(options)),
        ClusterCommand::Annotations(options) => match &options.action {
            AnnotationsAction::Import(options) => block_on(import::import(options)),
        },
        ClusterCommand::Retrain(options) => block_on(retrain::retrain(options)),
        ClusterCommand::Dead(options) => block_on(dead::dead(options)),
        ClusterCommand::Doctor(options) => block_on(doctor::doctor(options)),
    }
}

fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no threads")?;
    let done = runtime.block_on(work);
    // A broker that does not answer any more must not keep the command from its end.
    runtime.shutdown_background();
    done
}

impl At {
    /// What the file, the environment and the options say.
    pub(crate) fn configuration(&self) -> Result<Configuration> {
        Ok(Configuration::load(self.config.as_deref(), &self.set)?)
    }
}

/// A cluster, as far as most commands need it.
struct Cluster {
    broker: RabbitMq,
    store: Arc<dyn ObjectStore>,
}

impl Cluster {
    async fn open(at: &At) -> Result<Self> {
        let configuration = at.configuration()?;
        let store = configuration.open_store()?;
        let broker = configuration.open_broker(USER).await;
        let broker = broker.context("see `modiolus doctor`")?;
        Ok(Self { broker, store })
    }
}
