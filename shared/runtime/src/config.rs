//! What a program of the cluster is told when it starts: one typed configuration for all of them.
//!
//! A value comes from its default, else from a file (`modiolus.toml`), else from the environment
//! (`MODIOLUS__SECTION__KEY`), else from the command line (`--set section.key=value`); the last one that has it wins. A key
//! that nobody knows is an error, so that a misspelt one is noticed. A secret is given as itself or as a file that holds
//! it, and is never shown. `docs/configuration.md` is made from the comments here.

mod open;
mod text;

#[cfg(test)]
mod page;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

use config::{Config, ConfigError, Environment, File, FileFormat};
use serde::Deserialize;

use crate::logging::Format;

pub use open::OpenError;
pub use text::SecretText;

/// The file that is read when none is named and this one is in the working folder.
pub const FILE: &str = "modiolus.toml";

/// What stands before each key in the environment.
const PREFIX: &str = "MODIOLUS";

/// What stands between the parts of a key in the environment.
const SEPARATOR: &str = "__";

/// The configuration of a program of the cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Configuration {
    /// The RabbitMQ that carries the jobs.
    pub broker: BrokerSection,
    /// Where objects lie: an S3 store, or a folder that all programs share.
    pub store: StoreSection,
    /// How much a worker does at a time.
    pub worker: WorkerSection,
    /// When models are trained anew: for `modiolus-console` only.
    pub training: TrainingSection,
    /// The review page: for `modiolus-console` only.
    pub console: ConsoleSection,
    /// The key of patients' pseudonyms: for `modiolus-filter` and `modiolus` only.
    pub pseudonyms: PseudonymsSection,
    /// Where a program tells how it is.
    pub http: HttpSection,
    /// Where a worker tells which job followed from which.
    pub traces: TracesSection,
    /// What a program writes to its standard error output. How much is said by `RUST_LOG`, default: `info`.
    pub log: LogSection,
}

/// The broker.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct BrokerSection {
    /// Where RabbitMQ listens: `amqp://HOST:PORT`, or `amqps://HOST:PORT` for TLS, without user, password and virtual host.
    /// Default: `amqp://rabbitmq:5672`.
    pub address: String,
    /// The virtual host. Two clusters on one broker need two. Default: `modiolus`.
    pub virtual_host: String,
    /// The user. Default: the program's stage; `console` for `modiolus-console`, `operator` for `modiolus`.
    pub user: Option<String>,
    /// The user's password; or give `password_file`. Default: none.
    pub password: Option<SecretText>,
    /// A file that holds the user's password. Default: none.
    pub password_file: Option<PathBuf>,
    /// A file with the certificates (PEM) of who vouches for the broker, for TLS. Default: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Where RabbitMQ's management interface listens, for `modiolus doctor` only: `http://HOST:PORT`, or `https://HOST:PORT`
    /// for TLS. Default: the broker's host, port 15672, or 15671 for TLS.
    pub management: Option<String>,
}

impl Default for BrokerSection {
    fn default() -> Self {
        Self {
            address: "amqp://rabbitmq:5672".into(),
            virtual_host: "modiolus".into(),
            user: None,
            password: None,
            password_file: None,
            ca_file: None,
            management: None,
        }
    }
}

/// The store.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct StoreSection {
    /// Where the S3 server listens: `http://HOST:PORT` or `https://HOST:PORT`. Default: `http://garage:3900`, unless `folder`
    /// is set.
    pub endpoint: Option<String>,
    /// A folder instead of an S3 server, for one machine. Default: none.
    pub folder: Option<PathBuf>,
    /// The S3 server's region. Default: `garage`.
    pub region: String,
    /// What stands before the names of the buckets. Default: `modiolus-`.
    pub bucket_prefix: String,
    /// The access key's id; or give `access_key_file`. Default: none.
    pub access_key: Option<String>,
    /// A file that holds the access key's id. Default: none.
    pub access_key_file: Option<PathBuf>,
    /// The access key's secret; or give `secret_key_file`. Default: none.
    pub secret_key: Option<SecretText>,
    /// A file that holds the access key's secret. Default: none.
    pub secret_key_file: Option<PathBuf>,
    /// A file with the certificates (PEM) of who vouches for the S3 server, for TLS. Default: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Where Garage tells its metrics, for `modiolus doctor` only: `http://HOST:PORT/metrics`. Default:
    /// `http://garage:3903/metrics`; none if `endpoint` is set.
    pub metrics: Option<String>,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            endpoint: None,
            folder: None,
            region: "garage".into(),
            bucket_prefix: "modiolus-".into(),
            access_key: None,
            access_key_file: None,
            secret_key: None,
            secret_key_file: None,
            ca_file: None,
            metrics: None,
        }
    }
}

