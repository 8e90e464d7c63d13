//! The adapter on a real RabbitMQ.

use std::time::Duration;

use modiolus_broker::rabbitmq::Settings;
use modiolus_broker::rabbitmq::definitions::{Role, drift};
use modiolus_broker::rabbitmq::management::Management;
use modiolus_broker::server::{Server, Vhost};
use modiolus_broker::{Broker, BrokerError, Consumer, Delivery, Letter, RabbitMq, conformance};
use modiolus_pipeline::StageName;
use modiolus_pipeline::message::MAX_MESSAGE_BYTES;
use modiolus_pipeline::topology::{MAX_RETURNS, Queue};
use tokio::time::timeout;

/// Long enough for a busy machine.
const SOON: Duration = Duration::from_secs(60);

const WORK: Queue = Queue::Work(StageName::Filter);
const DEAD: Queue = Queue::Dead(StageName::Filter);

async fn connect(vhost: &Vhost, role: Role) -> RabbitMq {
    RabbitMq::connect(vhost.settings(role)).await.expect("a connection")
}

async fn next(consumer: &mut Box<dyn Consumer>) -> Delivery {
    timeout(SOON, consumer.next()).await.expect("a letter soon").expect("a subscription that lasts")
}

async fn take(broker: &dyn Broker, queue: Queue) -> Letter {
    let delivery = next(&mut broker.consume(queue, 1).await.expect("a subscription")).await;
    delivery.letter.clone()
}

