//! What there is to do on this machine, one after the other: runs of deliveries, trainings, masks to draw.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use modiolus_operations::chunks;
use modiolus_operations::start::Ready;
use modiolus_pipeline::job::Wanted;
use modiolus_pipeline::job::ingest::Delivery;
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::{Message, ObjectKey, RunId};
use modiolus_runtime::{House, HouseError, RunOutcome};
use modiolus_store::{FolderStore, ObjectStore};
use tokio::time::timeout;

use super::super::cancelled;
use super::super::delivery::{self, SCANS};
use super::Inner;

/// How long whoever cancels waits until what is in hand is let go of.
const LETS_GO: Duration = Duration::from_secs(10);

/// Something to do.
pub(super) struct Task {
    pub(super) run: RunId,
    pub(super) manifest: RunManifest,
    /// The first job of each chunk.
    pub(super) first: Vec<Message>,
    /// The delivery's folder, where it is the run of one.
    folder: Option<PathBuf>,
    pub(super) is_training: bool,
}

impl Task {
    /// The run of a delivery; writes down what it is, so that it is listed while it waits for its turn.
    pub(super) async fn of_delivery(
        store: &dyn ObjectStore,
        folder: PathBuf,
        wanted: Wanted,
    ) -> Result<Self> {
        let ready = Ready::new(delivery::walked(&folder).await?, wanted, Delivery::InPlace, None);
        ready.note(store).await?;
        let Ready { run, manifest, first, .. } = ready;
        Ok(Self { run, manifest, first, folder: Some(folder), is_training: false })
    }

    /// Jobs that need nothing but the store, each a chunk of its own.
    pub(super) fn of_messages(first: Vec<Message>) -> Self {
        let (run, manifest) = chunks::run_of(&first);
        Self { run, manifest, first, folder: None, is_training: false }
    }

    /// A training.
    pub(super) fn of_training(run: RunId, first: Message) -> Self {
        let manifest = RunManifest { wanted: None, chunks: vec![first.id.clone()] };
        Self { run, manifest, first: vec![first], folder: None, is_training: true }
    }

    /// Removes the delivery: identity lies in it, and what was kept of it is in the store.
    pub(super) fn remove_files(&self) {
        if let Some(folder) = &self.folder {
            delivery::remove(folder);
        }
    }
}

impl Inner {
    /// Begins something, or goes on with it where it was cancelled.
    pub(super) async fn begin(self: &Arc<Self>, task: Task) -> Result<()> {
        House::new(self.store.clone()).joins().reopen(&task.run).await?;
        self.enqueue(Arc::new(task));
        Ok(())
    }

    /// Has something done when its turn comes.
    pub(super) fn enqueue(self: &Arc<Self>, task: Arc<Task>) {
        self.standings.wait(task.clone());
        let inner = self.clone();
        tokio::spawn(async move { inner.work(task).await });
    }

    /// Takes up what an earlier process left; whether there is something to do.
    pub(super) async fn take_up(self: &Arc<Self>, task: Task) -> Result<bool> {
        let outcome = House::new(self.store.clone()).joins().outcome(&task.run).await?;
        let task = Arc::new(task);
        match outcome {
            None => self.enqueue(task),
            Some(outcome) if outcome.failed.is_empty() || outcome.is_cancelled() => {
                task.remove_files();
                return Ok(false);
            }
            Some(outcome) => {
                self.standings.was_done(task, outcome.failed.len());
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn work(self: Arc<Self>, task: Arc<Task>) {
        let Ok(turn) = self.turn.acquire().await else { return };
        let run = &task.run;
        match self.carry_out(&task).await {
            // Cancelled while it waited.
            Ok(None) => {}
            Ok(Some(outcome)) if outcome.is_cancelled() => {
                task.remove_files();
                self.standings.forget(run);
            }
            Ok(Some(RunOutcome { failed })) => {
                if failed.is_empty() {
                    task.remove_files();
                }
                self.standings.end(run, failed.len());
            }
            Err(error) if matches!(error.downcast_ref(), Some(HouseError::Stopped)) => {}
            Err(error) => {
                tracing::warn!(%run, "{error:#}");
                self.standings.stand_still(run, format!("{error:#}"));
            }
        }
        drop(turn);
        if task.is_training {
            self.look_whether_due();
        }
    }

    /// Does it in a house of its own; `None` where it isn't wanted any more.
    async fn carry_out(&self, task: &Arc<Task>) -> Result<Option<RunOutcome>> {
        if !self.standings.is_waiting(task) {
            // Its files may be gone.
            return Ok(None);
        }
        let store = FolderStore::new(self.place.folder())?;
        let store = match &task.folder {
            Some(folder) => store.with_scans(&folder.join(SCANS))?,
            None => store,
        };
        let house = self.house(Arc::new(store));
        if !self.standings.work(task, house.joins()) {
            return Ok(None);
        }
        let hear = |event: modiolus_runtime::Event| self.standings.hear(&task.run, event.progress);
        Ok(Some(house.run(&task.run, &task.manifest, task.first.clone(), hear).await?))
    }

    /// Ends a run before its end. What waits or stands still is forgotten at once; what is in hand is told to stop, and waited for
    /// for a while.
    pub(super) async fn cancel(&self, run: &RunId) -> Result<()> {
        let outcome = match self.standings.in_hand(run) {
            Some((joins, let_go)) => {
                let outcome = joins.cancel(run).await?;
                // One that has just begun may not be written down yet; then there is nothing to wait for.
                if outcome.is_some() {
                    let _ = timeout(LETS_GO, let_go.cancelled()).await;
                }
                outcome
            }
            None => self.cancel_waiting(run).await?,
        };
        cancelled(outcome)
    }

    async fn cancel_waiting(&self, run: &RunId) -> Result<Option<RunOutcome>> {
        let task = self.standings.forget_open(run);
        if let Some(task) = &task {
            // One that was never begun is not written down yet.
            let manifest = serde_json::to_vec(&task.manifest)?;
            self.store.put(ObjectKey::Run(run.clone()), manifest.into()).await?;
        }
        let outcome = House::new(self.store.clone()).joins().cancel(run).await?;
        if let Some(task) = task {
            task.remove_files();
        }
        Ok(outcome)
    }
}
