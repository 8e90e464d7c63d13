//! The files of a delivery that lie in `incoming` as they were uploaded: identity is in them, and once their run has ended nothing
//! reads them any more. What was kept of them is in `scans`.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result};
use futures::stream::{StreamExt, TryStreamExt, iter};
use modiolus_pipeline::job::ingest::{Delivery, IngestJob, Listing, Submission};
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::key::SUBMISSIONS_PREFIX;
use modiolus_pipeline::{Bucket, Digest, JobId, Message, ObjectKey, RunId};
use modiolus_store::ObjectStore;
use serde::Serialize;

use crate::objects;
use crate::runs::end;
use crate::start::now;

/// How many objects are looked at or removed at once.
const AT_ONCE: usize = 32;

/// Where the listings lie in `incoming`.
const LISTINGS_PREFIX: &str = "listings/";

/// What was uploaded for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Uploaded {
    /// How many files.
    pub files: u64,
    /// When they were removed, in seconds since 1970; `None` while they are there.
    pub removed: Option<i64>,
}

impl Uploaded {
    /// What a submission says of it; `None` where Modiolus has uploaded nothing: the files are somebody else's to remove.
    pub fn of(submission: &Submission) -> Option<Self> {
        let is_ours = submission.delivery == Delivery::Uploaded;
        is_ours.then_some(Self { files: submission.files, removed: submission.removed })
    }
}

/// Why a run's files stay where they are, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stay {
    /// They were not uploaded by Modiolus.
    #[error("Modiolus has not uploaded its files: whoever put them there removes them")]
    NotOurs,
    /// The run has not ended.
    #[error("it is under way and needs its files: wait for its end, or cancel it")]
    Needed,
}

/// Removes a run's files that no other run that is under way needs; how many these are. Their names, which the run's tables need, stay.
/// Submitted again, the same files are uploaded again.
///
/// # Errors
/// [`Stay`]; when the store fails: doing it again goes on.
pub async fn remove(store: &dyn ObjectStore, run: &RunId) -> Result<usize> {
    let key = ObjectKey::Submission(run.clone());
    let submission: Submission = objects::json(store, key.clone()).await?;
    if submission.delivery != Delivery::Uploaded {
        return Err(Stay::NotOurs.into());
    }
    if end(store, run).await?.1.is_none() {
        return Err(Stay::Needed.into());
    }
    let listings = Listings::read(store).await?;
    let needed = needed_by_others(store, run, &listings).await?;
    let files = listings.files(store, run).await?;
    let removed: Vec<ObjectKey> =
        files.into_iter().filter(|path| !needed.contains(path)).map(ObjectKey::Scan).collect();
    let removing: Vec<_> = removed.iter().map(|key| store.delete(key)).collect();
    iter(removing).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let submission = Submission { removed: Some(now()), ..submission };
    store.put(key, serde_json::to_vec(&submission)?.into()).await?;
    Ok(removed.len())
}

/// The files of all other runs that have begun and not ended. One that has not begun uploads what is missing before it begins.
async fn needed_by_others(
    store: &dyn ObjectStore,
    run: &RunId,
    listings: &Listings,
) -> Result<HashSet<String>> {
    let mut needed = HashSet::new();
    for path in store.list(Bucket::Incoming, SUBMISSIONS_PREFIX).await? {
        let name = path.strip_prefix(SUBMISSIONS_PREFIX).and_then(|name| name.strip_suffix(".json"));
        let Some(other) = name.and_then(|name| name.parse::<RunId>().ok()) else { continue };
        if other != *run && end(store, &other).await?.1.is_none() {
            needed.extend(listings.files(store, &other).await?);
        }
    }
    Ok(needed)
}

/// All listings of files in a store.
struct Listings(Vec<Digest>);

impl Listings {
    async fn read(store: &dyn ObjectStore) -> Result<Self> {
        let paths = store.list(Bucket::Incoming, LISTINGS_PREFIX).await?;
        let digest = |path: &String| path.strip_prefix(LISTINGS_PREFIX)?.strip_suffix(".json")?.parse().ok();
        Ok(Self(paths.iter().filter_map(digest).collect()))
    }

