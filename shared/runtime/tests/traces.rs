//! A trace goes from job to job, whatever stages do.

mod toy;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use modiolus_broker::{Broker, InProcess, Letter};
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Envelope, ObjectKey, Scope, Stage, StageName};
use modiolus_runtime::{CancellationToken, Notice, Worker, WorkerOptions};
use modiolus_store::{MemoryStore, ObjectStore};
use tokio::time::timeout;
use toy::{Fate, LastStage, PartStage, SplitStage, ToyRun};

const SOON: Duration = Duration::from_secs(30);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const FIRST_SPAN: &str = "00f067aa0ba902b7";

/// Does all that waits for a stage.
async fn work<S: Stage>(stage: S, queue: Queue, store: &Arc<MemoryStore>, broker: &InProcess) {
    let mut events = broker.events().await.unwrap();
    let jobs = broker.waiting(queue);
    let worker = Worker::new(stage, store.clone(), Arc::new(broker.clone()), WorkerOptions::default());
    let shutdown = CancellationToken::new();
    let until_done = async {
        let mut ended = 0;
        while ended < jobs {
            let event = events.next().await.unwrap();
            ended += usize::from(matches!(Notice::decode(&event), Some(Notice::JobEnded { .. })));
        }
        shutdown.cancel();
    };
    timeout(SOON, async { tokio::join!(worker.run(shutdown.clone()), until_done) })
        .await
        .expect("an end soon");
}

/// The one trace and the one parent of the letters that wait in a queue, where they stay.
async fn ids(queue: Queue, broker: &InProcess) -> (String, String) {
    let letters = broker.waiting(queue);
    let mut consumer = broker.consume(queue, letters).await.unwrap();
    let mut found = BTreeSet::new();
    for _ in 0..letters {
        let Letter { headers, .. } = consumer.next().await.unwrap().letter.clone();
        let parts: Vec<_> = headers["traceparent"].split('-').map(str::to_owned).collect();
        assert_eq!((parts[0].as_str(), parts[3].as_str()), ("00", "01"), "{parts:?}");
        found.insert((parts[1].clone(), parts[2].clone()));
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.pop_first().unwrap()
}

#[tokio::test]
async fn a_trace_spans_three_hops_and_each_job_has_a_span_of_its_own() {
    let (store, broker) = (Arc::new(MemoryStore::new()), InProcess::new());
    let toy = ToyRun::new("r-trace", &[vec![Fate::Succeeds; 2]], &*store).await;
    let manifest = serde_json::to_vec(&toy.manifest).unwrap();
    store.put(ObjectKey::Run(toy.run.clone()), manifest.into()).await.unwrap();
    let first = Envelope::new(Scope { run: toy.run.clone(), chunk: 0 }, toy.first[0].clone());
    let first = Letter::new(first.encode()).with("traceparent", format!("00-{TRACE}-{FIRST_SPAN}-01"));
    let [split, part, last] = [StageName::Ingest, StageName::Filter, StageName::Preprocess].map(Queue::Work);

    broker.publish(split, first).await.unwrap();
    let mut parents = vec![ids(split, &broker).await];
    work(SplitStage, split, &store, &broker).await;
    parents.push(ids(part, &broker).await);
    work(PartStage, part, &store, &broker).await;
    parents.push(ids(last, &broker).await);
    work(LastStage, last, &store, &broker).await;

    assert!(parents.iter().all(|(trace, _)| trace == TRACE), "{parents:?}");
    let spans: BTreeSet<_> = parents.iter().map(|(_, span)| span).collect();
    assert_eq!(spans.len(), 3, "{parents:?}");
    assert!(store.length(&ObjectKey::RunDone(toy.run)).await.unwrap().is_some());
}
