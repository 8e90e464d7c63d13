//! The preparation of a store, on a real Garage server.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use modiolus_init::member::Member;
use modiolus_init::secrets;
use modiolus_init::store::{Place, prepare};
use modiolus_pipeline::{Bucket, ObjectKey, RunId, StageName};
use modiolus_store::garage::Garage;
use modiolus_store::{ObjectStore, S3Options, S3Store, StoreError};
use tempfile::TempDir;

struct Cluster {
    garage: Garage,
    folder: TempDir,
    place: Place,
}

impl Cluster {
    /// With secrets and a server, and nothing prepared.
    fn start() -> Option<Self> {
        let (garage, folder) = (Garage::start()?, tempfile::tempdir().unwrap());
        let (admin, token) = garage.administration();
        fs::write(folder.path().join("garage-admin.token"), token).unwrap();
        secrets::make(folder.path()).unwrap();
        let options = garage.options();
        let place = Place {
            admin,
            endpoint: options.endpoint.unwrap(),
            region: options.region,
            bucket_prefix: "cluster-".into(),
            ca_file: None,
        };
        Some(Self { garage, folder, place })
    }

    fn secrets(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn read(&self, name: &str) -> String {
        secrets::read(self.folder.path(), name).unwrap()
    }

    /// The store as a member sees it.
    fn store(&self, member: Member) -> S3Store {
        let key = self.read(&format!("store-{}.key", member.name()));
        let secret = self.read(&format!("store-{}.secret", member.name()));
        let options = S3Options::new(&self.place.endpoint, key, secret);
        S3Store::new(S3Options { bucket_prefix: self.place.bucket_prefix.clone(), ..options }).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_opens_its_own_buckets_and_no_others() {
    let Some(cluster) = Cluster::start() else { return };
    prepared(&cluster).await.unwrap();
    for member in Member::all() {
        let store = cluster.store(member);
        for bucket in Bucket::ALL {
            let may = member.rights(bucket).read;
            let sees = store.has_bucket(bucket).await;
            assert_eq!(sees.is_ok_and(|sees| sees), may, "{} and {bucket}", member.name());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_writes_only_where_its_stage_does() {
    let Some(cluster) = Cluster::start() else { return };
    prepared(&cluster).await.unwrap();
    let infer = cluster.store(Member::Worker(StageName::Infer));
    let run: RunId = "july".parse().unwrap();
    infer.put(ObjectKey::RunDone(run), Bytes::from_static(b"{}")).await.unwrap();
    let refused = infer.put(ObjectKey::CurrentModel, Bytes::from_static(b"{}")).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_preparation_keeps_objects_and_takes_back_what_was_granted_by_hand() {
    let Some(cluster) = Cluster::start() else { return };
    prepared(&cluster).await.unwrap();
    let operator = cluster.store(Member::Operator);
    operator.put(ObjectKey::CurrentModel, Bytes::from_static(b"kept")).await.unwrap();
    let infer = cluster.store(Member::Worker(StageName::Infer));
    let key = cluster.read("store-infer.key");
    cluster.garage.admin(&["bucket", "allow", "--read", "--key", &key, "cluster-incoming"]);
    assert!(infer.has_bucket(Bucket::Incoming).await.unwrap());

    prepared(&cluster).await.unwrap();
    assert!(infer.has_bucket(Bucket::Incoming).await.is_err());
    assert_eq!(operator.length(&ObjectKey::CurrentModel).await.unwrap(), Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_said_and_not_shown() {
    let Some(cluster) = Cluster::start() else { return };
    fs::write(cluster.secrets().join("garage-admin.token"), "wrong-token").unwrap();
    let error = format!("{:#}", prepared(&cluster).await.unwrap_err());
    assert!(error.contains("ImportKey: 403"), "{error}");
    assert!(!error.contains("wrong-token"), "{error}");
}

/// Off the threads of the tests: the program has a runtime of its own.
async fn prepared(cluster: &Cluster) -> anyhow::Result<()> {
    let (secrets, place) = (cluster.secrets(), cluster.place.clone());
    tokio::task::spawn_blocking(move || prepare(&secrets, &place)).await.unwrap()
}
