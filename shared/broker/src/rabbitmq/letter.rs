//! Letters as messages of AMQP 0-9-1.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use modiolus_pipeline::topology::{Queue, RETRY_DELAYS};

use crate::Letter;

/// Written to disk before it is confirmed.
const PERSISTENT: u8 = 2;

/// Headers that begin so are the broker's.
const BROKERS_OWN: &str = "x-";

/// How often the letter was given out of which this is a copy: the broker begins to count anew.
pub(super) const RETURNS_BEFORE: &str = "returns-before";

/// How often a letter was given out before: since RabbitMQ 4.3, and before.
const RETURNS: [&str; 2] = ["x-acquired-count", "x-delivery-count"];

/// The properties of a letter that goes to a queue. A retry waits a little less than its queue's delay, by chance, so that
/// jobs which failed together don't come back together.
pub(super) fn properties(queue: Queue, letter: &Letter) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in letter.headers.iter().filter(|(name, _)| !name.starts_with(BROKERS_OWN)) {
        headers.insert(name.as_str().into(), AMQPValue::LongString(value.as_str().into()));
    }
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers);
    let properties = properties.with_timestamp(since_1970(SystemTime::now()).as_secs());
    match queue {
        Queue::Retry(_, delay) => properties.with_expiration(jittered(RETRY_DELAYS[delay])),
        Queue::Work(_) | Queue::Dead(_) => properties,
    }
}

/// Between three quarters and all of a delay, in milliseconds.
fn jittered(delay: Duration) -> ShortString {
    let chance = getrandom::u32().unwrap_or(u32::MAX);
    let part = 0.75 + 0.25 * f64::from(chance) / f64::from(u32::MAX);
    delay.mul_f64(part).as_millis().to_string().into()
}

/// The headers with text in them; among the broker's own are those that tell why a letter is dead.
pub(super) fn headers(properties: &BasicProperties) -> BTreeMap<String, String> {
    let Some(table) = properties.headers() else { return BTreeMap::new() };
    let text = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    };
    let of_the_letter = table.inner().iter().filter(|(name, _)| name.as_str() != RETURNS_BEFORE);
    of_the_letter.filter_map(|(name, value)| Some((name.to_string(), text(value)?))).collect()
}

/// How long before `now` a letter was published; nothing at all where its publisher's clock is ahead of ours.
pub(super) fn age(properties: &BasicProperties, now: SystemTime) -> Option<Duration> {
    let published = Duration::from_secs((*properties.timestamp())?);
    Some(since_1970(now).saturating_sub(published))
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// How often a letter was given out before.
pub(super) fn returns(properties: &BasicProperties) -> u32 {
    let count = |name: &str| match properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongLongInt(count) => u32::try_from(*count).ok(),
        AMQPValue::LongInt(count) => u32::try_from(*count).ok(),
        AMQPValue::LongUInt(count) => Some(*count),
        AMQPValue::ShortInt(count) => u32::try_from(*count).ok(),
        AMQPValue::ShortShortInt(count) => u32::try_from(*count).ok(),
        AMQPValue::LongString(count) => count.to_string().parse().ok(),
        _ => None,
    };
    RETURNS.into_iter().find_map(count).unwrap_or(0).saturating_add(count(RETURNS_BEFORE).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use modiolus_pipeline::StageName;

    use super::*;

    #[test]
    fn a_letter_keeps_its_headers_and_loses_the_brokers() {
        let letter = Letter::new("body").with("trace", "00-a").with("x-first-death-reason", "rejected");
        let properties = properties(Queue::Work(StageName::Ingest), &letter);
        assert_eq!(headers(&properties), Letter::default().with("trace", "00-a").headers);
        assert_eq!(returns(&properties), 0);
    }

    #[test]
    fn an_age_is_never_negative_however_clocks_differ() {
        let now = SystemTime::now();
        let letter = properties(Queue::Work(StageName::Ingest), &Letter::new("x"));
        let later = |seconds| age(&letter, now + Duration::from_secs(seconds)).unwrap().as_secs();
        assert!((600..=602).contains(&later(600)), "{}", later(600));
        assert_eq!(age(&letter, now - Duration::from_secs(600)), Some(Duration::ZERO));
        let nonsense = BasicProperties::default().with_timestamp(u64::MAX);
        assert_eq!(age(&nonsense, now), Some(Duration::ZERO));
        assert_eq!(age(&BasicProperties::default(), now), None);
    }

    #[test]
    fn a_retry_waits_three_quarters_of_its_delay_at_least() {
        for (index, delay) in RETRY_DELAYS.iter().enumerate() {
            let properties = properties(Queue::Retry(StageName::Ingest, index), &Letter::new("x"));
            let wait: u128 = properties.expiration().as_ref().unwrap().as_str().parse().unwrap();
            let longest = delay.as_millis();
            assert!((longest * 3 / 4..=longest).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn the_newer_count_of_returns_wins() {
        let mut table = FieldTable::default();
        table.insert("x-delivery-count".into(), AMQPValue::LongLongInt(2));
        assert_eq!(returns(&BasicProperties::default().with_headers(table.clone())), 2);
        table.insert("x-acquired-count".into(), AMQPValue::LongLongInt(5));
        assert_eq!(returns(&BasicProperties::default().with_headers(table)), 5);
    }

    #[test]
    fn a_copy_goes_on_counting_and_its_letter_knows_nothing_of_it() {
        let copy = properties(Queue::Work(StageName::Ingest), &Letter::new("x").with(RETURNS_BEFORE, "4"));
        assert_eq!((returns(&copy), headers(&copy).len()), (4, 0));
    }
}
