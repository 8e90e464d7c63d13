//! A cluster: deliveries go into its store, jobs into its queues, and other programs do them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use bytes::Bytes;
use modiolus_broker::Broker;
use modiolus_operations::chunks;
use modiolus_operations::labelled::Labels;
use modiolus_operations::retraining::Base;
use modiolus_operations::start::{Ready, start};
use modiolus_operations::upload::{foreseen, upload};
use modiolus_pipeline::job::ingest::Delivery;
use modiolus_pipeline::job::preprocess::PreprocessJob;
use modiolus_pipeline::job::{SliceRef, Wanted};
use modiolus_pipeline::{Digest, Message, ModelVersion, Plan, Plane, RunId};
use modiolus_runtime::{CancellationToken, Joins};
use modiolus_store::ObjectStore;
use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;

use super::delivery::{self, SCANS};
use super::{Works, drawing};

/// How long to wait after the store or the broker failed.
const PAUSE: Duration = Duration::from_secs(10);

/// The model that ships, and the plan inside it: for a store that has none.
pub(super) type Shipped = fn() -> Result<(Bytes, Plan)>;

/// The workers of a cluster.
pub struct Cluster {
    inner: Arc<Inner>,
    deliveries: PathBuf,
}

struct Inner {
    store: Arc<dyn ObjectStore>,
    broker: Arc<dyn Broker>,
    joins: Arc<Joins>,
    shipped: Shipped,
    stop: CancellationToken,
    /// One delivery is sent at a time, so that no more than one's files are in memory.
    turn: Semaphore,
    /// An annotation's job could not be published.
    late: Notify,
}

impl Cluster {
    /// The workers behind this broker, over this store. Deliveries are unpacked in a folder, which is made if it isn't there.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        broker: Arc<dyn Broker>,
        joins: Arc<Joins>,
        deliveries: &Path,
        shipped: Shipped,
        stop: CancellationToken,
    ) -> Result<Self> {
        let said = || format!("{} can't be made: console.deliveries names another", deliveries.display());
        fs::create_dir_all(deliveries).with_context(said)?;
        let (turn, late) = (Semaphore::new(1), Notify::new());
        let inner = Inner { store, broker, joins, shipped, stop, turn, late };
        Ok(Self { inner: Arc::new(inner), deliveries: deliveries.to_owned() })
    }

    /// Goes on with what was interrupted: deliveries that are not in the store yet, and annotations whose jobs were not
    /// published. How many deliveries there are.
    ///
    /// # Errors
    /// When their folders can't be read.
    pub fn go_on(&self) -> Result<usize> {
        let interrupted = delivery::interrupted(&self.deliveries)?;
        let count = interrupted.len();
        for (folder, wanted) in interrupted {
            self.spawn(folder, wanted);
        }
        let inner = self.inner.clone();
        tokio::spawn(async move { inner.catch_up().await });
        Ok(count)
    }

    fn spawn(&self, folder: PathBuf, wanted: Wanted) {
        let inner = self.inner.clone();
        tokio::spawn(async move {
            tokio::select! {
                // What is in the store by then is not sent again.
                () = inner.stop.cancelled() => {}
                () = inner.deliver(&folder, &wanted) => {}
            }
        });
    }
}

#[async_trait]
impl Works for Cluster {
    fn deliveries(&self) -> &Path {
        &self.deliveries
    }

    async fn start(&self, folder: &Path, plane: Plane) -> Result<RunId> {
        let model = Base::current(&*self.inner.store, self.inner.shipped).await?.version;
        let wanted = Wanted { plane, model: Some(model) };
        let files = foreseen(&folder.join(SCANS), delivery::walked(folder).await?).await?;
        let ready = Ready::new(files, wanted.clone(), Delivery::Uploaded, None);
        ready.note(&*self.inner.store).await?;
        delivery::want(folder, &wanted)?;
        self.spawn(folder.to_owned(), wanted);
        Ok(ready.run)
    }

    /// Where the broker can't be reached, the job follows as soon as it can.
    async fn learn_from(&self, slice: SliceRef, annotation: Digest) -> Result<()> {
        if let Err(error) = self.inner.learn_from(slice, annotation).await {
            tracing::warn!("an annotation becomes a sample later: {error:#}");
            self.inner.late.notify_one();
        }
        Ok(())
    }

    async fn draw(&self, slices: Vec<SliceRef>, model: ModelVersion) -> Result<()> {
        self.inner.publish(drawing(&slices, &model)).await
    }
}

impl Inner {
    /// Sends a delivery and starts its run, however often that takes.
    async fn deliver(&self, folder: &Path, wanted: &Wanted) {
        let Ok(_turn) = self.turn.acquire().await else { return };
        loop {
            match self.try_to_deliver(folder, wanted).await {
                Ok(run) => {
                    tracing::info!(%run, "a delivery is in the store, its run is started");
                    // Its files have identity inside.
                    return delivery::remove(folder);
                }
                Err(error) => {
                    tracing::warn!("a delivery can't be sent now; trying again in {PAUSE:?}: {error:#}");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn try_to_deliver(&self, folder: &Path, wanted: &Wanted) -> Result<RunId> {
        let walked = delivery::walked(folder).await?;
        let uploaded = upload(&folder.join(SCANS), walked, &*self.store, &()).await?;
        let ready = Ready::new(uploaded.files, wanted.clone(), Delivery::Uploaded, None);
        ready.note(&*self.store).await?;
        let Ready { run, manifest, first, .. } = ready;
        start(&*self.store, &*self.broker, &self.joins, &run, &manifest, first).await?;
        Ok(run)
    }

    async fn learn_from(&self, slice: SliceRef, annotation: Digest) -> Result<()> {
        self.publish(vec![Message::new(&PreprocessJob::Annotation { slice, annotation })]).await
    }

    /// Publishes the jobs of annotations that nobody has published: at the start, and after a failure.
    async fn catch_up(&self) {
        let labels = Labels::new(self.store.clone());
        loop {
            let caught_up = tokio::select! {
                () = self.stop.cancelled() => return,
                caught_up = self.publish_unlearned(&labels) => caught_up,
            };
            let pause = async {
                match caught_up {
                    Ok(()) => self.late.notified().await,
                    Err(error) => tracing::warn!("annotations can't be looked at now: {error:#}"),
                }
                sleep(PAUSE).await;
            };
            tokio::select! { () = self.stop.cancelled() => return, () = pause => {} }
        }
    }

    async fn publish_unlearned(&self, labels: &Labels) -> Result<()> {
        for (slice, annotation) in labels.unlearned().await? {
            self.learn_from(slice, annotation).await?;
        }
        Ok(())
    }

    async fn publish(&self, first: Vec<Message>) -> Result<()> {
        let (run, manifest) = chunks::run_of(&first);
        start(&*self.store, &*self.broker, &self.joins, &run, &manifest, first).await?;
        Ok(())
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
