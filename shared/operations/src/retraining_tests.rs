use modiolus_broker::InProcess;
use modiolus_imaging::{Grid, png};
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::job::preprocess::AnnotationVerdict;
use modiolus_pipeline::key::TRAININGS_PREFIX;
use modiolus_pipeline::topology::Queue;
use modiolus_pipeline::{Bucket, Job, Revision, RevisionId, RevisionState, StageName};
use modiolus_runtime::FailedJob;
use modiolus_store::MemoryStore;

use super::*;

const WHEN: When = When { annotations: 3, longest_wait: Duration::from_secs(3600) };

/// A store in which people draw, and nobody trains.
struct Studio {
    store: Arc<MemoryStore>,
    broker: Arc<InProcess>,
    joins: Joins,
    retraining: Retraining,
}

impl Studio {
    fn new() -> Self {
        let (store, broker) = (Arc::new(MemoryStore::new()), Arc::new(InProcess::new()));
        let joins = Joins::new(store.clone(), broker.clone());
        let retraining = Retraining::new(store.clone());
        Self { store, broker, joins, retraining }
    }

    async fn put(&self, key: ObjectKey, value: &impl serde::Serialize) {
        self.store.put(key, serde_json::to_vec(value).unwrap().into()).await.unwrap();
    }

    async fn sample(&self, png: Vec<u8>) -> Digest {
        let digest = Digest::of(&png);
        self.store.put(ObjectKey::Sample(digest), png.into()).await.unwrap();
        digest
    }

    /// Somebody draws a mask of this width on the only slice of a patient; `accepted` says whether it is a sample already.
    async fn draw(&self, patient: u32, number: u32, width: usize, state: RevisionState, accepted: bool) {
        let picture =
            Grid::from_fn(24, 24, |r, c| (r * 31 * (patient as usize + 1) + c * c * 7) as u8).unwrap();
        let mask = png::encode_mask(&Grid::from_fn(24, 24, |r, c| r == 3 && c < width).unwrap());
        let slice = slice(patient);
        let (patient, id) = (slice.patient, slice.slice);
        let annotation = Digest::of(&mask);
        let revision = Revision {
            parent: None,
            by: "ada".into(),
            at: now(),
            proposal: None,
            seconds: 1,
            state,
            mask: annotation,
            imported: false,
        };
        let revision_id = RevisionId::new(number, &annotation);
        self.put(ObjectKey::Revision(patient.clone(), id.clone(), revision_id), &revision).await;
        if accepted {
            let image = self.sample(png::encode_grey(&picture)).await;
            let verdict = AnnotationVerdict::Accepted { image, mask: self.sample(mask).await };
            self.put(ObjectKey::AnnotationVerdict(patient, id, annotation), &verdict).await;
        }
    }

    async fn look(&self) -> Option<TrainingId> {
        self.retraining.look(&*self.broker, &self.joins, WHEN).await.unwrap()
    }

    fn waiting(&self) -> usize {
        self.broker.waiting(Queue::Work(StageName::Train))
    }

    async fn training(&self) -> Training {
        newest(&*self.store).await.unwrap().unwrap()
    }

    async fn dataset(&self) -> Dataset {
        self.retraining.dataset(&self.training().await).await.unwrap()
    }

    /// The training is over.
    async fn end(&self) {
        self.end_with(vec![]).await;
    }

    async fn end_with(&self, failed: Vec<FailedJob>) {
        let run = self.training().await.first.training.as_run();
        self.put(ObjectKey::RunDone(run), &RunOutcome { failed }).await;
    }
}

fn slice(patient: u32) -> SliceRef {
    SliceRef { patient: format!("P-{patient}").parse().unwrap(), slice: "s-1".parse().unwrap() }
}

#[tokio::test]
async fn a_training_starts_with_the_nth_new_mask_and_what_comes_meanwhile_is_the_next_ones() {
    let studio = Studio::new();
    for patient in 0..2 {
        studio.draw(patient, 1, 4, RevisionState::Accepted, true).await;
        assert_eq!(studio.look().await, None);
    }
    studio.draw(2, 1, 4, RevisionState::Accepted, false).await;
    assert_eq!(studio.look().await, None, "it is no sample yet");
    studio.draw(2, 1, 4, RevisionState::Accepted, true).await;
    let first = studio.look().await.expect("three slices have new masks");
    let training = studio.training().await;
    assert_eq!((&training.first.training, studio.waiting()), (&first, 1));
    assert!(training.why.contains('3'), "{}", training.why);
    assert_eq!(training.first.base, Some(ModelVersion::of_file(models::BASE_MODEL)));
    assert_eq!(training.first.rival, training.first.base);
    let letter = studio.broker.consume(Queue::Work(StageName::Train), 1).await.unwrap().next().await.unwrap();
    let envelope = modiolus_pipeline::Envelope::decode(&letter.letter.body).unwrap();
    assert_eq!((envelope.message.id, envelope.scope.run), (training.first.id(), first.as_run()));

    for patient in 3..6 {
        studio.draw(patient, 1, 4, RevisionState::Accepted, true).await;
    }
    assert_eq!(studio.look().await, None, "one is under way");
    studio.end().await;
    let second = studio.look().await.expect("three more have come meanwhile");
    assert_ne!(second, first);
    assert_eq!(studio.dataset().await.samples.len(), 6);
    studio.end().await;
    assert_eq!(studio.look().await, None, "nothing is new");
}

