//! Masks that people drew start a training, by message, and its model draws the next run's masks.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use modiolus_broker::{Broker, Events};
use modiolus_imaging::png;
use modiolus_pipeline::key::TRAININGS_PREFIX;
use modiolus_pipeline::plan::{Input, Network};
use modiolus_pipeline::{Bucket, ObjectKey, Plan, RunId, StageName};
use modiolus_store::ObjectStore;
use modiolus_tests::cluster::{Cluster, Worker};
use modiolus_tests::{Finished, modiolus, scans};
use serde_json::Value;
use tokio::time::timeout;

/// How long the cluster may take for anything.
const DEADLINE: Duration = Duration::from_secs(230);

/// Between two looks at the store, should an event get lost.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Before the number of epochs on the page of metrics.
const EPOCHS: &str = "modiolus_training_epochs_total ";

/// How many new masks start a training.
const ENOUGH: usize = 5;

/// A network that learns in seconds.
fn plan(epochs: u32) -> Plan {
    let network = Network::Unet { levels: 3, features: 8 };
    Plan { network, input: Input::Native { multiple: 8, patch: 64, patches: 40 }, epochs, ..Plan::default() }
}

/// Scans of some patients and their true masks; a model that has learned next to nothing.
fn prepare(folder: &Path) {
    let mut phantom = modiolus();
    phantom.args(["phantom", "--patients", "4", "--files", "60", "--seed", "7", "--output"]);
    Finished::success(phantom.arg(folder.join("scans")).arg("--truth").arg(folder.join("truth")));
    let mut train = modiolus();
    train.args(["train", "--plan"]).arg(scans::plan_file(folder, &plan(1)));
    train.arg("--images").arg(folder.join("truth/images")).arg("--masks").arg(folder.join("truth/masks"));
    Finished::success(train.arg("--output").arg(folder.join("ignorant.safetensors")));
}

/// Copies true masks with electrode, of as many patients as there are, into the folder `drawn`.
fn draw(folder: &Path, count: usize) {
    let mut by_patient: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in fs::read_dir(folder.join("truth/masks")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if !png::decode_mask(&fs::read(entry.path()).unwrap()).unwrap().is_blank() {
            by_patient.entry(name.split('_').next().unwrap().to_owned()).or_default().push(name);
        }
    }
    by_patient.values_mut().for_each(|names| names.sort());
    let longest = by_patient.values().map(Vec::len).max().unwrap_or(0);
    let in_turn = (0..longest).flat_map(|n| by_patient.values().filter_map(move |names| names.get(n)));
    let chosen: Vec<&String> = in_turn.take(count).collect();
    assert!(chosen.len() == count && by_patient.len() > 2, "{by_patient:?}");
    for name in chosen {
        scans::write(
            &folder.join("drawn").join(name),
            &fs::read(folder.join("truth/masks").join(name)).unwrap(),
        );
    }
}

struct Site {
    cluster: Cluster,
    folder: tempfile::TempDir,
    key: std::path::PathBuf,
}

