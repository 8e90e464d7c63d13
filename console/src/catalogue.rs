//! What a run has found so far, gathered from the objects that its jobs left: nothing else says it.

mod chunk;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures::stream::{StreamExt, TryStreamExt, iter};
use modiolus_operations::names::Stems;
use modiolus_operations::objects;
use modiolus_operations::runs::{RunState, State, ended_jobs};
use modiolus_pipeline::job::ingest::Submission;
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::key::SUBMISSIONS_PREFIX;
use modiolus_pipeline::{Bucket, ModelVersion, ObjectKey, PatientKey, Reason, RunId, SliceId};
use modiolus_store::ObjectStore;
use tokio::time::Instant;

pub use chunk::{Chunk, Found, GivenUp, Measured, Reached};

/// How many chunks are read at once.
const AT_A_TIME: usize = 8;

/// How many runs are remembered.
const RUNS_KEPT: usize = 64;

/// For how long what was read of a run is good enough: many who watch it cost no more than one.
const FRESH: Duration = Duration::from_millis(500);

/// Reads runs, and remembers what can't change any more.
pub struct Catalogue {
    store: Arc<dyn ObjectStore>,
    runs: Mutex<HashMap<RunId, Arc<Seen>>>,
    chunks: Mutex<HashMap<(RunId, u32), Known>>,
    submitted: Mutex<HashMap<RunId, i64>>,
}

/// A chunk as it was read when its jobs had left so many markers.
#[derive(Clone)]
struct Known {
    markers: usize,
    chunk: Arc<Chunk>,
}

/// What was read of a run, and when. Whoever reads it holds the lock, so that the others wait for what comes of it.
type Seen = tokio::sync::Mutex<Option<(Instant, Arc<Run>)>>;

/// A run as far as it is.
pub struct Run {
    /// What the store says of it as a whole.
    pub state: RunState,
    /// Its chunks.
    pub chunks: Vec<Arc<Chunk>>,
    /// Its slices, ordered by patient and then along the patient.
    pub slices: Vec<Slice>,
}

/// A kept slice.
#[derive(Debug, Clone)]
pub struct Slice {
    /// What was found.
    pub found: Found,
    /// Its name beside its patient's: the stem of its file, as in a run's output.
    pub name: String,
}

