//! Ingest: scan files -> series index.
//!
//! Reads the start of each file, and more of it only where the header is longer. Nothing stops it: a file that is no image
//! of a scan is a row of the index with its reason.

use std::sync::Arc;

use modiolus_dicom::decide;
use modiolus_dicom::header::{HeaderRead, read_header};
use modiolus_dicom::index::{Index, IndexEntry};
use modiolus_pipeline::job::filter::FilterJob;
use modiolus_pipeline::job::ingest::{IngestJob, ListedFile, Listing};
use modiolus_pipeline::{
    Effects, Fetched, Job, Object, ObjectKey, Objects, Progress, ProgressEvent, Read, Reason, Refusal, Stage,
    StageError,
};

/// The first read of each file. Headers of scans are 2 to 6 KiB long; this is one page-cache read.
const FIRST_BYTES: u64 = 8 * 1024;

/// The second read of a file whose header is longer than the first (private elements, icons). Each further one is four times as long.
const MORE_BYTES: u64 = 256 * 1024;

/// The longest read: a header longer than this is refused.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// The starts of a job's files that are longer than the first read take at most this much memory together, but always one of
/// them has room.
const JOB_BYTES: u64 = MOST_BYTES;

/// One filter job reads at most this many bytes of matching files at once, but always at least one file.
const FILTER_BYTES: u64 = 16 * 1024 * 1024;

/// The stage. It has no state.
#[derive(Debug, Default, Clone, Copy)]
pub struct IngestStage;

impl Stage for IngestStage {
    type Job = IngestJob;

    fn needs(&self, job: &IngestJob, have: &Objects) -> Vec<Read> {
        let key = ObjectKey::Listing(job.listing);
        if have.get(&key).is_none() {
            return vec![Read::whole(key)];
        }
        // A listing that doesn't decode needs nothing more: `run` says what is wrong with it.
        let Ok(listing) = have.decoded::<Listing>(&key) else { return vec![] };
        let readable = listing.files.iter().filter(|file| file.unreadable.is_none());
        let mut room = JOB_BYTES;
        let mut reads: Vec<Read> = Vec::new();
        for file in readable {
            let key = ObjectKey::Scan(file.path.clone());
            let read = next_read(&key, have);
            let there = have.found(&key).map_or(0, |object| object.bytes.len() as u64);
            let wanted =
                read.as_ref().and_then(|read| read.first).map_or(there, |first| first.min(file.length));
            // What has no room is refused for its length.
            let fits = wanted <= FIRST_BYTES || wanted <= room;
            let taken = if fits { wanted } else { there };
            room = room.saturating_sub(if taken > FIRST_BYTES { taken } else { 0 });
            reads.extend(read.filter(|_| fits));
        }
        reads
    }

    fn run(&self, job: &IngestJob, objects: &Objects, progress: &Progress) -> Result<Effects, StageError> {
        let listing: Arc<Listing> = objects.decoded(&ObjectKey::Listing(job.listing))?;
        let entries = listing.files.iter().map(|file| entry(file, objects)).collect::<Result<Vec<_>, _>>()?;
        progress.tell(ProgressEvent::Units { done: entries.len() as u64 });
        let mut effects = Effects::default();
        for files in parts(&entries, job) {
            effects.publish(&FilterJob { index: job.id(), files, wanted: job.wanted.clone() });
        }
        effects.put_json(ObjectKey::Index(job.id()), &Index { entries });
        Ok(effects)
    }
}

/// The next read of a file: its start, then more while the header goes on.
fn next_read(key: &ObjectKey, have: &Objects) -> Option<Read> {
    match have.get(key) {
        None => Some(Read::first(key.clone(), FIRST_BYTES)),
        Some(Fetched::Found(object)) if !object.is_whole() => {
            match read_header(&object.bytes, object.total) {
                HeaderRead::NeedMore { up_to } => {
                    // Step by step: files beside it need room, too.
                    let more = MORE_BYTES.max(4 * object.bytes.len() as u64);
                    let bytes = more.max(up_to).min(MOST_BYTES);
                    (bytes > object.bytes.len() as u64).then(|| Read::first(key.clone(), bytes))
                }
                HeaderRead::Complete(_) | HeaderRead::Refused { .. } => None,
            }
        }
        Some(_) => None,
    }
}

/// The row of one file. A file that is gone since it was listed says nothing of itself: the job can't be done until it is back.
fn entry(file: &ListedFile, objects: &Objects) -> Result<IndexEntry, StageError> {
    let ListedFile { path, length, unreadable, .. } = file.clone();
    let key = ObjectKey::Scan(path.clone());
    let denied = match objects.get(&key) {
        Some(Fetched::Denied(why)) => Some(why.clone()),
        _ => None,
    };
    match unreadable.or(denied) {
        Some(why) => Ok(IndexEntry::refused(path, length, Refusal::new(Reason::Unreadable, why))),
        None => Ok(described(path, objects.require_object(&key)?)),
    }
}

