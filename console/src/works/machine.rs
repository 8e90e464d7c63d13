//! One machine: every stage in this process, one run after another.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use modiolus_filter::FilterStage;
use modiolus_ingest::IngestStage;
use modiolus_operations::chunks::{self, Chunks};
use modiolus_operations::models;
use modiolus_operations::network::Network;
use modiolus_operations::place::Place;
use modiolus_operations::start::{note, now};
use modiolus_operations::walk;
use modiolus_pipeline::job::ingest::{Delivery, Submission};
use modiolus_pipeline::job::preprocess::PreprocessJob;
use modiolus_pipeline::job::{SliceRef, Wanted};
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::{Digest, Message, ModelVersion, Plane, RunId, Secret};
use modiolus_preprocess::PreprocessStage;
use modiolus_runtime::{CancellationToken, House, HouseError};
use modiolus_store::{FolderStore, ObjectStore};
use tokio::sync::Semaphore;

use super::Works;

/// Where deliveries are unpacked, in the store's folder.
const DELIVERIES: &str = "deliveries";

/// Where a delivery's files lie in its folder.
pub(crate) const SCANS: &str = "scans";

/// What a delivery's run wants, in its folder: with it, a run that was interrupted goes on.
const WANTED: &str = "wanted.json";

/// How many slices one job draws.
const SLICES_PER_JOB: usize = 16;

/// This machine.
pub struct Machine {
    inner: Arc<Inner>,
    deliveries: PathBuf,
}

struct Inner {
    store: Arc<FolderStore>,
    /// Nobody else may work in the store meanwhile.
    place: Place,
    secret: Secret,
    network: &'static dyn Network,
    jobs: usize,
    stop: CancellationToken,
    /// One run at a time: each takes all cores.
    turn: Semaphore,
}

/// A run that is ready to be done.
struct Ready {
    folder: PathBuf,
    run: RunId,
    manifest: RunManifest,
    first: Vec<Message>,
}

impl Machine {
    /// This machine, over the store in its place; stops when it is told.
    ///
    /// # Errors
    /// When the store's folder or its key can't be read or made.
    pub fn new(place: Place, network: &'static dyn Network, stop: CancellationToken) -> Result<Self> {
        let deliveries = place.folder().join(DELIVERIES);
        fs::create_dir_all(&deliveries).with_context(|| format!("{} can't be made", deliveries.display()))?;
        let inner = Inner {
            store: Arc::new(FolderStore::new(place.folder())?),
            secret: place.secret(None)?,
            place,
            network,
            jobs: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            stop,
            turn: Semaphore::new(1),
        };
        Ok(Self { inner: Arc::new(inner), deliveries })
    }

    /// The store.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        self.inner.store.clone()
    }

    /// Goes on with the runs that were interrupted; how many there are.
    ///
    /// # Errors
    /// When their folders can't be read.
    pub async fn go_on(&self) -> Result<usize> {
        let said = || format!("{} can't be read", self.deliveries.display());
        let mut interrupted = 0;
        for entry in fs::read_dir(&self.deliveries).with_context(said)? {
            let folder = entry.with_context(said)?.path();
            let wanted = fs::read(folder.join(WANTED)).ok();
            match wanted.and_then(|json| serde_json::from_slice::<Wanted>(&json).ok()) {
                Some(wanted) => {
                    self.spawn(self.inner.ready(folder, wanted).await?);
                    interrupted += 1;
                }
                // An upload that was cut off: nobody was told of a run.
                None => remove(&folder),
            }
        }
        Ok(interrupted)
    }

    /// Waits until no run is under way: those that were told to stop have handed back what they had.
    pub async fn rest(&self) {
        let _ = self.inner.turn.acquire().await;
    }

    fn spawn(&self, ready: Ready) {
        let inner = self.inner.clone();
        tokio::spawn(async move { inner.work(ready).await });
    }
}

#[async_trait]
impl Works for Machine {
    fn deliveries(&self) -> &Path {
        &self.deliveries
    }

