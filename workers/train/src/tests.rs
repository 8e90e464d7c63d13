//! The stage, driven as the runtime drives it, on a map of objects.

use std::collections::HashMap;

use bytes::Bytes;
use modiolus_imaging::{Grid, png};
use modiolus_pipeline::plan::{Input, Network};
use modiolus_pipeline::{ErrorClass, Fetched, Object, TrainingId};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// A store in a map.
#[derive(Default)]
struct World(HashMap<ObjectKey, Bytes>);

impl World {
    /// Does a job and performs its effects; gives what follows.
    fn perform(&mut self, stage: &TrainStage, job: &TrainJob) -> Result<Option<TrainJob>, StageError> {
        let effects = stage.run(job, &self.fetch(stage, job), &Progress::default())?;
        self.0.extend(effects.put);
        for one in effects.moves {
            assert_eq!(self.0.get(&one.key), one.from.as_ref());
            self.0.insert(one.key, one.to);
        }
        Ok(effects.publish.first().map(|message| message.job().unwrap()))
    }

    fn fetch(&self, stage: &TrainStage, job: &TrainJob) -> Objects {
        let mut objects = Objects::default();
        for _ in 0..modiolus_pipeline::stage::MAX_ROUNDS {
            for read in stage.needs(job, &objects) {
                let found = self.0.get(&read.key).cloned();
                let fetched = found.map_or(Fetched::Missing, |bytes| Fetched::Found(Object::whole(bytes)));
                objects.insert(read.key, fetched);
            }
        }
        objects
    }

    fn point(&mut self, pointer: &CurrentModel) {
        self.0.insert(ObjectKey::CurrentModel, serde_json::to_vec(pointer).unwrap().into());
    }

    /// Does a job and all that follows; gives the model's version.
    fn finish(&mut self, new_stage: impl Fn() -> TrainStage, job: TrainJob) -> ModelVersion {
        let before = self.models();
        let mut next = Some(job);
        while let Some(job) = next {
            next = self.perform(&new_stage(), &job).unwrap();
        }
        self.models().into_iter().find(|model| !before.contains(model)).expect("a new model")
    }

    fn models(&self) -> Vec<ModelVersion> {
        let version = |key: &ObjectKey| match key {
            ObjectKey::Model(version) => Some(version.clone()),
            _ => None,
        };
        self.0.keys().filter_map(version).collect()
    }

    fn gate(&self, model: &ModelVersion) -> Gate {
        serde_json::from_slice(&self.0[&ObjectKey::Gate(model.clone())]).unwrap()
    }

    fn current(&self) -> Option<CurrentModel> {
        self.0.get(&ObjectKey::CurrentModel).map(|bytes| serde_json::from_slice(bytes).unwrap())
    }
}

/// A bright square on noise; its mask is the square.
fn pair(patient: &str, number: u64) -> Pair {
    let (top, left) = (10 + (number * 7 % 30) as usize, 12 + (number * 11 % 30) as usize);
    let inside = |row: usize, column: usize| row.wrapping_sub(top) < 8 && column.wrapping_sub(left) < 8;
    let mut noise = ChaCha8Rng::seed_from_u64(number);
    let mut grey = || noise.random_range(60..100);
    let image = Grid::from_fn(64, 64, |r, c| if inside(r, c) { 240 } else { grey() }).unwrap();
    let mask = Grid::from_fn(64, 64, inside).unwrap();
    let name = format!("{patient}_{number}");
    Pair { name, patient: patient.into(), image: png::encode_grey(&image), mask: png::encode_mask(&mask) }
}

fn plan(epochs: u32) -> Plan {
    Plan {
        network: Network::Unet { levels: 2, features: 4 },
        input: Input::Native { multiple: 4, patch: 32, patches: 16 },
        epochs,
        ..Plan::default()
    }
}

fn start(patients: &[&str], plan: &Plan, epochs_per_segment: u32) -> (World, TrainJob) {
    let pairs = patients.iter().enumerate().map(|(number, patient)| pair(patient, number as u64)).collect();
    let (dataset, samples) = assemble(pairs, plan).unwrap();
    let mut world = World(samples.into_iter().collect());
    let json = |value: serde_json::Value| Bytes::from(value.to_string());
    let digest = Digest::of_json(&dataset);
    world.0.insert(ObjectKey::Dataset(digest), json(serde_json::to_value(&dataset).unwrap()));
    world.0.insert(ObjectKey::Plan(plan.id()), json(serde_json::to_value(plan).unwrap()));
    let training = TrainingId::derived(&digest);
    let plan = plan.id();
    let job =
        TrainJob { training, dataset: digest, plan, base: None, rival: None, segment: 0, epochs_per_segment };
    (world, job)
}

