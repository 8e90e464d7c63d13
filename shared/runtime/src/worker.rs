//! The loop of one stage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use modiolus_broker::{Broker, Consumer, Delivery};
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Stage, StageError, StageName};
use modiolus_store::ObjectStore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::erased::AnyStage;
use crate::join::Joins;
use crate::pace::Pace;
use crate::perform::{Left, Performer};
use crate::pulse::Pulse;
use crate::telemetry::{Ending, Telemetry};
use crate::trace::Traces;

/// How long a slot rests when its job can't be settled, and the first wait before subscribing again.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest wait before subscribing again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often a delivery may have come back before its job is done with nothing else in hand: more often than a restart of the
/// broker explains. Whatever is in hand when a process dies comes back once more, guilty or not.
const SUSPECT_RETURNS: u32 = 3;

/// How a worker works.
#[derive(Debug, Clone, Default)]
pub struct WorkerOptions {
    /// How many jobs at once; at least one.
    pub slots: usize,
    /// Whether stages run on the async threads. Only for simulation, where the same seed is to give the same order.
    pub inline: bool,
    /// Where an error goes that would be retried for longer than anybody wants to wait (a full disk on one machine). The
    /// job is not marked as failed then but goes back to its queue. `None`: it is given up after its last attempt, as in a
    /// cluster.
    pub halt: Option<UnboundedSender<StageError>>,
    /// Where it counts what it does.
    pub telemetry: Telemetry,
    /// Where its jobs' spans come from.
    pub traces: Traces,
    /// Where it shows that it goes on.
    pub pulse: Pulse,
    /// After how long without a job it stops, and tells so by the token that it was given. `None`: never.
    pub idle: Option<Duration>,
}

/// What a worker waits for.
enum Came {
    Shutdown,
    /// A job has ended.
    Settled,
    Delivery(Delivery),
    /// The subscription is lost.
    Lost,
    /// Nothing, for too long.
    Nothing,
}

/// The worker of one stage.
pub struct Worker {
    performer: Arc<Performer>,
    options: WorkerOptions,
}

impl Worker {
    /// A worker with its own memory of joins.
    pub fn new<S: Stage>(
        stage: S,
        store: Arc<dyn ObjectStore>,
        broker: Arc<dyn Broker>,
        options: WorkerOptions,
    ) -> Self {
        let joins = Arc::new(Joins::new(store.clone(), broker.clone()));
        Self::with_joins(Arc::new(stage), store, broker, joins, options)
    }

