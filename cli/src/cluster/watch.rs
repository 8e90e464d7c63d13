//! `modiolus watch`: a run while it works, by folder (in most deliveries a patient) and stage.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, Result};
use modiolus_operations::runs::ended_jobs;
use modiolus_operations::trainings::TrainingState;
use modiolus_pipeline::job::ingest::Submission;
use modiolus_pipeline::job::train::EpochMetrics;
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::key::chunks_done_prefix;
use modiolus_pipeline::{Bucket, JobId, ObjectKey, Outcome, ProgressEvent, RunId, StageName, TrainingId};
use modiolus_runtime::{Event, Notice};
use modiolus_store::ObjectStore;

use super::Cluster;
use super::arguments::Watch;
use super::submit::{ended_well, joins};
use super::wait::Listener;
use crate::run::objects;
use crate::terminal::Bar;
use crate::{output, terminal};

/// Shows a run until it is done.
pub(crate) async fn watch(options: &Watch) -> Result<()> {
    let (cluster, run) = (Cluster::open(&options.at).await?, &options.run);
    let manifest: Option<RunManifest> =
        objects::json_if_there(&*cluster.store, ObjectKey::Run(run.clone())).await?;
    let manifest = manifest.with_context(|| format!("there is no run {run}: see `modiolus status`"))?;
    let submission: Option<Submission> =
        objects::json_if_there(&*cluster.store, ObjectKey::Submission(run.clone())).await?;
    // Listens first, so that nothing happens between what the store says and what is heard.
    let listener = Listener::new(&cluster.broker).await;
    let mut view = View::new(&manifest, submission, run.as_str());
    if !options.json {
        view.catch_up(&*cluster.store, options).await?;
        say_epochs_so_far(&*cluster.store, run).await?;
    }
    let joins = joins(&cluster);
    let mut printed = Ok(());
    let outcome = listener
        .until_done(&joins, run, |notice| match options.json {
            true if printed.is_ok() => printed = output::json_line(notice),
            true => {}
            false => view.follow(notice),
        })
        .await?;
    printed?;
    view.finish();
    if !outcome.is_cancelled() {
        terminal::say(&format!("{run} is done."));
    }
    cluster.broker.close().await;
    ended_well(run, &outcome.failed)
}

/// Says what a training's epoch brought, if the notice is of one.
pub(super) fn say_epoch(notice: &Notice) {
    if let Notice::Progress(Event { progress: ProgressEvent::Epoch(epoch), .. }) = notice {
        say(epoch);
    }
}

fn say(epoch: &EpochMetrics) {
    let EpochMetrics { epoch, epochs, loss, iou, .. } = epoch;
    terminal::say(&format!("epoch {epoch} of {epochs}: loss {loss:.4}, IoU {iou:.4}"));
}

/// Says what the epochs of a training have brought before anybody watched.
async fn say_epochs_so_far(store: &dyn ObjectStore, run: &RunId) -> Result<()> {
    let Ok(training) = run.as_str().parse::<TrainingId>() else { return Ok(()) };
    let state = TrainingState::read(store, &training).await?;
    state.iter().flat_map(|state| &state.epochs).for_each(say);
    Ok(())
}

/// What is known of a run, by the folders of its delivery.
struct View {
    folder_of: Vec<usize>,
    folders: Vec<Folder>,
}

struct Folder {
    name: String,
    chunks: HashSet<u32>,
    all_chunks: u64,
    ended: HashSet<(u32, JobId)>,
    by_stage: BTreeMap<StageName, usize>,
    given_up: usize,
    bar: Option<Bar>,
}

impl View {
    fn new(manifest: &RunManifest, submission: Option<Submission>, run: &str) -> Self {
        let names = submission.map(|submission| submission.folders).unwrap_or_default();
        let mut view = Self { folder_of: Vec::new(), folders: Vec::new() };
        let mut known: HashMap<String, usize> = HashMap::new();
        for chunk in 0..manifest.chunks.len() {
            let name = names.get(chunk).cloned().unwrap_or_else(|| run.to_owned());
            let folder = *known.entry(name.clone()).or_insert_with(|| {
                view.folders.push(Folder::new(name));
                view.folders.len() - 1
            });
            view.folders[folder].all_chunks += 1;
            view.folder_of.push(folder);
        }
        view
    }

