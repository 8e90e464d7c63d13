//! Messages that no worker can do, on a real broker: each ends where people find it, with its reason, and nothing else is lost for it.

use modiolus_broker::{Broker, Consumer, Delivery, Letter};
use modiolus_pipeline::job::Wanted;
use modiolus_pipeline::job::filter::FilterJob;
use modiolus_pipeline::job::ingest::{IngestJob, ListedFile, Listing};
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::message::MAX_MESSAGE_BYTES;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Bucket, Digest, Envelope, Job, Message, ObjectKey, Plane, RunId, Scope, StageName};
use modiolus_store::ObjectStore;
use modiolus_tests::cluster::{Cluster, DEADLINE};
use modiolus_tests::{Finished, scans};
use tokio::time::timeout;

const STAGE: StageName = StageName::Filter;

async fn next(queue: &mut Box<dyn Consumer>) -> Delivery {
    timeout(DEADLINE, queue.next()).await.expect("a letter in time").expect("a letter")
}

/// Puts a run of this one job into the store and has a worker do it, who gives it up; the letter that it leaves among the dead.
async fn given_up<J: Job>(cluster: &Cluster, job: &J) -> Letter {
    let folder = tempfile::tempdir().unwrap();
    let key = scans::key_file(folder.path());
    let (message, run) = (Message::new(job), "r-here".parse::<RunId>().unwrap());
    let manifest = RunManifest { wanted: None, chunks: vec![message.id.clone()] };
    let manifest = serde_json::to_vec(&manifest).unwrap();
    cluster.store().put(ObjectKey::Run(run.clone()), manifest.into()).await.unwrap();
    let envelope = Envelope::new(Scope { run: run.clone(), chunk: 0 }, message);
    let broker = cluster.broker().await;
    broker.publish(Queue::Work(J::STAGE), Letter::new(envelope.encode())).await.unwrap();
    let worker = cluster.worker(J::STAGE, &key);
    let mut dead = broker.consume(Queue::Dead(J::STAGE), 1).await.unwrap();
    let letter = next(&mut dead).await.letter.clone();
    assert_eq!(letter.body, envelope.encode());
    worker.stop().with_code(0);
    let status = Finished::success(cluster.modiolus(&key).args(["status", run.as_str(), "--json"])).json();
    assert_eq!(status["state"], "done", "nobody waits for it: {status}");
    assert_eq!(status["failed"][0]["code"], letter.headers["code"].as_str());
    let watched = Finished::of(cluster.modiolus(&key).args(["watch", run.as_str(), "--json"])).with_code(1);
    assert_eq!(
        (&watched.json()["notice"], &watched.json()["run"]),
        (&"run-done".into(), &run.as_str().into())
    );
    broker.close().await;
    letter
}

fn ingest(listing: Digest) -> IngestJob {
    IngestJob { listing, wanted: Wanted { plane: Plane::CORONAL, model: None } }
}

