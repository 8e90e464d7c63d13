//! What a RabbitMQ must have for Modiolus, from the one table of queues ([`topology`]): as definitions that the broker loads
//! when it starts, and compared with what it has.
//!
//! | for a stage `S` | |
//! | --- | --- |
//! | exchange `S` | direct: everything is published here, with the queue's name as routing key |
//! | queue `S` | work |
//! | queues `S.retry.*` | nobody takes from them; after their delay letters go to `S` |
//! | queue `S.dead` | what was given up, for people |
//! | exchange `S.dead` | fanout: what the broker gives up, to `S.dead` and to `S.deaths` |
//! | queue `S.deaths` | copies of what the broker gave up, for the worker that marks those jobs |
//!
//! Events are a stream, `events`, behind an exchange of the same name. A queue's kind is an argument; all else is a policy,
//! which operators can change while the broker runs.

use std::time::Duration;

use base64::Engine;
use modiolus_pipeline::StageName;
use modiolus_pipeline::topology::{self, MAX_RETURNS, Queue, RETRY_DELAYS};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The exchange and the stream of events.
pub(super) const EVENTS: &str = "events";

/// How many letters a work queue holds before it refuses more; at-least-once dead lettering wants such a limit.
const MAX_LETTERS: u64 = 5_000_000;

/// No limit to how often a letter is given out: what lies here has nowhere else to go and would be lost.
const UNLIMITED: i64 = -1;

/// The queue with copies of what the broker itself gave up.
pub(super) fn deaths_queue(stage: StageName) -> String {
    format!("{stage}.deaths")
}

/// The names of all queues.
pub(super) fn queue_names() -> impl Iterator<Item = String> {
    let deaths = StageName::ALL.into_iter().map(deaths_queue);
    Queue::all().map(Queue::name).chain(deaths).chain([EVENTS.into()])
}

/// A user of the broker.
#[derive(Clone)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password, of which only a salted hash goes into the definitions.
    pub password: String,
    /// What the user may do.
    pub role: Role,
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Take the jobs of one stage; write to that stage, to its followers and to the events.
    Worker(StageName),
    /// Write jobs for every stage, take from the dead, and listen to the events. Takes no jobs.
    Console,
    /// Read and write every queue, and look at the management interface. Configures nothing.
    Operator,
    /// See how long the queues are, for scalers: the management interface, and no letter.
    Watcher,
    /// Everything.
    Administrator,
}

impl Role {
    /// All roles.
    pub fn all() -> impl Iterator<Item = Self> {
        StageName::ALL.into_iter().map(Self::Worker).chain([
            Self::Console,
            Self::Operator,
            Self::Watcher,
            Self::Administrator,
        ])
    }

    /// The name of the user who has it in a cluster.
    pub fn user_name(self) -> &'static str {
        match self {
            Self::Worker(stage) => stage.as_str(),
            Self::Console => "console",
            Self::Operator => "operator",
            Self::Watcher => "watcher",
            Self::Administrator => "administrator",
        }
    }

    fn tags(self) -> &'static [&'static str] {
        match self {
            Self::Worker(_) | Self::Console => &[],
            Self::Operator | Self::Watcher => &["monitoring"],
            Self::Administrator => &["administrator"],
        }
    }

    /// Regular expressions of what may be configured, written to (exchanges) and read (queues).
    fn permissions(self) -> [String; 3] {
        let nothing = "^$".to_string();
        let only = |names: Vec<String>| format!("^({})$", names.join("|").replace('.', r"\."));
        match self {
            Self::Worker(stage) => {
                let followers =
                    topology::followers(stage).iter().copied().filter(|follower| *follower != stage);
                let stages = [stage].into_iter().chain(followers);
                let written = stages.map(|stage| stage.to_string()).chain([EVENTS.into()]).collect();
                [nothing, only(written), only(vec![stage.to_string(), deaths_queue(stage)])]
            }
            Self::Console => {
                let written = StageName::ALL.map(|stage| stage.to_string()).into_iter();
                let dead = StageName::ALL.map(|stage| Queue::Dead(stage).name()).into_iter();
                let and_events = [EVENTS.to_string()];
                [
                    nothing,
                    only(written.chain(and_events.clone()).collect()),
                    only(dead.chain(and_events).collect()),
                ]
            }
            Self::Operator => [nothing, ".*".into(), ".*".into()],
            Self::Watcher => [nothing.clone(), nothing.clone(), nothing],
            Self::Administrator => [".*".into(), ".*".into(), ".*".into()],
        }
    }
}

/// The definitions of a cluster: virtual host, users, exchanges, queues, policies. For `definitions.local.path` in
/// `rabbitmq.conf`, or for the management interface.
pub fn definitions(vhost: &str, users: &[User]) -> Value {
    let mut all = topology_of(vhost);
    all["vhosts"] = json!([{ "name": vhost }]);
    all["users"] = users.iter().map(user).collect();
    all["permissions"] = users.iter().map(|user| permissions(vhost, user)).collect();
    all
}

