//! The audit log: who saw and changed what on the review page.
//!
//! What happens is gathered for some seconds and then written as one object that is never changed. The same deed done again
//! within that time is counted: a wall of two thousand thumbnails is a line for each of its patients. Nothing names a
//! patient but by a pseudonym. If the store can't be written, deeds are kept, up to a number; after that nobody is let in, since what
//! isn't noted must not happen.

pub(crate) mod deed;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::http::StatusCode;
use modiolus_pipeline::key::audit_prefix;
use modiolus_pipeline::{BatchId, Bucket, Day, Fetched, ObjectKey, Read};
use modiolus_store::{ObjectStore, Puts};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use utoipa::ToSchema;

use crate::app::{Role, Who, random};
use crate::clock::Clock;
use deed::Deed;

/// For so long deeds are gathered. A process that is killed loses them; one that is told to stop doesn't.
pub(crate) const GATHER: Duration = Duration::from_secs(30);

/// So many different deeds are kept at most.
const MOST: usize = 20_000;

/// So many are written at once, before their time.
const MANY: usize = 5_000;

/// So many objects are read at a time.
const AT_A_TIME: usize = 64;

/// What somebody did, within some seconds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub(crate) struct Entry {
    /// When, or when for the first time, in seconds since 1970.
    pub(crate) at: i64,
    /// When for the last time.
    pub(crate) until: i64,
    /// How often.
    pub(crate) times: u32,
    /// Who; none for somebody who isn't known.
    pub(crate) by: Option<String>,
    pub(crate) role: Option<Role>,
    /// What they did.
    pub(crate) action: String,
    /// With what: a run, a patient's pseudonym, a slice below it, a model.
    pub(crate) object: Option<String>,
    /// done, refused or failed.
    pub(crate) outcome: String,
}

/// How often something was done: when first, when last.
#[derive(Clone, Copy)]
struct Times {
    at: i64,
    until: i64,
    times: u32,
}

