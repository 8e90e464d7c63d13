//! The files of a delivery, as they come: any depth, any names, links followed, loops and locked folders named.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use modiolus_pipeline::job::ingest::ListedFile;
use modiolus_store::escape_path;

use crate::place::FOLDER;

/// Deeper than any export; a deeper folder is a row that says so.
const MAX_DEPTH: usize = 64;

/// More files than any delivery: the listing has to fit in memory.
const MAX_FILES: usize = 2_000_000;

/// All files below `scans`, ordered by path. What can't be read is listed too, with the reason. `skip` (the output, if it
/// lies inside) is left out, and so are stores (`.modiolus`).
pub fn walk(scans: &Path, skip: &Path) -> Result<Vec<ListedFile>> {
    let metadata = fs::metadata(scans)
        .with_context(|| format!("{} can't be read: is it the right folder?", scans.display()))?;
    if !metadata.is_dir() {
        bail!("{} is no folder: give the folder with the scans", scans.display());
    }
    fs::read_dir(scans).with_context(|| format!("{} can't be listed: check its rights", scans.display()))?;
    let mut walker =
        Walker { root: scans, skip: fs::canonicalize(skip).ok(), files: Vec::new(), parents: Vec::new() };
    walker.folder(scans.to_owned(), &metadata)?;
    walker.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(walker.files)
}

struct Walker<'a> {
    root: &'a Path,
    skip: Option<PathBuf>,
    files: Vec<ListedFile>,
    /// Device and inode of the folders from the root down to here: meeting one again is a loop.
    parents: Vec<(u64, u64)>,
}

impl Walker<'_> {
    fn folder(&mut self, folder: PathBuf, metadata: &Metadata) -> Result<()> {
        let identity = (metadata.dev(), metadata.ino());
        if self.parents.contains(&identity) {
            return self.unreadable(&folder, "a link back to a folder that it lies in");
        }
        if self.parents.len() >= MAX_DEPTH {
            return self.unreadable(&folder, &format!("more than {MAX_DEPTH} folders deep"));
        }
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(&folder, &why(&error, "folder")),
        };
        self.parents.push(identity);
        for entry in entries {
            match entry {
                Ok(entry) => self.entry(entry.path())?,
                Err(error) => self.unreadable(&folder, &why(&error, "folder"))?,
            }
        }
        self.parents.pop();
        Ok(())
    }

    fn entry(&mut self, path: PathBuf) -> Result<()> {
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                let modified =
                    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
                self.list(&path, metadata.len(), modified, None)
            }
            Ok(metadata) if metadata.is_dir() && self.is_left_out(&path) => Ok(()),
            Ok(metadata) if metadata.is_dir() => self.folder(path, &metadata),
            Ok(_) => self.unreadable(&path, "not a file but a device, pipe or socket"),
            Err(error) => self.unreadable(&path, &why(&error, "file")),
        }
    }

    /// The output, and stores of other outputs, hold copies of scans.
    fn is_left_out(&self, folder: &Path) -> bool {
        let is_skipped = |skip: &PathBuf| fs::canonicalize(folder).is_ok_and(|real| real == *skip);
        folder.file_name().is_some_and(|name| name == FOLDER) || self.skip.as_ref().is_some_and(is_skipped)
    }

    fn unreadable(&mut self, path: &Path, why: &str) -> Result<()> {
        self.list(path, 0, 0, Some(why.to_owned()))
    }

    fn list(&mut self, path: &Path, length: u64, modified: i64, unreadable: Option<String>) -> Result<()> {
        if self.files.len() >= MAX_FILES {
            bail!("more than {MAX_FILES} files: run the patients' folders one after another");
        }
        let path = escape_path(path.strip_prefix(self.root).unwrap_or(path));
        self.files.push(ListedFile { path, length, modified, start: None, unreadable });
        Ok(())
    }
}

fn why(error: &io::Error, what: &str) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("no permission to read this {what}"),
        io::ErrorKind::NotFound => "a link to nothing".to_owned(),
        _ if error.raw_os_error() == Some(ELOOP) => "a link that leads back to itself".to_owned(),
        kind => format!("this {what} can't be read: {kind}"),
    }
}

/// Linux's "too many levels of symbolic links"; it has no stable `ErrorKind`.
const ELOOP: i32 = 40;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_are_found_at_any_depth_and_loops_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::write(root.join("a/b/c/I1"), b"x").unwrap();
        fs::write(root.join("I0"), b"").unwrap();
        symlink(root.join("a"), root.join("a/b/loop")).unwrap();
        symlink(root.join("nothing"), root.join("broken")).unwrap();
        symlink(root.join("self"), root.join("self")).unwrap();
        symlink(root.join("a/b/c"), root.join("linked")).unwrap();
        fs::create_dir(root.join("out")).unwrap();
        fs::write(root.join("out/index.html"), b"").unwrap();
        fs::create_dir_all(root.join("a/earlier/.modiolus")).unwrap();
        fs::write(root.join("a/earlier/.modiolus/I1"), b"x").unwrap();
        let files = walk(root, &root.join("out")).unwrap();
        let paths: Vec<_> = files.iter().map(|f| (f.path.as_str(), f.unreadable.is_some())).collect();
        assert_eq!(
            paths,
            [
                ("I0", false),
                ("a/b/c/I1", false),
                ("a/b/loop", true),
                ("broken", true),
                ("linked/I1", false),
                ("self", true)
            ]
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = walk(Path::new("/nowhere/at/all"), Path::new("/out")).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/at/all"));
    }
}
