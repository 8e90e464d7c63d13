//! How far a run is, as people see it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use modiolus_operations::runs::State;
use modiolus_pipeline::{JobId, ModelVersion, PatientKey, Reason, RunId, StageName};
use serde::Serialize;
use utoipa::ToSchema;

use crate::catalogue::{Reached, Run};
use crate::works::Standing;

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Summary {
    #[schema(value_type = String)]
    pub(crate) run: RunId,
    #[schema(value_type = String)]
    pub(crate) state: State,
    /// When it was submitted, in seconds since 1970.
    pub(crate) started: Option<i64>,
    /// Its plane's name.
    pub(crate) plane: Option<String>,
    #[schema(value_type = Option<String>)]
    pub(crate) model: Option<ModelVersion>,
    pub(crate) files: u64,
    /// How many files have their verdict.
    pub(crate) done: usize,
    pub(crate) refused: usize,
    pub(crate) patients: usize,
    pub(crate) kept: usize,
    /// How many slices have their mask.
    pub(crate) drawn: usize,
}

/// A run in detail.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Progress {
    #[serde(flatten)]
    pub(crate) summary: Summary,
    pub(crate) chunks: usize,
    pub(crate) chunks_done: usize,
    /// Jobs by stage.
    pub(crate) stages: Vec<Stage>,
    /// Slices by patient.
    pub(crate) grid: Vec<Patient>,
    /// Refused files by reason, the most frequent first.
    pub(crate) refusals: Vec<Refused>,
    /// Jobs that were given up.
    pub(crate) given_up: Vec<GivenUp>,
    /// What there is to do as far as it is known: files that need their verdict, and slices that need their mask.
    pub(crate) steps: u64,
    /// How much of it is done.
    pub(crate) steps_done: u64,
    /// Files per second since somebody watches, while files have no verdict yet.
    pub(crate) files_per_second: Option<f64>,
    /// Masks per second since somebody watches.
    pub(crate) masks_per_second: Option<f64>,
    pub(crate) seconds_left: Option<f64>,
    /// It waits until another one is done.
    pub(crate) waits: bool,
    /// Why it stands still, where it does: an error that may pass did not pass.
    pub(crate) stands_still: Option<String>,
    /// How many times jobs were tried again, as far as that was heard.
    pub(crate) tried_again: usize,
    /// Whether the jobs that were given up can be replayed or dropped.
    pub(crate) can_replay: bool,
    /// The files that were uploaded for it, which lie in the store as they came until somebody removes them.
    pub(crate) uploaded: Option<Uploaded>,
}

/// What was uploaded for a run.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Uploaded {
    files: u64,
    /// When they were removed, in seconds since 1970; null while they are there.
    removed: Option<i64>,
}

/// The jobs of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Stage {
    #[schema(value_type = String)]
    stage: StageName,
    ended: usize,
    /// Known and not ended.
    open: usize,
    failed: usize,
}

/// The slices of a patient.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Patient {
    #[schema(value_type = String)]
    patient: PatientKey,
    kept: usize,
    prepared: usize,
    drawn: usize,
    failed: usize,
}

/// Files that were refused for one reason.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Refused {
    /// Its code, as in `summary.csv`.
    reason: &'static str,
    /// The same for people.
    words: &'static str,
    files: usize,
}

/// A job that was given up.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct GivenUp {
    chunk: usize,
    #[schema(value_type = String)]
    job: JobId,
    code: String,
    message: String,
}

/// What of a run goes on at a speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Counted {
    Files,
    Masks,
    Epochs,
}

/// What is remembered of runs from one look to the next.
#[derive(Default)]
pub(crate) struct Watching {
    /// When some of what each run does was seen first, and how much it was then.
    since: Mutex<HashMap<(RunId, Counted), (Instant, usize)>>,
    /// What lists say of those that are done.
    done: Mutex<HashMap<RunId, Summary>>,
}

