//! A cluster on this machine: a real RabbitMQ, a real Garage, and the real workers, each with rights of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use modiolus_broker::rabbitmq::definitions::Role;
use modiolus_broker::server::{Server, Vhost};
use modiolus_broker::{Broker, Events, Letter, RabbitMq};
use modiolus_init::member::Member;
use modiolus_pipeline::job::ingest::{IngestJob, Listing};
use modiolus_pipeline::join::{Output, RunManifest};
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{
    Bucket, Digest, Envelope, Fetched, Message, ObjectKey, Read, RunId, Scope, StageName,
};
use modiolus_store::garage::{Garage, Rights};
use modiolus_store::{FolderStore, ObjectStore, S3Options, S3Store};
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::console::Console;
use crate::door::Door;
use crate::program::{Finished, Process, modiolus, program};

/// How long a worker may take until it takes jobs.
const START: Duration = Duration::from_secs(60);

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long a cluster may take for anything.
pub const DEADLINE: Duration = Duration::from_secs(200);

/// Between two looks at the store, should an event get lost.
const LOOK_FOR_MARK: Duration = Duration::from_millis(500);

/// A broker and a store.
pub struct Cluster {
    vhost: Vhost,
    _server: Server,
    garage: Garage,
    store: S3Store,
    secrets: TempDir,
    doors: Option<Door>,
}

/// The buckets that a program opens in an installation, and how.
fn buckets(member: Member) -> Vec<(Bucket, Rights)> {
    let rights = |bucket: Bucket| {
        let rights = member.rights(bucket);
        match (rights.read, rights.write, rights.owner) {
            (false, false, false) => None,
            (true, false, false) => Some((bucket, Rights::Read)),
            (true, true, false) => Some((bucket, Rights::ReadWrite)),
            other => panic!("{} and {bucket}: no program has the rights {other:?}", member.name()),
        }
    };
    Bucket::ALL.into_iter().filter_map(rights).collect()
}

impl Cluster {
    /// A cluster without workers; `None`, said on standard error, where its servers can't be had.
    ///
    /// # Panics
    /// When a server does not start.
    pub fn start() -> Option<Self> {
        let garage = Garage::start()?;
        let server = Server::shared()?;
        let store = S3Store::new(garage.options()).expect("options of a server that runs");
        let secrets = tempfile::tempdir().expect("a temporary folder");
        Some(Self { vhost: server.vhost(), _server: server, garage, store, secrets, doors: None })
    }

    /// A cluster whose workers reach the broker and the store over TLS alone, with certificates of authorities of its own.
    ///
    /// # Panics
    /// As [`Cluster::start`].
    pub async fn start_with_tls() -> Option<Self> {
        let cluster = Self::start()?;
        let store = cluster.garage.options().endpoint.expect("Garage has an address");
        let store = store.trim_start_matches("http://").parse().expect("an address of this machine");
        let door = Door::before(store, cluster.secrets.path()).await;
        Some(Self { doors: Some(door), ..cluster })
    }

    /// What a worker is told of whom to trust: the authorities of the broker and of the store.
    pub fn authorities(&self) -> Vec<(&'static str, String)> {
        let store = self.doors.iter().map(|door| ("MODIOLUS__STORE__CA_FILE", door.ca_file().to_owned()));
        let files = [("MODIOLUS__BROKER__CA_FILE", self.vhost.ca_file())].into_iter().chain(store);
        files.map(|(key, file)| (key, file.display().to_string())).collect()
    }

    /// The broker's virtual host.
    pub fn vhost(&self) -> &Vhost {
        &self.vhost
    }

    /// The store, as its owner sees it.
    pub fn store(&self) -> &S3Store {
        &self.store
    }

    /// The broker, as the operator sees it.
    ///
    /// # Panics
    /// When it can't be reached.
    pub async fn broker(&self) -> RabbitMq {
        self.broker_for(Role::Operator).await
    }

    /// A worker with a user and an access key of its own, told by the environment; `key_file` holds the key of the
    /// pseudonyms.
    pub fn worker(&self, stage: StageName, key_file: &Path) -> Worker {
        self.worker_with(stage, key_file, &[])
    }