/// What differs between the table and a broker's virtual host, in sentences; empty when nothing does. `live` is what the
/// management interface exports (`GET /api/definitions/VHOST`), or its listings of these kinds, which also tell which policy
/// each queue follows. More than the table is no difference.
pub fn drift(live: &Value) -> Vec<String> {
    let wanted = topology_of("");
    let kinds: [(&str, &[&str]); 4] = [
        ("exchanges", &["name"]),
        ("queues", &["name"]),
        ("bindings", &["source", "destination", "routing_key"]),
        ("policies", &["name"]),
    ];
    let mut differences = Vec::new();
    for (kind, identity) in kinds {
        let there = live[kind].as_array().map_or(&[][..], Vec::as_slice);
        for item in wanted[kind].as_array().into_iter().flatten() {
            differences.extend(difference(kind, identity, item, there));
        }
    }
    differences.extend(queue_names().filter_map(|queue| other_policy(&queue, &live["queues"])));
    differences
}

/// A queue that follows another policy than its own, one that somebody has given precedence.
fn other_policy(queue: &str, queues: &Value) -> Option<String> {
    let found = queues.as_array()?.iter().find(|found| found["name"] == queue)?;
    let policy = found["policy"].as_str()?;
    (policy != queue).then(|| format!("queues: {queue} follows the policy {policy}, wanted is {queue}"))
}

fn difference(kind: &str, identity: &[&str], wanted: &Value, there: &[Value]) -> Option<String> {
    let text = |item: &Value, field: &str| item[field].as_str().unwrap_or_default().to_string();
    let name = identity.iter().map(|field| text(wanted, field)).collect::<Vec<_>>().join(" -> ");
    let same = |item: &&Value| identity.iter().all(|field| item[*field] == wanted[*field]);
    let Some(found) = there.iter().find(same) else { return Some(format!("{kind}: {name} is missing")) };
    let fields = wanted.as_object()?.iter().filter(|(field, _)| *field != "vhost");
    let (field, value) = fields.into_iter().find(|(field, value)| found[field.as_str()] != **value)?;
    Some(format!("{kind}: {name} has {field} {}, wanted is {value}", found[field]))
}

fn topology_of(vhost: &str) -> Value {
    let stages = StageName::ALL;
    json!({
        "exchanges": exchanges(vhost),
        "queues": queue_names().map(|name| queue(vhost, &name)).collect::<Vec<_>>(),
        "bindings": bindings(vhost),
        "policies": Queue::all()
            .map(|queue| policy(vhost, &queue.name(), queue_policy(queue)))
            .chain(stages.map(|stage| policy(vhost, &deaths_queue(stage), json!({ "delivery-limit": UNLIMITED }))))
            .chain([policy(vhost, EVENTS, events_policy())])
            .collect::<Vec<_>>(),
    })
}

fn exchanges(vhost: &str) -> Vec<Value> {
    let exchange = |name: String, kind: &str| {
        json!({ "name": name, "vhost": vhost, "type": kind, "durable": true, "auto_delete": false, "internal": false,
            "arguments": {} })
    };
    let of_stage = |stage: StageName| {
        [exchange(stage.to_string(), "direct"), exchange(Queue::Dead(stage).name(), "fanout")]
    };
    StageName::ALL.into_iter().flat_map(of_stage).chain([exchange(EVENTS.into(), "fanout")]).collect()
}

fn queue(vhost: &str, name: &str) -> Value {
    let kind = if name == EVENTS { "stream" } else { "quorum" };
    json!({ "name": name, "vhost": vhost, "durable": true, "auto_delete": false, "arguments": { "x-queue-type": kind } })
}

fn bindings(vhost: &str) -> Vec<Value> {
    let binding = |source: &str, destination: String, key: &str| {
        json!({ "source": source, "vhost": vhost, "destination": destination, "destination_type": "queue",
            "routing_key": key, "arguments": {} })
    };
    let published = Queue::all().map(|queue| {
        let name = queue.name();
        binding(queue.stage().as_str(), name.clone(), &name)
    });
    let given_up = StageName::ALL.into_iter().flat_map(|stage| {
        let dead = Queue::Dead(stage).name();
        [binding(&dead, dead.clone(), ""), binding(&dead, deaths_queue(stage), "")]
    });
    published.chain(given_up).chain([binding(EVENTS, EVENTS.into(), "")]).collect()
}

fn policy(vhost: &str, queue: &str, definition: Value) -> Value {
    let pattern = format!("^{}$", queue.replace('.', r"\."));
    json!({ "name": queue, "vhost": vhost, "pattern": pattern, "apply-to": "queues", "priority": 1,
        "definition": definition })
}

