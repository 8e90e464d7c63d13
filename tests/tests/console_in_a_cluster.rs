//! The review page of a cluster: workers do what is dropped on it, and nothing is lost when it is killed.

use std::fs;
use std::path::Path;

use modiolus_broker::rabbitmq::definitions::Role;
use modiolus_broker::{Broker, Delivery};
use modiolus_imaging::png;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Bucket, Envelope, Marker, ObjectKey, Outcome, Scope, StageName};
use modiolus_store::ObjectStore;
use modiolus_tests::cluster::{Cluster, DEADLINE};
use modiolus_tests::console::{Console, zipped};
use modiolus_tests::{Finished, modiolus, scans};
use serde_json::Value;
use tokio::time::timeout;

/// Where samples to learn from lie in `datasets`.
const SAMPLES: &str = "samples/";

/// A zip of phantom patients, and the names of their folders.
fn phantoms(folder: &Path) -> (Vec<u8>, Vec<String>) {
    let delivery = folder.join("scans");
    let phantom = ["phantom", "--patients", "2", "--files", "40", "--seed", "7", "--output"];
    Finished::success(modiolus().args(phantom).arg(&delivery));
    let (mut files, mut names) = (Vec::new(), Vec::new());
    for patient in fs::read_dir(&delivery).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir())
    {
        names.push(patient.file_name().into_string().unwrap());
        below(&patient.path(), &mut files);
    }
    let paths = files.iter().map(|path| path.strip_prefix(&delivery).unwrap().to_str().unwrap());
    (zipped(paths.zip(files.iter().map(|path| fs::read(path).unwrap()))), names)
}

fn below(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() { below(&path, files) } else { files.push(path) }
    }
}

