//! One machine: every stage in this process, one run or training after another.

mod standings;
mod tasks;
mod trainings;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use modiolus_filter::FilterStage;
use modiolus_ingest::IngestStage;
use modiolus_operations::models;
use modiolus_operations::network::Network;
use modiolus_operations::place::Place;
use modiolus_operations::retraining::Retraining;
use modiolus_operations::runs::forget_given_up;
use modiolus_pipeline::job::train::EpochMetrics;
use modiolus_pipeline::job::{SliceRef, Wanted};
use modiolus_pipeline::{Digest, ModelVersion, Plane, RunId, Secret, TrainingId};
use modiolus_preprocess::PreprocessStage;
use modiolus_runtime::{CancellationToken, House};
use modiolus_store::{FolderStore, ObjectStore};
use tokio::sync::Semaphore;

use super::{Course, Refused, Standing, Works, delivery, drawing, learning};
use standings::Standings;
use tasks::Task;

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
    /// One run or training at a time: each takes all cores.
    turn: Semaphore,
    standings: Standings,
    retraining: Retraining,
    /// After how many new masks a training starts by itself.
    retrain_after: Option<usize>,
}

impl Machine {
    /// This machine, over the store in its place; stops when it is told. A training starts by itself after so many new masks.
    ///
    /// # Errors
    /// When the store's folder or its key can't be read or made.
    pub fn new(
        place: Place,
        network: &'static dyn Network,
        retrain_after: Option<usize>,
        stop: CancellationToken,
    ) -> Result<Self> {
        let deliveries = place.folder().join(DELIVERIES);
        fs::create_dir_all(&deliveries).with_context(|| format!("{} can't be made", deliveries.display()))?;
        let store = Arc::new(FolderStore::new(place.folder())?);
        let inner = Inner {
            retraining: Retraining::new(store.clone()),
            store,
            secret: place.secret(None)?,
            place,
            network,
            jobs: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            stop,
            turn: Semaphore::new(1),
            standings: Standings::default(),
            retrain_after,
        };
        Ok(Self { inner: Arc::new(inner), deliveries })
    }

    /// The store.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        self.inner.store.clone()
    }

    /// Goes on with the runs and trainings that were interrupted; how many there are.
    ///
    /// # Errors
    /// When their folders or the store can't be read.
    pub async fn go_on(&self) -> Result<usize> {
        let mut interrupted = 0;
        for (folder, wanted) in delivery::interrupted(&self.deliveries)? {
            let task = Task::of_delivery(&*self.inner.store, folder, wanted).await?;
            interrupted += usize::from(self.inner.take_up(task).await?);
        }
        for task in self.inner.unfinished_trainings().await? {
            interrupted += usize::from(self.inner.take_up(task).await?);
        }
        Ok(interrupted)
    }

    /// Waits until nothing is under way: those that were told to stop have handed back what they had.
    pub async fn rest(&self) {
        let _ = self.inner.turn.acquire().await;
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
        let task = Task::of_delivery(&*self.inner.store, folder.to_owned(), wanted).await?;
        let run = task.run.clone();
        if self.inner.standings.is_under_way(&run) {
            // The same files: they are looked at already.
            delivery::remove(folder);
            return Ok(run);
        }
        forget_given_up(&*self.inner.store, &run).await?;
        self.inner.begin(task).await?;
        Ok(run)
    }

    async fn cancel(&self, run: &RunId) -> Result<()> {
        self.inner.cancel(run).await
    }

    async fn replay(&self, run: &RunId) -> Result<usize> {
        let Some(task) = self.inner.standings.to_replay(run) else {
            return Err(match self.inner.standings.is_under_way(run) {
                true => Refused::error("it is under way: wait for its end, or cancel it first"),
                false => Refused::error(
                    "what its jobs need is not here any more. Upload the same files again: what is done is not done again",
                ),
            });
        };
        let given_up = forget_given_up(&*self.inner.store, run).await?;
        self.inner.enqueue(task);
        Ok(given_up)
    }

    async fn drop_given_up(&self, run: &RunId) -> Result<usize> {
        match self.inner.standings.forget_over(run) {
            Some((task, given_up)) => {
                task.remove_files();
                Ok(given_up)
            }
            None => Err(Refused::error("nothing of it is kept that could be dropped")),
        }
    }

    async fn remove_uploaded(&self, _: &RunId) -> Result<usize> {
        Err(Refused::error("nothing is in the store: a delivery is removed here when its run is done"))
    }

    async fn standing(&self, run: &RunId) -> Standing {
        self.inner.standings.of(run)
    }

    async fn learn_from(&self, drawn: Vec<(SliceRef, Digest)>) -> Result<()> {
        let task = Task::of_messages(learning(drawn));
        forget_given_up(&*self.inner.store, &task.run).await?;
        let house = House::new(self.inner.store.clone()).with(PreprocessStage, self.inner.jobs);
        let house = house.stopped_by(self.inner.stop.clone());
        let outcome = house.run(&task.run, &task.manifest, task.first, |_| ()).await?;
        if let Some(failed) = outcome.failed.first() {
            bail!("{}", failed.message);
        }
        self.inner.look_whether_due();
        Ok(())
    }

    async fn draw(&self, slices: Vec<SliceRef>, model: ModelVersion) -> Result<()> {
        self.inner.enqueue(Arc::new(Task::of_messages(drawing(&slices, &model))));
        Ok(())
    }

    async fn retrain(&self, course: Course, why: String) -> Result<TrainingId> {
        self.inner.retrain(course, why).await
    }

    fn retrains_after(&self) -> Option<usize> {
        self.inner.retrain_after
    }

    async fn heard(&self, training: &TrainingId) -> Vec<EpochMetrics> {
        self.inner.standings.heard(&training.as_run())
    }
}

impl Inner {
    /// A house over a store, with all stages.
    fn house(&self, store: Arc<dyn ObjectStore>) -> House {
        let house = House::new(store)
            .with(IngestStage, self.jobs)
            .with(FilterStage::new(&self.secret), self.jobs)
            .with(PreprocessStage, self.jobs);
        let house = self.network.with_train(self.network.with_infer(house, self.jobs));
        house.stopped_by(self.stop.clone())
    }
}
