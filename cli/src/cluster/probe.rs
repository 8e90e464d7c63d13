//! The single checks of `modiolus doctor`: each says what it found and, where that is wrong, what to do.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use modiolus_broker::{BrokerError, RabbitMq};
use modiolus_pipeline::{Bucket, Digest, Fetched, ObjectKey, Read};
use modiolus_runtime::config::Configuration;
use modiolus_store::{ObjectStore, S3Store, StoreError};
use serde::Serialize;

use super::USER;

/// How long to wait for a broker: somebody sits there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Clocks that differ by more are wrong. (S3 refuses requests from 15 minutes on.)
const MOST_SKEW_S: u64 = 60;

/// What came of one check.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    /// What was checked.
    pub(crate) what: &'static str,
    pub(crate) ok: bool,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it; empty where nothing is.
    pub(crate) advice: &'static str,
}

impl Finding {
    pub(crate) fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, ok: true, found: found.into(), advice: "" }
    }

    pub(crate) fn bad(what: &'static str, found: impl ToString, advice: &'static str) -> Self {
        Self { what, ok: false, found: found.to_string(), advice }
    }
}

/// The key of the pseudonyms.
pub(crate) fn pseudonyms(configuration: &Configuration) -> Finding {
    const WHAT: &str = "key of the pseudonyms";
    match configuration.pseudonyms.secret() {
        Ok(_) => Finding::ok(WHAT, "it is one"),
        Err(error) => {
            Finding::bad(WHAT, error, "set pseudonyms.key_file to the file that filter's worker has")
        }
    }
}

/// The broker and its queues.
pub(crate) async fn broker(configuration: &Configuration) -> Vec<Finding> {
    const WHAT: &str = "broker";
    let settings = match configuration.broker.settings(USER) {
        Ok(settings) => settings.with_patience(PATIENCE),
        Err(error) => return vec![Finding::bad(WHAT, error, "put it into modiolus.toml or the environment")],
    };
    let broker = match RabbitMq::connect(settings).await {
        Ok(broker) => broker,
        Err(error) => return vec![Finding::bad(WHAT, &error, unconnected(&error))],
    };
    let found = vec![Finding::ok(WHAT, "it lets us in"), queues(&broker).await];
    broker.close().await;
    found
}

fn unconnected(error: &BrokerError) -> &'static str {
    match error {
        BrokerError::Refused(_) => {
            "set broker.user, broker.password_file and broker.virtual_host as the broker has them"
        }
        _ => "start RabbitMQ, or set broker.address to where it listens",
    }
}

async fn queues(broker: &RabbitMq) -> Finding {
    const WHAT: &str = "queues";
    match broker.missing_queues().await {
        Ok(missing) if missing.is_empty() => Finding::ok(WHAT, "all are there"),
        Ok(missing) => Finding::bad(
            WHAT,
            format!("missing: {}", missing.join(", ")),
            "have RabbitMQ load the definitions that `modiolus-init secrets` writes",
        ),
        Err(error) => Finding::bad(WHAT, error, "look at the broker's own log"),
    }
}

/// The store, its buckets, its clock and its disk.
pub(crate) async fn store(configuration: &Configuration) -> Vec<Finding> {
    if configuration.store.is_folder() {
        return match configuration.open_store() {
            Ok(store) => vec![write(&*store).await],
            Err(error) => vec![Finding::bad("store", error, "set store.folder to a folder that is yours")],
        };
    }
    let open = configuration.store.s3_options().map_err(|error| error.to_string()).and_then(|mut options| {
        options.attempts = 2;
        S3Store::new(options).map_err(|error| error.to_string())
    });
    let store = match open {
        Ok(store) => store,
        Err(why) => return vec![Finding::bad("store", why, "put it into modiolus.toml or the environment")],
    };
    let mut findings = buckets(&store).await;
    if findings.iter().all(|finding| finding.ok) {
        findings.push(write(&store).await);
    }
    findings.extend(clock(&store).await);
    findings
}

async fn buckets(store: &S3Store) -> Vec<Finding> {
    let mut missing = Vec::new();
    for bucket in Bucket::ALL {
        match store.has_bucket(bucket).await {
            Ok(true) => {}
            Ok(false) => missing.push(bucket.as_str()),
            // The others would say the same.
            Err(error) => return vec![Finding::bad("store", &error, unreachable(&error))],
        }
    }
    let reached = Finding::ok("store", "it lets us in");
    let buckets = match missing.as_slice() {
        [] => Finding::ok("buckets", "all are there"),
        missing => Finding::bad(
            "buckets",
            format!("missing, or not ours to use: {}", missing.join(", ")),
            "make them with the store's own tool and allow them to this access key; see store.bucket_prefix, too",
        ),
    };
    vec![reached, buckets]
}

fn unreachable(error: &StoreError) -> &'static str {
    match error.is_retryable() {
        true => "start the store, or set store.endpoint to where it listens",
        false => "set store.access_key, store.secret_key_file and store.region as the store has them",
    }
}

/// Writes, reads and removes an object: what a full disk, or a key that may only read, would not let us.
async fn write(store: &dyn ObjectStore) -> Finding {
    const WHAT: &str = "writing to the store";
    let sample = Bytes::from_static(b"modiolus doctor");
    let key = ObjectKey::Listing(Digest::of(format!("doctor {}", std::process::id())));
    let written = async {
        store.put(key.clone(), sample.clone()).await?;
        let fetched = store.get(Read::whole(key.clone())).await?;
        store.delete(&key).await?;
        Ok::<_, StoreError>(matches!(fetched, Fetched::Found(object) if object.bytes == sample))
    };
    match written.await {
        Ok(true) => Finding::ok(WHAT, "what is written is there, and there is room"),
        Ok(false) => Finding::bad(WHAT, "what was written does not come back", "look at the store's own log"),
        Err(error @ StoreError::Full { .. }) => {
            Finding::bad(WHAT, error, "give the store more room on its disk")
        }
        Err(error) => Finding::bad(WHAT, error, "let this access key read and write all buckets"),
    }
}

/// Nothing where the store doesn't tell its time.
async fn clock(store: &S3Store) -> Option<Finding> {
    const WHAT: &str = "clocks";
    let theirs = store.clock().await?;
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let skew = ours.as_secs().abs_diff(theirs.as_secs());
    let found = format!("this machine's and the store's differ by {skew} s");
    Some(match skew {
        0..=MOST_SKEW_S => Finding::ok(WHAT, found),
        _ => Finding::bad(
            WHAT,
            found,
            "set both by NTP: the store refuses requests when they differ by 15 minutes",
        ),
    })
}

#[cfg(test)]
mod tests {
    use modiolus_store::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn a_check_of_the_store_leaves_nothing_behind() {
        let store = MemoryStore::new();
        assert!(write(&store).await.ok);
        assert!(store.snapshot().is_empty());
    }
}
