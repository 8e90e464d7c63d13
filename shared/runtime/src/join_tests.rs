use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use modiolus_broker::InProcess;
use modiolus_pipeline::join::Output;
use modiolus_pipeline::{Bucket, join};
use modiolus_store::{MemoryStore, Puts};

use super::known::reachable;
use super::*;

/// Counts what is read.
#[derive(Default)]
struct Counting {
    inner: MemoryStore,
    reads: AtomicUsize,
    /// What another process writes just before it is forgotten that a run was cancelled.
    meanwhile: Mutex<Option<(ObjectKey, Bytes)>>,
}

#[async_trait]
impl ObjectStore for Counting {
    async fn get_many(&self, reads: &[Read]) -> Vec<Result<Fetched, StoreError>> {
        self.reads.fetch_add(reads.len(), Ordering::Relaxed);
        self.inner.get_many(reads).await
    }
    async fn put_in_order(&self, steps: Vec<Puts>) -> Result<(), StoreError> {
        self.inner.put_in_order(steps).await
    }
    async fn list(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, StoreError> {
        assert_eq!(prefix, UNFINISHED_PREFIX, "joins need no lists");
        self.inner.list(bucket, prefix).await
    }
    async fn length(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError> {
        self.inner.length(key).await
    }
    async fn verify(&self, outputs: &[Output]) -> Result<bool, StoreError> {
        self.inner.verify(outputs).await
    }
    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let forgets = matches!(key, ObjectKey::RunCancelled(_));
        if let Some((key, bytes)) = forgets.then(|| lock(&self.meanwhile).take()).flatten() {
            self.inner.put(key, bytes).await?;
        }
        self.inner.delete(key).await
    }
}

/// A run of chunks with one first job and three that follow from it.
struct Scene {
    store: Arc<Counting>,
    run: RunId,
    chunks: u32,
}

const LEAVES: u32 = 3;

fn id(text: impl AsRef<str>) -> JobId {
    text.as_ref().parse().unwrap()
}

fn first(chunk: u32) -> JobId {
    id(format!("ingest-{chunk}"))
}

fn leaf(chunk: u32, leaf: u32) -> JobId {
    id(format!("filter-{chunk}-{leaf}"))
}

fn done(followers: Vec<JobId>) -> Marker {
    Marker { outcome: Outcome::Done, followers }
}

fn failed() -> Marker {
    Marker { outcome: Outcome::Failed { code: "bad".into(), message: "it is bad".into() }, followers: vec![] }
}

impl Scene {
    async fn new(chunks: u32) -> Self {
        let scene = Self { store: Arc::default(), run: id_of_run(), chunks };
        let manifest = RunManifest { wanted: None, chunks: (0..chunks).map(first).collect() };
        scene.put(ObjectKey::Run(scene.run.clone()), &manifest).await;
        scene
    }

    fn joins(&self) -> Joins {
        Joins::new(self.store.clone(), Arc::new(InProcess::new()))
    }

    async fn put(&self, key: ObjectKey, value: &impl Serialize) {
        self.store.put(key, serde_json::to_vec(value).unwrap().into()).await.unwrap();
    }

    /// The marker is in the store, but nobody looked.
    async fn mark(&self, chunk: u32, job: &JobId, marker: &Marker) {
        self.put(ObjectKey::Marker(self.run.clone(), chunk, job.clone()), marker).await;
    }

    async fn end(&self, joins: &Joins, chunk: u32, job: JobId, marker: Marker) {
        self.mark(chunk, &job, &marker).await;
        joins.ended(&Scope { run: self.run.clone(), chunk }, &job, marker).await.unwrap();
    }

    async fn mark_all(&self) {
        for chunk in 0..self.chunks {
            self.mark(chunk, &first(chunk), &done((0..LEAVES).map(|n| leaf(chunk, n)).collect())).await;
            for n in 0..LEAVES {
                self.mark(chunk, &leaf(chunk, n), &done(vec![])).await;
            }
        }
    }

