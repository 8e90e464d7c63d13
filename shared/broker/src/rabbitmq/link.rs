//! One connection, made again whenever it is lost.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use lapin::{Channel, Connection};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::errors::{translate, translate_connecting};
use super::settings::Settings;
use crate::BrokerError;

/// How long one attempt to connect may take. lapin keeps a thread for each that was given up, until the other side speaks or
/// is gone, so that it is not short.
const ATTEMPT: Duration = Duration::from_secs(20);

/// Nothing is wrong (AMQP 0-9-1, section 1.2).
const REPLY_SUCCESS: u16 = 200;

/// The first and the longest pause between attempts, before jitter.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// A connection for one purpose.
pub(super) struct Link {
    settings: Arc<Settings>,
    purpose: &'static str,
    current: Mutex<Option<Connection>>,
    /// What is being written without anybody who waits for it.
    writing: TaskTracker,
}

impl Link {
    pub(super) fn new(settings: Arc<Settings>, purpose: &'static str) -> Self {
        Self { settings, purpose, current: Mutex::new(None), writing: TaskTracker::new() }
    }

    pub(super) fn patience(&self) -> Duration {
        self.settings.patience()
    }

    /// A new channel, on a new connection where the old one is lost. Tries until patience ends or the broker refuses us.
    pub(super) async fn channel(&self) -> Result<Channel, BrokerError> {
        let [first, longest] = PAUSES;
        let patience = self.patience();
        let pauses = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(first)
            .with_max_delay(longest)
            .without_max_times()
            .with_total_delay(Some(patience));
        let tries = (|| self.try_channel()).retry(pauses);
        let tries = tries.when(|error| matches!(error, BrokerError::Unavailable(_)));
        // The pauses alone take as long as that; an attempt to which nobody answers comes on top.
        timeout(patience + ATTEMPT.min(patience), tries)
            .await
            .unwrap_or_else(|_| Err(translate_connecting(&timed_out())))
    }

    async fn try_channel(&self) -> Result<Channel, BrokerError> {
        let mut current = self.current.lock().await;
        let lives = |connection: &Connection| connection.status().connected();
        if !current.as_ref().is_some_and(lives) {
            *current = None;
            *current = Some(self.connect().await?);
        }
        let connection = current.as_ref().expect("a connection that was just made or seen");
        match self.bounded(connection.create_channel()).await {
            Ok(channel) => Ok(channel),
            Err(error) => {
                // A connection that gives no channel is of no use, whatever it says of itself.
                *current = None;
                Err(translate(&error, "opening a channel"))
            }
        }
    }

    async fn connect(&self) -> Result<Connection, BrokerError> {
        let runtime = lapin::runtime::default_runtime().map_err(|error| translate_connecting(&error))?;
        let connecting = Connection::connect_uri_with_config(
            self.settings.address(),
            self.settings.properties(self.purpose),
            self.settings.tls(),
            runtime,
        );
        let connection =
            timeout(ATTEMPT.min(self.patience()), connecting).await.unwrap_or_else(|_| Err(timed_out()));
        connection.map_err(|error| translate_connecting(&error))
    }

    /// Lets a write go on by itself.
    pub(super) fn write_by_itself(&self, write: impl Future<Output = ()> + Send + 'static) {
        self.writing.spawn(write);
    }

    /// Closes the connection when all is written, or patience ends.
    pub(super) async fn close(&self) {
        self.writing.close();
        let closing = async {
            self.writing.wait().await;
            let connection = self.current.lock().await.take();
            if let Some(connection) = connection {
                // A connection that is lost is closed as well.
                let _ = connection.close(REPLY_SUCCESS, "OK".into()).await;
            }
        };
        let _ = timeout(self.patience(), closing).await;
    }

    /// The call, given up when patience ends.
    pub(super) async fn bounded<T>(&self, call: impl Future<Output = lapin::Result<T>>) -> lapin::Result<T> {
        timeout(self.patience(), call).await.unwrap_or_else(|_| Err(timed_out()))
    }
}

fn timed_out() -> lapin::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it does not answer").into()
}
