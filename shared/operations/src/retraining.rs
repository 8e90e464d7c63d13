//! When a model is trained anew, and from what. No lock and no counter: whoever sees that a training is due starts it under an
//! id that follows from its inputs, so that two who see the same start the same.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use modiolus_broker::Broker;
use modiolus_pipeline::job::train::{Dataset, TrainJob, Training};
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::models::CurrentModel;
use modiolus_pipeline::{Digest, Message, ModelVersion, ObjectKey, Plan, Split, TrainingId};
use modiolus_runtime::{Joins, RunOutcome};
use modiolus_store::ObjectStore;

use crate::dataset::{self, Outline, Pair};
use crate::labelled::{Labelled, Labels};
use crate::start::{now, start};
use crate::{models, objects, trainings};

/// A training has about this many segments; what a kill costs is at most one.
const SEGMENTS: u32 = 10;

/// When a training is due.
#[derive(Debug, Clone, Copy)]
pub struct When {
    /// So many slices have a new mask.
    pub annotations: usize,
    /// Or one has waited for so long.
    pub longest_wait: Duration,
}

/// The model that a training goes on from.
#[derive(Debug, Clone)]
pub struct Base {
    /// Its version; the store has it.
    pub version: ModelVersion,
    /// The plan inside it.
    pub plan: Plan,
}

impl Base {
    /// The store's current model; the base model, where the store has none. Afterwards the store has it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn current(store: &dyn ObjectStore) -> Result<Self> {
        if let Some(CurrentModel { current, .. }) = models::current(store).await? {
            let plan = objects::json(store, ObjectKey::ModelPlan(current.clone())).await?;
            return Ok(Self { version: current, plan });
        }
        let (bytes, plan) = (Bytes::from_static(models::BASE_MODEL), models::plan_of(models::BASE_MODEL)?);
        let version = ModelVersion::of_file(&bytes);
        models::keep(store, &version, &plan, &bytes).await?;
        Ok(Self { version, plan })
    }
}

/// How a training differs from the usual: fine-tuning of the base model.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Another plan, for the same network.
    pub plan: Option<Plan>,
    /// Another number of epochs.
    pub epochs: Option<u32>,
    /// Why the training is started, in a sentence for people.
    pub why: String,
}

/// A training that can be started: its dataset and its plan are in the store.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Its first segment and why it is started.
    pub training: Training,
    /// What its run is.
    pub manifest: RunManifest,
    /// The message that starts it.
    pub first: Message,
}

/// Finds out whether a training is due, and prepares it.
pub struct Retraining {
    store: Arc<dyn ObjectStore>,
    labels: Labels,
}

