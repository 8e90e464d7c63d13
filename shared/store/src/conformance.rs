//! What every store promises, as one suite. An adapter's test calls [`check`] on an empty store.
//!
//! A broken promise panics: these are assertions of tests.

use bytes::Bytes;
use modiolus_pipeline::join::Output;
use modiolus_pipeline::key::markers_prefix;
use modiolus_pipeline::{Bucket, Digest, Fetched, JobId, Object, ObjectKey, Read, RunId};

use crate::{ObjectStore, StoreError};

/// Longer than a page of any server's list.
const MANY: u32 = 1003;

/// Checks all promises on an empty store.
///
/// # Panics
/// When the store breaks one.
pub async fn check(store: &dyn ObjectStore) {
    missing_objects_are_no_error(store).await;
    reads_give_what_was_put(store).await;
    the_last_put_wins(store).await;
    steps_are_all_written(store).await;
    lists_are_sorted_and_cut_by_prefix(store).await;
    verify_tells_intact_from_damaged(store).await;
    deleted_objects_are_gone(store).await;
    readers_never_see_half_an_object(store).await;
    writers_of_one_key_leave_the_object_of_one(store).await;
    delivered_names_come_back_as_they_are(store).await;
    large_objects_are_whole(store).await;
    long_lists_are_complete(store).await;
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::Sample(Digest::of(name))
}

fn marker(run: &RunId, chunk: u32, job: &str) -> ObjectKey {
    ObjectKey::Marker(run.clone(), chunk, job.parse::<JobId>().expect("a job id"))
}

fn found(bytes: &'static str) -> Result<Fetched, StoreError> {
    Ok(Fetched::Found(Object::whole(bytes)))
}

async fn missing_objects_are_no_error(store: &dyn ObjectStore) {
    assert_eq!(store.get(Read::whole(key("missing"))).await, Ok(Fetched::Missing));
    assert_eq!(store.length(&key("missing")).await, Ok(None));
    assert_eq!(store.list(Bucket::Datasets, "").await, Ok(vec![]));
    assert_eq!(store.get_many(&[]).await, vec![]);
    assert_eq!(store.delete(&key("missing")).await, Ok(()));
}

async fn reads_give_what_was_put(store: &dyn ObjectStore) {
    store.put(key("a"), Bytes::from_static(b"abcdef")).await.expect("a put");
    store.put(key("empty"), Bytes::new()).await.expect("a put");
    let start = Object { bytes: Bytes::from_static(b"abc"), total: 6 };
    let reads = [
        Read::first(key("a"), 3),
        Read::whole(key("nothing")),
        Read::whole(key("a")),
        Read::first(key("a"), 100),
        Read::first(key("a"), 0),
        Read::whole(key("empty")),
        Read::first(key("empty"), 10),
        Read::first(key("a"), 1 << 40),
    ];
    let none = Object { bytes: Bytes::new(), total: 6 };
    let wanted = vec![
        Ok(Fetched::Found(start)),
        Ok(Fetched::Missing),
        found("abcdef"),
        found("abcdef"),
        Ok(Fetched::Found(none)),
        found(""),
        found(""),
        found("abcdef"),
    ];
    assert_eq!(store.get_many(&reads).await, wanted);
    assert_eq!(store.length(&key("a")).await, Ok(Some(6)));
    assert_eq!(store.length(&key("empty")).await, Ok(Some(0)));
}

async fn the_last_put_wins(store: &dyn ObjectStore) {
    for body in ["one, longer", "two", "two"] {
        store.put(key("twice"), Bytes::from_static(body.as_bytes())).await.expect("a put");
        assert_eq!(store.get(Read::whole(key("twice"))).await, found(body));
    }
}

async fn steps_are_all_written(store: &dyn ObjectStore) {
    let put = |name: &str| (key(name), Bytes::copy_from_slice(name.as_bytes()));
    store.put_in_order(vec![vec![put("s1"), put("s2")], vec![], vec![put("s3")]]).await.expect("puts");
    for name in ["s1", "s2", "s3"] {
        assert_eq!(store.get(Read::whole(key(name))).await, found(name));
    }
    assert_eq!(store.put_many(vec![]).await, Ok(()));
}

async fn lists_are_sorted_and_cut_by_prefix(store: &dyn ObjectStore) {
    let run: RunId = "r-list".parse().expect("a run id");
    for (chunk, job) in [(1, "filter-b"), (1, "filter-a"), (2, "filter-c"), (10, "ingest-d")] {
        store.put(marker(&run, chunk, job), Bytes::from_static(b"{}")).await.expect("a put");
    }
    let prefix = markers_prefix(&run, 1);
    let names = vec![format!("{prefix}filter-a.json"), format!("{prefix}filter-b.json")];
    assert_eq!(store.list(Bucket::Runs, &prefix).await, Ok(names.clone()));
    assert_eq!(store.list(Bucket::Runs, &format!("{prefix}filter-a")).await, Ok(names[..1].to_vec()));
    assert_eq!(store.list(Bucket::Runs, "r-list/jobs/").await.map(|names| names.len()), Ok(4));
    assert_eq!(store.list(Bucket::Runs, "r-lis").await.map(|names| names.len()), Ok(4));
    assert_eq!(store.list(Bucket::Runs, "r-nothing/").await, Ok(vec![]));
    assert_eq!(store.list(Bucket::Models, "").await, Ok(vec![]));
}

