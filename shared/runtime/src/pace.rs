//! How many jobs a worker has in hand: as many as it has slots, and where jobs are short, more, so that no slot waits for
//! the broker's round trips (a letter comes, what follows is confirmed, the ack goes).

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use modiolus_store::on_blocking_thread;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How much work is in hand besides what runs: longer than a broker takes to confirm, short enough that no other worker
/// misses it.
const AHEAD: Duration = Duration::from_millis(50);

/// The most that is ever in hand; beyond it nothing gets faster.
const MOST: usize = 500;

/// The part of a new length in the mean.
const WEIGHT: f64 = 1.0 / 16.0;

/// The slots of a worker, and how long jobs hold them.
pub(crate) struct Pace {
    slots: usize,
    /// The mean time that a job holds a slot, in seconds; nothing before the first job.
    mean: Mutex<Option<f64>>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Work>,
    /// How many slots are taken.
    busy: usize,
}

type Work = Box<dyn FnOnce() + Send>;

impl Pace {
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots: slots.max(1), mean: Mutex::new(None), queue: Mutex::default() }
    }

    /// Does some work when a slot is free, on a thread that may take its time and may wait for a disk: not one of those that
    /// feed heartbeats. A thread stays in its slot as long as work waits, since waking one costs as much as a short job.
    /// `None` when the process is ending, or the work panicked.
    pub(crate) async fn in_a_slot<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, outcome) = oneshot::channel();
        let runtime = Handle::current();
        let work = Box::new(move || {
            // Closed when nobody waits any more.
            if !done.is_closed() {
                let _ = done.send(runtime.block_on(work));
            }
        });
        if self.add(work) {
            let pace = self.clone();
            tokio::task::spawn_blocking(move || on_blocking_thread(|| pace.work()));
        }
        outcome.await.ok()
    }

    /// Whether one more thread is needed.
    fn add(&self, work: Work) -> bool {
        let mut queue = lock(&self.queue);
        queue.waiting.push_back(work);
        let is_free = queue.busy < self.slots;
        queue.busy += usize::from(is_free);
        is_free
    }

    fn work(&self) {
        while let Some(work) = self.next() {
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    }

    fn next(&self) -> Option<Work> {
        let mut queue = lock(&self.queue);
        let work = queue.waiting.pop_front();
        queue.busy -= usize::from(work.is_none());
        work
    }

    /// How many jobs are to be in hand, where there are to be `now` at present: nothing changes for small differences.
    pub(crate) fn in_hand(&self, now: usize) -> usize {
        let wanted = self.wanted();
        if wanted >= 2 * now || 2 * wanted <= now { wanted } else { now }
    }

    fn wanted(&self) -> usize {
        let Some(mean) = *lock(&self.mean) else { return self.slots };
        let ahead = self.slots as f64 * AHEAD.as_secs_f64() / mean.max(f64::MIN_POSITIVE);
        self.slots.saturating_add(ahead as usize).min(MOST.max(self.slots))
    }

    /// Takes note of how long a job held its slot.
    pub(crate) fn note(&self, length: Duration) {
        let (mut mean, length) = (lock(&self.mean), length.as_secs_f64());
        *mean = Some(mean.map_or(length, |mean| mean + WEIGHT * (length - mean)));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_hand(slots: usize, length: Duration, now: usize) -> usize {
        let pace = Pace::new(slots);
        pace.note(length);
        pace.in_hand(now)
    }

    #[test]
    fn long_jobs_are_taken_one_per_slot_and_short_ones_ahead() {
        assert_eq!(Pace::new(2).in_hand(2), 2, "nothing is known yet");
        assert_eq!(in_hand(2, Duration::from_secs(60), 2), 2);
        assert_eq!(in_hand(2, Duration::from_millis(10), 2), 12);
        assert_eq!(in_hand(2, Duration::from_micros(50), 2), 500);
        assert_eq!(in_hand(2, Duration::ZERO, 2), 500);
        assert_eq!(in_hand(2, Duration::from_secs(60), 500), 2);
        assert_eq!(in_hand(600, Duration::ZERO, 600), 600);
    }

    #[test]
    fn small_differences_change_nothing() {
        assert_eq!(in_hand(2, Duration::from_millis(10), 10), 10);
        assert_eq!(in_hand(2, Duration::from_millis(10), 20), 20);
    }

    #[tokio::test]
    async fn a_slot_is_held_by_one_job_at_a_time_and_outlives_one_that_panics() {
        let pace = Arc::new(Pace::new(1));
        let running = Arc::new(Mutex::new(0));
        let job = |number: usize| {
            let running = running.clone();
            pace.in_a_slot(async move {
                *lock(&running) += 1;
                tokio::task::yield_now().await;
                assert_eq!(*lock(&running), 1, "two at a time");
                *lock(&running) -= 1;
                if number == 3 {
                    std::panic::resume_unwind(Box::new("a fault in a job"));
                }
                number
            })
        };
        let done = futures::future::join_all((0..10).map(job)).await;
        let wanted: Vec<_> = (0..10).map(|number| (number != 3).then_some(number)).collect();
        assert_eq!(done, wanted);
        assert_eq!(pace.in_a_slot(async { 10 }).await, Some(10));
    }
}
