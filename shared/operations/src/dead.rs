//! Dead letters: what a cluster has given up, until somebody replays or drops it.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::try_join_all;
use modiolus_broker::{Broker, Consumer, Delivery, Letter};
use modiolus_pipeline::message::{CAUSE_HEADER, CODE_HEADER};
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Envelope, Marker, ObjectKey, Outcome, RunId, Scope, StageName};
use modiolus_store::ObjectStore;
use tokio::time::timeout;

use crate::objects;

/// How many letters one subscription holds at most: RabbitMQ gives out no more.
const HELD: usize = 2000;

/// How long a queue may be silent before it counts as empty.
const SILENCE: Duration = Duration::from_secs(1);

/// What becomes of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Their jobs are done again.
    Replay,
    /// They go; their jobs stay failed.
    Drop,
}

/// The dead letters of a stage, one after another, however many there are. Those that nobody settles go back to their queue when
/// the value is dropped.
pub struct DeadLetters<'a> {
    broker: &'a dyn Broker,
    stage: StageName,
    /// The last takes letters, the others only hold them.
    queues: Vec<Box<dyn Consumer>>,
    /// How many letters the last has given out.
    given: usize,
    /// Those that were on their way when their subscription took no more.
    on_their_way: VecDeque<Delivery>,
}

impl<'a> DeadLetters<'a> {
    /// Those of a stage.
    pub fn of(broker: &'a dyn Broker, stage: StageName) -> Self {
        Self { broker, stage, queues: Vec::new(), given: 0, on_their_way: VecDeque::new() }
    }

    /// The next; `None` where there is no other.
    ///
    /// # Errors
    /// When the broker fails.
    pub async fn next(&mut self) -> Result<Option<Delivery>> {
        if self.queues.is_empty() || self.given == HELD {
            self.subscribe().await?;
        }
        if let Some(delivery) = self.on_their_way.pop_front() {
            return Ok(Some(delivery));
        }
        let Some(queue) = self.queues.last_mut() else { return Ok(None) };
        let next = timeout(SILENCE, queue.next()).await.ok().flatten();
        self.given += usize::from(next.is_some());
        Ok(next)
    }

    async fn subscribe(&mut self) -> Result<()> {
        if let Some(full) = self.queues.last_mut() {
            full.set_prefetch(0).await?;
            while let Some(Some(delivery)) = full.next().now_or_never() {
                self.on_their_way.push_back(delivery);
            }
        }
        self.queues.push(self.broker.consume(Queue::Dead(self.stage), HELD).await?);
        self.given = 0;
        Ok(())
    }
}

/// Settles the dead letters of a run; how many jobs' they were. Those of other runs stay.
///
/// # Errors
/// When the store or the broker fails; doing it again goes on.
pub async fn settle(broker: &dyn Broker, store: &dyn ObjectStore, run: &RunId, fate: Fate) -> Result<usize> {
    let stages = StageName::ALL.map(|stage| settle_stage(broker, store, run, fate, stage));
    Ok(try_join_all(stages).await?.into_iter().sum())
}

async fn settle_stage(
    broker: &dyn Broker,
    store: &dyn ObjectStore,
    run: &RunId,
    fate: Fate,
    stage: StageName,
) -> Result<usize> {
    let mut letters = DeadLetters::of(broker, stage);
    // Letters go back to their queue with what holds them.
    let (mut held, mut jobs) = (Vec::new(), HashSet::new());
    while let Some(delivery) = letters.next().await? {
        match Envelope::address(&delivery.letter.body) {
            Some((scope, job)) if scope.run == *run => {
                // It may be dead again before we are through: once is enough.
                if jobs.insert((scope.chunk, job)) {
                    if fate == Fate::Replay {
                        replay(broker, store, stage, &delivery.letter).await?;
                    }
                    delivery.ack().await?;
                } else if fate == Fate::Drop {
                    delivery.ack().await?;
                } else {
                    held.push(delivery);
                }
            }
            _ => held.push(delivery),
        }
    }
    Ok(jobs.len())
}

