//! What people said of slices. Only ever appended to: the newest counts, and everything before it stays.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context, Result};
use modiolus_operations::objects;
use modiolus_pipeline::key::{REVISIONS_PREFIX, TRIAGE_PREFIX};
use modiolus_pipeline::{Bucket, Digest, ObjectKey, PatientKey, Revision, RevisionId, SliceId, Triage};
use modiolus_store::ObjectStore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedMutexGuard;

/// A slice, by whom it belongs to.
pub type Which = (PatientKey, SliceId);

/// A kind of note.
pub trait Note: Serialize + DeserializeOwned + Clone + Send + Sync {
    /// Where its objects lie in `datasets`.
    const PREFIX: &str;

    /// One of its objects.
    fn key(of: &Which, id: RevisionId) -> ObjectKey;

    /// Those that were read already: they never change.
    fn known(notes: &Notes) -> &Known<Self>;
}

impl Note for Revision {
    const PREFIX: &str = REVISIONS_PREFIX;

    fn key((patient, slice): &Which, id: RevisionId) -> ObjectKey {
        ObjectKey::Revision(patient.clone(), slice.clone(), id)
    }

    fn known(notes: &Notes) -> &Known<Self> {
        &notes.revisions
    }
}

impl Note for Triage {
    const PREFIX: &str = TRIAGE_PREFIX;

    fn key((patient, slice): &Which, id: RevisionId) -> ObjectKey {
        ObjectKey::Triage(patient.clone(), slice.clone(), id)
    }

    fn known(notes: &Notes) -> &Known<Self> {
        &notes.triage
    }
}

/// Objects that were read, by their path.
pub type Known<T> = Mutex<HashMap<String, Arc<T>>>;

/// The notes of a store.
pub struct Notes {
    store: Arc<dyn ObjectStore>,
    revisions: Known<Revision>,
    triage: Known<Triage>,
    turns: Mutex<HashMap<Which, Weak<Turn>>>,
}

/// Whoever holds it is the only one in this process who says something of a slice.
type Turn = tokio::sync::Mutex<()>;

impl Notes {
    /// The notes of this store.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, revisions: Mutex::default(), triage: Mutex::default(), turns: Mutex::default() }
    }

    /// Waits until nobody else is about to say something of this slice; nobody is while the value is kept. Whoever first looks what
    /// the newest note is and then appends one holds it from before the look.
    pub async fn turn(&self, of: &Which) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let turn = turns.get(of).and_then(Weak::upgrade).unwrap_or_default();
            turns.insert(of.clone(), Arc::downgrade(&turn));
            turn
        };
        turn.lock_owned().await
    }

    /// All notes of a slice, the newest last.
    ///
    /// # Errors
    /// When the store can't be read, or a note in it is damaged.
    pub async fn all<T: Note>(&self, of: &Which) -> Result<Vec<(RevisionId, Arc<T>)>> {
        let prefix = format!("{}{}/{}/", T::PREFIX, of.0, of.1);
        let mut notes = Vec::new();
        for path in self.store.list(Bucket::Datasets, &prefix).await? {
            if let Some((of, id)) = parsed::<T>(&path) {
                notes.push((id.clone(), self.read(path, &of, id).await?));
            }
        }
        Ok(notes)
    }

    /// The newest note of every slice that has one.
    ///
    /// # Errors
    /// When the store can't be read, or a note in it is damaged.
    pub async fn newest<T: Note>(&self) -> Result<HashMap<Which, (RevisionId, Arc<T>)>> {
        let mut last: HashMap<Which, (RevisionId, String)> = HashMap::new();
        for path in self.store.list(Bucket::Datasets, T::PREFIX).await? {
            if let Some((of, id)) = parsed::<T>(&path) {
                // Sorted: what comes later is newer.
                last.insert(of, (id, path));
            }
        }
        let mut newest = HashMap::with_capacity(last.len());
        for (of, (id, path)) in last {
            let note = self.read(path, &of, id.clone()).await?;
            newest.insert(of, (id, note));
        }
        Ok(newest)
    }

    /// Says something new; the note's id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn append<T: Note>(&self, of: &Which, note: &T) -> Result<RevisionId> {
        let newest = self.all::<T>(of).await?.pop().map_or(0, |(id, _)| id.number());
        let json = serde_json::to_vec(note)?;
        let id = RevisionId::new(newest + 1, &Digest::of(&json));
        self.store.put(T::key(of, id.clone()), json.into()).await?;
        Ok(id)
    }

    async fn read<T: Note>(&self, path: String, of: &Which, id: RevisionId) -> Result<Arc<T>> {
        let known = T::known(self);
        if let Some(note) = held(known, &path) {
            return Ok(note);
        }
        let note: T = objects::json(&*self.store, T::key(of, id)).await.context("what somebody said")?;
        let note = Arc::new(note);
        known.lock().unwrap_or_else(PoisonError::into_inner).insert(path, note.clone());
        Ok(note)
    }
}

fn held<K: Hash + Eq, T>(known: &Mutex<HashMap<K, Arc<T>>>, key: &K) -> Option<Arc<T>> {
    known.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
}

/// `revisions/PATIENT/SLICE/ID.json`.
fn parsed<T: Note>(path: &str) -> Option<(Which, RevisionId)> {
    let mut parts = path.strip_prefix(T::PREFIX)?.strip_suffix(".json")?.split('/');
    let (patient, slice, id) = (parts.next()?, parts.next()?, parts.next()?);
    Some(((patient.parse().ok()?, slice.parse().ok()?), id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use modiolus_pipeline::Clarity;
    use modiolus_store::MemoryStore;

    use super::*;

    fn which(slice: &str) -> Which {
        ("P-1".parse().unwrap(), slice.parse().unwrap())
    }

    fn said(answer: Option<Clarity>) -> Triage {
        Triage { by: "ada".into(), at: 7, answer }
    }

    #[tokio::test]
    async fn one_at_a_time_says_something_of_a_slice_and_does_not_wait_for_those_at_another() {
        let notes = Notes::new(Arc::new(MemoryStore::new()));
        let turn = notes.turn(&which("s-1")).await;
        drop(notes.turn(&which("s-2")).await);
        let again = which("s-1");
        let mut waits = std::pin::pin!(notes.turn(&again));
        assert!(futures::poll!(&mut waits).is_pending());
        drop(turn);
        drop(waits.await);
        drop(notes.turn(&which("s-3")).await);
        assert_eq!(notes.turns.lock().unwrap().len(), 1, "slices at which nobody is are forgotten");
    }

    #[tokio::test]
    async fn the_newest_counts_and_what_was_said_before_stays() {
        let notes = Notes::new(Arc::new(MemoryStore::new()));
        for answer in [Some(Clarity::Clear), Some(Clarity::No), None] {
            notes.append(&which("s-1"), &said(answer)).await.unwrap();
        }
        notes.append(&which("s-10"), &said(Some(Clarity::Unsure))).await.unwrap();
        let newest = notes.newest::<Triage>().await.unwrap();
        assert_eq!(newest[&which("s-1")].1.answer, None);
        assert_eq!(newest[&which("s-10")].1.answer, Some(Clarity::Unsure));
        let all = notes.all::<Triage>(&which("s-1")).await.unwrap();
        assert_eq!(all.len(), 3, "another slice's are not among them");
        assert_eq!(all.iter().map(|(id, _)| id.number()).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(notes.all::<Revision>(&which("s-1")).await.unwrap().is_empty());
    }
}
