//! When is a chunk, when is a run complete?
//!
//! Whoever ends a job from which nothing follows looks. It reads only what it doesn't know yet, first one marker, then two,
//! four and so on, and stops at the first that is missing. So a process reads each marker at most once and misses one per
//! look: a run of n jobs costs in the order of n reads, without a list, a counter or a lock.
//!
//! Only what never changes is remembered: that a job, a chunk or a run was done. One that was given up may be replayed, one
//! that was cancelled taken up again: those are read anew by whoever looks.

mod cancel;
mod known;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use modiolus_broker::Broker;
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::key::UNFINISHED_PREFIX;
use modiolus_pipeline::{Bucket, Fetched, JobId, Marker, ObjectKey, Outcome, Read, RunId, Scope};
use modiolus_store::{ObjectStore, StoreError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::event::Notice;
use cancel::Live;
use known::{Known, Look};

/// How many runs are remembered at a time.
const RUNS_KEPT: usize = 64;

/// How many objects are read at once.
const MOST_READS: usize = 256;

/// The code of a job that was not done since its run was cancelled. That a run ended so counts only while
/// [`ObjectKey::RunCancelled`] is there: once it is gone, it is open again. Of a chunk it is never written: what is said of a
/// chunk's end is what its jobs have come to.
const CANCELLED: &str = "cancelled";

/// A job that was given up, or not done since its run was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FailedJob {
    /// The chunk that it belongs to.
    pub chunk: u32,
    /// The job.
    pub job: JobId,
    /// The error's code.
    pub code: String,
    /// The error in words.
    pub message: String,
}

impl FailedJob {
    fn cancelled(chunk: u32, job: JobId) -> Self {
        Self { chunk, job, code: CANCELLED.into(), message: "the run was cancelled".into() }
    }

    /// Whether it was not done since its run was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.code == CANCELLED
    }
}

/// How a run ended: the body of [`ObjectKey::RunDone`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunOutcome {
    /// The jobs that were given up or cancelled, by chunk; all others are done.
    pub failed: Vec<FailedJob>,
}

impl RunOutcome {
    /// Whether the run was cancelled before all of it was done.
    pub fn is_cancelled(&self) -> bool {
        self.failed.iter().any(FailedJob::is_cancelled)
    }
}

/// Finds out what is complete, and remembers what it has read. One per process serves all its workers.
pub struct Joins {
    store: Arc<dyn ObjectStore>,
    broker: Arc<dyn Broker>,
    runs: Mutex<HashMap<RunId, Arc<Known>>>,
    live: Live,
}

/// What a look does with a job that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// It waits for it.
    Waits,
    /// It counts it as ended: the run is cancelled.
    Cancels,
}

impl Joins {
    /// Joins over a store; what is complete is told on the broker's stream.
    pub fn new(store: Arc<dyn ObjectStore>, broker: Arc<dyn Broker>) -> Self {
        Self { store, broker, runs: Mutex::default(), live: Live::default() }
    }

    /// Takes note of a job's marker, which lies in the store already. If nothing follows from the job, looks whether its
    /// chunk and its run are complete now, and says so in the store and on the stream.
    ///
    /// # Errors
    /// When the store fails; asking again is harmless.
    pub async fn ended(&self, scope: &Scope, job: &JobId, marker: Marker) -> Result<(), StoreError> {
        let Some(run) = self.known(&scope.run).await? else {
            tracing::warn!(run = %scope.run, %job, "a job belongs to a run that is not in the store; nothing waits for it");
            return Ok(());
        };
        let is_leaf = marker.followers.is_empty();
        run.note(scope.chunk, job, marker);
        if is_leaf
            && self.chunk_is_done(scope, &run).await?
            && self.run_is_done(&scope.run, &run).await?.is_none()
            && self.is_cancelled(&scope.run).await?
        {
            // It was in hand when its run was cancelled: of that, the last word stands.
            self.end(&scope.run).await?;
        }
        Ok(())
    }

