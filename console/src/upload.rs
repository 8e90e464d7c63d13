//! A delivery comes as a zip: written to the disk as it arrives, unpacked within bounds, never held in memory.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::http::StatusCode;
use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use zip::ZipReadOptions;
use zip::read::{Config, ZipFile, ZipFileEntry};
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;

use crate::app::random;
use crate::failure::{ApiResult, Failure};
use crate::works::SCANS;

/// How large a delivery may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes of the zip.
    pub(crate) packed: u64,
    /// Bytes of its files together.
    pub(crate) unpacked: u64,
    /// Files in it.
    pub(crate) files: usize,
    /// How many folders deep they may lie.
    pub(crate) depth: usize,
    /// How many times as large as in the zip a file may be.
    pub(crate) ratio: u64,
}

/// A hospital's delivery of hundreds of patients fits.
pub(crate) const BOUNDS: Bounds =
    Bounds { packed: 64 << 30, unpacked: 256 << 30, files: 1_000_000, depth: 32, ratio: 1000 };

impl Bounds {
    /// A delivery of at most so many GiB, and half as much as a zip.
    pub(crate) fn of_gib(gib: u32) -> Self {
        let unpacked = u64::from(gib) << 30;
        Self { packed: unpacked / 2, unpacked, ..BOUNDS }
    }
}
/// The largest file of a zip that is read into memory, in bytes: a labelme file with its picture inside.
const LARGEST_IN_MEMORY: u64 = 64 << 20;

/// The zip in a delivery's folder.
const PACKED: &str = "delivery.zip";

/// A file below this may be packed as well as it can: a row of zeros is small, and does no harm.
const RATIO_FROM_BYTES: u64 = 1 << 20;

/// A delivery's folder; it goes with the value unless it is kept.
pub(crate) struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    fn new(deliveries: &Path) -> anyhow::Result<Self> {
        let path = deliveries.join(random()?);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, is_kept: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The zip as it came, where it is not unpacked.
    pub(crate) fn packed(&self) -> PathBuf {
        self.path.join(PACKED)
    }

    /// Leaves it to whoever works with it.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // What is left is removed at the next start.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Receives a zip into a new folder.
pub(crate) async fn receive_packed(body: Body, deliveries: &Path, bounds: Bounds) -> ApiResult<Folder> {
    let folder =
        Folder::new(deliveries).map_err(|error| Failure::from(error.context("no room for a delivery")))?;
    write(body, &folder.packed(), bounds.packed).await?;
    Ok(folder)
}

/// Receives a zip and unpacks it below `scans` in a new folder.
pub(crate) async fn receive(body: Body, deliveries: &Path, bounds: Bounds) -> ApiResult<Folder> {
    let folder = receive_packed(body, deliveries, bounds).await?;
    let packed = folder.packed();
    let target = folder.path.join(SCANS);
    let unpacking = tokio::task::spawn_blocking(move || {
        let unpacked = unpack(&packed, &target, bounds);
        fs::remove_file(&packed).map_err(disk)?;
        unpacked
    });
    unpacking.await.map_err(|error| Failure::from(anyhow::Error::from(error)))??;
    Ok(folder)
}

async fn write(body: Body, path: &Path, most: u64) -> ApiResult<()> {
    let mut file = tokio::fs::File::create(path).await.map_err(disk)?;
    let (mut pieces, mut length) = (body.into_data_stream(), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Failure::bad("the upload was cut off").then("upload it again"))?;
        length += piece.len() as u64;
        if length > most {
            return Err(too_large(format!("the zip has more than {most} bytes")));
        }
        file.write_all(&piece).await.map_err(disk)?;
    }
    file.flush().await.map_err(disk)
}

