//! Train: dataset, plan and checkpoint -> next checkpoint, at the end a candidate model and its gate.

mod gate;
mod phantoms;

use std::sync::{Arc, Mutex};

use modiolus_imaging::png;
use modiolus_pipeline::job::train::{Dataset, EpochMetrics, Gate, PatientScore, Sample, TrainJob};
use modiolus_pipeline::models::CurrentModel;
use modiolus_pipeline::{
    Digest, Effects, ModelVersion, ObjectKey, Objects, Plan, PlanId, Progress, ProgressEvent, Read, Split,
    Stage, StageError,
};
use modiolus_segmentation::{Checkpoint, Data, Device, ModelFile, Picture, Predictor, Training};
use rayon::prelude::*;

use crate::gate::{Judged, Scores};

pub use modiolus_operations::dataset::{BadPair, Pair, assemble, assemble_after};

/// The stage. It keeps the pictures of the last segment, which the next one needs again, and what the last rival makes of
/// phantoms, as it stays the rival until one is better.
#[derive(Debug)]
pub struct TrainStage {
    device: Device,
    threads: usize,
    loaded: Mutex<Option<Arc<Loaded>>>,
    rival: Mutex<Option<(ModelVersion, Vec<PatientScore>)>>,
}

/// A dataset's pictures, as they are and as a plan's network sees them.
#[derive(Debug)]
struct Loaded {
    dataset: Digest,
    plan: PlanId,
    samples: Vec<Sample>,
    split: Split,
    pictures: Vec<Picture>,
    data: Data,
}

impl TrainStage {
    /// The stage on a device. `threads` is how many libtorch may use for one operation: only for the same number are two
    /// trainings the same bit for bit.
    pub fn new(device: Device, threads: usize) -> Self {
        Self { device, threads, loaded: Mutex::new(None), rival: Mutex::new(None) }
    }

    fn loaded(&self, job: &TrainJob) -> Option<Arc<Loaded>> {
        let loaded = self.loaded.lock().ok()?.clone()?;
        (loaded.dataset == job.dataset && loaded.plan == job.plan).then_some(loaded)
    }

    fn load(&self, job: &TrainJob, plan: &Plan, objects: &Objects) -> Result<Arc<Loaded>, StageError> {
        if let Some(loaded) = self.loaded(job) {
            return Ok(loaded);
        }
        let dataset: Dataset = objects.require_json(&ObjectKey::Dataset(job.dataset))?;
        let split = Split::of(&dataset);
        let Dataset { samples } = dataset;
        let was_asked_for = |sample: &Sample| objects.get(&ObjectKey::Sample(sample.image)).is_some();
        if !samples.iter().all(was_asked_for) {
            let text = "the pictures were here when the job began; another training has taken their place";
            return Err(StageError::retryable("pictures-displaced", text));
        }
        let read = |sample: &Sample| picture(sample, objects);
        let pictures: Vec<Picture> = samples.par_iter().map(read).collect::<Result<_, _>>()?;
        let data = Data::new(&pictures, plan)?.rehearsing(modiolus_phantom::training_pair, job.dataset);
        let loaded = Loaded { dataset: job.dataset, plan: job.plan.clone(), samples, split, pictures, data };
        let loaded = Arc::new(loaded);
        if let Ok(mut last) = self.loaded.lock() {
            *last = Some(loaded.clone());
        }
        Ok(loaded)
    }

    /// The training as the segment before left it, and the metrics of its epochs.
    fn training(
        &self,
        job: &TrainJob,
        plan: Plan,
        split: &Split,
        objects: &Objects,
    ) -> Result<(Training, Vec<EpochMetrics>), StageError> {
        let Some(key) = job.previous_checkpoint() else {
            let base = job.base.as_ref().map(|version| model(version, objects)).transpose()?;
            let training =
                Training::start(plan, base.as_ref(), Some(job.dataset), self.device, self.threads)?;
            return Ok((training.splitting(split.clone()), Vec::new()));
        };
        let checkpoint = Checkpoint::decode(objects.require(&key)?)?;
        let (found, due) = (&checkpoint.model.origin, job.segment * job.epochs_per_segment);
        if found.plan != plan || found.epoch != due || found.dataset != Some(job.dataset) {
            let text =
                format!("{key} is of another training: it has {} epochs where {due} are due", found.epoch);
            return Err(StageError::permanent("wrong-checkpoint", text));
        }
        let log = previous_log(job).map(|key| objects.require_json(&key)).transpose()?.unwrap_or_default();
        Ok((Training::resume(&checkpoint, self.device, self.threads)?, log))
    }

