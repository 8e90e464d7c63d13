use futures::future::join_all;
use modiolus_pipeline::job::ingest::Delivery;
use modiolus_pipeline::{JobId, Marker, Outcome};
use tokio::time::advance;

use super::*;
use crate::watched_store::WatchedStore;

/// The chunks whose markers were read since this was asked last, and how many reads there were in all.
fn taken(store: &WatchedStore) -> (Vec<u32>, usize) {
    let reads = store.take_reads();
    let chunk = |key: &ObjectKey| match key {
        ObjectKey::Marker(_, chunk, _) => Some(*chunk),
        _ => None,
    };
    (reads.iter().filter_map(chunk).collect(), reads.len())
}

fn job(chunk: u32) -> JobId {
    format!("ingest-{chunk}").parse().unwrap()
}

async fn put(store: &WatchedStore, key: ObjectKey, value: &impl serde::Serialize) {
    store.put(key, serde_json::to_vec(value).unwrap().into()).await.unwrap();
}

/// A run of three chunks that nobody has worked on yet.
async fn begun(store: &WatchedStore) -> RunId {
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
    let store = Arc::new(WatchedStore::default());
    let run = begun(&store).await;
    let catalogue = Catalogue::new(store.clone());
    let all = || join_all((0..50).map(|_| catalogue.run(&run)));
    all().await;
    let (chunks, once) = taken(&store);
    assert_eq!(chunks, [0, 1, 2], "once, and not by each of them");

    advance(FRESH).await;
    all().await;
    let (chunks, reads) = taken(&store);
    assert!(chunks.is_empty() && reads < once, "{chunks:?} {reads}");

    let failed = Outcome::Failed { code: "object-missing".into(), message: "it is gone".into() };
    let marker = Marker { outcome: failed, followers: vec![] };
    put(&store, ObjectKey::Marker(run.clone(), 1, job(1)), &marker).await;
    assert!(catalogue.run(&run).await.unwrap().unwrap().chunks[1].failed.is_empty(), "still fresh");
    for _ in 0..2 {
        advance(FRESH).await;
        let found = catalogue.run(&run).await.unwrap().unwrap();
        assert_eq!(found.chunks[1].failed.len(), 1);
        assert_eq!(taken(&store).0, [1], "a job that was given up may be done again");
    }
}

#[tokio::test]
async fn when_a_run_was_submitted_is_read_once() {
    let store = Arc::new(WatchedStore::default());
    let run = begun(&store).await;
    let catalogue = Catalogue::new(store.clone());
    for reads in [1, 0, 0] {
        assert_eq!(catalogue.runs().await.unwrap(), std::slice::from_ref(&run));
        assert_eq!(taken(&store).1, reads);
    }
}