fn too_large(error: String) -> Failure {
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, error).then("upload it in parts, some patients at a time")
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` gives it
fn disk(error: io::Error) -> Failure {
    let error = match error.kind() {
        io::ErrorKind::StorageFull => "the disk of the store is full".to_owned(),
        kind => format!("the delivery can't be written: {kind}"),
    };
    Failure::new(StatusCode::INSUFFICIENT_STORAGE, error).then("make room, then upload again")
}

/// Unpacks; files are named by their place in the zip where they are refused, since their names may say whose they are.
fn unpack(packed: &Path, target: &Path, bounds: Bounds) -> ApiResult<()> {
    fs::create_dir(target).map_err(disk)?;
    let mut left = bounds.unpacked;
    each_entry(packed, bounds, |position, path, mut entry| {
        if entry.is_dir() {
            return fs::create_dir_all(target.join(path)).map_err(disk);
        }
        left -= unpack_one(&mut entry, &target.join(path), position, bounds, left)?;
        Ok(())
    })
}

/// Gives each wanted file of a zip with its name, one after the other.
pub(crate) fn each_file(
    packed: &Path,
    bounds: Bounds,
    is_wanted: impl Fn(&str) -> bool,
    mut each: impl FnMut(String, Vec<u8>) -> anyhow::Result<()>,
) -> ApiResult<()> {
    let mut left = bounds.unpacked;
    each_entry(packed, bounds, |position, path, mut entry| {
        let name = path.to_string_lossy().into_owned();
        if entry.is_dir() || !is_wanted(&name) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let most = left.min(LARGEST_IN_MEMORY);
        (&mut entry)
            .take(most + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable(position, &error.kind().to_string()))?;
        if bytes.len() as u64 > most {
            return Err(too_large(format!("file {} of the zip has more than {most} bytes", position + 1)));
        }
        left -= bytes.len() as u64;
        Ok(each(name, bytes)?)
    })
}

/// Gives what is in a zip, one after the other, each with its place and its path.
fn each_entry(
    packed: &Path,
    bounds: Bounds,
    mut each: impl FnMut(usize, PathBuf, ZipFile<'_, File>) -> ApiResult<()>,
) -> ApiResult<()> {
    let mut zip = open(packed, bounds)?;
    let content = File::open(packed).map_err(disk)?;
    let mut entries = zip.files_with_reader(content, ZipReadOptions::default()).map_err(no_zip)?;
    let mut position = 0;
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|error| unreadable(position, &error.to_string()))?;
        let path = inside(&entry.entry(), position, bounds)?;
        each(position, path, entry)?;
        position += 1;
    }
    Ok(())
}

/// A zip whose list of files is good. The list is looked through before a file is read, and not kept: it may be as long as the zip.
fn open(packed: &Path, bounds: Bounds) -> ApiResult<ZipIterable<File>> {
    let file = File::open(packed).map_err(disk)?;
    let length = file.metadata().map_err(disk)?.len();
    let mut zip = ZipIterable::try_new(file, Config::default()).map_err(no_zip)?;
    if zip.len() > bounds.files {
        return Err(too_large(format!(
            "the zip has {} files; at most {} are taken",
            zip.len(),
            bounds.files
        )));
    }
    if zip.is_empty() {
        return Err(Failure::bad("there are no files in the zip").then("pack the folder with its files"));
    }
    let (mut names, mut unpacked, mut packed) = (HashSet::new(), 0u64, 0u64);
    for (position, entry) in zip.files().map_err(no_zip)?.enumerate() {
        let entry = entry.map_err(no_zip)?;
        let path = inside(&entry, position, bounds)?;
        if !entry.is_dir() && !names.insert(path) {
            return Err(unreadable(position, "another file has its name"));
        }
        if entry.size() > largest(&entry, bounds) {
            return Err(larger(position));
        }
        unpacked = unpacked.saturating_add(entry.size());
        packed = packed.saturating_add(entry.compressed_size());
    }
    if unpacked > bounds.unpacked {
        return Err(too_large(format!(
            "the files of the zip have more than {} bytes together",
            bounds.unpacked
        )));
    }
    if packed > length {
        return Err(Failure::bad("the files of the zip lie over each other").then("pack the folder again"));
    }
    Ok(zip)
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` gives it
fn no_zip(_: ZipError) -> Failure {
    Failure::bad("this is no zip, or it is damaged").then("pack the folder again as a plain zip")
}

