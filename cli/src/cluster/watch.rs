//! `modiolus watch`: a run while it works, by folder (in most deliveries a patient) and stage.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, Result};
use modiolus_operations::runs::ended_jobs;
use modiolus_operations::trainings::TrainingState;
use modiolus_pipeline::job::ingest::Submission;
use modiolus_pipeline::job::train::EpochMetrics;
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::key::chunks_done_prefix;
use modiolus_pipeline::{
    Bucket, Fetched, JobId, Marker, ObjectKey, Outcome, ProgressEvent, Read, RunId, StageName, TrainingId,
};
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
        view.catch_up(&*cluster.store, run).await?;
        say_epochs_so_far(&*cluster.store, run).await?;
    }
    let joins = joins(&cluster);
    let mut printed = Ok(());
    let outcome = listener
        .until_done(&joins, run, |notice| match (options.json, notice) {
            (false, _) => view.follow(notice),
            // It may be told more than once, or never: the last line says it.
            (true, Notice::RunDone { .. }) => {}
            (true, _) if printed.is_ok() => printed = output::json_line(notice),
            (true, _) => {}
        })
        .await?;
    printed?;
    view.finish();
    if options.json {
        output::json_line(&Notice::RunDone { run: run.clone(), outcome: outcome.clone() })?;
    }
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
    /// Each with whether it was given up: replayed, it may end otherwise.
    ended: HashMap<(u32, JobId), bool>,
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
    async fn catch_up(&mut self, store: &dyn ObjectStore, run: &RunId) -> Result<()> {
        let jobs = ended_jobs(store, run).await?;
        let marker =
            |(chunk, _, job): &_| Read::whole(ObjectKey::Marker(run.clone(), *chunk, JobId::clone(job)));
        let markers: Vec<Read> = jobs.iter().map(marker).collect();
        for ((chunk, stage, job), fetched) in jobs.into_iter().zip(store.get_many(&markers).await) {
            // One that is gone or torn is written again when its job ends again.
            if let Fetched::Found(object) = fetched?
                && let Ok(Marker { outcome, .. }) = serde_json::from_slice(&object.bytes)
                && let Some(folder) = self.folder(chunk)
            {
                folder.ended(chunk, stage, job, &outcome);
            }
        }
        let done = store.list(Bucket::Runs, &chunks_done_prefix(run)).await?;
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
                folder.ended(scope.chunk, *stage, job.clone(), end);
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
            ended: HashMap::new(),
            by_stage: BTreeMap::new(),
            given_up: 0,
            bar: None,
        }
    }

    fn ended(&mut self, chunk: u32, stage: StageName, job: JobId, end: &Outcome) {
        let is_given_up = matches!(end, Outcome::Failed { .. });
        let before = self.ended.insert((chunk, job), is_given_up);
        if before == Some(is_given_up) {
            return;
        }
        *self.by_stage.entry(stage).or_default() += usize::from(before.is_none());
        self.given_up += usize::from(is_given_up);
        self.given_up -= usize::from(before == Some(true));
        self.draw(0);
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
    use modiolus_store::MemoryStore;

    use super::*;

    /// A run of three chunks, two of them of one folder, of which nothing is known; and its first jobs.
    fn view() -> (View, [JobId; 3]) {
        let jobs = ["ingest-0", "ingest-1", "ingest-2"].map(|job| job.parse::<JobId>().unwrap());
        let manifest = RunManifest { wanted: None, chunks: jobs.to_vec() };
        let folders = ["207", "207", "208"].map(str::to_owned).to_vec();
        let submission =
            Submission { delivery: Delivery::Uploaded, files: 9, submitted: 0, folders, removed: None };
        (View::new(&manifest, Some(submission), "r-1"), jobs)
    }

    fn failed() -> Outcome {
        Outcome::Failed { code: "x".into(), message: "y".into() }
    }

    #[test]
    fn jobs_are_counted_once_by_folder_and_stage() {
        let (mut view, jobs) = view();
        let scope = |chunk| Scope { run: "r-1".parse().unwrap(), chunk };
        let ended = |chunk: u32, end| Notice::JobEnded {
            scope: scope(chunk),
            stage: StageName::Ingest,
            job: jobs[chunk as usize % jobs.len()].clone(),
            end,
        };
        for (chunk, end) in
            [(0, Outcome::Done), (0, Outcome::Done), (1, failed()), (1, failed()), (7, Outcome::Done)]
        {
            view.follow(&ended(chunk, end));
        }
        view.follow(&Notice::ChunkDone { scope: scope(0), failed: vec![] });
        assert_eq!(view.folders.len(), 2);
        assert_eq!(view.folders[0].text(), "207: ingest 2, 1 given up");
        assert_eq!((view.folders[0].chunks.len(), view.folders[0].all_chunks), (1, 2));
        assert_eq!(view.folders[1].all_chunks, 1);
        view.follow(&ended(1, Outcome::Done));
        assert_eq!(view.folders[0].text(), "207: ingest 2", "it was replayed");
    }

    #[tokio::test]
    async fn what_was_given_up_before_anybody_watched_is_counted() {
        let ((mut view, jobs), store, run) = (view(), MemoryStore::new(), "r-1".parse::<RunId>().unwrap());
        for (chunk, outcome) in [(0, Outcome::Done), (1, failed())] {
            let key = ObjectKey::Marker(run.clone(), chunk, jobs[chunk as usize].clone());
            let json = serde_json::to_vec(&Marker { outcome, followers: vec![] }).unwrap();
            store.put(key, json.into()).await.unwrap();
        }
        store.put(ObjectKey::ChunkDone(run.clone(), 1), "[]".into()).await.unwrap();
        view.catch_up(&store, &run).await.unwrap();
        assert_eq!(view.folders[0].text(), "207: ingest 2, 1 given up");
        assert_eq!((view.folders[0].chunks.len(), view.folders[1].chunks.len()), (1, 0));
    }
}
