//! Everything that can go wrong between any two steps, from seeds. `MODIOLUS_SEEDS=100000` runs that many;
//! `MODIOLUS_SEED=17` runs one.

mod toy;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use modiolus_broker::{Broker, BrokerError, Consumer, InProcess, Letter};
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Bucket, Envelope, Message, ObjectKey, Scope, StageError, StageName};
use modiolus_runtime::faults::{Budget, FULL_AS_ERRORS, Faults, Process, Rates};
use modiolus_runtime::{AnyStage, Joins, Notice, RunOutcome, Worker, WorkerOptions, deaths};
use modiolus_store::{MemoryStore, ObjectStore};
use tokio::task::JoinSet;
use toy::{Fate, LastStage, PartStage, SplitStage, ToyRun};

type Snapshot = BTreeMap<(Bucket, String), Bytes>;

/// Stage, job or body, and code of what lies with the dead.
type Dead = BTreeSet<(StageName, String, String)>;

/// Longer than any chain of delays, retries and restarts of one simulation.
const FOR_EVER: Duration = Duration::from_secs(30 * 24 * 3600);

/// One simulated cluster: a store and a broker that last, processes that don't.
struct World {
    store: Arc<MemoryStore>,
    broker: InProcess,
    toy: ToyRun,
    is_submitted_again: Cell<bool>,
}

impl World {
    async fn new(chunks: &[Vec<Fate>]) -> Self {
        let (store, broker) = (Arc::new(MemoryStore::new()), InProcess::new());
        let toy = ToyRun::new("r-simulated", chunks, &*store).await;
        let manifest = serde_json::to_vec(&toy.manifest).unwrap();
        store.put(ObjectKey::Run(toy.run.clone()), manifest.into()).await.unwrap();
        let world = Self { store, broker, toy, is_submitted_again: Cell::new(false) };
        world.publish(&world.broker, |_| true).await.unwrap();
        world
    }

    /// Publishes the first job of the chunks that are wanted.
    async fn publish(&self, broker: &dyn Broker, wanted: impl Fn(u32) -> bool) -> Result<(), BrokerError> {
        let all = (0..).zip(self.toy.first.clone()).filter(|(chunk, _)| wanted(*chunk));
        let letter = |(chunk, message): (u32, Message)| {
            let scope = Scope { run: self.toy.run.clone(), chunk };
            (Queue::Work(message.stage), Letter::new(Envelope::new(scope, message).encode()))
        };
        broker.publish_all(all.map(letter).collect()).await
    }

    /// An operator who does something after a while, and again whenever it fails or his process dies.
    async fn insist<F>(&self, faults: &Arc<Faults>, act: impl Fn(Arc<dyn Broker>, Joins) -> F)
    where
        F: Future<Output = Result<(), StageError>>,
    {
        loop {
            let process = faults.process();
            let broker = process.broker(Arc::new(self.broker.clone()));
            let joins = Joins::new(process.store(self.store.clone()), broker.clone());
            tokio::select! {
                () = process.crashed() => {}
                acted = act(broker, joins) => match acted {
                    Ok(()) => return,
                    Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
                },
            }
        }
    }

    async fn cancel(&self, faults: &Arc<Faults>) {
        let run = &self.toy.run;
        self.insist(faults, |_, joins| async move { Ok(joins.cancel(run).await.map(|_| ())?) }).await;
    }

    /// Submits the run again, as everyone does who submits.
    async fn submit_again(&self, faults: &Arc<Faults>) {
        let run = &self.toy.run;
        let submit = |broker: Arc<dyn Broker>, joins: Joins| async move {
            if let Some(open) = joins.reopen(run).await? {
                self.publish(&*broker, |chunk| open.contains(&chunk)).await?;
                joins.reopened(run).await?;
            }
            Ok(())
        };
        self.insist(faults, submit).await;
    }

