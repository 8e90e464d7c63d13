//! Subscriptions, each on a channel of its own, so that one that fails takes no other with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use lapin::Acker;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use modiolus_pipeline::StageName;
use modiolus_pipeline::message::MAX_MESSAGE_BYTES;
use modiolus_pipeline::topology::Queue;

use super::definitions::deaths_queue;
use super::errors::translate;
use super::letter::{headers, returns};
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
    let (link, publisher) = (link.clone(), publisher.clone());
    let lease = Arc::new(Lease { channel: Mutex::new(Some(channel)), link, publisher });
    Ok(Subscription { letters, source, lease })
}

/// A channel with a consumer.
pub(super) async fn open(
    link: &Link,
    queue: &str,
    prefetch: usize,
    arguments: FieldTable,
) -> Result<(Channel, lapin::Consumer), BrokerError> {
    let channel = link.channel().await?;
    let prefetch = prefetch.clamp(1, MAX_PREFETCH) as u16;
    let consuming = async {
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), arguments).await
    };
    let consumer = link.bounded(consuming).await;
    let consumer = consumer.map_err(|error| translate(&error, &format!("taking from queue {queue}")))?;
    Ok((channel, consumer))
}

/// The right to settle what a subscription gave out.
struct Lease {
    /// Nothing when it has ended. The channel closes when the last of its clones is dropped.
    channel: Mutex<Option<Channel>>,
    link: Arc<Link>,
    publisher: Arc<Publisher>,
}

impl Lease {
    fn channel(&self) -> MutexGuard<'_, Option<Channel>> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        drop(self.channel().take());
    }
}

/// A subscription. Dropping it closes its channel, after what was settled is written.
pub(super) struct Subscription {
    letters: lapin::Consumer,
    source: Source,
    lease: Arc<Lease>,
}

impl Subscription {
    /// A letter from elsewhere that is too large goes to the dead as it is, before anybody reads it.
    async fn bury(&self, delivery: lapin::message::Delivery) {
        let (queue, bytes) = (self.source.name(), delivery.data.len());
        tracing::error!(%queue, bytes, "a message is larger than any job and is moved to the dead");
        // If this fails the channel is closed, and the message comes again.
        let _ = delivery.acker.reject(BasicRejectOptions { requeue: false }).await;
    }

    fn delivery(&self, delivery: lapin::message::Delivery) -> Delivery {
        let lapin::message::Delivery { data, properties, acker, .. } = delivery;
        let body = Bytes::from(data);
        let letter = Letter { body: body.clone(), headers: headers(&properties) };
        let returns = returns(&properties);
        let slip = Slip { acker, source: self.source, lease: self.lease.clone(), body, properties };
        Delivery::new(letter, returns, Box::new(slip))
    }
}

#[async_trait]
impl Consumer for Subscription {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            let Some(Ok(delivery)) = self.letters.next().await else {
                self.lease.end();
                return None;
            };
            // The dead are for people, who may see anything.
            let for_people = matches!(self.source, Source::Queue(Queue::Dead(_)));
            if delivery.data.len() <= MAX_MESSAGE_BYTES || for_people {
                return Some(self.delivery(delivery));
            }
            self.bury(delivery).await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.lease.end();
    }
}

struct Slip {
    acker: Acker,
    source: Source,
    lease: Arc<Lease>,
    body: Bytes,
    properties: BasicProperties,
}

impl Slip {
    /// Before 4.3 the broker counts a letter that is handed back as if its worker had died, and after some it is dead; and
    /// whoever waits for a store that is away hands back often. So a copy is published, and the letter acknowledged.
    async fn hand_back(&self, queue: Queue) -> Settlement {
        let copy = Letter { body: self.body.clone(), headers: headers(&self.properties) };
        match self.lease.publisher.publish(vec![(queue, copy)]).await {
            Ok(()) => Settlement::Ack,
            Err(_) => Settlement::Requeue,
        }
    }
}

#[async_trait]
impl Receipt for Slip {
    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), BrokerError> {
        let Some(channel) = self.lease.channel().clone() else { return Err(BrokerError::LeaseLost) };
        let settlement = match (settlement, self.source) {
            (Settlement::Requeue, Source::Queue(queue @ Queue::Work(_))) => self.hand_back(queue).await,
            (settlement, _) => settlement,
        };
        let Slip { acker, lease, .. } = *self;
        if !acker.usable() {
            lease.end();
            return Err(BrokerError::LeaseLost);
        }
        // The broker doesn't answer, so that waiting until it is written would say no more, and cost much. When it doesn't
        // arrive the subscription ends, and the letter comes again.
        lease.link.write_by_itself(async move {
            let _ = tell_broker(&acker, settlement).await;
            drop(channel);
        });
        Ok(())
    }
}

async fn tell_broker(acker: &Acker, settlement: Settlement) -> lapin::Result<bool> {
    match settlement {
        Settlement::Ack => acker.ack(BasicAckOptions::default()).await,
        Settlement::Reject => acker.reject(BasicRejectOptions { requeue: false }).await,
        Settlement::Requeue => acker.nack(BasicNackOptions { requeue: true, ..Default::default() }).await,
    }
}