    /// The same, told more by the environment.
    pub fn worker_with(&self, stage: StageName, key_file: &Path, told: &[(&str, String)]) -> Worker {
        let (mut command, listen) = self.program(Member::Worker(stage));
        command.env("MODIOLUS__WORKER__SLOTS", "1");
        if stage == StageName::Filter {
            command.env("MODIOLUS__PSEUDONYMS__KEY_FILE", key_file);
        }
        command.envs(told.iter().map(|(key, value)| (key, value)));
        let process = Some(Process::start(&mut command));
        Worker { stage, listen, command, process }
    }

    /// A program of the cluster with a user and an access key of its own, and where it tells how it is.
    fn program(&self, member: Member) -> (Command, SocketAddr) {
        let listen = free_address();
        let mut command = program(&format!("modiolus-{}", member.name()));
        let access = self.garage.make_key(member.name(), &buckets(member));
        self.tell_broker(&mut command, member.role().expect("a program has a user"));
        self.tell_store(&mut command, &access);
        command.env("MODIOLUS__HTTP__LISTEN", listen.to_string());
        (command, listen)
    }

    /// The review page with somebody who has logged in, `operator`. Deliveries are unpacked there. And where it tells
    /// how it is.
    ///
    /// # Panics
    /// When it ends instead of serving.
    pub fn console(&self, deliveries: &Path) -> (Console, SocketAddr) {
        self.console_with(deliveries, &[])
    }

    /// The same, told more by the environment.
    pub fn console_with(&self, deliveries: &Path, told: &[(&str, &str)]) -> (Console, SocketAddr) {
        let (mut command, probes) = self.program(Member::Console);
        let address = free_address();
        command
            .env("MODIOLUS__CONSOLE__LISTEN", address.to_string())
            .env("MODIOLUS__CONSOLE__DELIVERIES", deliveries)
            .envs(told.iter().copied());
        let mut add = self.modiolus(Path::new("none"));
        add.args(["users", "add", "operator", "--role", "operator", "--cluster"]);
        let link = Finished::success(&mut add).stdout.trim().to_owned();
        (Console::of(command, address, Some(link)), probes)
    }

    /// The broker, as a role sees it.
    ///
    /// # Panics
    /// When it can't be reached.
    pub async fn broker_for(&self, role: Role) -> RabbitMq {
        RabbitMq::connect(self.vhost.settings(role)).await.expect("the broker that runs")
    }

    /// `modiolus` for the operator, who is told by the environment too.
    pub fn modiolus(&self, key_file: &Path) -> Command {
        let mut command = program("modiolus");
        self.tell_broker(&mut command, Role::Operator);
        self.tell_store(&mut command, &self.garage.options());
        command.env("MODIOLUS__PSEUDONYMS__KEY_FILE", key_file);
        command
    }