    /// Looks at a run again, chunk by chunk up to the first that is not complete: completes what a worker found complete but
    /// died before saying so. `None` when the run is not complete, or not in the store. Costs few reads while a run goes on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sweep(&self, run: &RunId) -> Result<Option<RunOutcome>, StoreError> {
        let Some(known) = self.known(run).await? else { return Ok(None) };
        if let Some(outcome) = self.run_is_done(run, &known).await? {
            return Ok(Some(outcome));
        }
        // One that was cancelled has ended, too.
        if let Some(outcome) = self.outcome(run).await?.filter(RunOutcome::is_cancelled) {
            return Ok(Some(outcome));
        }
        for chunk in (0u32..).take(known.chunks.len()) {
            let scope = Scope { run: run.clone(), chunk };
            let is_told = known.is_done(chunk) || self.chunks_done(run, &[chunk]).await? != [None];
            if !is_told && !self.chunk_is_done(&scope, &known).await? {
                return Ok(None);
            }
        }
        self.run_is_done(run, &known).await
    }

    /// [`Self::sweep`] for each run that some worker has begun and none has ended. Of one that was cancelled, the rest is
    /// ended: who cancelled it may have died.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sweep_unfinished(&self) -> Result<(), StoreError> {
        for path in self.store.list(Bucket::Runs, UNFINISHED_PREFIX).await? {
            let Ok(run) = path[UNFINISHED_PREFIX.len()..].parse::<RunId>() else { continue };
            let outcome = match self.sweep(&run).await? {
                None if self.is_cancelled(&run).await? => self.end(&run).await?,
                outcome => outcome,
            };
            if outcome.is_some() {
                self.store.delete(&ObjectKey::RunUnfinished(run)).await?;
            }
        }
        Ok(())
    }

    /// How a run ended, `None` while it has not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn outcome(&self, run: &RunId) -> Result<Option<RunOutcome>, StoreError> {
        let outcome: Option<RunOutcome> = self.read(ObjectKey::RunDone(run.clone())).await?;
        match outcome {
            Some(outcome) if self.holds(run, &outcome).await? => Ok(Some(outcome)),
            _ => Ok(None),
        }
    }

    /// Whether what was told of a run's end holds: one that was cancelled may have been opened again since.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn holds(&self, run: &RunId, outcome: &RunOutcome) -> Result<bool, StoreError> {
        Ok(!outcome.is_cancelled() || self.is_cancelled(run).await?)
    }

    /// The chunks of a run (of so many) that are not done.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open_chunks(&self, run: &RunId, chunks: usize) -> Result<BTreeSet<u32>, StoreError> {
        let all: Vec<u32> = (0u32..).take(chunks).collect();
        let mut open = BTreeSet::new();
        for some in all.chunks(MOST_READS) {
            let done = self.chunks_done(run, some).await?;
            open.extend(some.iter().zip(done).filter(|(_, done)| done.is_none()).map(|(chunk, _)| chunk));
        }
        Ok(open)
    }

    /// Whether a run is in the store. One whose manifest was torn by a loss of power is: whoever submits it writes it again.
    pub(crate) async fn knows(&self, run: &RunId) -> Result<bool, StoreError> {
        if self.known(run).await?.is_some() {
            return Ok(true);
        }
        Ok(self.store.length(&ObjectKey::Run(run.clone())).await?.is_some())
    }

    async fn known(&self, run: &RunId) -> Result<Option<Arc<Known>>, StoreError> {
        if let Some(known) = lock(&self.runs).get(run) {
            return Ok(Some(known.clone()));
        }
        let Some(manifest) = self.read::<RunManifest>(ObjectKey::Run(run.clone())).await? else {
            return Ok(None);
        };
        self.store.put(ObjectKey::RunUnfinished(run.clone()), Bytes::new()).await?;
        let mut runs = lock(&self.runs);
        if runs.len() >= RUNS_KEPT {
            // What is forgotten is only read again.
            runs.clear();
        }
        Ok(Some(runs.entry(run.clone()).or_insert_with(|| Arc::new(Known::new(manifest.chunks))).clone()))
    }

    async fn chunk_is_done(&self, scope: &Scope, run: &Known) -> Result<bool, StoreError> {
        if run.is_done(scope.chunk) {
            return Ok(true);
        }
        let Some(failed) = self.failed_in(scope, run, Open::Waits).await? else { return Ok(false) };
        self.write(ObjectKey::ChunkDone(scope.run.clone(), scope.chunk), &failed).await?;
        run.chunk_is_done(scope.chunk, &failed);
        Notice::ChunkDone { scope: scope.clone(), failed }.tell(&*self.broker);
        Ok(true)
    }

    /// The jobs of a chunk that were given up or, where it is so, cancelled; `None` while it waits for one.
    async fn failed_in(
        &self,
        scope: &Scope,
        run: &Known,
        open: Open,
    ) -> Result<Option<Vec<FailedJob>>, StoreError> {
        let Some(first) = run.chunks.get(scope.chunk as usize) else { return Ok(None) };
        let (mut failed, mut limit) = (BTreeMap::new(), 1);
        loop {
            let missing = match run.look(scope.chunk, first, &failed, limit) {
                Look::Told | Look::Complete => return Ok(Some(failed.into_values().collect())),
                Look::Missing(jobs) => jobs,
            };
            let markers = self.markers(scope, &missing).await?;
            let all = open == Open::Cancels || markers.iter().all(Option::is_some);
            for (job, marker) in missing.into_iter().zip(markers) {
                match marker {
                    Some(Marker { outcome: Outcome::Failed { code, message }, .. }) => {
                        failed.insert(job.clone(), FailedJob { chunk: scope.chunk, job, code, message });
                    }
                    Some(marker) => run.note(scope.chunk, &job, marker),
                    None => {
                        failed.insert(job.clone(), FailedJob::cancelled(scope.chunk, job));
                    }
                }
            }
            if !all {
                return Ok(None);
            }
            limit = MOST_READS.min(limit * 2);
        }
    }

    async fn run_is_done(&self, id: &RunId, run: &Known) -> Result<Option<RunOutcome>, StoreError> {
        let (mut failed, mut limit) = (BTreeMap::new(), 1);
        loop {
            let missing = run.missing_chunks(&failed, limit);
            if missing.is_empty() {
                break;
            }
            let done = self.chunks_done(id, &missing).await?;
            let all = done.iter().all(Option::is_some);
            for (chunk, jobs) in missing.into_iter().zip(done) {
                let Some(jobs) = jobs else { continue };
                run.chunk_is_done(chunk, &jobs);
                if !jobs.is_empty() {
                    failed.insert(chunk, jobs);
                }
            }
            if !all {
                return Ok(None);
            }
            limit = MOST_READS.min(limit * 2);
        }
        let outcome = RunOutcome { failed: failed.into_values().flatten().collect() };
        if !run.is_told(&outcome) {
            self.tell(id, run, &outcome).await?;
        }
        Ok(Some(outcome))
    }

    async fn tell(&self, id: &RunId, run: &Known, outcome: &RunOutcome) -> Result<(), StoreError> {
        self.write(ObjectKey::RunDone(id.clone()), outcome).await?;
        self.forget_cancelling(id, outcome).await?;
        self.store.delete(&ObjectKey::RunUnfinished(id.clone())).await?;
        run.tell(outcome);
        tracing::info!(run = %id, failed = outcome.failed.len(), "a run is done");
        Notice::RunDone { run: id.clone(), outcome: outcome.clone() }.tell(&*self.broker);
        Ok(())
    }

    /// The markers of some jobs of a chunk, `None` for those that have not ended.
    async fn markers(&self, scope: &Scope, jobs: &[JobId]) -> Result<Vec<Option<Marker>>, StoreError> {
        let key = |job: &JobId| ObjectKey::Marker(scope.run.clone(), scope.chunk, job.clone());
        self.read_all(jobs.iter().map(key)).await
    }

    /// The failed jobs of some chunks of a run, `None` for those that are not done.
    async fn chunks_done(
        &self,
        run: &RunId,
        chunks: &[u32],
    ) -> Result<Vec<Option<Vec<FailedJob>>>, StoreError> {
        let key = |chunk: &u32| ObjectKey::ChunkDone(run.clone(), *chunk);
        let mut done = self.read_all::<Vec<FailedJob>>(chunks.iter().map(key)).await?;
        // An earlier version wrote so of chunks that had not ended.
        let is_cancelled = |jobs: &Option<Vec<FailedJob>>| jobs.iter().flatten().any(FailedJob::is_cancelled);
        done.iter_mut().filter(|jobs| is_cancelled(jobs)).for_each(|jobs| *jobs = None);
        Ok(done)
    }

    async fn write(&self, key: ObjectKey, value: &impl Serialize) -> Result<(), StoreError> {
        let json = serde_json::to_vec(value).map_err(|error| StoreError::refused(&key, error))?;
        self.store.put(key, json.into()).await
    }

    async fn read<T: DeserializeOwned>(&self, key: ObjectKey) -> Result<Option<T>, StoreError> {
        Ok(self.read_all([key].into_iter()).await?.pop().flatten())
    }

    /// What is there, in the order of the keys. One that was torn by a loss of power is as good as missing: whoever does its
    /// job again writes it again.
    async fn read_all<T: DeserializeOwned>(
        &self,
        keys: impl Iterator<Item = ObjectKey>,
    ) -> Result<Vec<Option<T>>, StoreError> {
        let reads: Vec<Read> = keys.map(Read::whole).collect();
        let fetched = self.store.get_many(&reads).await.into_iter();
        let value = |fetched: Fetched| match fetched {
            Fetched::Found(object) => serde_json::from_slice(&object.bytes).ok(),
            Fetched::Missing | Fetched::Denied(_) => None,
        };
        fetched.map(|fetched| Ok(value(fetched?))).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
