//! The broker: its queues, what is set for them, and its room.

use std::time::Duration;

use modiolus_broker::rabbitmq::Settings;
use modiolus_broker::rabbitmq::management::{Management, Node};
use modiolus_broker::{BrokerError, RabbitMq};
use modiolus_runtime::config::Configuration;

use super::Finding;
use crate::cluster::USER;

/// How long to wait for a broker: somebody sits there.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to do about missing queues. To start RabbitMQ again is of no use: a file that it has loaded before is skipped.
const LOAD_DEFINITIONS: &str = "have RabbitMQ load the definitions again that `modiolus-init secrets` has written: \
    docker-compose exec rabbitmq rabbitmqctl import_definitions /run/secrets/definitions.json";

/// What to do about settings that differ.
const LOAD_DEFINITIONS_UNLESS_WANTED: &str = "unless somebody wanted it so: remove policies that are not of the table, then have \
    RabbitMQ load the definitions again that `modiolus-init secrets` has written: \
    docker-compose exec rabbitmq rabbitmqctl import_definitions /run/secrets/definitions.json";

/// The broker and its queues.
pub(crate) async fn broker(configuration: &Configuration) -> Vec<Finding> {
    const WHAT: &str = "broker";
    let settings = match configuration.broker.settings(USER) {
        Ok(settings) => settings.with_patience(PATIENCE),
        Err(error) => return vec![Finding::bad(WHAT, error, "put it into modiolus.toml or the environment")],
    };
    let broker = match RabbitMq::connect(settings.clone()).await {
        Ok(broker) => broker,
        Err(error) => return vec![Finding::bad(WHAT, &error, unconnected(&error))],
    };
    let mut found = vec![Finding::ok(WHAT, "it lets us in"), queues(&broker).await];
    broker.close().await;
    found.extend(managed(configuration, &settings).await);
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
        Ok(missing) => Finding::bad(WHAT, format!("missing: {}", missing.join(", ")), LOAD_DEFINITIONS),
        Err(error) => Finding::bad(WHAT, error, "look at the broker's own log"),
    }
}

/// What only the management interface tells.
async fn managed(configuration: &Configuration, settings: &Settings) -> Vec<Finding> {
    const WHAT: &str = "broker's management interface";
    const ADVICE: &str = "set broker.management to where RabbitMQ's management interface listens, and let this user look at it \
        (the tag monitoring); until then nobody knows what is set for the queues and how much room there is";
    let management = match Management::new(settings, configuration.broker.management.as_deref()) {
        Ok(management) => management,
        Err(error) => return vec![Finding::bad(WHAT, error, "correct the file that broker.ca_file names")],
    };
    match futures::try_join!(management.drift(), management.nodes()) {
        Ok((drift, nodes)) => {
            [settings_of_queues(&drift)].into_iter().chain(nodes.iter().map(room)).collect()
        }
        Err(error) => vec![Finding::bad(WHAT, format!("{}: {error}", management.address()), ADVICE)],
    }
}

fn settings_of_queues(drift: &[String]) -> Finding {
    const WHAT: &str = "what is set for queues";
    match drift {
        [] => Finding::ok(WHAT, "returns, leases, delays and ways are those of the table"),
        drift => Finding::bad(WHAT, drift.join("; "), LOAD_DEFINITIONS_UNLESS_WANTED),
    }
}

fn room(node: &Node) -> Finding {
    const WHAT: &str = "room of the broker";
    let Node { name, disk, is_short_of_disk, is_short_of_memory } = node;
    let disk = match disk {
        Some((free, least)) => {
            format!("{} free on its disk, it wants {}", gigabytes(*free), gigabytes(*least))
        }
        None => "its disk is not yet known, it has only just started".into(),
    };
    match (is_short_of_disk, is_short_of_memory) {
        (true, _) => Finding::bad(
            WHAT,
            format!("{name}: short of disk: {disk}"),
            "make room on the disk of the broker's data: until then it takes no jobs, and who publishes waits",
        ),
        (false, true) => Finding::bad(
            WHAT,
            format!("{name}: short of memory"),
            "give the broker more memory, or start more workers: until then it takes no jobs, and who publishes waits",
        ),
        (false, false) => Finding::ok(WHAT, format!("{name}: {disk}")),
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(disk: Option<(u64, u64)>, is_short_of_disk: bool, is_short_of_memory: bool) -> Node {
        Node { name: "rabbit@a".into(), disk, is_short_of_disk, is_short_of_memory }
    }

    #[test]
    fn the_definitions_are_loaded_from_where_the_broker_has_them() {
        let container = include_str!("../../../../deploy/rabbitmq/container.conf");
        let path = container.lines().find_map(|line| line.strip_prefix("definitions.local.path = ")).unwrap();
        for advice in [LOAD_DEFINITIONS, LOAD_DEFINITIONS_UNLESS_WANTED] {
            assert!(advice.ends_with(&format!("rabbitmqctl import_definitions {path}")), "{advice}");
        }
    }

    #[test]
    fn a_broker_that_takes_no_jobs_has_no_room_and_one_that_has_just_started_may() {
        let short = room(&node(Some((900_000_000, 1_000_000_000)), true, false));
        assert!(!short.ok && short.found.contains("0.9 GB free"), "{}", short.found);
        assert!(!room(&node(Some((5, 1)), false, true)).ok);
        let unknown = room(&node(None, false, false));
        assert!(unknown.ok && unknown.found.contains("not yet known"), "{}", unknown.found);
    }
}
