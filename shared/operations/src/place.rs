//! Where a command keeps its store: the folder `.modiolus`, its key and its lock.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use modiolus_pipeline::{Digest, Secret};

/// The name of the store's folder.
pub const FOLDER: &str = ".modiolus";

/// Where, in the store's folder, stands which files a run has left around it.
pub const INVENTORY: &str = "output.json";

/// A store's folder that this process alone works in.
pub struct Place {
    folder: PathBuf,
    _lock: File,
}

impl Place {
    /// Opens a store's folder, or makes it (only its owner may look inside).
    pub fn open(folder: &Path) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("{} can't be made", folder.display()))?;
        let path = folder.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("{} can't be opened", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                bail!("{} is in use by another modiolus: wait for it or stop it", folder.display())
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("{} can't be locked", path.display()))
            }
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The secret of the store's pseudonyms: from a file if one is given, else the store's own, made at first use.
    pub fn secret(&self, key_file: Option<&Path>) -> Result<Secret> {
        let own = self.folder.join("pseudonym.key");
        let path = key_file.unwrap_or(&own);
        if key_file.is_none() && !own.exists() {
            make_key(&own).with_context(|| format!("{} can't be written", own.display()))?;
        }
        let text = fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
        let key: Digest =
            text.trim().parse().ok().with_context(|| {
                format!("{} is no key: it has to hold 64 hexadecimal digits", path.display())
            })?;
        Ok(Secret::new(*key.as_bytes()))
    }
}

/// Writes a random key, whole or not at all.
fn make_key(path: &Path) -> Result<()> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system has no random numbers")?;
    let half = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&half)?;
    writeln!(file, "{}", Digest::from(bytes))?;
    file.sync_all()?;
    fs::rename(half, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_a_second_process_is_told_to_wait() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::open(folder.path()).unwrap();
        let patient = place.secret(None).unwrap().patient("207");
        assert_eq!(place.secret(None).unwrap().patient("207"), patient);
        assert!(Place::open(folder.path()).err().unwrap().to_string().contains("in use"));
    }

    #[test]
    fn a_key_file_that_is_no_key_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        fs::write(&file, "hunter2").unwrap();
        let place = Place::open(&folder.path().join("store")).unwrap();
        let error = format!("{:#}", place.secret(Some(&file)).unwrap_err());
        assert!(error.contains("64 hexadecimal digits") && !error.contains("hunter2"), "{error}");
    }
}
