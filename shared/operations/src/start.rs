//! A run is started: its manifest first, then the first job of each chunk. Doing so twice is harmless.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use modiolus_broker::{Broker, Letter};
use modiolus_pipeline::job::ingest::Submission;
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Envelope, Fetched, Message, ObjectKey, Read, RunId, Scope};
use modiolus_runtime::{Joins, RunOutcome};
use modiolus_store::ObjectStore;

use crate::objects;

/// Writes a run's manifest and publishes the first job (`first`, in the order of the manifest's chunks) of each chunk whose
/// first job has not ended yet. The outcome, if the run is done already.
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
    if let Some(outcome) = joins.outcome(run).await? {
        return Ok(Some(outcome));
    }
    if !begun {
        store.put(key, serde_json::to_vec(manifest)?.into()).await?;
    }
    let letters = letters(store, run, first, begun).await?;
    if letters.is_empty() {
        return Ok(joins.sweep(run).await?);
    }
    broker.publish_all(letters).await?;
    Ok(None)
}

/// Writes down what was submitted, unless the run is there already: then it was written before.
///
/// # Errors
/// When the store fails.
pub async fn note(
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
    first: Vec<Message>,
    begun: bool,
) -> Result<Vec<(Queue, Letter)>> {
    let marker = |(chunk, message): (u32, &Message)| {
        Read::first(ObjectKey::Marker(run.clone(), chunk, message.id.clone()), 0)
    };
    let ended = match begun {
        true => store.get_many(&(0..).zip(&first).map(marker).collect::<Vec<_>>()).await,
        false => first.iter().map(|_| Ok(Fetched::Missing)).collect(),
    };
    let mut letters = Vec::new();
    for ((chunk, message), ended) in (0..).zip(first).zip(ended) {
        if ended? == Fetched::Missing {
            let queue = Queue::Work(message.stage);
            letters.push((
                queue,
                Letter::new(Envelope::new(Scope { run: run.clone(), chunk }, message).encode()),
            ));
        }
    }
    Ok(letters)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use modiolus_broker::InProcess;
    use modiolus_pipeline::job::Wanted;
    use modiolus_pipeline::job::ingest::IngestJob;
    use modiolus_pipeline::{Digest, Marker, Outcome, Plane, StageName};
    use modiolus_store::MemoryStore;

    use super::*;
    use crate::chunks;

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
