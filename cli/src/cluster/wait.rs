//! Waiting for the end of a run: events say what happens, the store says when it is done.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use modiolus_broker::{Broker, Events};
use modiolus_pipeline::RunId;
use modiolus_runtime::{Joins, Notice, RunOutcome};
use tokio::time::{MissedTickBehavior, interval};

use crate::terminal;

/// How often the store is asked: events may be lost, and a worker may die before it says that a run is done.
const LOOK: Duration = Duration::from_secs(5);

/// Somebody who listens to what happens in a cluster.
pub(crate) struct Listener<'a> {
    broker: &'a dyn Broker,
    events: Option<Box<dyn Events>>,
}

impl<'a> Listener<'a> {
    /// Listens from now on. Without events, too, a run can be waited for.
    pub(crate) async fn new(broker: &'a dyn Broker) -> Self {
        Self { broker, events: broker.events().await.ok() }
    }

    /// Waits until a run is done, and shows what happens in it.
    pub(crate) async fn until_done(
        mut self,
        joins: &Joins,
        run: &RunId,
        mut show: impl FnMut(&Notice),
    ) -> Result<RunOutcome> {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => {
                    if self.events.is_none() {
                        self.events = self.broker.events().await.ok();
                    }
                    match joins.sweep(run).await {
                        Ok(Some(outcome)) => return Ok(outcome),
                        Ok(None) => {}
                        Err(error) if error.is_retryable() => terminal::say(&format!("{error}; asking again")),
                        Err(error) => return Err(error.into()),
                    }
                }
                event = next(&mut self.events) => match event.as_deref().map(Notice::decode) {
                    None => self.events = None,
                    Some(Some(notice)) if run_of(&notice) == run => {
                        show(&notice);
                        if let Notice::RunDone { outcome, .. } = notice
                            && joins.holds(run, &outcome).await?
                        {
                            return Ok(outcome);
                        }
                    }
                    Some(_) => {}
                },
            }
        }
    }
}

async fn next(events: &mut Option<Box<dyn Events>>) -> Option<Bytes> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

fn run_of(notice: &Notice) -> &RunId {
    match notice {
        Notice::Progress(event) => &event.scope.run,
        Notice::JobEnded { scope, .. } | Notice::ChunkDone { scope, .. } => &scope.run,
        Notice::RunDone { run, .. } => run,
    }
}
