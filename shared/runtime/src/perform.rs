//! One delivery, from its body to its acknowledgement.

mod commit;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use modiolus_broker::{Broker, BrokerError, Delivery, Letter};
use modiolus_pipeline::message::{CAUSE_HEADER, CODE_HEADER, MAX_MESSAGE_BYTES};
use modiolus_pipeline::stage::MAX_ROUNDS;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{
    Effects, Envelope, ErrorClass, Fetched, JobId, Marker, Message, ObjectKey, Objects, Outcome, Progress,
    ProgressEvent, Read, Scope, StageError,
};
use modiolus_store::ObjectStore;
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
    GivenUp {
        code: String,
        message: String,
    },
    Cancelled,
    /// For another message, whose holder publishes what follows.
    DoneElsewhere,
}

impl Performer {
    /// Does what a delivery asks for and settles it.
    pub(crate) async fn attend(self: &Arc<Self>, delivery: Delivery) -> Left {
        let _running = self.telemetry.running(self.stage.name());
        self.telemetry.taken(self.stage.name(), delivery.age);
        let span = self.traces.begin(self.stage.name(), &delivery.letter);
        let log = span.log.clone();
        let handled = self.handle(&delivery, &span).instrument(log.clone()).await;
        match handled {
            Ok(Next::Acknowledge) => settled(delivery.ack().await),
            Ok(Next::Return) => self.give_back(delivery).await,
            Ok(Next::Leave) => Left::LeaseLost,
            Err(error) => {
                log.in_scope(|| tracing::warn!(%error, "a job goes back to its queue after a pause"));
                Left::Unsettled(delivery, error)
            }
        }
    }

    /// Lets a delivery go back to its queue.
    pub(crate) async fn give_back(&self, delivery: Delivery) -> Left {
        if !delivery.is_held() {
            return Left::LeaseLost;
        }
        settled(delivery.requeue().await)
    }

    async fn handle(self: &Arc<Self>, delivery: &Delivery, span: &Attempt) -> Result<Next, StageError> {
        let (stage, letter, returns) = (self.stage.name(), &delivery.letter, delivery.returns);
        let envelope = match Envelope::decode(&letter.body) {
            Ok(envelope) => envelope,
            Err(error) => return self.bury_unread(letter, error, span).await,
        };
        let (job, attempt) = (envelope.message.id.clone(), envelope.attempt + 1);
        span.is_at(&envelope.scope, &job, attempt);
        tracing::debug!(returns, "a job is in hand");
        if !self.joins.knows(&envelope.scope.run).await? {
            return self.bury(letter, foreign(&envelope.scope), span).await;
        }
        let outcome = if returns > MAX_RETURNS {
            let text = format!("{returns} starts without an end: it may kill its worker");
            Err(StageError::poison("crash-loop", text))
        } else {
            // What is tried again may come from a delivery that was lost.
            self.commit_in_a_slot(&envelope, returns == 0 && envelope.attempt == 0).await
        };
        if !delivery.is_held() {
            // Whoever has it now finds what is done and goes on. Two who go on would do all that follows twice.
            tracing::info!("the delivery was lost while its job ran: others go on with it");
            self.telemetry.ended(stage, Ending::Returned, attempt);
            return Ok(Next::Leave);
        }
        match outcome {
            // The job has ended: what fails from here on is done again, and never makes it a failed job.
            Ok(end) => self.conclude(&envelope, end, letter, span).await,
            Err(error) => self.fail(envelope, error, letter, span).await,
        }
    }

    /// What becomes of a job that has failed.
    async fn fail(
        &self,
        mut envelope: Envelope,
        error: StageError,
        letter: &Letter,
        span: &Attempt,
    ) -> Result<Next, StageError> {
        let (stage, job, attempt) = (self.stage.name(), envelope.message.id.clone(), envelope.attempt + 1);
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
    async fn commit_in_a_slot(
        self: &Arc<Self>,
        envelope: &Envelope,
        is_first: bool,
    ) -> Result<End, StageError> {
        let (performer, envelope) = (self.clone(), envelope.clone());
        let commit = async move {
            if performer.stopping.load(Ordering::Relaxed) {
                return Err(StageError::interrupted());
            }
            let begun = Instant::now();
            let end = performer.commit(&envelope, is_first).await?;
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
            End::DoneElsewhere => Ending::Done,
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
                let fetched = fetched?;
                check_digest(&read.key, &fetched)?;
                objects.insert(read.key, fetched);
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
        let Some((scope, job)) = address(&letter.body) else { return self.bury(letter, error, span).await };
        let stage = self.stage.name();
        span.failed(error.code);
        tracing::error!(%error, "a message can't be read and is given up");
        self.telemetry.error(stage, error.code);
        self.telemetry.ended(stage, Ending::Failed, 1);
        self.give_up(&scope, &job, letter, error.code, &error.message, span).await?;
        Ok(Next::Acknowledge)
    }

    /// Puts a letter that is no job of ours where people find it, and nothing into the store.
    async fn bury(&self, letter: &Letter, error: StageError, span: &Attempt) -> Result<Next, StageError> {
        let stage = self.stage.name();
        span.failed(error.code);
        tracing::error!(%error, "a message is no job of this cluster's and is given up");
        self.telemetry.error(stage, error.code);
        self.telemetry.ended(stage, Ending::Failed, 1);
        let letter = explained(letter.clone(), error.code, &error.message);
        self.broker.publish(Queue::Dead(stage), letter).await?;
        Ok(Next::Acknowledge)
    }
}

/// What becomes of a delivery.
enum Next {
    Acknowledge,
    Return,
    /// It isn't ours any more.
    Leave,
}

/// A job of a run that the store doesn't have.
fn foreign(scope: &Scope) -> StageError {
    let text = format!(
        "the run {} is not in this cluster's store. Do two clusters share a broker? Give each its own \
         (broker.virtual_host), then replay it where its run is",
        scope.run
    );
    StageError::permanent("foreign-run", text)
}

/// Survives a panic of a stage.
fn guarded<T>(part: impl FnOnce() -> Result<T, StageError>) -> Result<T, StageError> {
    catch_unwind(AssertUnwindSafe(part)).unwrap_or_else(|_| {
        let text = "the stage panicked, which is a fault in it: see the standard error output";
        Err(StageError::retryable(PANICKED, text))
    })
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

/// Refuses a whole object that is not the one that its key names.
fn check_digest(key: &ObjectKey, fetched: &Fetched) -> Result<(), StageError> {
    match fetched {
        Fetched::Found(object) if object.is_whole() && !key.can_hold(&object.bytes) => {
            let text =
                format!("{key} holds other bytes than those whose digest it is named by: put these back");
            Err(StageError::permanent("digest-mismatch", text))
        }
        _ => Ok(()),
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
