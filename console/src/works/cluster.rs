//! A cluster: deliveries go into its store, jobs into its queues, and other programs do them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use modiolus_broker::Broker;
use modiolus_operations::chunks;
use modiolus_operations::dead::{self, Fate};
use modiolus_operations::labelled::Labels;
use modiolus_operations::objects;
use modiolus_operations::retraining::{Base, Retraining, When, newest};
use modiolus_operations::start::{Ready, start};
use modiolus_operations::upload::{foreseen, upload};
use modiolus_operations::uploaded::{self, Stay};
use modiolus_pipeline::job::ingest::Delivery;
use modiolus_pipeline::job::train::EpochMetrics;
use modiolus_pipeline::job::{SliceRef, Wanted};
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::{Digest, Message, ModelVersion, ObjectKey, Plane, RunId, TrainingId};
use modiolus_runtime::{CancellationToken, Joins, Notice};
use modiolus_store::ObjectStore;
use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;

use super::delivery::{self, SCANS};
use super::heard::Heard;
use super::training::{prepare, under_way};
use super::{Course, Refused, Standing, Works, cancelled, drawing, learning};

/// Of how many runs and trainings is remembered what was heard.
const HEARD: usize = 64;

/// How long to wait after the store or the broker failed.
const PAUSE: Duration = Duration::from_secs(10);

/// The workers of a cluster.
pub struct Cluster {
    inner: Arc<Inner>,
    deliveries: PathBuf,
    looking: Option<Looking>,
}

/// That somebody looks whether a training is due. Here, since workers may only be there while there are jobs.
#[derive(Debug, Clone, Copy)]
pub struct Looking {
    /// When one is.
    pub when: When,
    /// How often.
    pub every: Duration,
}

struct Inner {
    store: Arc<dyn ObjectStore>,
    broker: Arc<dyn Broker>,
    joins: Arc<Joins>,
    stop: CancellationToken,
    /// One delivery is sent at a time, so that no more than one's files are in memory.
    turn: Semaphore,
    /// An annotation's job could not be published.
    late: Notify,
    retraining: Retraining,
    heard: Mutex<HashMap<RunId, Heard>>,
    /// The deliveries that are not in the store yet, by their runs.
    sending: Mutex<HashMap<RunId, Sending>>,
}

/// A delivery that is sent.
#[derive(Clone)]
struct Sending {
    folder: PathBuf,
    manifest: RunManifest,
    /// Has it end before its end.
    cancel: CancellationToken,
    /// Cancelled when nobody works on it any more.
    let_go: CancellationToken,
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
        stop: CancellationToken,
    ) -> Result<Self> {
        let said = || format!("{} can't be made: console.deliveries names another", deliveries.display());
        fs::create_dir_all(deliveries).with_context(said)?;
        let (turn, late) = (Semaphore::new(1), Notify::new());
        let (retraining, heard, sending) =
            (Retraining::new(store.clone()), Mutex::default(), Mutex::default());
        let inner = Inner { store, broker, joins, stop, turn, late, retraining, heard, sending };
        Ok(Self { inner: Arc::new(inner), deliveries: deliveries.to_owned(), looking: None })
    }

    /// With trainings that start when people have drawn enough.
    #[must_use]
    pub fn retraining(self, looking: Looking) -> Self {
        Self { looking: Some(looking), ..self }
    }

    /// Goes on with what was interrupted: deliveries that are not in the store yet, and annotations whose jobs were not
    /// published. How many deliveries there are. And looks whether trainings are due, if it is to.
    ///
    /// # Errors
    /// When their folders can't be read.
    pub fn go_on(&self) -> Result<usize> {
        let interrupted = delivery::interrupted(&self.deliveries)?;
        let count = interrupted.len();
        for (folder, wanted) in interrupted {
            let inner = self.inner.clone();
            tokio::spawn(async move { inner.take_up(folder, wanted).await });
        }
        let (inner, listening) = (self.inner.clone(), self.inner.clone());
        tokio::spawn(async move { inner.catch_up().await });
        tokio::spawn(async move { listening.listen().await });
        if let Some(looking) = self.looking {
            let inner = self.inner.clone();
            tokio::spawn(async move { inner.keep_looking(looking).await });
        }
        Ok(count)
    }
}

