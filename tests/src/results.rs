//! What the programs leave, read as users and their scripts read it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use modiolus_pipeline::Digest;

/// `summary.csv`: one row per input file.
pub struct Table {
    rows: Vec<Row>,
}

/// A row: cells by their column.
pub type Row = BTreeMap<String, String>;

impl Table {
    /// The table that `modiolus run` left in a folder.
    #[track_caller]
    pub fn read(output: &Path) -> Self {
        let mut reader =
            csv::Reader::from_path(output.join("summary.csv")).expect("a run leaves summary.csv");
        let rows: Vec<Row> = reader.deserialize().map(|row| row.expect("every row is whole")).collect();
        let paths: BTreeSet<&str> = rows.iter().map(|row| row["path"].as_str()).collect();
        assert_eq!(paths.len(), rows.len(), "no file has two rows");
        Self { rows }
    }

    /// All rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row of an input file.
    #[track_caller]
    pub fn row(&self, path: &str) -> &Row {
        let found = self.rows.iter().find(|row| row["path"] == path);
        found.unwrap_or_else(|| panic!("{path} has no row"))
    }

    /// The rows with a verdict.
    pub fn with_verdict(&self, verdict: &str) -> Vec<&Row> {
        self.rows.iter().filter(|row| row["verdict"] == verdict).collect()
    }

    /// The paths of the files that were kept.
    pub fn kept(&self) -> Vec<&str> {
        self.with_verdict("kept").into_iter().map(|row| row["path"].as_str()).collect()
    }

    /// Insists that no file failed.
    #[track_caller]
    pub fn none_failed(self) -> Self {
        let failed = self.with_verdict("failed");
        assert!(failed.is_empty(), "failed: {failed:#?}");
        self
    }
}

/// All files below a folder, as paths below it, ordered; links are not followed.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        // A folder that a running program took away is no fault of ours.
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(_) => found.push(entry.path().strip_prefix(folder).expect("it lies below").to_owned()),
                Err(_) => {}
            }
        }
    }
    found.sort();
    found
}

/// The digests of all files below a folder, the store (`.modiolus`) left out.
#[track_caller]
pub fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Digest> {
    let files = files_below(folder).into_iter().filter(|path| !path.starts_with(".modiolus"));
    let digest = |path: PathBuf| {
        let bytes =
            fs::read(folder.join(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, Digest::of(bytes))
    };
    files.map(digest).collect()
}

/// Insists that a mask is an indexed PNG of values 0 and 1, shown black and white, and gives its Rows, Columns and the
/// number of ones.
#[track_caller]
pub fn mask(path: &Path) -> (usize, usize, usize) {
    let file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut decoder = png::Decoder::new(std::io::BufReader::new(file));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let reader = decoder.read_info().expect("a mask is a PNG");
    let info = reader.info();
    assert_eq!(info.color_type, png::ColorType::Indexed, "{}", path.display());
    assert_eq!(info.palette.as_deref(), Some(&[0, 0, 0, 255, 255, 255][..]), "{}", path.display());
    let bytes = fs::read(path).expect("it was read before");
    let mask = modiolus_imaging::png::decode_mask(&bytes).expect("a mask is a PNG");
    (mask.rows(), mask.columns(), mask.values().iter().filter(|value| **value).count())
}

/// A grey picture of 8 bits: its Rows and Columns.
#[track_caller]
pub fn picture(path: &Path) -> (usize, usize) {
    let file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().expect("a picture is a PNG");
    let info = reader.info();
    let kind = (info.color_type, info.bit_depth);
    assert_eq!(kind, (png::ColorType::Grayscale, png::BitDepth::Eight), "{}", path.display());
    (info.height as usize, info.width as usize)
}

/// The files that a page shows or leads to, as paths below its folder.
#[track_caller]
pub fn links(page: &str) -> BTreeSet<PathBuf> {
    let after = |mark| page.split(mark).skip(1).map(|rest: &str| rest.split('"').next().unwrap_or_default());
    let links = after("src=\"").chain(after("href=\""));
    links.map(|link| unescaped(&link.replace("&#x2f;", "/"))).collect()
}

/// A link with its %XX read as the bytes that they mean.
fn unescaped(link: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut parts = link.split('%');
    bytes.extend(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits follow a %"));
        bytes.extend(rest.as_bytes());
    }
    OsString::from_vec(bytes).into()
}