impl Catalogue {
    /// A catalogue of this store.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, runs: Mutex::default(), chunks: Mutex::default(), submitted: Mutex::default() }
    }

    /// All runs that were submitted, the latest first. Trainings are none.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn runs(&self) -> Result<Vec<RunId>> {
        let paths = self.store.list(Bucket::Incoming, SUBMISSIONS_PREFIX).await?;
        let names =
            paths.iter().filter_map(|path| path.strip_prefix(SUBMISSIONS_PREFIX)?.strip_suffix(".json"));
        let runs: Vec<RunId> = names.filter_map(|name| name.parse().ok()).collect();
        let dated: Vec<_> = runs.iter().map(|run| self.submitted(run)).collect();
        let dates: Vec<Option<i64>> = iter(dated).buffered(AT_A_TIME).try_collect().await?;
        let mut dated: Vec<_> = dates.into_iter().zip(runs).collect();
        dated.sort();
        Ok(dated.into_iter().rev().map(|(_, run)| run).collect())
    }

    /// When a run was submitted first, which never changes.
    async fn submitted(&self, run: &RunId) -> Result<Option<i64>> {
        let known = lock(&self.submitted).get(run).copied();
        if known.is_some() {
            return Ok(known);
        }
        let submission: Option<Submission> =
            objects::json_if_there(&*self.store, ObjectKey::Submission(run.clone())).await?;
        let submitted = submission.map(|submission| submission.submitted);
        lock(&self.submitted).extend(submitted.map(|submitted| (run.clone(), submitted)));
        Ok(submitted)
    }

    /// A run, `None` where there is no such run.
    ///
    /// # Errors
    /// When the store can't be read, or an object in it is damaged.
    pub async fn run(&self, run: &RunId) -> Result<Option<Arc<Run>>> {
        let seen = self.seen(run);
        let mut seen = seen.lock().await;
        if let Some((at, known)) = &mut *seen {
            if at.elapsed() < FRESH {
                return Ok(Some(known.clone()));
            }
            if known.is_settled() && self.is_done(run).await? {
                *at = Instant::now();
                return Ok(Some(known.clone()));
            }
        }
        let found = self.read(run).await?.map(Arc::new);
        *seen = found.clone().map(|found| (Instant::now(), found));
        Ok(found)
    }

    fn seen(&self, run: &RunId) -> Arc<Seen> {
        let mut runs = lock(&self.runs);
        if runs.len() >= RUNS_KEPT && !runs.contains_key(run) {
            runs.clear();
        }
        runs.entry(run.clone()).or_default().clone()
    }

    /// Whether the store says that a run is done.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn is_done(&self, run: &RunId) -> Result<bool> {
        Ok(self.store.length(&ObjectKey::RunDone(run.clone())).await?.is_some())
    }

    async fn read(&self, run: &RunId) -> Result<Option<Run>> {
        let manifest: Option<RunManifest> =
            objects::json_if_there(&*self.store, ObjectKey::Run(run.clone())).await?;
        let Some(state) = RunState::read(&*self.store, run).await? else { return Ok(None) };
        let chunks = match &manifest {
            Some(manifest) => self.chunks(run, manifest).await?,
            None => Vec::new(),
        };
        let slices = named(&chunks);
        let found = Run { state, chunks, slices };
        if found.is_settled() {
            // It is remembered as a whole from now on.
            lock(&self.chunks).retain(|(of, _), _| of != run);
        }
        Ok(Some(found))
    }

    /// The chunks of a run. One whose jobs have left no more markers than when it was read is as it was then, unless one of its
    /// jobs was given up and may be done again.
    async fn chunks(&self, run: &RunId, manifest: &RunManifest) -> Result<Vec<Arc<Chunk>>> {
        let mut markers = HashMap::<u32, usize>::new();
        for (chunk, _, _) in ended_jobs(&*self.store, run).await? {
            *markers.entry(chunk).or_default() += 1;
        }
        let model = manifest.wanted.as_ref().and_then(|wanted| wanted.model.as_ref());
        let chunks = (0u32..).zip(&manifest.chunks).map(|(chunk, first)| {
            let ended = markers.get(&chunk).copied().unwrap_or(0);
            async move {
                let key = (run.clone(), chunk);
                let known = lock(&self.chunks).get(&key).cloned();
                let is_same = |known: &Known| known.markers == ended && known.chunk.failed.is_empty();
                if let Some(known) = known.filter(is_same) {
                    return Ok(known.chunk);
                }
                let found = Arc::new(Chunk::read(&*self.store, run, chunk, first, model).await?);
                lock(&self.chunks).insert(key, Known { markers: ended, chunk: found.clone() });
                anyhow::Ok(found)
            }
        });
        let chunks: Vec<_> = chunks.collect();
        iter(chunks).buffered(AT_A_TIME).try_collect().await
    }

    /// Forgets what it knows of a run with which something else happens now.
    pub fn forget(&self, run: &RunId) {
        lock(&self.runs).remove(run);
        lock(&self.chunks).retain(|(of, _), _| of != run);
    }

    /// The run that has this slice: the one that is asked for, else the latest.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn with_slice(
        &self,
        wanted: Option<&RunId>,
        patient: &PatientKey,
        slice: &SliceId,
    ) -> Result<Option<(Arc<Run>, usize)>> {
        let runs = match wanted {
            Some(run) => vec![run.clone()],
            None => self.runs().await?,
        };
        for run in runs {
            let Some(run) = self.run(&run).await? else { continue };
            let position = run.slices.iter().position(|one| one.found.is(patient, slice));
            if let Some(position) = position {
                return Ok(Some((run, position)));
            }
        }
        Ok(None)
    }
}

impl Run {
    /// The model that draws its masks.
    pub fn model(&self) -> Option<&ModelVersion> {
        self.state.model.as_ref()
    }

    /// Whether it is done, and nothing of it can be done again.
    pub fn is_settled(&self) -> bool {
        self.state.state == State::Done && self.state.failed.is_empty()
    }

    /// Its patients, in order.
    pub fn patients(&self) -> Vec<&PatientKey> {
        let mut patients: Vec<_> = self.slices.iter().map(|slice| &slice.found.patient).collect();
        patients.dedup();
        patients
    }

    /// How many files were refused, by reason.
    pub fn refused(&self) -> BTreeMap<Reason, usize> {
        let mut all = BTreeMap::new();
        for (reason, files) in self.chunks.iter().flat_map(|chunk| &chunk.refused) {
            *all.entry(*reason).or_default() += files;
        }
        all
    }

    /// How many files have their verdict.
    pub fn files_done(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.files_done).sum()
    }
}

/// Gives the slices of all chunks their names, as a run's output has them, and orders them.
fn named(chunks: &[Arc<Chunk>]) -> Vec<Slice> {
    let mut found: Vec<&Found> = chunks.iter().flat_map(|chunk| &chunk.slices).collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let mut stems = Stems::default();
    let mut slices: Vec<Slice> = found
        .into_iter()
        .map(|found| Slice {
            name: stems.next(found.patient.as_str(), found.stem.clone()),
            found: found.clone(),
        })
        .collect();
    slices.sort_by(|a, b| {
        let along = |slice: &Slice| slice.found.along_mm.unwrap_or(f64::MAX);
        a.found
            .patient
            .cmp(&b.found.patient)
            .then(along(a).total_cmp(&along(b)))
            .then_with(|| a.name.cmp(&b.name))
    });
    slices
}

/// A lock that somebody held when they panicked still guards a map that is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
