use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use modiolus_filter::FilterStage;
use modiolus_ingest::IngestStage;
use modiolus_operations::start::Ready;
use modiolus_operations::upload::{listed, upload};
use modiolus_phantom::{ExportOptions, export};
use modiolus_pipeline::Plane;
use modiolus_pipeline::job::Wanted;
use modiolus_pipeline::job::ingest::Delivery;
use modiolus_runtime::House;
use modiolus_store::FolderStore;

use super::*;
use crate::arguments::{Run, Until};
use crate::cluster::arguments::At;
use crate::run::walk;

/// A delivery of two patients with all that goes wrong in one: links to nothing, odd names, files that are no images.
fn scans(folder: &Path) -> PathBuf {
    let scans = folder.join("scans");
    export(&ExportOptions { patients: 2, files: 24, seed: 3, output: &scans, truth: None }).unwrap();
    fs::write(scans.join("100% notes\n.txt"), b"call Dr. Who").unwrap();
    std::os::unix::fs::symlink("nowhere", scans.join("gone.dcm")).unwrap();
    scans
}

fn key(folder: &Path) -> PathBuf {
    let path = folder.join("key");
    fs::write(&path, "0123456789abcdef".repeat(4)).unwrap();
    path
}

/// All files below a folder but the store, with the run's id taken out: it alone differs.
fn tree(folder: &Path, run: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for file in walk::walk(folder, &folder.join(FOLDER)).unwrap() {
        let mut bytes = fs::read(folder.join(&file.path)).unwrap();
        if ["summary.json", "index.html"].contains(&file.path.as_str()) {
            bytes = String::from_utf8(bytes).unwrap().replace(run, "RUN").into_bytes();
        }
        found.insert(file.path.into(), bytes);
    }
    found
}

/// What `modiolus run` makes of it.
fn on_one_machine(folder: &Path, scans: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let options = Run {
        scans: scans.to_owned(),
        output: folder.join("alone"),
        plane: Plane::CORONAL,
        model: None,
        annotations: None,
        keep_patient_ids: false,
        jobs: None,
        until: Some(Until::Filter),
        key_file: Some(key(folder)),
        json: false,
    };
    crate::run::run(&options, None).unwrap();
    let summary = fs::read(options.output.join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    tree(&options.output, summary["run"].as_str().unwrap())
}

/// What a cluster (of one process, over a store in a folder) makes of files that lie in its store, and what is fetched.
async fn in_a_cluster(folder: &Path, name: &str, delivery: Delivery) -> BTreeMap<PathBuf, Vec<u8>> {
    let place = folder.join("cluster");
    let store = Arc::new(FolderStore::new(&place).unwrap());
    let files = match &delivery {
        Delivery::Below { prefix } => listed(&*store, prefix, &()).await.unwrap(),
        _ => {
            let walked = walk::walk(&folder.join("scans"), Path::new("")).unwrap();
            upload(&folder.join("scans"), walked, &*store, &()).await.unwrap().files
        }
    };
    let wanted = Wanted { plane: Plane::CORONAL, model: None };
    let ready = Ready::new(files, wanted, delivery, Some(name.parse().unwrap()));
    ready.note(&*store).await.unwrap();
    let secret = Secret::new(*"0123456789abcdef".repeat(4).parse::<Digest>().unwrap().as_bytes());
    let house = House::new(store).with(IngestStage, 2).with(FilterStage::new(&secret), 2);
    let Ready { run, manifest, first, .. } = ready;
    house.run(&run, &manifest, first, |_| ()).await.unwrap();

    let output = folder.join(name);
    let set = [
        format!("store.folder={}", place.display()),
        format!("pseudonyms.key_file={}", key(folder).display()),
    ];
    let at = || At { config: None, set: set.to_vec() };
    for _ in 0..2 {
        let output = output.clone();
        fetch(&Fetch { run: run.clone(), output, keep_patient_ids: false, json: false, at: at() })
            .await
            .unwrap();
    }
    tree(&output, name)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_is_what_one_machine_makes_but_for_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let scans = scans(folder.path());
    let path = folder.path().to_owned();
    let wanted = tokio::task::spawn_blocking(move || on_one_machine(&path, &scans)).await.unwrap();
    assert!(wanted.len() > 8, "{:?}", wanted.keys());
    let fetched = in_a_cluster(folder.path(), "r-uploaded", Delivery::Uploaded).await;
    assert!(fetched == wanted, "{:?} instead of {:?}", fetched.keys(), wanted.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_another_client_are_shown_without_their_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let scans = scans(folder.path());
    for name in ["100% notes\n.txt", "gone.dcm"] {
        // What an S3 client can't name or read it does not upload.
        fs::remove_file(scans.join(name)).unwrap();
    }
    for file in walk::walk(&scans, Path::new("")).unwrap() {
        // A store in a folder, unlike one behind S3, takes hidden files for half-written objects.
        if file.path.rsplit('/').next().is_some_and(|name| name.starts_with('.')) {
            fs::remove_file(scans.join(&file.path)).unwrap();
        }
    }
    let store = FolderStore::new(folder.path().join("cluster")).unwrap();
    for file in walk::walk(&scans, Path::new("")).unwrap() {
        let key = ObjectKey::Scan(format!("july/one/{}", file.path));
        store.put(key, fs::read(scans.join(&file.path)).unwrap().into()).await.unwrap();
    }
    let path = folder.path().to_owned();
    let wanted = tokio::task::spawn_blocking(move || on_one_machine(&path, &scans)).await.unwrap();
    let below = Delivery::Below { prefix: "july/one".into() };
    let fetched = in_a_cluster(folder.path(), "r-below", below).await;
    assert!(fetched == wanted, "{:?} instead of {:?}", fetched.keys(), wanted.keys());
}

#[tokio::test]
async fn another_key_of_the_pseudonyms_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    scans(folder.path());
    in_a_cluster(folder.path(), "r-1", Delivery::Uploaded).await;
    let other = folder.path().join("other");
    fs::write(&other, "fedcba9876543210".repeat(4)).unwrap();
    let set = vec![
        format!("store.folder={}", folder.path().join("cluster").display()),
        format!("pseudonyms.key_file={}", other.display()),
    ];
    let (run, output) = ("r-1".parse().unwrap(), folder.path().join("output"));
    let options = Fetch { run, output, keep_patient_ids: false, json: false, at: At { config: None, set } };
    assert!(fetch(&options).await.unwrap_err().to_string().contains("key of the pseudonyms"));
}
