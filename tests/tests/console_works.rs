//! What operators do on the review page: trainings, runs that are cancelled, jobs that are given up.

use std::fs;
use std::path::{Path, PathBuf};

use modiolus_tests::console::zipped;
use modiolus_tests::reviewed::{Reviewed, SIDE, drawn};
use modiolus_tests::scans::{coronal, file};
use serde_json::{Value, json};

/// Another delivery than the one that is reviewed already.
fn other_delivery() -> Vec<u8> {
    zipped([("DOE^JANE/I11", file(&coronal(11, SIDE))), ("DOE^JANE/I12", file(&coronal(12, SIDE)))])
}

fn post(reviewed: &Reviewed, path: &str, body: &Value) -> (u16, Value) {
    reviewed.console.send("POST", path, "application/json", body.to_string().as_bytes())
}

/// Accepts a drawn mask on every slice.
fn annotate(reviewed: &Reviewed) {
    for (slice, shift) in reviewed.slices().iter().zip([20, 30, 40]) {
        let of = format!("slices/{}/{}", text(&slice["patient"]), text(&slice["slice"]));
        let path = format!("{of}/revisions?state=accepted");
        let (status, said) = reviewed.console.send("POST", &path, "image/png", &drawn(SIDE.into(), shift).1);
        assert_eq!((status, &said["not_learned"]), (201, &Value::Null), "{said}");
    }
}

fn upload(reviewed: &Reviewed) -> String {
    let (status, started) = reviewed.console.send("POST", "runs", "application/zip", &other_delivery());
    assert_eq!(status, 202, "{started}");
    text(&started["run"]).to_owned()
}

#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// A damaged plan of the store's only model, as long as the whole one: pictures can't be prepared for it.
struct Damaged {
    path: PathBuf,
    whole: Vec<u8>,
}

impl Damaged {
    fn plan(store: &Path, model: &str) -> Self {
        let path = store.join(format!("models/versions/{model}.plan.json"));
        let whole = fs::read(&path).unwrap();
        fs::write(&path, vec![b'x'; whole.len()]).unwrap();
        Self { path, whole }
    }

    fn mend(self) {
        fs::write(self.path, self.whole).unwrap();
    }
}

fn deliveries(reviewed: &Reviewed) -> usize {
    fs::read_dir(reviewed.folder.path().join("store/deliveries")).unwrap().count()
}

