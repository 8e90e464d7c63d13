//! Publishing with confirmations, many letters in flight.
//!
//! A few lanes, each with a channel of its own, take what waits, publish all of it and wait for all confirmations before
//! they take more. So many callers share the broker's writes to disk, and a letter that the broker returns can only belong
//! to its lane's present letters: with several letters in flight, AMQP doesn't say which confirmation a return goes with.

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::join_all;
use futures::{StreamExt, TryStreamExt, stream};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use modiolus_pipeline::topology::Queue;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use super::errors::{refuses_exchange, translate};
use super::letter::properties;
use super::link::Link;
use crate::{BrokerError, Letter};

/// How many channels publish at a time.
const LANES: usize = 8;

/// How many letters a lane takes at a time, about.
const LETTERS: usize = 512;

/// The publishing side of a broker.
pub(super) struct Publisher {
    link: Arc<Link>,
    requests: mpsc::Sender<Request>,
}

struct Request {
    letters: Vec<(Queue, Letter)>,
    done: oneshot::Sender<Result<(), BrokerError>>,
}

impl Publisher {
    /// Starts the lanes, which end when the publisher is dropped.
    pub(super) fn new(link: Arc<Link>) -> Self {
        let (requests, inbox) = mpsc::channel(LETTERS);
        let inbox = Arc::new(Mutex::new(inbox));
        for _ in 0..LANES {
            tokio::spawn(Lane { link: link.clone(), inbox: inbox.clone(), channel: None }.run());
        }
        Self { link, requests }
    }

    /// Publishes letters and returns when all are confirmed.
    pub(super) async fn publish(&self, letters: Vec<(Queue, Letter)>) -> Result<(), BrokerError> {
        let mut letters = letters.into_iter();
        let chunks = std::iter::from_fn(move || {
            let chunk: Vec<_> = letters.by_ref().take(LETTERS).collect();
            (!chunk.is_empty()).then(|| self.request(chunk))
        });
        stream::iter(chunks).buffered(LANES).try_collect().await
    }

    /// Closes the connection.
    pub(super) async fn close(&self) {
        self.link.close().await;
    }

    async fn request(&self, letters: Vec<(Queue, Letter)>) -> Result<(), BrokerError> {
        let (done, answer) = oneshot::channel();
        let asked = async {
            self.requests.send(Request { letters, done }).await.ok()?;
            answer.await.ok()
        };
        // For the connection, and for the confirmations.
        match timeout(2 * self.link.patience(), asked).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(BrokerError::Unavailable("publishing has ended with its runtime".into())),
            Err(_) => Err(BrokerError::Unavailable("publishing: no confirmation in time".into())),
        }
    }
}

struct Lane {
    link: Arc<Link>,
    inbox: Arc<Mutex<mpsc::Receiver<Request>>>,
    channel: Option<Channel>,
}

impl Lane {
    async fn run(mut self) {
        while let Some(requests) = self.take().await {
            let answers = match self.channel().await {
                Ok(channel) => self.publish(&channel, &requests).await,
                Err(error) => vec![Err(error); requests.len()],
            };
            for (request, answer) in requests.into_iter().zip(answers) {
                // Fails when nobody waits any more.
                let _ = request.done.send(answer);
            }
        }
    }

    /// What waits, at least one request; `None` at the end.
    async fn take(&self) -> Option<Vec<Request>> {
        let mut inbox = self.inbox.lock().await;
        let mut requests = vec![inbox.recv().await?];
        let mut letters = requests[0].letters.len();
        while letters < LETTERS
            && let Ok(request) = inbox.try_recv()
        {
            letters += request.letters.len();
            requests.push(request);
        }
        requests.retain(|request| !request.done.is_closed());
        Some(requests)
    }

    async fn channel(&mut self) -> Result<Channel, BrokerError> {
        if let Some(channel) = self.channel.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        self.channel = None;
        let channel = self.link.channel().await?;
        let selected = self.link.bounded(channel.confirm_select(ConfirmSelectOptions::default())).await;
        selected.map_err(|error| translate(&error, "asking for confirmations"))?;
        self.channel = Some(channel.clone());
        Ok(channel)
    }

    /// An answer for each request.
    async fn publish(&mut self, channel: &Channel, requests: &[Request]) -> Vec<Result<(), BrokerError>> {
        let letters = requests.iter().flat_map(|request| &request.letters);
        let confirmed = async {
            // All are handed over before the first wait: they keep their order and go out in few writes.
            let sent = join_all(letters.map(|(queue, letter)| send(channel, *queue, letter))).await;
            join_all(sent.into_iter().map(|sent| async { sent?.await })).await
        };
        let Ok(confirmations) = timeout(self.link.patience(), confirmed).await else {
            self.channel = None;
            let error = BrokerError::Unavailable("publishing: no confirmation in time".into());
            return vec![Err(error); requests.len()];
        };
        if confirmations.iter().any(Result::is_err) {
            self.channel = None;
        }
        let returned = returned(&confirmations);
        let mut confirmations = confirmations.iter();
        let answer = |request: &Request| {
            let verdicts = request.letters.iter().zip(confirmations.by_ref());
            // To the end, so that the next request begins at its own.
            verdicts
                .map(|((queue, _), confirmation)| judge(*queue, confirmation, &returned))
                .fold(Ok(()), Result::and)
        };
        requests.iter().map(answer).collect()
    }
}

async fn send(channel: &Channel, queue: Queue, letter: &Letter) -> lapin::Result<lapin::PublisherConfirm> {
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let (exchange, key) = (queue.stage().as_str().into(), queue.name().into());
    channel.basic_publish(exchange, key, options, &letter.body, properties(queue, letter)).await
}

/// The names of the queues for which letters were returned.
fn returned(confirmations: &[lapin::Result<Confirmation>]) -> HashSet<String> {
    let letters = confirmations.iter().filter_map(|confirmation| match confirmation {
        Ok(Confirmation::Ack(letter) | Confirmation::Nack(letter)) => letter.as_ref(),
        _ => None,
    });
    letters.map(|letter| letter.routing_key.to_string()).collect()
}

fn judge(
    queue: Queue,
    confirmation: &lapin::Result<Confirmation>,
    returned: &HashSet<String>,
) -> Result<(), BrokerError> {
    let name = queue.name();
    match confirmation {
        _ if returned.contains(&name) => {
            let text = format!("publishing: the broker has no queue {name}; load its definitions");
            Err(BrokerError::Unavailable(text))
        }
        Ok(Confirmation::Ack(_)) => Ok(()),
        Ok(_) => {
            Err(BrokerError::Unavailable(format!("publishing: queue {name} takes no more; it may be full")))
        }
        Err(error) if refuses_exchange(error, queue.stage().as_str()) => {
            Err(BrokerError::Refused(format!("publishing: this user may not write to {}", queue.stage())))
        }
        // Another's fault may have closed the channel.
        Err(error) => match translate(error, &format!("publishing to {name}")) {
            BrokerError::Refused(text) => Err(BrokerError::Unavailable(text)),
            error => Err(error),
        },
    }
}
