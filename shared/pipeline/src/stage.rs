//! Stages: functions from a job and some objects to effects.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Job, Message, ObjectKey, StageError};

/// The five stages. The name is in queues, metrics, logs and job ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageName {
    /// Scan files -> series index.
    Ingest,
    /// Series index -> the slices of the wanted plane.
    Filter,
    /// Slices and annotations -> prepared images and training samples.
    Preprocess,
    /// Dataset, plan and checkpoint -> next checkpoint, at the end a candidate model and its gate.
    Train,
    /// Prepared images and a model -> masks and measurements.
    Infer,
}

impl StageName {
    /// All stages in the order in which a file meets them.
    pub const ALL: [Self; 5] = [Self::Ingest, Self::Filter, Self::Preprocess, Self::Train, Self::Infer];

    /// The name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Filter => "filter",
            Self::Preprocess => "preprocess",
            Self::Train => "train",
            Self::Infer => "infer",
        }
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such stage: use ingest, filter, preprocess, train or infer")]
pub struct BadStageName;

impl FromStr for StageName {
    type Err = BadStageName;
    fn from_str(text: &str) -> Result<Self, BadStageName> {
        Self::ALL.into_iter().find(|name| name.as_str() == text).ok_or(BadStageName)
    }
}

/// One stage. The runtime fetches what it needs, runs it off the async threads and performs its effects.
pub trait Stage: Send + Sync + 'static {
    /// The body of its messages, which also names the stage.
    type Job: Job;

    /// Objects, or the first bytes of them, to fetch, given those already here. Asked again after each round until
    /// nothing new is asked for, at most [`MAX_ROUNDS`] times.
    fn needs(&self, job: &Self::Job, have: &Objects) -> Vec<Read>;

    /// Turns the job into effects. No clock, disk, network or global randomness: seeds come from the job. Caches may only
    /// save time, never change a result.
    ///
    /// # Errors
    /// Sorted by what happens next; a bad input file is no error but a verdict in the outputs.
    fn run(&self, job: &Self::Job, objects: &Objects, progress: &Progress) -> Result<Effects, StageError>;
}

/// How often [`Stage::needs`] is asked: a list, the start of what it lists, then more and more of it.
pub const MAX_ROUNDS: usize = 8;

/// A wish to fetch an object or its first bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Which object.
    pub key: ObjectKey,
    /// Only this many bytes from its start; `None` is the whole object.
    pub first: Option<u64>,
}

impl Read {
    /// The whole object.
    pub fn whole(key: ObjectKey) -> Self {
        Self { key, first: None }
    }

    /// The first bytes of the object.
    pub fn first(key: ObjectKey, bytes: u64) -> Self {
        Self { key, first: Some(bytes) }
    }
}

/// The bytes of an object, or of its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The bytes that were asked for, fewer only where the object ends.
    pub bytes: Bytes,
    /// The length of the whole object.
    pub total: u64,
}

impl Object {
    /// A whole object.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { total: bytes.len() as u64, bytes }
    }

    /// Whether the bytes are all there are.
    pub fn is_whole(&self) -> bool {
        self.bytes.len() as u64 == self.total
    }
}

/// What came of a [`Read`]. Faults that another attempt may not meet never get here: the runtime tries again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// Here it is.
    Found(Object),
    /// There is no such object.
    Missing,
    /// It is there but we may not read it (the reason in words, without its path).
    Denied(String),
}

/// What has been fetched for a job.
#[derive(Debug, Default)]
pub struct Objects {
    fetched: HashMap<ObjectKey, Fetched>,
    /// What [`Self::decoded`] gave out.
    decoded: Mutex<HashMap<ObjectKey, Arc<dyn Any + Send + Sync>>>,
}

impl Objects {
    /// Adds what came of a read; a later, longer read replaces an earlier one.
    pub fn insert(&mut self, key: ObjectKey, fetched: Fetched) {
        self.decoded.get_mut().unwrap_or_else(PoisonError::into_inner).remove(&key);
        self.fetched.insert(key, fetched);
    }

    /// What came of reading this object, or `None` if it was not read.
    pub fn get(&self, key: &ObjectKey) -> Option<&Fetched> {
        self.fetched.get(key)
    }

    /// The object if it is here.
    pub fn found(&self, key: &ObjectKey) -> Option<&Object> {
        match self.fetched.get(key) {
            Some(Fetched::Found(object)) => Some(object),
            _ => None,
        }
    }

    /// The bytes of an object without which the job can't be done.
    ///
    /// # Errors
    /// Permanent, naming the key, when it is missing or denied.
    pub fn require(&self, key: &ObjectKey) -> Result<&Bytes, StageError> {
        Ok(&self.require_object(key)?.bytes)
    }

