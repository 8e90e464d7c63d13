//! Subscriptions, each on a channel of its own, so that one that fails takes no other with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Acker, BasicProperties, Channel};
use modiolus_pipeline::StageName;
use modiolus_pipeline::message::MAX_MESSAGE_BYTES;
use modiolus_pipeline::topology::Queue;

use super::definitions::deaths_queue;
use super::errors::translate;
use super::lease::Lease;
use super::letter::{RETURNS_BEFORE, age, headers, returns};
use super::link::Link;
use super::publisher::Publisher;
use crate::{BrokerError, Consumer, Delivery, Letter, Receipt, Settlement};

/// The most that a quorum queue gives out unsettled.
const MAX_PREFETCH: usize = 2000;

/// What a subscription takes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    Queue(Queue),
    Deaths(StageName),
}

impl Source {
    fn name(self) -> String {
        match self {
            Self::Queue(queue) => queue.name(),
            Self::Deaths(stage) => deaths_queue(stage),
        }
    }
}

/// Subscribes on a channel of its own.
pub(super) async fn subscribe(
    link: &Arc<Link>,
    publisher: &Arc<Publisher>,
    source: Source,
    prefetch: usize,
) -> Result<Subscription, BrokerError> {
    let name = source.name();
    let (channel, letters) = open(link, &name, prefetch, FieldTable::default()).await?;
    let lease = Arc::new(Lease::new(link.clone(), channel));
    let (link, publisher) = (link.clone(), publisher.clone());
    let letters = Some(letters);
    Ok(Subscription { letters, before: VecDeque::new(), source, lease, link, publisher })
}

/// A channel with a consumer.
pub(super) async fn open(
    link: &Link,
    queue: &str,
    prefetch: usize,
    arguments: FieldTable,
) -> Result<(Channel, lapin::Consumer), BrokerError> {
    let channel = link.channel().await?;
    let consumer = consume(link, &channel, queue, prefetch, arguments).await?;
    Ok((channel, consumer))
}

async fn consume(
    link: &Link,
    channel: &Channel,
    queue: &str,
    prefetch: usize,
    arguments: FieldTable,
) -> Result<lapin::Consumer, BrokerError> {
    let prefetch = prefetch.clamp(1, MAX_PREFETCH) as u16;
    let consuming = async {
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), arguments).await
    };
    let consumer = link.bounded(consuming).await;
    consumer.map_err(|error| translate(&error, &format!("taking from queue {queue}")))
}

/// A subscription. Dropping it closes its channel, after what was settled is written.
pub(super) struct Subscription {
    /// Nothing while no letter is taken.
    letters: Option<lapin::Consumer>,
    /// With another prefetch: they take nothing more, and what they have is given out first.
    before: VecDeque<lapin::Consumer>,
    source: Source,
    lease: Arc<Lease>,
    link: Arc<Link>,
    publisher: Arc<Publisher>,
}

impl Subscription {
    async fn receive(&mut self) -> Option<lapin::message::Delivery> {
        while let Some(before) = self.before.front_mut() {
            if let Some(Ok(delivery)) = before.next().await {
                return Some(delivery);
            }
            self.before.pop_front();
        }
        match &mut self.letters {
            Some(letters) => letters.next().await?.ok(),
            None => std::future::pending().await,
        }
    }

    /// A letter from elsewhere that is too large goes to the dead as it is, before anybody reads it.
    fn bury(&self, delivery: lapin::message::Delivery) {
        let (queue, bytes) = (self.source.name(), delivery.data.len());
        tracing::error!(%queue, bytes, "a message is larger than any job and is moved to the dead");
        if let Some(channel) = self.lease.channel() {
            self.lease.settle(channel, delivery.delivery_tag, delivery.acker, Settlement::Reject);
        }
    }

    fn delivery(&self, delivery: lapin::message::Delivery) -> Delivery {
        let lapin::message::Delivery { data, properties, acker, delivery_tag: tag, .. } = delivery;
        let body = Bytes::from(data);
        let letter = Letter { body: body.clone(), headers: headers(&properties) };
        let (returns, age) = (returns(&properties), age(&properties, SystemTime::now()));
        let (source, lease, publisher) = (self.source, self.lease.clone(), self.publisher.clone());
        let slip = Slip { tag, acker, source, lease, publisher, body, properties };
        Delivery::new(letter, returns, age, Box::new(slip))
    }
}

#[async_trait]
impl Consumer for Subscription {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            let Some(delivery) = self.receive().await else {
                self.lease.end();
                return None;
            };
            // The dead are for people, who may see anything.
            let for_people = matches!(self.source, Source::Queue(Queue::Dead(_)));
            if delivery.data.len() <= MAX_MESSAGE_BYTES || for_people {
                return Some(self.delivery(delivery));
            }
            self.bury(delivery);
        }
    }

    /// On the same channel, so that what is given out can still be settled.
    async fn set_prefetch(&mut self, prefetch: usize) -> Result<(), BrokerError> {
        let Some(channel) = self.lease.channel() else { return Err(BrokerError::LeaseLost) };
        let name = self.source.name();
        let letters = match prefetch {
            0 => None,
            _ => Some(consume(&self.link, &channel, &name, prefetch, FieldTable::default()).await?),
        };
        let Some(before) = std::mem::replace(&mut self.letters, letters) else { return Ok(()) };
        let cancelling = channel.basic_cancel(before.tag(), BasicCancelOptions::default());
        let cancelled = self.link.bounded(cancelling).await;
        cancelled.map_err(|error| translate(&error, &format!("leaving queue {name}")))?;
        self.before.push_back(before);
        Ok(())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.lease.end();
    }
}

struct Slip {
    tag: u64,
    acker: Acker,
    source: Source,
    lease: Arc<Lease>,
    publisher: Arc<Publisher>,
    body: Bytes,
    properties: BasicProperties,
}

impl Slip {
    /// Before 4.3 the broker counts a letter that is handed back as if its worker had died, and after some it is dead; and
    /// whoever waits for a store that is away hands back often. So a copy is published, and the letter acknowledged.
    async fn hand_back(&self, queue: Queue) -> Settlement {
        let mut copy = Letter { body: self.body.clone(), headers: headers(&self.properties) };
        let returns = returns(&self.properties);
        if returns > 0 {
            copy.headers.insert(RETURNS_BEFORE.into(), returns.to_string());
        }
        match self.publisher.publish(vec![(queue, copy)]).await {
            Ok(()) => Settlement::Ack,
            Err(_) => Settlement::Requeue,
        }
    }
}

#[async_trait]
impl Receipt for Slip {
    fn is_held(&self) -> bool {
        self.acker.usable() && self.lease.channel().is_some_and(|channel| channel.status().connected())
    }

    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), BrokerError> {
        let Some(channel) = self.lease.channel() else { return Err(BrokerError::LeaseLost) };
        let settlement = match (settlement, self.source) {
            (Settlement::Requeue, Source::Queue(queue @ Queue::Work(_))) => self.hand_back(queue).await,
            (settlement, _) => settlement,
        };
        let Slip { tag, acker, lease, .. } = *self;
        if !acker.usable() {
            lease.end();
            return Err(BrokerError::LeaseLost);
        }
        lease.settle(channel, tag, acker, settlement);
        Ok(())
    }
}
