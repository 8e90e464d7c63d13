//! Files that people name: read within a bound, written wholly or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The largest picture, mask, annotation or model file that is read.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// Reads a file that has a sensible size.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let said = || format!("{} can't be read", path.display());
    let length = fs::metadata(path).with_context(said)?.len();
    if length > MAX_FILE_BYTES {
        bail!("{} has {length} bytes; at most {MAX_FILE_BYTES} are read", path.display());
    }
    fs::read(path).with_context(said)
}

/// Writes a file, and the folders above it, whole or not at all.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let said = || format!("{} can't be written", path.display());
    let name = path.file_name().with_context(|| format!("{} is no name for a file", path.display()))?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(said)?;
    }
    let mut half_name = std::ffi::OsString::from(".");
    half_name.push(name);
    half_name.push(".half");
    let half = path.with_file_name(half_name);
    let written = File::create(&half)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&half, path));
    if written.is_err() {
        // What is left of it helps nobody.
        let _ = fs::remove_file(&half);
    }
    written.with_context(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_with_its_folders_and_nothing_half_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/mask.png");
        write_file(&path, b"1").unwrap();
        write_file(&path, b"22").unwrap();
        assert_eq!(read_file(&path).unwrap(), b"22");
        assert_eq!(fs::read_dir(folder.path().join("a/b")).unwrap().count(), 1);
        assert!(format!("{:#}", write_file(&path.join("c"), b"1").unwrap_err()).contains("mask.png"));
    }
}