    fn gate(
        &self,
        rival: Option<ModelVersion>,
        candidate: (ModelVersion, ModelFile),
        loaded: &Loaded,
        objects: &Objects,
    ) -> Result<Gate, StageError> {
        let held_out = loaded.data.is_held_out();
        let judges =
            loaded.samples.iter().zip(&loaded.pictures).filter(|(sample, _)| sample.held_out == held_out);
        let judges: Vec<_> = judges
            .map(|(s, picture)| gate::Judge {
                patient: &s.patient,
                image: &picture.image,
                mask: &picture.mask,
            })
            .collect();
        let judge = |version: ModelVersion, model: ModelFile, phantoms: Option<Vec<PatientScore>>| {
            let predictor = Predictor::new(model, self.device);
            let patients = gate::scores(&predictor, &judges)?;
            let phantoms = match phantoms {
                Some(known) => known,
                // Without a rival nobody can have forgotten what it knew.
                None if rival.is_none() => Vec::new(),
                None => gate::scores_on_phantoms(&predictor)?,
            };
            Ok::<_, StageError>((version, Scores { patients, phantoms }))
        };
        let rival = match &rival {
            Some(version) => {
                let judged = judge(version.clone(), model(version, objects)?, self.known(version))?;
                self.remember(&judged);
                Some(judged)
            }
            None => None,
        };
        Ok(gate::gate(judge(candidate.0, candidate.1, None)?, rival, held_out))
    }

    /// What a rival made of phantoms, if it is the last one.
    fn known(&self, version: &ModelVersion) -> Option<Vec<PatientScore>> {
        let known = self.rival.lock().ok()?.clone()?;
        (known.0 == *version).then_some(known.1)
    }

    fn remember(&self, (version, scores): &Judged) {
        if let Ok(mut last) = self.rival.lock() {
            *last = Some((version.clone(), scores.phantoms.clone()));
        }
    }
}

impl Stage for TrainStage {
    type Job = TrainJob;

    fn needs(&self, job: &TrainJob, have: &Objects) -> Vec<Read> {
        let dataset = ObjectKey::Dataset(job.dataset);
        let plan = ObjectKey::Plan(job.plan.clone());
        let mut keys = vec![plan.clone(), dataset.clone()];
        keys.extend(job.previous_checkpoint());
        keys.extend(previous_log(job));
        keys.extend(job.base.iter().cloned().map(ObjectKey::Model));
        if have.require_json(&plan).is_ok_and(|plan: Plan| is_last(job, &plan)) {
            keys.push(ObjectKey::CurrentModel);
            keys.extend(rivals(job, &pointer(have).ok().flatten()).cloned().map(ObjectKey::Model));
        }
        // A dataset that can't be read is `run`'s to report.
        if self.loaded(job).is_none()
            && let Ok(Dataset { samples }) = have.require_json(&dataset)
        {
            keys.extend(samples.iter().flat_map(|sample| [sample.image, sample.mask]).map(ObjectKey::Sample));
        }
        keys.into_iter().map(Read::whole).collect()
    }