    fn tell_broker(&self, command: &mut Command, role: Role) {
        let address =
            if self.doors.is_some() { self.vhost.tls_address(role) } else { self.vhost.address(role) };
        let parts =
            address.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?)));
        let (scheme, (user, password), (host, vhost)) = parts
            .and_then(|(scheme, (user, host))| Some((scheme, user.split_once(':')?, host.split_once('/')?)))
            .expect("amqp://USER:PASSWORD@HOST:PORT/VHOST");
        command
            .env("MODIOLUS__BROKER__ADDRESS", format!("{scheme}://{host}"))
            .env("MODIOLUS__BROKER__VIRTUAL_HOST", vhost)
            .env("MODIOLUS__BROKER__USER", user)
            .env(
                "MODIOLUS__BROKER__PASSWORD_FILE",
                self.secret(&format!("broker-{}", role.user_name()), password),
            );
    }

    fn tell_store(&self, command: &mut Command, access: &S3Options) {
        let S3Options { endpoint, access_key, secret_key, .. } = access;
        let endpoint = endpoint.clone().expect("Garage has an address");
        command
            .env("MODIOLUS__STORE__ENDPOINT", self.doors.as_ref().map_or(endpoint, Door::endpoint))
            .env("MODIOLUS__STORE__ACCESS_KEY", access_key)
            .env("MODIOLUS__STORE__SECRET_KEY_FILE", self.secret(access_key, secret_key.reveal()));
    }

    /// A file that holds a secret.
    fn secret(&self, name: &str, text: &str) -> PathBuf {
        let path = self.secrets.path().join(name);
        fs::write(&path, format!("{text}\n")).expect("a temporary folder");
        path
    }

    /// Starts the run that one machine has done: uploads its delivery, its listings and its model, writes its manifest and
    /// publishes the first job of each chunk.
    ///
    /// # Panics
    /// When the store or the broker fails, or there is no run.
    pub async fn submit(&self, broker: &RabbitMq, done: &FolderStore) -> RunId {
        let (run, manifest) = only_run(done).await;
        let wanted = manifest.wanted.clone().expect("a run of the main job");
        let mut keys = vec![ObjectKey::Run(run.clone())];
        if let Some(model) = wanted.model.clone() {
            keys.extend([ObjectKey::Model(model.clone()), ObjectKey::ModelPlan(model)]);
        }
        let mut first = Vec::new();
        for path in done.list(Bucket::Incoming, "listings/").await.expect("a folder") {
            let digest = path.trim_start_matches("listings/").trim_end_matches(".json");
            let listing: Digest = digest.parse().expect("a listing is named by its digest");
            let key = ObjectKey::Listing(listing);
            let Listing { files } = json(done, key.clone()).await;
            keys.push(key);
            keys.extend(files.into_iter().map(|file| ObjectKey::Scan(file.path)));
            first.push(Message::new(&IngestJob { listing, wanted: wanted.clone() }));
        }
        for key in keys {
            let bytes = bytes(done, key.clone()).await;
            self.store.put(key, bytes).await.expect("Garage takes it");
        }
        let letters = (0u32..).zip(&manifest.chunks).map(|(chunk, id)| {
            let message = first.iter().find(|message| message.id == *id).expect("each chunk has a listing");
            let envelope = Envelope::new(Scope { run: run.clone(), chunk }, message.clone());
            (Queue::Work(StageName::Ingest), Letter::new(envelope.encode()))
        });
        broker.publish_all(letters.collect()).await.expect("RabbitMQ takes it");
        run
    }

    /// Waits until the store says that a run is done. Looks at every event, and now and then, since events may get lost.
    ///
    /// # Panics
    /// When it takes too long.
    pub async fn wait_until_done(&self, events: &mut Box<dyn Events>, run: &RunId) {
        let is_done =
            async || self.store.length(&ObjectKey::RunDone(run.clone())).await.expect("an answer").is_some();
        self.wait_until(events, "the run is done", is_done).await;
    }

    /// Waits until the store has something. Looks at every event, and now and then, since events may get lost.
    ///
    /// # Panics
    /// When it takes too long.
    pub async fn wait_until(&self, events: &mut Box<dyn Events>, what: &str, is_so: impl AsyncFn() -> bool) {
        let begun = Instant::now();
        while !is_so().await {
            assert!(begun.elapsed() < DEADLINE, "after {DEADLINE:?} it is not so that {what}");
            let _ = timeout(LOOK_FOR_MARK, events.next()).await;
        }
    }
}

/// What one machine leaves of so many phantom patients with so many files each, in `FOLDER/scans`: its store.
///
/// # Panics
/// When it fails.
pub fn on_one_machine(folder: &Path, key: &Path, patients: u32, files: u32) -> FolderStore {
    let [delivery, output] = ["scans", "calm"].map(|name| folder.join(name));
    let [patients, files] = [patients, files].map(|number| number.to_string());
    let phantom = ["phantom", "--patients", &patients, "--files", &files, "--seed", "7", "--output"];
    Finished::success(modiolus().args(phantom).arg(&delivery));
    let mut run = modiolus();
    run.args(["run", "--jobs", "1"]).arg(&delivery).arg("--output").arg(&output);
    Finished::success(run.arg("--key-file").arg(key));
    let store = FolderStore::new(output.join(".modiolus")).expect("the run's store");
    store.with_scans(&delivery).expect("the run's scans")
}

/// The one run of the main job in a store.
async fn only_run(store: &FolderStore) -> (RunId, RunManifest) {
    let paths = store.list(Bucket::Runs, "").await.expect("a folder");
    let mut runs = paths.iter().filter_map(|path| path.strip_suffix("/run.json"));
    let run: RunId = runs.next().expect("a run").parse().expect("a run's folder is its id");
    assert_eq!(runs.next(), None, "more than one run");
    (run.clone(), json(store, ObjectKey::Run(run)).await)
}

