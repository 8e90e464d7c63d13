//! The output folder: slices, images, masks, overlays and segmentations, copied out of the store under names that people use.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use modiolus_pipeline::verdict::KeptSlice;
use modiolus_pipeline::{Digest, Fetched, ModelVersion, ObjectKey, Read};
use modiolus_store::ObjectStore;
use serde::{Deserialize, Serialize};

use super::rows::Row;
use crate::failure::Usage;
use crate::place::{FOLDER, INVENTORY};

/// How many objects are read and written at once.
const BATCH: usize = 16;

/// The folders of an output, beside the store's.
const FOLDERS: [&str; 6] = ["slices", "images", "masks", "overlays", "segmentations", "annotations"];

/// What the output folder holds and what it was made from: a second run that finds it unchanged has nothing to do.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Inventory {
    /// The digest of everything that the output depends on; None where something failed, so that it is tried again.
    inputs: Option<Digest>,
    /// The files, relative to the output folder.
    files: Vec<Listed>,
}

/// A file of an output.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Listed {
    path: PathBuf,
    length: u64,
    sha256: Digest,
}

impl Listed {
    /// A file with the bytes that it should have.
    fn is_intact(&self, output: &Path) -> bool {
        let path = output.join(&self.path);
        fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() == self.length)
            && File::open(path).and_then(Digest::of_reader).is_ok_and(|digest| digest == self.sha256)
    }
}

/// An output folder that is being filled.
pub(crate) struct Tree<'a> {
    output: &'a Path,
    inputs: Digest,
    earlier: Inventory,
    files: Vec<Listed>,
}

impl<'a> Tree<'a> {
    /// The output folder for what follows from these inputs, and what an earlier run left in it.
    pub(crate) fn open(output: &'a Path, inputs: Digest) -> Self {
        let earlier = fs::read(output.join(FOLDER).join(INVENTORY)).ok();
        let earlier = earlier.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { output, inputs, earlier, files: Vec::new() }
    }

    /// Whether an earlier run left all that follows from these inputs, and nothing has changed since.
    pub(crate) fn is_whole(&self) -> bool {
        let Inventory { inputs, files } = &self.earlier;
        *inputs == Some(self.inputs) && files.iter().all(|file| file.is_intact(self.output))
    }

    /// Writes a file, whole or not at all; one that already has these bytes stays as it is.
    pub(crate) fn write(&mut self, path: PathBuf, bytes: &[u8]) -> Result<()> {
        let full = self.output.join(&path);
        let unchanged = fs::metadata(&full).is_ok_and(|found| found.len() == bytes.len() as u64)
            && fs::read(&full).is_ok_and(|found| found == bytes);
        if !unchanged {
            self.replace(&full, |file| Ok(file.write_all(bytes)?))?;
        }
        self.files.push(Listed { path, length: bytes.len() as u64, sha256: Digest::of(bytes) });
        Ok(())
    }

    /// Writes a file, whole or not at all, piece by piece: it may be longer than what should be held in memory.
    pub(crate) fn stream(
        &mut self,
        path: &str,
        write: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        let full = self.output.join(path);
        let length = self.replace(&full, |file| {
            let mut buffer = BufWriter::with_capacity(1 << 16, file);
            write(&mut buffer)?;
            Ok(buffer.flush()?)
        })?;
        let sha256 = File::open(&full).and_then(Digest::of_reader);
        let sha256 = sha256.with_context(|| format!("{} can't be read", full.display()))?;
        self.files.push(Listed { path: PathBuf::from(path), length, sha256 });
        Ok(())
    }

