//! The files of a delivery, as they come: any depth, any names, links followed, loops and locked folders named.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use modiolus_pipeline::job::ingest::ListedFile;
use modiolus_store::escape_path;
use serde::Deserialize;

use crate::place::{FOLDER, INVENTORY};

/// Deeper than any export; a deeper folder is a row that says so.
const MAX_DEPTH: usize = 64;

/// More files than any delivery: the listing has to fit in memory.
const MAX_FILES: usize = 2_000_000;

/// All files below `scans`, ordered by path. What can't be read is listed too, with the reason. `skip` (the output, if it
/// lies inside) is left out, and so are stores (`.modiolus`).
pub fn walk(scans: &Path, skip: &Path) -> Result<Vec<ListedFile>> {
    Ok(Walker::of(scans, skip)?.files)
}

/// [`walk`] without what earlier runs have left in their outputs: copies of scans, which would be taken for other patients'.
pub fn walk_scans(scans: &Path, skip: &Path) -> Result<Vec<ListedFile>> {
    let mut walker = Walker::of(scans, skip)?;
    let left = walker.stores.iter().flat_map(|store| left_by_a_run(store));
    let left: HashSet<String> = left.map(|path| path_below(scans, &path)).collect();
    walker.files.retain(|file| !left.contains(&file.path));
    Ok(walker.files)
}

/// The files that a run has left around its store.
fn left_by_a_run(store: &Path) -> Vec<PathBuf> {
    #[derive(Deserialize)]
    struct Inventory {
        files: Vec<Listed>,
    }
    #[derive(Deserialize)]
    struct Listed {
        path: PathBuf,
    }
    let json = fs::read(store.join(INVENTORY)).unwrap_or_default();
    // A store that no run was in has no inventory.
    let files = serde_json::from_slice(&json).map_or(Vec::new(), |Inventory { files }| files);
    files.into_iter().map(|file| store.with_file_name(file.path)).collect()
}

fn path_below(root: &Path, path: &Path) -> String {
    escape_path(path.strip_prefix(root).unwrap_or(path))
}

/// The scans' folder, if it is one and can be listed.
pub fn listable(scans: &Path) -> Result<Metadata> {
    let metadata = fs::metadata(scans)
        .with_context(|| format!("{} can't be read: is it the right folder?", scans.display()))?;
    if !metadata.is_dir() {
        bail!("{} is no folder: give the folder with the scans", scans.display());
    }
    fs::read_dir(scans).with_context(|| format!("{} can't be listed: check its rights", scans.display()))?;
    Ok(metadata)
}

struct Walker<'a> {
    root: &'a Path,
    skip: Option<PathBuf>,
    files: Vec<ListedFile>,
    /// The stores that were left out.
    stores: Vec<PathBuf>,
    /// Device and inode of the folders from the root down to here: meeting one again is a loop.
    parents: Vec<(u64, u64)>,
}

impl<'a> Walker<'a> {
    fn of(root: &'a Path, skip: &Path) -> Result<Self> {
        let (metadata, skip) = (listable(root)?, fs::canonicalize(skip).ok());
        let mut walker = Self { root, skip, files: Vec::new(), stores: Vec::new(), parents: Vec::new() };
        walker.folder(root.to_owned(), &metadata)?;
        walker.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(walker)
    }

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
            Ok(metadata) if metadata.is_dir() && path.file_name().is_some_and(|name| name == FOLDER) => {
                self.stores.push(path);
                Ok(())
            }
            Ok(metadata) if metadata.is_dir() && self.is_skipped(&path) => Ok(()),
            Ok(metadata) if metadata.is_dir() => self.folder(path, &metadata),
            Ok(_) => self.unreadable(&path, "not a file but a device, pipe or socket"),
            Err(error) => self.unreadable(&path, &why(&error, "file")),
        }
    }

    fn is_skipped(&self, folder: &Path) -> bool {
        let is_it = |skip: &PathBuf| fs::canonicalize(folder).is_ok_and(|real| real == *skip);
        self.skip.as_ref().is_some_and(is_it)
    }

    fn unreadable(&mut self, path: &Path, why: &str) -> Result<()> {
        self.list(path, 0, 0, Some(why.to_owned()))
    }

    fn list(&mut self, path: &Path, length: u64, modified: i64, unreadable: Option<String>) -> Result<()> {
        if self.files.len() >= MAX_FILES {
            bail!("more than {MAX_FILES} files: run the patients' folders one after another");
        }
        let path = path_below(self.root, path);
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
    fn what_runs_have_left_is_no_scan() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for file in ["I0", "slices/p/I0.dcm", "old/index.html", "old/slices/p/I0.dcm", "old/slices/p/I9.dcm"]
        {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), b"x").unwrap();
        }
        for output in [root, &root.join("old")] {
            fs::create_dir(output.join(FOLDER)).unwrap();
            let inventory =
                r#"{"files": [{"path": "slices/p/I0.dcm"}, {"path": "index.html"}, {"path": "gone"}]}"#;
            fs::write(output.join(FOLDER).join(INVENTORY), inventory).unwrap();
        }
        let paths = |files: Vec<ListedFile>| files.into_iter().map(|file| file.path).collect::<Vec<_>>();
        assert_eq!(paths(walk_scans(root, Path::new("")).unwrap()), ["I0", "old/slices/p/I9.dcm"]);
        assert_eq!(walk(root, Path::new("")).unwrap().len(), 5);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = walk(Path::new("/nowhere/at/all"), Path::new("/out")).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/at/all"));
    }
}
