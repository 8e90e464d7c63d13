use async_trait::async_trait;
use futures::future::join_all;
use modiolus_pipeline::job::ingest::Delivery;
use modiolus_pipeline::join::Output;
use modiolus_pipeline::{Fetched, JobId, Marker, Outcome, Read};
use modiolus_store::{MemoryStore, Puts, StoreError};
use tokio::time::advance;

use super::*;

/// A store that notes what is asked of it.
#[derive(Default)]
struct Watched {
    store: MemoryStore,
    reads: Mutex<Vec<ObjectKey>>,
}

impl Watched {
    /// The chunks whose markers were read since this was asked last, and how many reads there were in all.
    fn taken(&self) -> (Vec<u32>, usize) {
        let reads = std::mem::take(&mut *lock(&self.reads));
        let chunk = |key: &ObjectKey| match key {
            ObjectKey::Marker(_, chunk, _) => Some(*chunk),
            _ => None,
        };
        (reads.iter().filter_map(chunk).collect(), reads.len())
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn get_many(&self, reads: &[Read]) -> Vec<Result<Fetched, StoreError>> {
        lock(&self.reads).extend(reads.iter().map(|read| read.key.clone()));
        // As a store on another machine would, it lets others go on meanwhile.
        tokio::task::yield_now().await;
        self.store.get_many(reads).await
    }

    async fn put_in_order(&self, steps: Vec<Puts>) -> Result<(), StoreError> {
        self.store.put_in_order(steps).await
    }

    async fn list(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.store.list(bucket, prefix).await
    }

    async fn length(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError> {
        self.store.length(key).await
    }

    async fn verify(&self, outputs: &[Output]) -> Result<bool, StoreError> {
        self.store.verify(outputs).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.store.delete(key).await
    }
}

fn job(chunk: u32) -> JobId {
    format!("ingest-{chunk}").parse().unwrap()
}

async fn put(store: &Watched, key: ObjectKey, value: &impl serde::Serialize) {
    store.put(key, serde_json::to_vec(value).unwrap().into()).await.unwrap();
}

/// A run of three chunks that nobody has worked on yet.
async fn begun(store: &Watched) -> RunId {
    let run: RunId = "r-1".parse().unwrap();
    let manifest = RunManifest { wanted: None, chunks: (0..3).map(job).collect() };
    let submission = Submission {
        delivery: Delivery::Uploaded,
        files: 3,
        submitted: 7,
        folders: vec!["207".into()],
        removed: None,
    };
    put(store, ObjectKey::Run(run.clone()), &manifest).await;
    put(store, ObjectKey::Submission(run.clone()), &submission).await;
    run
}

#[tokio::test(start_paused = true)]
async fn many_who_watch_a_run_cost_no_more_than_one_and_only_changed_chunks_are_read_again() {
    let store = Arc::new(Watched::default());
    let run = begun(&store).await;
    let catalogue = Catalogue::new(store.clone());
    let all = || join_all((0..50).map(|_| catalogue.run(&run)));
    all().await;
    let (chunks, once) = store.taken();
    assert_eq!(chunks, [0, 1, 2], "once, and not by each of them");

    advance(FRESH).await;
    all().await;
    let (chunks, reads) = store.taken();
    assert!(chunks.is_empty() && reads < once, "{chunks:?} {reads}");

    let failed = Outcome::Failed { code: "object-missing".into(), message: "it is gone".into() };
    let marker = Marker { outcome: failed, followers: vec![] };
    put(&store, ObjectKey::Marker(run.clone(), 1, job(1)), &marker).await;
    assert!(catalogue.run(&run).await.unwrap().unwrap().chunks[1].failed.is_empty(), "still fresh");
    for _ in 0..2 {
        advance(FRESH).await;
        let found = catalogue.run(&run).await.unwrap().unwrap();
        assert_eq!(found.chunks[1].failed.len(), 1);
        assert_eq!(store.taken().0, [1], "a job that was given up may be done again");
    }
}

#[tokio::test]
async fn when_a_run_was_submitted_is_read_once() {
    let store = Arc::new(Watched::default());
    let run = begun(&store).await;
    let catalogue = Catalogue::new(store.clone());
    for reads in [1, 0, 0] {
        assert_eq!(catalogue.runs().await.unwrap(), std::slice::from_ref(&run));
        assert_eq!(store.taken().1, reads);
    }
}