/// A queue that hands letters on keeps them until the other queue has confirmed them.
fn queue_policy(queue: Queue) -> Value {
    let stage = queue.stage();
    match queue {
        Queue::Work(_) => json!({
            "delivery-limit": MAX_RETURNS,
            "consumer-timeout": milliseconds(topology::longest_lease(stage)),
            "dead-letter-exchange": Queue::Dead(stage).name(),
            "dead-letter-strategy": "at-least-once",
            "overflow": "reject-publish",
            "max-length": MAX_LETTERS,
        }),
        Queue::Retry(_, delay) => json!({
            "message-ttl": milliseconds(RETRY_DELAYS[delay]),
            "dead-letter-exchange": stage.as_str(),
            "dead-letter-routing-key": Queue::Work(stage).name(),
            "dead-letter-strategy": "at-least-once",
            "overflow": "reject-publish",
            "max-length": MAX_LETTERS,
        }),
        Queue::Dead(_) => json!({ "delivery-limit": UNLIMITED }),
    }
}

fn events_policy() -> Value {
    json!({ "max-age": "1D", "max-length-bytes": 256 << 20, "stream-max-segment-size-bytes": 16 << 20 })
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

fn user(user: &User) -> Value {
    json!({ "name": user.name, "password_hash": password_hash(&user.password, salt(user)),
        "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": user.role.tags() })
}

fn permissions(vhost: &str, user: &User) -> Value {
    let [configure, write, read] = user.role.permissions();
    json!({ "user": user.name, "vhost": vhost, "configure": configure, "write": write, "read": read })
}

/// Another for each user and password, and always the same for these: equal definitions change nothing at the broker. Salts
/// are to make tables of hashes useless; nobody can guess this one without the password.
fn salt(User { name, password, .. }: &User) -> [u8; 4] {
    let hash =
        Sha256::new().chain_update("salt:").chain_update(name).chain_update([0]).chain_update(password);
    let [a, b, c, d, ..] = <[u8; 32]>::from(hash.finalize());
    [a, b, c, d]
}

/// RabbitMQ's `rabbit_password_hashing_sha256`: base64(salt, SHA-256(salt, password)), the salt being 4 bytes
/// (<https://www.rabbitmq.com/docs/passwords#this-is-the-algorithm>).
fn password_hash(password: &str, salt: [u8; 4]) -> String {
    let hash = Sha256::new().chain_update(salt).chain_update(password).finalize();
    base64::engine::general_purpose::STANDARD.encode([&salt[..], &hash[..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_hashes_are_those_of_rabbitmqs_manual() {
        let hash = password_hash("test12", 0x908D_C60A_u32.to_be_bytes());
        assert_eq!(hash, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
    }

    #[test]
    fn definitions_are_the_same_whenever_they_are_made() {
        let user = |name: &str, password: &str| User {
            name: name.into(),
            password: password.into(),
            role: Role::Operator,
        };
        let made = |users: &[User]| definitions("modiolus", users).to_string();
        let users = [user("ada", "one"), user("ben", "one")];
        assert_eq!(made(&users), made(&users));
        assert_ne!(salt(&users[0]), salt(&users[1]));
        assert_ne!(made(&users), made(&[user("ada", "two"), user("ben", "one")]));
    }

    #[test]
    fn definitions_hold_no_password() {
        let users: Vec<User> = Role::all()
            .map(|role| User { name: role.user_name().into(), password: "s3cret-of-all".into(), role })
            .collect();
        let text = definitions("modiolus", &users).to_string();
        assert!(text.contains("operator") && !text.contains("s3cret-of-all"));
    }

    #[test]
    fn a_worker_reads_its_own_queues_and_writes_to_its_followers() {
        let [configure, write, read] = Role::Worker(StageName::Filter).permissions();
        assert_eq!(configure, "^$");
        assert_eq!(write, "^(filter|preprocess|events)$");
        assert_eq!(read, r"^(filter|filter\.deaths)$");
    }

    #[test]
    fn the_console_writes_jobs_for_all_and_takes_from_the_dead_alone() {
        let [configure, write, read] = Role::Console.permissions();
        assert_eq!(configure, "^$");
        assert_eq!(write, "^(ingest|filter|preprocess|train|infer|events)$");
        assert_eq!(read, r"^(ingest\.dead|filter\.dead|preprocess\.dead|train\.dead|infer\.dead|events)$");
    }

    #[test]
    fn drift_names_what_is_missing_and_what_differs() {
        let mut live = topology_of("modiolus");
        assert_eq!(drift(&live), Vec::<String>::new());
        live["queues"].as_array_mut().unwrap().retain(|queue| queue["name"] != "filter.dead");
        let policies = live["policies"].as_array_mut().unwrap();
        let retry = policies.iter_mut().find(|policy| policy["name"] == "infer.retry.10s").unwrap();
        retry["priority"] = json!(7);
        assert_eq!(
            drift(&live),
            ["queues: filter.dead is missing", "policies: infer.retry.10s has priority 7, wanted is 1"]
        );
        assert!(drift(&json!({})).len() > 50);
    }

    #[test]
    fn a_policy_that_others_have_put_before_ours_is_named() {
        let mut live = topology_of("modiolus");
        for queue in live["queues"].as_array_mut().unwrap() {
            queue["policy"] =
                if queue["name"] == "infer" { json!("everything") } else { queue["name"].clone() };
        }
        assert_eq!(drift(&live), ["queues: infer follows the policy everything, wanted is infer"]);
    }
}
