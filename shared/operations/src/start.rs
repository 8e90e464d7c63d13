//! A run is started: its manifest first, then the first job of each chunk. Doing so twice is harmless.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use modiolus_broker::{Broker, Letter};
use modiolus_pipeline::job::Wanted;
use modiolus_pipeline::job::ingest::{Delivery, ListedFile, Submission};
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Envelope, Fetched, Message, ObjectKey, Read, RunId, Scope};
use modiolus_runtime::{Joins, RunOutcome};
use modiolus_store::{ObjectStore, Puts};

use crate::chunks::{self, Chunks};
use crate::objects;

/// Writes a run's manifest and publishes the first job (`first`, in the order of the manifest's chunks) of each chunk whose
/// first job has not ended yet; of a run that was cancelled, of each chunk that is not done, from which all else follows. The
/// outcome, if the run is done already.
pub async fn start(
    store: &dyn ObjectStore,
    broker: &dyn Broker,
    joins: &Joins,
    run: &RunId,
    manifest: &RunManifest,
    first: Vec<Message>,
) -> Result<Option<RunOutcome>> {
    let key = ObjectKey::Run(run.clone());
    let begun = match objects::json_if_there::<RunManifest>(store, key.clone()).await? {
        Some(before) if before != *manifest => {
            bail!("{run} exists with other files or options: give this one another name with --name")
        }
        before => before.is_some(),
    };
    let reopened = joins.reopen(run).await?;
    if let Some(outcome) = joins.outcome(run).await? {
        return Ok(Some(outcome));
    }
    if !begun {
        store.put(key, serde_json::to_vec(manifest)?.into()).await?;
    }
    let all = (0u32..).zip(first);
    let letters: Vec<_> = match &reopened {
        Some(open) => all.filter(|(chunk, _)| open.contains(chunk)).map(|first| letter(run, first)).collect(),
        None if begun => letters(store, run, all.collect()).await?,
        None => all.map(|first| letter(run, first)).collect(),
    };
    if letters.is_empty() {
        return Ok(joins.sweep(run).await?);
    }
    broker.publish_all(letters).await?;
    if reopened.is_some() {
        joins.reopened(run).await?;
    }
    Ok(None)
}

fn letter(run: &RunId, (chunk, message): (u32, Message)) -> (Queue, Letter) {
    let scope = Scope { run: run.clone(), chunk };
    (Queue::Work(message.stage), Letter::new(Envelope::new(scope, message).encode()))
}

/// Cancels a run: what is not done yet is not begun any more. How it ended. Started again, it goes on.
///
/// # Errors
/// When there is no such run, it is done already, or the store fails.
pub async fn cancel(joins: &Joins, run: &RunId) -> Result<RunOutcome> {
    let outcome = joins.cancel(run).await?;
    let outcome = outcome.with_context(|| format!("there is no run {run}, or none that was started"))?;
    if !outcome.is_cancelled() {
        bail!("{run} is done already: nothing is left to cancel");
    }
    Ok(outcome)
}

/// A run of a delivery that can be started.
pub struct Ready {
    /// What it is called.
    pub run: RunId,
    /// What it is.
    pub manifest: RunManifest,
    /// The first job of each chunk.
    pub first: Vec<Message>,
    listings: Puts,
    submission: Submission,
}

impl Ready {
    /// A run of files (ordered as people see them) that lie so in `incoming`, under a name that follows from them and from
    /// what is wanted, unless it is given one.
    pub fn new(files: Vec<ListedFile>, wanted: Wanted, delivery: Delivery, name: Option<RunId>) -> Self {
        let count = files.len() as u64;
        let chunks = Chunks::of(files, &wanted, &delivery);
        Self {
            run: name.unwrap_or_else(|| RunId::derived(&chunks.digest())),
            manifest: RunManifest { wanted: Some(wanted), chunks: chunks::ids(&chunks.first) },
            first: chunks.first,
            listings: chunks.listings,
            submission: Submission {
                delivery,
                files: count,
                submitted: now(),
                folders: chunks.folders,
                removed: None,
            },
        }
    }

    /// Writes down what was submitted, so that the run is listed, and what its first jobs read.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note(&self, store: &dyn ObjectStore) -> Result<()> {
        store.put_many(self.listings.clone()).await?;
        note(store, &self.run, self.submission.clone(), &self.manifest).await
    }
}

