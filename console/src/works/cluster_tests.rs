use modiolus_broker::{InProcess, Letter};
use modiolus_imaging::{Grid, png};
use modiolus_operations::runs::{RunState, State};
use modiolus_operations::{annotations, models};
use modiolus_pipeline::key::{SCANS_PREFIX, SUBMISSIONS_PREFIX};
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Bucket, Envelope, ObjectKey, StageName};
use modiolus_runtime::RunOutcome;
use modiolus_store::MemoryStore;
use tokio::time::timeout;

use super::*;
use crate::watched_store::WatchedStore;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A cluster of nobody: what is published stays in its queues.
struct Site {
    store: Arc<MemoryStore>,
    broker: Arc<InProcess>,
    deliveries: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let deliveries = tempfile::tempdir().unwrap();
        Self { store: Arc::new(MemoryStore::new()), broker: Arc::new(InProcess::new()), deliveries }
    }

    fn cluster(&self) -> Cluster {
        self.cluster_over(self.store.clone())
    }

    fn cluster_over(&self, store: Arc<dyn ObjectStore>) -> Cluster {
        let joins = Arc::new(Joins::new(store.clone(), self.broker.clone()));
        let (broker, stop) = (self.broker.clone(), CancellationToken::new());
        Cluster::new(store, broker, joins, self.deliveries.path(), stop).unwrap()
    }

    /// A delivery of one file, as an upload leaves it.
    fn delivery(&self, name: &str) -> PathBuf {
        let folder = self.deliveries.path().join(name);
        fs::create_dir_all(folder.join(SCANS).join("207")).unwrap();
        fs::write(folder.join(SCANS).join("207/I1"), name).unwrap();
        folder
    }

    /// Takes the next job of a stage.
    async fn next(&self, stage: StageName) -> Envelope {
        let mut queue = self.broker.consume(Queue::Work(stage), 1).await.unwrap();
        let delivery = timeout(DEADLINE, queue.next()).await.expect("a job in time").unwrap();
        let envelope = Envelope::decode(&delivery.letter.body).unwrap();
        delivery.ack().await.unwrap();
        envelope
    }

    async fn there(&self, bucket: Bucket, prefix: &str) -> usize {
        self.store.list(bucket, prefix).await.unwrap().len()
    }
}