    /// The paths of a run's files, none of one that has not begun. Its listings are those whose ingest jobs its chunks begin with:
    /// a job is named by all that it says.
    async fn files(&self, store: &dyn ObjectStore, run: &RunId) -> Result<Vec<String>> {
        let manifest: Option<RunManifest> =
            objects::json_if_there(store, ObjectKey::Run(run.clone())).await?;
        let Some(RunManifest { wanted: Some(wanted), chunks }) = manifest else { return Ok(Vec::new()) };
        let id = |listing: &Digest| Message::new(&IngestJob { listing: *listing, wanted: wanted.clone() }).id;
        let by_job: HashMap<JobId, Digest> = self.0.iter().map(|listing| (id(listing), *listing)).collect();
        let own = chunks.iter().filter_map(|chunk| by_job.get(chunk));
        let read: Vec<_> =
            own.map(|listing| objects::json::<Listing>(store, ObjectKey::Listing(*listing))).collect();
        let read: Vec<Listing> = iter(read).buffered(AT_ONCE).try_collect().await.context("a listing")?;
        let files = read.into_iter().flat_map(|listing| listing.files);
        Ok(files.filter(|file| file.unreadable.is_none()).map(|file| file.path).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use modiolus_broker::InProcess;
    use modiolus_pipeline::Plane;
    use modiolus_pipeline::job::Wanted;
    use modiolus_pipeline::job::ingest::ListedFile;
    use modiolus_pipeline::key::SCANS_PREFIX;
    use modiolus_runtime::{Joins, RunOutcome};
    use modiolus_store::MemoryStore;

    use super::*;
    use crate::start::{Ready, start};

    /// A run of some files that were uploaded, and has begun.
    async fn begun(store: &Arc<MemoryStore>, plane: Plane, names: &[&str], delivery: Delivery) -> RunId {
        let file = |name: &&str| ListedFile {
            path: format!("{}/207/{name}", Digest::of(name).short(32)),
            length: 3,
            modified: 0,
            start: None,
            unreadable: None,
        };
        let files: Vec<ListedFile> = names.iter().map(file).collect();
        for file in &files {
            store.put(ObjectKey::Scan(file.path.clone()), "DOE".into()).await.unwrap();
        }
        let ready = Ready::new(files, Wanted { plane, model: None }, delivery, None);
        ready.note(&**store).await.unwrap();
        let Ready { run, manifest, first, .. } = ready;
        let broker = Arc::new(InProcess::new());
        let joins = Joins::new(store.clone(), broker.clone());
        start(&**store, &*broker, &joins, &run, &manifest, first).await.unwrap();
        run
    }

    async fn finish(store: &MemoryStore, run: &RunId) {
        let done = serde_json::to_vec(&RunOutcome::default()).unwrap();
        store.put(ObjectKey::RunDone(run.clone()), done.into()).await.unwrap();
    }

    async fn there(store: &MemoryStore) -> usize {
        store.list(Bucket::Incoming, SCANS_PREFIX).await.unwrap().len()
    }

    async fn uploaded(store: &MemoryStore, run: &RunId) -> Option<Uploaded> {
        let key = ObjectKey::Submission(run.clone());
        Uploaded::of(&objects::json(store, key).await.unwrap())
    }

    #[tokio::test]
    async fn files_go_when_their_run_has_ended_and_no_other_one_needs_them() {
        let store = Arc::new(MemoryStore::new());
        let coronal = begun(&store, Plane::CORONAL, &["I1", "I2"], Delivery::Uploaded).await;
        let axial = begun(&store, Plane::AXIAL, &["I2", "I3"], Delivery::Uploaded).await;
        let error = remove(&*store, &coronal).await.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Stay::Needed), "{error}");
        assert_eq!(there(&store).await, 3);

        finish(&store, &coronal).await;
        assert_eq!(uploaded(&store, &coronal).await, Some(Uploaded { files: 2, removed: None }));
        assert_eq!(remove(&*store, &coronal).await.unwrap(), 1, "the other one is needed");
        assert!(uploaded(&store, &coronal).await.unwrap().removed.is_some());
        finish(&store, &axial).await;
        assert_eq!(remove(&*store, &axial).await.unwrap(), 2);
        assert_eq!(there(&store).await, 0);
    }

    #[tokio::test]
    async fn what_somebody_else_has_put_there_stays() {
        let store = Arc::new(MemoryStore::new());
        let delivery = Delivery::Below { prefix: "july".into() };
        let run = begun(&store, Plane::CORONAL, &["I1"], delivery).await;
        finish(&store, &run).await;
        assert_eq!(uploaded(&store, &run).await, None);
        let error = remove(&*store, &run).await.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Stay::NotOurs), "{error}");
        assert_eq!(there(&store).await, 1);
    }

    #[tokio::test]
    async fn a_run_that_is_submitted_again_has_its_files_again() {
        let store = Arc::new(MemoryStore::new());
        let run = begun(&store, Plane::CORONAL, &["I1"], Delivery::Uploaded).await;
        finish(&store, &run).await;
        remove(&*store, &run).await.unwrap();
        assert_eq!(begun(&store, Plane::CORONAL, &["I1"], Delivery::Uploaded).await, run);
        assert_eq!(uploaded(&store, &run).await, Some(Uploaded { files: 1, removed: None }));
    }
}