/// How many bytes a file may have that is packed in so many.
fn largest(entry: &ZipFileEntry<'_>, bounds: Bounds) -> u64 {
    entry.compressed_size().saturating_mul(bounds.ratio).max(RATIO_FROM_BYTES).min(bounds.unpacked)
}

fn larger(position: usize) -> Failure {
    too_large(format!("file {} of the zip is larger than a delivery may be", position + 1))
}

fn unreadable(position: usize, why: &str) -> Failure {
    Failure::bad(format!("file {} of the zip can't be read: {why}", position + 1))
        .then("pack the folder again as a plain zip, without a password")
}

/// The path of a file, which has to stay in the delivery's folder.
fn inside(entry: &ZipFileEntry<'_>, position: usize, bounds: Bounds) -> ApiResult<PathBuf> {
    let refuse = |why: &str| {
        Failure::bad(format!("file {} of the zip {why}", position + 1)).then("pack the folder again")
    };
    let path = entry.enclosed_name().ok_or_else(|| refuse("lies outside of the zip's own folder"))?;
    if path.as_os_str().is_empty() {
        return Err(refuse("has no name"));
    }
    if entry.is_symlink() {
        return Err(refuse("is a link"));
    }
    if path.components().count() > bounds.depth {
        return Err(refuse(&format!("lies more than {} folders deep", bounds.depth)));
    }
    Ok(path)
}