fn stage() -> TrainStage {
    TrainStage::new(Device::CPU, 1)
}

#[test]
fn two_and_two_epochs_equal_four_bit_for_bit() {
    let (mut whole, job) = start(&["a", "b", "c"], &plan(4), 4);
    let at_once = whole.finish(stage, job);
    let (mut parts, job) = start(&["a", "b", "c"], &plan(4), 2);
    let in_two = parts.finish(stage, job.clone());
    assert_eq!(in_two, at_once);
    let log = |world: &World, segment| {
        world.0[&ObjectKey::TrainingLog { training: job.training.clone(), segment }].clone()
    };
    assert_eq!(log(&parts, 1), log(&whole, 0));
    // A stage that keeps its pictures between segments does the same.
    let (mut warm, job) = start(&["a", "b", "c"], &plan(4), 2);
    let kept = stage();
    let second = warm.perform(&kept, &job).unwrap().unwrap();
    assert_eq!(warm.perform(&kept, &second).unwrap(), None);
    assert_eq!(warm.models(), [at_once]);
}

#[test]
fn the_first_model_is_promoted_and_a_later_one_only_if_it_is_better() {
    let (mut world, job) = start(&["a", "b", "c", "d"], &plan(20), 20);
    let first = world.finish(stage, job.clone());
    let gate = world.gate(&first);
    assert!(gate.promoted && gate.candidate_iou.len() == 1 && gate.candidate_iou[0].iou > 0.5, "{gate:?}");
    assert_eq!(world.current().unwrap().current, first);

    let training = TrainingId::derived(&Digest::of("short"));
    let worse = TrainJob { plan: ignorant_plan(&mut world), rival: Some(first.clone()), training, ..job };
    let second = world.finish(stage, worse);
    let gate = world.gate(&second);
    assert!(!gate.promoted && gate.rival_iou.len() == 1 && gate.why.contains("not above"), "{gate:?}");
    let of = |scores: &[PatientScore]| scores.iter().map(|score| score.pictures).collect::<Vec<_>>();
    assert_eq!((of(&gate.candidate_phantoms), of(&gate.rival_phantoms)), (vec![12; 5], vec![12; 5]));
    assert_eq!(world.current().unwrap(), CurrentModel::promote(None, first));
}

#[test]
fn a_candidate_is_judged_against_the_model_that_is_current_at_the_end() {
    let (mut world, job) = start(&["a", "b", "c", "d"], &plan(20), 20);
    let good = world.finish(stage, job.clone());
    let training = TrainingId::derived(&Digest::of("short"));
    let ignorant = ModelVersion::of_file(b"it was current when the training began");
    let job = TrainJob { plan: ignorant_plan(&mut world), rival: Some(ignorant), training, ..job };
    let candidate = world.finish(stage, job);
    let gate = world.gate(&candidate);
    assert_eq!((gate.rival, gate.promoted), (Some(good.clone()), false));
    assert_eq!(world.current().unwrap().current, good);
}

#[test]
fn a_segment_that_is_done_again_judges_the_same_and_promotes_nothing_that_was_taken_back() {
    let (mut world, job) = start(&["a", "b", "c", "d"], &plan(20), 20);
    let ignorant = TrainJob { plan: ignorant_plan(&mut world), ..job.clone() };
    let ignorant = world.finish(stage, ignorant);
    world.point(&CurrentModel::promote(None, ignorant.clone()));
    let training = TrainingId::derived(&Digest::of("longer"));
    let job = TrainJob { rival: Some(ignorant.clone()), training, ..job };
    let candidate = world.finish(stage, job.clone());
    let (gate, promoted) = (world.gate(&candidate), world.current().unwrap());
    assert_eq!((&gate.rival, &promoted.current), (&Some(ignorant.clone()), &candidate));
    world.perform(&stage(), &job).unwrap();
    assert_eq!((world.gate(&candidate), world.current().unwrap()), (gate, promoted.clone()));
    let back = promoted.rollback().unwrap();
    world.point(&back);
    world.perform(&stage(), &job).unwrap();
    assert_eq!(world.current().unwrap(), back);
}

