//! Seeded faults in the store and the broker: lost connections, duplicates, delays, errors, a full disk, and between any two
//! steps a crash or an order to stop. The same seed gives the same faults as long as everything runs on one thread.
//!
//! A crash leaves everything that the process had begun where it is: each of its calls waits for ever, until whoever
//! simulates the process drops it. What it held unsettled comes again, as after a kill.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use modiolus_broker::{Broker, BrokerError, Consumer, Delivery, Events, Letter, Receipt, Settlement};
use modiolus_pipeline::join::Output;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Bucket, Fetched, ObjectKey, Read, StageName};
use modiolus_store::{ObjectStore, Puts, StoreError};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How likely each fault is at each step, 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// The process dies here.
    pub crash: f64,
    /// The process is told to stop.
    pub stop: f64,
    /// The subscription is lost.
    pub lost: f64,
    /// The step fails, before or after it took effect.
    pub error: f64,
    /// From this write on, the store's disk is full, for some minutes.
    pub full: f64,
    /// A letter is published twice.
    pub duplicate: f64,
    /// The step waits for up to a minute.
    pub delay: f64,
}

/// How many faults there are at most, so that a simulation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Budget {
    /// Crashes, orders to stop and lost subscriptions.
    pub crashes: u32,
    /// Errors. A full disk counts as [`FULL_AS_ERRORS`].
    pub errors: u32,
}

/// The longest that a disk is full.
const LONGEST_FULL: Duration = Duration::from_secs(5 * 60);

/// As often as a job is tried while a disk is full, at most: the next attempt comes after a longer delay.
pub const FULL_AS_ERRORS: u32 = 3;

/// The faults of one simulation.
pub struct Faults {
    rates: Rates,
    chance: Mutex<Chance>,
}

struct Chance {
    random: ChaCha8Rng,
    budget: Budget,
    full_until: Option<Instant>,
}

impl Faults {
    /// The faults of a seed.
    pub fn new(seed: u64, rates: Rates, budget: Budget) -> Arc<Self> {
        let chance = Chance { random: ChaCha8Rng::seed_from_u64(seed), budget, full_until: None };
        Arc::new(Self { rates, chance: Mutex::new(chance) })
    }

    /// A process that meets them, until it crashes.
    pub fn process(self: &Arc<Self>) -> Process {
        Process { faults: self.clone(), crashed: CancellationToken::new(), stop: CancellationToken::new() }
    }

    /// How many faults there may still be.
    pub fn left(&self) -> Budget {
        self.roll(|_, chance| chance.budget)
    }

