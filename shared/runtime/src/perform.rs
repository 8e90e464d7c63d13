//! One delivery, from its body to its acknowledgement.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use modiolus_broker::{Broker, BrokerError, Delivery, Letter};
use modiolus_pipeline::join::Output;
use modiolus_pipeline::message::{CAUSE_HEADER, CODE_HEADER, MAX_MESSAGE_BYTES};
use modiolus_pipeline::stage::MAX_ROUNDS;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{
    Digest, Effects, Envelope, ErrorClass, Fetched, JobId, Manifest, Marker, Message, ObjectKey, Objects,
    Outcome, Progress, ProgressEvent, Read, Scope, StageError,
};
use modiolus_store::{ObjectStore, Puts};
use tokio::time::Instant;
use tracing::Instrument;

use crate::erased::{AnyJob, AnyStage};
use crate::event::{Event, Notice};
use crate::join::Joins;
use crate::pace::Pace;
use crate::telemetry::{Ending, Telemetry};
use crate::trace::{Attempt, Traces};

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
    pub(crate) telemetry: Telemetry,
    pub(crate) pace: Arc<Pace>,
    pub(crate) traces: Traces,
}

/// How a delivery was left.
pub(crate) enum Left {
    /// Settled.
    Settled,
    /// It could not be settled: the subscription is of no use any more.
    LeaseLost,
    /// It can't be settled now: its store or broker fails. It has to go back to its queue after a pause.
    Unsettled(Delivery, StageError),
}

/// How a job ended, and what follows from it.
enum End {
    Done(Vec<Message>),
    GivenUp { code: String, message: String },
    Cancelled,
}

/// What became of a job before. Given up is final: whoever wants it tried again removes its marker first.
enum Before {
    Committed(Manifest),
    GivenUp { code: String, message: String },
}

/// What is written for a job, and what follows from it.
struct Commit {
    steps: Vec<Puts>,
    manifest: Manifest,
}

impl Performer {
    /// Does what a delivery asks for and settles it.
    pub(crate) async fn attend(self: &Arc<Self>, delivery: Delivery) -> Left {
        let _running = self.telemetry.running(self.stage.name());
        self.telemetry.taken(self.stage.name(), delivery.age);
        let span = self.traces.begin(self.stage.name(), &delivery.letter);
        let log = span.log.clone();
        match self.handle(&delivery.letter, delivery.returns, &span).instrument(log.clone()).await {
            Ok(Next::Acknowledge) => settled(delivery.ack().await),
            Ok(Next::Return) => self.give_back(delivery).await,
            Err(error) => {
                log.in_scope(|| tracing::warn!(%error, "a job goes back to its queue after a pause"));
                Left::Unsettled(delivery, error)
            }
        }
    }

    /// Lets a delivery go back to its queue.
    pub(crate) async fn give_back(&self, delivery: Delivery) -> Left {
        settled(delivery.requeue().await)
    }

