//! What every broker promises, as one suite. An adapter's test calls [`check`] on a broker with empty queues.
//!
//! A broken promise panics: these are assertions of tests. Waiting is bounded by tokio's clock, so a broker that keeps
//! that clock is checked in no time when it is paused.

use std::time::Duration;

use bytes::Bytes;
use modiolus_pipeline::StageName;
use modiolus_pipeline::message::MAX_MESSAGE_BYTES;
use modiolus_pipeline::topology::Queue;
use tokio::time::timeout;

use crate::{Broker, BrokerError, Consumer, Delivery, Letter};

const SOON: Duration = Duration::from_secs(30);
const A_WHILE: Duration = Duration::from_secs(1);

/// Checks all promises on a broker with empty queues.
///
/// # Panics
/// When the broker breaks one.
pub async fn check(broker: &dyn Broker) {
    letters_arrive_once_and_whole(broker, Queue::Work(StageName::Ingest)).await;
    prefetch_bounds_what_is_unsettled(broker, Queue::Work(StageName::Ingest)).await;
    prefetch_may_change(broker, Queue::Work(StageName::Ingest)).await;
    unsettled_letters_come_again(broker, Queue::Work(StageName::Filter)).await;
    requeued_letters_come_again(broker, Queue::Work(StageName::Filter)).await;
    consumers_share_a_queue(broker, Queue::Work(StageName::Preprocess)).await;
    retries_wait_and_come_back_to_work(broker, StageName::Infer).await;
    rejected_letters_are_dead_and_reported(broker, StageName::Infer).await;
    dead_letters_that_we_publish_are_not_reported(broker, StageName::Train).await;
    letters_that_are_too_large_are_refused(broker, Queue::Work(StageName::Train)).await;
    events_reach_everyone_who_listens(broker).await;
}

async fn publish(broker: &dyn Broker, queue: Queue, bodies: &[&str]) {
    let letters =
        bodies.iter().map(|body| (queue, Letter::new(body.to_string()).with("for", body))).collect();
    broker.publish_all(letters).await.expect("a confirmation");
}

async fn consume(broker: &dyn Broker, queue: Queue, prefetch: usize) -> Box<dyn Consumer> {
    broker.consume(queue, prefetch).await.expect("a subscription")
}

async fn next(consumer: &mut Box<dyn Consumer>) -> Delivery {
    timeout(SOON, consumer.next()).await.expect("a letter soon").expect("a subscription that lasts")
}

async fn expect(consumer: &mut Box<dyn Consumer>, body: &str) -> Delivery {
    let delivery = next(consumer).await;
    assert_eq!(delivery.letter.body, body.as_bytes());
    delivery
}

async fn nothing_comes(consumer: &mut Box<dyn Consumer>) {
    assert!(timeout(A_WHILE, consumer.next()).await.is_err(), "something came that should not have");
}

async fn letters_arrive_once_and_whole(broker: &dyn Broker, queue: Queue) {
    let mut consumer = consume(broker, queue, 10).await;
    publish(broker, queue, &["one", "two"]).await;
    for body in ["one", "two"] {
        let delivery = next(&mut consumer).await;
        assert_eq!((delivery.letter.clone(), delivery.returns), (Letter::new(body).with("for", body), 0));
        delivery.ack().await.expect("an ack");
    }
    drop(consumer);
    nothing_comes(&mut consume(broker, queue, 10).await).await;
}

async fn prefetch_bounds_what_is_unsettled(broker: &dyn Broker, queue: Queue) {
    let mut consumer = consume(broker, queue, 2).await;
    publish(broker, queue, &["a", "b", "c"]).await;
    let first = expect(&mut consumer, "a").await;
    let second = expect(&mut consumer, "b").await;
    nothing_comes(&mut consumer).await;
    first.ack().await.expect("an ack");
    let third = expect(&mut consumer, "c").await;
    second.ack().await.expect("an ack");
    third.ack().await.expect("an ack");
}

async fn prefetch_may_change(broker: &dyn Broker, queue: Queue) {
    let mut consumer = consume(broker, queue, 1).await;
    publish(broker, queue, &["a", "b", "c", "d", "e", "f"]).await;
    let first = expect(&mut consumer, "a").await;
    nothing_comes(&mut consumer).await;
    consumer.set_prefetch(4).await.expect("more");
    // One more than wanted may be under way from before.
    let mut held = vec![first];
    for body in ["b", "c", "d"] {
        held.push(expect(&mut consumer, body).await);
    }
    consumer.set_prefetch(1).await.expect("fewer");
    // The right to settle what was given out is not lost.
    for delivery in held {
        delivery.ack().await.expect("an ack");
    }
    expect(&mut consumer, "e").await.ack().await.expect("an ack");
    consumer.set_prefetch(0).await.expect("none");
    // One may be on its way.
    let on_its_way = timeout(A_WHILE, consumer.next()).await.ok().flatten();
    nothing_comes(&mut consumer).await;
    consumer.set_prefetch(1).await.expect("one again");
    let last = match on_its_way {
        Some(delivery) => delivery,
        None => next(&mut consumer).await,
    };
    assert_eq!(last.letter.body, "f".as_bytes());
    last.ack().await.expect("an ack");
    drop(consumer);
    nothing_comes(&mut consume(broker, queue, 10).await).await;
}

