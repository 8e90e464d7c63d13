//! Events: a stream that everyone may read from now on, written without confirmations.
//!
//! A message holds all events that waited to be written, each after its length (4 bytes, big endian): a job tells an event
//! at its end at least, and a message for each would cost the broker as much as the job's own.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::StreamExt;
use lapin::options::{BasicAckOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use tokio::sync::mpsc;

use super::consumer::open;
use super::definitions::EVENTS;
use super::link::Link;
use crate::{BrokerError, Events};

/// How many events wait while the broker is slow or away; what comes then is lost.
const WAITING: usize = 4096;

/// How many are written or read at a time.
const AT_A_TIME: usize = 256;

/// The writing side.
#[derive(Clone)]
pub(super) struct Teller(mpsc::Sender<Bytes>);

impl Teller {
    /// Starts a task that ends with the last teller.
    pub(super) fn new(link: Arc<Link>) -> Self {
        let (events, told) = mpsc::channel(WAITING);
        tokio::spawn(pass_on(link, told));
        Self(events)
    }

    pub(super) fn tell(&self, event: Bytes) {
        // Fails when too many wait: events may be lost.
        let _ = self.0.try_send(event);
    }
}

async fn pass_on(link: Arc<Link>, mut told: mpsc::Receiver<Bytes>) {
    let mut channel: Option<Channel> = None;
    let mut events = Vec::new();
    while told.recv_many(&mut events, AT_A_TIME).await > 0 {
        if channel.is_none() {
            channel = link.channel().await.ok();
        }
        let events = events.drain(..);
        let Some(open) = &channel else { continue };
        if link.bounded(write(open, &packed(events))).await.is_err() {
            channel = None;
        }
    }
}

async fn write(channel: &Channel, events: &[u8]) -> lapin::Result<()> {
    let options = BasicPublishOptions::default();
    channel
        .basic_publish(EVENTS.into(), "".into(), options, events, BasicProperties::default())
        .await
        .map(drop)
}

/// Events as one message.
fn packed(events: impl Iterator<Item = Bytes>) -> BytesMut {
    let mut message = BytesMut::new();
    for event in events {
        message.put_u32(u32::try_from(event.len()).expect("an event fits in memory"));
        message.put(event);
    }
    message
}

/// The events of a message, as far as it is whole.
fn unpacked(mut message: Bytes) -> VecDeque<Bytes> {
    let mut events = VecDeque::new();
    while message.remaining() >= 4 {
        let length = message.get_u32() as usize;
        if length > message.remaining() {
            break;
        }
        events.push_back(message.split_to(length));
    }
    events
}

/// Listens from now on.
pub(super) async fn listen(link: &Link) -> Result<Listener, BrokerError> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), AMQPValue::LongString("next".into()));
    let (channel, events) = open(link, EVENTS, AT_A_TIME, arguments).await?;
    Ok(Listener { messages: events, unread: VecDeque::new(), _channel: channel })
}

/// The reading side.
pub(super) struct Listener {
    messages: lapin::Consumer,
    unread: VecDeque<Bytes>,
    _channel: Channel,
}

#[async_trait]
impl Events for Listener {
    async fn next(&mut self) -> Option<Bytes> {
        while self.unread.is_empty() {
            let delivery = self.messages.next().await?.ok()?;
            self.unread = unpacked(delivery.data.into());
            // Streams keep what was read; this only asks for more.
            let _ = delivery.acker.ack(BasicAckOptions::default()).await;
        }
        self.unread.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_holds_events_in_their_order_and_a_torn_one_those_that_are_whole() {
        let events = [Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"three")];
        let message = packed(events.clone().into_iter()).freeze();
        assert_eq!(unpacked(message.clone()), events);
        assert_eq!(unpacked(message.slice(..message.len() - 1)), events[..2].to_vec());
        assert_eq!(unpacked(Bytes::from_static(b"\xff\xff\xff\xffx")), VecDeque::<Bytes>::new());
    }
}