/// Writes down what was submitted, unless the run is there already: then it was written before.
///
/// # Errors
/// When the store fails.
async fn note(
    store: &dyn ObjectStore,
    run: &RunId,
    submission: Submission,
    manifest: &RunManifest,
) -> Result<()> {
    let before: Option<RunManifest> = objects::json_if_there(store, ObjectKey::Run(run.clone())).await?;
    if before.is_some_and(|before| before != *manifest) {
        // It is refused when it is started; what is written of the other must stay.
        return Ok(());
    }
    let key = ObjectKey::Submission(run.clone());
    let before: Option<Submission> = objects::json_if_there(store, key.clone()).await?;
    let submitted = before.map_or(submission.submitted, |before| before.submitted);
    let json = serde_json::to_vec(&Submission { submitted, ..submission })?;
    store.put(key, json.into()).await.context("the submission can't be written")
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The letters of a run that was begun before: those of chunks whose first job may never have been published.
async fn letters(
    store: &dyn ObjectStore,
    run: &RunId,
    first: Vec<(u32, Message)>,
) -> Result<Vec<(Queue, Letter)>> {
    let marker = |(chunk, message): &(u32, Message)| {
        Read::first(ObjectKey::Marker(run.clone(), *chunk, message.id.clone()), 0)
    };
    let ended = store.get_many(&first.iter().map(marker).collect::<Vec<_>>()).await;
    let mut letters = Vec::new();
    for (first, ended) in first.into_iter().zip(ended) {
        if ended? == Fetched::Missing {
            letters.push(letter(run, first));
        }
    }
    Ok(letters)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use modiolus_broker::InProcess;
    use modiolus_pipeline::job::ingest::IngestJob;
    use modiolus_pipeline::{Digest, JobId, Marker, Outcome, Plane, StageName};
    use modiolus_store::MemoryStore;

    use super::*;

    fn run() -> (RunId, RunManifest, Vec<Message>) {
        let wanted = Wanted { plane: Plane::CORONAL, model: None };
        let job = |name: &str| IngestJob { listing: Digest::of(name), wanted: wanted.clone() };
        let first = ["a", "b"].map(|name| Message::new(&job(name))).to_vec();
        let manifest = RunManifest { wanted: Some(wanted.clone()), chunks: chunks::ids(&first) };
        ("r-1".parse().unwrap(), manifest, first)
    }

    #[tokio::test]
    async fn a_run_that_was_begun_gets_only_the_jobs_that_may_be_missing() {
        let (store, broker) = (Arc::new(MemoryStore::new()), Arc::new(InProcess::new()));
        let joins = Joins::new(store.clone(), broker.clone());
        let (run, manifest, first) = run();
        let start = || start(&*store, &*broker, &joins, &run, &manifest, first.clone());
        assert_eq!(start().await.unwrap(), None);
        let queue = Queue::Work(StageName::Ingest);
        assert_eq!(broker.waiting(queue), 2);

        let done = serde_json::to_vec(&Marker { outcome: Outcome::Done, followers: vec![] }).unwrap();
        let marker = |chunk: u32| ObjectKey::Marker(run.clone(), chunk, first[chunk as usize].id.clone());
        store.put(marker(0), done.clone().into()).await.unwrap();
        assert_eq!(start().await.unwrap(), None);
        assert_eq!(broker.waiting(queue), 3, "the first chunk's job has ended");
        store.put(marker(1), done.into()).await.unwrap();
        assert_eq!(start().await.unwrap(), Some(RunOutcome::default()), "nobody had said that it is done");
        assert_eq!(broker.waiting(queue), 3);
    }

    #[tokio::test]
    async fn a_cancelled_run_that_is_started_again_gets_the_first_jobs_of_all_chunks_that_are_not_done() {
        let (store, broker) = (Arc::new(MemoryStore::new()), Arc::new(InProcess::new()));
        let joins = Joins::new(store.clone(), broker.clone());
        let (run, manifest, first) = run();
        let start = || start(&*store, &*broker, &joins, &run, &manifest, first.clone());
        start().await.unwrap();
        let end = async |followers: Vec<JobId>| {
            let (scope, job) = (Scope { run: run.clone(), chunk: 0 }, &first[0].id);
            let marker = Marker { outcome: Outcome::Done, followers };
            let json = serde_json::to_vec(&marker).unwrap();
            store.put(ObjectKey::Marker(run.clone(), 0, job.clone()), json.into()).await.unwrap();
            joins.ended(&scope, job, marker).await.unwrap();
        };
        end(vec!["filter-1".parse().unwrap()]).await;
        assert!(cancel(&joins, &run).await.unwrap().is_cancelled());
        assert_eq!(start().await.unwrap(), None);
        assert_eq!(
            broker.waiting(Queue::Work(StageName::Ingest)),
            4,
            "what follows is published by the first"
        );
        assert_eq!(joins.is_cancelled(&run).await, Ok(false));
        assert_eq!(start().await.unwrap(), None);
        assert_eq!(broker.waiting(Queue::Work(StageName::Ingest)), 5, "the second chunk's has not ended");
    }

    #[tokio::test]
    async fn only_a_run_that_is_not_done_can_be_cancelled() {
        let (store, broker) = (Arc::new(MemoryStore::new()), Arc::new(InProcess::new()));
        let joins = Joins::new(store.clone(), broker.clone());
        let (run, manifest, _) = run();
        let error = cancel(&joins, &run).await.unwrap_err();
        assert!(error.to_string().contains("no run r-1"), "{error}");
        let none = RunManifest { chunks: vec![], ..manifest };
        start(&*store, &*broker, &joins, &run, &none, vec![]).await.unwrap();
        let error = cancel(&joins, &run).await.unwrap_err();
        assert!(error.to_string().contains("done already"), "{error}");
    }

    #[tokio::test]
    async fn a_name_is_not_given_to_two_runs() {
        let (store, broker) = (Arc::new(MemoryStore::new()), Arc::new(InProcess::new()));
        let joins = Joins::new(store.clone(), broker.clone());
        let (run, manifest, first) = run();
        start(&*store, &*broker, &joins, &run, &manifest, first).await.unwrap();
        let other = RunManifest { wanted: manifest.wanted, chunks: vec![] };
        let error = start(&*store, &*broker, &joins, &run, &other, vec![]).await.unwrap_err();
        assert!(error.to_string().contains("--name"), "{error}");
    }
}
