//! What the workers' programs do before there is anything to do.

use std::path::Path;

use modiolus_pipeline::StageName;
use modiolus_tests::cluster::free_address;
use modiolus_tests::program::program;
use modiolus_tests::{Finished, Process};

/// A worker whose store is a folder and whose broker is nowhere.
fn alone(stage: StageName, folder: &Path) -> std::process::Command {
    let mut command = program(&format!("modiolus-{stage}"));
    command
        .current_dir(folder)
        .env("MODIOLUS__STORE__FOLDER", folder.join("store"))
        .env("MODIOLUS__BROKER__ADDRESS", format!("amqp://{}", free_address()))
        .env("MODIOLUS__BROKER__PASSWORD", "s3cret")
        .env("MODIOLUS__HTTP__LISTEN", free_address().to_string());
    command
}

#[test]
fn every_worker_says_what_it_is() {
    for stage in StageName::ALL {
        let name = format!("modiolus-{stage}");
        let version = Finished::success(program(&name).arg("--version"));
        assert_eq!(version.stdout.trim(), format!("{name} {}", env!("CARGO_PKG_VERSION")));
        let help = Finished::success(program(&name).arg("--help"));
        for word in ["--config", "--set", "--health", stage.as_str()] {
            assert!(help.stdout.contains(word), "{word}: {help}");
        }
        Finished::of(program(&name).arg("--no-such-flag")).with_code(2);
    }
}

#[test]
fn a_mistake_in_the_configuration_ends_a_worker_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |stage, arguments: &[&str], words: &[&str]| {
        let failed = Finished::failure(alone(stage, folder.path()).args(arguments), words);
        assert!(!failed.stderr.contains("s3cret"), "{failed}");
    };
    fails(StageName::Ingest, &["--set", "worker.slot=2"], &["slot", "docs/configuration.md"]);
    fails(StageName::Ingest, &["--set", "store.endpoint=http://x"], &["store.endpoint", "store.folder"]);
    fails(StageName::Ingest, &["--config", "/no/such.toml"], &["/no/such.toml"]);
    fails(StageName::Filter, &[], &["pseudonyms.key", "pseudonyms.key_file"]);
    fails(StageName::Ingest, &["--set", "broker.address=amqp://me:s3cret@host"], &["broker.address"]);
    Finished::failure(alone(StageName::Ingest, folder.path()).arg("--health"), &["http.listen"]);
}

#[test]
fn a_worker_waits_for_its_broker_and_ends_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let listen = free_address().to_string();
    let mut command = alone(StageName::Preprocess, folder.path());
    let mut worker = Process::start(command.env("MODIOLUS__HTTP__LISTEN", &listen));
    let url = |page: &str| format!("http://{listen}/{page}");
    let agent = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build().new_agent();
    let status = |page: &str| agent.get(url(page)).call().ok().map(|answer| answer.status().as_u16());
    assert!(worker.watch(|| status("livez") == Some(200)), "{}", worker.finish());
    assert_eq!(status("readyz"), Some(503));
    let mut health = alone(StageName::Preprocess, folder.path());
    Finished::success(health.arg("--health").env("MODIOLUS__HTTP__LISTEN", &listen));
    worker.terminate();
    let ended = worker.finish().with_code(0).saying(&["connecting to the broker", "told to stop"]);
    for line in ended.stderr.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    assert!(!ended.stderr.contains("s3cret"), "{ended}");
}