/// Unpacks a file; how many bytes it has. What the zip says of its length is not believed.
fn unpack_one(
    entry: &mut ZipFile<'_, File>,
    path: &Path,
    position: usize,
    bounds: Bounds,
    left: u64,
) -> ApiResult<u64> {
    let taken = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            unreadable(position, "another file has its name")
        }
        _ => disk(error),
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(taken)?;
    }
    let most = left.min(largest(&entry.entry(), bounds));
    let mut file = File::create_new(path).map_err(taken)?;
    let (mut length, mut piece) = (0, vec![0; 1 << 16]);
    loop {
        let read = entry.read(&mut piece).map_err(|error| unreadable(position, &error.kind().to_string()))?;
        if read == 0 {
            // A run is named by the paths, lengths and times of its files: made from what is in them, the times are the same when
            // the same files are uploaded again, and that goes on with the same run.
            let time = UNIX_EPOCH + Duration::from_secs(entry.crc32().into());
            file.set_modified(time).map_err(disk)?;
            return Ok(length);
        }
        length += read as u64;
        if length > most {
            return Err(larger(position));
        }
        file.write_all(&piece[..read]).map_err(disk)?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    const SMALL: Bounds = Bounds { packed: 1 << 20, unpacked: 4 << 20, files: 3, depth: 3, ratio: 10 };

    fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    async fn received(zip: Vec<u8>) -> Result<(tempfile::TempDir, Folder), String> {
        let deliveries = tempfile::tempdir().unwrap();
        let answer = receive(Body::from(zip), deliveries.path(), SMALL).await;
        if answer.is_err() {
            assert_eq!(
                fs::read_dir(deliveries.path()).unwrap().count(),
                0,
                "nothing stays of what was refused"
            );
        }
        answer.map(|folder| (deliveries, folder)).map_err(|failure| format!("{failure:?}"))
    }

    #[tokio::test]
    async fn a_delivery_is_unpacked_with_its_folders() {
        let (_deliveries, folder) =
            received(zipped(&[("207/I1", b"one"), ("207/b/I2", b"two"), ("/etc/I3", b"three")]))
                .await
                .unwrap();
        assert_eq!(fs::read(folder.path().join("scans/207/b/I2")).unwrap(), b"two");
        assert_eq!(fs::read(folder.path().join("scans/etc/I3")).unwrap(), b"three");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the zip itself is gone");
    }

    #[tokio::test]
    async fn the_same_file_uploaded_again_has_the_same_time_and_another_has_not() {
        let mut times = Vec::new();
        for content in [b"one", b"one", b"two"] {
            let (_deliveries, folder) = received(zipped(&[("I1", content)])).await.unwrap();
            times.push(fs::metadata(folder.path().join("scans/I1")).unwrap().modified().unwrap());
        }
        assert_eq!(times[0], times[1]);
        assert_ne!(times[1], times[2]);
    }

    /// Writes other bytes so far behind the beginning of each entry in the zip's list.
    fn forged(mut zip: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
        let entries: Vec<usize> =
            (0..zip.len() - 4).filter(|at| zip[*at..].starts_with(b"PK\x01\x02")).collect();
        entries.iter().for_each(|entry| zip[entry + at..][..bytes.len()].copy_from_slice(bytes));
        zip
    }

    /// The list of a zip with one file that says that it has so many bytes.
    fn of_size(bytes: u64) -> Vec<u8> {
        let local = [b"PK\x03\x04\x2d\0".as_slice(), &[0; 20], b"\x01\0\0\0aX"].concat();
        let sizes = [1u32.to_le_bytes(), u32::MAX.to_le_bytes()].concat();
        let extra = [b"\x01\0\x08\0".as_slice(), &bytes.to_le_bytes()].concat();
        let entry = [
            b"PK\x01\x02\x2d\x03\x2d\0".as_slice(),
            &[0; 12],
            &sizes,
            b"\x01\0\x0c\0",
            &[0; 14],
            b"a",
            &extra,
        ]
        .concat();
        let places = [u32::try_from(entry.len()).unwrap(), u32::try_from(local.len()).unwrap()]
            .map(u32::to_le_bytes)
            .concat();
        let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0".as_slice(), &places, b"\0\0"].concat();
        [local, entry, end].concat()
    }

    #[tokio::test]
    async fn a_list_of_files_that_lies_is_refused() {
        let (packed_size, size, attributes) = (20, 24, 38);
        let bomb = zipped(&[("DOE", &vec![0; 3 << 20])]);
        let link = (0o120_777_u32 << 16).to_le_bytes();
        let two = zipped(&[("DOE1", b"x"), ("DOE2", b"y")]);
        for (zip, why) in [
            (forged(bomb, size, &7u32.to_le_bytes()), "file 1 of the zip"),
            (forged(zipped(&[("DOE", b"x")]), size, &(3u32 << 30).to_le_bytes()), "larger than"),
            (of_size(1 << 40), "larger than"),
            (forged(two.clone(), packed_size, &(1u32 << 30).to_le_bytes()), "over each other"),
            (forged(zipped(&[("DOE", b"/etc/passwd")]), attributes, &link), "a link"),
            (forged(two, 46, b"DOE1"), "another file has its name"),
        ] {
            let said = received(zip).await.err().unwrap_or_default();
            assert!(said.contains(why) && !said.contains("DOE"), "{why}: {said}");
        }
        assert!(
            received(of_size(1)).await.is_err_and(|said| said.contains("file 1 of the zip can't be read")),
            "its sum is wrong"
        );
    }

    #[tokio::test]
    async fn what_could_do_harm_is_refused_without_its_name() {
        let deep = "DOE/a/b/c/I1";
        let bomb = vec![0; 3 << 20];
        for (zip, why) in [
            (zipped(&[("../DOE", b"x")]), "outside"),
            (zipped(&[("a/../../DOE", b"x")]), "outside"),
            (zipped(&[("DOE/..", b"x")]), "no name"),
            (zipped(&[("DOE", b"x"), ("DOE/I1", b"x")]), "another file"),
            (zipped(&[]), "no files"),
            (zipped(&[(deep, b"x")]), "deep"),
            (zipped(&[("DOE", &bomb)]), "larger than"),
            (zipped(&[("a", b""), ("b", b""), ("c", b""), ("DOE", b"")]), "4 files"),
            (b"DOE, not a zip".to_vec(), "no zip"),
            (vec![7; 2 << 20], "more than"),
        ] {
            let said = received(zip).await.err().unwrap();
            assert!(said.contains(why) && !said.contains("DOE"), "{why}: {said}");
        }
    }
}
