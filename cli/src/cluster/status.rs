//! `modiolus status`: the runs of a cluster, or one of them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use futures::stream::{StreamExt, TryStreamExt, iter};
use modiolus_operations::runs::{RunState, State, ended_by_stage};
use modiolus_pipeline::key::SUBMISSIONS_PREFIX;
use modiolus_pipeline::{Bucket, RunId, StageName};
use modiolus_runtime::FailedJob;
use modiolus_store::ObjectStore;
use serde::Serialize;

use super::arguments::Status;
use super::now;
use crate::output::{self, Table};

/// How many runs are looked at at once.
const AT_A_TIME: usize = 8;

/// Failed jobs that are shown, and no more: their causes are few.
const SHOWN: usize = 20;

/// One run in detail.
#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    run: RunState,
    /// How many jobs of each stage have ended.
    jobs: BTreeMap<StageName, usize>,
}

/// Shows all runs, or one.
pub(crate) async fn status(options: &Status) -> Result<()> {
    let store = options.at.configuration()?.open_store()?;
    match &options.run {
        Some(run) => one(&*store, run, options.json).await,
        None => all(&*store, options.json).await,
    }
}

async fn all(store: &dyn ObjectStore, json: bool) -> Result<()> {
    let paths = store.list(Bucket::Incoming, SUBMISSIONS_PREFIX).await?;
    let runs: Vec<RunId> = paths.iter().filter_map(|path| run_of(path)).collect();
    let states: Vec<_> = runs.iter().map(|run| RunState::read(store, run)).collect();
    let states: Vec<Option<RunState>> = iter(states).buffered(AT_A_TIME).try_collect().await?;
    let mut states: Vec<RunState> = states.into_iter().flatten().collect();
    states.sort_by_key(|state| state.submitted);
    if json {
        return output::json(&states);
    }
    let mut table = Table::new(&["run", "state", "chunks", "failed", "files", "plane", "model", "submitted"]);
    for run in &states {
        table.row([
            run.run.to_string(),
            word(run.state).to_owned(),
            format!("{}/{}", run.chunks_done, run.chunks),
            run.failed.len().to_string(),
            run.files.map_or_else(|| "-".into(), |files| files.to_string()),
            run.plane.clone().unwrap_or_else(|| "-".into()),
            run.model.as_ref().map_or_else(|| "-".into(), ToString::to_string),
            run.submitted.map_or_else(|| "-".into(), ago),
        ]);
    }
    table.print()
}

fn run_of(path: &str) -> Option<RunId> {
    path.strip_prefix(SUBMISSIONS_PREFIX)?.strip_suffix(".json")?.parse().ok()
}

async fn one(store: &dyn ObjectStore, run: &RunId, json: bool) -> Result<()> {
    let state = RunState::read(store, run).await?;
    let state = state.with_context(|| format!("there is no run {run}: see `modiolus status`"))?;
    let jobs = ended_by_stage(store, run).await?;
    if json {
        return output::json(&Detail { run: state, jobs });
    }
    let mut table = Table::new(&["run", run.as_str()]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("state", word(state.state).to_owned());
    row("submitted", state.submitted.map_or_else(|| "-".into(), ago));
    row("files", state.files.map_or_else(|| "-".into(), |files| files.to_string()));
    row("plane", state.plane.unwrap_or_else(|| "-".into()));
    row("model", state.model.map_or_else(|| "-".into(), |model| model.to_string()));
    row("chunks done", format!("{} of {}", state.chunks_done, state.chunks));
    for (stage, ended) in jobs {
        row(&format!("{stage} jobs ended"), ended.to_string());
    }
    row("jobs given up", state.failed.len().to_string());
    if state.state == State::Cancelled {
        row("jobs cancelled", state.cancelled.to_string());
    }
    table.print()?;
    show_failed(&state.failed)
}

fn show_failed(failed: &[FailedJob]) -> Result<()> {
    if failed.is_empty() {
        return Ok(());
    }
    output::line("")?;
    let mut table = Table::new(&["chunk", "job", "code", "cause"]);
    for job in failed.iter().take(SHOWN) {
        table.row([job.chunk.to_string(), job.job.to_string(), job.code.clone(), job.message.clone()]);
    }
    table.print()?;
    match failed.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => output::line(&format!("and {more} more: --json shows all")),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::NotStarted => "not started: submit again",
        State::Running => "running",
        State::Done => "done",
        State::Cancelled => "cancelled: submitted again, it goes on",
    }
}

/// How long ago a time (in seconds since 1970) is.
fn ago(time: i64) -> String {
    let seconds = now().saturating_sub(time).max(0);
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_tell_them() {
        assert_eq!(ago(now() - 7_300), "2 h ago");
        assert_eq!(ago(now() - 300), "5 min ago");
        assert_eq!(ago(now() + 300), "0 s ago", "clocks differ");
    }
}
