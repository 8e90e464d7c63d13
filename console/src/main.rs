//! `modiolus-console`: the review page of a cluster. Takes no jobs; publishes to all stages and reads their dead. Reads every
//! bucket, and writes those in which people deliver, say and decide something: `incoming`, `datasets`, `models`, `runs` and
//! its own. Starts a training when people have drawn enough.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use modiolus_broker::rabbitmq::definitions::Role as BrokerRole;
use modiolus_console::access::{HeaderName, Network, Origin};
use modiolus_console::works::{Cluster, Looking};
use modiolus_console::{Access, Console, Options, Role, serve};
use modiolus_operations::retraining::When;
use modiolus_runtime::config::{ConsoleSection, TrainingSection};
use modiolus_runtime::program;
use modiolus_runtime::service::{self, Readiness, Site};

fn main() -> ExitCode {
    service::main_without_jobs(program!(), BrokerRole::Console.user_name(), async |site, readiness| {
        review(site, readiness).await.map_err(|error| format!("{error:#}"))
    })
}

async fn review(site: Site, readiness: Readiness) -> Result<()> {
    let Site { store, broker, joins, configuration, telemetry, shutdown } = site;
    let told = configuration.console;
    let works = Cluster::new(store.clone(), broker, joins, &told.deliveries, shutdown.clone())?;
    let works = works.retraining(looking(&configuration.training));
    let interrupted = works.go_on()?;
    if interrupted > 0 {
        tracing::info!(interrupted, "going on with deliveries that are not in the store yet");
    }
    let console = Console::new(store, Arc::new(works), access(&told)?)?;
    let console = console.with_deliveries_up_to(told.delivery_gib.get());
    serve(console, Options { listen: told.listen, telemetry }, shutdown, |address| {
        tracing::info!(%address, "serving");
        readiness.ready();
    })
    .await
}

fn looking(told: &TrainingSection) -> Looking {
    let longest_wait = Duration::from_secs(u64::from(told.longest_wait_hours) * 3600);
    let when = When { annotations: told.annotations.get(), longest_wait };
    Looking { when, every: Duration::from_secs(told.look_seconds.get().into()) }
}

/// In a cluster people log in, whoever reaches the page.
fn access(told: &ConsoleSection) -> Result<Access> {
    let proxies = told.proxies.iter().flat_map(|all| all.split(',')).map(|one| one.trim().parse::<Network>());
    let origin = told.origin.as_deref().map(str::parse::<Origin>).transpose();
    let header = told.proxy_header.as_deref().map(str::parse::<HeaderName>).transpose();
    Ok(Access {
        everyone: None,
        origin: origin.context("console.origin")?,
        proxies: proxies.collect::<Result<Vec<_>>>().context("console.proxies")?,
        proxy_header: header.context("console.proxy_header")?,
        proxy_role: told.proxy_role.parse::<Role>().context("console.proxy_role")?,
    })
}
