//! From a configuration to a broker, a store and the secret of the pseudonyms.

use std::sync::Arc;

use modiolus_broker::rabbitmq::Settings;
use modiolus_broker::{BrokerError, RabbitMq};
use modiolus_pipeline::{Digest, Secret};
use modiolus_store::{FolderStore, ObjectStore, S3Options, S3Store, StoreError};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::text::{certificates, given, required};
use super::{
    BrokerSection, Configuration, ConfigurationError, PseudonymsSection, SecretText, StoreSection,
    TracesSection,
};
use crate::trace::Traces;

/// What is escaped in a virtual host's name as part of an address.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Where the S3 server of the compose file listens.
const ENDPOINT: &str = "http://garage:3900";

/// Where it tells its metrics.
const METRICS: &str = "http://garage:3903/metrics";

/// The broker or the store could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The configuration can't be right.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// The broker could not be reached, or refuses us.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The store can't be what the configuration says, or could not be reached, or refuses us.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// Whether another attempt may succeed with the same configuration.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Configuration(_) => false,
            Self::Broker(error) => matches!(error, BrokerError::Unavailable(_)),
            Self::Store(error) => error.is_retryable(),
        }
    }
}

impl Configuration {
    /// Connects to the broker, as `user` unless the configuration names another. Tries for half a minute. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// When the configuration lacks something, or as [`RabbitMq::connect`].
    pub async fn open_broker(&self, user: &str) -> Result<RabbitMq, OpenError> {
        let name = format!("modiolus-{user} {}", std::process::id());
        Ok(RabbitMq::connect(self.broker.settings(user)?.with_name(name)).await?)
    }

    /// The store. A folder is made if it isn't there; an S3 server is asked nothing yet.
    ///
    /// # Errors
    /// When the configuration lacks something or can't be right.
    pub fn open_store(&self) -> Result<Arc<dyn ObjectStore>, OpenError> {
        if let Some(folder) = given(&self.store.folder) {
            return Ok(Arc::new(FolderStore::new(folder)?));
        }
        Ok(Arc::new(S3Store::new(self.store.s3_options()?)?))
    }
}

impl BrokerSection {
    /// How to connect, as `user` unless the configuration names another.
    ///
    /// # Errors
    /// When the address has another form, or the password or a file is missing.
    pub fn settings(&self, user: &str) -> Result<Settings, ConfigurationError> {
        let host = self.address.strip_prefix("amqp://").or_else(|| self.address.strip_prefix("amqps://"));
        let is_bare = |host: &&str| !host.is_empty() && !host.contains(['@', '/', '?', '#', ' ']);
        let bad = || {
            // It may hold a password: not shown.
            ConfigurationError::new(
                "broker.address must be amqp://HOST:PORT or amqps://HOST:PORT and nothing more: user, password and \
                 virtual host have keys of their own",
            )
        };
        host.filter(is_bare).ok_or_else(bad)?;
        let address = format!("{}/{}", self.address, utf8_percent_encode(&self.virtual_host, ESCAPED));
        let password = self.password.as_ref().map(SecretText::reveal);
        let password = required("broker.password", password, &self.password_file)?;
        let settings = Settings::parse(&address).map_err(|_| bad())?;
        let settings = settings.with_credentials(self.user.as_deref().unwrap_or(user), password);
        match given(&self.ca_file) {
            Some(file) => Ok(settings.with_ca(certificates("broker.ca_file", file)?)),
            None => Ok(settings),
        }
    }
}

impl StoreSection {
    /// Whether objects lie in a folder.
    pub fn is_folder(&self) -> bool {
        given(&self.folder).is_some()
    }

    /// Where the S3 server tells its metrics, if anybody knows.
    pub fn metrics(&self) -> Option<&str> {
        let usual = self.endpoint.is_none().then_some(METRICS);
        self.metrics.as_deref().or(usual).filter(|metrics| !metrics.is_empty())
    }

    /// How to reach the S3 server.
    ///
    /// # Errors
    /// When the access key, its secret or a file is missing.
    pub fn s3_options(&self) -> Result<S3Options, ConfigurationError> {
        let endpoint = self.endpoint.as_deref().unwrap_or(ENDPOINT);
        let access_key = required("store.access_key", self.access_key.as_deref(), &self.access_key_file)?;
        let secret_key = self.secret_key.as_ref().map(SecretText::reveal);
        let secret_key = required("store.secret_key", secret_key, &self.secret_key_file)?;
        let mut options = S3Options::new(endpoint, access_key, secret_key);
        options.region.clone_from(&self.region);
        options.bucket_prefix.clone_from(&self.bucket_prefix);
        options.ca_file = given(&self.ca_file).map(ToOwned::to_owned);
        Ok(options)
    }
}

impl TracesSection {
    /// The traces of a program.
    ///
    /// # Errors
    /// When the collector's address has another form.
    pub fn open(&self, name: &'static str, version: &'static str) -> Result<Traces, ConfigurationError> {
        let Some(endpoint) = self.otlp_endpoint.as_deref() else { return Ok(Traces::default()) };
        let bad = || {
            // It may hold a password: not shown.
            ConfigurationError::new(
                "traces.otlp_endpoint must be http://HOST:PORT and nothing more: the address of an OpenTelemetry collector \
                 in the cluster's own network, which passes traces on by whatever way they are to go",
            )
        };
        let host = endpoint.strip_prefix("http://").map(|host| host.trim_end_matches('/'));
        let host = host.filter(|host| !host.is_empty() && !host.contains(['@', '/', '?', '#', ' ']));
        Traces::told_to(&format!("http://{}/v1/traces", host.ok_or_else(bad)?), name, version)
            .map_err(|_| bad())
    }
}

impl PseudonymsSection {
    /// The secret of the pseudonyms.
    ///
    /// # Errors
    /// When there is none, or it is no key.
    pub fn secret(&self) -> Result<Secret, ConfigurationError> {
        let key = self.key.as_ref().map(SecretText::reveal);
        let key = required("pseudonyms.key", key, &self.key_file)?;
        let bad = || ConfigurationError::new("pseudonyms.key is no key: it has to be 64 hexadecimal digits");
        let key: Digest = key.parse().map_err(|_| bad())?;
        Ok(Secret::new(*key.as_bytes()))
    }
}
