//! A job that kills its process, and those that were in hand beside it.

use std::sync::Arc;
use std::time::Duration;

use modiolus_broker::{Broker, InProcess, Letter};
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{
    Effects, Envelope, Fetched, Job, Message, ObjectKey, Objects, Progress, Read, RunId, Scope, Stage,
    StageError, StageName,
};
use modiolus_runtime::faults::{Budget, Faults, Process, Rates};
use modiolus_runtime::{CancellationToken, RunOutcome, Worker, WorkerOptions};
use modiolus_store::{MemoryStore, ObjectStore};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

/// Paused time: longer than any number of processes live.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Serialize, Deserialize)]
struct Task {
    number: u32,
    kills: bool,
}

impl Job for Task {
    const STAGE: StageName = StageName::Filter;
    const SCHEMA: u32 = 1;
    const REVISION: u32 = 1;
}

struct TaskStage(Process);

impl Stage for TaskStage {
    type Job = Task;

    fn needs(&self, _: &Task, _: &Objects) -> Vec<Read> {
        vec![]
    }

    fn run(&self, job: &Task, _: &Objects, _: &Progress) -> Result<Effects, StageError> {
        if job.kills {
            self.0.die();
        }
        let mut effects = Effects::default();
        effects.put_json(ObjectKey::Verdicts(job.id()), &job.number);
        Ok(effects)
    }
}

/// Processes, one after another, until the run is done; how it ended, and how many died.
async fn live(store: &Arc<MemoryStore>, broker: &InProcess, run: &RunId) -> (RunOutcome, u32) {
    let faults = Faults::new(1, Rates::default(), Budget { crashes: 0, errors: 0 });
    let mut events = broker.events().await.unwrap();
    let mut deaths = 0;
    loop {
        let process = faults.process();
        let (its_store, its_broker) =
            (process.store(store.clone()), process.broker(Arc::new(broker.clone())));
        let options = WorkerOptions { slots: 4, inline: true, ..WorkerOptions::default() };
        let worker = Worker::new(TaskStage(process.clone()), its_store, its_broker, options);
        let done = async {
            let key = ObjectKey::RunDone(run.clone());
            while store.length(&key).await.unwrap().is_none() {
                events.next().await.unwrap();
            }
        };
        tokio::select! {
            () = process.crashed() => deaths += 1,
            () = worker.run(CancellationToken::new()) => unreachable!("nobody stops it"),
            () = done => break,
        }
    }
    match store.get(Read::whole(ObjectKey::RunDone(run.clone()))).await.unwrap() {
        Fetched::Found(object) => (serde_json::from_slice(&object.bytes).unwrap(), deaths),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_kills_its_process_is_given_up_and_no_other_that_was_in_hand_beside_it() {
    let (store, broker) = (Arc::new(MemoryStore::new()), InProcess::new());
    let run: RunId = "r-crash".parse().unwrap();
    let jobs: Vec<Message> =
        (0..9).map(|number| Message::new(&Task { number, kills: number % 4 == 0 })).collect();
    let chunks = jobs.iter().map(|job| job.id.clone()).collect();
    let manifest = serde_json::to_vec(&RunManifest { wanted: None, chunks }).unwrap();
    store.put(ObjectKey::Run(run.clone()), manifest.into()).await.unwrap();
    let letter = |(chunk, job): (u32, Message)| {
        let scope = Scope { run: run.clone(), chunk };
        (Queue::Work(StageName::Filter), Letter::new(Envelope::new(scope, job).encode()))
    };
    broker.publish_all((0..).zip(jobs).map(letter).collect()).await.unwrap();

    let (outcome, deaths) = timeout(FOR_EVER, live(&store, &broker, &run)).await.expect("an end");
    let failed: Vec<_> = outcome.failed.iter().map(|job| (job.chunk, job.code.as_str())).collect();
    assert_eq!(failed, [(0, "crash-loop"), (4, "crash-loop"), (8, "crash-loop")]);
    assert!(deaths > 0);
}