impl Site {
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let mut command = self.cluster.modiolus(&self.key);
        Finished::success(command.args(arguments).arg("--json")).json()
    }

    fn workers(&self) -> Vec<Worker> {
        let mut workers: Vec<Worker> = Vec::new();
        for stage in StageName::ALL {
            workers.push(self.cluster.worker(stage, &self.key));
        }
        workers.iter_mut().for_each(Worker::wait_until_ready);
        workers
    }

    /// The trainings that were started.
    async fn trainings(&self) -> Vec<RunId> {
        let paths = self.cluster.store().list(Bucket::Models, TRAININGS_PREFIX).await.unwrap();
        let id =
            |path: &String| path[TRAININGS_PREFIX.len()..].strip_suffix(".json").unwrap().parse().unwrap();
        paths.iter().map(id).collect()
    }

    /// Waits until a training is done, and gives it.
    async fn trained(&self, events: &mut Box<dyn Events>) -> RunId {
        let begun = Instant::now();
        loop {
            if let [run] = self.trainings().await.as_slice()
                && self.cluster.store().length(&ObjectKey::RunDone(run.clone())).await.unwrap().is_some()
            {
                return run.clone();
            }
            assert!(begun.elapsed() < DEADLINE, "no training is done after {DEADLINE:?}");
            let _ = timeout(LOOK_AGAIN, events.next()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_new_masks_start_one_training_and_the_next_run_uses_its_model() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = scans::key_file(folder.path());
    prepare(folder.path());
    draw(folder.path(), ENOUGH);
    let site = Site { cluster, folder, key };
    let promoted = site.json(&["models", "promote", &site.path("ignorant.safetensors"), "--cluster"]);
    let ignorant = promoted["current"].as_str().unwrap().to_owned();

    let broker = site.cluster.broker().await;
    let mut events = broker.events().await.unwrap();
    let workers = site.workers();
    let deliveries = site.folder.path().join("deliveries");
    let told = [("MODIOLUS__TRAINING__LOOK_SECONDS", "1")];
    let (console, _) = site.cluster.console_with(&deliveries, &told);
    let (scans, drawn) = (site.path("scans"), site.path("drawn"));
    let first = site.json(&["submit", &scans, "--wait"]);
    let run = first["run"].as_str().unwrap();
    assert_eq!(site.json(&["status", run])["model"], ignorant);
    assert!(site.trainings().await.is_empty(), "nobody has drawn anything");

    let import = ["annotations", "import", &drawn, "--run", run, "--keep-patient-ids", "--wait"];
    let imported = site.json(&import);
    let annotations = imported["annotations"].as_array().unwrap();
    assert!(annotations.iter().all(|annotation| annotation["verdict"] == "accepted"), "{imported}");
    assert_eq!(annotations.len(), ENOUGH);
    let training = site.trained(&mut events).await;

    let models = site.json(&["models", "list", "--cluster"]);
    let models = models.as_array().unwrap();
    assert_eq!(models.len(), 2, "{models:?}");
    let candidate = models.iter().find(|model| model["version"] != *ignorant).unwrap();
    let gate = &candidate["gate"];
    assert_eq!((&gate["rival"], &gate["promoted"]), (&Value::from(ignorant), &Value::Bool(true)), "{gate}");
    assert_eq!((&candidate["current"], &candidate["plan"]["name"]), (&true.into(), &"fine-tuning".into()));
    let watched = Finished::success(site.cluster.modiolus(&site.key).args(["watch", training.as_str()]));
    watched.saying(&["epoch 1 of 24", "epoch 24 of 24", "is done"]);

    // The same workers, without a restart.
    let second = site.json(&["submit", &scans, "--wait"]);
    assert_ne!(second["run"], first["run"]);
    assert_eq!(site.json(&["status", second["run"].as_str().unwrap()])["model"], candidate["version"]);
    let masks = format!("{}/", candidate["version"].as_str().unwrap());
    assert!(!site.cluster.store().list(Bucket::Results, &masks).await.unwrap().is_empty());

    assert_eq!(site.json(&import)["annotations"].as_array().map(Vec::len), Some(ENOUGH));
    let wanted = site.json(&["retrain", "--epochs", "1", "--wait"]);
    assert_eq!((&wanted["state"], wanted["epochs"].as_array().map(Vec::len)), (&"done".into(), Some(1)));
    assert_eq!(wanted["gate"]["rival"], candidate["version"]);
    assert_eq!(site.trainings().await.len(), 2, "what was imported twice is not new");

    // And from the review page.
    let (status, asked) = console.send("POST", "trainings", "application/json", br#"{"epochs": 2}"#);
    assert_eq!(status, 202, "{asked}");
    let watched = Finished::success(
        site.cluster.modiolus(&site.key).args(["watch", asked["training"].as_str().unwrap()]),
    );
    watched.saying(&["epoch 2 of 2", "is done"]);
    broker.close().await;
    let pages: Vec<String> = workers.iter().map(|worker| worker.page("/metrics").unwrap()).collect();
    let epochs = pages.iter().flat_map(|page| page.lines().filter_map(|line| line.strip_prefix(EPOCHS)));
    let epochs: f64 = epochs.map(|number| number.trim().parse::<f64>().unwrap()).sum();
    assert!(epochs >= f64::from(24 + 1 + 2), "{epochs} epochs of three trainings are counted");
    for worker in workers {
        worker.stop().with_code(0);
    }
}
