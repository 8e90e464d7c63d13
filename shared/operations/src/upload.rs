//! Files into the store: those of a folder, only what is not there yet; or those that somebody has put there.
//!
//! An uploaded file lies below the digest of its content. So two deliveries never meet whatever their files are called, an
//! object never changes once it is there, and starting again uploads what is missing and nothing else.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::stream::{StreamExt, TryStreamExt, iter};
use modiolus_pipeline::job::ingest::ListedFile;
use modiolus_pipeline::key::SCANS_PREFIX;
use modiolus_pipeline::{Bucket, Digest, Fetched, ObjectKey, Read};
use modiolus_store::{FolderStore, MAX_KEY_BYTES, ObjectStore};
use tokio::sync::{Semaphore, SemaphorePermit};

/// How many files are under way at once.
const FILES_AT_ONCE: usize = 16;

/// How many bytes of files are in memory at once, in KiB; a longer file goes alone.
const KIB_AT_ONCE: u32 = 256 * 1024;

/// How many hexadecimal digits of its digest stand before a file's path: enough for all files that there will ever be,
/// and short, since the store's keys are.
const DIGITS: usize = 32;

/// What stands there for a file that could not be read.
const UNREADABLE: &str = "unreadable";

/// How much of a file that is there already is read to tell it from another of the same name and length: its header, which
/// has its SOPInstanceUID.
const START_BYTES: u64 = 8 * 1024;

/// What an upload came to.
#[derive(Debug)]
pub struct Uploaded {
    /// The files as they are listed for the cluster, in the order of the walk.
    pub files: Vec<ListedFile>,
    /// How many were sent.
    pub sent: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

/// Who is told how far it is.
pub trait Told: Send + Sync {
    /// So many more files are coming.
    fn expect(&self, files: u64);

    /// So many more are done.
    fn advance(&self, files: u64);
}

/// Nobody.
impl Told for () {
    fn expect(&self, _: u64) {}

    fn advance(&self, _: u64) {}
}

/// Uploads the files of a walk. One that can't be read is listed with the reason, as a run on one machine would say it.
///
/// # Errors
/// When the folder can't be read or the store fails; what is there by then stays.
pub async fn upload(
    scans: &Path,
    walked: Vec<ListedFile>,
    store: &dyn ObjectStore,
    told: &dyn Told,
) -> Result<Uploaded> {
    told.expect(walked.len() as u64);
    let (reader, sent, bytes) = (Reader::new(scans)?, AtomicU64::new(0), AtomicU64::new(0));
    let one = async |file: ListedFile| {
        let _room = reader.room_for(&file).await?;
        let (listed, content) = reader.listed(file).await?;
        let key = ObjectKey::Scan(listed.path.clone());
        if let Some(content) = content
            && store.length(&key).await? != Some(listed.length)
        {
            store.put(key, content).await?;
            sent.fetch_add(1, Ordering::Relaxed);
            bytes.fetch_add(listed.length, Ordering::Relaxed);
        }
        told.advance(1);
        anyhow::Ok(listed)
    };
    let files: Vec<_> = walked.into_iter().map(one).collect();
    let files = iter(files).buffered(FILES_AT_ONCE).try_collect().await;
    let files = files.context("not all files are in the store yet: submit again to go on")?;
    Ok(Uploaded { files, sent: sent.into_inner(), bytes: bytes.into_inner() })
}

/// The files of a walk as [`upload`] lists them, before anything is sent: what a run of them is called follows from it.
///
/// # Errors
/// When the folder can't be read.
pub async fn foreseen(scans: &Path, walked: Vec<ListedFile>) -> Result<Vec<ListedFile>> {
    let reader = Reader::new(scans)?;
    let one = async |file: ListedFile| {
        let _room = reader.room_for(&file).await?;
        Ok(reader.listed(file).await?.0)
    };
    let files: Vec<_> = walked.into_iter().map(one).collect();
    iter(files).buffered(FILES_AT_ONCE).try_collect().await
}

struct Reader {
    /// Reads files as a run on one machine does, so that what it says of those that it can't read is the same.
    source: FolderStore,
    memory: Semaphore,
}

impl Reader {
    fn new(scans: &Path) -> Result<Self> {
        let source = FolderStore::new(scans).and_then(|source| source.with_scans(scans));
        let source = source.with_context(|| scans.display().to_string())?;
        Ok(Self { source, memory: Semaphore::new(KIB_AT_ONCE as usize) })
    }

