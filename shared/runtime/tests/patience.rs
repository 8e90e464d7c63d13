//! A job that takes longer than the broker waits for its settlement.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use modiolus_broker::rabbitmq::definitions::Role;
use modiolus_broker::server::{Server, Vhost};
use modiolus_broker::{Broker, Letter, RabbitMq};
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{
    Effects, Envelope, Job, Message, ObjectKey, Objects, Progress, Read, RunId, Scope, Stage, StageError,
    StageName,
};
use modiolus_runtime::{CancellationToken, Worker, WorkerOptions};
use modiolus_store::{MemoryStore, ObjectStore};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc as told;
use tokio::time::timeout;

/// Long enough for a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Between two looks at the broker's numbers.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long the broker waits here. It looks once a second.
const LEASE: Duration = Duration::from_secs(1);

#[derive(Clone, Serialize, Deserialize)]
struct Long;

impl Job for Long {
    const STAGE: StageName = StageName::Filter;
    const SCHEMA: u32 = 1;
    const REVISION: u32 = 1;
}

/// Tells that it has begun, and ends when it is allowed to.
struct LongStage {
    begun: told::UnboundedSender<()>,
    allowed: Mutex<mpsc::Receiver<()>>,
}

impl Stage for LongStage {
    type Job = Long;

    fn needs(&self, _: &Long, _: &Objects) -> Vec<Read> {
        vec![]
    }

    fn run(&self, job: &Long, _: &Objects, _: &Progress) -> Result<Effects, StageError> {
        self.begun.send(()).expect("a test that listens");
        let allowed = self.allowed.lock().expect("a lock").recv_timeout(SOON);
        allowed.expect("leave to end");
        let mut effects = Effects::default();
        effects.put(ObjectKey::Verdicts(job.id()), "{}");
        Ok(effects)
    }
}

/// Waits until the stage's queue has so many letters of a kind: `messages`, or those of them that are in nobody's hand,
/// `messages_ready`.
async fn until_queued(vhost: &Vhost, kind: &str, count: u64) {
    let counted = async {
        while vhost.get("queues/filter")[kind] != count {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    timeout(SOON, counted).await.unwrap_or_else(|_| panic!("{kind}: {count} soon"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_outlives_the_patience_of_the_broker_is_done_once_and_acknowledged_when_it_comes_again() {
    let Some(server) = Server::shared() else { return };
    let vhost = server.vhost();
    vhost.shorten_lease("filter", LEASE);
    let (store, run) = (Arc::new(MemoryStore::new()), "r-long".parse::<RunId>().expect("an id"));
    let first = Message::new(&Long);
    let manifest = RunManifest { wanted: None, chunks: vec![first.id.clone()] };
    let manifest = serde_json::to_vec(&manifest).expect("JSON");
    store.put(ObjectKey::Run(run.clone()), manifest.into()).await.expect("memory");
    let broker = RabbitMq::connect(vhost.settings(Role::Operator)).await.expect("a connection");

    let (begin, mut begun) = told::unbounded_channel();
    let (allow, allowed) = mpsc::channel();
    let stage = LongStage { begun: begin, allowed: Mutex::new(allowed) };
    let worker = Worker::new(stage, store.clone(), Arc::new(broker.clone()), WorkerOptions::default());
    let shutdown = CancellationToken::new();
    let working = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { worker.run(shutdown).await }
    });
    let letter = Letter::new(Envelope::new(Scope { run: run.clone(), chunk: 0 }, first).encode());
    broker.publish(Queue::Work(StageName::Filter), letter).await.expect("a confirmation");
    timeout(SOON, begun.recv()).await.expect("a beginning soon").expect("a stage");
    until_queued(&vhost, "messages_ready", 1).await;
    allow.send(()).expect("a stage that waits");

    until_queued(&vhost, "messages", 0).await;
    shutdown.cancel();
    timeout(SOON, working).await.expect("an end soon").expect("no panic");
    assert!(begun.try_recv().is_err(), "it was begun twice");
    assert!(store.length(&ObjectKey::RunDone(run)).await.expect("memory").is_some(), "its run is done");
    assert_eq!(vhost.get("queues/filter.dead")["messages"], 0);
}
