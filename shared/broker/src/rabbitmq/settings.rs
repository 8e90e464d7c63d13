//! Where the broker is and who we are there.

use std::fmt;
use std::time::Duration;

use lapin::auth::AuthProvider;
use lapin::tcp::OwnedTLSConfig;
use lapin::types::{LongString, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{ConnectionProperties, uri::AMQPUserInfo};

use crate::BrokerError;

/// How long to try, and to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often each side says that it is still there, in seconds; a connection that is silent for twice as long is lost.
const HEARTBEAT_S: u16 = 20;

/// Where the broker is and who we are there. Neither address nor password is ever shown.
#[derive(Clone)]
pub struct Settings {
    /// Without user and password: lapin writes the address into its own trace.
    address: AMQPUri,
    credentials: Credentials,
    ca: Option<String>,
    name: String,
    patience: Duration,
}

impl Settings {
    /// The settings that an address has: `amqp://USER:PASSWORD@HOST:PORT/VHOST`, or `amqps://` for TLS. The certificate must
    /// come from an authority that the system knows, or from [`Settings::with_ca`].
    ///
    /// # Errors
    /// [`BrokerError::Refused`] when it has another form.
    pub fn parse(address: &str) -> Result<Self, BrokerError> {
        // The parser's own error shows the address, and with it the password.
        let mut address: AMQPUri = address.parse().map_err(|_| {
            BrokerError::Refused(
                "the broker's address must have the form amqp://USER:PASSWORD@HOST:5672/VHOST, or amqps://"
                    .into(),
            )
        })?;
        let AMQPUserInfo { username: user, password } = std::mem::replace(
            &mut address.authority.userinfo,
            AMQPUserInfo { username: String::new(), password: String::new() },
        );
        address.query.heartbeat.get_or_insert(HEARTBEAT_S);
        let name = format!("modiolus {}", std::process::id());
        Ok(Self { address, credentials: Credentials { user, password }, ca: None, name, patience: PATIENCE })
    }

    /// The settings with another user, for those who keep passwords apart from addresses.
    #[must_use]
    pub fn with_credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Credentials { user: user.into(), password: password.into() };
        self
    }

    /// The settings with certificates (PEM) of an authority of one's own.
    #[must_use]
    pub fn with_ca(mut self, pem: impl Into<String>) -> Self {
        self.ca = Some(pem.into());
        self
    }

    /// The settings with a name by which people find the connections at the broker.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The settings with another patience than 30 s: how long to try to connect, and how long to wait for the broker's answer
    /// to one call or for confirmations. Publishing where both are needed takes twice as long at most.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    pub(super) fn address(&self) -> AMQPUri {
        self.address.clone()
    }

    pub(super) fn tls(&self) -> OwnedTLSConfig {
        OwnedTLSConfig { identity: None, cert_chain: self.ca.clone() }
    }

    pub(super) fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    pub(super) fn vhost(&self) -> &str {
        &self.address.vhost
    }

    pub(super) fn credentials(&self) -> (&str, &str) {
        (&self.credentials.user, &self.credentials.password)
    }

    /// Where RabbitMQ has its management interface if nobody says otherwise.
    pub(super) fn management_address(&self) -> String {
        let host = &self.address.authority.host;
        match self.address.scheme {
            AMQPScheme::AMQP => format!("http://{host}:15672"),
            AMQPScheme::AMQPS => format!("https://{host}:15671"),
        }
    }

    pub(super) fn properties(&self, purpose: &str) -> ConnectionProperties {
        ConnectionProperties::default()
            .with_connection_name(format!("{} {purpose}", self.name).into())
            .with_client_property("product".into(), "modiolus".into())
            .with_auth_provider(self.credentials.clone())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Credentials {
    user: String,
    password: String,
}

impl AuthProvider for Credentials {
    fn mechanism(&self) -> ShortString {
        "PLAIN".into()
    }

    fn auth_starter(&self) -> Result<LongString, String> {
        Ok(format!("\0{}\0{}", self.user, self.password).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_never_show_address_or_password() {
        let settings = Settings::parse("amqp://someone:s3cret@a-host:5672/place").unwrap();
        let shown = format!("{settings:?} {:?}", settings.address());
        assert!(!shown.contains("s3cret") && !shown.contains("someone"), "{shown}");
        for bad in ["http://someone:s3cret@a-host", "amqp://someone:s3cret@a-host:port", "s3cret"] {
            let error = Settings::parse(bad).unwrap_err().to_string();
            assert!(!error.contains("s3cret") && !error.contains("a-host"), "{error}");
        }
    }
}
