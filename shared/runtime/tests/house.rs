//! A run on one machine, from its first message to its end.

mod toy;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use modiolus_broker::InProcess;
use modiolus_pipeline::{Bucket, ErrorClass, ObjectKey, ProgressEvent, StageError};
use modiolus_pipeline::{Effects, Objects, Progress, Read, Stage};
use modiolus_runtime::{CancellationToken, House, HouseError, Joins, RunOutcome};
use modiolus_store::{FolderStore, MemoryStore, ObjectStore};
use toy::{Fate, Split, ToyRun, house};

const GOOD: Fate = Fate::Succeeds;

#[tokio::test]
async fn a_run_ends_when_everything_that_follows_has_ended() {
    let store = Arc::new(MemoryStore::new());
    let toy = ToyRun::new("r-good", &[vec![GOOD; 5], vec![], vec![GOOD; 1]], &*store).await;
    let mut units = 0;
    let house = house(store.clone());
    let outcome = house.run(&toy.run, &toy.manifest, toy.first.clone(), |event| {
        assert_eq!(event.scope.run, toy.run);
        if let ProgressEvent::Units { done } = event.progress {
            units += done;
        }
    });
    assert_eq!(outcome.await, Ok(RunOutcome::default()));
    assert_eq!(units, 3);
    let parts = store.list(Bucket::Runs, "verdicts/").await.unwrap();
    assert_eq!(parts.len(), 6);
    // Per chunk with parts 1, 2 and 4: three last steps of their own and one that they share.
    assert_eq!(
        store.list(Bucket::Datasets, "").await.unwrap().iter().filter(|p| !p.contains('/')).count(),
        4
    );
}

#[tokio::test]
async fn a_run_that_is_done_is_not_done_again() {
    let store = Arc::new(MemoryStore::new());
    let toy = ToyRun::new("r-again", &[vec![GOOD; 3]], &*store).await;
    house(store.clone()).run(&toy.run, &toy.manifest, toy.first.clone(), |_| ()).await.unwrap();
    let before = store.snapshot();
    let no_stage = House::new(store.clone());
    assert_eq!(no_stage.run(&toy.run, &toy.manifest, toy.first, |_| ()).await, Ok(RunOutcome::default()));
    assert_eq!(store.snapshot(), before);
}

#[tokio::test]
async fn only_what_is_missing_is_done_again() {
    let store = Arc::new(MemoryStore::new());
    let toy = ToyRun::new("r-resumed", &[vec![GOOD; 3], vec![GOOD; 3]], &*store).await;
    house(store.clone()).run(&toy.run, &toy.manifest, toy.first.clone(), |_| ()).await.unwrap();
    let whole = store.snapshot();
    // As if it had been killed: the second chunk isn't done, one of its jobs left no manifest, another a damaged output.
    let index = ObjectKey::Index(toy.first[1].id.clone());
    store.put(index, "torn".into()).await.unwrap();
    for key in [ObjectKey::RunDone(toy.run.clone()), ObjectKey::ChunkDone(toy.run.clone(), 1)] {
        store.delete(&key).await.unwrap();
    }
    let mut units = 0;
    house(store.clone()).run(&toy.run, &toy.manifest, toy.first, |_| units += 1).await.unwrap();
    assert_eq!(units, 1, "only the job with the damaged output runs");
    assert_eq!(store.snapshot(), whole);
}

#[tokio::test]
async fn a_run_whose_last_words_were_lost_ends_at_once() {
    let store = Arc::new(MemoryStore::new());
    let toy = ToyRun::new("r-words", &[vec![GOOD], vec![GOOD]], &*store).await;
    house(store.clone()).run(&toy.run, &toy.manifest, toy.first.clone(), |_| ()).await.unwrap();
    let whole = store.snapshot();
    store.delete(&ObjectKey::RunDone(toy.run.clone())).await.unwrap();
    let no_stage = House::new(store.clone());
    assert_eq!(no_stage.run(&toy.run, &toy.manifest, toy.first, |_| ()).await, Ok(RunOutcome::default()));
    assert_eq!(store.snapshot(), whole);
}