    /// Waits until there is memory for a file; it is kept for it as long as the value is.
    async fn room_for(&self, file: &ListedFile) -> Result<SemaphorePermit<'_>> {
        let kib = u32::try_from(file.length / 1024 + 1).unwrap_or(u32::MAX).min(KIB_AT_ONCE);
        Ok(self.memory.acquire_many(kib).await?)
    }

    /// A file as it is listed, and its content, which belongs there; none of one that can't be had.
    async fn listed(&self, file: ListedFile) -> Result<(ListedFile, Option<Bytes>)> {
        let bytes = match self.read(&file).await? {
            Ok(bytes) => bytes,
            Err(why) => return Ok((unreadable(file, why), None)),
        };
        let (length, content) = (bytes.len() as u64, bytes.clone());
        let digest = tokio::task::spawn_blocking(move || Digest::of(content)).await?;
        let path = format!("{}/{}", digest.short(DIGITS), file.path);
        let key_bytes = ObjectKey::Scan(path.clone()).path().len();
        if key_bytes > MAX_KEY_BYTES {
            let why =
                format!("its path is longer than the store allows: {key_bytes} of {MAX_KEY_BYTES} bytes");
            return Ok((unreadable(file, why), None));
        }
        // The digest tells a changed file, so that a copy of a delivery, with other times, is the same delivery.
        Ok((ListedFile { path, length, modified: 0, start: None, unreadable: None }, Some(bytes)))
    }

    /// The file's bytes, or why it can't be read.
    async fn read(&self, file: &ListedFile) -> Result<Result<Bytes, String>> {
        if let Some(why) = &file.unreadable {
            return Ok(Err(why.clone()));
        }
        Ok(match self.source.get(Read::whole(ObjectKey::Scan(file.path.clone()))).await? {
            Fetched::Found(object) => Ok(object.bytes),
            Fetched::Missing => Err("it vanished after it was listed".to_owned()),
            Fetched::Denied(why) => Err(why),
        })
    }
}

fn unreadable(file: ListedFile, why: String) -> ListedFile {
    let path = format!("{UNREADABLE}/{}", file.path);
    ListedFile { path, length: file.length, modified: 0, start: None, unreadable: Some(why) }
}

/// The files that lie below a prefix (of `scans/`) in the store, in the order of their paths.
///
/// # Errors
/// When there are none, some come or go meanwhile, or the store fails.
pub async fn listed(store: &dyn ObjectStore, prefix: &str, told: &dyn Told) -> Result<Vec<ListedFile>> {
    let paths = below(store, prefix).await?;
    if paths.is_empty() {
        let elsewhere = store.list(Bucket::Incoming, &format!("{prefix}/")).await?.len();
        match elsewhere {
            0 => bail!(
                "there is nothing below {SCANS_PREFIX} in incoming under this prefix: is it spelt right?"
            ),
            n => bail!(
                "{n} files lie there, but not below {SCANS_PREFIX}, where alone workers look: move them"
            ),
        }
    }
    told.expect(paths.len() as u64);
    let files: Vec<_> = paths.iter().map(|path| there(store, path, told)).collect();
    let files: Vec<_> = iter(files).buffered(FILES_AT_ONCE).try_collect().await?;
    let again = below(store, prefix).await?;
    let (came, went) = (missing_in(&paths, &again), missing_in(&again, &paths));
    if came + went > 0 {
        bail!(
            "this delivery is not at rest: while it was listed, {came} files came and {went} went. Nothing was started. \
             Submit it again when its upload is complete"
        );
    }
    Ok(files)
}

async fn below(store: &dyn ObjectStore, prefix: &str) -> Result<Vec<String>> {
    let paths = store.list(Bucket::Incoming, &format!("{SCANS_PREFIX}{prefix}/")).await?;
    // Some clients write an empty object for a folder.
    Ok(paths.into_iter().filter(|path| !path.ends_with('/')).collect())
}

/// How many of `all` are not in `some`, which is sorted.
fn missing_in(some: &[String], all: &[String]) -> usize {
    all.iter().filter(|path| some.binary_search(path).is_err()).count()
}

