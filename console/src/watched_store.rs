//! A store in memory for tests, which notes what is read of it and can fail to write one object.

use std::mem::take;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use modiolus_pipeline::join::Output;
use modiolus_pipeline::{Bucket, Fetched, ObjectKey, Read};
use modiolus_store::{MemoryStore, ObjectStore, Puts, StoreError};

#[derive(Default)]
pub(crate) struct WatchedStore {
    store: Arc<MemoryStore>,
    reads: Mutex<Vec<ObjectKey>>,
    stuck: Mutex<Option<ObjectKey>>,
}

impl WatchedStore {
    pub(crate) fn over(store: Arc<MemoryStore>) -> Self {
        Self { store, ..Self::default() }
    }

    /// What was read since this was asked last.
    pub(crate) fn take_reads(&self) -> Vec<ObjectKey> {
        take(&mut *self.reads.lock().unwrap())
    }

    /// From now on this object can't be written; `None`: all can.
    pub(crate) fn stick(&self, object: Option<ObjectKey>) {
        *self.stuck.lock().unwrap() = object;
    }
}

#[async_trait]
impl ObjectStore for WatchedStore {
    async fn get_many(&self, reads: &[Read]) -> Vec<Result<Fetched, StoreError>> {
        self.reads.lock().unwrap().extend(reads.iter().map(|read| read.key.clone()));
        // As a store on another machine would, it lets others go on meanwhile.
        tokio::task::yield_now().await;
        self.store.get_many(reads).await
    }

    async fn put_in_order(&self, steps: Vec<Puts>) -> Result<(), StoreError> {
        let stuck = self.stuck.lock().unwrap().clone();
        if let Some(key) = stuck.filter(|stuck| steps.iter().flatten().any(|(key, _)| key == stuck)) {
            return Err(StoreError::unavailable(key, "stuck"));
        }
        self.store.put_in_order(steps).await
    }

    async fn list(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.store.list(bucket, prefix).await
    }

    async fn length(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError> {
        self.store.length(key).await
    }

    async fn verify(&self, outputs: &[Output]) -> Result<bool, StoreError> {
        self.store.verify(outputs).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.store.delete(key).await
    }
}