#[tokio::test]
async fn a_training_that_failed_has_learned_nothing_and_starts_again_only_with_more() {
    let studio = Studio::new();
    for patient in 0..3 {
        studio.draw(patient, 1, 4, RevisionState::Accepted, true).await;
    }
    let failed = studio.look().await.expect("three slices have new masks");
    let (code, message) = ("panicked".into(), "a fault".into());
    let job = studio.training().await.first.id();
    studio.end_with(vec![FailedJob { chunk: 0, job, code, message }]).await;
    assert_eq!(studio.retraining.new_masks().await.unwrap().len(), 3, "nobody has learned from them");
    assert_eq!(studio.look().await, None, "the same would fail again");
    studio.draw(3, 1, 4, RevisionState::Accepted, true).await;
    let next = studio.look().await.expect("four, of which one is new since");
    assert_ne!(next, failed);
    studio.end().await;
    assert_eq!(studio.retraining.new_masks().await.unwrap().len(), 0);
    assert_eq!(studio.look().await, None);
}

#[tokio::test]
async fn two_who_look_at_the_same_masks_start_the_same_training() {
    let studio = Studio::new();
    for patient in 0..3 {
        studio.draw(patient, 1, 4, RevisionState::Accepted, true).await;
    }
    let base = Base { version: "m-1".parse().unwrap(), plan: Plan::default() };
    let prepare = |who: &'static str| {
        studio.retraining.prepare(base.clone(), Wish { why: who.into(), ..Wish::default() })
    };
    let (one, two) = (prepare("one").await.unwrap(), prepare("two").await.unwrap());
    assert_eq!((&one.first, &one.manifest), (&two.first, &two.manifest));
    for prepared in [one, two] {
        prepared.begin(&*studio.store, &*studio.broker, &studio.joins).await.unwrap();
    }
    let trainings = studio.store.list(Bucket::Models, TRAININGS_PREFIX).await.unwrap();
    assert_eq!(trainings.len(), 1);
}

#[tokio::test]
async fn the_newest_mask_that_is_a_sample_counts_and_one_that_is_drawn_anew_is_new() {
    let studio = Studio::new();
    for patient in 0..3 {
        studio.draw(patient, 1, 4, RevisionState::Accepted, true).await;
    }
    studio.draw(0, 2, 5, RevisionState::Draft, true).await;
    studio.draw(1, 2, 5, RevisionState::Accepted, false).await;
    studio.draw(2, 2, 0, RevisionState::Rejected, true).await;
    studio.look().await.unwrap();
    let mask = |width: usize| {
        Digest::of(png::encode_mask(&Grid::from_fn(24, 24, |r, c| r == 3 && c < width).unwrap()))
    };
    let masks: Vec<Digest> = studio.dataset().await.samples.iter().map(|sample| sample.mask).collect();
    assert_eq!(masks, [mask(4), mask(4), mask(0)], "a draft and what is no sample yet don't count");
    studio.end().await;
    for patient in 0..3 {
        studio.draw(patient, 3, 6, RevisionState::Accepted, true).await;
    }
    assert!(studio.look().await.is_some());
    assert!(studio.dataset().await.samples.iter().all(|sample| sample.mask == mask(6)));
}

#[tokio::test]
async fn a_mask_that_covers_its_slice_is_left_out_and_does_not_start_trainings_for_ever() {
    let studio = Studio::new();
    for patient in 0..3 {
        studio.draw(patient, 1, 4, RevisionState::Accepted, true).await;
    }
    let full = slice(7);
    let mask = png::encode_mask(&Grid::filled(24, 24, true).unwrap());
    crate::annotations::keep(&*studio.store, &full, mask.clone(), "ada").await.unwrap();
    let image = studio.sample(png::encode_grey(&Grid::filled(24, 24, 9u8).unwrap())).await;
    let verdict = AnnotationVerdict::Accepted { image, mask: studio.sample(mask.clone()).await };
    let key = ObjectKey::AnnotationVerdict(full.patient, full.slice, Digest::of(&mask));
    studio.put(key, &verdict).await;
    studio.look().await.unwrap();
    assert_eq!(studio.dataset().await.samples.len(), 3);
    assert_eq!(studio.training().await.left_out, [("P-7_s-1".to_owned(), Digest::of(&mask))]);
}

#[test]
fn a_single_new_mask_starts_a_training_when_it_has_waited_long_enough() {
    let at = |at| Labelled { slice: slice(0), at, image: Digest::of("i"), mask: Digest::of("m") };
    assert_eq!(is_due(&[], WHEN, 10_000), None);
    assert_eq!(is_due(&[at(10_000)], WHEN, 13_599), None);
    assert!(is_due(&[at(13_000), at(10_000)], WHEN, 13_600).unwrap().contains("1 h"));
    assert_eq!(is_due(&[at(99_000)], WHEN, 10_000), None, "the clock of who drew it is ahead");
}

#[test]
fn a_training_is_named_by_all_that_it_depends_on() {
    let (dataset, plan) = (Digest::of("dataset"), Plan::default());
    let job = first_job(dataset, &plan, None, None);
    assert_eq!(first_job(dataset, &plan, None, None).id(), job.id());
    let longer = Plan { epochs: plan.epochs + 1, ..plan.clone() };
    assert_ne!(first_job(dataset, &longer, None, None).training, job.training);
    let rival = Some("m-1".parse().unwrap());
    assert_ne!(first_job(dataset, &plan, None, rival).training, job.training);
}

#[tokio::test]
async fn a_plan_for_another_network_is_refused() {
    let studio = Studio::new();
    let base = Base { version: "m-1".parse().unwrap(), plan: Plan::default() };
    let wish = Wish { plan: Some(Plan::one_level_unet()), ..Wish::default() };
    let error = studio.retraining.prepare(base, wish).await.unwrap_err();
    assert!(error.to_string().contains("m-1"), "{error}");
}