    /// Puts into every queue what no worker can do, under names that no job of the run has.
    async fn poison(&self) {
        let here = Scope { run: self.toy.run.clone(), chunk: 0 };
        let elsewhere = Scope { run: "r-elsewhere".parse().unwrap(), chunk: 0 };
        for stage in [StageName::Ingest, StageName::Filter, StageName::Preprocess] {
            let message = |name: &str, stage, schema| {
                let id = format!("{stage}-{name}").parse().unwrap();
                Message { id, stage, schema, body: serde_json::json!({}) }
            };
            let newer = serde_json::json!({ "scope": here, "message": { "id": format!("{stage}-newer") }, "more": 1 });
            let letters = [
                "no message".into(),
                newer.to_string().into_bytes(),
                Envelope::new(here.clone(), message("undecodable", stage, 1)).encode(),
                Envelope::new(here.clone(), message("schema", stage, 4711)).encode(),
                Envelope::new(here.clone(), message(&format!("to-{stage}"), StageName::Infer, 1)).encode(),
                Envelope::new(elsewhere.clone(), message("foreign", stage, 1)).encode(),
            ];
            for letter in letters {
                self.broker.publish(Queue::Work(stage), Letter::new(letter)).await.unwrap();
            }
        }
    }

    /// Which letters were given up, of each stage, and why; however often.
    async fn dead(&self) -> Dead {
        let mut dead = BTreeSet::new();
        for stage in StageName::ALL {
            let mut queue = self.broker.consume(Queue::Dead(stage), usize::MAX).await.unwrap();
            while let Some(Some(delivery)) = queue.next().now_or_never() {
                let Letter { body, headers } = &delivery.letter;
                let job = Envelope::address(body).map(|(_, job)| job.to_string());
                let name = job.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
                dead.insert((stage, name, headers["code"].clone()));
            }
        }
        dead
    }

    /// Starts the workers of one process; they stop when it is told to, or when the set is dropped.
    fn start(&self, process: &Process) -> JoinSet<()> {
        let (store, broker) =
            (process.store(self.store.clone()), process.broker(Arc::new(self.broker.clone())));
        let joins = Arc::new(Joins::new(store.clone(), broker.clone()));
        let stages: [Arc<dyn AnyStage>; 3] = [Arc::new(SplitStage), Arc::new(PartStage), Arc::new(LastStage)];
        let mut tasks = JoinSet::new();
        for stage in stages {
            let options = WorkerOptions { slots: 2, inline: true, ..WorkerOptions::default() };
            let stop = process.told_to_stop();
            tasks.spawn(deaths::mark(
                stage.name(),
                store.clone(),
                broker.clone(),
                joins.clone(),
                stop.clone(),
            ));
            let worker = Worker::with_joins(stage, store.clone(), broker.clone(), joins.clone(), options);
            tasks.spawn(async move { worker.run(stop).await });
        }
        tasks
    }

    /// Keeps `count` processes alive until the run has ended, calls `on_end`, and goes on until nothing is left to do.
    async fn live(&self, faults: &Arc<Faults>, count: usize, on_end: impl FnOnce(&Self)) -> RunOutcome {
        let mut events = self.broker.events().await.unwrap();
        let mut processes = JoinSet::new();
        let launch = |processes: &mut JoinSet<()>| {
            let process = faults.process();
            let mut tasks = self.start(&process);
            processes.spawn(async move {
                tokio::select! {
                    () = process.crashed() => {}
                    () = async { while tasks.join_next().await.is_some() {} } => {}
                }
            });
        };
        (0..count).for_each(|_| launch(&mut processes));
        let outcome = loop {
            tokio::select! {
                Some(_) = processes.join_next() => launch(&mut processes),
                event = events.next() => {
                    if let Some(Notice::RunDone { outcome, .. }) = Notice::decode(&event.unwrap())
                        // What was cancelled before the run was submitted again is told once more.
                        && !(self.is_submitted_again.get() && outcome.is_cancelled())
                    {
                        break outcome;
                    }
                }
            }
        };
        on_end(self);
        // Duplicates and redeliveries may still be on their way.
        while !self.broker.is_idle() {
            tokio::select! {
                Some(_) = processes.join_next() => launch(&mut processes),
                () = tokio::time::sleep(Duration::from_secs(3600)) => {}
            }
        }
        // What a process left open when it died, another closes.
        let joins = Joins::new(self.store.clone(), Arc::new(self.broker.clone()));
        joins.sweep_unfinished().await.unwrap();
        outcome
    }

