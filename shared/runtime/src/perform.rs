//! One delivery, from its body to its acknowledgement.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use modiolus_broker::{Broker, BrokerError, Delivery, Letter};
use modiolus_pipeline::join::Output;
use modiolus_pipeline::message::MAX_MESSAGE_BYTES;
use modiolus_pipeline::stage::MAX_ROUNDS;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{
    Digest, Effects, Envelope, ErrorClass, Fetched, JobId, Manifest, Marker, ObjectKey, Objects, Outcome,
    Progress, Read, Scope, StageError,
};
use modiolus_store::{ObjectStore, Puts};
use serde::Deserialize;

use crate::erased::{AnyJob, AnyStage};
use crate::event::{Event, Notice};
use crate::join::Joins;

/// How often a delivery may come back unsettled before the job counts as one that kills its worker. Below the broker's own
/// limit, so that the cause is ours to name.
const MAX_RETURNS: u32 = 15;

/// The code of a stage that panicked.
const PANICKED: &str = "panicked";

/// Everything that a job needs, of one stage.
pub(crate) struct Performer {
    pub(crate) stage: Arc<dyn AnyStage>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) joins: Arc<Joins>,
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) inline: bool,
    /// Whether a retryable error that outlived its attempts stops the worker instead of failing the job.
    pub(crate) halts: bool,
}

/// How a delivery was left.
pub(crate) enum Left {
    /// Settled.
    Settled,
    /// It can't be settled now: its store or broker fails. It has to go back to its queue after a pause.
    Unsettled(Delivery, StageError),
}

/// What is written and published for a job.
struct Commit {
    steps: Vec<Puts>,
    manifest: Manifest,
}

/// As much of an envelope as can be read of one that this version doesn't understand.
#[derive(Deserialize)]
struct Address {
    scope: Scope,
    message: Addressee,
}

#[derive(Deserialize)]
struct Addressee {
    id: JobId,
}

impl Performer {
    /// Does what a delivery asks for and settles it.
    pub(crate) async fn attend(&self, delivery: Delivery) -> Left {
        match self.handle(&delivery).await {
            Ok(Next::Acknowledge) => settled(delivery.ack().await),
            Ok(Next::Return) => settled(delivery.requeue().await),
            Err(error) => Left::Unsettled(delivery, error),
        }
    }

    async fn handle(&self, delivery: &Delivery) -> Result<Next, StageError> {
        let stage = self.stage.name();
        let mut envelope = match Envelope::decode(&delivery.letter.body) {
            Ok(envelope) => envelope,
            Err(error) => return self.bury_unread(delivery, error).await,
        };
        let (run, job, attempt) =
            (envelope.scope.run.clone(), envelope.message.id.clone(), envelope.attempt + 1);
        let outcome = if delivery.returns > MAX_RETURNS {
            let text = format!("{} starts without an end: it may kill its worker", delivery.returns);
            Err(StageError::poison("crash-loop", text))
        } else {
            self.perform(&envelope).await
        };
        let Err(error) = outcome else {
            tracing::debug!(%run, %stage, %job, attempt, "a job is done");
            return Ok(Next::Acknowledge);
        };
        match (error.class, Queue::after_failure(stage, attempt)) {
            (ErrorClass::Interrupted, _) => {
                tracing::info!(%run, %stage, %job, "a job goes back to its queue: the process is stopping");
                return Ok(Next::Return);
            }
            (ErrorClass::Retryable, queue @ (Queue::Work(_) | Queue::Retry(..))) => {
                tracing::warn!(%run, %stage, %job, attempt, %error, "a job failed and will be tried again");
                envelope.attempt = attempt;
                let letter = explained(Letter::new(envelope.encode()), &error);
                self.broker.publish(queue, letter).await?;
            }
            (ErrorClass::Retryable, _) if self.halts && error.code != PANICKED => return Err(error),
            _ => {
                tracing::error!(%run, %stage, %job, attempt, %error, "a job is given up");
                self.give_up(&envelope.scope, &job, &delivery.letter, &error).await?;
            }
        }
        Ok(Next::Acknowledge)
    }

