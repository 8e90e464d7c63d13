//! Queues: one table, from which every broker is set up.

use std::time::Duration;

use crate::StageName;

/// How often a job is tried before it is dead: the first attempt and one after each delay.
pub const MAX_ATTEMPTS: u32 = RETRY_DELAYS.len() as u32 + 1;

/// The delays before the second, third and fourth attempt.
pub const RETRY_DELAYS: [Duration; 3] =
    [Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(600)];

/// A queue of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Jobs to do.
    Work(StageName),
    /// Jobs that wait for another attempt, by the index of their delay in [`RETRY_DELAYS`].
    Retry(StageName, usize),
    /// Jobs that were given up, for people to look at.
    Dead(StageName),
}

impl Queue {
    /// The queue's name at the broker.
    pub fn name(self) -> String {
        match self {
            Self::Work(stage) => stage.to_string(),
            Self::Retry(stage, delay) => format!("{stage}.retry.{}s", RETRY_DELAYS[delay].as_secs()),
            Self::Dead(stage) => format!("{stage}.dead"),
        }
    }

    /// All queues of all stages.
    pub fn all() -> impl Iterator<Item = Self> {
        StageName::ALL.into_iter().flat_map(|stage| {
            let retries = (0..RETRY_DELAYS.len()).map(move |delay| Self::Retry(stage, delay));
            [Self::Work(stage)].into_iter().chain(retries).chain([Self::Dead(stage)])
        })
    }

    /// Where a job goes after it has failed `attempt` times: the delay that the attempt calls for, or the dead.
    pub fn after_failure(stage: StageName, attempt: u32) -> Self {
        match attempt {
            0 => Self::Work(stage),
            n if n < MAX_ATTEMPTS => Self::Retry(stage, n as usize - 1),
            _ => Self::Dead(stage),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_waits_longer_after_each_failure_and_then_is_dead() {
        let stage = StageName::Filter;
        let names: Vec<_> = (1..=4).map(|n| Queue::after_failure(stage, n).name()).collect();
        assert_eq!(names, ["filter.retry.10s", "filter.retry.60s", "filter.retry.600s", "filter.dead"]);
        assert_eq!(Queue::all().count(), 25);
    }
}
