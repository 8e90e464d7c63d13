//! Settling what a subscription gave out, in few writes.
//!
//! The broker writes each settlement down. So while one is on its way to it, others wait, and go together: AMQP lets one ack
//! stand for all deliveries up to it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions};
use lapin::{Acker, Channel};

use super::link::Link;
use crate::Settlement;

/// The right to settle what a subscription gave out.
pub(super) struct Lease {
    link: Arc<Link>,
    /// Nothing when it has ended. The channel closes when the last of its clones is dropped.
    channel: Mutex<Option<Channel>>,
    outbox: Mutex<Outbox>,
}

#[derive(Default)]
struct Outbox {
    waiting: Vec<Note<Acker>>,
    is_being_written: bool,
    settled: Settled,
}

/// How one delivery ends.
#[derive(Debug, PartialEq, Eq)]
struct Note<A> {
    tag: u64,
    settlement: Settlement,
    acker: A,
}

impl Lease {
    pub(super) fn new(link: Arc<Link>, channel: Channel) -> Self {
        Self { link, channel: Mutex::new(Some(channel)), outbox: Mutex::default() }
    }

    /// The channel, until the lease has ended.
    pub(super) fn channel(&self) -> Option<Channel> {
        lock(&self.channel).clone()
    }

    pub(super) fn end(&self) {
        drop(lock(&self.channel).take());
    }

    /// Settles a delivery of the channel. The broker doesn't answer, so that waiting until it is written would say no more,
    /// and cost much. When it doesn't arrive the subscription ends, and the letter comes again.
    pub(super) fn settle(self: &Arc<Self>, channel: Channel, tag: u64, acker: Acker, settlement: Settlement) {
        let mut outbox = lock(&self.outbox);
        outbox.waiting.push(Note { tag, settlement, acker });
        if !outbox.is_being_written {
            outbox.is_being_written = true;
            let lease = self.clone();
            self.link.write_by_itself(async move { lease.write(&channel).await });
        }
    }

    /// Writes until nothing waits. The channel stays open so long.
    async fn write(&self, _channel: &Channel) {
        while let Some(notes) = self.next_notes() {
            for (note, stands_for_all) in notes {
                let _ = tell_broker(&note, stands_for_all).await;
            }
        }
    }

    fn next_notes(&self) -> Option<Vec<(Note<Acker>, bool)>> {
        let mut outbox = lock(&self.outbox);
        let waiting = std::mem::take(&mut outbox.waiting);
        outbox.is_being_written = !waiting.is_empty();
        (!waiting.is_empty()).then(|| outbox.settled.note(waiting))
    }
}

/// Which deliveries of a channel are settled.
#[derive(Debug, Default)]
struct Settled {
    /// All with this tag or a lower one; tags count from 1.
    through: u64,
    /// Some with higher tags.
    beyond: BTreeSet<u64>,
}

impl Settled {
    /// What to write so that these are settled, each with whether it stands for all up to it. An ack may only do so where
    /// everything before it is settled, be it here.
    fn note<A>(&mut self, mut notes: Vec<Note<A>>) -> Vec<(Note<A>, bool)> {
        let is_ack = |note: &Note<A>| note.settlement == Settlement::Ack;
        // What isn't acknowledged is said first, or an ack would stand for it.
        notes.sort_unstable_by_key(|note| (is_ack(note), note.tag));
        self.beyond.extend(notes.iter().map(|note| note.tag));
        while self.beyond.remove(&(self.through + 1)) {
            self.through += 1;
        }
        let last =
            notes.iter().filter(|note| is_ack(note) && note.tag <= self.through).map(|note| note.tag).max();
        let write = |note: Note<A>| match last {
            Some(last) if is_ack(&note) && note.tag < last => None,
            Some(last) if is_ack(&note) && note.tag == last => Some((note, true)),
            _ => Some((note, false)),
        };
        notes.into_iter().filter_map(write).collect()
    }
}

async fn tell_broker(note: &Note<Acker>, stands_for_all: bool) -> lapin::Result<bool> {
    let Note { acker, settlement, .. } = note;
    match settlement {
        Settlement::Ack => acker.ack(BasicAckOptions { multiple: stands_for_all }).await,
        Settlement::Reject => acker.reject(BasicRejectOptions { requeue: false }).await,
        Settlement::Requeue => acker.nack(BasicNackOptions { requeue: true, ..Default::default() }).await,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written, with `true` where it stands for all up to it.
    fn written(settled: &mut Settled, notes: &[(u64, Settlement)]) -> Vec<(u64, Settlement, bool)> {
        let notes =
            notes.iter().map(|(tag, settlement)| Note { tag: *tag, settlement: *settlement, acker: () });
        let written = settled.note(notes.collect());
        written.into_iter().map(|(note, all)| (note.tag, note.settlement, all)).collect()
    }

    #[test]
    fn one_ack_stands_for_all_before_it_and_for_none_that_is_open() {
        use Settlement::Ack;
        let mut settled = Settled::default();
        assert_eq!(written(&mut settled, &[(2, Ack), (1, Ack), (3, Ack)]), [(3, Ack, true)]);
        assert_eq!(written(&mut settled, &[(6, Ack), (5, Ack)]), [(5, Ack, false), (6, Ack, false)]);
        assert_eq!(written(&mut settled, &[(8, Ack), (4, Ack)]), [(4, Ack, true), (8, Ack, false)]);
        assert_eq!(written(&mut settled, &[(7, Ack)]), [(7, Ack, true)]);
        assert_eq!(written(&mut settled, &[(9, Ack)]), [(9, Ack, true)]);
    }

    #[test]
    fn what_is_rejected_or_handed_back_is_said_before_an_ack_stands_for_it() {
        use Settlement::{Ack, Reject, Requeue};
        let mut settled = Settled::default();
        assert_eq!(
            written(&mut settled, &[(4, Ack), (2, Reject), (1, Ack), (3, Requeue)]),
            [(2, Reject, false), (3, Requeue, false), (4, Ack, true)]
        );
        assert_eq!(written(&mut settled, &[(5, Reject)]), [(5, Reject, false)]);
        assert_eq!(written(&mut settled, &[(6, Ack)]), [(6, Ack, true)]);
    }
}
