//! Jobs that the broker gave up by itself: they get their marker too, so that no run waits for them for ever.

use std::sync::Arc;

use modiolus_broker::{Broker, Delivery};
use modiolus_pipeline::{ObjectKey, StageError, StageName};
use modiolus_store::ObjectStore;
use tokio_util::sync::CancellationToken;

use crate::join::Joins;
use crate::perform::{address, failed_marker, json};
use crate::trace;
use crate::worker::rest;

/// How many reports are looked at at a time.
const PREFETCH: usize = 1;

/// How long to wait after the store or the broker failed.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(5);

/// Marks the jobs of a stage that the broker moved to the dead, until `shutdown`. The letters stay where they are.
pub async fn mark(
    stage: StageName,
    store: Arc<dyn ObjectStore>,
    broker: Arc<dyn Broker>,
    joins: Arc<Joins>,
    shutdown: CancellationToken,
) {
    while !shutdown.is_cancelled() {
        match broker.deaths(stage, PREFETCH).await {
            Err(error) => tracing::warn!(%stage, %error, "can't listen for dead letters; trying again"),
            Ok(mut deaths) => loop {
                let delivery = tokio::select! {
                    () = shutdown.cancelled() => return,
                    delivery = deaths.next() => delivery,
                };
                let Some(delivery) = delivery else { break };
                if let Err(error) = mark_one(stage, &*store, &joins, &delivery).await {
                    tracing::warn!(%stage, %error, "a dead job can't be marked yet; trying again");
                    break;
                }
                // If this fails it comes again, and finds its marker.
                if delivery.ack().await.is_err() {
                    break;
                }
            },
        }
        rest(PAUSE, &shutdown).await;
    }
}

async fn mark_one(
    stage: StageName,
    store: &dyn ObjectStore,
    joins: &Joins,
    delivery: &Delivery,
) -> Result<(), StageError> {
    let Some((scope, job)) = address(&delivery.letter.body) else {
        tracing::error!(%stage, "the broker gave up a message that can't be read");
        return Ok(());
    };
    let key = ObjectKey::Marker(scope.run.clone(), scope.chunk, job.clone());
    if store.length(&key).await?.is_some() {
        return Ok(());
    }
    let trace_id = trace::trace_id(&delivery.letter);
    tracing::error!(run = %scope.run, %stage, %job, trace_id, "the broker gave up a job");
    let marker =
        failed_marker("dead-lettered", "the broker gave the job up: its workers died or lost it too often");
    store.put(key, json(&marker).into()).await?;
    Ok(joins.ended(&scope, &job, marker).await?)
}
