//! A run that is killed again and again ends with the same bytes as one that nobody disturbed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use modiolus_tests::{Finished, Process, files_below, modiolus, scans, snapshot};

fn run(scans: &Path, output: &Path, key: &Path) -> Command {
    let mut command = modiolus();
    command.arg("run").arg(scans).arg("--output").arg(output).arg("--key-file").arg(key);
    command
}

/// When each file, those of the store too, was written last.
fn times(output: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let time = |path: PathBuf| (path.clone(), fs::metadata(output.join(path)).unwrap().modified().unwrap());
    files_below(output).into_iter().map(time).collect()
}

#[test]
fn kills_change_nothing_and_a_start_after_the_end_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [delivery, calm, killed] = ["scans", "calm", "killed"].map(|name| folder.path().join(name));
    let key = scans::key_file(folder.path());
    let mut phantom = modiolus();
    phantom.args(["phantom", "--patients", "2", "--files", "40", "--seed", "5", "--output"]).arg(&delivery);
    Finished::success(&mut phantom);
    let before = snapshot(&delivery);
    Finished::success(run(&delivery, &calm, &key).args(["--jobs", "1"]));
    let (wanted, files) = (snapshot(&calm), files_below(&calm).len());
    assert!(files > 60, "{files} files are too few to be killed between");

    let mut kills = 0;
    for percent in [1, 5, 12, 20, 30, 45, 60, 75, 90, 97] {
        let mut started = Process::start(&mut run(&delivery, &killed, &key));
        if !started.watch(|| files_below(&killed).len() * 100 >= files * percent) {
            started.finish().with_code(0);
            break;
        }
        started.kill();
        kills += 1;
    }
    assert!(kills >= 3, "only {kills} kills came in time");
    Finished::success(&mut run(&delivery, &killed, &key));
    assert_eq!(snapshot(&killed), wanted);
    assert_eq!(snapshot(&delivery), before, "scans are never written to");

    let times_before = times(&killed);
    let again = Finished::success(&mut run(&delivery, &killed, &key)).saying(&["Nothing to do"]);
    assert_eq!(times(&killed), times_before, "{again}");
    let json = Finished::success(run(&delivery, &killed, &key).arg("--json")).json();
    assert_eq!(json["counts"]["files"], before.len());
}

#[test]
fn what_somebody_deleted_or_added_is_made_good() {
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output] = ["scans", "output"].map(|name| folder.path().join(name));
    let key = scans::key_file(folder.path());
    for number in 1..=3 {
        scans::write(&delivery.join(format!("I{number}.dcm")), &scans::file(&scans::coronal(number, 64)));
    }
    Finished::success(&mut run(&delivery, &output, &key));
    let whole = snapshot(&output);
    assert!(whole.keys().any(|path| path.ends_with("I1.png")), "the stem has no DICOM ending: {whole:?}");

    fs::remove_dir_all(output.join("masks")).unwrap();
    Finished::success(&mut run(&delivery, &output, &key));
    assert_eq!(snapshot(&output), whole);

    scans::write(&delivery.join("I4.dcm"), &scans::file(&scans::coronal(4, 64)));
    Finished::success(&mut run(&delivery, &output, &key)).saying(&["4 slices kept"]);
    fs::remove_file(delivery.join("I4.dcm")).unwrap();
    Finished::success(&mut run(&delivery, &output, &key)).saying(&["3 slices kept"]);
    assert_eq!(snapshot(&output), whole, "a slice that is no longer delivered leaves the output");
}

/// The objects of a finished run below a folder of its store, by a part of their path.
fn objects(output: &Path, part: &str) -> Vec<PathBuf> {
    let store = output.join(".modiolus");
    let found: Vec<_> =
        files_below(&store).into_iter().filter(|path| path.to_string_lossy().contains(part)).collect();
    assert!(!found.is_empty(), "nothing of a run has {part} in its path");
    found.into_iter().map(|path| store.join(path)).collect()
}

#[test]
fn what_a_loss_of_power_tore_is_made_good_though_the_run_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output] = ["scans", "output"].map(|name| folder.path().join(name));
    let key = scans::key_file(folder.path());
    for number in 1..=3 {
        scans::write(&delivery.join(format!("I{number}")), &scans::file(&scans::coronal(number, 64)));
    }
    Finished::success(&mut run(&delivery, &output, &key));
    let whole = snapshot(&output);
    // Of equal length, as a disk leaves what never reached it.
    let zeros = |path: &Path| fs::write(path, vec![0; fs::metadata(path).unwrap().len() as usize]).unwrap();
    zeros(&output.join("summary.csv"));
    for part in ["scans/", "runs/verdicts/", "results/"] {
        objects(&output, part).iter().for_each(|path| zeros(path));
    }
    Finished::success(&mut run(&delivery, &output, &key));
    assert_eq!(snapshot(&output), whole);
}

#[test]
fn what_failed_is_tried_again_and_fails_again_as_long_as_it_must() {
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output] = ["scans", "output"].map(|name| folder.path().join(name));
    let key = scans::key_file(folder.path());
    for number in 1..=3 {
        scans::write(&delivery.join(format!("I{number}")), &scans::file(&scans::coronal(number, 64)));
    }
    let filter = || {
        let mut command = run(&delivery, &output, &key);
        command.args(["--until", "filter"]);
        command
    };
    Finished::success(&mut filter());
    let whole = snapshot(&output);
    // A job is given up: its verdicts can't be written where a folder lies in their place.
    let verdicts = objects(&output, "runs/verdicts/").remove(0);
    fs::remove_file(&verdicts).unwrap();
    fs::create_dir_all(verdicts.join("in the way")).unwrap();
    fs::remove_file(output.join("summary.csv")).unwrap();
    for _ in 0..2 {
        let failed = Finished::failure(&mut filter(), &["3 files failed"]);
        assert!(!failed.stderr.contains("Nothing to do"), "{failed}");
    }
    fs::remove_dir_all(&verdicts).unwrap();
    Finished::success(&mut filter());
    assert_eq!(snapshot(&output), whole);
}

#[test]
fn two_at_once_in_one_output_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output] = ["scans", "output"].map(|name| folder.path().join(name));
    for number in 1..=40 {
        scans::write(&delivery.join(format!("I{number}")), &scans::file(&scans::coronal(number, 128)));
    }
    let key = scans::key_file(folder.path());
    let mut first = Process::start(&mut run(&delivery, &output, &key));
    if first.watch(|| output.join(".modiolus/scans").is_dir()) {
        Finished::failure(&mut run(&delivery, &output, &key), &["in use by another modiolus"]);
    }
    first.finish().with_code(0);
}
