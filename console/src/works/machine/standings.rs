//! Where each run and training of this process stands, beside what the store says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use modiolus_pipeline::job::train::EpochMetrics;
use modiolus_pipeline::{ProgressEvent, RunId};
use modiolus_runtime::{CancellationToken, Joins};

use super::super::heard::Heard;
use super::Standing;
use super::tasks::Task;

/// Those of this process, by their runs.
#[derive(Default)]
pub(super) struct Standings(Mutex<HashMap<RunId, Entry>>);

struct Entry {
    /// What is done, or can be done again.
    task: Option<Arc<Task>>,
    phase: Phase,
    heard: Heard,
    /// Cancelled when nobody works on it any more.
    let_go: CancellationToken,
}

enum Phase {
    /// It waits for its turn.
    Waits,
    /// It is done, in a house with this memory.
    Works(Arc<Joins>),
    /// An error that may pass did not pass.
    StandsStill(String),
    /// It is done; so many of its jobs were given up.
    Over(usize),
}

impl Entry {
    fn is_under_way(&self) -> bool {
        matches!(self.phase, Phase::Waits | Phase::Works(_))
    }

    fn is_waiting(&self, task: &Arc<Task>) -> bool {
        let is_it = self.task.as_ref().is_some_and(|current| Arc::ptr_eq(current, task));
        is_it && matches!(self.phase, Phase::Waits)
    }
}

impl Standings {
    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, run: &RunId, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().get_mut(run) {
            change(entry);
        }
    }

    /// It waits for its turn from now on, whatever was before.
    pub(super) fn wait(&self, task: Arc<Task>) {
        let run = task.run.clone();
        let (task, phase, let_go) = (Some(task), Phase::Waits, CancellationToken::new());
        self.lock().insert(run, Entry { task, phase, heard: Heard::default(), let_go });
    }

    /// Its turn has come. False where it was cancelled meanwhile, or another task has taken its place.
    pub(super) fn work(&self, task: &Arc<Task>, joins: Arc<Joins>) -> bool {
        let mut all = self.lock();
        let Some(entry) = all.get_mut(&task.run).filter(|entry| entry.is_waiting(task)) else { return false };
        entry.phase = Phase::Works(joins);
        true
    }

    /// Whether it is still this task that waits.
    pub(super) fn is_waiting(&self, task: &Arc<Task>) -> bool {
        self.lock().get(&task.run).is_some_and(|entry| entry.is_waiting(task))
    }

    pub(super) fn stand_still(&self, run: &RunId, why: String) {
        self.change(run, |entry| {
            entry.phase = Phase::StandsStill(why);
            entry.let_go.cancel();
        });
    }

    /// It is done. What could be done again is kept where jobs were given up.
    pub(super) fn end(&self, run: &RunId, given_up: usize) {
        self.change(run, |entry| {
            entry.phase = Phase::Over(given_up);
            entry.let_go.cancel();
            entry.task = entry.task.take().filter(|_| given_up > 0);
        });
    }

    /// One that was done before this process began, with jobs that were given up.
    pub(super) fn was_done(&self, task: Arc<Task>, given_up: usize) {
        let run = task.run.clone();
        self.wait(task);
        self.end(&run, given_up);
    }

    /// Forgets it; what it was.
    pub(super) fn forget(&self, run: &RunId) -> Option<Arc<Task>> {
        let entry = self.lock().remove(run)?;
        entry.let_go.cancel();
        entry.task
    }

    /// Forgets one that waits or stands still; what it was.
    pub(super) fn forget_open(&self, run: &RunId) -> Option<Arc<Task>> {
        let is_open = |entry: &Entry| matches!(entry.phase, Phase::Waits | Phase::StandsStill(_));
        if !self.lock().get(run).is_some_and(is_open) {
            return None;
        }
        self.forget(run)
    }

    /// Forgets one that is done with jobs that were given up: what it was, and how many.
    pub(super) fn forget_over(&self, run: &RunId) -> Option<(Arc<Task>, usize)> {
        let mut all = self.lock();
        let Phase::Over(given_up) = all.get(run)?.phase else { return None };
        let task = all.get(run)?.task.clone()?;
        all.remove(run);
        Some((task, given_up))
    }

    /// What can be done again of it now.
    pub(super) fn to_replay(&self, run: &RunId) -> Option<Arc<Task>> {
        let all = self.lock();
        let entry = all.get(run).filter(|entry| !entry.is_under_way())?;
        entry.task.clone()
    }

    pub(super) fn is_under_way(&self, run: &RunId) -> bool {
        self.lock().get(run).is_some_and(Entry::is_under_way)
    }

    /// The memory of the house in which it is done now, and what is cancelled when that lets go of it.
    pub(super) fn in_hand(&self, run: &RunId) -> Option<(Arc<Joins>, CancellationToken)> {
        let all = self.lock();
        let entry = all.get(run)?;
        match &entry.phase {
            Phase::Works(joins) => Some((joins.clone(), entry.let_go.clone())),
            _ => None,
        }
    }

    /// A training that is not over.
    pub(super) fn training(&self) -> Option<RunId> {
        let all = self.lock();
        let mut under_way = all.values().filter(|entry| entry.is_under_way());
        under_way.find_map(|entry| entry.task.as_ref().filter(|task| task.is_training).map(|t| t.run.clone()))
    }

    /// Takes note of what a job tells.
    pub(super) fn hear(&self, run: &RunId, progress: ProgressEvent) {
        self.change(run, |entry| entry.heard.hear(progress));
    }

    pub(super) fn heard(&self, run: &RunId) -> Vec<EpochMetrics> {
        self.lock().get(run).map(|entry| entry.heard.epochs.clone()).unwrap_or_default()
    }

    pub(super) fn of(&self, run: &RunId) -> Standing {
        let all = self.lock();
        let Some(entry) = all.get(run) else { return Standing::default() };
        Standing {
            waits: matches!(entry.phase, Phase::Waits),
            stands_still: match &entry.phase {
                Phase::StandsStill(why) => Some(why.clone()),
                _ => None,
            },
            tried_again: entry.heard.tried_again,
            can_replay: !entry.is_under_way() && entry.task.is_some(),
        }
    }
}
