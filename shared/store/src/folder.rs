//! Objects as plain files in a folder: the store of one machine.
//!
//! An object is written under a hidden name in its folder and then renamed, so a reader never meets half of one; a kill
//! may leave such a hidden file, which is no object and does no harm. Nothing is flushed to the disk unless [`FolderStore::durable`] asks for it: after a loss of power an object may be torn, but
//! then its digest isn't the one in its job's manifest, and the job is done again.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use modiolus_pipeline::join::Output;
use modiolus_pipeline::{Bucket, Fetched, Object, ObjectKey, Read};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::blocking::may_block;
use crate::path::stays_inside;
use crate::{MAX_OBJECT_BYTES, ObjectStore, Puts, StoreError, is_intact, output_place, unescape_path};

/// A store in a folder, with one folder per bucket.
pub struct FolderStore {
    folders: Arc<Folders>,
}

struct Folders {
    path: PathBuf,
    root: OwnedFd,
    scans: Option<OwnedFd>,
    durable: bool,
    writer: u64,
    written: AtomicU64,
}

impl FolderStore {
    /// The store in this folder, which is made, for its owner alone, if it isn't there.
    ///
    /// # Errors
    /// When the folder can't be made or opened.
    pub fn new(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = root.into();
        let failed = |errno: Errno| StoreError::refused("the store's folder", why(errno));
        make_folders(&path).map_err(failed)?;
        let root = open_folder(&path).map_err(failed)?;
        // Processes in different containers can share a process id, so a writer's name is drawn at random.
        let writer = RandomState::new().hash_one(std::process::id());
        let folders = Folders { path, root, scans: None, durable: false, writer, written: AtomicU64::new(0) };
        Ok(Self { folders: Arc::new(folders) })
    }

    /// Lets this folder, read-only, be where delivered files lie ([`ObjectKey::Scan`]).
    ///
    /// # Errors
    /// When the folder can't be opened.
    pub fn with_scans(mut self, folder: &Path) -> Result<Self, StoreError> {
        let scans =
            open_folder(folder).map_err(|errno| StoreError::refused("the scans' folder", why(errno)))?;
        self.change(|folders| folders.scans = Some(scans));
        Ok(self)
    }

    /// Has every object flushed to the disk before it counts as written.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.change(|folders| folders.durable = true);
        self
    }

    fn change(&mut self, change: impl FnOnce(&mut Folders)) {
        Arc::get_mut(&mut self.folders).map(change).expect("a store that is being set up is not shared yet");
    }

    /// Does something with files away from the async threads.
    async fn with_folders<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folders) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        if may_block() {
            return Ok(work(&self.folders));
        }
        let folders = self.folders.clone();
        let stopping = |_| StoreError::unavailable("the store's folder", "the process is stopping");
        tokio::task::spawn_blocking(move || work(&folders)).await.map_err(stopping)
    }
}

#[async_trait]
impl ObjectStore for FolderStore {
    async fn get_many(&self, reads: &[Read]) -> Vec<Result<Fetched, StoreError>> {
        if reads.is_empty() {
            return vec![];
        }
        let (count, reads) = (reads.len(), reads.to_vec());
        let all = self.with_folders(move |folders| reads.iter().map(|read| folders.fetch(read)).collect());
        all.await.unwrap_or_else(|error| vec![Err(error); count])
    }

    async fn put_in_order(&self, steps: Vec<Puts>) -> Result<(), StoreError> {
        let put_all = move |folders: &Folders| {
            steps.iter().flatten().try_for_each(|(key, bytes)| folders.put(key, bytes))
        };
        self.with_folders(put_all).await?
    }