#[tokio::test]
async fn a_delivery_is_sent_with_the_model_that_ships_and_its_run_started() {
    let site = Site::new();
    let (cluster, folder) = (site.cluster(), site.delivery("july"));
    let run = cluster.start(&folder, Plane::CORONAL).await.unwrap();
    assert_eq!(site.there(Bucket::Incoming, SUBMISSIONS_PREFIX).await, 1, "it is listed at once");
    let first = site.next(StageName::Ingest).await;
    assert_eq!(first.scope.run, run);
    assert_eq!(site.there(Bucket::Incoming, SCANS_PREFIX).await, 1);
    let version = ModelVersion::of_file(models::BASE_MODEL);
    assert!(site.store.length(&ObjectKey::ModelPlan(version)).await.unwrap().is_some());
    // Held while a delivery is sent, until after its folder is removed.
    let _turn = timeout(DEADLINE, cluster.inner.turn.acquire()).await.unwrap();
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_delivery_that_was_interrupted_is_sent_after_the_next_start_and_half_an_upload_is_removed() {
    let site = Site::new();
    let folder = site.delivery("july");
    delivery::want(&folder, &Wanted { plane: Plane::CORONAL, model: None }).unwrap();
    let half = site.delivery("half");
    let cluster = site.cluster();
    assert_eq!(cluster.go_on().unwrap(), 1);
    assert!(!half.exists());
    let run = site.next(StageName::Ingest).await.scope.run;
    assert!(site.store.length(&ObjectKey::Submission(run)).await.unwrap().is_some());
    assert_eq!(site.there(Bucket::Incoming, SCANS_PREFIX).await, 1);
}

#[tokio::test]
async fn a_delivery_that_is_not_sent_yet_can_be_cancelled_and_dropped_again_goes_on() {
    let site = Site::new();
    let (cluster, folder) = (site.cluster(), site.delivery("july"));
    let turn = cluster.inner.turn.acquire().await.unwrap();
    let run = cluster.start(&folder, Plane::CORONAL).await.unwrap();
    timeout(DEADLINE, cluster.cancel(&run)).await.expect("an answer in time").unwrap();
    assert!(!folder.exists(), "its files have identity inside");
    let state = RunState::read(&*site.store, &run).await.unwrap().unwrap();
    assert_eq!((state.state, state.chunks_done), (State::Cancelled, 0));
    drop(turn);
    assert_eq!(site.broker.waiting(Queue::Work(StageName::Ingest)), 0);
    assert_eq!(site.there(Bucket::Incoming, SCANS_PREFIX).await, 0, "nothing was sent");
    timeout(DEADLINE, cluster.cancel(&run)).await.unwrap().unwrap();

    // The same files, in a folder of another name.
    let again = site.deliveries.path().join("again");
    site.delivery("july");
    fs::rename(site.deliveries.path().join("july"), &again).unwrap();
    assert_eq!(cluster.start(&again, Plane::CORONAL).await.unwrap(), run);
    assert_eq!(site.next(StageName::Ingest).await.scope.run, run);
    let state = RunState::read(&*site.store, &run).await.unwrap().unwrap();
    assert_eq!(state.state, State::Running);
}

#[tokio::test]
async fn a_delivery_that_could_not_be_cancelled_is_not_sent_and_can_be_cancelled_or_dropped_again() {
    for is_dropped_again in [false, true] {
        let site = Site::new();
        let store = Arc::new(WatchedStore::over(site.store.clone()));
        let (cluster, folder) = (site.cluster_over(store.clone()), site.delivery("july"));
        let turn = cluster.inner.turn.acquire().await.unwrap();
        let run = cluster.start(&folder, Plane::CORONAL).await.unwrap();
        store.stick(Some(ObjectKey::Run(run.clone())));
        assert!(timeout(DEADLINE, cluster.cancel(&run)).await.expect("an answer in time").is_err());
        store.stick(None);
        drop(turn);
        drop(cluster.inner.turn.acquire().await.unwrap());
        assert_eq!(site.there(Bucket::Incoming, SCANS_PREFIX).await, 0, "whoever sent it has let go of it");
        if is_dropped_again {
            assert_eq!(cluster.start(&folder, Plane::CORONAL).await.unwrap(), run);
            assert_eq!(site.next(StageName::Ingest).await.scope.run, run);
        } else {
            timeout(DEADLINE, cluster.cancel(&run)).await.expect("an answer in time").unwrap();
            let state = RunState::read(&*site.store, &run).await.unwrap().unwrap();
            assert_eq!((state.state, folder.exists()), (State::Cancelled, false));
        }
    }
}

#[tokio::test]
async fn uploaded_files_are_removed_once_nothing_needs_them() {
    let site = Site::new();
    let (cluster, folder) = (site.cluster(), site.delivery("july"));
    let run = cluster.start(&folder, Plane::CORONAL).await.unwrap();
    let first = site.next(StageName::Ingest).await;
    let refused = async || {
        let error = cluster.remove_uploaded(&run).await.unwrap_err();
        error.downcast::<Refused>().expect("words for people").0
    };
    // Held while a delivery is sent.
    let turn = timeout(DEADLINE, cluster.inner.turn.acquire()).await.unwrap();
    assert!(refused().await.contains("being sent"));
    drop(turn);
    // A queue that is silent for a while is empty.
    tokio::time::pause();
    assert!(refused().await.contains("under way"));
    let done = serde_json::to_vec(&RunOutcome::default()).unwrap();
    site.store.put(ObjectKey::RunDone(run.clone()), done.into()).await.unwrap();
    let letter = Letter::new(first.encode());
    site.broker.publish(Queue::Dead(StageName::Ingest), letter).await.unwrap();
    assert!(refused().await.contains("replay or drop"));
    assert_eq!(site.there(Bucket::Incoming, SCANS_PREFIX).await, 1);
    cluster.drop_given_up(&run).await.unwrap();
    assert_eq!(cluster.remove_uploaded(&run).await.unwrap(), 1);
    assert_eq!(site.there(Bucket::Incoming, SCANS_PREFIX).await, 0);
    let state = RunState::read(&*site.store, &run).await.unwrap().unwrap();
    assert!(state.uploaded.unwrap().removed.is_some());
}

#[tokio::test]
async fn a_delivery_that_comes_again_while_it_is_sent_is_sent_once() {
    let site = Site::new();
    let cluster = site.cluster();
    let turn = cluster.inner.turn.acquire().await.unwrap();
    let first = site.deliveries.path().join("first");
    let run = cluster.start(&site.delivery("july"), Plane::CORONAL).await.unwrap();
    fs::rename(site.deliveries.path().join("july"), &first).unwrap();
    let second = site.delivery("july");
    assert_eq!(cluster.start(&second, Plane::CORONAL).await.unwrap(), run);
    assert!(!second.exists());
    drop(turn);
}

#[tokio::test]
async fn an_annotation_whose_job_was_never_published_becomes_a_sample_after_the_next_start() {
    let site = Site::new();
    let slice = SliceRef { patient: "P-1".parse().unwrap(), slice: "s-1".parse().unwrap() };
    let mask = png::encode_mask(&Grid::filled(3, 4, true).unwrap());
    let job = annotations::keep(&*site.store, &slice, mask, "ada").await.unwrap();
    let cluster = site.cluster();
    cluster.go_on().unwrap();
    let found = site.next(StageName::Preprocess).await;
    assert_eq!(found.message.id, Message::new(&job).id);
    cluster.draw(vec![slice], ModelVersion::of_file(b"a model")).await.unwrap();
    assert_ne!(site.next(StageName::Preprocess).await.message.id, found.message.id);
}

#[tokio::test]
async fn a_delivery_without_files_is_refused() {
    let site = Site::new();
    let folder = site.deliveries.path().join("empty");
    fs::create_dir_all(folder.join(SCANS)).unwrap();
    let error = site.cluster().start(&folder, Plane::CORONAL).await.unwrap_err();
    assert!(error.to_string().contains("no files"), "{error}");
}