    /// As [`Self::require`], with the length of the whole object, of which the start may be all that was asked for.
    ///
    /// # Errors
    /// As [`Self::require`].
    pub fn require_object(&self, key: &ObjectKey) -> Result<&Object, StageError> {
        match self.fetched.get(key) {
            Some(Fetched::Found(object)) => Ok(object),
            Some(Fetched::Denied(why)) => {
                Err(StageError::permanent("object-denied", format!("{key} can't be read: {why}")))
            }
            Some(Fetched::Missing) | None => {
                Err(StageError::permanent("object-missing", format!("{key} is missing")))
            }
        }
    }

    /// A JSON object without which the job can't be done.
    ///
    /// # Errors
    /// Permanent, naming the key, when it is missing, denied or not the JSON that is expected.
    pub fn require_json<T: DeserializeOwned>(&self, key: &ObjectKey) -> Result<T, StageError> {
        serde_json::from_slice(self.require(key)?).map_err(|error| {
            StageError::permanent("object-malformed", format!("{key} is not what it should be: {error}"))
        })
    }

    /// As [`Self::require_json`], decoded once however often it is asked for: for a large object that [`Stage::needs`] looks
    /// into round by round.
    ///
    /// # Errors
    /// As [`Self::require_json`].
    pub fn decoded<T>(&self, key: &ObjectKey) -> Result<Arc<T>, StageError>
    where
        T: DeserializeOwned + Any + Send + Sync,
    {
        let decoded = || self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        let before = decoded().get(key).cloned();
        if let Some(value) = before.and_then(|value| value.downcast().ok()) {
            return Ok(value);
        }
        let value = Arc::new(self.require_json::<T>(key)?);
        decoded().insert(key.clone(), value.clone());
        Ok(value)
    }

    /// How many objects were asked for.
    pub fn len(&self) -> usize {
        self.fetched.len()
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.fetched.is_empty()
    }
}

/// What a job does to the world, performed in this order: puts, then moves, then publishes, then the ack.
#[derive(Debug, Default, Clone)]
pub struct Effects {
    /// Objects to write. Writing one twice writes the same bytes.
    pub put: Vec<(ObjectKey, Bytes)>,
    /// Pointers to move, once all they may point to is there. They are no outputs: others move them later.
    pub moves: Vec<Move>,
    /// Messages that follow from this job, in the scope of its run.
    pub publish: Vec<Message>,
}

impl Effects {
    /// Adds an object.
    pub fn put(&mut self, key: ObjectKey, bytes: impl Into<Bytes>) {
        self.put.push((key, bytes.into()));
    }

    /// Adds an object with the JSON of a value.
    pub fn put_json(&mut self, key: ObjectKey, value: &impl Serialize) {
        let json = serde_json::to_vec(value).expect("a vocabulary type always has a JSON form");
        self.put(key, json);
    }

    /// Moves a pointer to the JSON of a value from what was fetched of it.
    pub fn move_json(&mut self, key: ObjectKey, value: &impl Serialize, objects: &Objects) {
        let from = objects.found(&key).map(|object| object.bytes.clone());
        let json = serde_json::to_vec(value).expect("a vocabulary type always has a JSON form");
        self.moves.push(Move { key, from, to: json.into() });
    }

    /// Adds a message that follows.
    pub fn publish(&mut self, job: &impl Job) {
        self.publish.push(Message::new(job));
    }
}

/// A pointer that moves, unless somebody else has moved it since the job read it: then the job is done again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The pointer.
    pub key: ObjectKey,
    /// What it was when the job read it; nothing where it wasn't there.
    pub from: Option<Bytes>,
    /// What it will be.
    pub to: Bytes,
}

/// Something worth telling people while a job runs. Never needed for correctness.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum ProgressEvent {
    /// Some units (files, slices) are done.
    Units {
        /// How many more than at the last event.
        done: u64,
    },
    /// Some files were refused.
    Refused {
        /// Why.
        reason: crate::Reason,
        /// How many more than at the last event.
        files: u64,
    },
    /// A training epoch ended.
    Epoch(crate::job::train::EpochMetrics),
    /// The job failed in a way that may pass, and will be tried again. Told by the runtime, not by a stage.
    TriedAgain {
        /// The error's code.
        code: String,
    },
}

type Listener = Arc<dyn Fn(ProgressEvent) + Send + Sync>;

/// A stage's line to the people who watch, and theirs to it.
#[derive(Clone, Default)]
pub struct Progress {
    listener: Option<Listener>,
    stopping: Arc<AtomicBool>,
}

impl Progress {
    /// Progress that is told to `listener`; `stopping` is set when the process should stop soon.
    pub fn new(listener: impl Fn(ProgressEvent) + Send + Sync + 'static, stopping: Arc<AtomicBool>) -> Self {
        Self { listener: Some(Arc::new(listener)), stopping }
    }

    /// Tells the people who watch.
    pub fn tell(&self, event: ProgressEvent) {
        if let Some(listener) = &self.listener {
            listener(event);
        }
    }

    /// Whether the process is stopping: a long job returns [`StageError::interrupted`] at its next safe point.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}