    async fn list(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, StoreError> {
        let prefix = prefix.to_owned();
        self.with_folders(move |folders| folders.list(bucket, &prefix)).await?
    }

    async fn length(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError> {
        let key = key.clone();
        self.with_folders(move |folders| folders.length(&key)).await?
    }

    async fn verify(&self, outputs: &[Output]) -> Result<bool, StoreError> {
        let outputs = outputs.to_vec();
        self.with_folders(move |folders| {
            for output in &outputs {
                if !folders.verify(output)? {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await?
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let key = key.clone();
        self.with_folders(move |folders| folders.delete(&key)).await?
    }
}

impl Folders {
    /// The open folder and the path within it, `None` where the key names nothing inside.
    fn locate(&self, key: &ObjectKey) -> Option<(&OwnedFd, PathBuf)> {
        match (key, &self.scans) {
            (ObjectKey::Scan(path), Some(scans)) => Some((scans, unescape_path(path).ok()?)),
            _ => {
                let path = key.path();
                stays_inside(&path).then(|| (&self.root, PathBuf::from(format!("{}/{path}", key.bucket()))))
            }
        }
    }

    fn fetch(&self, read: &Read) -> Result<Fetched, StoreError> {
        let Some((folder, path)) = self.locate(&read.key) else {
            return Ok(Fetched::Denied("its path leaves the folder".into()));
        };
        read_file(folder, &path, read.first).or_else(|errno| read_error(&read.key, errno))
    }

    fn put(&self, key: &ObjectKey, bytes: &Bytes) -> Result<(), StoreError> {
        if matches!(key, ObjectKey::Scan(_)) && self.scans.is_some() {
            return Err(StoreError::refused(key, "delivered files are never written"));
        }
        let Some((root, path)) = self.locate(key) else {
            return Err(StoreError::refused(key, "its path leaves the store"));
        };
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let unfinished = path.with_file_name(format!(".{:016x}-{number}", self.writer));
        let written = self.write_file(&unfinished, bytes).and_then(|()| self.name_file(&unfinished, &path));
        written.map_err(|errno| {
            // Best effort: what can't be removed is hidden.
            let _ = rustix::fs::unlinkat(root, &unfinished, AtFlags::empty());
            put_error(key, errno)
        })
    }

    fn write_file(&self, unfinished: &Path, bytes: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&self.root, unfinished, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(match open() {
            Err(Errno::NOENT) => {
                make_folders(&self.path.join(folder_of(unfinished)))?;
                open()?
            }
            opened => opened?,
        });
        file.write_all(bytes).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        if self.durable { rustix::fs::fsync(&file) } else { Ok(()) }
    }

    fn name_file(&self, unfinished: &Path, path: &Path) -> Result<(), Errno> {
        rustix::fs::renameat(&self.root, unfinished, &self.root, path)?;
        if self.durable {
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::fsync(rustix::fs::openat(&self.root, folder_of(path), flags, Mode::empty())?)?;
        }
        Ok(())
    }

    fn list(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, StoreError> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !folder.is_empty() && !stays_inside(folder) {
            return Ok(vec![]);
        }
        let bucket_folder = self.path.join(bucket.as_str());
        let mut paths = vec![];
        let mut open = vec![folder.to_owned()];
        while let Some(folder) = open.pop() {
            let listed = list_folder(&bucket_folder, &folder, prefix, &mut paths, &mut open);
            listed.map_err(|error| StoreError::unavailable(format!("{bucket}/"), error.kind()))?;
        }
        paths.sort_unstable();
        Ok(paths)
    }

    fn length(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError> {
        let Some((folder, path)) = self.locate(key) else { return Ok(None) };
        match rustix::fs::statat(folder, &path, AtFlags::empty()) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => {
                Ok(u64::try_from(stat.st_size).ok())
            }
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(StoreError::unavailable(key, why(errno))),
        }
    }

    fn verify(&self, output: &Output) -> Result<bool, StoreError> {
        let Some((bucket, path)) = output_place(output) else { return Ok(false) };
        let path = PathBuf::from(format!("{bucket}/{path}"));
        match read_file(&self.root, &path, None) {
            Ok(Fetched::Found(object)) => Ok(is_intact(output, &object.bytes)),
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::NAMETOOLONG) => Ok(false),
            Err(errno) => Err(StoreError::unavailable(format!("{bucket}/"), why(errno))),
        }
    }

    fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        if matches!(key, ObjectKey::Scan(_)) && self.scans.is_some() {
            return Err(StoreError::refused(key, "delivered files are never removed"));
        }
        let Some((folder, path)) = self.locate(key) else { return Ok(()) };
        match rustix::fs::unlinkat(folder, &path, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(errno @ (Errno::ACCESS | Errno::PERM | Errno::ROFS)) => {
                Err(StoreError::refused(key, why(errno)))
            }
            Err(errno) => Err(StoreError::unavailable(key, why(errno))),
        }
    }
}

/// Four system calls for a file's start: open, stat, read, close.
fn read_file(folder: &OwnedFd, path: &Path, first: Option<u64>) -> Result<Fetched, Errno> {
    // Not blocking, since opening a pipe would wait for somebody to write into it.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::openat(folder, path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Ok(Fetched::Denied("it is not a regular file".into()));
    }
    let total = u64::try_from(stat.st_size).unwrap_or(0);
    let wanted = first.map_or(total, |first| first.min(total));
    if wanted > MAX_OBJECT_BYTES {
        return Ok(Fetched::Denied(format!("{wanted} bytes; at most {MAX_OBJECT_BYTES} are read at once")));
    }
    let wanted = wanted as usize;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(wanted).map_err(|_| Errno::NOMEM)?;
    while bytes.len() < wanted {
        let offset = bytes.len() as u64;
        match rustix::io::pread(&file, rustix::buffer::spare_capacity(&mut bytes), offset) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    bytes.truncate(wanted);
    // A file that shrank since it was opened is as long as what could be read of it.
    let total = if bytes.len() < wanted { bytes.len() as u64 } else { total };
    Ok(Fetched::Found(Object { bytes: bytes.into(), total }))
}

fn list_folder(
    bucket: &Path,
    folder: &str,
    prefix: &str,
    paths: &mut Vec<String>,
    open: &mut Vec<String>,
) -> std::io::Result<()> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let entries = match std::fs::read_dir(bucket.join(folder)) {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        // Every object's name is UTF-8, and none is hidden.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if entry.file_type()?.is_dir() {
            if path.starts_with(prefix) || prefix.starts_with(&path) {
                open.push(path);
            }
        } else if path.starts_with(prefix) {
            paths.push(path);
        }
    }
    Ok(())
}

fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn make_folders(path: &Path) -> Result<(), Errno> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

fn read_error(key: &ObjectKey, errno: Errno) -> Result<Fetched, StoreError> {
    match errno {
        Errno::NOENT | Errno::NOTDIR => Ok(Fetched::Missing),
        Errno::ACCESS | Errno::PERM => Ok(Fetched::Denied(why(errno))),
        // A delivered file that the disk can't read is that file's trouble, not the store's.
        _ if matches!(key, ObjectKey::Scan(_)) && !is_shortage(errno) => Ok(Fetched::Denied(why(errno))),
        _ => Err(StoreError::unavailable(key, why(errno))),
    }
}

fn put_error(key: &ObjectKey, errno: Errno) -> StoreError {
    match errno {
        Errno::NOSPC | Errno::DQUOT => StoreError::Full { what: key.to_string() },
        Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::ISDIR | Errno::NOTDIR => {
            StoreError::refused(key, why(errno))
        }
        _ => StoreError::unavailable(key, why(errno)),
    }
}

/// Whether this process or machine is short of something, so that any file would have met the error.
fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR | Errno::AGAIN)
}

/// The cause in words, and what to do about the common ones.
fn why(errno: Errno) -> String {
    match errno {
        Errno::ACCESS | Errno::PERM => "no permission: check its owner and rights".into(),
        Errno::ROFS => "the file system is read-only".into(),
        Errno::NOENT => "it is not there".into(),
        Errno::NOTDIR => "something on its path is no folder".into(),
        Errno::LOOP => "its links lead in a circle".into(),
        Errno::IO => "the disk can't read or write it: check the disk".into(),
        Errno::NXIO => "it is not a regular file".into(),
        Errno::MFILE | Errno::NFILE => "too many open files: raise the limit (ulimit -n)".into(),
        _ => std::io::Error::from(errno).to_string(),
    }
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