/// One that is there: its length and the digest of its start.
async fn there(store: &dyn ObjectStore, path: &str, told: &dyn Told) -> Result<ListedFile> {
    let path = path.strip_prefix(SCANS_PREFIX).unwrap_or(path).to_owned();
    let read = Read::first(ObjectKey::Scan(path.clone()), START_BYTES);
    let file = |length, start, unreadable| ListedFile { path, length, modified: 0, start, unreadable };
    let file = match store.get(read).await? {
        Fetched::Found(object) => file(object.total, Some(Digest::of(&object.bytes)), None),
        Fetched::Missing => file(0, None, Some("it vanished after it was listed".to_owned())),
        Fetched::Denied(why) => file(0, None, Some(why)),
    };
    told.advance(1);
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use futures::FutureExt;
    use modiolus_pipeline::job::ingest::Delivery;
    use modiolus_store::MemoryStore;

    use super::*;
    use crate::walk;

    async fn upload_all(scans: &Path, store: &MemoryStore) -> Uploaded {
        let walked = walk::walk(scans, Path::new("")).unwrap();
        let foreseen = foreseen(scans, walked.clone()).await.unwrap();
        let uploaded = upload(scans, walked, store, &()).await.unwrap();
        assert_eq!(uploaded.files, foreseen);
        uploaded
    }

    #[tokio::test]
    async fn only_what_is_not_there_yet_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("207")).unwrap();
        fs::write(folder.path().join("207/I1"), b"one").unwrap();
        fs::write(folder.path().join("207/I2"), b"two").unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("207/gone")).unwrap();
        let store = MemoryStore::new();
        let first = upload_all(folder.path(), &store).await;
        assert_eq!((first.sent, first.bytes, first.files.len()), (2, 6, 3));
        fs::write(folder.path().join("207/I2"), b"2 !").unwrap();
        let second = upload_all(folder.path(), &store).await;
        assert_eq!((second.sent, second.bytes), (1, 3));
        assert_eq!(
            store.list(Bucket::Incoming, SCANS_PREFIX).await.unwrap().len(),
            3,
            "what was there stays"
        );
        let shown: Vec<_> = second.files.iter().map(|file| Delivery::Uploaded.shown(&file.path)).collect();
        assert_eq!(shown, ["207/I1", "207/I2", "207/gone"]);
        assert_eq!(second.files[2].unreadable.as_deref(), Some("a link to nothing"));
        assert_ne!(first.files[1], second.files[1], "a file of another content is another file");
    }

    #[tokio::test]
    async fn a_path_that_the_store_cannot_name_is_a_row_and_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join(["x".repeat(250).as_str(); 4].join("/"));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("I1"), b"one").unwrap();
        let uploaded = upload_all(folder.path(), &MemoryStore::new()).await;
        assert_eq!(uploaded.sent, 0);
        assert!(uploaded.files[0].unreadable.as_ref().unwrap().contains("1024"), "{uploaded:?}");
    }

    /// Somebody who still uploads while the files are listed.
    struct Uploading<'a>(&'a MemoryStore);

    impl Told for Uploading<'_> {
        fn expect(&self, _: u64) {}

        fn advance(&self, _: u64) {
            let put = self.0.put(ObjectKey::Scan("july/207/I2".into()), Bytes::from_static(b"two"));
            put.now_or_never().expect("memory").unwrap();
        }
    }

    #[tokio::test]
    async fn a_delivery_that_still_comes_is_refused_until_it_is_complete() {
        let store = MemoryStore::new();
        store.put(ObjectKey::Scan("july/207/I1".into()), Bytes::from_static(b"one")).await.unwrap();
        let error = listed(&store, "july", &Uploading(&store)).await.unwrap_err().to_string();
        assert!(error.contains("1 files came and 0 went"), "{error}");
        assert_eq!(listed(&store, "july", &()).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn files_of_another_client_are_told_apart_by_their_start() {
        let store = MemoryStore::new();
        let key = ObjectKey::Scan("july/207/I1".into());
        store.put(key.clone(), Bytes::from_static(b"one")).await.unwrap();
        let before = listed(&store, "july", &()).await.unwrap();
        store.put(key, Bytes::from_static(b"two")).await.unwrap();
        let after = listed(&store, "july", &()).await.unwrap();
        assert_eq!((before[0].path.as_str(), before[0].length), ("july/207/I1", 3));
        assert_ne!(before, after);
        assert!(listed(&store, "june", &()).await.unwrap_err().to_string().contains("spelt right"));
    }
}
