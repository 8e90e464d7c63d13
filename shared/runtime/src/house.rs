//! One machine: stages, queues and joins in one process, over one store.

use std::sync::Arc;
use std::time::Duration;

use modiolus_broker::{Broker, InProcess, Letter};
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::topology::{Queue, RETRY_DELAYS};
use modiolus_pipeline::{Envelope, Fetched, Message, ObjectKey, Read, RunId, Scope, Stage, StageError};
use modiolus_store::{ObjectStore, StoreError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::erased::AnyStage;
use crate::event::{Event, Notice};
use crate::join::{Joins, RunOutcome};
use crate::worker::{Worker, WorkerOptions};

/// Shorter than in a cluster: somebody sits there and waits, and no other machine comes back up.
const DELAYS: [Duration; RETRY_DELAYS.len()] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(5)];

/// Several stages in one process.
///
/// A run that was killed goes on where it was when it is started again: its chunks and jobs that are done say so in the
/// store.
pub struct House {
    store: Arc<dyn ObjectStore>,
    broker: Arc<InProcess>,
    joins: Arc<Joins>,
    stages: Vec<(Arc<dyn AnyStage>, usize)>,
    stop: CancellationToken,
}

/// Why a run did not come to its end. What was done stays done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HouseError {
    /// An error that may pass did not pass.
    #[error("{0}. What is done stays done: remove the cause and start again")]
    Halted(StageError),
    /// The process was told to stop.
    #[error("stopped before the end. What is done stays done: start again to go on")]
    Stopped,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A run with this id but other chunks was started before.
    #[error("{0} exists with other inputs: use another folder for its output")]
    OtherRun(RunId),
}

impl House {
    /// A house without stages.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        let broker = Arc::new(InProcess::new().with_retry_delays(DELAYS));
        let joins = Arc::new(Joins::new(store.clone(), broker.clone()));
        Self { store, broker, joins, stages: vec![], stop: CancellationToken::new() }
    }

    /// The house with one more stage, of which `slots` jobs run at a time.
    #[must_use]
    pub fn with<S: Stage>(mut self, stage: S, slots: usize) -> Self {
        self.stages.push((Arc::new(stage), slots));
        self
    }

    /// The house that stops when the token says so: jobs end or are handed back, then [`House::run`] returns.
    #[must_use]
    pub fn stopped_by(mut self, stop: CancellationToken) -> Self {
        self.stop = stop;
        self
    }

    /// Its memory of what is done: by it, somebody else cancels a run that this house does.
    pub fn joins(&self) -> Arc<Joins> {
        self.joins.clone()
    }

    /// Does a run: writes its manifest, then does the first job of each chunk (`first`, in the order of the manifest's
    /// chunks) and all that follows. Does nothing where the run, or a chunk of it, is done already.
    ///
    /// # Errors
    /// When the run did not come to its end. Jobs that were given up are no error but in the outcome.
    pub async fn run(
        &self,
        run: &RunId,
        manifest: &RunManifest,
        first: Vec<Message>,
        on_event: impl FnMut(Event),
    ) -> Result<RunOutcome, HouseError> {
        // Listens before the first job is there, so that nothing is missed.
        let events = self.broker.events().await.map_err(|error| HouseError::Halted(error.into()))?;
        match self.start(run, manifest, first).await? {
            Some(outcome) => Ok(outcome),
            None => self.work(run, events, on_event).await,
        }
    }

    /// Publishes what is not done yet; the outcome if everything is.
    async fn start(
        &self,
        run: &RunId,
        manifest: &RunManifest,
        first: Vec<Message>,
    ) -> Result<Option<RunOutcome>, HouseError> {
        let same = first.iter().map(|message| &message.id).eq(&manifest.chunks);
        if !same || !self.is_same_or_new(run, manifest).await? {
            return Err(HouseError::OtherRun(run.clone()));
        }
        self.joins.reopen(run).await?;
        if let Some(outcome) = self.joins.outcome(run).await? {
            return Ok(Some(outcome));
        }
        let json = serde_json::to_vec(manifest).expect("a vocabulary type always has a JSON form");
        self.store.put(ObjectKey::Run(run.clone()), json.into()).await?;
        let open = self.joins.open_chunks(run, first.len()).await?;
        let mut letters = vec![];
        for (chunk, message) in (0u32..).zip(first) {
            if open.contains(&chunk) {
                let (queue, scope) = (Queue::Work(message.stage), Scope { run: run.clone(), chunk });
                letters.push((queue, Letter::new(Envelope::new(scope, message).encode())));
            }
        }
        if letters.is_empty() {
            return Ok(self.joins.sweep(run).await?);
        }
        self.broker.publish_all(letters).await.map_err(|error| HouseError::Halted(error.into()))?;
        self.joins.reopened(run).await?;
        Ok(None)
    }

    async fn is_same_or_new(&self, run: &RunId, manifest: &RunManifest) -> Result<bool, StoreError> {
        let Fetched::Found(object) = self.store.get(Read::whole(ObjectKey::Run(run.clone()))).await? else {
            return Ok(true);
        };
        // One that was torn by a loss of power is written again.
        Ok(serde_json::from_slice::<RunManifest>(&object.bytes).map_or(true, |before| before == *manifest))
    }

    async fn work(
        &self,
        run: &RunId,
        mut events: Box<dyn modiolus_broker::Events>,
        mut on_event: impl FnMut(Event),
    ) -> Result<RunOutcome, HouseError> {
        let shutdown = CancellationToken::new();
        let (halt, mut halted) = mpsc::unbounded_channel();
        let mut workers = JoinSet::new();
        for (stage, slots) in &self.stages {
            let halt = Some(halt.clone());
            let options = WorkerOptions { slots: *slots, halt, ..WorkerOptions::default() };
            let (store, joins) = (self.store.clone(), self.joins.clone());
            let worker = Worker::with_joins(stage.clone(), store, self.broker.clone(), joins, options);
            let shutdown = shutdown.clone();
            workers.spawn(async move { worker.run(shutdown).await });
        }
        let end = loop {
            tokio::select! {
                () = self.stop.cancelled() => break Err(HouseError::Stopped),
                Some(error) = halted.recv() => break Err(HouseError::Halted(error)),
                event = events.next() => match event.as_deref().and_then(Notice::decode) {
                    Some(Notice::Progress(event)) if event.scope.run == *run => on_event(event),
                    Some(Notice::RunDone { run: done, outcome })
                        if done == *run && self.joins.holds(run, &outcome).await? => break Ok(outcome),
                    _ => {}
                },
            }
        };
        shutdown.cancel();
        while workers.join_next().await.is_some() {}
        if end.is_ok() {
            // A job that ended beside the last one may have called the run unfinished again.
            self.joins.sweep_unfinished().await?;
        }
        end
    }
}
