//! Dead letters: what a cluster has given up, until somebody replays or drops it.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures::future::try_join_all;
use modiolus_broker::{Broker, Letter};
use modiolus_pipeline::message::{CAUSE_HEADER, CODE_HEADER};
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Envelope, Marker, ObjectKey, Outcome, RunId, Scope, StageName};
use modiolus_store::ObjectStore;
use tokio::time::timeout;

use crate::objects;

/// How many letters of a stage are held at once.
pub const HELD: usize = 2000;

/// How long a queue may be silent before it counts as empty.
pub const SILENCE: Duration = Duration::from_secs(1);

/// What becomes of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Their jobs are done again.
    Replay,
    /// They go; their jobs stay failed.
    Drop,
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
    let mut queue = broker.consume(Queue::Dead(stage), HELD).await?;
    // Letters go back to their queue with what holds them.
    let (mut held, mut jobs) = (Vec::new(), HashSet::new());
    while held.len() < HELD
        && let Ok(Some(delivery)) = timeout(SILENCE, queue.next()).await
    {
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
