//! What the main of a worker, and of every other program of the cluster, does: read the configuration, connect, work until told
//! to stop.
//!
//! A worker's process runs the loop of its stage, marks the jobs of its stage that the broker gave up, and now and then
//! looks at the joins of unfinished runs. It ends by itself only where trying again can't help (a wrong password, an unknown
//! key in the configuration), with exit code 1 and a line that says what to do; a broker or store that is not there yet is
//! waited for. SIGTERM drains: nothing more is taken, jobs end or go back to their queue. A second one ends at once.

mod http;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use clap::{CommandFactory, FromArgMatches};
use modiolus_broker::{Broker, RabbitMq};
use modiolus_pipeline::{Fetched, Job, ObjectKey, Read, RunId, Stage, StageName};
use modiolus_store::{ObjectStore, StoreError};
use tokio_util::sync::CancellationToken;

use crate::config::{Configuration, ConfigurationError, OpenError};
use crate::deaths;
use crate::join::Joins;
use crate::logging;
use crate::pulse::Pulse;
use crate::stop::stop_on_signal;
use crate::telemetry::Telemetry;
use crate::trace::Traces;
use crate::worker::{Worker, WorkerOptions, rest};
use http::Asked;

/// The first and the longest pause between two attempts to connect, before jitter.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(15)];

/// How often a process looks at the joins of unfinished runs, about.
const SWEEP: Duration = Duration::from_secs(60);

/// What a program is called: see [`program!`](crate::program).
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// `modiolus-STAGE`.
    pub name: &'static str,
    /// The version of its package.
    pub version: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
}

/// The [`Program`] of the package that this is written in.
#[macro_export]
macro_rules! program {
    () => {
        $crate::service::Program {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            about: env!("CARGO_PKG_DESCRIPTION"),
        }
    };
}

/// The command line of every program.
#[derive(Debug, clap::Parser)]
struct Arguments {
    /// The configuration [default: modiolus.toml, if it is in the working folder]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A value of the configuration, such as worker.slots=2; may be given several times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Asks the program that runs here how it is: exit code 0 if it lives, 1 if not
    #[arg(long)]
    health: bool,
}

/// Why a program could not start, or not go on.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    #[error("http.listen: {listen} can't be listened on: {error}. Set another address or end who has it")]
    Listen { listen: SocketAddr, error: io::Error },
    #[error("the system gives no threads or signals: {0}")]
    System(#[from] io::Error),
    #[error("{0}")]
    Work(String),
}

/// Where a program works: its connections.
#[derive(Clone)]
pub struct Site {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// The joins of all that this process does.
    pub joins: Arc<Joins>,
    /// What the program was told.
    pub configuration: Configuration,
    /// What it counts.
    pub telemetry: Telemetry,
    /// Cancelled when the process is told to stop.
    pub shutdown: CancellationToken,
}

/// Runs the worker of a stage, which `stage` makes from the configuration, until the process is told to stop.
pub fn main<S: Stage>(
    program: Program,
    stage: impl FnOnce(&Configuration) -> Result<S, ConfigurationError>,
) -> ExitCode {
    let work = async |start: Start| {
        let stage = stage(&start.configuration)?;
        start.work(S::Job::STAGE, stage).await
    };
    started(program, work)
}

/// Runs a program that takes no jobs, under its user's name at the broker, until it is told to stop: `work` does everything,
/// and says when it is ready.
pub fn main_without_jobs<F: Future<Output = Result<(), String>>>(
    program: Program,
    user: &str,
    work: impl FnOnce(Site, Readiness) -> F,
) -> ExitCode {
    started(program, async |start: Start| start.work_without_jobs(user, work).await)
}