impl Retraining {
    /// For this store.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { labels: Labels::new(store.clone()), store }
    }

    /// Why a training is due, in a sentence; `None` while it is not, or while the last one is under way: what comes meanwhile
    /// is the next one's.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn due(&self, joins: &Joins, when: When) -> Result<Option<String>> {
        let noted = trainings::noted(&*self.store).await?;
        let last = noted.first();
        if let Some(training) = last
            && joins.outcome(&training.first.training.as_run()).await?.is_none()
        {
            return Ok(None);
        }
        // The same masks would only fail again.
        if last.is_some() && self.new_since(last).await?.is_empty() {
            return Ok(None);
        }
        Ok(is_due(&self.new_since(self.newest_unfailed(&noted).await?).await?, when, now()))
    }

    /// The slices with masks that no training has learned from, or is learning from.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn new_masks(&self) -> Result<Vec<Labelled>> {
        let noted = trainings::noted(&*self.store).await?;
        self.new_since(self.newest_unfailed(&noted).await?).await
    }

    /// The newest training of which no segment was given up or cancelled: it has learned from all that was drawn before.
    async fn newest_unfailed<'a>(&self, noted: &'a [Training]) -> Result<Option<&'a Training>> {
        for training in noted {
            let done = ObjectKey::RunDone(training.first.training.as_run());
            let outcome: Option<RunOutcome> = objects::json_if_there(&*self.store, done).await?;
            if outcome.is_none_or(|outcome| outcome.failed.is_empty()) {
                return Ok(Some(training));
            }
        }
        Ok(None)
    }

    async fn new_since(&self, last: Option<&Training>) -> Result<Vec<Labelled>> {
        let learned: HashSet<(String, Digest)> = match last {
            Some(training) => {
                let dataset = self.dataset(training).await?;
                let samples = dataset.samples.into_iter().map(|sample| (sample.name, sample.mask));
                samples.chain(training.left_out.iter().cloned()).collect()
            }
            None => HashSet::new(),
        };
        let mut new = self.labels.all().await?;
        new.retain(|labelled| !learned.contains(&(labelled.name(), labelled.mask)));
        Ok(new)
    }

    async fn dataset(&self, training: &Training) -> Result<Dataset> {
        objects::json(&*self.store, ObjectKey::Dataset(training.first.dataset)).await
    }

    /// Makes the newest dataset and writes it down with its plan.
    ///
    /// # Errors
    /// When there is nothing to learn from, the plan is for another network or can't be carried out, or the store fails.
    pub async fn prepare(&self, base: Base, wish: Wish) -> Result<Prepared> {
        let mut plan = wish.plan.unwrap_or_else(|| base.plan.fine_tuning());
        if plan.network != base.plan.network {
            bail!(
                "the plan is for another network than the model {}, from which it has to go on",
                base.version
            );
        }
        plan.epochs = wish.epochs.unwrap_or(plan.epochs);
        plan.check()?;
        let last = newest(&*self.store).await?;
        let earlier = self.earlier(last.as_ref(), Some(&base.version)).await?;
        if earlier.is_unknown() {
            tracing::warn!(
                model = %base.version,
                "an earlier version made the model: it doesn't say which pictures taught it, so who is held out now may be among them"
            );
        }
        let (dataset, left_out) = self.assembled(&plan, &earlier).await?;
        let id = Digest::of_json(&dataset);
        self.store.put(ObjectKey::Dataset(id), serde_json::to_vec(&dataset)?.into()).await?;
        self.store.put(ObjectKey::Plan(plan.id()), serde_json::to_vec(&plan)?.into()).await?;
        let rival = Some(base.version.clone());
        let first = first_job(id, &plan, Some(base.version), rival);
        let message = Message::new(&first);
        let manifest = RunManifest { wanted: None, chunks: vec![message.id.clone()] };
        // The newest stays the newest, whatever the clocks say.
        let started = last.map_or(0, |last| last.started + 1).max(now());
        let training = Training { first, started, why: wish.why, left_out };
        Ok(Prepared { training, manifest, first: message })
    }

    /// The dataset that a training by this plan would learn from now: patients stay on the side of the split on which the newest
    /// training and those of the current model had them.
    ///
    /// # Errors
    /// When there is nothing to learn from ([`BadPair`](dataset::BadPair)), or the store fails.
    pub async fn newest_dataset(&self, plan: &Plan) -> Result<Dataset> {
        let last = newest(&*self.store).await?;
        let base = models::current(&*self.store).await?.map(|pointer| pointer.current);
        let earlier = self.earlier(last.as_ref(), base.as_ref()).await?;
        Ok(self.assembled(plan, &earlier).await?.0)
    }

    /// Who is held out already: by the newest training, and by those that its base comes from, here or elsewhere.
    async fn earlier(&self, last: Option<&Training>, base: Option<&ModelVersion>) -> Result<Split> {
        let newest = match last {
            Some(training) => Split::of(&self.dataset(training).await?),
            None => Split::default(),
        };
        let base = match base {
            Some(version) => models::split(&*self.store, version).await?,
            None => Split::default(),
        };
        Ok(newest.and(base))
    }

    /// The dataset, and those whose masks can't be learned from.
    async fn assembled(&self, plan: &Plan, earlier: &Split) -> Result<(Dataset, Vec<(String, Digest)>)> {
        let (mut outlines, mut left_out) = (Vec::new(), Vec::new());
        for one in self.labels.all().await? {
            match self.outline(&one).await? {
                Ok(outline) => outlines.push(outline),
                Err(error) => {
                    tracing::warn!(%error, "a mask can't be learned from and is left out");
                    left_out.push((one.name(), one.mask));
                }
            }
        }
        Ok((dataset::split(outlines, plan, earlier)?, left_out))
    }

    /// What is left of a labelled slice once it was read, or why it can't be learned from.
    async fn outline(&self, one: &Labelled) -> Result<Result<Outline, dataset::BadPair>> {
        let image = objects::bytes(&*self.store, ObjectKey::Sample(one.image)).await?;
        let mask = objects::bytes(&*self.store, ObjectKey::Sample(one.mask)).await?;
        let (name, patient) = (one.name(), one.slice.patient.to_string());
        let pair = Pair { name, patient, image: image.to_vec(), mask: mask.to_vec() };
        let read = tokio::task::spawn_blocking(move || Outline::of(pair)).await?;
        Ok(read.map(|(mut outline, _)| {
            // Named as preprocess has written them, whatever another version would write for the same pixels.
            (outline.sample.image, outline.sample.mask) = (one.image, one.mask);
            outline
        }))
    }

    /// Starts a training if one is due.
    ///
    /// # Errors
    /// When it is due and can't be prepared, or the store or the broker fails; looking again goes on.
    pub async fn look(&self, broker: &dyn Broker, joins: &Joins, when: When) -> Result<Option<TrainingId>> {
        let Some(why) = self.due(joins, when).await? else { return Ok(None) };
        let base = Base::current(&*self.store).await?;
        let prepared = self.prepare(base, Wish { why: why.clone(), ..Wish::default() }).await?;
        // Another one may have started it meanwhile.
        if self.due(joins, when).await?.is_none() {
            return Ok(None);
        }
        prepared.begin(&*self.store, broker, joins).await?;
        let training = prepared.training.first.training;
        tracing::info!(%training, "a training is started: {why}");
        Ok(Some(training))
    }
}

