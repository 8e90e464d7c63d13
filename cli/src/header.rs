//! The header of a file on this machine, read as far as needed.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use modiolus_dicom::header::FIRST_READ;
use modiolus_dicom::index::IndexEntry;
use modiolus_dicom::{HeaderRead, read_header};

/// What the header of a file with `length` bytes says.
///
/// # Errors
/// The file can't be read, or is shorter than it was a moment ago.
pub(crate) fn read(path: &Path, length: u64) -> Result<IndexEntry> {
    let mut file = File::open(path).context("it can't be read")?;
    let mut prefix = Vec::with_capacity(FIRST_READ as usize);
    let mut wanted = FIRST_READ.min(length);
    loop {
        let more = wanted - prefix.len() as u64;
        (&mut file).take(more).read_to_end(&mut prefix).context("it can't be read")?;
        if (prefix.len() as u64) < wanted {
            bail!("it changes while it is read");
        }
        match read_header(&prefix, length) {
            HeaderRead::NeedMore { up_to } => wanted = up_to,
            header => {
                let entry = IndexEntry::of(path.display().to_string(), length, header);
                return entry.context("its header has no end");
            }
        }
    }
}
