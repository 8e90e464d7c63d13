//! `modiolus run`: from folders of scans to masks, pictures, a table and a report.
//!
//! Every stage in one process: the scans' own folder serves as `incoming`, the in-process broker carries the messages, the
//! store lies in the output's `.modiolus`. When the run is complete, its objects are copied out under names for people.

mod annotations;
mod close_up;
pub(crate) mod progress;
mod report;
pub(crate) mod results;
pub(crate) mod rows;
pub(crate) mod summary;
pub(crate) mod tree;

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use modiolus_filter::FilterStage;
use modiolus_ingest::IngestStage;
use modiolus_operations::chunks;
use modiolus_operations::runs::look_again;
use modiolus_operations::start::Ready;
pub(crate) use modiolus_operations::{names, objects, walk};
use modiolus_pipeline::job::Wanted;
use modiolus_pipeline::job::ingest::Delivery;
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::{Digest, Message, ModelVersion, RunId, Secret};
use modiolus_preprocess::PreprocessStage;
use modiolus_runtime::{CancellationToken, House, stop_on_signal};
use modiolus_store::FolderStore;

use crate::arguments::{Run, Until};
use crate::failure::Usage;
use crate::models;
use crate::network::{self, Network};
use crate::place::{FOLDER, Place};
use crate::terminal;

use progress::Progress;
use rows::{Gathering, Row};
use summary::{Annotation, Summary};
use tree::Tree;

/// The main job.
pub(crate) fn run(options: &Run, network: Option<&dyn Network>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no threads")?;
    runtime.block_on(async { Job::open(options, network).await?.run().await })
}

impl Run {
    /// What clap can't see.
    fn check(&self) -> Result<()> {
        if self.annotations.is_some() && self.until == Some(Until::Filter) {
            let text = "--annotations needs masks to compare with: leave --until filter out";
            return Err(Usage(text.to_owned()).into());
        }
        tree::check_apart(&self.scans, &self.output)?;
        // Before the output is made.
        walk::listable(&self.scans).map(drop)
    }
}

/// A run that is about to start.
struct Job<'a> {
    options: &'a Run,
    network: Option<&'a dyn Network>,
    /// This process alone works in the output.
    _place: Place,
    secret: Secret,
    store: Arc<FolderStore>,
    model: Option<ModelVersion>,
    jobs: usize,
}

impl<'a> Job<'a> {
    async fn open(options: &'a Run, network: Option<&'a dyn Network>) -> Result<Self> {
        options.check()?;
        fs::create_dir_all(&options.output)
            .with_context(|| format!("{} can't be made", options.output.display()))?;
        let place = Place::open(&options.output.join(FOLDER))?;
        let secret = place.secret(options.key_file.as_deref())?;
        let store = FolderStore::new(place.folder())?;
        let store = store.with_scans(&options.scans).with_context(|| options.scans.display().to_string())?;
        let model = match options.until {
            Some(Until::Filter) => None,
            Some(Until::Infer) | None => {
                let network = network::required(network)?;
                Some(models::choose(&store, options.model.as_deref(), network).await?.version)
            }
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let jobs = options.jobs.map_or(cores, std::num::NonZeroUsize::get);
        Ok(Self { options, network, _place: place, secret, store: Arc::new(store), model, jobs })
    }

    async fn run(self) -> Result<()> {
        let wanted = Wanted { plane: self.options.plane, model: self.model.clone() };
        let files = walk::walk_scans(&self.options.scans, &self.options.output)?;
        let total = files.len();
        let ready = Ready::new(files, wanted.clone(), Delivery::InPlace, None);
        let mut tree = Tree::open(&self.options.output, self.inputs(&ready.run)?);
        if tree.is_whole() {
            eprintln!(
                "Nothing to do: {} is complete and the scans haven't changed.",
                self.options.output.display()
            );
            return results::print_earlier(&self.options.output, self.options.json);
        }

        let (run, manifest, first) = self.begun(ready).await?;
        self.finish(&run, &manifest, first, total as u64).await?;
        let rows = self.gathering(&run).rows(&manifest).await?;
        tree.copy_slices(&*self.store, &rows, self.model.as_ref()).await?;
        let annotations = self.annotate(&rows, &mut tree).await?;
        let summary = Summary::of(&run, &wanted, rows, annotations);
        results::write(&summary, tree)?;
        results::print(&summary, &self.options.output, self.options.json)
    }
}

impl Job<'_> {
    /// Writes down what a run is. Only what its jobs need is kept: the listings of a large delivery are as large as its table.
    async fn begun(&self, ready: Ready) -> Result<(RunId, RunManifest, Vec<Message>)> {
        ready.note(&*self.store).await?;
        Ok((ready.run, ready.manifest, ready.first))
    }

    /// A digest of everything that the output depends on.
    fn inputs(&self, run: &RunId) -> Result<Digest> {
        let mut parts = vec![run.as_str().to_owned(), env!("CARGO_PKG_VERSION").to_owned()];
        parts.push(self.options.keep_patient_ids.to_string());
        parts.push(self.secret.patient("").to_string());
        if let Some(folder) = &self.options.annotations {
            for (file, path) in modiolus_operations::annotations::files(folder)? {
                let bytes = modiolus_operations::annotations::read(&path).unwrap_or_default();
                parts.extend([file, Digest::of(bytes).to_string()]);
            }
        }
        Ok(Digest::of_parts(parts.iter().map(String::as_bytes)))
    }

    fn gathering<'a>(&'a self, run: &'a RunId) -> Gathering<'a> {
        Gathering {
            store: &*self.store,
            run,
            model: self.model.as_ref(),
            secret: &self.secret,
            keep_patient_ids: self.options.keep_patient_ids,
            delivery: &Delivery::InPlace,
        }
    }

    /// Does all jobs of a run.
    async fn finish(
        &self,
        run: &RunId,
        manifest: &RunManifest,
        first: Vec<Message>,
        files: u64,
    ) -> Result<()> {
        let mut house = House::new(self.store.clone())
            .with(IngestStage, self.jobs)
            .with(FilterStage::new(&self.secret), self.jobs)
            .with(PreprocessStage, self.jobs);
        if let Some((network, model)) = self.network.zip(self.model.as_ref()) {
            terminal::say(&format!("model {model} on {}", network.device()));
            house = network.with_infer(house, self.jobs);
        }
        let stop = CancellationToken::new();
        let listening = stop_on_signal(stop.clone(), terminal::say_stopping)?;
        let progress = Progress::new(files, self.model.is_some());
        // Its outputs may have been damaged since, and what failed may succeed now.
        look_again(&*self.store, run).await?;
        let result = house.stopped_by(stop).run(run, manifest, first, |event| progress.follow(&event)).await;
        progress.finish(result.is_ok());
        listening.abort();
        result?;
        Ok(())
    }

    /// Makes samples of the annotations, if there are any.
    async fn annotate(&self, rows: &[Row], tree: &mut Tree<'_>) -> Result<Vec<Annotation>> {
        let (Some(folder), Some(model)) = (&self.options.annotations, &self.model) else {
            return Ok(Vec::new());
        };
        let annotations = annotations::collect(folder, rows, &*self.store).await?;
        let first: Vec<Message> =
            annotations.matched.iter().map(|matched| Message::new(&matched.job())).collect();
        if !first.is_empty() {
            let (run, manifest) = chunks::run_of(&first);
            look_again(&*self.store, &run).await?;
            House::new(self.store.clone())
                .with(PreprocessStage, self.jobs)
                .run(&run, &manifest, first, |_| ())
                .await?;
        }
        annotations::outcomes(annotations, model, &*self.store, tree).await
    }
}