    /// Whatever follows from the first jobs has a marker.
    fn assert_complete(&self) {
        let snapshot = self.store.snapshot();
        for (chunk, first) in (0u32..).zip(&self.toy.manifest.chunks) {
            let mut open = vec![first.clone()];
            let mut seen = BTreeSet::new();
            while let Some(job) = open.pop() {
                let key = ObjectKey::Marker(self.toy.run.clone(), chunk, job.clone());
                let marker = snapshot.get(&(key.bucket(), key.path()));
                let marker =
                    marker.unwrap_or_else(|| panic!("the run was done before {job} of chunk {chunk}"));
                if seen.insert(job) {
                    open.extend(
                        serde_json::from_slice::<modiolus_pipeline::Marker>(marker).unwrap().followers,
                    );
                }
            }
        }
    }
}

/// Each simulation has its own runtime, thread and clock.
fn simulate<F: Future>(simulation: impl FnOnce() -> F) -> F::Output {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { tokio::time::timeout(FOR_EVER, simulation()).await.expect("the run hangs") })
}

fn seeds(normal: u64) -> Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    match number("MODIOLUS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MODIOLUS_SEEDS").unwrap_or(normal),
    }
}

fn chunks(fates: &[Fate]) -> Vec<Vec<Fate>> {
    vec![fates.to_vec(), vec![], vec![Fate::Succeeds; 5], vec![fates[0]]]
}

/// A run beside poison, with so many processes that meet these faults: how it ends, and what it leaves in the store and among
/// the dead.
fn disturbed(chunks: &[Vec<Fate>], faults: &Arc<Faults>, processes: usize) -> (RunOutcome, Snapshot, Dead) {
    simulate(|| async {
        let world = World::new(chunks).await;
        world.poison().await;
        let outcome = world.live(faults, processes, World::assert_complete).await;
        (outcome, world.store.snapshot(), world.dead().await)
    })
}

fn undisturbed(chunks: &[Vec<Fate>]) -> (RunOutcome, Snapshot, Dead) {
    disturbed(chunks, &Faults::new(0, Rates::default(), Budget { crashes: 0, errors: 0 }), 1)
}

#[track_caller]
fn assert_same(found: &(RunOutcome, Snapshot, Dead), expected: &(RunOutcome, Snapshot, Dead), seed: u64) {
    assert_eq!(found.0, expected.0, "MODIOLUS_SEED={seed}");
    assert_eq!(found.2, expected.2, "MODIOLUS_SEED={seed}: among the dead");
    assert!(found.1 == expected.1, "MODIOLUS_SEED={seed}: the store differs");
}

const ROUGH: Rates =
    Rates { crash: 0.02, stop: 0.01, lost: 0.05, error: 0.02, full: 0.005, duplicate: 0.2, delay: 0.1 };

#[test]
fn whatever_breaks_in_between_a_run_ends_with_the_same_bytes() {
    let chunks = chunks(&[Fate::Succeeds, Fate::Fails, Fate::Succeeds, Fate::Succeeds]);
    let expected = undisturbed(&chunks);
    assert_eq!(expected.0.failed.len(), 1);
    let mut crashes = 0;
    for seed in seeds(200) {
        // Fewer errors than a job has attempts, so that none is given up for them.
        let faults = Faults::new(seed, ROUGH, Budget { crashes: 12, errors: 3 });
        assert_same(&disturbed(&chunks, &faults, 2), &expected, seed);
        crashes += 12 - faults.left().crashes;
    }
    assert!(crashes > 0, "nothing was simulated");
}

#[test]
fn processes_that_are_told_to_stop_again_and_again_cost_a_job_nothing() {
    let chunks = chunks(&[Fate::Succeeds, Fate::Fails, Fate::Succeeds, Fate::Succeeds]);
    let expected = undisturbed(&chunks);
    let rates = Rates { stop: 0.2, delay: 0.3, ..Rates::default() };
    let mut stops = 0;
    for seed in seeds(100) {
        // Many more than a job may come back unsettled.
        let faults = Faults::new(seed, rates, Budget { crashes: 100, errors: 0 });
        assert_same(&disturbed(&chunks, &faults, 2), &expected, seed);
        stops += 100 - faults.left().crashes;
    }
    assert!(stops > 0, "nothing was simulated");
}

