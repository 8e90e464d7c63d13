//! Training, predicting and judging, from pictures and masks to numbers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use modiolus_pipeline::Plan;
use modiolus_tests::{Finished, modiolus, results, scans};
use serde_json::Value;

/// Writes a picture and its mask as NAME.png and NAME_mask.png.
fn write_pair(folder: &Path, name: &str, number: usize) {
    let (image, mask) = scans::pair(number, 48);
    scans::write(&folder.join(format!("images/{name}.png")), &image);
    scans::write(&folder.join(format!("masks/{name}_mask.png")), &mask);
}

fn names(split: &Value, which: &str) -> BTreeSet<String> {
    split[which].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_network_learns_five_real_pictures() {
    let Some(truth) = scans::real("cbct-truth") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (model, masks) = (folder.path().join("model.safetensors"), folder.path().join("masks"));
    let (images, true_masks) = (truth.join("images"), truth.join("masks"));
    let train = Finished::success(
        modiolus()
            .args(["train", "--json", "--images"])
            .arg(&images)
            .arg("--masks")
            .arg(&true_masks)
            .arg("--output")
            .arg(&model),
    );
    let epochs: Vec<Value> = train.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(epochs.len(), 24 + 1, "a line per epoch and one of the result: {train}");
    assert!(epochs[23]["loss"].as_f64() < epochs[0]["loss"].as_f64(), "{train}");
    let curves = fs::read_to_string(folder.path().join("model.curves.svg")).unwrap();
    assert!(curves.contains("<svg") && !curves.contains("NaN"));
    assert!(!folder.path().join("model.safetensors.training").exists(), "what is done is tidied up");

    Finished::success(
        modiolus().arg("predict").arg(&images).arg("--output").arg(&masks).arg("--model").arg(&model),
    );
    assert_eq!(results::mask(&masks.join("207_613.png")).0, 256);
    let judged = Finished::success(
        modiolus().args(["evaluate", "--json", "--truth"]).arg(&true_masks).arg("--masks").arg(&masks),
    );
    let report = judged.json();
    assert_eq!(report["pictures"].as_array().map(Vec::len), Some(5));
    assert!(report["mean"]["iou"].as_f64().unwrap() > 0.8, "{judged}");
    for score in ["dice", "precision", "recall", "hausdorff95", "centreline_distance"] {
        assert!(report["mean"][score].is_f64(), "{score}: {judged}");
    }
}

#[test]
fn patients_with_equal_pictures_are_never_split() {
    let folder = tempfile::tempdir().unwrap();
    for pair in 0..8 {
        for (patient, numbers) in [('A', [pair * 3, pair * 3 + 1]), ('B', [pair * 3 + 1, pair * 3 + 2])] {
            for number in numbers {
                write_pair(folder.path(), &format!("{patient}{pair}_{number}"), number);
            }
        }
    }
    let real = scans::real("cbct-truth");
    for name in ["207_613", "207_619", "208_616", "208_620", "208_626"] {
        let Some(truth) = &real else { break };
        for (kind, file) in [("images", format!("{name}.png")), ("masks", format!("{name}_mask.png"))] {
            scans::write(
                &folder.path().join(kind).join(&file),
                &fs::read(truth.join(kind).join(&file)).unwrap(),
            );
        }
    }
    let plan = scans::plan_file(folder.path(), &Plan { held_out: 0.5, ..scans::small_plan(1) });
    train_small(folder.path(), &plan, &[]);
    let split = split(folder.path());
    let (held_out, training) = (names(&split, "held_out_patients"), names(&split, "training_patients"));
    assert!(held_out.len() >= 2 && training.len() >= 2, "{split}");
    assert!(held_out.is_disjoint(&training), "{split}");
    for pair in 0..8 {
        let (a, b) = (format!("A{pair}"), format!("B{pair}"));
        assert_eq!(held_out.contains(&a), held_out.contains(&b), "{a} and {b} share a picture: {split}");
    }
    if real.is_some() {
        assert_eq!(held_out.contains("207"), held_out.contains("208"), "{split}");
    }
}

#[test]
fn group_by_says_what_a_patient_is() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..8 {
        write_pair(folder.path(), &format!("scan{number}-patient{}", number / 2), number);
    }
    let plan = scans::plan_file(folder.path(), &Plan { held_out: 0.5, ..scans::small_plan(1) });
    train_small(folder.path(), &plan, &["--group-by", "patient([0-9])"]);
    let split = split(folder.path());
    let patients: BTreeSet<String> =
        names(&split, "held_out_patients").union(&names(&split, "training_patients")).cloned().collect();
    assert_eq!(patients.into_iter().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    for side in ["held_out", "training"] {
        let names = names(&split, side);
        assert!(
            names.iter().all(|name| names.iter().filter(|other| other[5..] == name[5..]).count() == 2),
            "{split}"
        );
    }
}

#[test]
fn pairs_that_cannot_be_used_are_named_and_the_others_are_learned() {
    let folder = tempfile::tempdir().unwrap();
    (0..4).for_each(|number| write_pair(folder.path(), &format!("p{number}_1"), number));
    scans::write(&folder.path().join("images/small_1.png"), &scans::pair(9, 24).0);
    scans::write(&folder.path().join("masks/small_1.png"), &scans::pair(9, 48).1);
    scans::write(&folder.path().join("images/torn_1.png"), &scans::pair(9, 48).0[..200]);
    scans::write(&folder.path().join("masks/torn_1.png"), &scans::pair(9, 48).1);
    let plan = scans::plan_file(folder.path(), &scans::small_plan(1));
    let said = Finished::of(&mut small_training(folder.path(), &plan, &[])).with_code(1);
    let said = said.saying(&["small_1.png", "torn_1.png", "2 pairs could not be used"]);
    assert!(folder.path().join("model.safetensors").is_file(), "{said}");
}

#[test]
fn one_that_was_killed_and_told_to_stop_goes_on_and_ends_with_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    for place in [&one, &other] {
        (0..6).for_each(|number| write_pair(place, &format!("p{number}_1"), number));
    }
    let plan = scans::plan_file(folder.path(), &scans::small_plan(30));
    train_small(&one, &plan, &[]);

    let checkpoints = || checkpoints(&other.join("model.safetensors.training"));
    let mut training = modiolus_tests::Process::start(&mut small_training(&other, &plan, &[]));
    assert!(training.watch(|| checkpoints() >= 2), "it ended before it was killed");
    training.kill();
    let there = checkpoints();
    let mut training = modiolus_tests::Process::start(&mut small_training(&other, &plan, &[]));
    assert!(training.watch(|| checkpoints() > there), "it ended before it was told to stop");
    training.terminate();
    training.finish().with_code(1).saying(&["Stopping", "start again to go on"]);
    let said = train_small(&other, &plan, &[]);
    said.saying(&["Going on after epoch"]);
    let model = |place: &Path| fs::read(place.join("model.safetensors")).unwrap();
    assert!(model(&one) == model(&other), "the models differ");
}

/// How many checkpoints are whole: what is being written has no ending yet.
fn checkpoints(place: &Path) -> usize {
    let files = modiolus_tests::files_below(place);
    files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "safetensors")).count()
}

fn small_training(folder: &Path, plan: &Path, more: &[&str]) -> std::process::Command {
    let mut command = modiolus();
    command.arg("train").arg("--images").arg(folder.join("images")).arg("--masks").arg(folder.join("masks"));
    command.arg("--output").arg(folder.join("model.safetensors")).arg("--plan").arg(plan).args(more);
    command
}

fn train_small(folder: &Path, plan: &Path, more: &[&str]) -> Finished {
    Finished::success(&mut small_training(folder, plan, more))
}

fn split(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("model.split.json")).unwrap()).unwrap()
}
