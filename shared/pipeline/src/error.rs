//! Errors of a stage, sorted by what happens next.

use std::fmt;

/// What the runtime does after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Try again after the delay that the attempt calls for (store down, disk full, GPU out of memory).
    Retryable,
    /// Trying again can't help (object missing, digest mismatch, model of another architecture): dead at once.
    Permanent,
    /// The message itself is at fault (undecodable, unknown schema, or it panics the stage): dead, body untouched.
    Poison,
    /// The process is stopping: the job goes back to its queue and no attempt is counted.
    Interrupted,
}

/// An error of a stage: what happens next, a code for machines, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct StageError {
    /// What the runtime does.
    pub class: ErrorClass,
    /// A stable code such as `object-missing`.
    pub code: &'static str,
    /// A sentence that names the object or attribute and what to do; never a patient.
    pub message: String,
}

impl StageError {
    /// An error that another attempt may not meet.
    pub fn retryable(code: &'static str, message: impl fmt::Display) -> Self {
        Self { class: ErrorClass::Retryable, code, message: message.to_string() }
    }

    /// An error that every attempt meets.
    pub fn permanent(code: &'static str, message: impl fmt::Display) -> Self {
        Self { class: ErrorClass::Permanent, code, message: message.to_string() }
    }

    /// A message that can't be processed at all.
    pub fn poison(code: &'static str, message: impl fmt::Display) -> Self {
        Self { class: ErrorClass::Poison, code, message: message.to_string() }
    }

    /// The stage noticed that the process is stopping.
    pub fn interrupted() -> Self {
        Self {
            class: ErrorClass::Interrupted,
            code: "interrupted",
            message: "the process is stopping".into(),
        }
    }
}
