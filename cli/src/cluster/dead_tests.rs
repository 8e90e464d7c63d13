use modiolus_broker::InProcess;
use modiolus_pipeline::job::Wanted;
use modiolus_pipeline::job::filter::FilterJob;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Marker, Message, ObjectKey, Outcome, Plane, Scope};
use modiolus_store::MemoryStore;

use super::*;

const STAGE: StageName = StageName::Filter;

fn which() -> Which {
    Which { letters: vec![], stage: None, run: None, all: true }
}

fn envelope(run: &str, file: u32) -> Envelope {
    let wanted = Wanted { plane: Plane::CORONAL, model: None };
    let job = FilterJob { index: "ingest-0".parse().unwrap(), files: vec![file], wanted };
    let scope = Scope { run: run.parse().unwrap(), chunk: 3 };
    Envelope { attempt: 4, ..Envelope::new(scope, Message::new(&job)) }
}

/// A broker with two jobs of two runs and a letter that nobody can read among the dead.
async fn broker() -> InProcess {
    let broker = InProcess::new();
    for (run, file) in [("r-1", 1), ("r-2", 2)] {
        let letter = Letter::new(envelope(run, file).encode())
            .with(CODE_HEADER, "object-missing")
            .with(CAUSE_HEADER, "gone");
        broker.publish(Queue::Dead(STAGE), letter).await.unwrap();
    }
    broker.publish(Queue::Dead(StageName::Infer), Letter::new("nonsense")).await.unwrap();
    broker
}

fn key(make: fn(RunId, u32) -> ObjectKey) -> ObjectKey {
    make("r-1".parse().unwrap(), 3)
}

#[tokio::test(start_paused = true)]
async fn looking_changes_nothing() {
    let (broker, store) = (broker().await, MemoryStore::new());
    for _ in 0..2 {
        let all = go_through(&broker, &store, &which(), Action::List).await.unwrap();
        let of = |stage| all.iter().filter(|letter| letter.stage == stage).collect::<Vec<_>>();
        assert_eq!((all.len(), of(STAGE).len()), (3, 2));
        assert_eq!((of(STAGE)[0].code.as_str(), of(STAGE)[0].cause.as_str()), ("object-missing", "gone"));
        assert_eq!((of(StageName::Infer)[0].job.clone(), of(StageName::Infer)[0].bytes), (None, 8));
    }
    let one = Which { run: Some("r-2".parse().unwrap()), ..which() };
    let shown = go_through(&broker, &store, &one, Action::Show).await.unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].content.as_ref().unwrap().body["attempt"], 4);
}

#[tokio::test(start_paused = true)]
async fn a_replayed_job_begins_anew_and_its_run_is_open_again() {
    let (broker, store) = (broker().await, MemoryStore::new());
    let dead = envelope("r-1", 1);
    let failed = Outcome::Failed { code: "object-missing".into(), message: "gone".into() };
    let marker = ObjectKey::Marker(dead.scope.run.clone(), 3, dead.message.id.clone());
    let json = serde_json::to_vec(&Marker { outcome: failed, followers: vec![] }).unwrap();
    for key in [marker.clone(), key(ObjectKey::ChunkDone), ObjectKey::RunDone(dead.scope.run.clone())] {
        store.put(key, json.clone().into()).await.unwrap();
    }
    let named = Which { letters: vec![dead.message.id.to_string()], all: false, ..which() };
    let one = Which { run: Some(dead.scope.run.clone()), ..named };
    assert_eq!(go_through(&broker, &store, &one, Action::Replay).await.unwrap().len(), 1);
    let left: Vec<String> = store.snapshot().into_keys().map(|(_, path)| path).collect();
    assert_eq!(left, ["unfinished/runs/r-1"], "neither job nor chunk nor run count as ended");
    assert_eq!((broker.waiting(Queue::Dead(STAGE)), broker.waiting(Queue::Work(STAGE))), (1, 1));
    let again = broker.consume(Queue::Work(STAGE), 1).await.unwrap().next().await.unwrap().letter;
    assert_eq!(Envelope::decode(&again.body).unwrap(), Envelope { attempt: 0, ..dead });
    assert!(again.headers.is_empty(), "why it had died is history");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_a_duplicate_has_done_stays_done() {
    let (broker, store) = (broker().await, MemoryStore::new());
    let dead = envelope("r-1", 1);
    let marker = ObjectKey::Marker(dead.scope.run.clone(), 3, dead.message.id.clone());
    let json = serde_json::to_vec(&Marker { outcome: Outcome::Done, followers: vec![] }).unwrap();
    store.put(marker.clone(), json.into()).await.unwrap();
    go_through(&broker, &store, &which(), Action::Replay).await.unwrap();
    assert!(store.length(&marker).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_is_gone_and_the_rest_stays() {
    let (broker, store) = (broker().await, MemoryStore::new());
    let nonsense = Which { letters: vec![Digest::of("nonsense").short(12)], ..which() };
    assert_eq!(go_through(&broker, &store, &nonsense, Action::Drop).await.unwrap().len(), 1);
    assert_eq!(go_through(&broker, &store, &which(), Action::List).await.unwrap().len(), 2);
    assert!(Which { all: false, ..which() }.check(Action::Drop).is_err(), "nothing is dropped by mistake");
}

#[test]
fn a_letter_that_the_broker_moved_to_the_dead_says_why() {
    let moved = |body: Vec<u8>| why_dead(&Letter::new(body).with(BROKERS_REASON, "rejected"));
    let small = ("dead-lettered".to_owned(), "the broker gave it up: rejected".to_owned());
    assert_eq!(moved(vec![b'x'; MAX_MESSAGE_BYTES]), small);
    let (code, cause) = moved(vec![b'x'; MAX_MESSAGE_BYTES + 1]);
    assert_eq!(code, "too-large");
    assert!(cause.contains("65537") && cause.contains("65536"), "its length and the limit: {cause}");
}