    async fn handle(
        self: &Arc<Self>,
        letter: &Letter,
        returns: u32,
        span: &Attempt,
    ) -> Result<Next, StageError> {
        let stage = self.stage.name();
        let mut envelope = match Envelope::decode(&letter.body) {
            Ok(envelope) => envelope,
            Err(error) => return self.bury_unread(letter, error, span).await,
        };
        let (job, attempt) = (envelope.message.id.clone(), envelope.attempt + 1);
        span.is_at(&envelope.scope, &job, attempt);
        tracing::debug!(returns, "a job is in hand");
        let outcome = if returns > MAX_RETURNS {
            let text = format!("{returns} starts without an end: it may kill its worker");
            Err(StageError::poison("crash-loop", text))
        } else {
            self.commit_in_a_slot(&envelope).await
        };
        let error = match outcome {
            // The job has ended: what fails from here on is done again, and never makes it a failed job.
            Ok(end) => return self.conclude(&envelope, end, letter, span).await,
            Err(error) => error,
        };
        if error.class != ErrorClass::Interrupted {
            self.telemetry.error(stage, error.code);
            span.failed(error.code);
        }
        match (error.class, Queue::after_failure(stage, attempt)) {
            (ErrorClass::Interrupted, _) => {
                tracing::info!("a job goes back to its queue: the process is stopping");
                self.telemetry.ended(stage, Ending::Returned, attempt);
                return Ok(Next::Return);
            }
            (ErrorClass::Retryable, queue @ (Queue::Work(_) | Queue::Retry(..))) => {
                tracing::warn!(%error, "a job failed and will be tried again");
                envelope.attempt = attempt;
                let letter = explained(Letter::new(envelope.encode()), error.code, &error.message);
                self.broker.publish(queue, span.followed_by(letter)).await?;
                self.telemetry.ended(stage, Ending::Retried, attempt);
                let (scope, progress) =
                    (envelope.scope, ProgressEvent::TriedAgain { code: error.code.into() });
                Notice::Progress(Event { scope, stage, job, progress }).tell(&*self.broker);
            }
            (ErrorClass::Retryable, _) if self.halts && error.code != PANICKED => return Err(error),
            _ => {
                tracing::error!(%error, "a job is given up");
                self.give_up(&envelope.scope, &job, letter, error.code, &error.message, span).await?;
                self.telemetry.ended(stage, Ending::Failed, attempt);
            }
        }
        Ok(Next::Acknowledge)
    }

    /// [`Self::commit`] when a slot is free. Only this part of a job holds one: the broker's confirmations cost time, but
    /// neither a core nor the memory of the job's objects.
    async fn commit_in_a_slot(self: &Arc<Self>, envelope: &Envelope) -> Result<End, StageError> {
        let (performer, envelope) = (self.clone(), envelope.clone());
        let commit = async move {
            if performer.stopping.load(Ordering::Relaxed) {
                return Err(StageError::interrupted());
            }
            let begun = Instant::now();
            let end = performer.commit(&envelope).await?;
            performer.pace.note(begun.elapsed());
            Ok(end)
        };
        // On another thread it is still about this job.
        let commit = commit.in_current_span();
        if self.inline {
            return commit.await;
        }
        self.pace.in_a_slot(commit).await.unwrap_or_else(|| Err(StageError::interrupted()))
    }

    /// Says that a job has ended, and publishes what follows from it.
    async fn conclude(
        &self,
        envelope: &Envelope,
        end: End,
        letter: &Letter,
        span: &Attempt,
    ) -> Result<Next, StageError> {
        let (scope, job, attempt) = (&envelope.scope, &envelope.message.id, envelope.attempt + 1);
        let stage = self.stage.name();
        let ending = match end {
            End::Done(followers) => {
                self.follow_up(scope, job, followers, span).await?;
                tracing::debug!("a job is done");
                Ending::Done
            }
            End::GivenUp { code, message } => {
                self.give_up(scope, job, letter, &code, &message, span).await?;
                Ending::Failed
            }
            // Whoever cancelled the run has ended it, or a sweep will.
            End::Cancelled => {
                tracing::debug!("a job is not done: its run was cancelled");
                Ending::Cancelled
            }
        };
        self.telemetry.ended(stage, ending, attempt);
        Ok(Next::Acknowledge)
    }