#[test]
fn a_disk_that_is_full_for_some_minutes_costs_no_job() {
    let chunks = chunks(&[Fate::Succeeds, Fate::Fails, Fate::Succeeds, Fate::Succeeds]);
    let expected = undisturbed(&chunks);
    let rates = Rates { full: 0.02, delay: 0.05, ..Rates::default() };
    let mut times = 0;
    for seed in seeds(100) {
        let faults = Faults::new(seed, rates, Budget { crashes: 0, errors: FULL_AS_ERRORS });
        assert_same(&disturbed(&chunks, &faults, 2), &expected, seed);
        times += (FULL_AS_ERRORS - faults.left().errors) / FULL_AS_ERRORS;
    }
    assert!(times > 0, "nothing was simulated");
}

#[test]
fn a_run_ends_however_often_its_store_and_broker_fail() {
    let chunks = chunks(&[Fate::Succeeds, Fate::Fails, Fate::Panics]);
    let rates = Rates { error: 0.15, ..ROUGH };
    let mut given_up = 0;
    for seed in seeds(30) {
        let faults = Faults::new(seed, rates, Budget { crashes: 12, errors: 60 });
        simulate(|| async {
            let world = World::new(&chunks).await;
            // A duplicate may bring a job to its end that is given up at the same moment, so what follows from it may
            // come after the end of the run; but nothing is left without its marker.
            let outcome = world.live(&faults, 2, |_| ()).await;
            world.assert_complete();
            // What failed is in the outcome and lies with the dead for people to see.
            let dead: usize =
                StageName::ALL.map(|stage| world.broker.waiting(Queue::Dead(stage))).iter().sum();
            assert!(
                dead >= outcome.failed.len() && !outcome.failed.is_empty(),
                "MODIOLUS_SEED={seed}: {outcome:?}"
            );
            given_up += outcome.failed.len();
        });
    }
    assert!(given_up > 0);
}

#[test]
fn a_run_that_is_cancelled_ends_and_when_it_is_submitted_again_nothing_is_missing() {
    let chunks = chunks(&[Fate::Succeeds, Fate::Fails, Fate::Succeeds, Fate::Succeeds]);
    let expected = undisturbed(&chunks);
    let mut cancelled = 0;
    for seed in seeds(200) {
        let faults = Faults::new(seed, ROUGH, Budget { crashes: 12, errors: 3 });
        let found = simulate(|| async {
            let world = World::new(&chunks).await;
            world.poison().await;
            let operator = async {
                tokio::time::sleep(Duration::from_millis(seed * 7_919 % 120_000)).await;
                world.cancel(&faults).await;
            };
            tokio::join!(world.live(&faults, 2, |_| ()), operator);
            let joins = Joins::new(world.store.clone(), Arc::new(world.broker.clone()));
            // What was in hand may have been the last.
            let mut outcome = joins
                .outcome(&world.toy.run)
                .await
                .unwrap()
                .unwrap_or_else(|| panic!("MODIOLUS_SEED={seed}: it has not ended"));
            if outcome.is_cancelled() {
                cancelled += 1;
                world.is_submitted_again.set(true);
                (outcome, ()) =
                    tokio::join!(world.live(&faults, 2, World::assert_complete), world.submit_again(&faults));
            }
            // What the operator left open when he died, a worker closes.
            joins.sweep_unfinished().await.unwrap();
            (outcome, world.store.snapshot(), world.dead().await)
        });
        assert_same(&found, &expected, seed);
    }
    assert!(cancelled > 0, "no cancel came in time");
}

#[test]
fn the_same_seed_gives_the_same_simulation() {
    let chunks = chunks(&[Fate::Succeeds; 3]);
    let left = |seed| {
        let faults = Faults::new(seed, ROUGH, Budget { crashes: 1000, errors: 3 });
        simulate(|| async { World::new(&chunks).await.live(&faults, 2, World::assert_complete).await });
        faults.left()
    };
    assert_eq!(left(1), left(1));
    assert_ne!((2..10).map(left).collect::<BTreeSet<_>>().len(), 1);
}