impl Prepared {
    /// Publishes the first segment, and notes the training. The outcome, where the same training is done already.
    ///
    /// # Errors
    /// When the broker or the store fails; doing it again is harmless.
    pub async fn begin(
        &self,
        store: &dyn ObjectStore,
        broker: &dyn Broker,
        joins: &Joins,
    ) -> Result<Option<RunOutcome>> {
        let run = self.training.first.training.as_run();
        let outcome = start(store, broker, joins, &run, &self.manifest, vec![self.first.clone()]).await?;
        self.note(store).await?;
        Ok(outcome)
    }

    /// Notes the training, so that what it learns from is not new any more. Last, so that one which nobody has published is
    /// not waited for.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note(&self, store: &dyn ObjectStore) -> Result<()> {
        let key = ObjectKey::Training(self.training.first.training.clone());
        Ok(store.put(key, serde_json::to_vec(&self.training)?.into()).await?)
    }
}

/// The first segment of a training, whose id follows from all that it depends on.
pub fn first_job(
    dataset: Digest,
    plan: &Plan,
    base: Option<ModelVersion>,
    rival: Option<ModelVersion>,
) -> TrainJob {
    let plan_id = plan.id();
    let epochs_per_segment = plan.epochs.div_ceil(SEGMENTS);
    let inputs = (&dataset, &plan_id, &base, &rival, epochs_per_segment);
    let training = TrainingId::derived(&Digest::of_json(&inputs));
    TrainJob { training, dataset, plan: plan_id, base, rival, segment: 0, epochs_per_segment }
}

/// The training that was started last.
///
/// # Errors
/// When the store fails, or a note in it is damaged.
pub async fn newest(store: &dyn ObjectStore) -> Result<Option<Training>> {
    Ok(trainings::noted(store).await?.into_iter().next())
}

fn is_due(new: &[Labelled], when: When, now: i64) -> Option<String> {
    let oldest = new.iter().map(|labelled| labelled.at).min()?;
    let waited = Duration::from_secs(u64::try_from(now.saturating_sub(oldest)).unwrap_or(0));
    let (count, hours) = (new.len(), when.longest_wait.as_secs() / 3600);
    if count >= when.annotations {
        return Some(format!("{count} slices have new masks"));
    }
    (waited >= when.longest_wait).then(|| format!("a new mask has waited for {hours} h"))
}

#[cfg(test)]
#[path = "retraining_tests.rs"]
mod tests;