/// The path of a slice in which the model has found an array, which is seen through its mask.
fn with_an_array(console: &Console, run: &str) -> String {
    let wall = console.json(&format!("runs/{run}/slices"));
    let slices = wall["slices"].as_array().unwrap();
    let found = slices.iter().find(|slice| slice["electrode_px"].as_u64().is_some_and(|pixels| pixels > 0));
    let text = |name: &str| found.expect("a mask with an electrode")[name].as_str().unwrap();
    format!("slices/{}/{}", text("patient"), text("slice"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_on_the_page_is_done_by_workers_though_the_console_is_killed() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let deliveries = folder.path().join("deliveries");
    let key = scans::key_file(folder.path());
    let (zip, patients) = phantoms(folder.path());
    let stages = [StageName::Ingest, StageName::Filter, StageName::Preprocess, StageName::Infer];
    let mut workers = stages.map(|stage| cluster.worker(stage, &key));
    let (mut console, _) = cluster.console(&deliveries);
    workers.iter_mut().for_each(modiolus_tests::cluster::Worker::wait_until_ready);

    let (status, started) = console.send("POST", "runs?plane=coronal", "application/zip", &zip);
    assert_eq!(status, 202, "{started}");
    let id = started["run"].as_str().unwrap();
    console.kill_and_start_again();
    let run = console.done(id);
    assert!(run["kept"].as_u64().unwrap() > 0 && run["done"] == run["files"], "{run}");
    assert_eq!((&run["drawn"], &run["given_up"]), (&run["kept"], &Value::Array(vec![])));
    let left = fs::read_dir(&deliveries).unwrap().count();
    assert_eq!(left, 0, "what was uploaded is deleted when it is in the store");
    let (status, again) = console.send("POST", "runs?plane=coronal", "application/zip", &zip);
    assert_eq!((status, &again["run"]), (202, &started["run"]), "the same delivery is the same run");

    let slice = with_an_array(&console, id);
    let mask = console.bytes(&format!("{slice}/mask.png"));
    assert!(!png::decode_mask(&mask).unwrap().is_blank());
    let mut events = cluster.broker().await.events().await.unwrap();
    let query = format!("{slice}/revisions?state=accepted");
    let (status, saved) = console.send("POST", &query, "image/png", &mask);
    assert_eq!(status, 201, "{saved}");
    console.kill_and_start_again();
    let has_sample = async || cluster.store().list(Bucket::Datasets, SAMPLES).await.unwrap().len() == 2;
    cluster.wait_until(&mut events, "the annotation is a sample", has_sample).await;
    assert_eq!(console.json(&format!("{slice}/revisions"))[0]["revision"], saved["revision"]);

    let said = console.stop();
    assert!(said.contains("told to stop") && said.contains("stopped"), "{said}");
    for patient in &patients {
        assert!(!said.contains(patient.as_str()), "a path of a patient is in the log: {said}");
    }
}

/// What a worker does with a job that it can't do.
async fn give_up(cluster: &Cluster, broker: &dyn Broker, delivery: Delivery) {
    let Envelope { scope: Scope { run, chunk }, message, .. } =
        Envelope::decode(&delivery.letter.body).unwrap();
    let (code, cause) = ("object-missing", "it is gone");
    let outcome = Outcome::Failed { code: code.into(), message: cause.into() };
    let marker = serde_json::to_vec(&Marker { outcome, followers: vec![] }).unwrap();
    cluster.store().put(ObjectKey::Marker(run, chunk, message.id), marker.into()).await.unwrap();
    let letter = delivery.letter.clone().with("code", code).with("cause", cause);
    broker.publish(Queue::Dead(StageName::Ingest), letter).await.unwrap();
    delivery.ack().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_replayed_or_dropped_from_the_page_and_a_run_is_cancelled() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (console, _) = cluster.console(&folder.path().join("deliveries"));
    let broker = cluster.broker().await;
    let mut work = broker.consume(Queue::Work(StageName::Ingest), 1).await.unwrap();
    let mut job = async || timeout(DEADLINE, work.next()).await.expect("a job in time").expect("a job");
    // One file is one job.
    let zip = zipped([("207/I1", scans::file(&scans::coronal(1, 16)))]);
    let start = |plane: &str| {
        let (status, started) = console.send("POST", &format!("runs?plane={plane}"), "application/zip", &zip);
        assert_eq!(status, 202, "{started}");
        format!("runs/{}", started["run"].as_str().unwrap())
    };
    let change =
        |run: &str, what: &str| console.send("POST", &format!("{run}/{what}"), "application/json", b"");
    let run = start("coronal");
    let post = |what: &str| change(&run, what);

    let first = job().await;
    assert_eq!(post("replay").0, 409, "nothing was given up yet");
    let message = Envelope::decode(&first.letter.body).unwrap().message;
    give_up(&cluster, &broker, first).await;
    let (status, replayed) = post("replay");
    assert_eq!((status, &replayed["jobs"]), (202, &1.into()), "{replayed}");
    let again = job().await;
    assert_eq!(Envelope::decode(&again.letter.body).unwrap().message, message);

    give_up(&cluster, &broker, again).await;
    let (status, dropped) = post("drop");
    assert_eq!((status, &dropped["jobs"]), (200, &1.into()), "{dropped}");
    assert_eq!(post("drop").0, 409, "nothing is kept of it any more");

    let other = start("axial");
    let in_hand = job().await;
    let (status, cancelled) = change(&other, "cancel");
    assert_eq!((status, &cancelled["state"]), (200, &"cancelled".into()), "{cancelled}");
    in_hand.ack().await.unwrap();
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_takes_no_jobs_and_tells_how_it_is() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (console, probes) = cluster.console(folder.path());
    let page = |path: &str| {
        ureq::get(format!("http://{probes}{path}")).call().unwrap().into_body().read_to_string().unwrap()
    };
    assert_eq!((page("/livez").as_str(), page("/readyz").as_str()), ("alive\n", "ready\n"));
    console.json("runs");
    assert!(page("/metrics").contains("modiolus_requests_total{status=\"2xx\"}"));
    let broker = cluster.broker_for(Role::Console).await;
    assert!(broker.consume(Queue::Work(StageName::Ingest), 1).await.is_err());
    assert!(broker.consume(Queue::Dead(StageName::Ingest), 1).await.is_ok());
    broker.close().await;
}
