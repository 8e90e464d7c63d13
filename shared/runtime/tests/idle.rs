//! A worker that isn't needed.

mod toy;

use std::sync::Arc;
use std::time::Duration;

use modiolus_broker::{Broker, InProcess, Letter};
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Envelope, ObjectKey, Scope, StageName};
use modiolus_runtime::{CancellationToken, Worker, WorkerOptions};
use modiolus_store::{MemoryStore, ObjectStore};
use tokio::time::{Instant, timeout};
use toy::{SplitStage, ToyRun};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_worker_that_may_end_does_so_when_no_job_has_come_for_long_enough() {
    let (store, broker) = (Arc::new(MemoryStore::new()), InProcess::new());
    let toy = ToyRun::new("r-idle", &[vec![]], &*store).await;
    let manifest = serde_json::to_vec(&toy.manifest).unwrap();
    store.put(ObjectKey::Run(toy.run.clone()), manifest.into()).await.unwrap();
    let job = Envelope::new(Scope { run: toy.run.clone(), chunk: 0 }, toy.first[0].clone());
    let options = WorkerOptions { inline: true, idle: Some(MINUTE), ..WorkerOptions::default() };
    let worker = Worker::new(SplitStage, store.clone(), Arc::new(broker.clone()), options);
    let (shutdown, begun) = (CancellationToken::new(), Instant::now());
    // A job that comes in time starts the wait again.
    let later = async {
        tokio::time::sleep(MINUTE / 2).await;
        broker.publish(Queue::Work(StageName::Ingest), Letter::new(job.encode())).await.unwrap();
    };
    let both = async { tokio::join!(worker.run(shutdown.clone()), later) };
    timeout(10 * MINUTE, both).await.expect("an end");
    assert!(begun.elapsed() >= MINUTE + MINUTE / 2, "{:?}", begun.elapsed());
    assert!(shutdown.is_cancelled(), "the rest of its process knows");
    assert!(store.length(&ObjectKey::RunDone(toy.run)).await.unwrap().is_some(), "its job is done");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_may_not_end_waits() {
    let worker = Worker::new(
        SplitStage,
        Arc::new(MemoryStore::new()),
        Arc::new(InProcess::new()),
        WorkerOptions::default(),
    );
    assert!(timeout(1000 * MINUTE, worker.run(CancellationToken::new())).await.is_err());
}
