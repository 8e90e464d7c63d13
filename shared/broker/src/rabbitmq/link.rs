//! One connection, made again whenever it is lost.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use lapin::{Channel, Connection};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::errors::{translate, translate_connecting};
use super::settings::Settings;
use crate::BrokerError;

/// How long one attempt to connect may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// The first and the longest pause between attempts, before jitter.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// A connection for one purpose.
pub(super) struct Link {
    settings: Arc<Settings>,
    purpose: &'static str,
    current: Mutex<Option<Connection>>,
}

impl Link {
    pub(super) fn new(settings: Arc<Settings>, purpose: &'static str) -> Self {
        Self { settings, purpose, current: Mutex::new(None) }
    }

    pub(super) fn patience(&self) -> Duration {
        self.settings.patience()
    }

    /// A new channel, on a new connection where the old one is lost. Tries until patience ends or the broker refuses us.
    pub(super) async fn channel(&self) -> Result<Channel, BrokerError> {
        let [first, longest] = PAUSES;
        let pauses = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(first)
            .with_max_delay(longest)
            .without_max_times()
            .with_total_delay(Some(self.patience()));
        let tries = (|| self.try_channel()).retry(pauses);
        tries.when(|error| matches!(error, BrokerError::Unavailable(_))).await
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

    /// The call, given up when patience ends.
    pub(super) async fn bounded<T>(&self, call: impl Future<Output = lapin::Result<T>>) -> lapin::Result<T> {
        timeout(self.patience(), call).await.unwrap_or_else(|_| Err(timed_out()))
    }
}

fn timed_out() -> lapin::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it does not answer").into()
}
