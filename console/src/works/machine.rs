//! One machine: every stage in this process, one run after another.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use modiolus_filter::FilterStage;
use modiolus_ingest::IngestStage;
use modiolus_operations::network::Network;
use modiolus_operations::place::Place;
use modiolus_operations::start::Ready;
use modiolus_operations::{chunks, models};
use modiolus_pipeline::job::ingest::Delivery;
use modiolus_pipeline::job::preprocess::PreprocessJob;
use modiolus_pipeline::job::{SliceRef, Wanted};
use modiolus_pipeline::{Digest, Message, ModelVersion, Plane, RunId, Secret};
use modiolus_preprocess::PreprocessStage;
use modiolus_runtime::{CancellationToken, House, HouseError};
use modiolus_store::{FolderStore, ObjectStore};
use tokio::sync::Semaphore;

use super::delivery::{self, SCANS};
use super::{Works, drawing};

/// Where deliveries are unpacked, in the store's folder.
const DELIVERIES: &str = "deliveries";

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
        let interrupted = delivery::interrupted(&self.deliveries)?;
        let count = interrupted.len();
        for (folder, wanted) in interrupted {
            self.spawn(self.inner.ready(&folder, wanted).await?, folder);
        }
        Ok(count)
    }

    /// Waits until no run is under way: those that were told to stop have handed back what they had.
    pub async fn rest(&self) {
        let _ = self.inner.turn.acquire().await;
    }

    fn spawn(&self, ready: Ready, folder: PathBuf) {
        let inner = self.inner.clone();
        tokio::spawn(async move { inner.work(ready, &folder).await });
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
        delivery::want(folder, &wanted)?;
        let ready = self.inner.ready(folder, wanted).await?;
        let run = ready.run.clone();
        self.spawn(ready, folder.to_owned());
        Ok(run)
    }

    async fn learn_from(&self, slice: SliceRef, annotation: Digest) -> Result<()> {
        let first = vec![Message::new(&PreprocessJob::Annotation { slice, annotation })];
        let (run, manifest) = chunks::run_of(&first);
        let house = House::new(self.inner.store.clone()).with(PreprocessStage, 1);
        house.stopped_by(self.inner.stop.clone()).run(&run, &manifest, first, |_| ()).await?;
        Ok(())
    }

    async fn draw(&self, slices: Vec<SliceRef>, model: ModelVersion) -> Result<()> {
        let first = drawing(&slices, &model);
        let (run, manifest) = chunks::run_of(&first);
        let inner = self.inner.clone();
        tokio::spawn(async move {
            let Ok(_turn) = inner.turn.acquire().await else { return };
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
    async fn ready(&self, folder: &Path, wanted: Wanted) -> Result<Ready> {
        let ready = Ready::new(delivery::walked(folder).await?, wanted, Delivery::InPlace, None);
        ready.note(&*self.store).await?;
        Ok(ready)
    }

    async fn work(&self, ready: Ready, folder: &Path) {
        let Ok(_turn) = self.turn.acquire().await else { return };
        let run = ready.run.clone();
        match self.run(ready, folder).await {
            // Its files have identity inside, and what was kept of them is in the store.
            Ok(()) => delivery::remove(folder),
            Err(error) if error.is::<HouseError>() => tracing::warn!(%run, "{error:#}"),
            Err(error) => tracing::error!(%run, "the run failed: {error:#}"),
        }
    }

    async fn run(&self, ready: Ready, folder: &Path) -> Result<()> {
        let store = FolderStore::new(self.place.folder())?.with_scans(&folder.join(SCANS))?;
        let house = House::new(Arc::new(store))
            .with(IngestStage, self.jobs)
            .with(FilterStage::new(&self.secret), self.jobs)
            .with(PreprocessStage, self.jobs);
        let house = self.network.with_infer(house, self.jobs).stopped_by(self.stop.clone());
        house.run(&ready.run, &ready.manifest, ready.first, |_| ()).await?;
        Ok(())
    }
}