    async fn start(&self, folder: &Path, plane: Plane) -> Result<RunId> {
        let model = models::choose(&*self.inner.store, None, self.inner.network).await?;
        let wanted = Wanted { plane, model: Some(model.version) };
        let path = folder.join(WANTED);
        fs::write(&path, serde_json::to_vec(&wanted)?)
            .with_context(|| format!("{} can't be written", path.display()))?;
        let ready = self.inner.ready(folder.to_owned(), wanted).await?;
        let run = ready.run.clone();
        self.spawn(ready);
        Ok(run)
    }

    async fn learn_from(&self, slice: SliceRef, annotation: Digest) -> Result<()> {
        let first = vec![Message::new(&PreprocessJob::Annotation { slice, annotation })];
        let manifest = RunManifest { wanted: None, chunks: chunks::ids(&first) };
        let run = RunId::derived(&Digest::of_json(&manifest));
        let house = House::new(self.inner.store.clone()).with(PreprocessStage, 1);
        house.stopped_by(self.inner.stop.clone()).run(&run, &manifest, first, |_| ()).await?;
        Ok(())
    }

    async fn draw(&self, slices: Vec<SliceRef>, model: ModelVersion) -> Result<()> {
        let job =
            |slices: &[SliceRef]| PreprocessJob::Slices { slices: slices.to_vec(), model: model.clone() };
        let first: Vec<Message> =
            slices.chunks(SLICES_PER_JOB).map(|slices| Message::new(&job(slices))).collect();
        let manifest = RunManifest { wanted: None, chunks: chunks::ids(&first) };
        let inner = self.inner.clone();
        tokio::spawn(async move {
            let Ok(_turn) = inner.turn.acquire().await else { return };
            let run = RunId::derived(&Digest::of_json(&manifest));
            let house = House::new(inner.store.clone()).with(PreprocessStage, inner.jobs);
            let house = inner.network.with_infer(house, inner.jobs).stopped_by(inner.stop.clone());
            if let Err(error) = house.run(&run, &manifest, first, |_| ()).await {
                tracing::warn!(%run, "masks could not be drawn: {error}");
            }
        });
        Ok(())
    }
}

impl Inner {
    /// Writes down what a run is, so that it is listed while it waits for its turn.
    async fn ready(&self, folder: PathBuf, wanted: Wanted) -> Result<Ready> {
        let scans = folder.join(SCANS);
        let walked = tokio::task::spawn_blocking(move || walk::walk(&scans, Path::new(""))).await??;
        if walked.is_empty() {
            bail!("there are no files in it");
        }
        let files = walked.len() as u64;
        let chunks = Chunks::of(walked, &wanted, &Delivery::InPlace);
        let run = RunId::derived(&chunks.digest());
        let manifest = RunManifest { wanted: Some(wanted), chunks: chunks::ids(&chunks.first) };
        let submission =
            Submission { delivery: Delivery::InPlace, files, submitted: now(), folders: chunks.folders };
        self.store.put_many(chunks.listings).await?;
        note(&*self.store, &run, submission, &manifest).await?;
        Ok(Ready { folder, run, manifest, first: chunks.first })
    }

    async fn work(&self, ready: Ready) {
        let Ok(_turn) = self.turn.acquire().await else { return };
        let (folder, run) = (ready.folder.clone(), ready.run.clone());
        match self.run(ready).await {
            // Its files have identity inside, and what was kept of them is in the store.
            Ok(()) => remove(&folder),
            Err(error) if error.is::<HouseError>() => tracing::warn!(%run, "{error:#}"),
            Err(error) => tracing::error!(%run, "the run failed: {error:#}"),
        }
    }

    async fn run(&self, ready: Ready) -> Result<()> {
        let store = FolderStore::new(self.place.folder())?.with_scans(&ready.folder.join(SCANS))?;
        let house = House::new(Arc::new(store))
            .with(IngestStage, self.jobs)
            .with(FilterStage::new(&self.secret), self.jobs)
            .with(PreprocessStage, self.jobs);
        let house = self.network.with_infer(house, self.jobs).stopped_by(self.stop.clone());
        house.run(&ready.run, &ready.manifest, ready.first, |_| ()).await?;
        Ok(())
    }
}

/// Removes a delivery's folder. What is left of it is removed at the next start.
fn remove(folder: &Path) {
    // Without this it is no delivery any more, even if not all of it goes.
    let _ = fs::remove_file(folder.join(WANTED));
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!("a delivery can't be removed: {error}");
    }
}