#[test]
fn a_job_that_the_broker_gave_up_gets_its_marker_and_the_run_ends() {
    let outcome = simulate(|| async {
        let world = World::new(&[vec![Fate::Succeeds], vec![]]).await;
        let queue = Queue::Work(StageName::Ingest);
        let mut consumer = world.broker.consume(queue, 1).await.unwrap();
        consumer.next().await.unwrap().reject().await.unwrap();
        drop(consumer);
        let faults = Faults::new(0, Rates::default(), Budget { crashes: 0, errors: 0 });
        world.live(&faults, 1, World::assert_complete).await
    });
    assert_eq!(outcome.failed.len(), 1);
    assert_eq!((outcome.failed[0].chunk, outcome.failed[0].code.as_str()), (0, "dead-lettered"));
}

#[test]
fn a_job_that_kills_its_worker_again_and_again_is_given_up() {
    let outcome = simulate(|| async {
        let world = World::new(&[vec![]]).await;
        for _ in 0..16 {
            let mut killed = world.broker.consume(Queue::Work(StageName::Ingest), 1).await.unwrap();
            killed.next().await.unwrap();
        }
        let faults = Faults::new(0, Rates::default(), Budget { crashes: 0, errors: 0 });
        world.live(&faults, 1, World::assert_complete).await
    });
    assert_eq!(outcome.failed[0].code, "crash-loop");
}

async fn dead_letter(world: &World, body: &'static [u8]) -> (Letter, usize) {
    let stage = StageName::Filter;
    world.broker.publish(Queue::Work(stage), Letter::new(body)).await.unwrap();
    let process = Faults::new(0, Rates::default(), Budget { crashes: 0, errors: 0 }).process();
    let workers = world.start(&process);
    let mut dead: Box<dyn Consumer> = world.broker.consume(Queue::Dead(stage), 1).await.unwrap();
    let delivery = dead.next().await.unwrap();
    let letter = delivery.letter.clone();
    delivery.ack().await.unwrap();
    drop(workers);
    let markers = world.store.list(Bucket::Runs, "r-newer/jobs/").await.unwrap();
    (letter, markers.len())
}

#[test]
fn a_job_of_a_run_that_is_not_in_the_store_is_dead_as_it_came_and_leaves_nothing() {
    simulate(|| async {
        let world = World::new(&[vec![Fate::Succeeds]]).await;
        world.store.delete(&ObjectKey::Run(world.toy.run.clone())).await.unwrap();
        let process = Faults::new(0, Rates::default(), Budget { crashes: 0, errors: 0 }).process();
        let _workers = world.start(&process);
        let mut dead = world.broker.consume(Queue::Dead(StageName::Ingest), 1).await.unwrap();
        let letter = dead.next().await.unwrap().letter.clone();
        assert_eq!(letter.headers["code"], "foreign-run");
        assert!(letter.headers["cause"].contains("r-simulated"), "{letter:?}");
        assert_eq!(Envelope::decode(&letter.body).unwrap().message, world.toy.first[0]);
        assert_eq!(world.store.list(Bucket::Runs, "").await.unwrap(), Vec::<String>::new());
    });
}

#[test]
fn a_message_that_cannot_be_read_is_dead_untouched_and_marked_if_it_says_whose_it_is() {
    simulate(|| async {
        let world = World::new(&[]).await;
        let (letter, markers) = dead_letter(&world, b"\xff no message").await;
        assert_eq!((&letter.body[..], markers), (&b"\xff no message"[..], 0));
        assert_eq!(letter.headers["code"], "undecodable");
        let newer =
            br#"{"scope":{"run":"r-newer","chunk":0},"message":{"id":"filter-1","colour":"red"},"more":1}"#;
        let (letter, markers) = dead_letter(&world, newer).await;
        assert_eq!((&letter.body[..], markers), (&newer[..], 1));
    });
}