/// Takes a letter for good.
async fn take_away(consumer: &mut Box<dyn Consumer>) -> Letter {
    let delivery = next(consumer).await;
    let letter = delivery.letter.clone();
    delivery.ack().await.expect("an ack");
    letter
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_what_every_broker_promises() {
    let Some(server) = Server::shared() else { return };
    let vhost = server.vhost();
    conformance::check(&connect(&vhost, Role::Operator).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_for_a_queue_that_is_not_there_is_an_error_and_no_other_letter_suffers() {
    let Some(server) = Server::shared() else { return };
    let vhost = server.vhost();
    let broker = connect(&vhost, Role::Operator).await;
    vhost.delete_queue(&DEAD.name());
    let letters: Vec<_> = (0..200).map(|n| (if n == 100 { DEAD } else { WORK }, Letter::new("x"))).collect();
    let good = (0..200).map(|_| (WORK, Letter::new("y"))).collect();
    let (bad, good) = tokio::join!(broker.publish_all(letters), broker.publish_all(good));
    let error = bad.expect_err("no such queue");
    assert!(matches!(&error, BrokerError::Unavailable(text) if text.contains("filter.dead")), "{error}");
    good.expect("a confirmation");
    assert_eq!(broker.missing_queues().await.expect("an answer"), ["filter.dead"]);
    broker.publish(WORK, Letter::new("z")).await.expect("a confirmation");
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_end_subscriptions_and_both_come_back() {
    let Some(server) = Server::shared() else { return };
    let vhost = server.vhost();
    let broker = connect(&vhost, Role::Worker(StageName::Filter)).await;
    let mut consumer = broker.consume(WORK, 1).await.expect("a subscription");
    broker.publish(WORK, Letter::new("held")).await.expect("a confirmation");
    let held = next(&mut consumer).await;
    vhost.cut_connections(Role::Worker(StageName::Filter));
    assert!(timeout(SOON, consumer.next()).await.expect("the end soon").is_none());
    assert_eq!(held.ack().await, Err(BrokerError::LeaseLost));
    // What was under way may fail; what comes later may not.
    let again = async { while broker.publish(WORK, Letter::new("later")).await.is_err() {} };
    timeout(SOON, again).await.expect("a confirmation soon");
    let mut consumer = broker.consume(WORK, 2).await.expect("a subscription");
    let mut bodies = [take_away(&mut consumer).await.body, take_away(&mut consumer).await.body];
    bodies.sort();
    assert_eq!(bodies, ["held", "later"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_with_its_queue() {
    let Some(server) = Server::shared() else { return };
    let vhost = server.vhost();
    let broker = connect(&vhost, Role::Operator).await;
    let mut consumer = broker.consume(WORK, 1).await.expect("a subscription");
    vhost.delete_queue(&WORK.name());
    assert!(timeout(SOON, consumer.next()).await.expect("the end soon").is_none());
    let error = broker.consume(WORK, 1).await.map(drop).expect_err("no such queue");
    assert!(matches!(&error, BrokerError::Unavailable(text) if text.contains("definitions")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_survives_a_broker_that_is_killed() {
    let Some(mut server) = Server::own() else { return };
    let vhost = server.first_vhost();
    let settings = vhost.settings(Role::Operator).with_patience(SOON);
    let broker = RabbitMq::connect(settings).await.expect("a connection");
    let mut lost = broker.consume(DEAD, 1).await.expect("a subscription");
    let publishing = tokio::spawn({
        let broker = broker.clone();
        async move {
            let mut confirmed = Vec::new();
            let mut failed = 0;
            for round in 0.. {
                let bodies: Vec<String> = (0..20).map(|n| format!("{round}/{n}")).collect();
                let letters = bodies.iter().map(|body| (WORK, Letter::new(body.clone()))).collect();
                match broker.publish_all(letters).await {
                    Ok(()) => confirmed.extend(bodies),
                    Err(BrokerError::Unavailable(_)) => failed += 1,
                    Err(error) => panic!("{error}"),
                }
                // Some rounds after it came back.
                if failed > 0 && confirmed.last().is_some_and(|last| last.starts_with(&format!("{round}/"))) {
                    break;
                }
            }
            confirmed
        }
    });
    let mut seen = broker.consume(WORK, 1).await.expect("a subscription");
    for _ in 0..50 {
        next(&mut seen).await.requeue().await.expect("a requeue");
    }
    tokio::task::block_in_place(|| {
        server.kill();
        server.start();
    });
    assert!(timeout(SOON, lost.next()).await.expect("the end soon").is_none());
    assert!(timeout(SOON, async { while seen.next().await.is_some() {} }).await.is_ok());
    let mut missing: std::collections::BTreeSet<String> =
        timeout(2 * SOON, publishing).await.expect("an end").expect("no panic").into_iter().collect();
    assert!(missing.len() > 20, "{}", missing.len());
    let mut consumer = broker.consume(WORK, 100).await.expect("a subscription");
    while !missing.is_empty() {
        let letter = take_away(&mut consumer).await;
        missing.remove(std::str::from_utf8(&letter.body).expect("text"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_whose_workers_die_is_dead_and_reported() {
    let Some(server) = Server::shared() else { return };
    let vhost = server.vhost();
    let broker = connect(&vhost, Role::Operator).await;
    broker.publish(WORK, Letter::new("kills its worker").with("run", "r")).await.expect("a confirmation");
    for _ in 0..=MAX_RETURNS {
        assert_eq!(take(&broker, WORK).await.body, "kills its worker");
    }
    let mut deaths = broker.deaths(StageName::Filter, 1).await.expect("a subscription");
    assert_eq!(take_away(&mut deaths).await.body, "kills its worker");
    let dead = take(&broker, DEAD).await;
    assert_eq!((&dead.body[..], dead.headers["run"].as_str()), (&b"kills its worker"[..], "r"));
    assert_eq!(dead.headers["x-first-death-reason"], "delivery_limit");
    // People may look as often as they like.
    for _ in 0..=MAX_RETURNS {
        assert_eq!(take(&broker, DEAD).await.body, "kills its worker");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handing_back_is_no_death() {
    let Some(server) = Server::shared() else { return };
    let vhost = server.vhost();
    let broker = connect(&vhost, Role::Worker(StageName::Filter)).await;
    broker.publish(WORK, Letter::new("later").with("run", "r")).await.expect("a confirmation");
    let mut consumer = broker.consume(WORK, 1).await.expect("a subscription");
    for _ in 0..2 * MAX_RETURNS {
        let delivery = next(&mut consumer).await;
        assert_eq!((&delivery.letter, delivery.returns), (&Letter::new("later").with("run", "r"), 0));
        delivery.requeue().await.expect("a requeue");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_message_from_elsewhere_goes_to_the_dead_as_it_is() {
    let Some(server) = Server::shared() else { return };
    let vhost = server.vhost();
    let huge = vec![b'!'; 10_000_000];
    assert!(huge.len() > MAX_MESSAGE_BYTES);
    let foreign =
        lapin::Connection::connect(&vhost.address(Role::Administrator), Default::default()).await.unwrap();
    let channel = foreign.create_channel().await.unwrap();
    channel
        .basic_publish("".into(), "filter".into(), Default::default(), &huge, Default::default())
        .await
        .unwrap();
    let broker = connect(&vhost, Role::Operator).await;
    let mut consumer = broker.consume(WORK, 1).await.expect("a subscription");
    broker.publish(WORK, Letter::new("a job")).await.expect("a confirmation");
    assert_eq!(take_away(&mut consumer).await.body, "a job");
    assert_eq!(take(&broker, DEAD).await.body, huge);
    // Its report is as large, and of no use to anybody.
    let mut deaths = broker.deaths(StageName::Filter, 1).await.expect("a subscription");
    let second = broker.consume(WORK, 1).await;
    broker.publish(WORK, Letter::new("a dead job")).await.expect("a confirmation");
    next(&mut consumer).await.reject().await.expect("a rejection");
    assert_eq!(take_away(&mut deaths).await.body, "a dead job");
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_reads_no_other_stage_and_writes_to_its_followers_only() {
    let Some(server) = Server::shared() else { return };
    let vhost = server.vhost();
    let broker = connect(&vhost, Role::Worker(StageName::Filter)).await;
    for queue in [Queue::Work(StageName::Ingest), Queue::Work(StageName::Preprocess), DEAD] {
        let Err(error) = broker.consume(queue, 1).await.map(drop) else { panic!("read {}", queue.name()) };
        assert!(matches!(error, BrokerError::Refused(_)), "{error}");
    }
    let (bad, good) = tokio::join!(
        broker.publish(Queue::Work(StageName::Train), Letter::new("x")),
        broker.publish(Queue::Work(StageName::Preprocess), Letter::new("x")),
    );
    assert!(matches!(bad, Err(BrokerError::Refused(_))), "{bad:?}");
    // Its letter may have shared a channel with the other, which the broker has closed.
    assert!(!matches!(good, Err(BrokerError::Refused(_))), "{good:?}");
    for queue in [Queue::Work(StageName::Preprocess), WORK, Queue::Retry(StageName::Filter, 2), DEAD] {
        broker.publish(queue, Letter::new("x")).await.expect("a confirmation");
    }
    broker.deaths(StageName::Filter, 1).await.expect("a subscription");
    assert_eq!(broker.missing_queues().await, Ok(vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_how_many_jobs_wait_or_are_in_hand_and_touches_none() {
    let Some(server) = Server::shared() else { return };
    let vhost = server.vhost();
    let broker = connect(&vhost, Role::Operator).await;
    broker.publish_all((0..3).map(|_| (WORK, Letter::new("x"))).collect()).await.expect("a confirmation");
    let mut consumer = broker.consume(WORK, 1).await.expect("a subscription");
    let in_hand = next(&mut consumer).await;
    // What KEDA's scaler reads. The broker counts every few seconds.
    let counted = async {
        loop {
            let (status, queue) = vhost.call_as(Role::Watcher, "GET", "queues/VHOST/filter");
            assert_eq!(status, 200, "{queue}");
            if (&queue["messages"], &queue["messages_unacknowledged"]) == (&3.into(), &1.into()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(SOON, counted).await.expect("the count soon");
    for (method, path) in
        [("DELETE", "queues/VHOST/filter"), ("DELETE", "queues/VHOST/filter/contents"), ("GET", "users")]
    {
        let (status, answer) = vhost.call_as(Role::Watcher, method, path);
        assert!([401, 403].contains(&status), "{method} {path}: {status} {answer}");
    }
    let watcher = connect(&vhost, Role::Watcher).await;
    let error = watcher.consume(WORK, 1).await.map(drop).expect_err("no right to read");
    assert!(matches!(error, BrokerError::Refused(_)), "{error}");
    in_hand.ack().await.expect("an ack");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_enter_is_told_so_without_the_password() {
    let Some(server) = Server::shared() else { return };
    let vhost = server.vhost();
    let good = vhost.address(Role::Operator);
    let (user, rest) = good.rsplit_once('@').expect("an address");
    let (user, _) = user.rsplit_once(':').expect("an address");
    for bad in [format!("{user}:wr0ng@{rest}"), format!("{good}-elsewhere")] {
        let error = RabbitMq::connect(Settings::parse(&bad).unwrap()).await.map(drop).expect_err("no entry");
        assert!(matches!(error, BrokerError::Refused(_)), "{error}");
        let text = error.to_string();
        assert!(!text.contains("wr0ng") && !text.contains("127.0.0.1"), "{text}");
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_unavailable_in_time() {
    // Nobody listens where a listener was.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = Settings::parse(&format!("amqp://someone:s3cret@127.0.0.1:{port}/x")).unwrap();
    let connecting = RabbitMq::connect(settings.with_patience(Duration::from_millis(300)));
    let error = timeout(SOON, connecting).await.expect("an answer").map(drop).expect_err("no broker");
    assert!(matches!(error, BrokerError::Unavailable(_)), "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_our_definitions_has_no_drift_and_a_changed_one_has() {
    let Some(server) = Server::shared() else { return };
    let vhost = server.vhost();
    assert_eq!(drift(&vhost.get("definitions")), Vec::<String>::new());
    // Those that were loaded at the start.
    assert_eq!(drift(&server.first_vhost().get("definitions")), Vec::<String>::new());
    vhost.delete_queue("filter.retry.60s");
    let differences = drift(&vhost.get("definitions"));
    assert!(differences.contains(&"queues: filter.retry.60s is missing".into()), "{differences:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_sees_what_is_set_for_queues_and_how_much_room_there_is() {
    let Some(server) = Server::shared() else { return };
    let vhost = server.vhost();
    let management =
        |role| Management::new(&vhost.settings(role), Some(&vhost.management_address())).unwrap();
    let operator = management(Role::Operator);
    assert_eq!(operator.drift().await, Ok(vec![]));
    vhost.shorten_lease("filter", Duration::from_secs(60));
    let drift = operator.drift().await.unwrap();
    assert!(
        matches!(drift.as_slice(), [one] if one.contains("policies: filter") && one.contains("60000")),
        "{drift:?}"
    );
    let nodes = operator.nodes().await.unwrap();
    assert!(nodes.iter().all(|node| !node.is_short_of_disk && !node.name.is_empty()) && nodes.len() == 1);
    let refused = management(Role::Worker(StageName::Filter)).nodes().await;
    assert!(matches!(refused, Err(BrokerError::Refused(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_an_authority_of_our_own_and_nobody_unknown() {
    let Some(server) = Server::shared() else { return };
    let vhost = server.vhost();
    let settings = vhost.tls_settings(Role::Operator).with_patience(Duration::from_secs(5));
    let error = RabbitMq::connect(settings.clone()).await.map(drop).expect_err("an unknown authority");
    assert!(error.to_string().contains("certificate"), "{error}");
    let broker =
        RabbitMq::connect(settings.with_ca(vhost.ca()).with_patience(SOON)).await.expect("a connection");
    broker.publish(WORK, Letter::new("secret")).await.expect("a confirmation");
    assert_eq!(take(&broker, WORK).await.body, "secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_settled_before_the_end_does_not_come_again() {
    let Some(server) = Server::shared() else { return };
    let vhost = server.vhost();
    // A quorum queue takes 32 acks of a channel at a time; more that wait when the channel closes are lost, and harmless.
    let letters = 30;
    for _ in 0..5 {
        let broker = connect(&vhost, Role::Operator).await;
        broker
            .publish_all((0..letters).map(|_| (WORK, Letter::new("x"))).collect())
            .await
            .expect("a confirmation");
        let mut consumer = broker.consume(WORK, letters).await.expect("a subscription");
        for _ in 0..letters {
            next(&mut consumer).await.ack().await.expect("an ack");
        }
        drop(consumer);
        broker.close().await;
    }
    let broker = connect(&vhost, Role::Operator).await;
    broker.publish(WORK, Letter::new("last")).await.expect("a confirmation");
    assert_eq!(take(&broker, WORK).await.body, "last");
}
