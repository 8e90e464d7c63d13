//! What a program counts, for Prometheus and for probes. No label holds anything of a patient, a run or a job.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use modiolus_pipeline::{ProgressEvent, Reason, StageName};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// How a delivery ended, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The job is done.
    Done,
    /// It failed and waits for another attempt.
    Retried,
    /// It is given up.
    Failed,
    /// It is not done, since its run was cancelled.
    Cancelled,
    /// It went back to its queue, since the process stops or can't settle it now.
    Returned,
}

impl Ending {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retried => "retried",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Returned => "returned",
        }
    }
}

/// What the workers of a process have counted so far. Clones share it.
#[derive(Clone, Default)]
pub struct Telemetry(Arc<Counts>);

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

struct Counts {
    registry: Registry,
    jobs: Family<EndingLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    ages: Family<StageLabel, Histogram>,
    seconds: Family<StageLabel, Histogram>,
    attempts: Family<StageLabel, Histogram>,
    running: Family<StageLabel, Gauge>,
    subscribed: Family<StageLabel, Gauge>,
    units: Family<StageLabel, Counter>,
    epochs: Counter,
    refusals: Family<ReasonLabel, Counter>,
    requests: Family<StatusLabel, Counter>,
    request_seconds: Histogram,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EndingLabels {
    stage: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ErrorLabels {
    stage: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

impl Default for Counts {
    fn default() -> Self {
        // A twentieth of a second to 27 minutes.
        let seconds = || Histogram::new(exponential_buckets(0.05, 2.0, 16));
        // A second to 16 hours.
        let ages = || Histogram::new(exponential_buckets(1.0, 3.0, 11));
        let attempts = || Histogram::new([1.0, 2.0, 3.0, 4.0]);
        let mut counts = Self {
            registry: Registry::with_prefix("modiolus"),
            jobs: Family::default(),
            errors: Family::default(),
            ages: Family::new_with_constructor(ages),
            seconds: Family::new_with_constructor(seconds),
            attempts: Family::new_with_constructor(attempts),
            running: Family::default(),
            subscribed: Family::default(),
            units: Family::default(),
            epochs: Counter::default(),
            refusals: Family::default(),
            requests: Family::default(),
            request_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
        };
        counts.register();
        counts
    }
}

impl Counts {
    fn register(&mut self) {
        let all = &mut self.registry;
        all.register("jobs", "Deliveries that ended, by how", self.jobs.clone());
        all.register("job_errors", "Errors of jobs, by code, retried or not", self.errors.clone());
        let help = "How long ago a job was put into its queue when it is taken, as far as clocks agree";
        all.register_with_unit("queue_age", help, Unit::Seconds, self.ages.clone());
        let help = "From taking a delivery to settling it";
        all.register_with_unit("job_duration", help, Unit::Seconds, self.seconds.clone());
        let help = "Which attempt it was that ended a job, done or failed";
        all.register("job_attempts", help, self.attempts.clone());
        all.register("jobs_running", "Jobs in hand now", self.running.clone());
        all.register("subscribed", "1 while jobs are taken from the queue", self.subscribed.clone());
        all.register("units", "Files or slices that were worked on", self.units.clone());
        all.register("training_epochs", "Epochs that ended", self.epochs.clone());
        all.register("refused_files", "Files that filter refused, by reason", self.refusals.clone());
        all.register("requests", "Requests that the console answered, by status", self.requests.clone());
        let help = "From a request to the start of its answer";
        all.register_with_unit("request_duration", help, Unit::Seconds, self.request_seconds.clone());
    }
}

fn label(stage: StageName) -> StageLabel {
    StageLabel { stage: stage.as_str() }
}

impl Telemetry {
    /// Everything, in the text form of OpenMetrics, which Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0.registry).expect("writing to memory");
        text
    }

    /// Whether a worker takes jobs from this stage's queue.
    pub fn is_subscribed(&self, stage: StageName) -> bool {
        self.0.subscribed.get_or_create(&label(stage)).get() == 1
    }

    pub(crate) fn subscribed(&self, stage: StageName, is_subscribed: bool) {
        self.0.subscribed.get_or_create(&label(stage)).set(i64::from(is_subscribed));
    }

    pub(crate) fn taken(&self, stage: StageName, age: Option<Duration>) {
        if let Some(age) = age {
            self.0.ages.get_or_create(&label(stage)).observe(age.as_secs_f64());
        }
    }

    /// Counts a delivery as in hand until the value is dropped.
    pub(crate) fn running(&self, stage: StageName) -> Running {
        self.0.running.get_or_create(&label(stage)).inc();
        Running { telemetry: self.clone(), stage, since: Instant::now() }
    }

    pub(crate) fn ended(&self, stage: StageName, ending: Ending, attempt: u32) {
        let labels = EndingLabels { stage: stage.as_str(), outcome: ending.as_str() };
        self.0.jobs.get_or_create(&labels).inc();
        if matches!(ending, Ending::Done | Ending::Failed) {
            self.0.attempts.get_or_create(&label(stage)).observe(f64::from(attempt));
        }
    }

    pub(crate) fn error(&self, stage: StageName, code: &'static str) {
        self.0.errors.get_or_create(&ErrorLabels { stage: stage.as_str(), code }).inc();
    }

    pub(crate) fn progress(&self, stage: StageName, event: &ProgressEvent) {
        match event {
            ProgressEvent::Units { done } => {
                self.0.units.get_or_create(&label(stage)).inc_by(*done);
            }
            ProgressEvent::Epoch(_) => {
                self.0.epochs.inc();
            }
            ProgressEvent::Refused { reason, files } => self.refused(*reason, *files),
            // Counted where it happens.
            ProgressEvent::TriedAgain { .. } => {}
        }
    }

    /// Counts an answer to a request, with its status (HTTP) and how long it took.
    pub fn answered(&self, status: u16, took: Duration) {
        let status = match status {
            100..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        self.0.requests.get_or_create(&StatusLabel { status }).inc();
        self.0.request_seconds.observe(took.as_secs_f64());
    }

    fn refused(&self, reason: Reason, files: u64) {
        self.0.refusals.get_or_create(&ReasonLabel { reason: reason.code() }).inc_by(files);
    }
}

/// A delivery in hand.
pub(crate) struct Running {
    telemetry: Telemetry,
    stage: StageName,
    since: Instant,
}

impl Drop for Running {
    fn drop(&mut self) {
        let counts = &self.telemetry.0;
        counts.running.get_or_create(&label(self.stage)).dec();
        counts.seconds.get_or_create(&label(self.stage)).observe(self.since.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use modiolus_pipeline::job::train::EpochMetrics;

    use super::*;

    #[test]
    fn what_was_counted_is_in_the_text() {
        let telemetry = Telemetry::default();
        let stage = StageName::Filter;
        let running = telemetry.running(stage);
        assert!(telemetry.text().contains("modiolus_jobs_running{stage=\"filter\"} 1"));
        drop(running);
        telemetry.taken(stage, Some(Duration::from_secs(2)));
        telemetry.taken(stage, None);
        telemetry.ended(stage, Ending::Retried, 1);
        telemetry.ended(stage, Ending::Done, 2);
        telemetry.error(stage, "store-unavailable");
        telemetry.answered(404, Duration::from_secs(3));
        telemetry.progress(stage, &ProgressEvent::Units { done: 7 });
        let (loss, judged_loss, iou, dice) = (0.5, 0.5, 0.5, 0.5);
        let epoch = EpochMetrics { epoch: 9, epochs: 9, loss, judged_loss, iou, dice, held_out: true };
        telemetry.progress(StageName::Train, &ProgressEvent::Epoch(epoch));
        telemetry.progress(stage, &ProgressEvent::Refused { reason: Reason::OtherPlane, files: 3 });
        let text = telemetry.text();
        for line in [
            "modiolus_jobs_running{stage=\"filter\"} 0",
            "modiolus_jobs_total{stage=\"filter\",outcome=\"done\"} 1",
            "modiolus_jobs_total{stage=\"filter\",outcome=\"retried\"} 1",
            "modiolus_job_errors_total{stage=\"filter\",code=\"store-unavailable\"} 1",
            "modiolus_queue_age_seconds_sum{stage=\"filter\"} 2",
            "modiolus_queue_age_seconds_count{stage=\"filter\"} 1",
            "modiolus_job_duration_seconds_count{stage=\"filter\"} 1",
            "modiolus_job_attempts_sum{stage=\"filter\"} 2",
            "modiolus_units_total{stage=\"filter\"} 7",
            "modiolus_training_epochs_total 1",
            "modiolus_refused_files_total{reason=\"other-plane\"} 3",
            "modiolus_requests_total{status=\"4xx\"} 1",
            "modiolus_request_duration_seconds_sum 3",
        ] {
            assert!(text.contains(line), "{line} is missing:\n{text}");
        }
    }
}
