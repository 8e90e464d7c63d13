//! A delivery's folder: its files and, once a run was started, what the run wants. With both, a run that was interrupted goes
//! on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use modiolus_operations::walk;
use modiolus_pipeline::job::Wanted;
use modiolus_pipeline::job::ingest::ListedFile;

use super::Refused;

/// Where a delivery's files lie in its folder.
pub(crate) const SCANS: &str = "scans";

/// What a delivery's run wants, in its folder.
const WANTED: &str = "wanted.json";

/// Writes down what the run of a delivery wants.
pub(super) fn want(folder: &Path, wanted: &Wanted) -> Result<()> {
    let path = folder.join(WANTED);
    fs::write(&path, serde_json::to_vec(wanted)?)
        .with_context(|| format!("{} can't be written", path.display()))
}

/// The deliveries whose runs were interrupted, each with what it wants. An upload that was cut off is removed: nobody was told
/// of a run.
pub(super) fn interrupted(deliveries: &Path) -> Result<Vec<(PathBuf, Wanted)>> {
    let said = || format!("{} can't be read", deliveries.display());
    let mut interrupted = Vec::new();
    for entry in fs::read_dir(deliveries).with_context(said)? {
        let folder = entry.with_context(said)?.path();
        let wanted = fs::read(folder.join(WANTED)).ok();
        match wanted.and_then(|json| serde_json::from_slice(&json).ok()) {
            Some(wanted) => interrupted.push((folder, wanted)),
            None => remove(&folder),
        }
    }
    Ok(interrupted)
}

/// The files of a delivery.
pub(super) async fn walked(folder: &Path) -> Result<Vec<ListedFile>> {
    let scans = folder.join(SCANS);
    let walked = tokio::task::spawn_blocking(move || walk::walk_scans(&scans, Path::new(""))).await??;
    if walked.is_empty() {
        return Err(Refused::error("there are no files in it: choose the folder with the scans"));
    }
    Ok(walked)
}

/// Removes a delivery's folder. What is left of it is removed at the next start.
pub(super) fn remove(folder: &Path) {
    // Without this it is no delivery any more, even if not all of it goes.
    let _ = fs::remove_file(folder.join(WANTED));
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!("a delivery can't be removed: {error}");
    }
}
