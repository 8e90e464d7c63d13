//! How jobs travel: the port [`Broker`] and its adapters.
//!
//! - [`InProcess`]: one process; queues in memory, any clock
//! - [`RabbitMq`]: a cluster; quorum queues, confirmed letters
//!
//! Delivery is at least once: a letter that was confirmed reaches a consumer until one of them settles it. What every
//! adapter promises is written down as tests in `conformance` (feature `conformance`, with a `server` to run them on).

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod in_process;
pub mod rabbitmq;
#[cfg(feature = "conformance")]
pub mod server;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use modiolus_pipeline::message::MAX_MESSAGE_BYTES;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{StageError, StageName};

pub use in_process::InProcess;
pub use rabbitmq::RabbitMq;

/// Queues, and a stream of events.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Puts letters into queues and returns when the broker has taken responsibility for all of them. A letter for a
    /// [`Queue::Retry`] goes on to the stage's [`Queue::Work`] after the delay.
    ///
    /// # Errors
    /// When not all are confirmed; some may be in their queues all the same.
    async fn publish_all(&self, letters: Vec<(Queue, Letter)>) -> Result<(), BrokerError>;

    /// Takes letters from a queue; at most `prefetch` (at least 1) are unsettled at a time.
    ///
    /// # Errors
    /// When the broker can't be reached or has no such queue.
    async fn consume(&self, queue: Queue, prefetch: usize) -> Result<Box<dyn Consumer>, BrokerError>;

    /// Takes a copy of each letter that the broker itself moved to [`Queue::Dead`], because it was rejected or came
    /// back too often. The letter itself stays in that queue for people to look at.
    ///
    /// # Errors
    /// When the broker can't be reached.
    async fn deaths(&self, stage: StageName, prefetch: usize) -> Result<Box<dyn Consumer>, BrokerError>;

    /// Tells everyone who listens now. Never waits, and never fails: events may be lost.
    fn tell(&self, event: Bytes);

    /// Listens to events from now on.
    ///
    /// # Errors
    /// When the broker can't be reached.
    async fn events(&self) -> Result<Box<dyn Events>, BrokerError>;

    /// Puts one letter into a queue.
    ///
    /// # Errors
    /// When it is not confirmed; it may be in the queue all the same.
    async fn publish(&self, queue: Queue, letter: Letter) -> Result<(), BrokerError> {
        self.publish_all(vec![(queue, letter)]).await
    }
}

/// A subscription to a queue. When it is dropped, what it left unsettled goes back to the queue.
#[async_trait]
pub trait Consumer: Send {
    /// The next letter; waits for one. `None`: the subscription is lost, and with it the right to settle what it gave
    /// out, which others get now. Subscribe again. Nothing is lost when the wait is given up.
    async fn next(&mut self) -> Option<Delivery>;

    /// Takes more or fewer letters ahead from now on: at most `prefetch` are unsettled at a time, once those that were given
    /// out under another prefetch are settled. With 0 none is taken any more; those that are on their way come at once. Not
    /// to be given up half-way.
    ///
    /// # Errors
    /// When the subscription is lost: drop it and subscribe again.
    async fn set_prefetch(&mut self, prefetch: usize) -> Result<(), BrokerError>;
}

/// A subscription to the events.
#[async_trait]
pub trait Events: Send {
    /// The next event; waits for one. `None`: the subscription is lost.
    async fn next(&mut self) -> Option<Bytes>;
}

/// What travels: a body, and headers for people and tools, which no decision of a stage rests on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Letter {
    /// At most [`MAX_MESSAGE_BYTES`].
    pub body: Bytes,
    /// Names and values.
    pub headers: BTreeMap<String, String>,
}

impl Letter {
    /// A letter without headers.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), headers: BTreeMap::new() }
    }

    /// The letter with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.headers.insert(name.into(), value.to_string());
        self
    }
}

/// A letter that was given out and waits to be settled. When settling fails, its subscription is of no use any more: drop
/// it and subscribe again.
pub struct Delivery {
    /// The letter.
    pub letter: Letter,
    /// How often it was given out before without being settled, as far as the broker knows.
    pub returns: u32,
    /// How long ago the letter was put into its queue, a retry's delay and all; `None` where whoever published it doesn't
    /// say. Between two machines it is as wrong as their clocks differ, and never less than nothing.
    pub age: Option<Duration>,
    receipt: Box<dyn Receipt>,
}

impl Delivery {
    /// A delivery, for adapters.
    pub fn new(letter: Letter, returns: u32, age: Option<Duration>, receipt: Box<dyn Receipt>) -> Self {
        Self { letter, returns, age, receipt }
    }

    /// The delivery with something around its receipt, for layers over an adapter.
    #[must_use]
    pub fn map_receipt(self, map: impl FnOnce(Box<dyn Receipt>) -> Box<dyn Receipt>) -> Self {
        Self { receipt: map(self.receipt), ..self }
    }

    /// Whether it is still ours, as far as we know: the subscription may be lost, and others have it now. What follows from
    /// it is theirs to publish then.
    pub fn is_held(&self) -> bool {
        self.receipt.is_held()
    }

    /// It is done: the broker forgets it.
    ///
    /// # Errors
    /// When the subscription is lost; the letter comes again.
    pub async fn ack(self) -> Result<(), BrokerError> {
        self.receipt.settle(Settlement::Ack).await
    }

    /// It goes back to its queue for anyone.
    ///
    /// # Errors
    /// When the subscription is lost; the letter comes again anyway.
    pub async fn requeue(self) -> Result<(), BrokerError> {
        self.receipt.settle(Settlement::Requeue).await
    }

    /// The broker moves it to the dead and says so ([`Broker::deaths`]).
    ///
    /// # Errors
    /// When the subscription is lost; the letter comes again.
    pub async fn reject(self) -> Result<(), BrokerError> {
        self.receipt.settle(Settlement::Reject).await
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("returns", &self.returns).finish_non_exhaustive()
    }
}

/// How a delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Done.
    Ack,
    /// Back to its queue.
    Requeue,
    /// To the dead.
    Reject,
}

/// An adapter's way to settle one delivery.
#[async_trait]
pub trait Receipt: Send + Sync {
    /// Whether it could be settled now, as far as the adapter knows.
    fn is_held(&self) -> bool;

    /// Settles it.
    ///
    /// # Errors
    /// When the subscription is lost.
    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), BrokerError>;
}

/// The broker failed. Never holds an address or a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// It can't be reached, or didn't confirm.
    #[error("the broker is not available: {0}")]
    Unavailable(String),
    /// The subscription ended before the delivery was settled; it is given out again.
    #[error("the lease of a delivery is lost; it comes again")]
    LeaseLost,
    /// It would refuse this for ever.
    #[error("the broker refuses: {0}")]
    Refused(String),
}

impl BrokerError {
    fn too_large(queue: Queue, bytes: usize) -> Self {
        let queue = queue.name();
        Self::Refused(format!("{bytes} bytes for {queue}; at most {MAX_MESSAGE_BYTES} are allowed"))
    }
}

impl From<BrokerError> for StageError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Refused(_) => Self::permanent("broker-refused", error),
            _ => Self::retryable("broker-unavailable", error),
        }
    }
}