    fn reads(&self) -> usize {
        self.store.reads.load(Ordering::Relaxed)
    }
}

fn id_of_run() -> RunId {
    "r-joined".parse().unwrap()
}

#[tokio::test]
async fn the_run_is_done_with_its_last_job_and_not_before() {
    let scene = Scene::new(2).await;
    let joins = scene.joins();
    for chunk in 0..2 {
        scene.end(&joins, chunk, first(chunk), done(vec![leaf(chunk, 0), leaf(chunk, 1)])).await;
        scene.end(&joins, chunk, leaf(chunk, 0), done(vec![])).await;
    }
    scene.end(&joins, 1, leaf(1, 1), failed()).await;
    assert_eq!(joins.outcome(&scene.run).await, Ok(None));
    assert_eq!(scene.store.length(&ObjectKey::ChunkDone(scene.run.clone(), 0)).await, Ok(None));
    assert!(scene.store.length(&ObjectKey::ChunkDone(scene.run.clone(), 1)).await.unwrap().is_some());
    scene.end(&joins, 0, leaf(0, 1), done(vec![])).await;
    let outcome = joins.outcome(&scene.run).await.unwrap().unwrap();
    let failed = FailedJob { chunk: 1, job: leaf(1, 1), code: "bad".into(), message: "it is bad".into() };
    assert_eq!(outcome.failed, [failed]);
}

#[tokio::test]
async fn what_other_processes_did_counts() {
    let scene = Scene::new(3).await;
    let processes = [scene.joins(), scene.joins(), scene.joins()];
    for chunk in 0..3 {
        let followers = (0..LEAVES).map(|n| leaf(chunk, n)).collect();
        scene.end(&processes[0], chunk, first(chunk), done(followers)).await;
    }
    for (n, process) in (0..LEAVES).zip(&processes) {
        for chunk in 0..3 {
            assert_eq!(process.outcome(&scene.run).await, Ok(None));
            scene.end(process, chunk, leaf(chunk, n), done(vec![])).await;
        }
    }
    assert_eq!(scene.joins().outcome(&scene.run).await, Ok(Some(RunOutcome::default())));
}

#[tokio::test]
async fn a_sweep_completes_what_died_unsaid_and_nothing_else() {
    let scene = Scene::new(20).await;
    assert_eq!(scene.joins().sweep(&scene.run).await, Ok(None));
    scene.mark_all().await;
    scene.store.delete(&ObjectKey::Marker(scene.run.clone(), 7, leaf(7, 1))).await.unwrap();
    assert_eq!(scene.joins().sweep(&scene.run).await, Ok(None));
    scene.mark(7, &leaf(7, 1), &done(vec![])).await;
    assert_eq!(scene.joins().sweep(&scene.run).await, Ok(Some(RunOutcome::default())));
    assert_eq!(scene.joins().sweep(&"r-other".parse().unwrap()).await, Ok(None));
}

#[tokio::test]
async fn a_run_is_unfinished_from_its_first_ended_job_to_its_end() {
    let scene = Scene::new(2).await;
    let unfinished = || async { scene.store.list(Bucket::Runs, UNFINISHED_PREFIX).await.unwrap() };
    // Begun by a process that died before anything was complete.
    scene.end(&scene.joins(), 0, first(0), done(vec![leaf(0, 0)])).await;
    assert_eq!(unfinished().await, ["unfinished/runs/r-joined"]);
    let other = scene.joins();
    other.sweep_unfinished().await.unwrap();
    assert_eq!(unfinished().await.len(), 1);
    scene.mark_all().await;
    other.sweep_unfinished().await.unwrap();
    assert_eq!(other.outcome(&scene.run).await, Ok(Some(RunOutcome::default())));
    assert!(unfinished().await.is_empty());
    // A job that comes again begins nothing that nobody ends.
    scene.end(&scene.joins(), 0, leaf(0, 0), done(vec![])).await;
    scene.joins().sweep_unfinished().await.unwrap();
    assert!(unfinished().await.is_empty());
}

#[tokio::test]
async fn a_torn_marker_is_as_good_as_missing() {
    let scene = Scene::new(1).await;
    scene.mark_all().await;
    let torn = ObjectKey::Marker(scene.run.clone(), 0, leaf(0, 2));
    scene.store.put(torn, Bytes::from_static(b"{\"outco")).await.unwrap();
    assert_eq!(scene.joins().sweep(&scene.run).await, Ok(None));
    scene.end(&scene.joins(), 0, leaf(0, 2), done(vec![])).await;
    assert_eq!(scene.joins().outcome(&scene.run).await, Ok(Some(RunOutcome::default())));
}

#[tokio::test]
async fn reads_grow_with_the_number_of_jobs_and_no_faster() {
    let chunks = 500;
    let jobs = (chunks * (1 + LEAVES)) as usize;
    let scene = Scene::new(chunks).await;
    let joins = scene.joins();
    for chunk in 0..chunks {
        let followers = (0..LEAVES).map(|n| leaf(chunk, n)).collect();
        scene.end(&joins, chunk, first(chunk), done(followers)).await;
        for n in 0..LEAVES {
            scene.end(&joins, chunk, leaf(chunk, n), done(vec![])).await;
        }
    }
    assert!(scene.reads() <= jobs, "{} reads for {jobs} jobs", scene.reads());
    assert!(joins.outcome(&scene.run).await.unwrap().is_some());

    let scene = Scene::new(chunks).await;
    scene.mark_all().await;
    scene.joins().sweep(&scene.run).await.unwrap().unwrap();
    assert!(scene.reads() <= 2 * jobs, "{} reads for {jobs} jobs", scene.reads());
}

#[tokio::test]
async fn jobs_of_no_run_or_no_chunk_complete_nothing() {
    let scene = Scene::new(1).await;
    let joins = scene.joins();
    scene.end(&joins, 99, first(0), done(vec![])).await;
    let nobody = Scope { run: "r-nobody".parse().unwrap(), chunk: 0 };
    joins.ended(&nobody, &first(0), done(vec![])).await.unwrap();
    assert_eq!(joins.outcome(&scene.run).await, Ok(None));
}

/// As `modiolus dead replay` does: the job may begin anew, and neither its chunk nor its run counts as ended.
async fn replay(scene: &Scene, chunk: u32, job: JobId) {
    let run = || scene.run.clone();
    for key in
        [ObjectKey::Marker(run(), chunk, job), ObjectKey::ChunkDone(run(), chunk), ObjectKey::RunDone(run())]
    {
        scene.store.delete(&key).await.unwrap();
    }
}

#[tokio::test]
async fn a_replayed_job_ends_its_run_again_in_a_process_that_saw_it_end_before() {
    let scene = Scene::new(2).await;
    let joins = scene.joins();
    for chunk in 0..2 {
        scene.end(&joins, chunk, first(chunk), done(vec![leaf(chunk, 0), leaf(chunk, 1)])).await;
        scene.end(&joins, chunk, leaf(chunk, 0), done(vec![])).await;
        scene.end(&joins, chunk, leaf(chunk, 1), failed()).await;
    }
    let given_up = |outcome: &RunOutcome| outcome.failed.len();
    assert_eq!(joins.outcome(&scene.run).await.unwrap().as_ref().map(given_up), Some(2));
    for (marker, left) in [(failed(), 2), (done(vec![]), 1)] {
        replay(&scene, 1, leaf(1, 1)).await;
        assert_eq!(joins.sweep(&scene.run).await, Ok(None), "a replayed job is not done yet");
        scene.end(&joins, 1, leaf(1, 1), marker).await;
        assert_eq!(joins.outcome(&scene.run).await.unwrap().as_ref().map(given_up), Some(left));
    }
    replay(&scene, 0, leaf(0, 1)).await;
    scene.end(&joins, 0, leaf(0, 1), done(vec![leaf(0, 2)])).await;
    assert_eq!(joins.outcome(&scene.run).await, Ok(None), "something follows from it now");
    scene.end(&joins, 0, leaf(0, 2), done(vec![])).await;
    assert_eq!(joins.outcome(&scene.run).await, Ok(Some(RunOutcome::default())));
}

#[tokio::test]
async fn a_failure_that_was_seen_before_a_replay_does_not_end_the_run_early() {
    let scene = Scene::new(1).await;
    let joins = scene.joins();
    scene.end(&joins, 0, first(0), done(vec![leaf(0, 0), leaf(0, 1)])).await;
    scene.end(&joins, 0, leaf(0, 0), failed()).await;
    replay(&scene, 0, leaf(0, 0)).await;
    scene.end(&joins, 0, leaf(0, 1), done(vec![])).await;
    assert_eq!(joins.outcome(&scene.run).await, Ok(None));
    scene.end(&joins, 0, leaf(0, 0), done(vec![])).await;
    assert_eq!(joins.outcome(&scene.run).await, Ok(Some(RunOutcome::default())));
}

#[tokio::test]
async fn a_cancelled_run_ends_at_once_and_what_was_done_stays_done() {
    let scene = Scene::new(3).await;
    let (worker, operator) = (scene.joins(), scene.joins());
    scene.end(&worker, 0, first(0), done(vec![leaf(0, 0)])).await;
    scene.end(&worker, 0, leaf(0, 0), done(vec![])).await;
    scene.end(&worker, 1, first(1), done(vec![leaf(1, 0), leaf(1, 1)])).await;
    scene.end(&worker, 1, leaf(1, 0), failed()).await;
    let outcome = operator.cancel(&scene.run).await.unwrap().unwrap();
    let ends: Vec<_> = outcome.failed.iter().map(|job| (job.job.clone(), job.code.as_str())).collect();
    assert_eq!(ends, [(leaf(1, 0), "bad"), (leaf(1, 1), "cancelled"), (first(2), "cancelled")]);
    assert_eq!(worker.outcome(&scene.run).await, Ok(Some(outcome)));
    assert!(worker.was_cancelled(&scene.run).await.unwrap());

    // Of what was in hand, the last word stands.
    scene.end(&worker, 1, leaf(1, 1), done(vec![])).await;
    let outcome = worker.outcome(&scene.run).await.unwrap().unwrap();
    let ends: Vec<_> = outcome.failed.iter().map(|job| job.job.clone()).collect();
    assert_eq!(ends, [leaf(1, 0), first(2)]);
    assert_eq!(operator.cancel(&scene.run).await, Ok(Some(outcome)), "twice is harmless");
    assert_eq!(operator.cancel(&"r-nobody".parse().unwrap()).await, Ok(None));
}

#[tokio::test]
async fn a_run_that_is_done_cannot_be_cancelled() {
    let scene = Scene::new(1).await;
    scene.end(&scene.joins(), 0, first(0), done(vec![])).await;
    assert_eq!(scene.joins().cancel(&scene.run).await, Ok(Some(RunOutcome::default())));
    assert_eq!(scene.joins().is_cancelled(&scene.run).await, Ok(false));
}

#[tokio::test]
async fn a_cancelled_run_that_is_opened_again_waits_for_what_was_cancelled_and_for_nothing_else() {
    let scene = Scene::new(3).await;
    let (worker, operator) = (scene.joins(), scene.joins());
    scene.end(&worker, 0, first(0), done(vec![])).await;
    scene.end(&worker, 1, first(1), done(vec![leaf(1, 0)])).await;
    operator.cancel(&scene.run).await.unwrap();
    assert_eq!(operator.reopen(&scene.run).await, Ok(Some([1, 2].into())));
    // Whoever opens it may die before it is published, and another one goes on.
    assert_eq!(operator.reopen(&scene.run).await, Ok(Some([1, 2].into())));
    assert_eq!(worker.outcome(&scene.run).await, Ok(None));
    assert_eq!(worker.sweep(&scene.run).await, Ok(None));
    operator.reopened(&scene.run).await.unwrap();
    assert_eq!(operator.reopen(&scene.run).await, Ok(None), "it is a run like all others");

    scene.end(&worker, 1, leaf(1, 0), done(vec![])).await;
    assert_eq!(worker.outcome(&scene.run).await, Ok(None), "the third chunk is open");
    scene.end(&worker, 2, first(2), done(vec![])).await;
    assert_eq!(worker.outcome(&scene.run).await, Ok(Some(RunOutcome::default())));
}

#[tokio::test]
async fn a_sweep_ends_a_cancelled_run_whose_canceller_died() {
    let scene = Scene::new(2).await;
    let worker = scene.joins();
    scene.end(&worker, 0, first(0), done(vec![leaf(0, 0)])).await;
    scene.store.put(ObjectKey::RunCancelled(scene.run.clone()), Bytes::new()).await.unwrap();
    assert_eq!(worker.outcome(&scene.run).await, Ok(None));
    worker.sweep_unfinished().await.unwrap();
    let outcome = worker.outcome(&scene.run).await.unwrap().unwrap();
    assert_eq!(outcome.failed.iter().filter(|job| job.is_cancelled()).count(), 2);
}

#[test]
fn what_is_reachable_is_what_the_vocabulary_waits_for() {
    let marker = |followers: &[&str]| done(followers.iter().map(id).collect());
    let mut markers = HashMap::from([(id("a"), marker(&["b", "c", "a"])), (id("b"), marker(&["c", "b"]))]);
    for complete in [false, true] {
        let start = id("a");
        let followers = markers.iter().map(|(job, marker)| (job.clone(), marker.followers.clone())).collect();
        let missing: Vec<_> =
            reachable(&start, &followers).filter(|job| !markers.contains_key(*job)).collect();
        assert_eq!((missing.is_empty(), join::is_complete(&start, &markers)), (complete, complete));
        markers.insert(id("c"), marker(&["a"]));
    }
}

#[tokio::test]
async fn an_end_that_was_written_over_by_one_who_saw_the_run_cancelled_is_said_again() {
    let scene = Scene::new(1).await;
    scene.mark_all().await;
    scene.put(ObjectKey::RunCancelled(scene.run.clone()), &()).await;
    let cancelled = RunOutcome { failed: vec![FailedJob::cancelled(0, leaf(0, 0))] };
    let end = (ObjectKey::RunDone(scene.run.clone()), serde_json::to_vec(&cancelled).unwrap().into());
    *lock(&scene.store.meanwhile) = Some(end);
    scene.end(&scene.joins(), 0, leaf(0, 0), done(vec![])).await;
    assert!(lock(&scene.store.meanwhile).is_none(), "nobody wrote over it");
    assert_eq!(scene.joins().outcome(&scene.run).await, Ok(Some(RunOutcome::default())));
}
