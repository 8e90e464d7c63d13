//! RabbitMQ, by AMQP 0-9-1: the broker of a cluster.
//!
//! Letters are published on one connection and taken on another, since the broker slows publishers down where it has to. A
//! connection that is lost is made again with growing, jittered pauses; what was under way on it fails at once, and the
//! caller does it again. Nothing waits for ever: see [`Settings::with_patience`].
//!
//! Queues, policies and users are made by [`definitions`], not from here: a worker's user may not configure anything.

mod consumer;
pub mod definitions;
mod errors;
mod events;
mod lease;
mod letter;
mod link;
pub mod management;
mod publisher;
mod settings;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use modiolus_pipeline::StageName;
use modiolus_pipeline::message::MAX_MESSAGE_BYTES;
use modiolus_pipeline::topology::Queue;

pub use settings::Settings;

use crate::{Broker, BrokerError, Consumer, Events, Letter};
use consumer::Source;
use link::Link;
use publisher::Publisher;

/// A RabbitMQ broker. Clones share its connections, which close when the last is dropped.
#[derive(Clone)]
pub struct RabbitMq {
    consuming: Arc<Link>,
    publisher: Arc<Publisher>,
    teller: events::Teller,
}

impl RabbitMq {
    /// A broker to which both connections are made. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] when the user, its password or the virtual host is wrong; [`BrokerError::Unavailable`] when
    /// the broker could not be reached in time.
    pub async fn connect(settings: Settings) -> Result<Self, BrokerError> {
        let settings = Arc::new(settings);
        let publishing = Arc::new(Link::new(settings.clone(), "publish"));
        let consuming = Arc::new(Link::new(settings, "consume"));
        futures::try_join!(publishing.channel(), consuming.channel())?;
        let publisher = Arc::new(Publisher::new(publishing.clone()));
        Ok(Self { consuming, publisher, teller: events::Teller::new(publishing) })
    }

    /// Closes both connections when what was settled is written: the orderly end of a process. Without it, the last acks
    /// may not arrive, and their letters come again. (So they may with it, where a subscription had more than 32 acks under
    /// way: a quorum queue takes no more of a channel at a time.)
    pub async fn close(self) {
        futures::join!(self.publisher.close(), self.consuming.close());
    }

    /// The names of the queues that the broker lacks. What else differs from the table only the management interface
    /// tells: see [`management::Management::drift`].
    ///
    /// # Errors
    /// When the broker can't be reached.
    pub async fn missing_queues(&self) -> Result<Vec<String>, BrokerError> {
        let mut missing = Vec::new();
        for name in definitions::queue_names() {
            // A queue that isn't there closes the channel, so each has its own.
            let channel = self.consuming.channel().await?;
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            let declared = channel.queue_declare(name.as_str().into(), options, FieldTable::default());
            match self.consuming.bounded(declared).await {
                Ok(_) => {}
                Err(error) if errors::is_missing(&error) => missing.push(name),
                Err(error) => return Err(errors::translate(&error, &format!("looking at queue {name}"))),
            }
        }
        Ok(missing)
    }

    async fn subscribe(&self, source: Source, prefetch: usize) -> Result<Box<dyn Consumer>, BrokerError> {
        Ok(Box::new(consumer::subscribe(&self.consuming, &self.publisher, source, prefetch).await?))
    }
}

#[async_trait]
impl Broker for RabbitMq {
    async fn publish_all(&self, letters: Vec<(Queue, Letter)>) -> Result<(), BrokerError> {
        if let Some((queue, letter)) =
            letters.iter().find(|(_, letter)| letter.body.len() > MAX_MESSAGE_BYTES)
        {
            return Err(BrokerError::too_large(*queue, letter.body.len()));
        }
        self.publisher.publish(letters).await
    }

    async fn consume(&self, queue: Queue, prefetch: usize) -> Result<Box<dyn Consumer>, BrokerError> {
        self.subscribe(Source::Queue(queue), prefetch).await
    }

    async fn deaths(&self, stage: StageName, prefetch: usize) -> Result<Box<dyn Consumer>, BrokerError> {
        self.subscribe(Source::Deaths(stage), prefetch).await
    }

    fn tell(&self, event: Bytes) {
        self.teller.tell(event);
    }

    async fn events(&self) -> Result<Box<dyn Events>, BrokerError> {
        Ok(Box::new(events::listen(&self.consuming).await?))
    }
}
