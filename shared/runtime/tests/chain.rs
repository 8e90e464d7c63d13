//! A chain of jobs, each of which publishes the next: whatever is lost or comes twice, it stays one chain.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use modiolus_broker::{Broker, BrokerError, Consumer, Delivery, Events, InProcess, Letter};
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{
    Effects, Envelope, Job, Message, ObjectKey, Objects, Progress, Read, RunId, Scope, Stage, StageError,
    StageName,
};
use modiolus_runtime::{CancellationToken, Worker, WorkerOptions};
use modiolus_store::{MemoryStore, ObjectStore};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::sync::mpsc as told;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Long enough for a busy machine.
const SOON: Duration = Duration::from_secs(60);

const LOOK_AGAIN: Duration = Duration::from_millis(5);

const TRAIN: Queue = Queue::Work(StageName::Train);

const LAST: u32 = 3;

#[derive(Clone, Serialize, Deserialize)]
struct Segment(u32);

impl Job for Segment {
    const STAGE: StageName = StageName::Train;
    const SCHEMA: u32 = 1;
    const REVISION: u32 = 1;
}

/// Its first segment tells that it has begun, and ends when it is allowed to.
struct SegmentStage {
    begun: told::UnboundedSender<()>,
    allowed: Mutex<mpsc::Receiver<()>>,
}

impl Stage for SegmentStage {
    type Job = Segment;

    fn needs(&self, _: &Segment, _: &Objects) -> Vec<Read> {
        vec![]
    }

    fn run(&self, job: &Segment, _: &Objects, _: &Progress) -> Result<Effects, StageError> {
        if job.0 == 0 {
            self.begun.send(()).expect("a test that listens");
            self.allowed.lock().expect("a lock").recv_timeout(SOON).expect("leave to end");
        }
        let mut effects = Effects::default();
        effects.put_json(ObjectKey::Verdicts(job.id()), &job.0);
        if job.0 < LAST {
            effects.publish(&Segment(job.0 + 1));
        }
        Ok(effects)
    }
}

/// A broker that loses subscriptions when it is told to, and counts what is published.
struct Loser {
    inner: InProcess,
    lose: Arc<Notify>,
    published: Arc<AtomicUsize>,
}

#[async_trait]
impl Broker for Loser {
    async fn publish_all(&self, letters: Vec<(Queue, Letter)>) -> Result<(), BrokerError> {
        self.published.fetch_add(letters.len(), Ordering::SeqCst);
        self.inner.publish_all(letters).await
    }

    async fn consume(&self, queue: Queue, prefetch: usize) -> Result<Box<dyn Consumer>, BrokerError> {
        let inner = Some(self.inner.consume(queue, prefetch).await?);
        Ok(Box::new(LosingConsumer { inner, lose: self.lose.clone() }))
    }

    async fn deaths(&self, stage: StageName, prefetch: usize) -> Result<Box<dyn Consumer>, BrokerError> {
        self.inner.deaths(stage, prefetch).await
    }

    fn tell(&self, event: Bytes) {
        self.inner.tell(event);
    }

    async fn events(&self) -> Result<Box<dyn Events>, BrokerError> {
        self.inner.events().await
    }
}

struct LosingConsumer {
    inner: Option<Box<dyn Consumer>>,
    lose: Arc<Notify>,
}

#[async_trait]
impl Consumer for LosingConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        tokio::select! {
            delivery = self.inner.as_mut()?.next() => delivery,
            () = self.lose.notified() => {
                self.inner = None;
                None
            }
        }
    }

    async fn set_prefetch(&mut self, prefetch: usize) -> Result<(), BrokerError> {
        self.inner.as_mut().ok_or(BrokerError::LeaseLost)?.set_prefetch(prefetch).await
    }
}

/// A worker of one slot.
struct Hand {
    begun: told::UnboundedReceiver<()>,
    allow: mpsc::Sender<()>,
    lose: Arc<Notify>,
}

impl Hand {
    async fn has_begun(&mut self) {
        timeout(SOON, self.begun.recv()).await.expect("a beginning soon").expect("a stage");
    }
}

struct World {
    store: Arc<MemoryStore>,
    broker: InProcess,
    run: RunId,
    published: Arc<AtomicUsize>,
    workers: JoinSet<()>,
}

impl World {
    async fn new() -> Self {
        let (store, run) = (Arc::new(MemoryStore::new()), "r-chain".parse::<RunId>().unwrap());
        let manifest = RunManifest { wanted: None, chunks: vec![Segment(0).id()] };
        let manifest = serde_json::to_vec(&manifest).unwrap();
        store.put(ObjectKey::Run(run.clone()), manifest.into()).await.unwrap();
        Self { store, broker: InProcess::new(), run, published: Arc::default(), workers: JoinSet::new() }
    }

    fn worker(&mut self) -> Hand {
        let (begin, begun) = told::unbounded_channel();
        let (allow, allowed) = mpsc::channel();
        let lose = Arc::new(Notify::new());
        let stage = SegmentStage { begun: begin, allowed: Mutex::new(allowed) };
        let broker =
            Loser { inner: self.broker.clone(), lose: lose.clone(), published: self.published.clone() };
        let worker = Worker::new(stage, self.store.clone(), Arc::new(broker), WorkerOptions::default());
        self.workers.spawn(async move { worker.run(CancellationToken::new()).await });
        Hand { begun, allow, lose }
    }

    async fn publish_first(&self) {
        let scope = Scope { run: self.run.clone(), chunk: 0 };
        let letter = Letter::new(Envelope::new(scope, Message::new(&Segment(0))).encode());
        self.broker.publish(TRAIN, letter).await.unwrap();
    }

    async fn until_there(&self, key: ObjectKey) {
        let there = async {
            while self.store.length(&key).await.unwrap().is_none() {
                sleep(LOOK_AGAIN).await;
            }
        };
        timeout(SOON, there).await.unwrap_or_else(|_| panic!("{key} soon"));
    }

    /// How many segments were published until nothing was left to do.
    async fn published(&self) -> usize {
        self.until_there(ObjectKey::RunDone(self.run.clone())).await;
        let idle = async {
            while !self.broker.is_idle() {
                sleep(LOOK_AGAIN).await;
            }
        };
        timeout(SOON, idle).await.expect("rest soon");
        self.published.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_whose_delivery_was_lost_meanwhile_leaves_the_next_to_those_who_have_it_now() {
    let mut world = World::new().await;
    world.publish_first().await;
    let mut first = world.worker();
    first.has_begun().await;
    first.lose.notify_one();
    let mut second = world.worker();
    second.has_begun().await;
    first.allow.send(()).unwrap();
    world.until_there(ObjectKey::Manifest(StageName::Train, Segment(0).id())).await;
    second.allow.send(()).unwrap();
    assert_eq!(world.published().await, LAST as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_comes_twice_at_once_is_followed_once() {
    let mut world = World::new().await;
    let (mut first, mut second) = (world.worker(), world.worker());
    world.publish_first().await;
    world.publish_first().await;
    first.has_begun().await;
    second.has_begun().await;
    first.allow.send(()).unwrap();
    world.until_there(ObjectKey::Manifest(StageName::Train, Segment(0).id())).await;
    second.allow.send(()).unwrap();
    assert_eq!(world.published().await, LAST as usize);
}
