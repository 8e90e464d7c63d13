//! Events: a stream that everyone may read from now on, written without confirmations.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
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
        let writing = async {
            join_all(events.map(|event| write(open, event))).await.into_iter().collect::<lapin::Result<()>>()
        };
        if link.bounded(writing).await.is_err() {
            channel = None;
        }
    }
}

async fn write(channel: &Channel, event: Bytes) -> lapin::Result<()> {
    let options = BasicPublishOptions::default();
    channel
        .basic_publish(EVENTS.into(), "".into(), options, &event, BasicProperties::default())
        .await
        .map(drop)
}

/// Listens from now on.
pub(super) async fn listen(link: &Link) -> Result<Listener, BrokerError> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), AMQPValue::LongString("next".into()));
    let (channel, events) = open(link, EVENTS, AT_A_TIME, arguments).await?;
    Ok(Listener { events, _channel: channel })
}

/// The reading side.
pub(super) struct Listener {
    events: lapin::Consumer,
    _channel: Channel,
}

#[async_trait]
impl Events for Listener {
    async fn next(&mut self) -> Option<Bytes> {
        let delivery = self.events.next().await?.ok()?;
        // Streams keep what was read; this only asks for more.
        let _ = delivery.acker.ack(BasicAckOptions::default()).await;
        Some(delivery.data.into())
    }
}