    /// Runs the job, unless it was run or given up before or its run was cancelled, and writes its outputs, manifest and
    /// marker.
    async fn commit(&self, envelope: &Envelope) -> Result<End, StageError> {
        let (scope, message) = (&envelope.scope, &envelope.message);
        let job = self.stage.clone().open(message)?;
        let manifest_key = ObjectKey::Manifest(self.stage.name(), message.id.clone());
        let marker_key = marker_key(scope, &message.id);
        let (mut steps, manifest) = match self.before(&manifest_key, &marker_key).await? {
            Some(Before::GivenUp { code, message }) => return Ok(End::GivenUp { code, message }),
            Some(Before::Committed(manifest)) => {
                tracing::debug!(run = %scope.run, stage = %self.stage.name(), job = %message.id, "a job was done before");
                (vec![], manifest)
            }
            None if self.joins.was_cancelled(&scope.run).await? => return Ok(End::Cancelled),
            None => {
                tracing::debug!(run = %scope.run, stage = %self.stage.name(), job = %message.id, "a job begins");
                let objects = self.fetch(&*job).await?;
                let effects = self.run(&*job, &objects, scope, message.id.clone())?;
                let Commit { steps, manifest } = Commit::new(effects, manifest_key, scope)?;
                (steps, manifest)
            }
        };
        steps.push(vec![(marker_key, json(&done_marker(&manifest.followers)).into())]);
        self.store.put_in_order(steps).await?;
        Ok(End::Done(manifest.followers))
    }

    /// Publishes what follows from a job that is done, and looks at its joins.
    async fn follow_up(
        &self,
        scope: &Scope,
        job: &JobId,
        followers: Vec<Message>,
        span: &Attempt,
    ) -> Result<(), StageError> {
        let marker = done_marker(&followers);
        let letters = followers.into_iter().map(|follower| {
            let queue = Queue::Work(follower.stage);
            (queue, span.followed_by(Letter::new(Envelope::new(scope.clone(), follower).encode())))
        });
        let letters: Vec<_> = letters.collect();
        if !letters.is_empty() {
            self.broker.publish_all(letters).await?;
        }
        self.ended(scope, job, marker).await
    }

    /// What became of a job before. A manifest counts if all it names is still there and intact.
    async fn before(&self, manifest: &ObjectKey, marker: &ObjectKey) -> Result<Option<Before>, StageError> {
        match self.manifest_and_marker(manifest, marker).await? {
            (_, Some(Marker { outcome: Outcome::Failed { code, message }, .. })) => {
                Ok(Some(Before::GivenUp { code, message }))
            }
            (Some(manifest), _) if self.store.verify(&manifest.outputs).await? => {
                Ok(Some(Before::Committed(manifest)))
            }
            _ => Ok(None),
        }
    }

    async fn manifest_and_marker(
        &self,
        manifest: &ObjectKey,
        marker: &ObjectKey,
    ) -> Result<(Option<Manifest>, Option<Marker>), StageError> {
        let reads = [Read::whole(manifest.clone()), Read::whole(marker.clone())];
        let mut found = self.store.get_many(&reads).await.into_iter();
        Ok((decoded(found.next().transpose()?), decoded(found.next().transpose()?)))
    }

