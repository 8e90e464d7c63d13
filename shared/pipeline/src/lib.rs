//! The vocabulary of Modiolus. Read this crate first.
//!
//! A **stage** is a function from a typed [`Job`] and some objects to [`Effects`]; one runtime performs the effects.
//! This crate names everything that crosses a boundary between two of its parts: identifiers ([`id`]), object keys
//! ([`key`]), messages ([`message`]), the bodies of the five stages' jobs ([`job`]), why a file was refused
//! ([`refusal`]), what happens after an error ([`error`]), when a run is complete ([`join`]) and which queues exist
//! ([`topology`]).
//!
//! There is no input or output here, nothing asynchronous, no clock and no randomness.

pub mod account;
pub mod day;
pub mod digest;
pub mod error;
pub mod id;
pub mod job;
pub mod join;
pub mod key;
pub mod message;
pub mod models;
pub mod plan;
pub mod plane;
pub mod refusal;
pub mod revision;
pub mod split;
pub mod stage;
pub mod topology;
pub mod verdict;

pub use account::AccountName;
pub use day::Day;
pub use digest::Digest;
pub use error::{ErrorClass, StageError};
pub use id::{
    BatchId, JobId, ModelVersion, PatientKey, PlanId, RevisionId, RunId, Secret, SliceId, TrainingId,
};
pub use join::{Manifest, Marker, Outcome};
pub use key::{Bucket, ObjectKey};
pub use message::{Envelope, Job, Message, Scope};
pub use plan::Plan;
pub use plane::Plane;
pub use refusal::{Reason, Refusal};
pub use revision::{Clarity, Revision, RevisionState, Triage};
pub use split::Split;
pub use stage::{Effects, Fetched, Object, Objects, Progress, ProgressEvent, Read, Stage, StageName};