#[async_trait]
impl Works for Cluster {
    fn deliveries(&self) -> &Path {
        &self.deliveries
    }

    async fn start(&self, folder: &Path, plane: Plane) -> Result<RunId> {
        let model = Base::current(&*self.inner.store).await?.version;
        let wanted = Wanted { plane, model: Some(model) };
        let ready = ready(folder, &wanted).await?;
        ready.note(&*self.inner.store).await?;
        delivery::want(folder, &wanted)?;
        let run = ready.run.clone();
        self.inner.send(folder.to_owned(), wanted, ready);
        Ok(run)
    }

    async fn cancel(&self, run: &RunId) -> Result<()> {
        self.inner.stop_sending(run).await?;
        cancelled(self.inner.joins.cancel(run).await?)
    }

    async fn replay(&self, run: &RunId) -> Result<usize> {
        self.inner.settle(run, Fate::Replay).await
    }

    async fn drop_given_up(&self, run: &RunId) -> Result<usize> {
        self.inner.settle(run, Fate::Drop).await
    }

    async fn remove_uploaded(&self, run: &RunId) -> Result<usize> {
        // What is there is not sent again, and must not go before its run has begun.
        let Ok(_turn) = self.inner.turn.try_acquire() else {
            return Err(Refused::error(
                "a delivery is being sent, which may have the same files: try again when its run has begun",
            ));
        };
        let Inner { store, broker, .. } = &*self.inner;
        if dead::has_any(&**broker, run).await? {
            return Err(Refused::error(
                "jobs of it were given up, and need the files: replay or drop them first",
            ));
        }
        uploaded::remove(&**store, run).await.map_err(|error| match error.downcast::<Stay>() {
            Ok(why) => Refused::error(why.to_string()),
            Err(error) => error,
        })
    }

    /// Whether there are dead letters of it, only a look at all of them would tell.
    async fn standing(&self, run: &RunId) -> Standing {
        let Heard { tried_again, .. } = self.inner.heard(run);
        Standing { tried_again, can_replay: true, ..Standing::default() }
    }

    /// Where the broker can't be reached, the jobs follow as soon as they can.
    async fn learn_from(&self, drawn: Vec<(SliceRef, Digest)>) -> Result<()> {
        if let Err(error) = self.inner.publish(learning(drawn)).await {
            tracing::warn!("annotations become samples later: {error:#}");
            self.inner.late.notify_one();
        }
        Ok(())
    }

    async fn draw(&self, slices: Vec<SliceRef>, model: ModelVersion) -> Result<()> {
        self.inner.publish(drawing(&slices, &model)).await
    }

    async fn retrain(&self, course: Course, why: String) -> Result<TrainingId> {
        let Inner { store, broker, joins, retraining, .. } = &*self.inner;
        if let Some(last) = newest(&**store).await?
            && joins.outcome(&last.first.training.as_run()).await?.is_none()
        {
            return Err(under_way(last.first.training));
        }
        let prepared = prepare(&**store, joins, retraining, (course, why)).await?;
        prepared.begin(&**store, &**broker, joins).await?;
        Ok(prepared.training.first.training)
    }

    fn retrains_after(&self) -> Option<usize> {
        self.looking.map(|looking| looking.when.annotations)
    }

    async fn heard(&self, training: &TrainingId) -> Vec<EpochMetrics> {
        self.inner.heard(&training.as_run()).epochs
    }
}

/// The run of a delivery, as it will be once the delivery is in the store.
async fn ready(folder: &Path, wanted: &Wanted) -> Result<Ready> {
    let files = foreseen(&folder.join(SCANS), delivery::walked(folder).await?).await?;
    Ok(Ready::new(files, wanted.clone(), Delivery::Uploaded, None))
}

impl Inner {
    /// Goes on with a delivery that was interrupted.
    async fn take_up(self: Arc<Self>, folder: PathBuf, wanted: Wanted) {
        loop {
            match ready(&folder, &wanted).await {
                Ok(ready) => return self.send(folder, wanted, ready),
                Err(error) => {
                    tracing::warn!("a delivery can't be read now; trying again in {PAUSE:?}: {error:#}")
                }
            }
            tokio::select! { () = self.stop.cancelled() => return, () = sleep(PAUSE) => {} }
        }
    }