impl Watching {
    /// What a list said of a run that was done then.
    pub(crate) fn summary(&self, run: &RunId) -> Option<Summary> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).get(run).cloned()
    }

    /// Remembers what a list says of a run that is done.
    pub(crate) fn remember(&self, summary: &Summary) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.insert(summary.run.clone(), summary.clone());
    }

    /// How many per second there were since the run was looked at first, or since the first of them.
    pub(crate) fn speed(&self, run: &RunId, counted: Counted, done: usize) -> Option<f64> {
        let mut watched = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if done == 0 && counted == Counted::Masks {
            // They come after other work, which is not to slow them down.
            return None;
        }
        let (since, before) = *watched.entry((run.clone(), counted)).or_insert((Instant::now(), done));
        let seconds = since.elapsed().as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // no run has that many files
        (seconds > 1.0 && done > before).then(|| (done - before) as f64 / seconds)
    }

    pub(crate) fn forget(&self, run: &RunId) {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, _), _| of != run);
    }
}

impl Summary {
    /// What a list says of a run.
    pub(crate) fn of(run: &Run) -> Self {
        let state = &run.state;
        Self {
            run: state.run.clone(),
            state: state.state,
            started: state.submitted,
            plane: state.plane.clone(),
            model: state.model.clone(),
            files: state.files.unwrap_or_default(),
            done: run.files_done(),
            refused: run.refused().values().sum(),
            patients: run.patients().len(),
            kept: run.slices.len(),
            drawn: run.slices.iter().filter(|slice| slice.found.reached == Reached::Drawn).count(),
        }
    }
}

impl Progress {
    /// How far a run is.
    pub(crate) fn of(run: &Run, watching: &Watching, standing: Standing) -> Self {
        let summary = Summary::of(run);
        if run.state.state != State::Running {
            watching.forget(&summary.run);
        }
        let speed = |counted, done, left: u64| match run.state.state {
            State::Running => watching.speed(&summary.run, counted, done).filter(|_| left > 0),
            _ => None,
        };
        let grid = grid(run);
        let ended = summary.drawn + grid.iter().map(|patient| patient.failed).sum::<usize>();
        let (files_left, masks_left) =
            (summary.files.saturating_sub(summary.done as u64), summary.kept.saturating_sub(ended) as u64);
        let files_per_second = speed(Counted::Files, summary.done, files_left);
        let masks_per_second = speed(Counted::Masks, summary.drawn, masks_left);
        Self {
            chunks: run.state.chunks,
            chunks_done: run.state.chunks_done,
            stages: stages(run),
            grid,
            refusals: refusals(run),
            given_up: given_up(run),
            steps: summary.files + summary.kept as u64,
            steps_done: (summary.done + ended) as u64,
            files_per_second,
            masks_per_second,
            seconds_left: seconds_left((files_left, files_per_second), (masks_left, masks_per_second)),
            waits: standing.waits,
            stands_still: standing.stands_still,
            tried_again: standing.tried_again,
            can_replay: standing.can_replay,
            uploaded: run.state.uploaded.map(|of| Uploaded { files: of.files, removed: of.removed }),
            summary,
        }
    }

    /// Whether nothing more will happen.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.summary.state, State::Done | State::Cancelled)
    }
}

/// Files and masks are worked on at once, so what takes longer counts; nothing is said while one of them has no speed yet.
#[allow(clippy::cast_precision_loss)] // no run has that many files
fn seconds_left(files: (u64, Option<f64>), masks: (u64, Option<f64>)) -> Option<f64> {
    let seconds = |(left, speed): (u64, Option<f64>)| match left {
        0 => Some(0.0),
        left => speed.map(|speed| left as f64 / speed),
    };
    Some(seconds(files)?.max(seconds(masks)?)).filter(|&seconds| seconds > 0.0)
}