/// A worker.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct WorkerSection {
    /// How many jobs are done at a time (a number of jobs, at least 1). Default: the number of cores; 1 for `modiolus-train`.
    pub slots: Option<NonZeroUsize>,
    /// After how many seconds without a job the worker ends by itself (at least 1), where something else starts one when there
    /// are jobs. Default: none, it waits for ever.
    pub idle_seconds: Option<NonZeroU64>,
}

/// Training by what people say of slices.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct TrainingSection {
    /// So many slices with new masks start a training (a number of slices, at least 1). Default: 5.
    pub annotations: NonZeroUsize,
    /// After so long, fewer do (hours). Default: 24.
    pub longest_wait_hours: u32,
    /// How often new masks are looked for (seconds, at least 1). Default: 60.
    pub look_seconds: NonZeroU32,
}

impl Default for TrainingSection {
    fn default() -> Self {
        Self {
            annotations: NonZeroUsize::MIN.saturating_add(4),
            longest_wait_hours: 24,
            look_seconds: NonZeroU32::MIN.saturating_add(59),
        }
    }
}

/// The review page.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct ConsoleSection {
    /// The address and port (TCP) that serve the page; in a container `0.0.0.0:8080`. Default: `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// The folder in which deliveries are unpacked until they are in the store. A delivery whose run was started stays there
    /// until then, also if the program is started again, so that it has to be a disk that stays. It has identity inside.
    /// Default: `/var/lib/modiolus/deliveries`.
    pub deliveries: PathBuf,
    /// How large one delivery may be unpacked (GiB, at least 1); its zip may be half of that. While it is unpacked, both lie
    /// in the folder. Default: 64.
    pub delivery_gib: NonZeroU32,
    /// Where people open the page, as `https://review.example.org`; requests for another name are refused. Default: none, any
    /// name will do.
    pub origin: Option<String>,
    /// The reverse proxies in front: addresses or networks, separated by commas, as `10.0.0.5, 10.1.0.0/16`. They are believed
    /// when they say for which address (`X-Forwarded-For`) and for whom they ask. Default: none.
    pub proxies: Option<String>,
    /// The header in which a proxy names who has logged in with it, as `X-Forwarded-User`. Default: none, people log in with
    /// accounts (`modiolus users`).
    pub proxy_header: Option<String>,
    /// What somebody may do whom a proxy names and who has no account: viewer, annotator or operator. Default: `viewer`.
    pub proxy_role: String,
}

impl Default for ConsoleSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            deliveries: "/var/lib/modiolus/deliveries".into(),
            delivery_gib: NonZeroU32::MIN.saturating_add(63),
            origin: None,
            proxies: None,
            proxy_header: None,
            proxy_role: "viewer".into(),
        }
    }
}

/// The key of the pseudonyms.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct PseudonymsSection {
    /// The key: 64 hexadecimal digits; or give `key_file`. Patients have other pseudonyms under another key. Default: none.
    pub key: Option<SecretText>,
    /// A file that holds the key. Default: none.
    pub key_file: Option<PathBuf>,
}

/// The interface for probes and metrics.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct HttpSection {
    /// The address and port (TCP) that serve `/livez`, `/readyz` and `/metrics`; in a container `0.0.0.0:9464`. Default:
    /// `127.0.0.1:9464`.
    pub listen: SocketAddr,
}