async fn verify_tells_intact_from_damaged(store: &dyn ObjectStore) {
    store.put(key("verified"), Bytes::from_static(b"bytes")).await.expect("a put");
    let output = |path: String, bytes: &[u8]| Output {
        bucket: key("verified").bucket().to_string(),
        path,
        sha256: Digest::of(bytes),
        length: bytes.len() as u64,
    };
    let path = key("verified").path();
    let intact = output(path.clone(), b"bytes");
    assert_eq!(store.verify(&[]).await, Ok(true));
    assert_eq!(store.verify(&[intact.clone(), intact.clone()]).await, Ok(true));
    let of_no_bucket = Output { bucket: "../etc".into(), ..intact.clone() };
    let damaged = [
        output(path.clone(), b"other"),
        output(path, b"byte"),
        output(key("missing").path(), b"bytes"),
        output("../datasets/x".into(), b"bytes"),
        of_no_bucket,
    ];
    for damaged in damaged {
        assert_eq!(store.verify(&[intact.clone(), damaged.clone()]).await, Ok(false), "{damaged:?}");
    }
}

async fn deleted_objects_are_gone(store: &dyn ObjectStore) {
    store.put(key("gone"), Bytes::from_static(b"x")).await.expect("a put");
    store.delete(&key("gone")).await.expect("a delete");
    assert_eq!(store.get(Read::whole(key("gone"))).await, Ok(Fetched::Missing));
}

async fn readers_never_see_half_an_object(store: &dyn ObjectStore) {
    let bodies = [vec![b'a'; 200_000], vec![b'b'; 300_000]].map(Bytes::from);
    store.put(key("torn"), bodies[0].clone()).await.expect("a put");
    let write = async {
        for round in 0..20 {
            store.put(key("torn"), bodies[round % 2].clone()).await.expect("a put");
        }
    };
    let read = async {
        for _ in 0..20 {
            let Ok(Fetched::Found(object)) = store.get(Read::whole(key("torn"))).await else {
                panic!("an object vanished while it was replaced")
            };
            assert!(bodies.contains(&object.bytes), "a reader saw {} bytes", object.bytes.len());
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(write, read);
}

async fn writers_of_one_key_leave_the_object_of_one(store: &dyn ObjectStore) {
    let bodies: Vec<Bytes> = (1..=8u8).map(|n| vec![n; usize::from(n) * 50_000].into()).collect();
    let puts = bodies.iter().map(|body| store.put(key("raced"), body.clone()));
    for put in futures::future::join_all(puts).await {
        put.expect("a put");
    }
    let Ok(Fetched::Found(object)) = store.get(Read::whole(key("raced"))).await else {
        panic!("an object that many wrote is not there")
    };
    assert!(bodies.contains(&object.bytes), "{} bytes of several writers", object.bytes.len());
}

async fn delivered_names_come_back_as_they_are(store: &dyn ObjectStore) {
    let names = [
        "DOE^JANE 1/+ plus & and <less> \"quote' 100%25.dcm",
        "DOE^JANE 1/a%0Ab%2Fc?query#fragment",
        "DOE^JANE 1/~!*'();:@&=+$,[]{}|\\",
        "Пациент 1/ü e\u{301} 日本/.I1 ",
    ];
    let scans = names.map(|name| ObjectKey::Scan(name.into()));
    for (number, scan) in scans.iter().enumerate() {
        store.put(scan.clone(), format!("{number}").into()).await.expect("a put");
    }
    for (number, scan) in scans.iter().enumerate() {
        let whole = Object::whole(format!("{number}"));
        assert_eq!(store.get(Read::whole(scan.clone())).await, Ok(Fetched::Found(whole)), "{}", scan.path());
    }
    let mut paths: Vec<String> = scans[..3].iter().map(ObjectKey::path).collect();
    paths.sort_unstable();
    assert_eq!(store.list(Bucket::Incoming, "scans/DOE^JANE 1/").await, Ok(paths));
    assert_eq!(store.list(Bucket::Incoming, "scans/DOE^JANE 1/+ p").await, Ok(vec![scans[0].path()]));
    store.delete(&scans[1]).await.expect("a delete");
    assert_eq!(store.length(&scans[1]).await, Ok(None));
}

async fn large_objects_are_whole(store: &dyn ObjectStore) {
    let bytes: Bytes = (0..(20u32 << 20) / 4 + 1).flat_map(|n| (n ^ 0x5bd1_e995).to_le_bytes()).collect();
    let length = bytes.len() as u64;
    store.put(key("large"), bytes.clone()).await.expect("a put");
    assert_eq!(store.length(&key("large")).await, Ok(Some(length)));
    let start = Object { bytes: bytes.slice(..9 << 20), total: length };
    assert_eq!(store.get(Read::first(key("large"), 9 << 20)).await, Ok(Fetched::Found(start)));
    let whole = store.get(Read::whole(key("large"))).await;
    assert!(whole == Ok(Fetched::Found(Object::whole(bytes.clone()))), "a large object changed");
    let (bucket, path) = (Bucket::Datasets.to_string(), key("large").path());
    let output = Output { bucket, path, sha256: Digest::of(&bytes), length };
    assert_eq!(store.verify(&[output]).await, Ok(true));
    store.put(key("large"), Bytes::from_static(b"small")).await.expect("a put");
    assert_eq!(store.get(Read::whole(key("large"))).await, found("small"));
}

async fn long_lists_are_complete(store: &dyn ObjectStore) {
    let run: RunId = "r-many".parse().expect("a run id");
    let markers: Vec<ObjectKey> = (0..MANY).map(|n| marker(&run, 1, &format!("filter-{n}"))).collect();
    store.put_many(markers.iter().map(|key| (key.clone(), Bytes::new())).collect()).await.expect("puts");
    let mut paths: Vec<String> = markers.iter().map(ObjectKey::path).collect();
    paths.sort_unstable();
    assert!(store.list(Bucket::Runs, "r-many/").await == Ok(paths), "a long list is not what was put");
}