    /// Writes under a hidden name, then renames; the length in bytes.
    fn replace(&self, full: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<u64> {
        let said = || format!("{} can't be written", full.display());
        fs::create_dir_all(full.parent().unwrap_or(self.output)).with_context(said)?;
        let half =
            full.with_file_name(format!(".{}.half", full.file_name().unwrap_or_default().to_string_lossy()));
        let mut file = File::create(&half).with_context(said)?;
        write(&mut file).with_context(said)?;
        fs::rename(&half, full).with_context(said)?;
        Ok(file.metadata().with_context(said)?.len())
    }

    /// Copies the objects of all kept slices out of the store.
    pub(crate) async fn copy_slices(
        &mut self,
        store: &dyn ObjectStore,
        rows: &[Row],
        model: Option<&ModelVersion>,
    ) -> Result<()> {
        let wanted: Vec<(ObjectKey, PathBuf)> = rows
            .iter()
            .filter_map(|row| Some((row, row.kept.as_ref()?)))
            .flat_map(|(row, kept)| outputs(row, kept, model))
            .collect();
        for batch in wanted.chunks(BATCH) {
            let reads: Vec<Read> = batch.iter().map(|(key, _)| Read::whole(key.clone())).collect();
            for ((key, path), fetched) in batch.iter().zip(store.get_many(&reads).await) {
                match fetched? {
                    Fetched::Found(object) => self.write(path.clone(), &object.bytes)?,
                    // A slice that doesn't say where it lies has none.
                    Fetched::Missing if matches!(key, ObjectKey::Segmentation(..)) => {}
                    Fetched::Missing => {
                        bail!("{key} is missing from the store: delete the store's folder and run again")
                    }
                    Fetched::Denied(why) => bail!("{key} can't be read: {why}"),
                }
            }
        }
        Ok(())
    }

    /// Deletes what an earlier run left and this one doesn't have, and writes the inventory. Where something failed
    /// (`is_good` is false), the next run tries it again.
    pub(crate) fn finish(self, is_good: bool) -> Result<()> {
        let now: BTreeSet<&PathBuf> = self.files.iter().map(|file| &file.path).collect();
        for Listed { path, .. } in self.earlier.files.iter().filter(|file| !now.contains(&file.path)) {
            // It may be gone already; nothing depends on it.
            let _ = fs::remove_file(self.output.join(path));
        }
        let inventory = Inventory { inputs: is_good.then_some(self.inputs), files: self.files };
        let path = self.output.join(FOLDER).join(INVENTORY);
        fs::write(&path, serde_json::to_vec(&inventory)?)
            .with_context(|| format!("{} can't be written", path.display()))
    }
}

/// Insists that no output would be read as a scan. An output folder that merely lies inside the scans is left out by the walk.
pub(crate) fn check_apart(scans: &Path, output: &Path) -> Result<()> {
    // What isn't there can't be in the way.
    let (Ok(scans_at), Ok(output_at)) = (fs::canonicalize(scans), fs::canonicalize(output)) else {
        return Ok(());
    };
    let inside = scans_at.strip_prefix(&output_at).map(|below| below.iter().next());
    let what = match inside {
        Ok(None) => "is the folder of the scans itself",
        Ok(Some(first)) if first == FOLDER || FOLDERS.iter().any(|folder| first == *folder) => {
            "is where the scans themselves were written by an earlier run"
        }
        _ => return Ok(()),
    };
    Err(Usage(format!("{} {what}: give --output another folder", output.display())).into())
}

/// Where the objects of a kept slice go.
fn outputs(row: &Row, kept: &KeptSlice, model: Option<&ModelVersion>) -> Vec<(ObjectKey, PathBuf)> {
    let (patient, slice) = (&kept.patient, &kept.slice);
    let path = |folder: &str, ending: &str| {
        Path::new(folder).join(&row.patient).join(format!("{}.{ending}", row.stem))
    };
    let mut outputs = vec![(ObjectKey::Instance(patient.clone(), slice.clone()), path("slices", "dcm"))];
    if let Some(model) = model {
        let of =
            |make: fn(ModelVersion, _, _) -> ObjectKey| make(model.clone(), patient.clone(), slice.clone());
        outputs.push((ObjectKey::Image(patient.clone(), slice.clone()), path("images", "png")));
        outputs.push((of(ObjectKey::Mask), path("masks", "png")));
        outputs.push((of(ObjectKey::Overlay), path("overlays", "png")));
        outputs.push((of(ObjectKey::Segmentation), path("segmentations", "dcm")));
    }
    outputs
}