    /// Has a delivery sent. The same one that comes again meanwhile is removed.
    fn send(self: &Arc<Self>, folder: PathBuf, wanted: Wanted, Ready { run, manifest, .. }: Ready) {
        let (cancel, let_go) = (CancellationToken::new(), CancellationToken::new());
        let sending =
            Sending { folder: folder.clone(), manifest, cancel: cancel.clone(), let_go: let_go.clone() };
        let mut all = self.lock_sending();
        // One whose sending was ended and could not be cancelled is nobody's.
        if all.get(&run).is_some_and(|one| !one.let_go.is_cancelled()) {
            return delivery::remove(&folder);
        }
        all.insert(run.clone(), sending);
        let (inner, let_go) = (self.clone(), let_go.drop_guard());
        tokio::spawn(async move {
            let _let_go = let_go;
            tokio::select! {
                // What is in the store by then is not sent again.
                () = inner.stop.cancelled() => {}
                () = cancel.cancelled() => {}
                () = inner.deliver(&folder, &wanted) => {
                    inner.lock_sending().remove(&run);
                }
            }
        });
    }

    /// Ends the sending of a run's delivery, if it is under way, and removes the delivery. Afterwards there is such a run, so that it
    /// can be cancelled as if it had begun.
    async fn stop_sending(&self, run: &RunId) -> Result<()> {
        let sending = self.lock_sending().get(run).cloned();
        let Some(Sending { folder, manifest, cancel, let_go }) = sending else { return Ok(()) };
        cancel.cancel();
        let_go.cancelled().await;
        let key = ObjectKey::Run(run.clone());
        if objects::json_if_there::<RunManifest>(&*self.store, key.clone()).await?.is_none() {
            self.store.put(key, serde_json::to_vec(&manifest)?.into()).await?;
        }
        if folder.exists() {
            delivery::remove(&folder);
        }
        self.lock_sending().remove(run);
        Ok(())
    }

    fn lock_sending(&self) -> MutexGuard<'_, HashMap<RunId, Sending>> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

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

    /// Starts a training whenever one is due.
    async fn keep_looking(&self, Looking { when, every }: Looking) {
        loop {
            let looked = async {
                sleep(every).await;
                self.retraining.look(&*self.broker, &self.joins, when).await
            };
            let looked = tokio::select! { () = self.stop.cancelled() => return, looked = looked => looked };
            if let Err(error) = looked {
                tracing::warn!("no training can be started now; looking again later: {error:#}");
            }
        }
    }

    /// Settles the dead letters of a run; how many jobs' they were.
    async fn settle(&self, run: &RunId, fate: Fate) -> Result<usize> {
        match dead::settle(&*self.broker, &*self.store, run, fate).await? {
            0 => Err(Refused::error("there is no dead letter of it")),
            jobs => Ok(jobs),
        }
    }

    /// Listens to what the workers tell. What is missed meanwhile is in the store when its job has ended.
    async fn listen(&self) {
        loop {
            let heard = tokio::select! {
                () = self.stop.cancelled() => return,
                heard = self.hear() => heard,
            };
            if let Err(error) = heard {
                tracing::warn!("the workers' events can't be heard now: {error:#}");
            }
            tokio::select! { () = self.stop.cancelled() => return, () = sleep(PAUSE) => {} }
        }
    }

    async fn hear(&self) -> Result<()> {
        let mut events = self.broker.events().await?;
        while let Some(event) = events.next().await {
            let Some(Notice::Progress(event)) = Notice::decode(&event) else { continue };
            let mut all = self.lock_heard();
            if all.len() >= HEARD && !all.contains_key(&event.scope.run) {
                all.clear();
            }
            all.entry(event.scope.run).or_default().hear(event.progress);
        }
        Ok(())
    }

    fn heard(&self, run: &RunId) -> Heard {
        self.lock_heard().get(run).cloned().unwrap_or_default()
    }

    fn lock_heard(&self) -> MutexGuard<'_, HashMap<RunId, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
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
        for drawn in labels.unlearned().await? {
            self.publish(learning(vec![drawn])).await?;
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
