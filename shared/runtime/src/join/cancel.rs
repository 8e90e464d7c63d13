//! Cancelling a run, and taking it up again.
//!
//! While [`ObjectKey::RunCancelled`] is there, workers begin none of the run's jobs, and whoever put it there says that the run
//! has ended, so that nothing waits for a worker or a retry. Nothing is said of its chunks and jobs but how they really end: a
//! job that is in hand is done to its end; what follows from it is not begun. An end by cancelling counts only while the object
//! is there, so taking it away opens the run again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{StreamExt, TryStreamExt, iter};
use modiolus_pipeline::{ObjectKey, RunId, Scope};
use modiolus_store::StoreError;
use tokio::time::Instant;

use crate::event::Notice;

use super::known::Known;
use super::{Joins, Open, RUNS_KEPT, RunOutcome, lock};

/// For how long a process believes that a run is not cancelled: so long may its jobs still be begun.
const BELIEVED: Duration = Duration::from_secs(2);

/// How many chunks are ended at once.
const AT_A_TIME: usize = 16;

/// When runs were last seen not to be cancelled.
#[derive(Default)]
pub(super) struct Live(Mutex<HashMap<RunId, Instant>>);

impl Live {
    fn is_fresh(&self, run: &RunId) -> bool {
        lock(&self.0).get(run).is_some_and(|seen| seen.elapsed() < BELIEVED)
    }

    fn see(&self, run: &RunId) {
        let mut seen = lock(&self.0);
        if seen.len() >= RUNS_KEPT {
            seen.clear();
        }
        seen.insert(run.clone(), Instant::now());
    }
}

impl Joins {
    /// Cancels a run: all of it that has not ended, ends now. How it ended; `None` if there is no such run. One that is done
    /// already stays so.
    ///
    /// # Errors
    /// When the store fails; asking again is harmless, and workers end a cancelled run too.
    pub async fn cancel(&self, run: &RunId) -> Result<Option<RunOutcome>, StoreError> {
        if let Some(outcome) = self.outcome(run).await? {
            self.forget_cancelling(run, &outcome).await?;
            // Who cancelled it before may have died before it was told.
            Notice::RunDone { run: run.clone(), outcome: outcome.clone() }.tell(&*self.broker);
            return Ok(Some(outcome));
        }
        if self.known(run).await?.is_none() {
            return Ok(None);
        }
        // Where workers look for what is left half done, should this process die here.
        self.store.put(ObjectKey::RunUnfinished(run.clone()), Bytes::new()).await?;
        self.store.put(ObjectKey::RunCancelled(run.clone()), Bytes::new()).await?;
        self.end(run).await
    }

    /// Opens a run again that was cancelled: what was done stays done. The chunks of which the first job has to be published
    /// again, from which all else follows, and then [`Self::reopened`] called; `None` if the run was not cancelled.
    ///
    /// # Errors
    /// When the store fails; asking again goes on.
    pub async fn reopen(&self, run: &RunId) -> Result<Option<BTreeSet<u32>>, StoreError> {
        let key = ObjectKey::RunDone(run.clone());
        if self.is_cancelled(run).await? {
            if self.read::<RunOutcome>(key.clone()).await?.is_none() {
                // That it was cancelled is written down before it is opened, so that whoever dies here can be followed.
                self.end(run).await?;
            }
            self.store.put(ObjectKey::RunUnfinished(run.clone()), Bytes::new()).await?;
            self.store.delete(&ObjectKey::RunCancelled(run.clone())).await?;
        }
        let outcome: Option<RunOutcome> = self.read(key).await?;
        if !outcome.is_some_and(|outcome| outcome.is_cancelled()) {
            return Ok(None);
        }
        let Some(known) = self.known(run).await? else { return Ok(None) };
        // What they say of their end doesn't count any more, and is written over when they end again.
        Ok(Some(self.open_chunks(run, known.chunks.len()).await?))
    }

    /// The jobs of a run that was opened again are published: from now on, it is a run like all others.
    ///
    /// # Errors
    /// When the store fails; it is harmless to leave it at that.
    pub async fn reopened(&self, run: &RunId) -> Result<(), StoreError> {
        let key = ObjectKey::RunDone(run.clone());
        let outcome: Option<RunOutcome> = self.read(key.clone()).await?;
        if outcome.is_some_and(|outcome| outcome.is_cancelled()) {
            self.store.put(ObjectKey::RunUnfinished(run.clone()), Bytes::new()).await?;
            self.store.delete(&key).await?;
            // Its last job may have ended in between.
            self.sweep(run).await?;
        }
        Ok(())
    }

    /// A run that is done could not be cancelled any more.
    pub(super) async fn forget_cancelling(
        &self,
        run: &RunId,
        outcome: &RunOutcome,
    ) -> Result<(), StoreError> {
        if outcome.is_cancelled() {
            return Ok(());
        }
        self.store.delete(&ObjectKey::RunCancelled(run.clone())).await?;
        // Who looked before the last job ended may have written over the end since, and left it at that as the run was cancelled
        // still. From now on, whoever does so sees that it isn't.
        let key = ObjectKey::RunDone(run.clone());
        match self.read::<RunOutcome>(key.clone()).await? {
            Some(said) if said.is_cancelled() => self.write(key, outcome).await,
            _ => Ok(()),
        }
    }

    /// Whether a run is cancelled now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_cancelled(&self, run: &RunId) -> Result<bool, StoreError> {
        Ok(self.store.length(&ObjectKey::RunCancelled(run.clone())).await?.is_some())
    }

    /// Whether a run was cancelled, more than a moment ago: for each job, so it rarely asks the store.
    pub(crate) async fn was_cancelled(&self, run: &RunId) -> Result<bool, StoreError> {
        if self.live.is_fresh(run) {
            return Ok(false);
        }
        let is_cancelled = self.is_cancelled(run).await?;
        if !is_cancelled {
            self.live.see(run);
        }
        Ok(is_cancelled)
    }

    /// Ends what is left of a cancelled run.
    pub(super) async fn end(&self, run: &RunId) -> Result<Option<RunOutcome>, StoreError> {
        let Some(known) = self.known(run).await? else { return Ok(None) };
        let scope = |chunk| Scope { run: run.clone(), chunk };
        let scopes: Vec<Scope> = (0u32..).take(known.chunks.len()).map(scope).collect();
        let looks: Vec<_> = scopes.iter().map(|scope| self.failed_in(scope, &known, Open::Cancels)).collect();
        let failed: Vec<_> = iter(looks).buffered(AT_A_TIME).try_collect().await?;
        let outcome = RunOutcome { failed: failed.into_iter().flatten().flatten().collect() };
        if outcome.is_cancelled() {
            self.tell(run, &known, &outcome).await?;
            if self.is_cancelled(run).await? {
                return Ok(Some(outcome));
            }
        }
        // Its last job was in hand and has ended, or it was opened again meanwhile: then what was just written doesn't count,
        // and may stand where something did.
        let known = Known::new(known.chunks.clone());
        let looks: Vec<_> = scopes.iter().map(|scope| self.chunk_is_done(scope, &known)).collect();
        iter(looks).buffer_unordered(AT_A_TIME).try_for_each(|_| async { Ok(()) }).await?;
        self.run_is_done(run, &known).await
    }
}