/// Whether a program that takes no jobs does what it is there for.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on it does.
    pub fn ready(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A program that was told how to work.
struct Start {
    configuration: Configuration,
    telemetry: Telemetry,
    traces: Traces,
    shutdown: CancellationToken,
}

/// Reads the command line and the configuration, and works.
fn started(program: Program, work: impl AsyncFnOnce(Start) -> Result<(), StartError>) -> ExitCode {
    let Program { name, version, about } = program;
    let matches = Arguments::command().name(name).version(version).about(about).get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let configuration = match Configuration::load(arguments.config.as_deref(), &arguments.set) {
        Ok(configuration) => configuration,
        Err(error) => {
            eprintln!("{name}: {error}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.health {
        return http::ask(configuration.http.listen);
    }
    logging::init(configuration.log.format, "info");
    tracing::info!(program = name, version, "starting");
    match run(program, configuration, work) {
        Ok(()) => {
            tracing::info!(program = name, "stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(program = name, %error, "can't work");
            ExitCode::FAILURE
        }
    }
}

fn run(
    program: Program,
    configuration: Configuration,
    work: impl AsyncFnOnce(Start) -> Result<(), StartError>,
) -> Result<(), StartError> {
    let traces = configuration.traces.open(program.name, program.version)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let worked = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        stop_on_signal(shutdown.clone(), say_stopping)?;
        let telemetry = Telemetry::default();
        work(Start { configuration, telemetry, traces: traces.clone(), shutdown }).await
    });
    traces.close();
    worked
}

impl Start {
    async fn work<S: Stage>(self, name: StageName, stage: S) -> Result<(), StartError> {
        let (telemetry, worker) = (self.telemetry.clone(), &self.configuration.worker);
        // Not yet: whoever watches sees it from the start.
        telemetry.subscribed(name, false);
        let (counts, pulse) = (telemetry.clone(), Pulse::default());
        self.tell(Arc::new(move || counts.is_subscribed(name)), pulse.clone()).await?;
        let Some((site, broker)) = self.connect(name.as_str()).await? else { return Ok(()) };
        let slots = worker.slots.map_or_else(|| default_slots(name), std::num::NonZeroUsize::get);
        let idle = worker.idle_seconds.map(|seconds| Duration::from_secs(seconds.get()));
        let traces = self.traces.clone();
        let options = WorkerOptions { slots, telemetry, traces, pulse, idle, ..WorkerOptions::default() };
        let Site { store, broker: port, joins, shutdown, .. } = site;
        let worker = Worker::with_joins(Arc::new(stage), store.clone(), port.clone(), joins.clone(), options);
        tracing::info!(stage = %name, slots, "working");
        tokio::join!(
            worker.run(shutdown.clone()),
            deaths::mark(name, store, port, joins.clone(), shutdown.clone()),
            sweep(&joins, &shutdown),
        );
        // Or the last acks might not arrive, and their jobs be done again.
        broker.close().await;
        Ok(())
    }

    async fn work_without_jobs<F: Future<Output = Result<(), String>>>(
        self,
        user: &str,
        work: impl FnOnce(Site, Readiness) -> F,
    ) -> Result<(), StartError> {
        let readiness = Readiness::default();
        let is_ready = readiness.0.clone();
        self.tell(Arc::new(move || is_ready.load(Ordering::Relaxed)), Pulse::default()).await?;
        let Some((site, broker)) = self.connect(user).await? else { return Ok(()) };
        let worked = work(site, readiness).await;
        broker.close().await;
        worked.map_err(StartError::Work)
    }

    /// Serves the probes and the metrics.
    async fn tell(
        &self,
        is_ready: Arc<dyn Fn() -> bool + Send + Sync>,
        pulse: Pulse,
    ) -> Result<(), StartError> {
        let Self { configuration, telemetry, shutdown, .. } = self;
        let (listen, telemetry, shutdown) = (configuration.http.listen, telemetry.clone(), shutdown.clone());
        let served = http::serve(listen, Asked { is_ready, pulse, telemetry, shutdown }).await;
        served.map_err(|error| StartError::Listen { listen, error })
    }

    /// Waits for store and broker as long as it takes; `None` where the process is told to stop before.
    async fn connect(&self, user: &str) -> Result<Option<(Site, RabbitMq)>, StartError> {
        let (store, broker) = tokio::select! {
            () = self.shutdown.cancelled() => return Ok(None),
            opened = connect(&self.configuration, user) => opened?,
        };
        let port: Arc<dyn Broker> = Arc::new(broker.clone());
        let joins = Arc::new(Joins::new(store.clone(), port.clone()));
        let site = Site {
            store,
            broker: port,
            joins,
            configuration: self.configuration.clone(),
            telemetry: self.telemetry.clone(),
            shutdown: self.shutdown.clone(),
        };
        Ok(Some((site, broker)))
    }
}

/// A training has the machine for itself; other jobs share its cores.
fn default_slots(stage: StageName) -> usize {
    match stage {
        StageName::Train => 1,
        _ => std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
    }
}

async fn connect(
    configuration: &Configuration,
    user: &str,
) -> Result<(Arc<dyn ObjectStore>, RabbitMq), OpenError> {
    let store = waited_for("store", || async {
        let store = configuration.open_store()?;
        reach(&*store).await?;
        Ok(store)
    });
    let broker = waited_for("broker", || configuration.open_broker(user));
    futures::try_join!(store, broker)
}

async fn waited_for<T, F>(what: &str, open: impl FnMut() -> F) -> Result<T, OpenError>
where
    F: Future<Output = Result<T, OpenError>>,
{
    tracing::info!("connecting to the {what}");
    let [first, longest] = PAUSES;
    let pauses = ExponentialBuilder::default().with_jitter().with_min_delay(first).with_max_delay(longest);
    let opening = open.retry(pauses.without_max_times()).when(OpenError::is_retryable);
    let opened = opening
        .notify(|error, _| tracing::warn!(%error, "the {what} is not there yet; trying again"))
        .await?;
    tracing::info!("connected to the {what}");
    Ok(opened)
}

/// Reads an object that isn't there: whether the store answers, knows our key and has the bucket that every stage uses.
async fn reach(store: &dyn ObjectStore) -> Result<(), StoreError> {
    let nobody: RunId = "reached".parse().expect("a plain name");
    let key = ObjectKey::Run(nobody);
    match store.get(Read::first(key.clone(), 1)).await? {
        Fetched::Denied(why) => Err(StoreError::refused(key, why)),
        Fetched::Found(_) | Fetched::Missing => Ok(()),
    }
}

/// Completes what a worker found complete but died before saying so. Every process does; twice is harmless.
async fn sweep(joins: &Joins, shutdown: &CancellationToken) {
    while !shutdown.is_cancelled() {
        // Not all at the same time.
        let part = f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
        rest(SWEEP.mul_f64(0.5 + part), shutdown).await;
        let swept = tokio::select! {
            () = shutdown.cancelled() => return,
            swept = joins.sweep_unfinished() => swept,
        };
        if let Err(error) = swept {
            tracing::warn!(%error, "unfinished runs can't be looked at now; trying again in a minute");
        }
    }
}

fn say_stopping(last: bool) {
    match last {
        false => tracing::info!("told to stop: jobs in hand end or go back to their queue"),
        true => {
            tracing::warn!("told to stop a second time: ending at once; jobs in hand come again elsewhere");
        }
    }
}