#[tokio::test]
async fn jobs_that_fail_are_in_the_outcome_and_stop_nothing() {
    let store = Arc::new(MemoryStore::new());
    let toy = ToyRun::new("r-fails", &[vec![GOOD, Fate::Fails, GOOD], vec![GOOD]], &*store).await;
    let outcome = house(store.clone()).run(&toy.run, &toy.manifest, toy.first.clone(), |_| ()).await.unwrap();
    let [failed] = outcome.failed.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((failed.chunk, failed.code.as_str()), (0, "bad-part"));
    assert_eq!(store.list(Bucket::Runs, "verdicts/").await.unwrap().len(), 3);
    let again = house(store).run(&toy.run, &toy.manifest, toy.first, |_| ()).await;
    assert_eq!(again, Ok(outcome));
}

#[tokio::test]
async fn an_object_that_its_digest_does_not_name_fails_the_job_by_name() {
    let store = Arc::new(MemoryStore::new());
    let toy = ToyRun::new("r-damaged", &[vec![GOOD], vec![GOOD]], &*store).await;
    let sample = ObjectKey::Sample(toy.first[1].job::<Split>().unwrap().input);
    store.put(sample.clone(), "r-damaged 7".into()).await.unwrap();
    let outcome = house(store).run(&toy.run, &toy.manifest, toy.first, |_| ()).await.unwrap();
    let [failed] = outcome.failed.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((failed.chunk, failed.code.as_str()), (1, "digest-mismatch"));
    assert!(failed.message.contains(&sample.to_string()), "{}", failed.message);
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_panics_is_tried_again_and_then_given_up() {
    let store = Arc::new(MemoryStore::new());
    let toy = ToyRun::new("r-panics", &[vec![Fate::Panics, GOOD]], &*store).await;
    let outcome = house(store).run(&toy.run, &toy.manifest, toy.first, |_| ()).await.unwrap();
    assert_eq!(outcome.failed.len(), 1);
    assert_eq!(outcome.failed[0].code, "panicked");
}

/// Fails so many times, then succeeds.
struct Flaky(AtomicUsize);

impl Stage for Flaky {
    type Job = Split;

    fn needs(&self, _: &Split, _: &Objects) -> Vec<Read> {
        vec![]
    }

    fn run(&self, _: &Split, _: &Objects, progress: &Progress) -> Result<Effects, StageError> {
        assert!(!progress.is_stopping());
        if self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(StageError::retryable("store-full", "no space left"));
        }
        Ok(Effects::default())
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_passes_is_waited_for() {
    let store = Arc::new(MemoryStore::new());
    let toy = ToyRun::new("r-passes", &[vec![]], &*store).await;
    let house = House::new(store).with(Flaky(AtomicUsize::new(3)), 1);
    assert_eq!(house.run(&toy.run, &toy.manifest, toy.first, |_| ()).await, Ok(RunOutcome::default()));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_does_not_pass_stops_the_run_which_can_go_on_later() {
    let store = Arc::new(MemoryStore::new());
    let toy = ToyRun::new("r-halts", &[vec![]], &*store).await;
    let stuck = House::new(store.clone()).with(Flaky(AtomicUsize::new(usize::MAX)), 1);
    let error = stuck.run(&toy.run, &toy.manifest, toy.first.clone(), |_| ()).await.unwrap_err();
    let HouseError::Halted(cause) = error else { panic!("{error}") };
    assert_eq!((cause.class, cause.code), (ErrorClass::Retryable, "store-full"));
    let later = House::new(store).with(Flaky(AtomicUsize::new(0)), 1);
    assert_eq!(later.run(&toy.run, &toy.manifest, toy.first, |_| ()).await, Ok(RunOutcome::default()));
}

/// Runs until it is told to stop.
struct Endless(CancellationToken);

impl Stage for Endless {
    type Job = Split;

    fn needs(&self, _: &Split, _: &Objects) -> Vec<Read> {
        vec![]
    }

    fn run(&self, _: &Split, _: &Objects, progress: &Progress) -> Result<Effects, StageError> {
        self.0.cancel();
        while !progress.is_stopping() {
            std::thread::yield_now();
        }
        Err(StageError::interrupted())
    }
}

#[tokio::test]
async fn a_house_that_is_stopped_hands_its_jobs_back() {
    let store = Arc::new(MemoryStore::new());
    let toy = ToyRun::new("r-stopped", &[vec![]], &*store).await;
    let stop = CancellationToken::new();
    let endless = House::new(store.clone()).with(Endless(stop.clone()), 1).stopped_by(stop);
    let stopped = endless.run(&toy.run, &toy.manifest, toy.first.clone(), |_| ()).await;
    assert_eq!(stopped, Err(HouseError::Stopped));
    assert_eq!(store.length(&ObjectKey::RunDone(toy.run.clone())).await, Ok(None));
    let later = house(store).run(&toy.run, &toy.manifest, toy.first, |_| ()).await;
    assert_eq!(later, Ok(RunOutcome::default()));
}

#[tokio::test]
async fn a_run_that_was_cancelled_goes_on_when_it_is_started_again() {
    let store = Arc::new(MemoryStore::new());
    let toy = ToyRun::new("r-cancelled", &[vec![GOOD], vec![GOOD; 2]], &*store).await;
    let stop = CancellationToken::new();
    let endless = House::new(store.clone()).with(Endless(stop.clone()), 1).stopped_by(stop);
    let stopped = endless.run(&toy.run, &toy.manifest, toy.first.clone(), |_| ()).await;
    assert_eq!(stopped, Err(HouseError::Stopped));
    let joins = Joins::new(store.clone(), Arc::new(InProcess::new()));
    assert!(joins.cancel(&toy.run).await.unwrap().unwrap().is_cancelled());
    let again = house(store.clone()).run(&toy.run, &toy.manifest, toy.first, |_| ()).await;
    assert_eq!(again, Ok(RunOutcome::default()));
    assert_eq!(joins.outcome(&toy.run).await, Ok(Some(RunOutcome::default())));
    assert_eq!(store.list(Bucket::Runs, "verdicts/").await.unwrap().len(), 3);
}

#[tokio::test]
async fn another_run_under_the_same_id_is_refused() {
    let store = Arc::new(MemoryStore::new());
    let toy = ToyRun::new("r-same", &[vec![]], &*store).await;
    house(store.clone()).run(&toy.run, &toy.manifest, toy.first, |_| ()).await.unwrap();
    let other = ToyRun::new("r-same", &[vec![GOOD]], &*store).await;
    let refused = house(store).run(&other.run, &other.manifest, other.first, |_| ()).await;
    assert_eq!(refused, Err(HouseError::OtherRun(other.run)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_many_chunks_leaves_the_same_in_a_folder_as_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let stores: [Arc<dyn ObjectStore>; 2] =
        [Arc::new(MemoryStore::new()), Arc::new(FolderStore::new(folder.path()).unwrap())];
    let mut listings = vec![];
    for store in stores {
        let toy = ToyRun::new("r-many", &vec![vec![GOOD; 3]; 100], &*store).await;
        house(store.clone()).run(&toy.run, &toy.manifest, toy.first, |_| ()).await.unwrap();
        let mut listing = vec![];
        for bucket in Bucket::ALL {
            listing.push(store.list(bucket, "").await.unwrap());
        }
        listings.push(listing);
    }
    assert_eq!(listings[0], listings[1]);
}

#[ignore = "a measurement: run it in release"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measure_what_a_job_costs_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FolderStore::new(folder.path()).unwrap());
    let toy = ToyRun::new("r-many", &vec![vec![GOOD; 1]; 1000], &*store).await;
    let start = std::time::Instant::now();
    house(store).run(&toy.run, &toy.manifest, toy.first, |_| ()).await.unwrap();
    println!("{:?} per job", start.elapsed() / 2000);
}
