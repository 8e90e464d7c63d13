//! Workers reach broker and store over TLS, with certificates of a house's own.

use modiolus_broker::{Broker, Letter};
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Envelope, JobId, ObjectKey, RunId, StageName};
use modiolus_store::ObjectStore;
use modiolus_tests::cluster::{Cluster, DEADLINE};
use modiolus_tests::scans;
use tokio::time::timeout;

const STAGE: StageName = StageName::Ingest;

/// A job that no worker of this version knows: it is given up, with a marker in the store and a dead letter at the broker.
fn job_of_another_version() -> (Letter, RunId, JobId) {
    let scope = r#"{"run": "r-tls", "chunk": 0}"#;
    let job = "ingest-000000000000000000000001";
    let body = format!(
        r#"{{"scope": {scope}, "message": {{"id": "{job}", "stage": "ingest", "schema": 999, "body": {{}}}}}}"#
    );
    let Envelope { scope, message, .. } = Envelope::decode(body.as_bytes()).unwrap();
    (Letter::new(body), scope.run, message.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_works_over_tls_with_authorities_of_its_own() {
    let Some(cluster) = Cluster::start_with_tls().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = scans::key_file(folder.path());
    let mut worker = cluster.worker_with(STAGE, &key, &cluster.authorities());
    worker.wait_until_ready();
    let broker = cluster.broker().await;
    let mut dead = broker.consume(Queue::Dead(STAGE), 1).await.unwrap();
    let (letter, run, job) = job_of_another_version();
    let manifest = RunManifest { wanted: None, chunks: vec![job.clone()] };
    let manifest = serde_json::to_vec(&manifest).unwrap();
    cluster.store().put(ObjectKey::Run(run.clone()), manifest.into()).await.unwrap();
    broker.publish(Queue::Work(STAGE), letter.clone()).await.unwrap();
    let died = timeout(DEADLINE, dead.next()).await.expect("a dead letter in time").unwrap();
    assert_eq!((&died.letter.body, died.letter.headers["code"].as_str()), (&letter.body, "unknown-schema"));
    let marker = ObjectKey::Marker(run, 0, job);
    assert!(cluster.store().length(&marker).await.unwrap().is_some(), "its marker is in the store");
    died.ack().await.unwrap();
    worker.stop().with_code(0);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_trusts_nobody_whom_it_was_not_told_of() {
    let Some(cluster) = Cluster::start_with_tls().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = scans::key_file(folder.path());
    for stranger in ["BROKER", "STORE"] {
        let name = format!("MODIOLUS__{stranger}__CA_FILE");
        let mut told = cluster.authorities();
        told.retain(|(key, _)| *key != name);
        assert_eq!(told.len(), 1);
        let mut worker = cluster.worker_with(STAGE, &key, &told);
        worker.wait_until_it_says(&[
            &format!("the {} is not there yet", stranger.to_lowercase()),
            "certificate",
        ]);
        assert!(worker.page("/readyz").is_none(), "{stranger}: it is ready");
        worker.stop().with_code(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_certificates_is_refused_by_name() {
    let Some(cluster) = Cluster::start_with_tls().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = scans::key_file(folder.path());
    for (name, attribute) in
        [("MODIOLUS__BROKER__CA_FILE", "broker.ca_file"), ("MODIOLUS__STORE__CA_FILE", "store.ca_file")]
    {
        for file in ["/no/such.pem".to_owned(), key.display().to_string()] {
            let mut told = cluster.authorities();
            told.retain(|(key, _)| *key != name);
            told.push((name, file.clone()));
            let ended = cluster.worker_with(STAGE, &key, &told).finish().with_code(1);
            assert!(ended.stderr.contains(attribute) || ended.stderr.contains(&file), "{attribute}: {ended}");
        }
    }
}
