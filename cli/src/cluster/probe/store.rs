//! The store: its buckets, its clock and its disk.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use modiolus_pipeline::{Bucket, Digest, Fetched, ObjectKey, Read};
use modiolus_runtime::config::Configuration;
use modiolus_store::{ObjectStore, S3Store, StoreError};

use super::Finding;

/// How long to wait for metrics: somebody sits there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Clocks that differ by more are wrong. (S3 refuses requests from 15 minutes on.)
const MOST_SKEW_S: u64 = 60;

/// The share of its disk that a store should have left, as in `deploy/monitoring/rules.yml`.
const LEAST_FREE: f64 = 0.1;

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
    if let Some(metrics) = configuration.store.metrics() {
        findings.push(room(metrics.to_owned()).await);
    }
    findings
}

/// What Garage says of its disk.
async fn room(address: String) -> Finding {
    const WHAT: &str = "room of the store";
    const ADVICE: &str = "set store.metrics to where Garage tells its metrics, or to nothing";
    let agent = ureq::Agent::config_builder().proxy(None).timeout_global(Some(PATIENCE)).build().new_agent();
    let asked = address.clone();
    let asking = move || agent.get(asked).call().and_then(|mut answer| answer.body_mut().read_to_string());
    match tokio::task::spawn_blocking(asking).await {
        Ok(Ok(metrics)) => disk(&metrics),
        Ok(Err(error)) => Finding::bad(WHAT, format!("{address}: {error}"), ADVICE),
        Err(error) => Finding::bad(WHAT, error, ADVICE),
    }
}

/// Free bytes and all of them, from metrics as Prometheus reads them.
fn disk(metrics: &str) -> Finding {
    const WHAT: &str = "room of the store";
    let gauge = |name: &str| -> Option<f64> {
        let name = format!("garage_local_disk_{name}{{volume=\"data\"}}");
        metrics.lines().find_map(|line| line.strip_prefix(&name))?.trim().parse().ok()
    };
    let Some((free, all)) = gauge("avail").zip(gauge("total")).filter(|(_, all)| *all > 0.0) else {
        return Finding::ok(WHAT, "not yet known: its metrics say nothing of its disk");
    };
    let found = format!("{:.1} of {:.1} GB are free", free / 1e9, all / 1e9);
    match free / all < LEAST_FREE {
        true => Finding::bad(
            WHAT,
            found,
            "give the store more room, or remove old runs: when it is full, jobs fail and are given up in the end",
        ),
        false => Finding::ok(WHAT, found),
    }
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
    let theirs = store.clock().await?;
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(clocks(ours.as_secs(), theirs.as_secs()))
}

/// Our clock and the store's, in seconds since 1970.
fn clocks(ours: u64, theirs: u64) -> Finding {
    const WHAT: &str = "clocks";
    let skew = ours.abs_diff(theirs);
    let found = format!("this machine's and the store's differ by {skew} s");
    match skew {
        0..=MOST_SKEW_S => Finding::ok(WHAT, found),
        _ => Finding::bad(
            WHAT,
            found,
            "set both by NTP: the store refuses requests when they differ by 15 minutes",
        ),
    }
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

    #[test]
    fn clocks_that_differ_by_more_than_a_minute_are_wrong_whichever_is_ahead() {
        assert!(clocks(1_000, 1_060).ok && clocks(1_060, 1_000).ok);
        for (ours, theirs) in [(1_000, 1_600), (1_600, 1_000)] {
            let wrong = clocks(ours, theirs);
            assert!(!wrong.ok && wrong.found.contains("600 s"), "{}", wrong.found);
            assert!(wrong.advice.contains("NTP"), "{}", wrong.advice);
        }
    }

    #[test]
    fn a_store_whose_disk_is_nearly_full_has_no_room() {
        let metrics = |free: &str| {
            format!(
                "# TYPE garage_local_disk_avail gauge\ngarage_local_disk_avail{{volume=\"metadata\"}} 1\n\
                 garage_local_disk_avail{{volume=\"data\"}} {free}\ngarage_local_disk_total{{volume=\"data\"}} 100000000000\n"
            )
        };
        let short = disk(&metrics("9000000000"));
        assert!(!short.ok && short.found.contains("9.0 of 100.0 GB"), "{}", short.found);
        assert!(disk(&metrics("11000000000")).ok);
        let unknown = disk("");
        assert!(unknown.ok && unknown.found.contains("not yet known"), "{}", unknown.found);
    }
}