fn ignorant_plan(world: &mut World) -> modiolus_pipeline::PlanId {
    let short = plan(1);
    world.0.insert(ObjectKey::Plan(short.id()), Bytes::from(serde_json::to_vec(&short).unwrap()));
    short.id()
}

#[test]
fn pictures_that_another_training_has_displaced_are_fetched_again() {
    let (mut world, job) = start(&["a", "b"], &plan(4), 2);
    let (mut other_world, other) = start(&["c", "d"], &plan(4), 2);
    let stage = stage();
    world.perform(&stage, &job).unwrap();
    let fetched = world.fetch(&stage, &job.next());
    other_world.perform(&stage, &other).unwrap();
    let error = stage.run(&job.next(), &fetched, &Progress::default()).unwrap_err();
    assert_eq!((error.class, error.code), (ErrorClass::Retryable, "pictures-displaced"));
    world.perform(&stage, &job.next()).unwrap();
}

#[test]
fn without_held_out_patients_a_rival_is_not_replaced() {
    let (mut world, job) = start(&["a"], &plan(2), 2);
    let first = world.finish(stage, job.clone());
    let training = TrainingId::derived(&Digest::of("again"));
    let fine_tuned =
        world.finish(stage, TrainJob { base: Some(first.clone()), rival: Some(first), training, ..job });
    let gate = world.gate(&fine_tuned);
    assert!(!gate.promoted && gate.why.contains("not judged"), "{gate:?}");
}

#[test]
fn a_model_carries_what_it_and_its_base_have_learned_from() {
    let (mut world, job) = start(&["a", "b"], &plan(2), 1);
    let earlier: Dataset = serde_json::from_slice(&world.0[&ObjectKey::Dataset(job.dataset)]).unwrap();
    let first = world.finish(stage, job);
    let (new, job) = start(&["c", "d", "e"], &plan(2), 1);
    world.0.extend(new.0);
    let second = world.finish(stage, TrainJob { base: Some(first.clone()), ..job.clone() });
    let split = |model: &ModelVersion| {
        ModelFile::decode(&world.0[&ObjectKey::Model(model.clone())]).unwrap().origin.split
    };
    let dataset: Dataset = serde_json::from_slice(&world.0[&ObjectKey::Dataset(job.dataset)]).unwrap();
    assert_eq!(split(&second), split(&first).and(Split::of(&dataset)));
    let known = earlier.samples.iter().chain(&dataset.samples);
    assert!(known.map(|sample| split(&second).was_held_out(&sample.pixels)).all(|side| side.is_some()));
    assert_eq!(split(&second).was_held_out(&Digest::of("another picture")), None);
}

#[test]
fn what_is_missing_or_foreign_is_permanent_and_named() {
    let (mut world, job) = start(&["a", "b"], &plan(2), 1);
    let second = world.perform(&stage(), &job).unwrap().unwrap();
    let foreign = TrainJob { segment: 3, ..second.clone() };
    assert_eq!(world.perform(&stage(), &foreign).unwrap_err().code, "object-missing");
    let ObjectKey::Checkpoint { training, .. } = second.checkpoint() else { unreachable!() };
    let checkpoint = world.0[&second.previous_checkpoint().unwrap()].clone();
    world.0.insert(ObjectKey::Checkpoint { training: training.clone(), segment: 2 }, checkpoint);
    world.0.insert(ObjectKey::TrainingLog { training, segment: 2 }, Bytes::from_static(b"[]"));
    assert_eq!(world.perform(&stage(), &foreign).unwrap_err().code, "wrong-checkpoint");
    world.0.insert(
        second.previous_checkpoint().unwrap(),
        Bytes::from_static(b"\xff\xd8\xff\xe0 JFIF, not a model"),
    );
    let error = world.perform(&stage(), &second).unwrap_err();
    assert!(error.class == ErrorClass::Permanent && error.message.contains("no safetensors file"), "{error}");
    world.0.retain(|key, _| !matches!(key, ObjectKey::Sample(_)));
    assert_eq!(world.perform(&stage(), &job).unwrap_err().code, "object-missing");
}