fn stages(run: &Run) -> Vec<Stage> {
    let stages = [StageName::Ingest, StageName::Filter, StageName::Preprocess, StageName::Infer];
    let of = |stage: StageName| {
        let sum = |jobs: fn(&crate::catalogue::Chunk) -> &BTreeMap<StageName, usize>| {
            run.chunks.iter().filter_map(|chunk| jobs(chunk).get(&stage)).sum()
        };
        let is_its = |failed: &&crate::catalogue::GivenUp| failed.job.as_str().starts_with(stage.as_str());
        let failed = run.chunks.iter().flat_map(|chunk| &chunk.failed).filter(is_its).count();
        Stage { stage, ended: sum(|chunk| &chunk.ended), open: sum(|chunk| &chunk.open), failed }
    };
    stages.map(of).to_vec()
}

fn grid(run: &Run) -> Vec<Patient> {
    let mut grid: Vec<Patient> = Vec::new();
    for slice in &run.slices {
        let patient = &slice.found.patient;
        if grid.last().is_none_or(|last| last.patient != *patient) {
            grid.push(Patient { patient: patient.clone(), kept: 0, prepared: 0, drawn: 0, failed: 0 });
        }
        if let Some(row) = grid.last_mut() {
            let reached = slice.found.reached;
            row.kept += 1;
            row.prepared += usize::from(matches!(reached, Reached::Prepared | Reached::Drawn));
            row.drawn += usize::from(reached == Reached::Drawn);
            row.failed += usize::from(reached == Reached::Failed);
        }
    }
    grid
}

fn refusals(run: &Run) -> Vec<Refused> {
    let refused =
        |(reason, files): (Reason, usize)| Refused { reason: reason.code(), words: words(reason), files };
    let mut refusals: Vec<Refused> = run.refused().into_iter().map(refused).collect();
    refusals.sort_by(|a, b| b.files.cmp(&a.files).then(a.reason.cmp(b.reason)));
    refusals
}

/// What is wrong with a file, for people who don't know DICOM.
fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::Empty => "empty",
        Reason::AppleDouble => "a Mac's hidden file",
        Reason::NotDicom => "not DICOM",
        Reason::Truncated => "cut off",
        Reason::NoPixels => "no picture inside",
        Reason::NotAnImage => "not an image of a scan",
        Reason::ReportPage => "a page of text, or of a screen",
        Reason::Colour => "in colour",
        Reason::MultiFrame => "several pictures in one file",
        Reason::UnsupportedTransferSyntax => "packed in a way that can't be read here",
        Reason::MalformedAttribute => "something needed is missing or impossible",
        Reason::TooLarge => "too large",
        Reason::Unreadable => "can't be read from the disk",
        Reason::NoOrientation => "doesn't say how it lies",
        Reason::ImpossibleOrientation => "lies as nothing can",
        Reason::OtherPlane => "another plane",
    }
}

fn given_up(run: &Run) -> Vec<GivenUp> {
    let all = run
        .chunks
        .iter()
        .enumerate()
        .flat_map(|(chunk, of)| of.failed.iter().map(move |failed| (chunk, failed)));
    all.map(|(chunk, failed)| GivenUp {
        chunk,
        job: failed.job.clone(),
        code: failed.code.clone(),
        message: failed.message.clone(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_what_takes_longer() {
        assert_eq!(seconds_left((100, Some(50.0)), (40, Some(2.0))), Some(20.0));
        assert_eq!(seconds_left((100, Some(2.0)), (0, None)), Some(50.0));
        assert_eq!(seconds_left((0, None), (30, Some(3.0))), Some(10.0));
        assert_eq!(seconds_left((100, Some(50.0)), (40, None)), None, "masks have no speed yet");
        assert_eq!(seconds_left((0, None), (0, None)), None);
    }

    #[test]
    fn the_speed_of_masks_begins_with_the_first_of_them() {
        let (watching, run): (_, RunId) = (Watching::default(), "one".parse().unwrap());
        assert_eq!(watching.speed(&run, Counted::Masks, 0), None);
        assert!(watching.since.lock().unwrap().is_empty());
        assert_eq!(watching.speed(&run, Counted::Masks, 3), None);
        assert_eq!(watching.speed(&run, Counted::Files, 0), None);
        assert_eq!(watching.since.lock().unwrap().len(), 2);
        watching.forget(&run);
        assert!(watching.since.lock().unwrap().is_empty());
    }
}
