use std::os::unix::fs::{PermissionsExt, symlink};

use modiolus_pipeline::Digest;

use super::*;
use crate::escape_path;

fn sample(name: &str) -> ObjectKey {
    ObjectKey::Sample(Digest::of(name))
}

fn body(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// A store whose scans lie in `scans` beside it.
fn with_scans(folder: &Path) -> FolderStore {
    std::fs::create_dir_all(folder.join("scans")).unwrap();
    FolderStore::new(folder.join("store")).unwrap().with_scans(&folder.join("scans")).unwrap()
}

async fn scan(store: &FolderStore, path: &str) -> Fetched {
    store.get(Read::first(ObjectKey::Scan(path.into()), 4)).await.unwrap()
}

#[tokio::test]
async fn keeps_what_every_store_promises() {
    let folder = tempfile::tempdir().unwrap();
    crate::conformance::check(&FolderStore::new(folder.path().join("plain")).unwrap()).await;
    crate::conformance::check(&FolderStore::new(folder.path().join("durable")).unwrap().durable()).await;
}

#[tokio::test]
async fn delivered_files_are_read_where_they_lie() {
    use std::os::unix::ffi::OsStringExt;
    let folder = tempfile::tempdir().unwrap();
    let store = with_scans(folder.path());
    let name = PathBuf::from(std::ffi::OsString::from_vec(b"DOE^J 100%/\xff\n".to_vec()));
    let file = folder.path().join("scans").join(&name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "DICM and more").unwrap();
    let start = Object { bytes: body("DICM"), total: 13 };
    assert_eq!(scan(&store, &escape_path(&name)).await, Fetched::Found(start));
    assert_eq!(scan(&store, "nothing").await, Fetched::Missing);
    assert_eq!(scan(&store, "nothing/below").await, Fetched::Missing);
}

#[tokio::test]
async fn delivered_files_are_never_written_or_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_scans(folder.path());
    std::fs::write(folder.path().join("scans/JANE"), "x").unwrap();
    let key = ObjectKey::Scan("JANE".into());
    let error = store.put(key.clone(), body("y")).await.unwrap_err();
    assert!(!error.is_retryable() && !error.to_string().contains("JANE"), "{error}");
    assert!(store.delete(&key).await.is_err());
    assert_eq!(std::fs::read(folder.path().join("scans/JANE")).unwrap(), b"x");
}

#[tokio::test]
async fn a_path_that_leaves_the_scans_folder_is_denied() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_scans(folder.path());
    std::fs::write(folder.path().join("secret"), "x").unwrap();
    let absolute = folder.path().join("secret").to_str().unwrap().to_owned();
    for path in ["../secret", "%2E%2E/secret", "a/../../secret", &absolute] {
        assert!(matches!(scan(&store, path).await, Fetched::Denied(_)), "{path}");
    }
    let plain = FolderStore::new(folder.path().join("plain")).unwrap();
    assert!(plain.put(ObjectKey::Scan("../../x".into()), body("x")).await.is_err());
}

#[tokio::test]
async fn what_is_no_regular_file_is_denied_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_scans(folder.path());
    let scans = folder.path().join("scans");
    std::fs::create_dir(scans.join("folder")).unwrap();
    symlink("loop", scans.join("loop")).unwrap();
    rustix::fs::mknodat(CWD, scans.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    for path in ["folder", "loop", "pipe"] {
        assert!(matches!(scan(&store, path).await, Fetched::Denied(_)), "{path}");
    }
    symlink("nowhere", scans.join("broken")).unwrap();
    assert_eq!(scan(&store, "broken").await, Fetched::Missing);
}

#[tokio::test]
async fn a_file_that_promises_gigabytes_is_denied_whole_and_read_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_scans(folder.path());
    File::create(folder.path().join("scans/huge")).unwrap().set_len(1 << 40).unwrap();
    let whole = store.get(Read::whole(ObjectKey::Scan("huge".into()))).await.unwrap();
    assert!(matches!(whole, Fetched::Denied(_)));
    assert!(matches!(scan(&store, "huge").await, Fetched::Found(object) if object.total == 1 << 40));
}

#[tokio::test]
async fn folders_and_objects_belong_to_their_owner_alone_and_nothing_unfinished_stays() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let store = FolderStore::new(&root).unwrap();
    store.put(sample("a"), body("a")).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let object = root.join("datasets").join(sample("a").path());
    assert_eq!((mode(&root), mode(object.parent().unwrap()), mode(&object)), (0o700, 0o700, 0o600));
    assert_eq!(std::fs::read_dir(root.join("datasets/samples")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_put_that_fails_leaves_the_old_object_and_no_remains() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let store = FolderStore::new(&root).unwrap();
    let in_the_way = root.join("datasets").join(sample("a").path());
    std::fs::create_dir_all(in_the_way.join("below")).unwrap();
    let error = store.put(sample("a"), body("a")).await.unwrap_err();
    assert!(error.to_string().contains("datasets/samples/"), "{error}");
    assert!(in_the_way.join("below").is_dir());
    assert_eq!(std::fs::read_dir(root.join("datasets/samples")).unwrap().count(), 1);
}

#[tokio::test]
async fn what_a_killed_writer_left_is_no_object() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::new(folder.path()).unwrap();
    store.put(sample("a"), body("a")).await.unwrap();
    std::fs::write(folder.path().join("datasets/samples/.0123-4"), "half").unwrap();
    assert_eq!(store.list(Bucket::Datasets, "").await, Ok(vec![sample("a").path()]));
}

#[test]
fn a_caller_that_may_block_is_served_on_its_own_thread_and_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::new(folder.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let served_by = || runtime.block_on(store.with_folders(|_| std::thread::current().id())).unwrap();
    assert_ne!(served_by(), std::thread::current().id());
    assert_eq!(crate::on_blocking_thread(served_by), std::thread::current().id());
}

#[test]
fn errors_are_sorted_by_what_happens_next() {
    let key = sample("a");
    assert!(matches!(put_error(&key, Errno::NOSPC), StoreError::Full { .. }));
    assert!(put_error(&key, Errno::NOSPC).is_retryable());
    assert!(put_error(&key, Errno::IO).is_retryable());
    assert!(!put_error(&key, Errno::ROFS).is_retryable());
    let scan = ObjectKey::Scan("DOE".into());
    assert!(matches!(read_error(&key, Errno::ACCESS), Ok(Fetched::Denied(_))));
    assert!(matches!(read_error(&scan, Errno::IO), Ok(Fetched::Denied(_))));
    assert!(read_error(&key, Errno::IO).unwrap_err().is_retryable());
    assert!(read_error(&scan, Errno::MFILE).unwrap_err().is_retryable());
}

#[ignore = "a measurement: run it in release"]
#[tokio::test]
async fn measure_reading_the_start_of_a_thousand_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_scans(folder.path());
    let names: Vec<String> = (0..1000).map(|n| format!("I{n:05}")).collect();
    for name in &names {
        std::fs::write(folder.path().join("scans").join(name), vec![1; 320_000]).unwrap();
    }
    let reads: Vec<Read> = names.into_iter().map(|name| Read::first(ObjectKey::Scan(name), 8192)).collect();
    for _ in 0..5 {
        let start = std::time::Instant::now();
        let found = store.get_many(&reads).await;
        println!("{:?} per file", start.elapsed() / 1000);
        assert!(found.iter().all(|fetched| matches!(fetched, Ok(Fetched::Found(_)))));
    }
}
