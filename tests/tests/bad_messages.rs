//! Messages that no worker can do, on a real broker: each ends where people find it, with its reason, and nothing else is lost for it.

use modiolus_broker::{Broker, Consumer, Delivery, Letter};
use modiolus_pipeline::job::Wanted;
use modiolus_pipeline::job::filter::FilterJob;
use modiolus_pipeline::message::MAX_MESSAGE_BYTES;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Bucket, Envelope, Message, ObjectKey, Plane, Scope, StageName};
use modiolus_store::ObjectStore;
use modiolus_tests::cluster::{Cluster, DEADLINE};
use modiolus_tests::{Finished, scans};
use tokio::time::timeout;

const STAGE: StageName = StageName::Filter;

async fn next(queue: &mut Box<dyn Consumer>) -> Delivery {
    timeout(DEADLINE, queue.next()).await.expect("a letter in time").expect("a letter")
}

/// A job whose run is in no store that this test has.
fn job(number: u32) -> Envelope {
    let wanted = Wanted { plane: Plane::CORONAL, model: None };
    let job = FilterJob { index: "ingest-0".parse().unwrap(), files: vec![number], wanted };
    Envelope::new(Scope { run: "r-elsewhere".parse().unwrap(), chunk: 0 }, Message::new(&job))
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_are_dead_untouched_and_the_next_job_is_looked_at() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut worker = cluster.worker(STAGE, &scans::key_file(folder.path()));
    worker.wait_until_ready();
    let broker = cluster.broker().await;
    let mut dead = broker.consume(Queue::Dead(STAGE), 2).await.unwrap();
    let large = "x".repeat(10 << 20);
    assert!(large.len() > MAX_MESSAGE_BYTES);
    cluster.vhost().publish(&Queue::Work(STAGE).name(), &large);
    let died = next(&mut dead).await;
    assert!(died.letter.body == large, "{} bytes came back", died.letter.body.len());
    died.ack().await.unwrap();
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
