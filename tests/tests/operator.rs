//! The operator's commands on a real broker and a real store, as far as they go without workers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use modiolus_broker::rabbitmq::definitions::Role;
use modiolus_broker::server::{Server, Vhost};
use modiolus_broker::{Broker, Letter, RabbitMq};
use modiolus_pipeline::job::Wanted;
use modiolus_pipeline::job::filter::FilterJob;
use modiolus_pipeline::key::SCANS_PREFIX;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Bucket, Envelope, Marker, Message, ObjectKey, Outcome, Plane, Scope, StageName};
use modiolus_store::garage::Garage;
use modiolus_store::{ObjectStore, S3Store};
use modiolus_tests::{Finished, Process, files_below, modiolus, scans};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A broker and a store, nobody who works, and the operator's configuration.
struct Site {
    folder: TempDir,
    runtime: Runtime,
    garage: Garage,
    vhost: Vhost,
    _server: Server,
}

impl Site {
    /// `None`, said on standard error, where the servers can't be had.
    fn open() -> Option<Self> {
        let (garage, server) = (Garage::start()?, Server::shared()?);
        let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
        let site = Self { folder, runtime, garage, vhost: server.vhost(), _server: server };
        scans::write(&site.path("modiolus.toml"), site.configuration().as_bytes());
        scans::key_file(site.folder.path());
        Some(site)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configuration(&self) -> String {
        let address = self.vhost.address(Role::Operator);
        let (user, rest) = address.strip_prefix("amqp://").unwrap().split_once(':').unwrap();
        let (password, rest) = rest.split_once('@').unwrap();
        let (host, vhost) = rest.split_once('/').unwrap();
        let options = self.garage.options();
        let (endpoint, access_key) = (options.endpoint.unwrap(), options.access_key);
        let secret_key = self.garage.admin(&["key", "info", "--secret-key", &access_key]);
        format!(
            "[broker]\naddress = 'amqp://{host}'\nvirtual_host = '{vhost}'\nuser = '{user}'\npassword = '{password}'\n\
             management = '{}'\n\
             [store]\nendpoint = '{endpoint}'\naccess_key = '{access_key}'\nsecret_key = '{}'\nmetrics = '{}/metrics'\n\
             [pseudonyms]\nkey_file = '{}'\n",
            self.vhost.management_address(),
            secret_key.trim(),
            self.garage.administration().0,
            self.path("key").display()
        )
    }

    /// `modiolus` in the folder with the configuration, which it finds by itself.
    fn modiolus(&self, arguments: &[&str]) -> Command {
        let mut command = modiolus();
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        Finished::success(&mut self.modiolus(&[arguments, &["--json"]].concat())).json()
    }

    fn store(&self) -> S3Store {
        S3Store::new(self.garage.options()).unwrap()
    }

    fn uploaded(&self) -> usize {
        self.runtime.block_on(self.store().list(Bucket::Incoming, SCANS_PREFIX)).unwrap().len()
    }

    /// The bodies of all letters in a queue, which stay there.
    fn letters(&self, queue: Queue, expected: usize) -> Vec<Envelope> {
        self.runtime.block_on(async {
            let broker = self.broker().await;
            let mut queue = broker.consume(queue, expected + 1).await.unwrap();
            let mut letters = Vec::new();
            while letters.len() < expected {
                letters.push(queue.next().await.unwrap());
            }
            letters.iter().map(|delivery| Envelope::decode(&delivery.letter.body).unwrap()).collect()
        })
    }

    async fn broker(&self) -> RabbitMq {
        RabbitMq::connect(self.vhost.settings(Role::Operator)).await.unwrap()
    }

    fn phantoms(&self, patients: &str, files: &str) -> PathBuf {
        let scans = self.path("scans");
        let phantom = ["phantom", "--patients", patients, "--files", files, "--output", "scans"];
        Finished::success(&mut self.modiolus(&phantom));
        scans
    }
}

const SUBMIT: [&str; 4] = ["submit", "scans", "--until", "filter"];

#[test]
fn an_upload_that_was_killed_goes_on_and_a_second_one_sends_nothing() {
    let Some(site) = Site::open() else { return };
    let files = files_below(&site.phantoms("2", "150")).len();
    let mut submit = Process::start(&mut site.modiolus(&SUBMIT));
    assert!(submit.watch(|| site.uploaded() >= 10), "it was done before it could be killed");
    submit.kill();
    let there = site.uploaded();
    assert!(there < files, "all {files} files were there before the kill");
    assert_eq!(site.json(&["status"]), Value::Array(vec![]), "nothing was started yet");

    let done = site.json(&SUBMIT);
    assert_eq!(done["files"], files);
    let sent = usize::try_from(done["sent"].as_u64().unwrap()).unwrap();
    // What was under way when it was killed may have arrived.
    assert!(sent > 0 && sent <= files - there, "{sent} of {files} were sent, {there} were there");
    let again = site.json(&SUBMIT);
    assert_eq!((&again["sent"], &again["run"]), (&0.into(), &done["run"]));

    let run = done["run"].as_str().unwrap();
    let status = site.json(&["status", run]);
    assert_eq!(
        (&status["state"], &status["files"], &status["chunks_done"]),
        (&"running".into(), &done["files"], &0.into())
    );
    let first = site.letters(
        Queue::Work(StageName::Ingest),
        usize::try_from(status["chunks"].as_u64().unwrap()).unwrap(),
    );
    assert!(first.iter().all(|envelope| envelope.scope.run.as_str() == run && envelope.attempt == 0));
    Finished::failure(&mut site.modiolus(&["fetch", run, "--output", "result"]), &["not done yet"]);
    assert!(!site.path("result").exists());
}

#[test]
fn a_name_belongs_to_one_delivery_and_files_of_another_client_are_found() {
    let Some(site) = Site::open() else { return };
    scans::write(&site.path("scans/207/I1"), &scans::file(&scans::coronal(1, 16)));
    let named = [&SUBMIT[..], &["--name", "july"]].concat();
    assert_eq!(site.json(&named)["run"], "july");
    scans::write(&site.path("scans/207/I2"), &scans::file(&scans::coronal(2, 16)));
    Finished::failure(&mut site.modiolus(&named), &["july", "--name"]);
    assert_eq!(site.json(&["status"]).as_array().map(Vec::len), Some(1));
    assert_eq!(site.json(&["status", "july"])["files"], 1, "what was submitted first stays");

    let put = |path: &str| {
        let key = ObjectKey::Scan(path.into());
        site.runtime.block_on(site.store().put(key, scans::file(&scans::coronal(3, 16)).into())).unwrap();
    };
    put("august/207/I1");
    put("august/208/I1");
    let theirs = site.json(&["submit", "s3://incoming/scans/august", "--until", "filter"]);
    assert_eq!((&theirs["files"], &theirs["sent"]), (&2.into(), &0.into()));
    let nothing = ["submit", "s3://incoming/scans/may", "--until", "filter"];
    Finished::failure(&mut site.modiolus(&nothing), &["spelt right"]);
}

#[test]
fn a_run_that_nobody_works_on_is_cancelled_at_once_and_can_be_submitted_again() {
    let Some(site) = Site::open() else { return };
    site.phantoms("2", "150");
    let submitted = site.json(&SUBMIT);
    let run = submitted["run"].as_str().unwrap();
    let chunks = usize::try_from(site.json(&["status", run])["chunks"].as_u64().unwrap()).unwrap();
    let mut watch = Process::start(&mut site.modiolus(&["watch", run]));
    let broker = site.runtime.block_on(site.broker());
    let epoch = json!({ "event": "epoch", "epoch": 3, "epochs": 9, "loss": 0.5, "judged_loss": 0.5, "iou": 0.5,
        "dice": 0.5, "held_out": true });
    let scope = json!({ "run": run, "chunk": 0 });
    let told = json!({ "notice": "progress", "scope": scope, "stage": "train", "job": "train-0", "progress": epoch });
    // Nobody hears it before the program listens.
    while !watch.said().contains("epoch 3 of 9") {
        broker.tell(told.to_string().into());
        assert!(watch.watch(|| true), "it ended before the run");
    }
    assert_eq!(site.json(&["cancel", run])["cancelled"], chunks);
    watch.finish().with_code(1).saying(&["was cancelled"]);
    let ended = Finished::of(&mut site.modiolus(&["watch", run, "--json"])).with_code(1);
    assert_eq!(ended.json()["outcome"]["failed"][0]["code"], "cancelled", "of a run that has ended, its end");

    let status = site.json(&["status", run]);
    assert_eq!((&status["state"], &status["chunks_done"]), (&"cancelled".into(), &0.into()));
    assert_eq!((&status["cancelled"], &status["failed"]), (&chunks.into(), &Value::Array(vec![])));
    assert_eq!(site.json(&["status"])[0]["state"], "cancelled");
    Finished::failure(&mut site.modiolus(&["fetch", run, "--output", "result"]), &["was cancelled"]);
    assert_eq!(site.json(&["cancel", run])["cancelled"], chunks, "twice is harmless");
    Finished::failure(&mut site.modiolus(&["cancel", "r-nobody"]), &["no run r-nobody"]);

    assert_eq!(site.json(&SUBMIT)["done"], false);
    let status = site.json(&["status", run]);
    assert_eq!((&status["state"], &status["cancelled"]), (&"running".into(), &0.into()));
    assert_eq!(site.letters(Queue::Work(StageName::Ingest), 2 * chunks).len(), 2 * chunks);
}

fn dead_letter(file: u32) -> Envelope {
    let wanted = Wanted { plane: Plane::CORONAL, model: None };
    let job = FilterJob { index: "ingest-0".parse().unwrap(), files: vec![file], wanted };
    let scope = Scope { run: "r-1".parse().unwrap(), chunk: 0 };
    Envelope { attempt: 4, ..Envelope::new(scope, Message::new(&job)) }
}

#[test]
fn the_dead_are_listed_shown_replayed_and_dropped() {
    let Some(site) = Site::open() else { return };
    let (one, two) = (dead_letter(1), dead_letter(2));
    let marker = ObjectKey::Marker(one.scope.run.clone(), 0, one.message.id.clone());
    site.runtime.block_on(async {
        let broker = site.broker().await;
        for envelope in [&one, &two] {
            let letter =
                Letter::new(envelope.encode()).with("code", "object-missing").with("cause", "it is gone");
            broker.publish(Queue::Dead(StageName::Filter), letter).await.unwrap();
        }
        broker.publish(Queue::Dead(StageName::Infer), Letter::new("nonsense")).await.unwrap();
        let failed = Outcome::Failed { code: "object-missing".into(), message: "it is gone".into() };
        let failed = serde_json::to_vec(&Marker { outcome: failed, followers: vec![] }).unwrap();
        site.store().put(marker.clone(), failed.into()).await.unwrap();
    });
    for _ in 0..2 {
        assert_eq!(
            site.json(&["dead", "list"]).as_array().map(Vec::len),
            Some(3),
            "looking takes nothing away"
        );
    }
    let table = Finished::success(&mut site.modiolus(&["dead", "list", "--stage", "filter"]));
    assert!(table.stdout.contains("object-missing") && table.stdout.contains("it is gone"), "{table}");
    let shown = site.json(&["dead", "show", two.message.id.as_str()]);
    assert_eq!(shown[0]["content"]["body"]["message"]["id"], two.message.id.as_str());

    assert_eq!(site.json(&["dead", "replay", one.message.id.as_str()]).as_array().map(Vec::len), Some(1));
    let again = site.letters(Queue::Work(StageName::Filter), 1);
    assert_eq!(again, [Envelope { attempt: 0, ..one }]);
    assert_eq!(
        site.runtime.block_on(site.store().length(&marker)),
        Ok(None),
        "or it would count as given up"
    );
    Finished::success(&mut site.modiolus(&["dead", "drop", "--stage", "infer"]));
    let left = site.json(&["dead", "list"]);
    assert_eq!(left.as_array().map(Vec::len), Some(1), "{left}");
    assert_eq!(left[0]["job"], two.message.id.as_str());
    Finished::failure(&mut site.modiolus(&["dead", "drop", "filter-no-such"]), &["filter-no-such"]);
    Finished::of(&mut site.modiolus(&["dead", "drop"])).with_code(2);
}

/// A port of this machine on which nobody listens.
fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[track_caller]
fn finds(site: &Site, set: &[&str], words: &[&str]) {
    let mut command = site.modiolus(&["doctor"]);
    command.args(set.iter().flat_map(|value| ["--set", value]));
    let said = Finished::of(&mut command).with_code(1);
    for word in words.iter().chain(&["NOT OK", "what to do"]) {
        assert!(said.stdout.contains(word), "{word:?} is not among what was found: {said}");
    }
    for secret in
        site.configuration().lines().filter(|line| line.contains("password") || line.contains("secret_key"))
    {
        let secret = secret.split('\'').nth(1).unwrap();
        assert!(!format!("{said}").contains(secret), "a secret is shown");
    }
}

fn secret_file(folder: &Path) -> String {
    let path = folder.join("wrong");
    scans::write(&path, b"not-the-password");
    path.display().to_string()
}

#[test]
fn the_doctor_finds_nothing_in_a_healthy_cluster() {
    let Some(site) = Site::open() else { return };
    // How full this machine's disk is says nothing of us.
    let doctor = ["doctor", "--set", "store.metrics="];
    let healthy = Finished::success(&mut site.modiolus(&doctor));
    assert!(!healthy.stdout.contains("NOT OK") && healthy.stdout.contains("clocks"), "{healthy}");
    let findings = site.json(&doctor);
    assert!(findings.as_array().unwrap().iter().all(|finding| finding["ok"] == true), "{findings}");
    let all = Finished::of(&mut site.modiolus(&["doctor"])).stdout;
    for what in ["what is set for queues", "room of the broker", "room of the store"] {
        assert!(all.contains(what), "{what}: {all}");
    }
    assert!(!all.contains("not yet known"), "{all}");
}

#[test]
fn the_doctor_tells_a_lease_that_was_changed() {
    let Some(site) = Site::open() else { return };
    site.vhost.shorten_lease("train", Duration::from_secs(60));
    finds(&site, &[], &["policies: train", "60000", "rabbitmqctl import_definitions"]);
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let Some(site) = Site::open() else { return };
    let down = format!("broker.address=amqp://127.0.0.1:{}", closed_port());
    finds(&site, &[&down], &["start RabbitMQ"]);
    let away = format!("store.endpoint=http://127.0.0.1:{}", closed_port());
    finds(&site, &[&away], &["start the store"]);
    finds(&site, &["store.bucket_prefix=other-"], &["buckets", "incoming"]);
    finds(&site, &["store.access_key=GK000000000000000000000000"], &["store.access_key"]);
    finds(&site, &["broker.virtual_host=elsewhere"], &["broker.virtual_host"]);
    finds(&site, &["pseudonyms.key_file=nowhere"], &["pseudonyms.key_file", "nowhere"]);
    let blind = format!("broker.management=http://127.0.0.1:{}", closed_port());
    finds(&site, &[&blind], &["broker.management"]);
    let deaf = format!("store.metrics=http://127.0.0.1:{}", closed_port());
    finds(&site, &[&deaf], &["store.metrics"]);
    finds(&site, &["stoer.folder=x"], &["configuration", "stoer"]);
    site.vhost.delete_queue("filter");
    finds(&site, &[], &["missing: filter", "rabbitmqctl import_definitions"]);

    // The wrong password comes last: whoever tries often is held up by the broker.
    let wrong = secret_file(site.folder.path());
    let configuration = site.configuration();
    let line = configuration.lines().find(|line| line.starts_with("password")).unwrap();
    let configuration = configuration.replace(line, &format!("password_file = '{wrong}'"));
    scans::write(&site.path("modiolus.toml"), configuration.as_bytes());
    let said = Finished::of(&mut site.modiolus(&["doctor"])).with_code(1);
    assert!(said.stdout.contains("password") && said.stdout.contains("broker.password_file"), "{said}");
    assert!(!format!("{said}").contains("not-the-password"), "{said}");
    Finished::failure(&mut site.modiolus(&["dead", "list"]), &["password", "modiolus doctor"]);
}
