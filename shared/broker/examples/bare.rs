//! The bare limit that the runtime is measured against: lapin alone takes letters from a quorum queue, publishes a follower
//! for each if asked to, waits for its confirmation, and acknowledges; always as many in flight as help.
//!
//! usage: bare ADDRESS COUNT [follower]       prints the seconds from the first letter to the last ack

use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

const IN_FLIGHT: u16 = 500;
const PERSISTENT: u8 = 2;

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, count, mode @ ..] = arguments.as_slice() else { panic!("bare ADDRESS COUNT [follower]") };
    let count: usize = count.parse().expect("how many letters");
    let follows = mode == ["follower"];
    // As the adapter does: publishing on one connection, taking on another.
    let publishing = Connection::connect(address, ConnectionProperties::default()).await?;
    let publisher = publishing.create_channel().await?;
    publisher.confirm_select(ConfirmSelectOptions::default()).await?;
    let consuming = Connection::connect(address, ConnectionProperties::default()).await?;
    let channel = consuming.create_channel().await?;
    channel.basic_qos(IN_FLIGHT, BasicQosOptions::default()).await?;

    let body = vec![b'x'; 300];
    let all = futures::stream::iter(0..count).map(|_| publish(&publisher, "filter", &body));
    all.buffer_unordered(IN_FLIGHT.into()).try_collect::<()>().await?;

    let consuming = BasicConsumeOptions::default();
    let letters = channel.basic_consume("filter".into(), "".into(), consuming, FieldTable::default()).await?;
    let begun = Instant::now();
    let jobs = letters.take(count).map(|letter| async {
        let letter = letter?;
        if follows {
            publish(&publisher, "preprocess", &letter.data).await?;
        }
        letter.acker.ack(BasicAckOptions::default()).await
    });
    jobs.buffer_unordered(IN_FLIGHT.into()).try_for_each(|_| async { Ok(()) }).await?;
    println!("{}", begun.elapsed().as_secs_f64());
    Ok(())
}

async fn publish(channel: &Channel, stage: &str, body: &[u8]) -> lapin::Result<()> {
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let confirmation = channel.basic_publish(stage.into(), stage.into(), options, body, properties).await?;
    assert!(matches!(confirmation.await?, Confirmation::Ack(None)), "a letter was not taken");
    Ok(())
}
