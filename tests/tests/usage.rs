//! How the command line is used: names, help, exit codes, JSON.

use std::fs;
use std::path::Path;

use modiolus_tests::{Finished, modiolus, scans};

const COMMANDS: [&[&str]; 29] = [
    &["inspect"],
    &["select"],
    &["run"],
    &["phantom"],
    &["train"],
    &["predict"],
    &["evaluate"],
    &["models"],
    &["models", "list"],
    &["models", "show"],
    &["models", "promote"],
    &["models", "rollback"],
    &["serve"],
    &["users"],
    &["users", "add"],
    &["users", "list"],
    &["users", "remove"],
    &["users", "role"],
    &["users", "link"],
    &["submit"],
    &["status"],
    &["watch"],
    &["fetch"],
    &["dead"],
    &["dead", "list"],
    &["dead", "show"],
    &["dead", "replay"],
    &["dead", "drop"],
    &["doctor"],
];

#[test]
fn every_command_has_help_with_an_example() {
    for command in COMMANDS {
        let help = Finished::success(modiolus().args(command).arg("--help"));
        assert!(help.stdout.contains("Example"), "{help}");
        assert!(help.stdout.contains(&format!("modiolus {}", command[0])), "{help}");
    }
    let help = Finished::success(modiolus().arg("--help"));
    for command in COMMANDS {
        assert!(help.stdout.contains(command[0]), "{help}");
    }
    let version = Finished::success(modiolus().arg("--version"));
    assert_eq!(version.stdout.trim(), format!("modiolus {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_is_exit_code_2_and_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let wrong: [&[&str]; 31] = [
        &[],
        &["frobnicate"],
        &["inspect"],
        &["run"],
        &["run", "."],
        &["run", ".", "--output", "out", "--plane", "sideways"],
        &["run", ".", "--output", "out", "--plane", "1,0,0,0,0"],
        &["run", ".", "--output", "out", "--plane", "2,0,0,0,0,-1"],
        &["run", ".", "--output", "out", "--jobs", "0"],
        &["run", ".", "--output", "out", "--until", "tomorrow"],
        &["run", ".", "--output", "out", "--until", "filter", "--annotations", "."],
        &["run", ".", "--output", "."],
        &["run", ".", "--output", "./."],
        &["select", ".", "--output", "."],
        &["phantom", "--patients", "many", "--files", "1", "--output", "out"],
        &["train", "--images", "."],
        &["train", "--images", ".", "--masks", ".", "--output", "out", "--group-by", "("],
        &["evaluate", "--truth", ".", "--masks", ".", "--spacing-mm", "-1"],
        &["models", "frobnicate"],
        &["serve", "--origin", "http://review.example.org"],
        &["serve", "--proxy", "somewhere"],
        &["serve", "--proxy-header", "X-Forwarded-User"],
        &["users", "add"],
        &["users", "add", "../ada"],
        &["users", "role", "ada", "king"],
        &["submit"],
        &["submit", "s3://models/x"],
        &["submit", ".", "--name", "a/b"],
        &["fetch", "r-1"],
        &["watch"],
        &["dead", "drop"],
    ];
    for arguments in wrong {
        let said = Finished::of(modiolus().args(arguments).current_dir(folder.path())).with_code(2);
        assert!(said.stdout.is_empty() && !said.stderr.is_empty(), "{said}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_is_missing_is_exit_code_1_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&[&str], &str); 11] = [
        (&["inspect", "nowhere"], "nowhere"),
        (&["inspect", "."], "it is no file"),
        (&["run", "nowhere", "--output", "out", "--until", "filter"], "nowhere"),
        (&["evaluate", "--truth", "nowhere", "--masks", "."], "nowhere"),
        (&["evaluate", "--truth", ".", "--masks", "."], "has no masks"),
        (&["models", "list", "--store", "nowhere"], "nowhere"),
        (&["users", "list", "--store", "nowhere"], "nowhere"),
        (&["predict", "nowhere", "--output", "out"], "nowhere"),
        (&["predict", ".", "--output", "out", "--model", "nowhere.safetensors"], "nowhere.safetensors"),
        (&["train", "--images", "nowhere", "--masks", ".", "--output", "m.safetensors"], "nowhere"),
        (&["run", ".", "--output", "out", "--until", "filter", "--key-file", "nowhere.key"], "nowhere.key"),
    ];
    for (arguments, named) in cases {
        Finished::failure(modiolus().args(arguments).current_dir(folder.path()), &[named]);
        assert!(arguments.contains(&"--key-file") || !folder.path().join("out").exists(), "{arguments:?}");
    }
}

#[test]
fn inspect_shows_what_people_look_at_first_and_draws_it() {
    let folder = tempfile::tempdir().unwrap();
    let (slice, notes) = (folder.path().join("I0000001"), folder.path().join("notes.txt"));
    scans::write(&slice, &scans::file(&scans::coronal(1, 48)));
    scans::write(&notes, b"call Dr. Who");

    let shown = Finished::success(modiolus().arg("inspect").arg(&slice));
    for word in ["4711", "coronal", "48", "0.2", "1.2.840.10008.1.2.1", "CT"] {
        assert!(shown.stdout.contains(word), "{word}: {shown}");
    }
    let picture = folder.path().join("slice.png");
    let json =
        Finished::success(modiolus().args(["inspect", "--json"]).arg(&slice).arg("--png").arg(&picture))
            .json();
    assert_eq!(json[0]["patient_id"], "4711");
    assert_eq!(json[0]["plane"], "coronal");
    assert_eq!((&json[0]["rows"], &json[0]["has_pixels"]), (&48.into(), &true.into()));
    assert_eq!(modiolus_tests::results::picture(&picture), (48, 48));

    let both =
        Finished::failure(modiolus().args(["inspect", "--json"]).args([&notes, &slice]), &["notes.txt"]);
    assert_eq!(both.json().as_array().map(Vec::len), Some(1), "the other file goes on: {both}");
}

#[test]
fn phantoms_of_one_seed_are_the_same_and_of_another_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, seed: &str| {
        let (output, truth) = (folder.path().join(name), folder.path().join(format!("{name}-truth")));
        let made = Finished::success(
            modiolus()
                .args(["phantom", "--patients", "2", "--files", "12", "--json", "--seed", seed])
                .arg("--output")
                .arg(&output)
                .arg("--truth")
                .arg(&truth),
        );
        made.json();
        (modiolus_tests::snapshot(&output), modiolus_tests::snapshot(&truth))
    };
    let (one, again, other) = (make("one", "7"), make("again", "7"), make("other", "8"));
    assert_eq!(one, again);
    assert_ne!(one.0, other.0);
    assert!(one.0.len() >= 24 && !one.1.is_empty(), "{} files, {} of truth", one.0.len(), one.1.len());
}

#[test]
fn standard_output_that_is_closed_early_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let slice = folder.path().join("slice");
    scans::write(&slice, &scans::file(&scans::coronal(1, 16)));
    let code = folder.path().join("code");
    let script = r#"{ "$modiolus" inspect --json "$1"; echo $? >"$2"; } | true"#;
    let arguments: [&Path; 2] = [&slice, &code];
    let said = Finished::success(&mut modiolus_tests::shell(&[], script, &arguments));
    assert_eq!(fs::read_to_string(&code).unwrap().trim(), "0", "{said}");
}
