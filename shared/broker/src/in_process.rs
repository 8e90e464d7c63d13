//! Queues in memory: the broker of one machine, and of tests and simulation (it keeps tokio's time, which can be paused).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use modiolus_pipeline::StageName;
use modiolus_pipeline::message::MAX_MESSAGE_BYTES;
use modiolus_pipeline::topology::{MAX_RETURNS, Queue, RETRY_DELAYS};
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;

use crate::{Broker, BrokerError, Consumer, Delivery, Events, Letter, Receipt, Settlement};

/// How many events a slow listener may be behind before it misses some.
const EVENTS_KEPT: usize = 4096;

/// A broker that lives as long as its process. Clones are the same broker.
#[derive(Clone)]
pub struct InProcess {
    office: Arc<Office>,
    retry_delays: [Duration; RETRY_DELAYS.len()],
}

struct Office {
    boxes: Mutex<Boxes>,
    events: broadcast::Sender<Bytes>,
}

#[derive(Default)]
struct Boxes {
    ready: HashMap<BoxName, Mailbox>,
    unsettled: BTreeMap<(Subscription, u64), Waiting>,
    delayed: usize,
    subscriptions: u64,
}

#[derive(Default)]
struct Mailbox {
    waiting: VecDeque<Waiting>,
    /// Rings when a subscriber may find something: a letter has come, or one of its own is settled.
    bell: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum BoxName {
    Queue(Queue),
    Deaths(StageName),
}

#[derive(Clone)]
struct Waiting {
    letter: Letter,
    returns: u32,
    since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Subscription(u64);

impl Default for InProcess {
    fn default() -> Self {
        Self::new()
    }
}

impl InProcess {
    /// An empty broker.
    pub fn new() -> Self {
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let office = Office { boxes: Mutex::default(), events };
        Self { office: Arc::new(office), retry_delays: RETRY_DELAYS }
    }

    /// The broker with other delays before the second, third and fourth attempt.
    #[must_use]
    pub fn with_retry_delays(mut self, delays: [Duration; RETRY_DELAYS.len()]) -> Self {
        self.retry_delays = delays;
        self
    }

    /// How many letters wait in a queue, without those that are given out.
    pub fn waiting(&self, queue: Queue) -> usize {
        self.office.boxes().ready.get(&BoxName::Queue(queue)).map_or(0, |mailbox| mailbox.waiting.len())
    }

    /// Whether there is nothing to do: no job waits, is delayed or is given out.
    pub fn is_idle(&self) -> bool {
        let boxes = self.office.boxes();
        let has_work = |(name, mailbox): (&BoxName, &Mailbox)| {
            !matches!(name, BoxName::Queue(Queue::Dead(_))) && !mailbox.waiting.is_empty()
        };
        boxes.delayed == 0 && boxes.unsettled.is_empty() && !boxes.ready.iter().any(has_work)
    }

    fn post(&self, queue: Queue, letter: Letter) {
        let waiting = Waiting { letter, returns: 0, since: Instant::now() };
        let Queue::Retry(stage, delay) = queue else {
            return self.office.boxes().put(BoxName::Queue(queue), waiting);
        };
        let (delay, office) = (self.retry_delays[delay], Arc::downgrade(&self.office));
        self.office.boxes().delayed += 1;
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            if let Some(office) = office.upgrade() {
                let mut boxes = office.boxes();
                boxes.delayed -= 1;
                boxes.put(BoxName::Queue(Queue::Work(stage)), waiting);
            }
        });
    }

    fn subscribe(&self, name: BoxName, prefetch: usize) -> Box<dyn Consumer> {
        let mut boxes = self.office.boxes();
        boxes.subscriptions += 1;
        let id = Subscription(boxes.subscriptions);
        let (office, bell) = (self.office.clone(), boxes.mailbox(name).bell.clone());
        Box::new(Subscriber { office, name, bell, id, prefetch: prefetch.max(1), given: 0 })
    }
}

impl Office {
    fn boxes(&self) -> MutexGuard<'_, Boxes> {
        self.boxes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Boxes {
    fn mailbox(&mut self, name: BoxName) -> &mut Mailbox {
        self.ready.entry(name).or_default()
    }

    fn ring(&mut self, name: BoxName) {
        self.mailbox(name).bell.notify_waiters();
    }

    fn put(&mut self, name: BoxName, waiting: Waiting) {
        self.mailbox(name).waiting.push_back(waiting);
        self.ring(name);
    }

    /// Back to where it was, in front of what came later.
    fn put_back(&mut self, name: BoxName, waiting: Waiting) {
        self.mailbox(name).waiting.push_front(waiting);
        self.ring(name);
    }

    fn bury(&mut self, name: BoxName, waiting: Waiting) {
        if let BoxName::Queue(Queue::Work(stage)) = name {
            self.put(BoxName::Deaths(stage), waiting.clone());
            self.put(BoxName::Queue(Queue::Dead(stage)), waiting);
        }
    }

    fn unsettled_of(&self, id: Subscription) -> impl DoubleEndedIterator<Item = (Subscription, u64)> {
        self.unsettled.range((id, 0)..=(id, u64::MAX)).map(|(key, _)| *key)
    }
}

#[async_trait]
impl Broker for InProcess {
    async fn publish_all(&self, letters: Vec<(Queue, Letter)>) -> Result<(), BrokerError> {
        if let Some((queue, letter)) =
            letters.iter().find(|(_, letter)| letter.body.len() > MAX_MESSAGE_BYTES)
        {
            return Err(BrokerError::too_large(*queue, letter.body.len()));
        }
        for (queue, letter) in letters {
            self.post(queue, letter);
        }
        Ok(())
    }

