//! Where objects lie: the port [`ObjectStore`] and its adapters.
//!
//! - [`FolderStore`]: one machine; objects are plain files, the scans' own folder serves as `incoming`
//! - [`S3Store`]: the cluster; Garage, AWS and their like, one bucket of the store per [`Bucket`]
//! - [`MemoryStore`]: tests and simulation
//!
//! What every adapter promises is written down as tests in `conformance` (feature `conformance`, which also brings a
//! Garage server for tests, `garage`). Correctness of Modiolus
//! never rests on conditional writes: what matters is that a put is seen by every later get and list, that an object is
//! there wholly or not at all, and that writing the same bytes twice is harmless.

mod blocking;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod folder;
#[cfg(any(test, feature = "conformance"))]
pub mod garage;
mod memory;
mod path;
mod s3;

use async_trait::async_trait;
use bytes::Bytes;
use modiolus_pipeline::join::Output;
use modiolus_pipeline::stage::Move;
use modiolus_pipeline::{Bucket, Digest, Fetched, ObjectKey, Read, StageError};

pub use blocking::on_blocking_thread;
pub use folder::FolderStore;
pub use memory::MemoryStore;
pub use path::{BadPath, escape_path, unescape_path};
pub use s3::{MAX_KEY_BYTES, S3Options, S3Store, SecretKey};

/// The largest object that is read whole, in bytes: a reader's memory is bounded whatever lies in the store.
pub const MAX_OBJECT_BYTES: u64 = 1 << 30;

/// Objects to write, each with its bytes.
pub type Puts = Vec<(ObjectKey, Bytes)>;

/// Objects by key.
#[async_trait]
pub trait ObjectStore: Send + Sync + 'static {
    /// What came of each read, in the order of `reads`. A missing or unreadable object is no error but [`Fetched::Missing`]
    /// or [`Fetched::Denied`]; so is a whole object of more than [`MAX_OBJECT_BYTES`].
    async fn get_many(&self, reads: &[Read]) -> Vec<Result<Fetched, StoreError>>;

    /// Writes objects step by step: all of a step are there before the first of the next is written; those of one step
    /// are written in any order. Each object is there wholly or not at all; one that exists is replaced.
    ///
    /// # Errors
    /// At the first object that can't be written; objects before it may be there.
    async fn put_in_order(&self, steps: Vec<Puts>) -> Result<(), StoreError>;

    /// The paths in `bucket` that start with `prefix`, sorted by their bytes.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn list(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// The length of an object in bytes, `None` where there is no such object.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn length(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError>;

    /// Whether all these objects are there with the length and the digest that they should have.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn verify(&self, outputs: &[Output]) -> Result<bool, StoreError>;

    /// Removes an object; one that isn't there is removed already.
    ///
    /// # Errors
    /// When the store can't be written.
    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError>;

    /// What came of one read.
    ///
    /// # Errors
    /// When the store can't be read.
    async fn get(&self, read: Read) -> Result<Fetched, StoreError> {
        let gone = || Err(StoreError::unavailable(&read.key, "the store gave no answer"));
        self.get_many(std::slice::from_ref(&read)).await.pop().unwrap_or_else(gone)
    }

    /// Writes one object.
    ///
    /// # Errors
    /// When it can't be written.
    async fn put(&self, key: ObjectKey, bytes: Bytes) -> Result<(), StoreError> {
        self.put_in_order(vec![vec![(key, bytes)]]).await
    }

    /// Moves a pointer, if it is still what was read of it; whether it is there now. Nothing is between the look and the write but
    /// their time: the store knows no conditions.
    ///
    /// # Errors
    /// When the store fails.
    async fn move_pointer(&self, Move { key, from, to }: Move) -> Result<bool, StoreError> {
        let now = match self.get(Read::whole(key.clone())).await? {
            Fetched::Found(object) => Some(object.bytes),
            Fetched::Missing | Fetched::Denied(_) => None,
        };
        if now.as_ref() == Some(&to) {
            return Ok(true);
        }
        if now != from {
            return Ok(false);
        }
        self.put(key, to).await?;
        Ok(true)
    }

    /// Writes some objects in any order.
    ///
    /// # Errors
    /// At the first object that can't be written.
    async fn put_many(&self, objects: Puts) -> Result<(), StoreError> {
        self.put_in_order(vec![objects]).await
    }
}

/// The store failed. Objects are named as [`ObjectKey`] shows them: without a patient's path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It may work later.
    #[error("{what}: {why}")]
    Unavailable {
        /// The object.
        what: String,
        /// The cause in words.
        why: String,
    },
    /// No room for it; there may be later.
    #[error("{what}: no space left in the store: make room, then start again")]
    Full {
        /// The object.
        what: String,
    },
    /// It won't work later either.
    #[error("{what}: {why}")]
    Refused {
        /// The object.
        what: String,
        /// The cause in words, and what to do.
        why: String,
    },
}

impl StoreError {
    /// A fault that may pass.
    pub fn unavailable(what: impl ToString, why: impl ToString) -> Self {
        Self::Unavailable { what: what.to_string(), why: why.to_string() }
    }

    /// A fault that stays.
    pub fn refused(what: impl ToString, why: impl ToString) -> Self {
        Self::Refused { what: what.to_string(), why: why.to_string() }
    }

    /// Whether another attempt may succeed.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}

impl From<StoreError> for StageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => Self::retryable("store-unavailable", error),
            StoreError::Full { .. } => Self::retryable("store-full", error),
            StoreError::Refused { .. } => Self::permanent("store-refused", error),
        }
    }
}

/// The bucket and path of an output, if they can be those of an object at all.
fn output_place(output: &Output) -> Option<(Bucket, &str)> {
    let bucket = Bucket::ALL.into_iter().find(|bucket| bucket.as_str() == output.bucket)?;
    path::stays_inside(&output.path).then_some((bucket, output.path.as_str()))
}

/// Whether these are the bytes that the output says.
fn is_intact(output: &Output, bytes: &[u8]) -> bool {
    bytes.len() as u64 == output.length && Digest::of(bytes) == output.sha256
}