#[test]
fn a_training_is_started_watched_and_its_model_proposes_the_next_masks() {
    let mut reviewed = Reviewed::new();
    let (status, said) = post(&reviewed, "trainings", &json!({}));
    assert!(status == 409 && text(&said["error"]).contains("Accept the masks"), "{said}");
    annotate(&reviewed);
    assert_eq!(reviewed.console.json("trainings")["new_masks"], 3);
    for (body, expected) in [(json!({ "epochs": 0 }), 400), (json!({ "plan": "best" }), 422)] {
        assert_eq!(post(&reviewed, "trainings", &body).0, expected, "{body}");
    }
    let (status, started) = post(&reviewed, "trainings", &json!({ "epochs": 3 }));
    assert_eq!(status, 202, "{started}");
    let path = format!("trainings/{}", text(&started["training"]));
    let done = reviewed.console.wait_for(&path, |training| training["state"] == "done");
    assert_eq!((&done["failure"], &done["why"]), (&Value::Null, &json!("ada asked for it")), "{done}");
    let epochs = done["epochs"].as_array().unwrap();
    assert_eq!(epochs.iter().map(|epoch| epoch["epoch"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(text(&done["verdict"]).len() > 10 && done["promoted"].is_boolean());
    let events = reviewed.console.bytes(&format!("{path}/events"));
    assert!(String::from_utf8(events).unwrap().starts_with("event: done\ndata: {"));
    assert_eq!(reviewed.console.json("trainings")["new_masks"], 0);
    let (status, said) = post(&reviewed, "trainings", &json!({ "epochs": 3 }));
    assert!(status == 409 && text(&said["error"]).contains("done already"), "{said}");

    let model = text(&done["model"]).to_owned();
    let page = reviewed.console.get(&format!("/models/{model}")).body_mut().read_to_string().unwrap();
    assert!(page.contains("ada asked for it"), "the model's page says where it comes from");
    if done["promoted"] == false {
        assert_eq!(post(&reviewed, &format!("models/{model}/promote"), &json!({})).0, 200);
    }
    let first = reviewed.first();
    reviewed.console.wait_for(&first, |slice| slice["model"] == json!(model));
    let (status, current) = post(&reviewed, "models/rollback", &json!({}));
    assert_eq!((status, current["current"] == json!(model)), (200, false));
    let (status, said) = post(&reviewed, &format!("models/{model}/promote?seen={model}"), &json!({}));
    assert!(status == 409 && text(&said["error"]).contains("changed meanwhile"), "{said}");
    let of_run = reviewed.run["model"].clone();
    reviewed.console.wait_for(&first, |slice| slice["model"] == of_run);
}

#[test]
fn a_training_is_cancelled_and_goes_on_when_it_is_asked_for_again() {
    let mut reviewed = Reviewed::new();
    annotate(&reviewed);
    let long = json!({ "epochs": 90_000 });
    let (_, started) = post(&reviewed, "trainings", &long);
    let path = format!("trainings/{}", text(&started["training"]));
    reviewed.console.wait_for(&path, |training| training["done"].as_u64() > Some(0));
    let (status, said) = post(&reviewed, "trainings", &json!({}));
    assert!(status == 409 && text(&said["error"]).contains("under way"), "{said}");
    assert_eq!(post(&reviewed, &format!("{path}/cancel"), &json!({})).0, 200);
    assert_eq!(reviewed.console.json(&path)["state"], "cancelled");
    let (status, again) = post(&reviewed, "trainings", &long);
    assert_eq!((status, &again["training"]), (202, &started["training"]), "{again}");
    reviewed.console.wait_for(&path, |training| training["state"] == "running");
    assert_eq!(post(&reviewed, &format!("{path}/cancel"), &json!({})).0, 200);
    assert_eq!(post(&reviewed, "trainings/t-0/cancel", &json!({})).0, 404);
}

#[test]
fn jobs_that_were_given_up_are_done_again_and_what_is_done_is_not_cancelled() {
    let mut reviewed = Reviewed::new();
    let model = text(&reviewed.run["model"]).to_owned();
    let damaged = Damaged::plan(&reviewed.folder.path().join("store"), &model);
    let run = upload(&reviewed);
    let failed = reviewed.console.done(&run);
    assert_eq!((&failed["can_replay"], &failed["drawn"]), (&json!(true), &json!(0)), "{failed}");
    assert_eq!(failed["given_up"][0]["code"], "object-malformed");
    assert_eq!(deliveries(&reviewed), 1, "what a replay needs stays");
    damaged.mend();
    let (status, replayed) = post(&reviewed, &format!("runs/{run}/replay"), &json!({}));
    assert_eq!((status, &replayed["jobs"]), (202, &json!(1)), "{replayed}");
    let path = format!("runs/{run}");
    let done = reviewed.console.wait_for(&path, |run| run["drawn"] == 2 && run["state"] == "done");
    assert_eq!(done["given_up"], json!([]));
    let folder = reviewed.folder.path().join("store/deliveries");
    reviewed.console.wait_for(&path, |_| fs::read_dir(&folder).unwrap().count() == 0);
    for action in ["replay", "drop", "cancel"] {
        let (status, said) = post(&reviewed, &format!("{path}/{action}"), &json!({}));
        assert!(status == 409 && said["error"].is_string(), "{action}: {status} {said}");
        assert_eq!(post(&reviewed, &format!("runs/r-0/{action}"), &json!({})).0, 404);
    }
}

#[test]
fn jobs_that_were_dropped_stay_failed_and_their_files_go() {
    let mut reviewed = Reviewed::new();
    let model = text(&reviewed.run["model"]).to_owned();
    let damaged = Damaged::plan(&reviewed.folder.path().join("store"), &model);
    let run = upload(&reviewed);
    reviewed.console.done(&run);
    let (status, dropped) = post(&reviewed, &format!("runs/{run}/drop"), &json!({}));
    assert_eq!((status, &dropped["jobs"]), (200, &json!(1)), "{dropped}");
    assert_eq!(deliveries(&reviewed), 0);
    let stays = reviewed.console.json(&format!("runs/{run}"));
    assert_eq!((&stays["can_replay"], stays["given_up"].as_array().unwrap().len()), (&json!(false), 1));
    assert_eq!(post(&reviewed, &format!("runs/{run}/replay"), &json!({})).0, 409);
    damaged.mend();
    assert_eq!(upload(&reviewed), run, "the same files are the same run");
    reviewed.console.wait_for(&format!("runs/{run}"), |run| run["drawn"] == 2);
}

#[test]
fn a_run_that_stands_still_says_why_and_goes_on_when_it_is_told_to() {
    let mut reviewed = Reviewed::new();
    // Nothing can be written below a link to itself: an error that may pass.
    let results = reviewed.folder.path().join("store/results");
    let aside = reviewed.folder.path().join("aside");
    fs::rename(&results, &aside).unwrap();
    std::os::unix::fs::symlink("results", &results).unwrap();
    let run = upload(&reviewed);
    let path = format!("runs/{run}");
    let still = reviewed.console.wait_for(&path, |run| run["stands_still"].is_string());
    assert!(still["tried_again"].as_u64() > Some(0) && still["state"] == "running", "{still}");
    fs::remove_file(&results).unwrap();
    fs::rename(&aside, &results).unwrap();
    assert_eq!(post(&reviewed, &format!("{path}/replay"), &json!({})).0, 202);
    let done = reviewed.console.done(&run);
    assert_eq!((&done["drawn"], &done["stands_still"]), (&json!(2), &Value::Null));
}

#[test]
fn a_run_that_waits_is_cancelled_at_once_and_the_same_files_go_on_with_it() {
    let mut reviewed = Reviewed::new();
    annotate(&reviewed);
    let (_, started) = post(&reviewed, "trainings", &json!({ "epochs": 90_000 }));
    let training = format!("trainings/{}", text(&started["training"]));
    let run = upload(&reviewed);
    let path = format!("runs/{run}");
    reviewed.console.wait_for(&path, |run| run["waits"] == true);
    let (status, cancelled) = post(&reviewed, &format!("{path}/cancel"), &json!({}));
    assert_eq!((status, &cancelled["state"]), (200, &json!("cancelled")), "{cancelled}");
    assert_eq!(deliveries(&reviewed), 0, "what was uploaded is deleted");
    assert_eq!(upload(&reviewed), run);
    assert_eq!(post(&reviewed, &format!("{training}/cancel"), &json!({})).0, 200);
    let done = reviewed.console.done(&run);
    assert_eq!(done["drawn"], 2);
}