async fn unsettled_letters_come_again(broker: &dyn Broker, queue: Queue) {
    let mut lost = consume(broker, queue, 2).await;
    publish(broker, queue, &["a", "b"]).await;
    let held = expect(&mut lost, "a").await;
    expect(&mut lost, "b").await;
    assert!(held.is_held());
    drop(lost);
    assert!(!held.is_held(), "others have it now");
    assert_eq!(held.ack().await, Err(BrokerError::LeaseLost));
    let mut consumer = consume(broker, queue, 2).await;
    let again = [expect(&mut consumer, "a").await, expect(&mut consumer, "b").await];
    for delivery in again {
        assert!(delivery.returns >= 1);
        delivery.requeue().await.expect("a requeue");
    }
    for _ in 0..2 {
        let handed_back = next(&mut consumer).await;
        assert!(handed_back.returns >= 1, "it is forgotten that it was lost");
        handed_back.ack().await.expect("an ack");
    }
}

async fn requeued_letters_come_again(broker: &dyn Broker, queue: Queue) {
    let mut consumer = consume(broker, queue, 1).await;
    publish(broker, queue, &["a"]).await;
    expect(&mut consumer, "a").await.requeue().await.expect("a requeue");
    expect(&mut consumer, "a").await.ack().await.expect("an ack");
    nothing_comes(&mut consumer).await;
}

async fn consumers_share_a_queue(broker: &dyn Broker, queue: Queue) {
    let (mut one, mut two) = (consume(broker, queue, 1).await, consume(broker, queue, 1).await);
    publish(broker, queue, &["a", "b"]).await;
    let (first, second) = (next(&mut one).await, next(&mut two).await);
    let mut bodies = [first.letter.body.clone(), second.letter.body.clone()];
    bodies.sort();
    assert_eq!(bodies, [Bytes::from_static(b"a"), Bytes::from_static(b"b")]);
    first.ack().await.expect("an ack");
    second.ack().await.expect("an ack");
}

async fn retries_wait_and_come_back_to_work(broker: &dyn Broker, stage: StageName) {
    let mut consumer = consume(broker, Queue::Work(stage), 1).await;
    publish(broker, Queue::Retry(stage, 0), &["later"]).await;
    nothing_comes(&mut consumer).await;
    let later = expect(&mut consumer, "later").await;
    let age = later.age.expect("an age");
    assert!((A_WHILE..2 * SOON).contains(&age), "a letter knows how long it has waited, but {age:?}");
    later.ack().await.expect("an ack");
}

async fn rejected_letters_are_dead_and_reported(broker: &dyn Broker, stage: StageName) {
    let mut consumer = consume(broker, Queue::Work(stage), 1).await;
    publish(broker, Queue::Work(stage), &["bad"]).await;
    expect(&mut consumer, "bad").await.reject().await.expect("a rejection");
    let mut deaths = broker.deaths(stage, 1).await.expect("a subscription");
    expect(&mut deaths, "bad").await.ack().await.expect("an ack");
    let mut dead = consume(broker, Queue::Dead(stage), 1).await;
    expect(&mut dead, "bad").await.ack().await.expect("an ack");
    nothing_comes(&mut consumer).await;
}

async fn dead_letters_that_we_publish_are_not_reported(broker: &dyn Broker, stage: StageName) {
    publish(broker, Queue::Dead(stage), &["given up"]).await;
    let mut dead = consume(broker, Queue::Dead(stage), 1).await;
    expect(&mut dead, "given up").await.ack().await.expect("an ack");
    nothing_comes(&mut broker.deaths(stage, 1).await.expect("a subscription")).await;
}

async fn letters_that_are_too_large_are_refused(broker: &dyn Broker, queue: Queue) {
    let largest = Letter::new(vec![b'x'; MAX_MESSAGE_BYTES]);
    let too_large = Letter::new(vec![b'x'; MAX_MESSAGE_BYTES + 1]);
    assert!(matches!(broker.publish(queue, too_large).await, Err(BrokerError::Refused(_))));
    broker.publish(queue, largest.clone()).await.expect("a confirmation");
    let mut consumer = consume(broker, queue, 1).await;
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.letter.body, largest.body);
    delivery.ack().await.expect("an ack");
}

async fn events_reach_everyone_who_listens(broker: &dyn Broker) {
    broker.tell(Bytes::from_static(b"nobody listens"));
    let mut one = broker.events().await.expect("a subscription");
    let mut two = broker.events().await.expect("a subscription");
    broker.tell(Bytes::from_static(b"news"));
    for events in [&mut one, &mut two] {
        let mut event = timeout(SOON, events.next()).await.expect("an event soon");
        // Telling doesn't wait: over a network the first may arrive after the subscriptions.
        if event == Some(Bytes::from_static(b"nobody listens")) {
            event = timeout(SOON, events.next()).await.expect("an event soon");
        }
        assert_eq!(event, Some(Bytes::from_static(b"news")));
    }
}