    fn run(&self, job: &TrainJob, objects: &Objects, progress: &Progress) -> Result<Effects, StageError> {
        let plan: Plan = objects.require_json(&ObjectKey::Plan(job.plan.clone()))?;
        let to = epochs_after(job);
        if plan.id() != job.plan || job.epochs_per_segment == 0 || plan.check().is_err() {
            return Err(StageError::permanent("bad-plan", format!("{} can't be carried out", job.plan)));
        }
        let loaded = self.load(job, &plan, objects)?;
        let (mut training, mut log) = self.training(job, plan.clone(), &loaded.split, objects)?;
        let stop = || progress.is_stopping();
        let mut tell = |metrics: &EpochMetrics| progress.tell(ProgressEvent::Epoch(metrics.clone()));
        log.extend(training.train_epochs(&loaded.data, to, &stop, &mut tell)?);

        let mut effects = Effects::default();
        effects.put(job.checkpoint(), training.checkpoint()?.encode()?);
        effects.put_json(log_key(job), &log);
        if !is_last(job, &plan) {
            effects.publish(&job.next());
            return Ok(effects);
        }
        let model = training.model()?;
        let bytes = model.encode()?;
        let version = ModelVersion::of_file(&bytes);
        let pointer = pointer(objects)?;
        // It is the candidate itself where this segment is done again: then it was judged against the one before.
        let rival = rivals(job, &pointer).find(|rival| **rival != version).cloned();
        let gate = self.gate(rival, (version.clone(), model), &loaded, objects)?;
        effects.put(ObjectKey::Model(version.clone()), bytes);
        effects.put_json(ObjectKey::ModelPlan(version.clone()), &plan);
        effects.put_json(ObjectKey::Gate(version.clone()), &gate);
        // Once: somebody may have gone back from it since.
        let was_current = pointer.as_ref().is_some_and(|pointer| pointer.knows(&version));
        if gate.promoted && !was_current {
            let promoted = CurrentModel::promote(pointer, version);
            effects.move_json(ObjectKey::CurrentModel, &promoted, objects);
        }
        Ok(effects)
    }
}

/// How many epochs the training has when the segment is done, if its plan has as many.
fn epochs_after(job: &TrainJob) -> u32 {
    (job.segment + 1).saturating_mul(job.epochs_per_segment)
}

fn is_last(job: &TrainJob, plan: &Plan) -> bool {
    epochs_after(job) >= plan.epochs
}

/// The store's pointer to its current model.
fn pointer(objects: &Objects) -> Result<Option<CurrentModel>, StageError> {
    let found = objects.found(&ObjectKey::CurrentModel);
    found.map(|_| objects.require_json(&ObjectKey::CurrentModel)).transpose()
}

/// Whom the candidate has to beat: the model that is current now, whatever was when the training began; else the one before
/// it; else the one that the job names.
fn rivals<'a>(
    job: &'a TrainJob,
    pointer: &'a Option<CurrentModel>,
) -> impl Iterator<Item = &'a ModelVersion> {
    let models = pointer.iter().flat_map(|pointer| [Some(&pointer.current), pointer.previous.last()]);
    models.flatten().chain(&job.rival)
}

fn log_key(job: &TrainJob) -> ObjectKey {
    ObjectKey::TrainingLog { training: job.training.clone(), segment: job.segment }
}

fn previous_log(job: &TrainJob) -> Option<ObjectKey> {
    let segment = job.segment.checked_sub(1)?;
    Some(ObjectKey::TrainingLog { training: job.training.clone(), segment })
}

fn model(version: &ModelVersion, objects: &Objects) -> Result<ModelFile, StageError> {
    Ok(ModelFile::decode(objects.require(&ObjectKey::Model(version.clone()))?)?)
}

fn picture(sample: &Sample, objects: &Objects) -> Result<Picture, StageError> {
    let bytes = |digest: Digest| objects.require(&ObjectKey::Sample(digest));
    let broken = |digest| {
        move |error| {
            StageError::permanent("sample-unreadable", format!("{}: {error}", ObjectKey::Sample(digest)))
        }
    };
    let image = png::decode_grey(bytes(sample.image)?).map_err(broken(sample.image))?;
    let mask = png::decode_mask(bytes(sample.mask)?).map_err(broken(sample.mask))?;
    Ok(Picture { image, mask, held_out: sample.held_out })
}

#[cfg(test)]
mod tests;