    async fn perform(&self, envelope: &Envelope) -> Result<(), StageError> {
        let (scope, message) = (&envelope.scope, &envelope.message);
        let job = self.stage.clone().open(message)?;
        let manifest_key = ObjectKey::Manifest(self.stage.name(), message.id.clone());
        let (mut steps, manifest) = match self.committed(&manifest_key).await? {
            Some(manifest) => (vec![], manifest),
            None => {
                let objects = self.fetch(&job).await?;
                let Commit { steps, manifest } = self.run(job, objects, scope, message.id.clone()).await?;
                (steps, manifest)
            }
        };
        let followers = manifest.followers.iter().map(|follower| follower.id.clone()).collect();
        let marker = Marker { outcome: Outcome::Done, followers };
        steps.push(vec![(self.marker_key(scope, &message.id), json(&marker).into())]);
        self.store.put_in_order(steps).await?;
        let letters = manifest.followers.into_iter().map(|follower| {
            let queue = Queue::Work(follower.stage);
            (queue, Letter::new(Envelope::new(scope.clone(), follower).encode()))
        });
        let letters: Vec<_> = letters.collect();
        if !letters.is_empty() {
            self.broker.publish_all(letters).await?;
        }
        self.ended(scope, &message.id, marker).await
    }

    /// The manifest of a job that was done before, if all it wrote is still there and intact.
    async fn committed(&self, key: &ObjectKey) -> Result<Option<Manifest>, StageError> {
        let Fetched::Found(object) = self.store.get(Read::whole(key.clone())).await? else { return Ok(None) };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&object.bytes) else { return Ok(None) };
        Ok(self.store.verify(&manifest.outputs).await?.then_some(manifest))
    }

    async fn fetch(&self, job: &Arc<dyn AnyJob>) -> Result<Objects, StageError> {
        let mut objects = Objects::default();
        for _ in 0..MAX_ROUNDS {
            let (reads, have) = {
                let job = job.clone();
                self.off_thread(move || Ok((job.needs(&objects), objects))).await?
            };
            objects = have;
            let reads: Vec<Read> = reads.into_iter().filter(|read| !is_here(read, &objects)).collect();
            if reads.is_empty() {
                break;
            }
            let fetched = self.store.get_many(&reads).await;
            for (read, fetched) in reads.into_iter().zip(fetched) {
                objects.insert(read.key, fetched?);
            }
        }
        Ok(objects)
    }

    async fn run(
        &self,
        job: Arc<dyn AnyJob>,
        objects: Objects,
        scope: &Scope,
        id: JobId,
    ) -> Result<Commit, StageError> {
        let (broker, stage) = (self.broker.clone(), self.stage.name());
        let event_scope = scope.clone();
        let manifest_key = ObjectKey::Manifest(stage, id.clone());
        let listener = move |progress| {
            let (scope, job) = (event_scope.clone(), id.clone());
            Notice::Progress(Event { scope, stage, job, progress }).tell(&*broker);
        };
        let progress = Progress::new(listener, self.stopping.clone());
        let scope = scope.clone();
        self.off_thread(move || {
            let effects = job.run(&objects, &progress)?;
            Commit::new(effects, manifest_key, &scope)
        })
        .await
    }

    /// Runs a part of a stage where it may take its time, and survives its panic.
    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StageError> + Send + 'static,
    ) -> Result<T, StageError> {
        let guarded = move || {
            catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
                let text = "the stage panicked, which is a fault in it: see the standard error output";
                Err(StageError::retryable(PANICKED, text))
            })
        };
        if self.inline {
            return guarded();
        }
        tokio::task::spawn_blocking(guarded).await.unwrap_or_else(|_| Err(StageError::interrupted()))
    }

    async fn ended(&self, scope: &Scope, job: &JobId, marker: Marker) -> Result<(), StageError> {
        let (stage, end) = (self.stage.name(), marker.outcome.clone());
        Notice::JobEnded { scope: scope.clone(), stage, job: job.clone(), end }.tell(&*self.broker);
        Ok(self.joins.ended(scope, job, marker).await?)
    }

    /// Marks a job as failed and puts its letter, as it came, where people find it.
    async fn give_up(
        &self,
        scope: &Scope,
        job: &JobId,
        letter: &Letter,
        error: &StageError,
    ) -> Result<(), StageError> {
        let marker = failed_marker(error.code, &error.message);
        self.store.put(self.marker_key(scope, job), json(&marker).into()).await?;
        self.broker.publish(Queue::Dead(self.stage.name()), explained(letter.clone(), error)).await?;
        self.ended(scope, job, marker).await
    }

    async fn bury_unread(&self, delivery: &Delivery, error: StageError) -> Result<Next, StageError> {
        let stage = self.stage.name();
        tracing::error!(%stage, %error, "a message can't be read and is given up");
        match address(&delivery.letter.body) {
            Some((scope, job)) => self.give_up(&scope, &job, &delivery.letter, &error).await?,
            None => {
                let letter = explained(delivery.letter.clone(), &error);
                self.broker.publish(Queue::Dead(stage), letter).await?;
            }
        }
        Ok(Next::Acknowledge)
    }

    fn marker_key(&self, scope: &Scope, job: &JobId) -> ObjectKey {
        ObjectKey::Marker(scope.run.clone(), scope.chunk, job.clone())
    }
}