    fn roll<T>(&self, roll: impl FnOnce(&Rates, &mut Chance) -> T) -> T {
        roll(&self.rates, &mut self.chance.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Chance {
    fn crashes(&mut self, rate: f64) -> bool {
        spend(self.random.random_bool(rate), &mut self.budget.crashes)
    }

    fn fails(&mut self, rate: f64) -> bool {
        spend(self.random.random_bool(rate), &mut self.budget.errors)
    }

    fn is_full(&mut self, rate: f64) -> bool {
        let now = Instant::now();
        if self.full_until.is_some_and(|until| now < until) {
            return true;
        }
        let happens = self.random.random_bool(rate) && self.budget.errors >= FULL_AS_ERRORS;
        if happens {
            self.budget.errors -= FULL_AS_ERRORS;
            self.full_until = Some(now + LONGEST_FULL.mul_f64(self.random.random()));
        }
        happens
    }
}

fn spend(wanted: bool, budget: &mut u32) -> bool {
    let happens = wanted && *budget > 0;
    *budget -= u32::from(happens);
    happens
}

/// A simulated process: its store and its broker fail, and at some step it is told to stop, or dies.
#[derive(Clone)]
pub struct Process {
    faults: Arc<Faults>,
    crashed: CancellationToken,
    stop: CancellationToken,
}

/// The step failed.
struct Failed;

impl From<Failed> for StoreError {
    fn from(_: Failed) -> Self {
        Self::unavailable("simulation", "an error that was asked for")
    }
}

impl From<Failed> for BrokerError {
    fn from(_: Failed) -> Self {
        Self::Unavailable("an error that was asked for".into())
    }
}

impl Process {
    /// Returns when the process has died: drop all that it did, and start another.
    pub async fn crashed(&self) {
        self.crashed.cancelled().await;
    }

    /// Cancelled when the process is told to stop.
    pub fn told_to_stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Dies at its next step.
    pub fn die(&self) {
        self.crashed.cancel();
    }

    /// The store as this process meets it.
    pub fn store(&self, inner: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(FaultyStore { inner, process: self.clone() })
    }

    /// The broker as this process meets it.
    pub fn broker(&self, inner: Arc<dyn Broker>) -> Arc<dyn Broker> {
        Arc::new(FaultyBroker { inner, process: self.clone() })
    }

    /// A point at which the process may be slow or die.
    async fn step(&self) {
        let delay = self.faults.roll(|rates, chance| {
            let delay = chance.random.random_bool(rates.delay);
            delay.then(|| Duration::from_millis(chance.random.random_range(1..60_000)))
        });
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        if self.crashed.is_cancelled() || self.faults.roll(|rates, chance| chance.crashes(rates.crash)) {
            self.crashed.cancel();
            pending::<()>().await;
        }
        if !self.stop.is_cancelled() && self.faults.roll(|rates, chance| chance.crashes(rates.stop)) {
            self.stop.cancel();
        }
        // Lets others go first now and then, as on a machine with several threads.
        if self.faults.roll(|_, chance| chance.random.random_bool(0.3)) {
            tokio::task::yield_now().await;
        }
    }

    /// A point at which it may fail, too.
    async fn risky_step(&self) -> Result<(), Failed> {
        self.step().await;
        if self.faults.roll(|rates, chance| chance.fails(rates.error)) { Err(Failed) } else { Ok(()) }
    }
}

struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    process: Process,
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn get_many(&self, reads: &[Read]) -> Vec<Result<Fetched, StoreError>> {
        let mut all = self.inner.get_many(reads).await;
        for fetched in &mut all {
            if let Err(failed) = self.process.risky_step().await {
                *fetched = Err(failed.into());
            }
        }
        all
    }

    async fn put_in_order(&self, steps: Vec<Puts>) -> Result<(), StoreError> {
        for (key, bytes) in steps.into_iter().flatten() {
            self.process.risky_step().await?;
            if self.process.faults.roll(|rates, chance| chance.is_full(rates.full)) {
                return Err(StoreError::Full { what: key.to_string() });
            }
            self.inner.put(key, bytes).await?;
            self.process.risky_step().await?;
        }
        Ok(())
    }

    async fn list(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.process.risky_step().await?;
        self.inner.list(bucket, prefix).await
    }

    async fn length(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError> {
        self.process.risky_step().await?;
        self.inner.length(key).await
    }

    async fn verify(&self, outputs: &[Output]) -> Result<bool, StoreError> {
        self.process.risky_step().await?;
        self.inner.verify(outputs).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.process.risky_step().await?;
        self.inner.delete(key).await
    }
}

struct FaultyBroker {
    inner: Arc<dyn Broker>,
    process: Process,
}

#[async_trait]
impl Broker for FaultyBroker {
    async fn publish_all(&self, letters: Vec<(Queue, Letter)>) -> Result<(), BrokerError> {
        for (queue, letter) in letters {
            self.process.risky_step().await?;
            let twice = self.process.faults.roll(|rates, chance| chance.random.random_bool(rates.duplicate));
            if twice {
                self.inner.publish(queue, letter.clone()).await?;
            }
            self.inner.publish(queue, letter).await?;
            self.process.risky_step().await?;
        }
        Ok(())
    }

    async fn consume(&self, queue: Queue, prefetch: usize) -> Result<Box<dyn Consumer>, BrokerError> {
        self.process.risky_step().await?;
        let inner = Some(self.inner.consume(queue, prefetch).await?);
        Ok(Box::new(FaultyConsumer { inner, process: self.process.clone() }))
    }

    async fn deaths(&self, stage: StageName, prefetch: usize) -> Result<Box<dyn Consumer>, BrokerError> {
        self.process.risky_step().await?;
        let inner = Some(self.inner.deaths(stage, prefetch).await?);
        Ok(Box::new(FaultyConsumer { inner, process: self.process.clone() }))
    }

    fn tell(&self, event: Bytes) {
        if !self.process.crashed.is_cancelled() {
            self.inner.tell(event);
        }
    }

    async fn events(&self) -> Result<Box<dyn Events>, BrokerError> {
        self.process.risky_step().await?;
        self.inner.events().await
    }
}

struct FaultyConsumer {
    inner: Option<Box<dyn Consumer>>,
    process: Process,
}

#[async_trait]
impl Consumer for FaultyConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        let delivery = self.inner.as_mut()?.next().await?;
        if self.process.crashed.is_cancelled() {
            return pending().await;
        }
        if self.process.faults.roll(|rates, chance| chance.crashes(rates.lost)) {
            self.inner = None;
            return None;
        }
        let process = self.process.clone();
        Some(delivery.map_receipt(|inner| Box::new(FaultyReceipt { inner, process })))
    }

    async fn set_prefetch(&mut self, prefetch: usize) -> Result<(), BrokerError> {
        self.process.risky_step().await?;
        self.inner.as_mut().ok_or(BrokerError::LeaseLost)?.set_prefetch(prefetch).await
    }
}

struct FaultyReceipt {
    inner: Box<dyn Receipt>,
    process: Process,
}

#[async_trait]
impl Receipt for FaultyReceipt {
    fn is_held(&self) -> bool {
        self.inner.is_held()
    }

    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), BrokerError> {
        self.process.risky_step().await?;
        self.inner.settle(settlement).await?;
        self.process.risky_step().await?;
        Ok(())
    }
}
