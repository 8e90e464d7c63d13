//! Measures the runtime on jobs that do nothing: the worker of a stage over RabbitMQ, with two slots and a store in memory.
//!
//! usage: no_op_jobs ADDRESS COUNT [follower]       prints the seconds from the first job to the end of the last

use std::sync::Arc;
use std::time::{Duration, Instant};

use modiolus_broker::rabbitmq::Settings;
use modiolus_broker::{Broker, Letter, RabbitMq};
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{
    Effects, Envelope, Job, Message, ObjectKey, Objects, Progress, Read, Scope, Stage, StageError, StageName,
};
use modiolus_runtime::{CancellationToken, Telemetry, Worker, WorkerOptions};
use modiolus_store::{MemoryStore, ObjectStore};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// How many letters are published at a time.
const AT_A_TIME: usize = 5000;

/// Between two looks at how many jobs are done.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

#[derive(Clone, Serialize, Deserialize)]
struct NoOp {
    number: usize,
    follows: bool,
}

impl Job for NoOp {
    const STAGE: StageName = StageName::Filter;
    const SCHEMA: u32 = 1;
    const REVISION: u32 = 1;
}

#[derive(Clone, Serialize, Deserialize)]
struct Follower {
    number: usize,
}

impl Job for Follower {
    const STAGE: StageName = StageName::Preprocess;
    const SCHEMA: u32 = 1;
    const REVISION: u32 = 1;
}

/// Does nothing, and tells when.
struct NoOpStage(mpsc::UnboundedSender<Instant>);

impl Stage for NoOpStage {
    type Job = NoOp;

    fn needs(&self, _: &NoOp, _: &Objects) -> Vec<Read> {
        vec![]
    }

    fn run(&self, job: &NoOp, _: &Objects, _: &Progress) -> Result<Effects, StageError> {
        let _ = self.0.send(Instant::now());
        let mut effects = Effects::default();
        if job.follows {
            effects.publish(&Follower { number: job.number });
        }
        Ok(effects)
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, count, mode @ ..] = arguments.as_slice() else {
        panic!("no_op_jobs ADDRESS COUNT [follower]")
    };
    let count: usize = count.parse().expect("how many jobs");
    let broker = RabbitMq::connect(Settings::parse(address).expect("an address")).await.expect("RabbitMQ");
    let store = Arc::new(MemoryStore::new());
    let scope = Scope { run: "no-op".parse().expect("a plain name"), chunk: 0 };
    // The chunk's first job never ends, so that every job that nothing follows from is looked at, and no more.
    let first = Message::new(&NoOp { number: usize::MAX, follows: true }).id;
    let manifest = RunManifest { wanted: None, chunks: vec![first] };
    let manifest = serde_json::to_vec(&manifest).expect("JSON");
    store.put(ObjectKey::Run(scope.run.clone()), manifest.into()).await.expect("memory");

    let letter = |number| {
        let message = Message::new(&NoOp { number, follows: mode == ["follower"] });
        (Queue::Work(StageName::Filter), Letter::new(Envelope::new(scope.clone(), message).encode()))
    };
    let letters: Vec<_> = (0..count).map(letter).collect();
    for letters in letters.chunks(AT_A_TIME) {
        broker.publish_all(letters.to_vec()).await.expect("confirmations");
    }

    let (tell, mut told) = mpsc::unbounded_channel();
    let telemetry = Telemetry::default();
    let options = WorkerOptions { slots: 2, telemetry: telemetry.clone(), ..WorkerOptions::default() };
    let worker = Worker::new(NoOpStage(tell), store, Arc::new(broker.clone()), options);
    let stop = CancellationToken::new();
    let working = tokio::spawn({
        let stop = stop.clone();
        async move { worker.run(stop).await }
    });
    let begun = told.recv().await.expect("the first job");
    let done = format!("modiolus_jobs_total{{stage=\"filter\",outcome=\"done\"}} {count}\n");
    while !telemetry.text().contains(&done) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    println!("{}", begun.elapsed().as_secs_f64());
    stop.cancel();
    working.await.expect("the worker's end");
    broker.close().await;
}
