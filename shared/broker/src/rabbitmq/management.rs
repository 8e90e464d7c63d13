//! What RabbitMQ's management interface tells somebody who looks after a cluster: whether all is set up as the table of queues
//! says, and how much room the broker has. It needs a user who may look (`monitoring`), and changes nothing.

use std::sync::Arc;

use base64::Engine;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::{Settings, definitions};
use crate::BrokerError;

/// What a virtual host is made of, each kind with what has to be asked for it. Statistics come late and are old, so they are
/// left out: what is set is known at once.
const KINDS: [(&str, &str); 4] = [
    ("exchanges", ""),
    ("queues", "?disable_stats=true&enable_queue_totals=true"),
    ("bindings", ""),
    ("policies", ""),
];

/// A broker's management interface.
#[derive(Clone)]
pub struct Management {
    agent: ureq::Agent,
    address: String,
    vhost: String,
    authorization: String,
}

/// One server of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Free space where its data lie and the least that it wants there, in bytes; `None` until it has counted.
    pub disk: Option<(u64, u64)>,
    /// It has less than it wants.
    pub is_short_of_disk: bool,
    /// It uses more memory than it may.
    pub is_short_of_memory: bool,
}

impl Management {
    /// The interface of the broker that the settings name, with their user and authority; at `address`
    /// (`http://HOST:PORT`, `https://HOST:PORT`), or at the broker's own host and RabbitMQ's usual port.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] when the authority's certificates can't be read.
    pub fn new(settings: &Settings, address: Option<&str>) -> Result<Self, BrokerError> {
        let (user, password) = settings.credentials();
        let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(settings.patience()))
            .http_status_as_error(false)
            // No proxy: the password is for the broker only.
            .proxy(None)
            .tls_config(tls(settings.ca())?);
        let address = address.map_or_else(|| settings.management_address(), ToOwned::to_owned);
        Ok(Self {
            agent: config.build().new_agent(),
            address: address.trim_end_matches('/').to_owned(),
            vhost: utf8_percent_encode(settings.vhost(), NON_ALPHANUMERIC).to_string(),
            authorization: format!("Basic {credentials}"),
        })
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How the virtual host differs from the table of queues: see [`definitions::drift`].
    ///
    /// # Errors
    /// When it does not answer, or refuses the user.
    pub async fn drift(&self) -> Result<Vec<String>, BrokerError> {
        let mut live = Map::new();
        for (kind, query) in KINDS {
            live.insert(kind.to_owned(), self.get(format!("{kind}/{}{query}", self.vhost)).await?);
        }
        Ok(definitions::drift(&Value::Object(live)))
    }

    /// The servers of the broker.
    ///
    /// # Errors
    /// When it does not answer, or refuses the user.
    pub async fn nodes(&self) -> Result<Vec<Node>, BrokerError> {
        let nodes = self.get("nodes".into()).await?;
        Ok(nodes.as_array().into_iter().flatten().map(node).collect())
    }

    async fn get(&self, path: String) -> Result<Value, BrokerError> {
        let this = self.clone();
        let asked = tokio::task::spawn_blocking(move || this.ask(&path));
        asked.await.map_err(|error| BrokerError::Unavailable(error.to_string()))?
    }

    fn ask(&self, path: &str) -> Result<Value, BrokerError> {
        let request = self.agent.get(format!("{}/api/{path}", self.address));
        let answer = request.header("authorization", &self.authorization).call();
        let unavailable = |error: ureq::Error| BrokerError::Unavailable(error.to_string());
        let mut answer = answer.map_err(unavailable)?;
        match answer.status().as_u16() {
            200 => answer.body_mut().read_json().map_err(unavailable),
            401 | 403 => Err(BrokerError::Refused("this user may not look at it".into())),
            status => Err(BrokerError::Unavailable(format!("it answers with status {status}"))),
        }
    }
}

fn node(node: &Value) -> Node {
    let disk = node["disk_free"].as_u64().zip(node["disk_free_limit"].as_u64());
    Node {
        name: node["name"].as_str().unwrap_or_default().into(),
        disk,
        is_short_of_disk: node["disk_free_alarm"] == json!(true),
        is_short_of_memory: node["mem_alarm"] == json!(true),
    }
}

/// Trust in the authority of these certificates (PEM), else in those of the system.
fn tls(ca: Option<&str>) -> Result<TlsConfig, BrokerError> {
    let bad = |error: ureq::Error| BrokerError::Refused(format!("the authority's certificates: {error}"));
    let trusted: Vec<Certificate<'static>> = match ca {
        Some(pem) => parse_pem(pem.as_bytes())
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
                Ok(_) => None,
                Err(error) => Some(Err(bad(error))),
            })
            .collect::<Result<_, _>>()?,
        None => {
            let system = rustls_native_certs::load_native_certs().certs;
            system.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::from(trusted))
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_has_not_counted_yet_is_not_known() {
        let counted = json!({ "name": "a", "disk_free": 5, "disk_free_limit": 7, "disk_free_alarm": true });
        let expected =
            Node { name: "a".into(), disk: Some((5, 7)), is_short_of_disk: true, is_short_of_memory: false };
        assert_eq!(node(&counted), expected);
        assert_eq!(node(&json!({ "name": "b" })).disk, None);
    }

    #[test]
    fn it_is_looked_for_beside_the_broker() {
        let address = |broker: &str| {
            let settings = Settings::parse(broker).unwrap().with_ca("");
            Management::new(&settings, None).unwrap().address
        };
        assert_eq!(address("amqp://me:s3cret@rabbitmq:5672/place"), "http://rabbitmq:15672");
        assert_eq!(address("amqps://me:s3cret@rabbitmq:5671/place"), "https://rabbitmq:15671");
    }
}