    /// A worker that shares its memory of joins with the others of its process.
    pub fn with_joins(
        stage: Arc<dyn AnyStage>,
        store: Arc<dyn ObjectStore>,
        broker: Arc<dyn Broker>,
        joins: Arc<Joins>,
        options: WorkerOptions,
    ) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let (inline, halts) = (options.inline, options.halt.is_some());
        let (telemetry, traces) = (options.telemetry.clone(), options.traces.clone());
        let pace = Arc::new(Pace::new(options.slots));
        let performer =
            Performer { stage, store, broker, joins, stopping, inline, halts, telemetry, pace, traces };
        Self { performer: Arc::new(performer), options }
    }

    /// Works until `shutdown`, or until it was idle for long enough: then takes nothing more, lets jobs finish or hands them back, and returns. Dropping the
    /// future stops at once; what was not acknowledged comes again elsewhere.
    pub async fn run(&self, shutdown: CancellationToken) {
        while let Some(consumer) = self.subscribe(&shutdown).await {
            self.options.telemetry.subscribed(self.stage(), true);
            self.consume(consumer, &shutdown).await;
            self.options.telemetry.subscribed(self.stage(), false);
        }
    }

    fn stage(&self) -> StageName {
        self.performer.stage.name()
    }

    fn slots(&self) -> usize {
        self.options.slots.max(1)
    }

    /// A subscription, or `None` on shutdown.
    async fn subscribe(&self, shutdown: &CancellationToken) -> Option<Box<dyn Consumer>> {
        let stage = self.stage();
        let mut pause = PAUSE;
        while !shutdown.is_cancelled() {
            self.options.pulse.beat();
            match self.performer.broker.consume(Queue::Work(stage), self.slots()).await {
                Ok(consumer) => return Some(consumer),
                Err(error) => tracing::warn!(%stage, %error, "can't subscribe to the queue; trying again"),
            }
            rest(pause, shutdown).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
        None
    }

    /// Takes deliveries until shutdown or until the subscription is lost. The subscription outlives its jobs, so that they
    /// can be acknowledged; prefetch bounds how many there are, and follows their length.
    async fn consume(&self, mut consumer: Box<dyn Consumer>, shutdown: &CancellationToken) {
        let stage = self.stage();
        let mut jobs: JoinSet<Left> = JoinSet::new();
        let mut prefetch = self.slots();
        loop {
            let wanted = self.performer.pace.in_hand(prefetch);
            if wanted != std::mem::replace(&mut prefetch, wanted)
                && let Err(error) = consumer.set_prefetch(wanted).await
            {
                tracing::warn!(%stage, %error, "the queue gives no other number of jobs at a time; subscribing again");
                break;
            }
            let came = self.options.pulse.during(self.next(&mut *consumer, &mut jobs, shutdown)).await;
            let delivery = match came {
                Came::Delivery(delivery) => delivery,
                Came::Settled => continue,
                Came::Shutdown => break,
                Came::Lost => {
                    tracing::warn!(%stage, "the subscription is lost; subscribing again");
                    break;
                }
                Came::Nothing => {
                    tracing::info!(%stage, "no job has come for a while: ending");
                    shutdown.cancel();
                    break;
                }
            };
            if delivery.returns < SUSPECT_RETURNS {
                self.spawn(&mut jobs, delivery, shutdown);
            } else if self.attend_alone(&mut *consumer, &mut jobs, delivery, shutdown).await {
                // What it takes ahead is found again.
                prefetch = 0;
            } else {
                break;
            }
        }
        self.options.pulse.during(self.drain(jobs, shutdown)).await;
    }

    async fn next(
        &self,
        consumer: &mut dyn Consumer,
        jobs: &mut JoinSet<Left>,
        shutdown: &CancellationToken,
    ) -> Came {
        let has_jobs = !jobs.is_empty();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Came::Shutdown,
            Some(left) = jobs.join_next() => match left {
                Ok(Left::LeaseLost) => Came::Lost,
                _ => Came::Settled,
            },
            delivery = consumer.next() => delivery.map_or(Came::Lost, Came::Delivery),
            () = self.idle(), if !has_jobs => Came::Nothing,
        }
    }

    fn spawn(&self, jobs: &mut JoinSet<Left>, delivery: Delivery, shutdown: &CancellationToken) {
        let (performer, halt) = (self.performer.clone(), self.options.halt.clone());
        jobs.spawn(attend(performer, delivery, halt, shutdown.clone()));
    }

    /// Does a job that was in hand whenever some process died, with nothing else in hand: if it is the one that kills them, it
    /// takes no other with it. `false` where the subscription is lost, or on shutdown.
    async fn attend_alone(
        &self,
        consumer: &mut dyn Consumer,
        jobs: &mut JoinSet<Left>,
        delivery: Delivery,
        shutdown: &CancellationToken,
    ) -> bool {
        tracing::warn!(stage = %self.stage(), returns = delivery.returns, "a job has come back often: it is done alone");
        if consumer.set_prefetch(0).await.is_err() {
            return false;
        }
        while let Some(Some(on_its_way)) = consumer.next().now_or_never() {
            if matches!(self.performer.give_back(on_its_way).await, Left::LeaseLost) {
                return false;
            }
        }
        if !self.options.pulse.during(settled(jobs, shutdown)).await {
            self.performer.give_back(delivery).await;
            return false;
        }
        self.spawn(jobs, delivery, shutdown);
        self.options.pulse.during(settled(jobs, shutdown)).await
    }

    /// Waits until there was nothing to do for too long.
    async fn idle(&self) {
        match self.options.idle {
            Some(idle) => tokio::time::sleep(idle).await,
            None => std::future::pending().await,
        }
    }

    /// Waits for the jobs that run; on shutdown they are told to hurry.
    async fn drain(&self, mut jobs: JoinSet<Left>, shutdown: &CancellationToken) {
        let hurry = async {
            shutdown.cancelled().await;
            self.performer.stopping.store(true, Ordering::Relaxed);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = hurry => {}
            () = async { while jobs.join_next().await.is_some() {} } => {}
        }
    }
}

/// Waits until nothing is in hand. `false` where the subscription is lost, or on shutdown.
async fn settled(jobs: &mut JoinSet<Left>, shutdown: &CancellationToken) -> bool {
    loop {
        let left = tokio::select! {
            biased;
            () = shutdown.cancelled() => return false,
            left = jobs.join_next() => left,
        };
        match left {
            None => return true,
            Some(Ok(Left::LeaseLost)) => return false,
            Some(_) => {}
        }
    }
}

async fn attend(
    performer: Arc<Performer>,
    delivery: Delivery,
    halt: Option<UnboundedSender<StageError>>,
    shutdown: CancellationToken,
) -> Left {
    let (delivery, error) = match performer.attend(delivery).await {
        Left::Unsettled(delivery, error) => (delivery, error),
        left => return left,
    };
    if let Some(halt) = halt {
        // Fails when an earlier error has stopped the house already.
        let _ = halt.send(error);
    }
    performer.telemetry.ended(performer.stage.name(), Ending::Returned, 0);
    rest(PAUSE, &shutdown).await;
    performer.give_back(delivery).await
}

/// Waits, but not past shutdown.
pub(crate) async fn rest(pause: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(pause) => {}
    }
}
