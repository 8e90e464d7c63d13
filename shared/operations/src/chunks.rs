//! A delivery cut into chunks, each with its first job.

use modiolus_pipeline::job::Wanted;
use modiolus_pipeline::job::ingest::{Delivery, IngestJob, ListedFile, Listing};
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::{Digest, JobId, Message, ObjectKey, RunId};
use modiolus_store::Puts;

use crate::names::folder;

/// Files per chunk at most. One message and one index per chunk, so the more the better; one job's headers (8 KiB each) and
/// matching files are in memory at once, so not too many.
const MAX_FILES: usize = 128;

/// A chunk ends with its folder unless it is smaller than this: so that a changed folder leaves the others' chunks as they
/// were, but many small folders don't make many small chunks.
const MIN_FILES: usize = 32;

/// The chunks of a delivery.
pub struct Chunks {
    /// The first job of each.
    pub first: Vec<Message>,
    /// The listings that these jobs read.
    pub listings: Puts,
    /// The top folder in which each begins.
    pub folders: Vec<String>,
}

impl Chunks {
    /// Cuts files (ordered by the paths that people see) into chunks.
    pub fn of(files: Vec<ListedFile>, wanted: &Wanted, delivery: &Delivery) -> Self {
        let mut chunks = Self { first: Vec::new(), listings: Vec::new(), folders: Vec::new() };
        let mut files = files.into_iter().peekable();
        let mut listing = Vec::new();
        while let Some(file) = files.next() {
            let ends_folder = files
                .peek()
                .is_none_or(|next| folder(delivery.shown(&next.path)) != folder(delivery.shown(&file.path)));
            if listing.is_empty() {
                chunks.folders.push(top_folder(delivery.shown(&file.path)).to_owned());
            }
            listing.push(file);
            if listing.len() >= MAX_FILES || (ends_folder && listing.len() >= MIN_FILES) {
                chunks.push(std::mem::take(&mut listing), wanted);
            }
        }
        if !listing.is_empty() {
            chunks.push(listing, wanted);
        }
        chunks
    }

    fn push(&mut self, files: Vec<ListedFile>, wanted: &Wanted) {
        let json = serde_json::to_vec(&Listing { files }).expect("a listing always has a JSON form");
        let listing = Digest::of(&json);
        self.first.push(Message::new(&IngestJob { listing, wanted: wanted.clone() }));
        self.listings.push((ObjectKey::Listing(listing), json.into()));
    }

    /// A digest of all that the run depends on: its files and what it wants.
    pub fn digest(&self) -> Digest {
        Digest::of_parts(self.first.iter().map(|message| message.id.as_str().as_bytes()))
    }
}

/// The first folder of a path below the scans' folder; "." for a file in the scans' folder itself.
fn top_folder(path: &str) -> &str {
    path.split_once('/').map_or(".", |(folder, _)| folder)
}

/// A run of jobs that are for no delivery. It is named by them: who asks for the same work again means the same run.
pub fn run_of(first: &[Message]) -> (RunId, RunManifest) {
    let manifest = RunManifest { wanted: None, chunks: ids(first) };
    (RunId::derived(&Digest::of_json(&manifest)), manifest)
}

/// The jobs' ids.
pub fn ids(messages: &[Message]) -> Vec<JobId> {
    messages.iter().map(|message| message.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use modiolus_pipeline::Plane;

    use super::*;

    fn files(names: impl IntoIterator<Item = String>) -> Vec<ListedFile> {
        names
            .into_iter()
            .map(|path| ListedFile { path, length: 1, modified: 0, start: None, unreadable: None })
            .collect()
    }

    fn wanted() -> Wanted {
        Wanted { plane: Plane::CORONAL, model: None }
    }

    #[test]
    fn chunks_are_bounded_and_end_with_their_folder() {
        let one = (0..300).map(|n| format!("a/{n:04}"));
        let two = (0..40).map(|n| format!("b/{n:04}"));
        let chunks = Chunks::of(files(one.clone().chain(two)), &wanted(), &Delivery::InPlace);
        assert_eq!(chunks.first.len(), 4);
        let changed = Chunks::of(files(one.chain(["b/x".to_owned()])), &wanted(), &Delivery::InPlace);
        assert_eq!(changed.first[..3], chunks.first[..3]);
        assert_ne!(changed.digest(), chunks.digest());
    }

    #[test]
    fn an_upload_is_cut_as_its_folder_is() {
        let paths = || (0..200).map(|n| format!("{}/{n:04}", if n < 170 { "a" } else { "b" }));
        let plain = Chunks::of(files(paths()), &wanted(), &Delivery::InPlace);
        let uploaded = paths().map(|path| format!("{}/{path}", Digest::of(&path).short(32)));
        let uploaded = Chunks::of(files(uploaded), &wanted(), &Delivery::Uploaded);
        assert_eq!((plain.first.len(), &plain.folders), (3, &vec!["a".into(), "a".into(), "b".into()]));
        assert_eq!((uploaded.first.len(), &uploaded.folders), (3, &plain.folders));
    }

    #[test]
    fn an_empty_delivery_has_no_chunks() {
        assert!(Chunks::of(Vec::new(), &wanted(), &Delivery::InPlace).first.is_empty());
    }
}
