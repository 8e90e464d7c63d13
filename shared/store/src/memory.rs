//! Objects in memory: the twin of every other store, for tests and simulation.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use modiolus_pipeline::join::Output;
use modiolus_pipeline::{Bucket, Fetched, Object, ObjectKey, Read};

use crate::{ObjectStore, Puts, StoreError, is_intact, output_place};

/// A store that lives as long as its process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<(Bucket, String), Bytes>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything in it by bucket and path, for tests that compare two stores.
    pub fn snapshot(&self) -> BTreeMap<(Bucket, String), Bytes> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Bucket, String), Bytes>> {
        self.objects.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn place(key: &ObjectKey) -> (Bucket, String) {
    (key.bucket(), key.path())
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn get_many(&self, reads: &[Read]) -> Vec<Result<Fetched, StoreError>> {
        let objects = self.lock();
        let fetch = |read: &Read| match objects.get(&place(&read.key)) {
            None => Fetched::Missing,
            Some(whole) => {
                let total = whole.len() as u64;
                let length = read.first.map_or(total, |first| first.min(total)) as usize;
                Fetched::Found(Object { bytes: whole.slice(..length), total })
            }
        };
        reads.iter().map(|read| Ok(fetch(read))).collect()
    }

    async fn put_in_order(&self, steps: Vec<Puts>) -> Result<(), StoreError> {
        self.lock().extend(steps.into_iter().flatten().map(|(key, bytes)| (place(&key), bytes)));
        Ok(())
    }

    async fn list(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, StoreError> {
        let objects = self.lock();
        let from_prefix =
            objects.range((bucket, prefix.to_owned())..).map(|((bucket, path), _)| (bucket, path));
        Ok(from_prefix
            .take_while(|(b, path)| **b == bucket && path.starts_with(prefix))
            .map(|(_, path)| path.clone())
            .collect())
    }

    async fn length(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError> {
        Ok(self.lock().get(&place(key)).map(|bytes| bytes.len() as u64))
    }

    async fn verify(&self, outputs: &[Output]) -> Result<bool, StoreError> {
        let objects = self.lock();
        Ok(outputs.iter().all(|output| {
            output_place(output)
                .and_then(|(bucket, path)| objects.get(&(bucket, path.to_owned())))
                .is_some_and(|bytes| is_intact(output, bytes))
        }))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.lock().remove(&place(key));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_what_every_store_promises() {
        crate::conformance::check(&MemoryStore::new()).await;
    }
}