/// Whether there are dead letters of a run. All stay.
///
/// # Errors
/// When the broker fails.
pub async fn has_any(broker: &dyn Broker, run: &RunId) -> Result<bool> {
    let stages = StageName::ALL.map(|stage| is_in(broker, run, stage));
    Ok(try_join_all(stages).await?.into_iter().any(|is_in| is_in))
}

async fn is_in(broker: &dyn Broker, run: &RunId, stage: StageName) -> Result<bool> {
    let (mut letters, mut held) = (DeadLetters::of(broker, stage), Vec::new());
    while let Some(delivery) = letters.next().await? {
        if Envelope::address(&delivery.letter.body).is_some_and(|(scope, _)| scope.run == *run) {
            return Ok(true);
        }
        held.push(delivery);
    }
    Ok(false)
}

/// Has a job done again. Its marker goes first, or the worker would take it for given up; then what says that its chunk and
/// its run are done; and the letter only leaves the dead when it is in its queue.
///
/// # Errors
/// When the store or the broker fails; doing it again is harmless.
pub async fn replay(
    broker: &dyn Broker,
    store: &dyn ObjectStore,
    stage: StageName,
    letter: &Letter,
) -> Result<()> {
    if let Some((Scope { run, chunk }, job)) = Envelope::address(&letter.body) {
        let marker = ObjectKey::Marker(run.clone(), chunk, job);
        let is_done = objects::json_if_there::<Marker>(store, marker.clone()).await;
        // A duplicate of a job that is done: it stays done.
        if !matches!(is_done, Ok(Some(Marker { outcome: Outcome::Done, .. }))) {
            // Where workers look for what is left half done.
            store.put(ObjectKey::RunUnfinished(run.clone()), Bytes::new()).await?;
            for key in [marker, ObjectKey::ChunkDone(run.clone(), chunk), ObjectKey::RunDone(run)] {
                store.delete(&key).await?;
            }
        }
    }
    let body = match Envelope::decode(&letter.body) {
        Ok(envelope) => Envelope { attempt: 0, ..envelope }.encode().into(),
        // It may have been too new for its worker, which may be newer now.
        Err(_) => letter.body.clone(),
    };
    let mut headers = letter.headers.clone();
    headers.retain(|name, _| name != CODE_HEADER && name != CAUSE_HEADER);
    Ok(broker.publish(Queue::Work(stage), Letter { body, headers }).await?)
}

#[cfg(test)]
mod tests {
    use modiolus_broker::InProcess;
    use modiolus_pipeline::Message;
    use modiolus_pipeline::job::Wanted;
    use modiolus_pipeline::job::ingest::IngestJob;
    use modiolus_pipeline::{Digest, Plane};
    use modiolus_store::MemoryStore;

    use super::*;

    fn letter(run: &str, number: usize) -> (Queue, Letter) {
        let wanted = Wanted { plane: Plane::CORONAL, model: None };
        let message = Message::new(&IngestJob { listing: Digest::of(number.to_string()), wanted });
        let scope = Scope { run: run.parse().unwrap(), chunk: 0 };
        (Queue::Dead(message.stage), Letter::new(Envelope::new(scope, message).encode()))
    }

    #[tokio::test(start_paused = true)]
    async fn letters_beyond_those_that_one_subscription_holds_are_reached_and_the_others_stay() {
        let (store, broker) = (MemoryStore::new(), InProcess::new());
        let many = (0..2 * HELD + 10).map(|number| letter("r-many", number));
        broker.publish_all(many.chain([letter("r-late", 0)]).collect()).await.unwrap();
        let late = "r-late".parse().unwrap();
        assert!(
            has_any(&broker, &late).await.unwrap()
                && !has_any(&broker, &"r-0".parse().unwrap()).await.unwrap()
        );
        assert_eq!(settle(&broker, &store, &late, Fate::Drop).await.unwrap(), 1);
        assert_eq!(settle(&broker, &store, &late, Fate::Drop).await.unwrap(), 0);
        assert_eq!(broker.waiting(Queue::Dead(StageName::Ingest)), 2 * HELD + 10);
    }
}