/// Who did what, with what outcome.
type Key = (Option<(String, Role)>, Deed, &'static str);

/// The audit log of a store, as this process writes it.
pub(crate) struct Journal {
    store: Arc<dyn ObjectStore>,
    clock: Clock,
    /// Which process: two never write the same object.
    writer: String,
    gathered: Mutex<BTreeMap<Key, Times>>,
    /// How many objects were written; one write at a time.
    written: tokio::sync::Mutex<u64>,
    many: Notify,
}

impl Journal {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, clock: Clock) -> Result<Self> {
        let mut writer = random()?;
        writer.truncate(12);
        let (gathered, written, many) = (Mutex::default(), tokio::sync::Mutex::default(), Notify::new());
        Ok(Self { store, clock, writer, gathered, written, many })
    }

    /// Whether what happens next can be noted.
    pub(crate) fn has_room(&self) -> bool {
        self.lock().len() < MOST
    }

    /// Notes what somebody did, and what came of it.
    pub(crate) fn note(&self, who: Option<&Who>, deed: Deed, status: StatusCode) {
        let now = self.clock.now();
        let key = (who.map(|who| (who.name.clone(), who.role)), deed, outcome(status));
        let mut gathered = self.lock();
        add(&mut gathered, key, Times { at: now, until: now, times: 1 });
        if gathered.len() >= MANY {
            self.many.notify_one();
        }
    }

    /// Waits until there is much to write.
    pub(crate) async fn filled(&self) {
        self.many.notified().await;
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// When the store can't be written; then it is kept.
    pub(crate) async fn write(&self) -> Result<()> {
        let mut written = self.written.lock().await;
        let gathered = std::mem::take(&mut *self.lock());
        if gathered.is_empty() {
            return Ok(());
        }
        let puts = self.batches(&gathered, *written)?;
        *written += puts.len() as u64;
        let put = self.store.put_many(puts).await;
        if put.is_err() {
            let mut now = self.lock();
            gathered.into_iter().for_each(|(key, times)| add(&mut now, key, times));
        }
        put.context("the audit log can't be written")
    }

    /// The objects: one for each day, of which there are two at midnight.
    fn batches(&self, gathered: &BTreeMap<Key, Times>, written: u64) -> Result<Puts> {
        let mut days: BTreeMap<Day, Vec<Entry>> = BTreeMap::new();
        for (key, times) in gathered {
            days.entry(Day::of(times.at)).or_default().push(entry(key, *times));
        }
        let now_ms = u64::try_from(self.clock.now()).unwrap_or_default() * 1000;
        let object = |(number, (day, mut entries)): (u64, (Day, Vec<Entry>))| {
            entries.sort();
            let batch = BatchId::new(now_ms, &format!("{}-{number}", self.writer));
            Ok((ObjectKey::Audit(day, batch), serde_json::to_vec(&entries)?.into()))
        };
        (written..).zip(days).map(object).collect()
    }

    /// What was noted on a day, the latest first; what is not written yet is written first.
    ///
    /// # Errors
    /// When the store can't be written or read, or an object in it is damaged.
    pub(crate) async fn of(&self, day: Day) -> Result<Vec<Entry>> {
        self.write().await?;
        let prefix = audit_prefix(day);
        let paths = self.store.list(Bucket::Console, &prefix).await?;
        let batch = |path: &String| path.strip_prefix(&prefix)?.strip_suffix(".json")?.parse().ok();
        let batches: Vec<BatchId> = paths.iter().filter_map(batch).collect();
        let mut all: Vec<Entry> = Vec::new();
        for some in batches.chunks(AT_A_TIME) {
            let reads: Vec<Read> =
                some.iter().map(|batch| Read::whole(ObjectKey::Audit(day, batch.clone()))).collect();
            for fetched in self.store.get_many(&reads).await {
                if let Fetched::Found(object) = fetched? {
                    let entries: Vec<Entry> = serde_json::from_slice(&object.bytes)
                        .context("a part of the audit log is damaged")?;
                    all.extend(entries);
                }
            }
        }
        all.sort_by(|a, b| b.cmp(a));
        Ok(all)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Times>> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(gathered: &mut BTreeMap<Key, Times>, key: Key, new: Times) {
    let times = gathered.entry(key).or_insert(Times { times: 0, ..new });
    times.at = times.at.min(new.at);
    times.until = times.until.max(new.until);
    times.times = times.times.saturating_add(new.times);
}

fn entry((who, deed, outcome): &Key, Times { at, until, times }: Times) -> Entry {
    Entry {
        at,
        until,
        times,
        by: who.as_ref().map(|(name, _)| name.clone()),
        role: who.as_ref().map(|(_, role)| *role),
        action: deed.action.clone().into_owned(),
        object: deed.object.clone(),
        outcome: (*outcome).to_owned(),
    }
}

fn outcome(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..=399 => "done",
        401 | 403 | 421 | 429 => "refused",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use bytes::Bytes;
    use modiolus_store::MemoryStore;

    use super::*;

    const MIDNIGHT: i64 = 1_795_478_400;

    fn journal(store: &Arc<MemoryStore>) -> (Journal, Arc<AtomicI64>) {
        let hands = Arc::new(AtomicI64::new(MIDNIGHT - 5));
        let shown = hands.clone();
        let clock = Clock::showing(move || shown.load(Ordering::SeqCst));
        (Journal::new(store.clone(), clock).unwrap(), hands)
    }

    fn saw(journal: &Journal, slice: &str, status: u16) {
        let deed = Deed::new("slice seen", Some(format!("P-1/{slice}")));
        journal.note(Some(&Who::new("ada", Role::Viewer)), deed, StatusCode::from_u16(status).unwrap());
    }

    #[tokio::test]
    async fn the_same_deed_is_one_line_and_a_batch_one_object_per_day() {
        let store = Arc::new(MemoryStore::new());
        let (journal, hands) = journal(&store);
        (0..5).for_each(|_| saw(&journal, "s-1", 200));
        saw(&journal, "s-2", 403);
        hands.store(MIDNIGHT + 5, Ordering::SeqCst);
        saw(&journal, "s-3", 500);
        journal.write().await.unwrap();
        journal.write().await.unwrap();
        assert_eq!(store.list(Bucket::Console, "audit/").await.unwrap().len(), 2);
        let before = journal.of(Day::of(MIDNIGHT - 1)).await.unwrap();
        let said: Vec<_> = before
            .iter()
            .map(|one| (one.times, one.object.as_deref().unwrap(), one.outcome.as_str()))
            .collect();
        assert_eq!(said, [(5, "P-1/s-1", "done"), (1, "P-1/s-2", "refused")]);
        let after = journal.of(Day::of(MIDNIGHT)).await.unwrap();
        assert_eq!((after.len(), after[0].outcome.as_str(), after[0].at), (1, "failed", MIDNIGHT + 5));
    }

    #[tokio::test]
    async fn two_processes_never_write_the_same_object() {
        let store = Arc::new(MemoryStore::new());
        for (one, _) in [journal(&store), journal(&store)] {
            saw(&one, "s-1", 200);
            one.write().await.unwrap();
            saw(&one, "s-1", 200);
            one.write().await.unwrap();
        }
        assert_eq!(store.list(Bucket::Console, "audit/").await.unwrap().len(), 4);
    }

    /// Its folder turns out to be a file.
    fn unwritable() -> (tempfile::TempDir, Arc<modiolus_store::FolderStore>) {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(modiolus_store::FolderStore::new(folder.path()).unwrap());
        std::fs::write(folder.path().join("console"), b"no folder").unwrap();
        (folder, store)
    }

    #[tokio::test]
    async fn what_can_not_be_written_is_kept_up_to_a_bound_and_then_written() {
        let (folder, store) = unwritable();
        let journal = Journal::new(store.clone(), Clock::system()).unwrap();
        for slice in 0..MOST {
            assert!(journal.has_room());
            saw(&journal, &format!("s-{slice}"), 200);
        }
        assert!(!journal.has_room());
        assert!(journal.write().await.is_err());
        assert!(!journal.has_room(), "nothing is lost");
        std::fs::remove_file(folder.path().join("console")).unwrap();
        journal.write().await.unwrap();
        assert!(journal.has_room());
        let today = Day::of(Clock::system().now());
        let yesterday = Day::of(today.starts() - 1);
        let all = journal.of(today).await.unwrap().len() + journal.of(yesterday).await.unwrap().len();
        assert_eq!(all, MOST);
    }

    #[tokio::test]
    async fn a_damaged_part_is_said_and_not_left_out() {
        let store = Arc::new(MemoryStore::new());
        let (journal, _) = journal(&store);
        let key = ObjectKey::Audit(Day::of(MIDNIGHT), BatchId::new(7, "x"));
        store.put(key, Bytes::from_static(b"[{")).await.unwrap();
        assert!(journal.of(Day::of(MIDNIGHT)).await.unwrap_err().to_string().contains("damaged"));
    }
}