    async fn fetch(&self, job: &dyn AnyJob) -> Result<Objects, StageError> {
        let mut objects = Objects::default();
        for _ in 0..MAX_ROUNDS {
            let mut reads = guarded(|| Ok(job.needs(&objects)))?;
            reads.retain(|read| !is_here(read, &objects));
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

    fn run(
        &self,
        job: &dyn AnyJob,
        objects: &Objects,
        scope: &Scope,
        id: JobId,
    ) -> Result<Effects, StageError> {
        let (broker, stage, scope) = (self.broker.clone(), self.stage.name(), scope.clone());
        let telemetry = self.telemetry.clone();
        let listener = move |progress| {
            telemetry.progress(stage, &progress);
            let (scope, job) = (scope.clone(), id.clone());
            Notice::Progress(Event { scope, stage, job, progress }).tell(&*broker);
        };
        let progress = Progress::new(listener, self.stopping.clone());
        guarded(|| job.run(objects, &progress))
    }

    async fn ended(&self, scope: &Scope, job: &JobId, marker: Marker) -> Result<(), StageError> {
        let (stage, end) = (self.stage.name(), marker.outcome.clone());
        Notice::JobEnded { scope: scope.clone(), stage, job: job.clone(), end }.tell(&*self.broker);
        Ok(self.joins.ended(scope, job, marker).await?)
    }

    /// Marks a job as failed and puts its letter, as it came, where people find it. A job that was done before (here, or by
    /// a duplicate of its message) stays done; then only what follows from it is published again.
    async fn give_up(
        &self,
        scope: &Scope,
        job: &JobId,
        letter: &Letter,
        code: &str,
        message: &str,
        span: &Attempt,
    ) -> Result<(), StageError> {
        let key = marker_key(scope, job);
        let manifest_key = ObjectKey::Manifest(self.stage.name(), job.clone());
        let (manifest, marker) = self.manifest_and_marker(&manifest_key, &key).await?;
        if let (Some(manifest), Some(Marker { outcome: Outcome::Done, .. })) = (manifest, marker) {
            return self.follow_up(scope, job, manifest.followers, span).await;
        }
        let marker = failed_marker(code, message);
        self.store.put(key, json(&marker).into()).await?;
        self.broker.publish(Queue::Dead(self.stage.name()), explained(letter.clone(), code, message)).await?;
        self.ended(scope, job, marker).await
    }

    async fn bury_unread(
        &self,
        letter: &Letter,
        error: StageError,
        span: &Attempt,
    ) -> Result<Next, StageError> {
        let stage = self.stage.name();
        span.failed(error.code);
        tracing::error!(%error, "a message can't be read and is given up");
        self.telemetry.error(stage, error.code);
        self.telemetry.ended(stage, Ending::Failed, 1);
        match address(&letter.body) {
            Some((scope, job)) => {
                self.give_up(&scope, &job, letter, error.code, &error.message, span).await?;
            }
            None => {
                let letter = explained(letter.clone(), error.code, &error.message);
                self.broker.publish(Queue::Dead(stage), letter).await?;
            }
        }
        Ok(Next::Acknowledge)
    }
}

enum Next {
    Acknowledge,
    Return,
}

impl Commit {
    /// The outputs in one step and the manifest in the next.
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

/// Survives a panic of a stage.
fn guarded<T>(part: impl FnOnce() -> Result<T, StageError>) -> Result<T, StageError> {
    catch_unwind(AssertUnwindSafe(part)).unwrap_or_else(|_| {
        let text = "the stage panicked, which is a fault in it: see the standard error output";
        Err(StageError::retryable(PANICKED, text))
    })
}

/// The value in an object, if it is there and whole.
fn decoded<T: serde::de::DeserializeOwned>(fetched: Option<Fetched>) -> Option<T> {
    match fetched {
        Some(Fetched::Found(object)) => serde_json::from_slice(&object.bytes).ok(),
        _ => None,
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
    Envelope::address(body)
}

fn marker_key(scope: &Scope, job: &JobId) -> ObjectKey {
    ObjectKey::Marker(scope.run.clone(), scope.chunk, job.clone())
}

fn done_marker(followers: &[Message]) -> Marker {
    Marker {
        outcome: Outcome::Done,
        followers: followers.iter().map(|follower| follower.id.clone()).collect(),
    }
}

/// The marker of a job that was given up.
pub(crate) fn failed_marker(code: &str, message: &str) -> Marker {
    Marker { outcome: Outcome::Failed { code: code.into(), message: message.into() }, followers: vec![] }
}

pub(crate) fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a vocabulary type always has a JSON form")
}

/// The letter with the error in its headers, for people; its body stays as it is.
fn explained(letter: Letter, code: &str, cause: &str) -> Letter {
    letter.with(CODE_HEADER, code).with(CAUSE_HEADER, cause)
}

fn settled(result: Result<(), BrokerError>) -> Left {
    match result {
        Ok(()) => Left::Settled,
        Err(error) => {
            // It comes again, finds its manifest, and is settled then.
            tracing::debug!(%error, "a delivery could not be settled");
            Left::LeaseLost
        }
    }
}
