//! Models in a store: candidates, the gate, the current one and the way back.

use std::fs;
use std::path::Path;
use std::process::Command;

use modiolus_pipeline::Plan;
use modiolus_pipeline::plan::{Optimizer, Schedule};
use modiolus_tests::{Finished, modiolus, results, scans};
use serde_json::Value;

/// Phantom patients' pictures with their true masks, and a store.
struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    fn new() -> Self {
        let workshop = Self { folder: tempfile::tempdir().unwrap() };
        let mut phantom = modiolus();
        phantom.args(["phantom", "--patients", "4", "--files", "40", "--seed", "11"]);
        phantom.arg("--output").arg(workshop.path("scans")).arg("--truth").arg(workshop.path("truth"));
        Finished::success(&mut phantom);
        fs::create_dir(workshop.path("store")).unwrap();
        workshop
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn train(&self, output: &str, more: &[&str]) -> Finished {
        let mut command = modiolus();
        command
            .arg("train")
            .arg("--images")
            .arg(self.path("truth/images"))
            .arg("--masks")
            .arg(self.path("truth/masks"));
        command.arg("--output").arg(self.path(output)).arg("--store").arg(self.path("store")).args(more);
        Finished::success(&mut command)
    }

    fn models(&self, arguments: &[&str]) -> Command {
        let mut command = modiolus();
        command.arg("models").args(arguments).arg("--json").arg("--store").arg(self.path("store"));
        command
    }

    fn list(&self) -> Vec<Value> {
        Finished::success(&mut self.models(&["list"])).json().as_array().unwrap().clone()
    }

    fn current(&self) -> Option<String> {
        let list = self.list();
        let current: Vec<&Value> = list.iter().filter(|model| model["current"] == true).collect();
        assert!(current.len() <= 1, "{list:?}");
        current.first().map(|model| model["version"].as_str().unwrap().to_owned())
    }

    /// The mask that a model draws on the first picture; without a model, that of the store's current one.
    fn mask(&self, picture: &Path, model: Option<&Path>) -> Vec<u8> {
        let output = tempfile::tempdir().unwrap();
        let mut command = modiolus();
        command
            .arg("predict")
            .arg(picture)
            .arg("--output")
            .arg(output.path())
            .arg("--store")
            .arg(self.path("store"));
        model.map(|model| command.arg("--model").arg(model));
        Finished::success(&mut command);
        let mask = output.path().join(picture.file_name().unwrap());
        results::mask(&mask);
        fs::read(mask).unwrap()
    }
}

#[test]
fn only_a_better_candidate_becomes_current_and_people_can_go_back() {
    let workshop = Workshop::new();
    let useless = Optimizer { rate: 1e-8, weight_decay: 0.0, schedule: Schedule::Constant };
    let plan = Plan { held_out: 0.4, optimizer: useless, ..scans::small_plan(1) };
    let plan = scans::plan_file(workshop.folder.path(), &plan);

    // One that has learned nothing does not beat the base model.
    let worse = workshop
        .train("worse.safetensors", &["--plan", plan.to_str().unwrap()])
        .saying(&["is not made current"]);
    assert_eq!(workshop.current(), None, "{worse}");
    let list = workshop.list();
    assert_eq!(list.len(), 2, "the candidate and the base model: {list:?}");
    let version = |candidate: bool| {
        let found = list.iter().find(|model| model["gate"].is_null() != candidate).unwrap();
        found["version"].as_str().unwrap().to_owned()
    };
    let (worse, base) = (version(true), version(false));
    let shown = Finished::success(&mut workshop.models(&["show", &worse])).json();
    assert_eq!((&shown["gate"]["promoted"], &shown["gate"]["rival"]), (&false.into(), &base.as_str().into()));

    // A person may insist.
    Finished::success(&mut workshop.models(&["promote", &worse]));
    assert_eq!(workshop.current().as_ref(), Some(&worse));

    // What goes on from the base model beats it.
    let said = workshop.train("better.safetensors", &["--base", "base", "--epochs", "1"]);
    let said = said.saying(&["is now current"]);
    assert!(said.stdout.contains("phantoms with arrays of"), "{said}");
    let metrics: Value =
        serde_json::from_slice(&fs::read(workshop.path("better.metrics.json")).unwrap()).unwrap();
    let plan = &metrics["plan"];
    assert_eq!((&plan["name"], &plan["frozen_norm"]), (&"fine-tuning".into(), &true.into()), "{plan}");
    assert_eq!((&plan["optimizer"]["rate"], &plan["rehearsal"]), (&5e-4.into(), &0.75.into()), "{plan}");
    let better = workshop.current().unwrap();
    assert!(better != worse && better != base);
    assert_eq!(
        Finished::success(&mut workshop.models(&["show", "current"])).json()["version"],
        better.as_str()
    );

    // The current model is the one that draws.
    let pictures = workshop.path("truth/images");
    let picture = pictures.join(&modiolus_tests::files_below(&pictures)[0]);
    let (by_worse, by_better) = (workshop.path("worse.safetensors"), workshop.path("better.safetensors"));
    let (by_worse, by_better) =
        (workshop.mask(&picture, Some(&by_worse)), workshop.mask(&picture, Some(&by_better)));
    assert_ne!(by_worse, by_better);
    assert_eq!(workshop.mask(&picture, None), by_better);
    Finished::success(&mut workshop.models(&["rollback"]));
    assert_eq!(workshop.current(), Some(worse.clone()));
    assert_eq!(workshop.mask(&picture, None), by_worse);

    Finished::failure(&mut workshop.models(&["rollback"]), &[worse.as_str()]);
    Finished::failure(&mut workshop.models(&["promote", "m-000000000000"]), &["m-000000000000"]);
    Finished::failure(&mut workshop.models(&["show", "m-000000000000"]), &["m-000000000000"]);
    assert_eq!(workshop.current(), Some(worse));
}

#[test]
fn a_store_without_models_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let list = Finished::success(modiolus().args(["models", "list", "--store"]).arg(folder.path()));
    assert!(list.stdout.contains("no models yet"), "{list}");
    Finished::failure(
        modiolus().args(["models", "show", "current", "--store"]).arg(folder.path()),
        &["no current model"],
    );
    Finished::failure(
        modiolus().args(["models", "rollback", "--store"]).arg(folder.path()),
        &["no current model"],
    );
}