    async fn consume(&self, queue: Queue, prefetch: usize) -> Result<Box<dyn Consumer>, BrokerError> {
        Ok(self.subscribe(BoxName::Queue(queue), prefetch))
    }

    async fn deaths(&self, stage: StageName, prefetch: usize) -> Result<Box<dyn Consumer>, BrokerError> {
        Ok(self.subscribe(BoxName::Deaths(stage), prefetch))
    }

    fn tell(&self, event: Bytes) {
        // Fails when nobody listens, which is no fault.
        let _ = self.office.events.send(event);
    }

    async fn events(&self) -> Result<Box<dyn Events>, BrokerError> {
        Ok(Box::new(Listener(self.office.events.subscribe())))
    }
}

struct Subscriber {
    office: Arc<Office>,
    name: BoxName,
    bell: Arc<Notify>,
    id: Subscription,
    prefetch: usize,
    given: u64,
}

impl Subscriber {
    fn take(&mut self) -> Option<Delivery> {
        let mut boxes = self.office.boxes();
        if boxes.unsettled_of(self.id).count() >= self.prefetch {
            return None;
        }
        let waiting = boxes.mailbox(self.name).waiting.pop_front()?;
        self.given += 1;
        let receipt = Slip { office: self.office.clone(), name: self.name, key: (self.id, self.given) };
        boxes.unsettled.insert(receipt.key, waiting.clone());
        Some(Delivery::new(waiting.letter, waiting.returns, Some(waiting.since.elapsed()), Box::new(receipt)))
    }
}

#[async_trait]
impl Consumer for Subscriber {
    async fn next(&mut self) -> Option<Delivery> {
        let bell = self.bell.clone();
        loop {
            let rings = bell.notified();
            if let Some(delivery) = self.take() {
                return Some(delivery);
            }
            rings.await;
        }
    }

    async fn set_prefetch(&mut self, prefetch: usize) -> Result<(), BrokerError> {
        self.prefetch = prefetch;
        Ok(())
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut boxes = self.office.boxes();
        let keys: Vec<_> = boxes.unsettled_of(self.id).rev().collect();
        for key in keys {
            let Some(mut waiting) = boxes.unsettled.remove(&key) else { continue };
            waiting.returns += 1;
            if waiting.returns > MAX_RETURNS {
                boxes.bury(self.name, waiting);
            } else {
                boxes.put_back(self.name, waiting);
            }
        }
    }
}

struct Slip {
    office: Arc<Office>,
    name: BoxName,
    key: (Subscription, u64),
}

#[async_trait]
impl Receipt for Slip {
    fn is_held(&self) -> bool {
        self.office.boxes().unsettled.contains_key(&self.key)
    }

    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), BrokerError> {
        let mut boxes = self.office.boxes();
        let waiting = boxes.unsettled.remove(&self.key).ok_or(BrokerError::LeaseLost)?;
        match settlement {
            Settlement::Ack => {}
            Settlement::Requeue => boxes.put_back(self.name, waiting),
            Settlement::Reject => boxes.bury(self.name, waiting),
        }
        // Also after an ack: its subscriber may take one more now.
        boxes.ring(self.name);
        Ok(())
    }
}

struct Listener(broadcast::Receiver<Bytes>);

#[async_trait]
impl Events for Listener {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn keeps_what_every_broker_promises() {
        crate::conformance::check(&InProcess::new()).await;
    }

    #[tokio::test]
    async fn a_letter_that_comes_back_too_often_is_dead_and_reported() {
        let broker = InProcess::new();
        let stage = StageName::Ingest;
        broker.publish(Queue::Work(stage), Letter::new("kills its worker")).await.unwrap();
        for round in 0..=MAX_RETURNS {
            let mut consumer = broker.consume(Queue::Work(stage), 1).await.unwrap();
            assert_eq!(consumer.next().await.unwrap().returns, round);
        }
        assert_eq!(broker.waiting(Queue::Work(stage)), 0);
        assert_eq!(broker.waiting(Queue::Dead(stage)), 1);
        let death = broker.deaths(stage, 1).await.unwrap().next().await.unwrap();
        assert_eq!(death.letter, Letter::new("kills its worker"));
    }
}