/// A job whose run is in no store that this test has.
fn job(number: u32) -> Envelope {
    let wanted = Wanted { plane: Plane::CORONAL, model: None };
    let job = FilterJob { index: "ingest-0".parse().unwrap(), files: vec![number], wanted };
    Envelope::new(Scope { run: "r-elsewhere".parse().unwrap(), chunk: 0 }, Message::new(&job))
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_are_dead_untouched_with_their_reason_and_the_next_job_is_looked_at() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = scans::key_file(folder.path());
    let mut worker = cluster.worker(STAGE, &key);
    worker.wait_until_ready();
    let broker = cluster.broker().await;
    let mut dead = broker.consume(Queue::Dead(STAGE), 2).await.unwrap();
    let large = "x".repeat(10 << 20);
    assert!(large.len() > MAX_MESSAGE_BYTES);
    cluster.vhost().publish(&Queue::Work(STAGE).name(), &large);
    let died = next(&mut dead).await;
    assert!(died.letter.body == large, "{} bytes came back", died.letter.body.len());
    drop((died, dead));
    let listed = Finished::success(cluster.modiolus(&key).args(["dead", "drop", "--all", "--json"])).json();
    assert_eq!(listed[0]["code"], "too-large");
    let cause = listed[0]["cause"].as_str().unwrap();
    assert!(cause.contains(&large.len().to_string()), "{cause}");
    assert!(cause.contains(&MAX_MESSAGE_BYTES.to_string()), "{cause}");
    let mut dead = broker.consume(Queue::Dead(STAGE), 2).await.unwrap();
    cluster.vhost().publish(&Queue::Work(STAGE).name(), "no message");
    let died = next(&mut dead).await;
    assert_eq!(
        (&died.letter.body[..], died.letter.headers["code"].as_str()),
        (&b"no message"[..], "undecodable")
    );
    died.ack().await.unwrap();
    worker.stop().with_code(0);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_another_cluster_on_the_same_broker_is_kept_with_what_to_do_until_its_run_is_there() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = scans::key_file(folder.path());
    let mut worker = cluster.worker(STAGE, &key);
    worker.wait_until_ready();
    let broker = cluster.broker().await;
    let theirs = job(1);
    broker.publish(Queue::Work(STAGE), Letter::new(theirs.encode())).await.unwrap();
    let mut dead = broker.consume(Queue::Dead(STAGE), 1).await.unwrap();
    let died = next(&mut dead).await;
    assert_eq!(
        (&died.letter.body[..], died.letter.headers["code"].as_str()),
        (&theirs.encode()[..], "foreign-run")
    );
    let cause = &died.letter.headers["cause"];
    assert!(cause.contains("r-elsewhere") && cause.contains("broker.virtual_host"), "{cause}");
    let left = cluster.store().list(Bucket::Runs, "").await.unwrap();
    assert_eq!(left, Vec::<String>::new(), "nothing of another cluster's run is in this one's store");
    drop((died, dead));

    // As its own cluster does it, once each has a virtual host of its own.
    worker.stop().with_code(0);
    cluster.store().put(ObjectKey::Run("r-elsewhere".parse().unwrap()), "{}".into()).await.unwrap();
    let mut replay = cluster.modiolus(&key);
    Finished::success(replay.args(["dead", "replay", theirs.message.id.as_str()]));
    let mut work = broker.consume(Queue::Work(STAGE), 1).await.unwrap();
    assert_eq!(Envelope::decode(&next(&mut work).await.letter.body).unwrap(), theirs);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_files_that_was_changed_is_not_believed_and_is_named() {
    let Some(cluster) = Cluster::start() else { return };
    let listing = Digest::of(r#"{"files":[]}"#);
    cluster.store().put(ObjectKey::Listing(listing), r#"{"files": []}"#.into()).await.unwrap();
    let letter = given_up(&cluster, &ingest(listing)).await;
    assert_eq!(letter.headers["code"], "digest-mismatch");
    assert!(letter.headers["cause"].contains(&ObjectKey::Listing(listing).to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_since_it_was_listed_is_named_and_its_job_waits_with_the_dead() {
    let Some(cluster) = Cluster::start() else { return };
    let file =
        ListedFile { path: "DOE^JANE/I1".into(), length: 9, modified: 0, start: None, unreadable: None };
    let gone = ObjectKey::Scan(file.path.clone());
    let json = serde_json::to_vec(&Listing { files: vec![file] }).unwrap();
    let listing = Digest::of(&json);
    cluster.store().put(ObjectKey::Listing(listing), json.into()).await.unwrap();
    let letter = given_up(&cluster, &ingest(listing)).await;
    assert_eq!(letter.headers["code"], "object-missing");
    let cause = &letter.headers["cause"];
    assert!(cause.contains(&gone.to_string()) && !cause.contains("DOE"), "{cause}");
}