    /// What has happened before anybody watched.
    async fn catch_up(&mut self, store: &dyn ObjectStore, options: &Watch) -> Result<()> {
        for (chunk, stage, job) in ended_jobs(store, &options.run).await? {
            if let Some(folder) = self.folder(chunk) {
                folder.ended(chunk, stage, job);
            }
        }
        let done = store.list(Bucket::Runs, &chunks_done_prefix(&options.run)).await?;
        for chunk in done.iter().filter_map(|path| path.rsplit('/').next()?.parse().ok()) {
            if let Some(folder) = self.folder(chunk) {
                folder.chunk_is_done(chunk);
            }
        }
        Ok(())
    }

    fn folder(&mut self, chunk: u32) -> Option<&mut Folder> {
        let folder = *self.folder_of.get(chunk as usize)?;
        self.folders.get_mut(folder)
    }

    fn follow(&mut self, notice: &Notice) {
        match notice {
            Notice::Progress(_) => say_epoch(notice),
            Notice::JobEnded { scope, stage, job, end } => {
                let Some(folder) = self.folder(scope.chunk) else { return };
                folder.given_up += usize::from(matches!(end, Outcome::Failed { .. }));
                folder.ended(scope.chunk, *stage, job.clone());
            }
            Notice::ChunkDone { scope, .. } => {
                if let Some(folder) = self.folder(scope.chunk) {
                    folder.chunk_is_done(scope.chunk);
                }
            }
            Notice::RunDone { .. } => {}
        }
    }

    fn finish(&mut self) {
        self.folders.iter_mut().for_each(Folder::finish);
    }
}

impl Folder {
    fn new(name: String) -> Self {
        Self {
            name,
            chunks: HashSet::new(),
            all_chunks: 0,
            ended: HashSet::new(),
            by_stage: BTreeMap::new(),
            given_up: 0,
            bar: None,
        }
    }

    fn ended(&mut self, chunk: u32, stage: StageName, job: JobId) {
        if self.ended.insert((chunk, job)) {
            *self.by_stage.entry(stage).or_default() += 1;
            self.draw(0);
        }
    }

    fn chunk_is_done(&mut self, chunk: u32) {
        if self.chunks.insert(chunk) {
            self.draw(1);
        }
        if self.chunks.len() as u64 == self.all_chunks {
            self.finish();
        }
    }

    /// Its bar appears when something happens in it.
    fn draw(&mut self, chunks: u64) {
        let text = self.text();
        let bar = self.bar.get_or_insert_with(|| Bar::new("", self.all_chunks, "chunks"));
        bar.relabel(&text);
        bar.advance(chunks);
    }

    fn text(&self) -> String {
        let stages = self.by_stage.iter().map(|(stage, jobs)| format!("{stage} {jobs}"));
        let mut parts: Vec<String> = stages.collect();
        if self.given_up > 0 {
            parts.push(format!("{} given up", self.given_up));
        }
        output::printable(&format!("{}: {}", self.name, parts.join(", ")))
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use modiolus_pipeline::Scope;
    use modiolus_pipeline::job::ingest::Delivery;

    use super::*;

    #[test]
    fn jobs_are_counted_once_by_folder_and_stage() {
        let jobs = ["ingest-0", "ingest-1", "ingest-2"].map(|job| job.parse::<JobId>().unwrap());
        let manifest = RunManifest { wanted: None, chunks: jobs.to_vec() };
        let folders = ["207", "207", "208"].map(str::to_owned).to_vec();
        let submission =
            Submission { delivery: Delivery::Uploaded, files: 9, submitted: 0, folders, removed: None };
        let mut view = View::new(&manifest, Some(submission), "r-1");
        let scope = |chunk| Scope { run: "r-1".parse().unwrap(), chunk };
        let ended = |chunk: u32, end| Notice::JobEnded {
            scope: scope(chunk),
            stage: StageName::Ingest,
            job: jobs[chunk as usize % jobs.len()].clone(),
            end,
        };
        let failed = Outcome::Failed { code: "x".into(), message: "y".into() };
        for notice in
            [ended(0, Outcome::Done), ended(0, Outcome::Done), ended(1, failed), ended(7, Outcome::Done)]
        {
            view.follow(&notice);
        }
        view.follow(&Notice::ChunkDone { scope: scope(0), failed: vec![] });
        assert_eq!(view.folders.len(), 2);
        assert_eq!(view.folders[0].text(), "207: ingest 2, 1 given up");
        assert_eq!((view.folders[0].chunks.len(), view.folders[0].all_chunks), (1, 2));
        assert_eq!(view.folders[1].all_chunks, 1);
    }
}