enum Next {
    Acknowledge,
    Return,
}

impl Commit {
    /// The outputs in one step and the manifest in the next. Done where the stage ran: it digests every output.
    fn new(effects: Effects, manifest_key: ObjectKey, scope: &Scope) -> Result<Self, StageError> {
        for follower in &effects.publish {
            let length = Envelope::new(scope.clone(), follower.clone()).encode().len();
            // Room for the attempt to grow by some digits.
            if length + 16 > MAX_MESSAGE_BYTES {
                let text =
                    format!("{} has {length} bytes; at most {MAX_MESSAGE_BYTES} are allowed", follower.id);
                return Err(StageError::permanent("message-too-large", text));
            }
        }
        let output = |(key, bytes): &(ObjectKey, bytes::Bytes)| Output {
            bucket: key.bucket().to_string(),
            path: key.path(),
            sha256: Digest::of(bytes),
            length: bytes.len() as u64,
        };
        let outputs = effects.put.iter().map(output).collect();
        let manifest = Manifest { outputs, followers: effects.publish };
        let steps = vec![effects.put, vec![(manifest_key, json(&manifest).into())]];
        Ok(Self { steps, manifest })
    }
}

/// Whether what a read asks for was fetched already.
fn is_here(read: &Read, objects: &Objects) -> bool {
    match objects.get(&read.key) {
        None => false,
        Some(Fetched::Missing | Fetched::Denied(_)) => true,
        Some(Fetched::Found(object)) => {
            let wanted = read.first.map_or(object.total, |first| first.min(object.total));
            object.bytes.len() as u64 >= wanted
        }
    }
}

/// The scope and the job of a body that is no envelope of this version.
pub(crate) fn address(body: &[u8]) -> Option<(Scope, JobId)> {
    if body.len() > MAX_MESSAGE_BYTES {
        return None;
    }
    let address: Address = serde_json::from_slice(body).ok()?;
    Some((address.scope, address.message.id))
}

/// The marker of a job that was given up.
pub(crate) fn failed_marker(code: &str, message: &str) -> Marker {
    Marker { outcome: Outcome::Failed { code: code.into(), message: message.into() }, followers: vec![] }
}

pub(crate) fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a vocabulary type always has a JSON form")
}

/// The letter with the error in its headers, for people; its body stays as it is.
fn explained(letter: Letter, error: &StageError) -> Letter {
    letter.with("code", error.code).with("cause", &error.message)
}

fn settled(result: Result<(), BrokerError>) -> Left {
    if let Err(error) = result {
        // It comes again, finds its manifest, and is settled then.
        tracing::debug!(%error, "a delivery could not be settled");
    }
    Left::Settled
}