fn described(path: String, object: &Object) -> IndexEntry {
    let header = match read_header(&object.bytes, object.total) {
        HeaderRead::NeedMore { .. } => {
            let text = format!(
                "its header is longer than {} KiB, the most there is room for beside the files around it; run it by itself",
                object.bytes.len() >> 10
            );
            return IndexEntry::refused(path, object.total, Refusal::new(Reason::TooLarge, text));
        }
        header => header,
    };
    IndexEntry::of(path, object.total, header).expect("a header that needs more was handled above")
}

/// The accepted files in parts whose matching files fit in memory together.
fn parts(entries: &[IndexEntry], job: &IngestJob) -> Vec<Vec<u32>> {
    let mut parts: Vec<Vec<u32>> = Vec::new();
    let mut bytes = FILTER_BYTES;
    for (position, entry) in (0..).zip(entries) {
        let Ok(attributes) = entry.image() else { continue };
        let matching = if decide::verdict(attributes, job.wanted.plane).is_ok() { entry.file_len } else { 0 };
        if parts.is_empty() || bytes + matching > FILTER_BYTES {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += matching;
        parts.last_mut().expect("a part was just pushed if there was none").push(position);
    }
    parts
}

#[cfg(test)]
mod tests {
    use modiolus_dicom::write::{CtImage, Syntax};
    use modiolus_pipeline::stage::MAX_ROUNDS;
    use modiolus_pipeline::{Digest, ErrorClass, Plane, job::Wanted};

    use super::*;

    const FILE_BYTES: u64 = 60 << 20;

    /// The start of a file of [`FILE_BYTES`] whose header goes on after 40 MiB of a private element and one of 1 MiB.
    fn start(length: usize) -> Vec<u8> {
        let file = CtImage::default().to_bytes(Syntax::ExplicitLittle);
        let (before, _) = file.split_at(file.len() - 14);
        let element =
            |length: u32| [&[0x29, 0, 0x10, 0x10, b'O', b'B', 0, 0][..], &length.to_le_bytes()].concat();
        let mut bytes = [before, &element(40 << 20)].concat();
        bytes.resize(length, 0);
        bytes
    }

    fn listing(files: usize) -> (IngestJob, Listing) {
        let file = |n| ListedFile {
            path: format!("I{n}"),
            length: FILE_BYTES,
            modified: 0,
            start: None,
            unreadable: None,
        };
        let listing = Listing { files: (0..files).map(file).collect() };
        let wanted = Wanted { plane: Plane::CORONAL, model: None };
        (IngestJob { listing: Digest::of("x"), wanted }, listing)
    }

    #[test]
    fn a_file_that_is_gone_is_no_bad_file_but_a_job_that_cannot_be_done() {
        let (job, mut listing) = listing(2);
        listing.files[0].unreadable = Some("no permission".into());
        let mut objects = Objects::default();
        let json = serde_json::to_vec(&listing).unwrap();
        objects.insert(ObjectKey::Listing(job.listing), Fetched::Found(Object::whole(json)));
        let gone = ObjectKey::Scan("I1".into());
        objects.insert(gone.clone(), Fetched::Missing);
        let error = IngestStage.run(&job, &objects, &Progress::default()).unwrap_err();
        assert_eq!((error.class, error.code), (ErrorClass::Permanent, "object-missing"));
        assert!(error.message.contains(&gone.to_string()), "{error}");
        objects.insert(gone, Fetched::Denied("no permission".into()));
        let effects = IngestStage.run(&job, &objects, &Progress::default()).unwrap();
        let index: Index = serde_json::from_slice(&effects.put[0].1).unwrap();
        assert!(index.entries.iter().all(|entry| entry.refusal.is_some()), "{index:?}");
    }

    #[test]
    fn long_headers_are_read_one_at_a_time_and_those_without_room_are_named() {
        let (job, listing) = listing(3);
        let mut objects = Objects::default();
        let json = serde_json::to_vec(&listing).unwrap();
        objects.insert(ObjectKey::Listing(job.listing), Fetched::Found(Object::whole(json)));
        let mut most = 0;
        for _ in 1..MAX_ROUNDS {
            let reads = IngestStage.needs(&job, &objects);
            for Read { key, first } in reads {
                let bytes = start(first.unwrap().min(FILE_BYTES) as usize);
                objects.insert(key, Fetched::Found(Object { bytes: bytes.into(), total: FILE_BYTES }));
            }
            let lengths = (0..3).filter_map(|n| objects.found(&ObjectKey::Scan(format!("I{n}"))));
            most = most.max(lengths.map(|object| object.bytes.len() as u64).sum());
        }
        assert!(most <= JOB_BYTES + 3 * MORE_BYTES, "{most} bytes were held");
        let effects = IngestStage.run(&job, &objects, &Progress::default()).unwrap();
        let index: Index = serde_json::from_slice(&effects.put[0].1).unwrap();
        let reasons: Vec<_> =
            index.entries.iter().map(|entry| entry.refusal.as_ref().map(|refusal| refusal.reason)).collect();
        assert_eq!(reasons[1..], [Some(Reason::TooLarge); 2]);
        assert_ne!(reasons[0], Some(Reason::TooLarge));
    }
}