impl Default for HttpSection {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9464)) }
    }
}

/// Traces.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct TracesSection {
    /// The OpenTelemetry collector that is told a span for each job (OTLP over HTTP): `http://HOST:PORT`, its port is mostly
    /// 4318. Spans name stage, run, chunk, job and attempt, and nothing of a patient. Default: none, nobody is told.
    pub otlp_endpoint: Option<String>,
}

/// Logs.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// `json`, one object per line, or `text`, for people. Default: `json`.
    pub format: Format,
}

/// A configuration that can't be right: names the key and says what to do. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {0}")]
pub struct ConfigurationError(String);

impl ConfigurationError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl Configuration {
    /// The configuration of this process: defaults, then the file (the one named, else [`FILE`] if it is there), then the
    /// environment, then `settings`, each as `section.key=value`.
    ///
    /// # Errors
    /// When a source can't be read, has an unknown key or a value of another type, or when two keys exclude each other.
    pub fn load(file: Option<&Path>, settings: &[String]) -> Result<Self, ConfigurationError> {
        let environment = Environment::with_prefix(PREFIX).prefix_separator(SEPARATOR).separator(SEPARATOR);
        Self::of(file, environment.ignore_empty(true), settings)
    }

    fn of(
        file: Option<&Path>,
        environment: Environment,
        settings: &[String],
    ) -> Result<Self, ConfigurationError> {
        let file = match file {
            Some(file) => File::from(file).format(FileFormat::Toml).required(true),
            None => File::new(FILE, FileFormat::Toml).required(false),
        };
        let mut sources = Config::builder().add_source(file).add_source(environment);
        for setting in settings {
            let (key, value) = split(setting)?;
            sources = sources.set_override(key, value).map_err(|error| refused(&error))?;
        }
        let all = sources.build().map_err(|error| refused(&error))?;
        let configuration: Self = all.try_deserialize().map_err(|error| refused(&error))?;
        configuration.check()?;
        Ok(configuration)
    }

    /// Finds keys that exclude each other.
    fn check(&self) -> Result<(), ConfigurationError> {
        let Self { broker, store, pseudonyms, .. } = self;
        text::not_both("broker.password", broker.password.as_ref(), &broker.password_file)?;
        text::not_both("store.access_key", store.access_key.as_ref(), &store.access_key_file)?;
        text::not_both("store.secret_key", store.secret_key.as_ref(), &store.secret_key_file)?;
        text::not_both("pseudonyms.key", pseudonyms.key.as_ref(), &pseudonyms.key_file)?;
        if store.endpoint.is_some() && store.is_folder() {
            let text = "store.endpoint and store.folder are both set: an S3 server or a folder, remove one";
            return Err(ConfigurationError::new(text));
        }
        Ok(())
    }
}

/// `section.key=value`.
fn split(setting: &str) -> Result<(&str, &str), ConfigurationError> {
    let Some((key, value)) = setting.split_once('=') else {
        // Perhaps a secret: not shown.
        return Err(ConfigurationError::new("--set wants section.key=value, such as worker.slots=2"));
    };
    if matches!(key, "broker.password" | "store.secret_key" | "pseudonyms.key") {
        let text = format!(
            "{key} can't be given by --set, since everyone on this machine can see a command line: use {key}_file"
        );
        return Err(ConfigurationError::new(text));
    }
    Ok((key, value))
}

/// The error in words. Where a file can't be parsed, the parser's error shows the line, and perhaps a secret in it: only
/// where it is goes into ours.
fn refused(error: &ConfigError) -> ConfigurationError {
    let text = match error {
        ConfigError::FileParse { uri, cause } => {
            let cause = cause.to_string();
            let first = cause.lines().next().unwrap_or("it can't be read");
            format!(
                "{}: {first}: a text stands in quotes there, a section in brackets",
                uri.as_deref().unwrap_or(FILE)
            )
        }
        other => format!("{other}; docs/configuration.md has all keys"),
    };
    ConfigurationError(text)
}
