//! `modiolus serve`: the review page of one machine.

use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::{Context, Result};
use modiolus_console::accounts::Accounts;
use modiolus_console::clock::Clock;
use modiolus_console::works::Machine;
use modiolus_console::{Access, Console, Options, Role, Who};
use modiolus_runtime::logging::{self, Format};
use modiolus_runtime::{CancellationToken, Telemetry, stop_on_signal};

use crate::arguments::Serve;
use crate::models;
use crate::network::Network;
use crate::place::Place;
use crate::terminal;

/// The name of whoever sits at this machine, where the system doesn't say it.
const SOMEBODY: &str = "operator";

/// Serves until it is told to stop.
pub(crate) fn serve(options: &Serve, network: &'static dyn Network) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no threads")?;
    runtime.block_on(run(options, network))
}

async fn run(options: &Serve, network: &'static dyn Network) -> Result<()> {
    logging::init(Format::Text, "warn");
    let stop = CancellationToken::new();
    let place = Place::open(&models::store_folder(&options.store))?;
    let machine =
        Arc::new(Machine::new(place, network, options.retrain_after.map(NonZeroUsize::get), stop.clone())?);
    let interrupted = machine.go_on().await?;
    if interrupted > 0 {
        terminal::say(&format!("Going on with what was interrupted: {interrupted} runs or trainings."));
    }
    let has_accounts = !Accounts::new(machine.store(), Clock::system()).is_empty().await?;
    let access = access(options, has_accounts);
    access.check(options.listen)?;
    let console = Console::new(machine.store(), machine.clone(), access)?;
    let listening = stop_on_signal(stop.clone(), terminal::say_stopping)?;
    let ready = |address| terminal::say(&format!("The review page: http://{address}/"));
    let reached = Options { listen: options.listen, telemetry: Telemetry::default() };
    let served = modiolus_console::serve(console, reached, stop.clone(), ready).await;
    stop.cancel();
    machine.rest().await;
    listening.abort();
    served
}

/// Once somebody has an account, people are asked who they are.
fn access(options: &Serve, has_accounts: bool) -> Access {
    let asks = options.accounts || has_accounts || options.proxy_header.is_some();
    let name = std::env::var("USER").ok().filter(|name| !name.is_empty());
    let everyone = || Who::new(name.unwrap_or_else(|| SOMEBODY.to_owned()), Role::Operator);
    Access {
        everyone: (!asks).then(everyone),
        origin: options.origin.clone(),
        proxies: options.proxy.clone(),
        proxy_header: options.proxy_header.clone(),
        proxy_role: options.proxy_role,
    }
}
