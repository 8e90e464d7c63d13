//! What people's revisions of masks came to: for each slice, the newest that is a sample to learn from.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use futures::stream::{StreamExt, TryStreamExt, iter};
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::job::preprocess::AnnotationVerdict;
use modiolus_pipeline::key::REVISIONS_PREFIX;
use modiolus_pipeline::{Bucket, Digest, ObjectKey, Revision, RevisionId};
use modiolus_store::ObjectStore;

use crate::objects;

/// How many slices are looked at at once: a store on another machine takes its time to answer.
const AT_A_TIME: usize = 16;

/// A slice with a mask to learn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// The slice.
    pub slice: SliceRef,
    /// When a person said so, in seconds since 1970.
    pub at: i64,
    /// The digest of the picture's object.
    pub image: Digest,
    /// The digest of the mask's object.
    pub mask: Digest,
}

impl Labelled {
    /// Its name in a dataset.
    pub fn name(&self) -> String {
        format!("{}_{}", self.slice.patient, self.slice.slice)
    }
}

/// The labelled slices of a store. It keeps what it has read and what never changes.
pub struct Labels {
    store: Arc<dyn ObjectStore>,
    revisions: Mutex<HashMap<ObjectKey, Revision>>,
    verdicts: Mutex<HashMap<ObjectKey, AnnotationVerdict>>,
}

impl Labels {
    /// Those of this store.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, revisions: Mutex::default(), verdicts: Mutex::default() }
    }

    /// All of them, ordered by patient and slice. A revision that is a draft, or whose sample isn't made yet or was refused,
    /// leaves the one before it in its place.
    ///
    /// # Errors
    /// When the store fails, or an object in it is damaged.
    pub async fn all(&self) -> Result<Vec<Labelled>> {
        let slices = self.slices().await?;
        let newest: Vec<_> = slices.into_iter().map(|(slice, ids)| self.newest(slice, ids)).collect();
        let newest: Vec<Option<Labelled>> = iter(newest).buffered(AT_A_TIME).try_collect().await?;
        Ok(newest.into_iter().flatten().collect())
    }

    /// The slices whose newest final revision has no verdict yet, each with the digest of its mask: those whose job waits, and
    /// those for whom nobody has published one.
    ///
    /// # Errors
    /// When the store fails, or an object in it is damaged.
    pub async fn unlearned(&self) -> Result<Vec<(SliceRef, Digest)>> {
        let one = |(slice, ids): (SliceRef, Vec<RevisionId>)| async move {
            let Some(revision) = self.last_final(&slice, ids).await? else { return Ok(None) };
            let verdict = self.verdict(&slice, &revision).await?;
            anyhow::Ok(verdict.is_none().then_some((slice, revision.mask)))
        };
        let unlearned: Vec<_> = self.slices().await?.into_iter().map(one).collect();
        let unlearned: Vec<Option<_>> = iter(unlearned).buffered(AT_A_TIME).try_collect().await?;
        Ok(unlearned.into_iter().flatten().collect())
    }

    /// All slices that have revisions, each with these in their order.
    async fn slices(&self) -> Result<BTreeMap<SliceRef, Vec<RevisionId>>> {
        let mut slices: BTreeMap<SliceRef, Vec<RevisionId>> = BTreeMap::new();
        for path in self.store.list(Bucket::Datasets, REVISIONS_PREFIX).await? {
            if let Some((slice, id)) = parsed(&path) {
                slices.entry(slice).or_default().push(id);
            }
        }
        Ok(slices)
    }

    /// The newest of a slice's revisions (in their order) that is a sample.
    async fn newest(&self, slice: SliceRef, ids: Vec<RevisionId>) -> Result<Option<Labelled>> {
        for id in ids.into_iter().rev() {
            let Some(revision) = self.if_final(&slice, id).await? else { continue };
            if let Some(AnnotationVerdict::Accepted { image, mask }) = self.verdict(&slice, &revision).await?
            {
                return Ok(Some(Labelled { slice, at: revision.at, image, mask }));
            }
        }
        Ok(None)
    }

    /// The newest of a slice's revisions (in their order) that is no draft.
    async fn last_final(&self, slice: &SliceRef, ids: Vec<RevisionId>) -> Result<Option<Revision>> {
        for id in ids.into_iter().rev() {
            let revision = self.if_final(slice, id).await?;
            if revision.is_some() {
                return Ok(revision);
            }
        }
        Ok(None)
    }

    async fn if_final(&self, slice: &SliceRef, id: RevisionId) -> Result<Option<Revision>> {
        let key = ObjectKey::Revision(slice.patient.clone(), slice.slice.clone(), id);
        let revision: Option<Revision> = self.read(&self.revisions, key).await?;
        Ok(revision.filter(|revision| revision.state.is_final()))
    }

    async fn verdict(&self, of: &SliceRef, revision: &Revision) -> Result<Option<AnnotationVerdict>> {
        let key = ObjectKey::AnnotationVerdict(of.patient.clone(), of.slice.clone(), revision.mask);
        self.read(&self.verdicts, key).await
    }

    async fn read<T>(&self, known: &Mutex<HashMap<ObjectKey, T>>, key: ObjectKey) -> Result<Option<T>>
    where
        T: serde::de::DeserializeOwned + Clone,
    {
        let known = || known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known().get(&key).cloned();
        if before.is_some() {
            return Ok(before);
        }
        let read: Option<T> = objects::json_if_there(&*self.store, key.clone()).await?;
        if let Some(value) = &read {
            known().insert(key, value.clone());
        }
        Ok(read)
    }
}

/// `revisions/PATIENT/SLICE/ID.json`.
fn parsed(path: &str) -> Option<(SliceRef, RevisionId)> {
    let mut parts = path.strip_prefix(REVISIONS_PREFIX)?.strip_suffix(".json")?.split('/');
    let (patient, slice, id) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
    Some((SliceRef { patient, slice }, id.parse().ok()?))
}
