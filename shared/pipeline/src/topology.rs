//! Queues: one table, from which every broker is set up.

use std::time::Duration;

use crate::StageName;

/// How often a job is tried before it is dead: the first attempt and one after each delay.
pub const MAX_ATTEMPTS: u32 = RETRY_DELAYS.len() as u32 + 1;

/// The delays before the second, third and fourth attempt.
pub const RETRY_DELAYS: [Duration; 3] =
    [Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(600)];

/// How often the broker gives a letter out again, after its worker died or was lost, before the letter is dead.
pub const MAX_RETURNS: u32 = 20;

/// The stages whose jobs follow from the jobs of a stage: those that its worker may write to, besides its own.
pub fn followers(stage: StageName) -> &'static [StageName] {
    match stage {
        StageName::Ingest => &[StageName::Filter],
        StageName::Filter => &[StageName::Preprocess],
        StageName::Preprocess => &[StageName::Infer],
        StageName::Train => &[StageName::Train],
        StageName::Infer => &[],
    }
}

/// How long a worker may keep a job before the broker takes it for lost and gives it to another. Jobs take seconds to
/// minutes; where a network runs on a slow machine, more.
pub fn longest_lease(stage: StageName) -> Duration {
    match stage {
        StageName::Ingest | StageName::Filter | StageName::Preprocess => Duration::from_secs(30 * 60),
        StageName::Train | StageName::Infer => Duration::from_secs(4 * 60 * 60),
    }
}

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

    /// The stage that it belongs to.
    pub fn stage(self) -> StageName {
        match self {
            Self::Work(stage) | Self::Retry(stage, _) | Self::Dead(stage) => stage,
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