async fn bytes(store: &dyn ObjectStore, key: ObjectKey) -> bytes::Bytes {
    match store.get(Read::whole(key.clone())).await {
        Ok(Fetched::Found(object)) => object.bytes,
        other => panic!("{key}: {other:?}"),
    }
}

async fn json<T: DeserializeOwned>(store: &dyn ObjectStore, key: ObjectKey) -> T {
    serde_json::from_slice(&bytes(store, key).await).expect("an object of its kind")
}

/// Insists that two stores have the same objects, byte for byte, where paths in a bucket begin so.
///
/// # Panics
/// When a store fails.
pub async fn assert_same(folder: &Path, store: &S3Store, bucket: Bucket, prefix: &str) {
    let is_wanted = |path: &String| !path.starts_with("unfinished/");
    let there = FolderStore::new(folder).expect("a store").list(bucket, prefix).await.expect("a folder");
    let here = store.list(bucket, prefix).await.expect("Garage lists");
    let here: Vec<String> = here.into_iter().filter(is_wanted).collect();
    assert_eq!(here, there.iter().filter(|path| is_wanted(path)).cloned().collect::<Vec<_>>());
    assert!(!here.is_empty(), "{bucket}/{prefix} is empty");
    for path in here {
        let bytes = fs::read(folder.join(bucket.as_str()).join(&path)).expect("an object is a file");
        let (sha256, length) = (Digest::of(&bytes), bytes.len() as u64);
        let output = Output { bucket: bucket.to_string(), path: path.clone(), sha256, length };
        assert_eq!(store.verify(&[output]).await, Ok(true), "{bucket}/{path} differs");
    }
}

/// An address of this machine that nobody listens on now.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// A worker's process; killed when the value is dropped.
pub struct Worker {
    stage: StageName,
    listen: SocketAddr,
    command: Command,
    process: Option<Process>,
}

impl Worker {
    /// Waits until it takes jobs.
    ///
    /// # Panics
    /// When it ends, or takes too long.
    pub fn wait_until_ready(&mut self) {
        let begun = Instant::now();
        while self.page("/readyz").is_none() {
            let process = self.process.as_mut().expect("a worker that runs");
            let runs = process.watch(|| true);
            if !runs || begun.elapsed() > START {
                let worker = self.process.take().expect("a worker that runs");
                if runs {
                    worker.terminate();
                }
                panic!("{} does not become ready: {}", self.stage, worker.finish());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// A page that it serves; `None` while it serves none, or says that it isn't well.
    pub fn page(&self, path: &str) -> Option<String> {
        let agent = ureq::Agent::config_builder().proxy(None).timeout_global(Some(START)).build().new_agent();
        let answer = agent.get(format!("http://{}{path}", self.listen)).call().ok()?;
        answer.into_body().read_to_string().ok()
    }

    /// Waits until it has said all of some words.
    ///
    /// # Panics
    /// When it ends before, or takes too long.
    pub fn wait_until_it_says(&mut self, words: &[&str]) {
        let begun = Instant::now();
        let process = self.process.as_mut().expect("a worker that runs");
        loop {
            let said = process.said();
            if words.iter().all(|word| said.contains(word)) {
                return;
            }
            assert!(
                process.watch(|| true) && begun.elapsed() < START,
                "{words:?} is not in what it says: {said}"
            );
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// What its `--health` says.
    pub fn health(&self) -> Finished {
        let mut command = program(&format!("modiolus-{}", self.stage));
        Finished::of(command.arg("--health").env("MODIOLUS__HTTP__LISTEN", self.listen.to_string()))
    }

    /// Ends it as a power cut would, and starts it again.
    ///
    /// # Panics
    /// When it can't be started again.
    pub fn kill_and_start_again(&mut self) {
        self.process.take().expect("a worker that runs").kill();
        self.process = Some(Process::start(&mut self.command));
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it doesn't.
    pub fn finish(mut self) -> Finished {
        self.process.take().expect("a worker that runs").finish()
    }

    /// Tells it to stop, and waits for its end.
    ///
    /// # Panics
    /// When it doesn't end.
    pub fn stop(mut self) -> Finished {
        let process = self.process.take().expect("a worker that runs");
        process.terminate();
        process.finish()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }
}
