//! A delivery comes as a zip: written to the disk as it arrives, unpacked within bounds, never held in memory.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::http::StatusCode;
use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use zip::ZipArchive;
use zip::read::ZipFile;

use crate::app::random;
use crate::failure::{Answer, Failure};
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
pub(crate) async fn receive_packed(body: Body, deliveries: &Path, bounds: Bounds) -> Answer<Folder> {
    let folder =
        Folder::new(deliveries).map_err(|error| Failure::from(error.context("no room for a delivery")))?;
    write(body, &folder.packed(), bounds.packed).await?;
    Ok(folder)
}

/// Receives a zip and unpacks it below `scans` in a new folder.
pub(crate) async fn receive(body: Body, deliveries: &Path, bounds: Bounds) -> Answer<Folder> {
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

async fn write(body: Body, path: &Path, most: u64) -> Answer<()> {
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
fn unpack(packed: &Path, target: &Path, bounds: Bounds) -> Answer<()> {
    let mut archive = open(packed, bounds)?;
    fs::create_dir(target).map_err(disk)?;
    let mut left = bounds.unpacked;
    for position in 0..archive.len() {
        let mut entry =
            archive.by_index(position).map_err(|error| unreadable(position, &error.to_string()))?;
        let path = inside(&entry, position, bounds)?;
        if entry.is_dir() {
            fs::create_dir_all(target.join(path)).map_err(disk)?;
        } else {
            left -= unpack_one(&mut entry, &target.join(path), position, bounds, left)?;
        }
    }
    Ok(())
}

/// Gives each wanted file of a zip with its name, one after the other.
pub(crate) fn each_file(
    packed: &Path,
    bounds: Bounds,
    is_wanted: fn(&str) -> bool,
    mut each: impl FnMut(String, Vec<u8>) -> anyhow::Result<()>,
) -> Answer<()> {
    let mut archive = open(packed, bounds)?;
    let mut left = bounds.unpacked;
    for position in 0..archive.len() {
        let mut entry =
            archive.by_index(position).map_err(|error| unreadable(position, &error.to_string()))?;
        let path = inside(&entry, position, bounds)?;
        let name = path.to_string_lossy().into_owned();
        if entry.is_dir() || !is_wanted(&name) {
            continue;
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
        each(name, bytes)?;
    }
    Ok(())
}

/// A zip, whose files are not too many and not none.
fn open(packed: &Path, bounds: Bounds) -> Answer<ZipArchive<File>> {
    let no_zip =
        |_| Failure::bad("this is no zip, or it is damaged").then("pack the folder again as a plain zip");
    let archive = ZipArchive::new(File::open(packed).map_err(disk)?).map_err(no_zip)?;
    if archive.len() > bounds.files {
        return Err(too_large(format!(
            "the zip has {} files; at most {} are taken",
            archive.len(),
            bounds.files
        )));
    }
    if archive.is_empty() {
        return Err(Failure::bad("there are no files in the zip").then("pack the folder with its files"));
    }
    Ok(archive)
}

fn unreadable(position: usize, why: &str) -> Failure {
    Failure::bad(format!("file {} of the zip can't be read: {why}", position + 1))
        .then("pack the folder again as a plain zip, without a password")
}

/// The path of a file, which has to stay in the delivery's folder.
fn inside(entry: &ZipFile<'_, File>, position: usize, bounds: Bounds) -> Answer<PathBuf> {
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
) -> Answer<u64> {
    let taken = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            unreadable(position, "another file has its name")
        }
        _ => disk(error),
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(taken)?;
    }
    let most = left.min((entry.compressed_size().saturating_mul(bounds.ratio)).max(RATIO_FROM_BYTES));
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
            return Err(too_large(format!(
                "file {} of the zip is larger than a delivery may be",
                position + 1
            )));
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
