//! Messages: typed job bodies in an envelope.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{JobId, RunId, StageError, StageName};

/// The largest message, in bytes. Big data is never in a message: keys and digests only.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The body of a stage's messages. One job, one file under [`crate::job`]; its doc comment says what it reads, writes and
/// publishes.
pub trait Job: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The stage that does it.
    const STAGE: StageName;
    /// The version of the body's form. A worker refuses versions that it doesn't know.
    const SCHEMA: u32;
    /// The revision of the code behind it: raised whenever the same job would write other bytes than before.
    const REVISION: u32;

    /// The id: equal jobs have equal ids, whichever run they belong to.
    fn id(&self) -> JobId {
        let body = serde_json::to_vec(self).expect("a job always has a JSON form");
        JobId::derived(Self::STAGE.as_str(), Self::REVISION, &body)
    }
}

/// A job as it travels, without its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The job's id.
    pub id: JobId,
    /// The stage whose queue it goes to.
    pub stage: StageName,
    /// The version of the body's form.
    pub schema: u32,
    /// The job.
    pub body: Value,
}

impl Message {
    /// The message that asks for a job.
    pub fn new<J: Job>(job: &J) -> Self {
        let body = serde_json::to_value(job).expect("a job always has a JSON form");
        Self { id: job.id(), stage: J::STAGE, schema: J::SCHEMA, body }
    }

    /// The job that the message asks for.
    ///
    /// # Errors
    /// Poison: another stage's message, an unknown schema, a body that doesn't decode, an id that isn't the body's.
    pub fn job<J: Job>(&self) -> Result<J, StageError> {
        if self.stage != J::STAGE {
            return Err(StageError::poison(
                "wrong-stage",
                format!("a message for {} came to {}", self.stage, J::STAGE),
            ));
        }
        if self.schema != J::SCHEMA {
            return Err(StageError::poison(
                "unknown-schema",
                format!(
                    "{} knows schema {}, the message has {}: update the worker",
                    J::STAGE,
                    J::SCHEMA,
                    self.schema
                ),
            ));
        }
        let job: J = serde_json::from_value(self.body.clone()).map_err(|error| {
            StageError::poison("undecodable", format!("the body of a {} job: {error}", J::STAGE))
        })?;
        if job.id() == self.id {
            Ok(job)
        } else {
            Err(StageError::poison("wrong-id", format!("{} is not the id of its body", self.id)))
        }
    }
}

/// Which run, and which part of it, a job is done for. A chunk is a part of the run's input that is joined on its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    /// The run.
    pub run: RunId,
    /// The chunk, counted from 0.
    pub chunk: u32,
}

/// What lies in a queue: a message, the run that it is for, how often it was tried, and its trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Whom it is done for.
    pub scope: Scope,
    /// What is to be done.
    pub message: Message,
    /// The number of failed attempts so far. Ours, not the broker's: what brokers count changes between versions.
    #[serde(default)]
    pub attempt: u32,
}

/// The header of a letter in which a worker names the code of the error that it met.
pub const CODE_HEADER: &str = "code";

/// The header in which it tells the error in words.
pub const CAUSE_HEADER: &str = "cause";

/// As much of an envelope as says whose it is, whatever version wrote it.
#[derive(Deserialize)]
struct Address {
    scope: Scope,
    message: Addressee,
}

#[derive(Deserialize)]
struct Addressee {
    id: JobId,
}

impl Envelope {
    /// A first attempt.
    pub fn new(scope: Scope, message: Message) -> Self {
        Self { scope, message, attempt: 0 }
    }

    /// The bytes that go into a queue.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an envelope always has a JSON form")
    }

    /// The envelope in a delivery's body.
    ///
    /// # Errors
    /// Poison when it is too large or doesn't decode.
    pub fn decode(body: &[u8]) -> Result<Self, StageError> {
        if body.len() > MAX_MESSAGE_BYTES {
            let text = format!("a message of {} bytes; at most {MAX_MESSAGE_BYTES} are allowed", body.len());
            return Err(StageError::poison("too-large", text));
        }
        serde_json::from_slice(body).map_err(|error| StageError::poison("undecodable", error))
    }

    /// Whose a body is: of a body too that this version doesn't understand, as far as it has a scope and a job.
    pub fn address(body: &[u8]) -> Option<(Scope, JobId)> {
        let Address { scope, message } = serde_json::from_slice(body).ok()?;
        Some((scope, message.id))
    }
}
