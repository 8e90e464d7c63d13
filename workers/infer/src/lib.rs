//! Infer: prepared images and a model -> masks and measurements.

use std::sync::{Arc, Mutex};

use modiolus_dicom::header::FIRST_READ;
use modiolus_dicom::segmentation::{Slice, SliceRead};
use modiolus_imaging::frame::PreparedFrame;
use modiolus_imaging::measure::{Measurements, disagreement};
use modiolus_imaging::{Image8, Mask, overlay, png};
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::job::infer::InferJob;
use modiolus_pipeline::{
    Effects, Fetched, ModelVersion, ObjectKey, Objects, Progress, ProgressEvent, Read, Stage, StageError,
};
use modiolus_segmentation::{Device, ModelFile, Predictor};
use rayon::prelude::*;

/// The stage. It keeps the model that it used last.
#[derive(Debug)]
pub struct InferStage {
    device: Device,
    loaded: Mutex<Option<(ModelVersion, Arc<Predictor>)>>,
}

impl InferStage {
    /// The stage on a device.
    pub fn new(device: Device) -> Self {
        Self { device, loaded: Mutex::new(None) }
    }

    fn predictor(&self, job: &InferJob, objects: &Objects) -> Result<Arc<Predictor>, StageError> {
        let mut loaded =
            self.loaded.lock().map_err(|_| StageError::retryable("stage-broken", "a job panicked"))?;
        let predictor = match loaded.as_ref() {
            Some((version, predictor)) if *version == job.model => predictor.clone(),
            _ => {
                let bytes = objects.require(&ObjectKey::Model(job.model.clone()))?;
                Arc::new(Predictor::new(ModelFile::decode(bytes)?, self.device))
            }
        };
        if predictor.plan().id() != job.plan {
            let text =
                format!("pictures were prepared for {}, model {} has another plan", job.plan, job.model);
            return Err(StageError::permanent("wrong-plan", text));
        }
        *loaded = Some((job.model.clone(), predictor.clone()));
        Ok(predictor)
    }
}

impl Stage for InferStage {
    type Job = InferJob;

    fn needs(&self, job: &InferJob, have: &Objects) -> Vec<Read> {
        let slices = || job.slices.iter().map(|slice| Keys::of(job, slice));
        let pictures = slices().flat_map(|keys| [keys.image, keys.prepared, keys.frame]);
        let whole = [ObjectKey::Model(job.model.clone())].into_iter().chain(pictures).map(Read::whole);
        whole.chain(slices().filter_map(|keys| next_read(keys.instance, have))).collect()
    }

    fn run(&self, job: &InferJob, objects: &Objects, progress: &Progress) -> Result<Effects, StageError> {
        let predictor = self.predictor(job, objects)?;
        let draw = |slice: &SliceRef| {
            if progress.is_stopping() {
                return Err(StageError::interrupted());
            }
            let drawn = draw(&predictor, &job.model, &Keys::of(job, slice), objects)?;
            progress.tell(ProgressEvent::Units { done: 1 });
            Ok(drawn)
        };
        let drawn: Vec<Effects> = job.slices.par_iter().map(draw).collect::<Result<_, _>>()?;
        let put = drawn.into_iter().flat_map(|effects| effects.put).collect();
        Ok(Effects { put, ..Effects::default() })
    }
}

/// The next read of a slice's file: its start, then more if its header goes on.
fn next_read(instance: ObjectKey, have: &Objects) -> Option<Read> {
    match have.get(&instance) {
        None => Some(Read::first(instance, FIRST_READ)),
        Some(Fetched::Found(object)) => match Slice::read(&object.bytes, object.total) {
            SliceRead::NeedMore { up_to } => Some(Read::first(instance, up_to)),
            SliceRead::Complete(_) | SliceRead::Unplaced => None,
        },
        Some(_) => None,
    }
}

/// The objects of one slice.
struct Keys {
    instance: ObjectKey,
    image: ObjectKey,
    prepared: ObjectKey,
    frame: ObjectKey,
    mask: ObjectKey,
    probability: ObjectKey,
    overlay: ObjectKey,
    segmentation: ObjectKey,
    measurements: ObjectKey,
}

impl Keys {
    fn of(job: &InferJob, slice: &SliceRef) -> Self {
        let (patient, id) = (|| slice.patient.clone(), || slice.slice.clone());
        let (plan, model) = (|| job.plan.clone(), || job.model.clone());
        Self {
            instance: ObjectKey::Instance(patient(), id()),
            image: ObjectKey::Image(patient(), id()),
            prepared: ObjectKey::Prepared(plan(), patient(), id()),
            frame: ObjectKey::Frame(plan(), patient(), id()),
            mask: ObjectKey::Mask(model(), patient(), id()),
            probability: ObjectKey::Probability(model(), patient(), id()),
            overlay: ObjectKey::Overlay(model(), patient(), id()),
            segmentation: ObjectKey::Segmentation(model(), patient(), id()),
            measurements: ObjectKey::Measurements(model(), patient(), id()),
        }
    }
}

fn draw(
    predictor: &Predictor,
    model: &ModelVersion,
    keys: &Keys,
    objects: &Objects,
) -> Result<Effects, StageError> {
    let image = picture(&keys.image, objects)?;
    let prepared = picture(&keys.prepared, objects)?;
    let PreparedFrame { frame, spacing_mm } = objects.require_json(&keys.frame)?;
    let misfit = |error| StageError::permanent("frame-misfit", format!("{}: {error}", keys.frame));
    let predicted = predictor.predict(&prepared)?;
    // The second pass is for the uncertainty alone: of what was tried, its disagreement orders errors best, and drawing the mask
    // from both would gain 0.005 of IoU (docs/experiments.md).
    let in_the_mirror = predictor.predict(&prepared.mirrored())?.mirrored();
    let uncertainty = disagreement(&predicted, &in_the_mirror).map_err(misfit)?;
    let probability = frame.undo_probability(&predicted).map_err(misfit)?;
    let mask = predictor.threshold(&probability);
    let overlay = overlay::overlay(&image, &mask, None).map_err(misfit)?;
    let mut effects = Effects::default();
    effects.put(keys.mask.clone(), png::encode_mask(&mask));
    let byte = |p: &f32| (p.clamp(0.0, 1.0) * 255.0).round() as u8;
    effects.put(keys.probability.clone(), png::encode_grey(&probability.map(byte)));
    effects.put(keys.overlay.clone(), png::encode_rgb(&overlay));
    if let Some(segmentation) = segmentation(&keys.instance, &mask, model, objects)? {
        effects.put(keys.segmentation.clone(), segmentation);
    }
    let measured =
        Measurements { uncertainty: Some(uncertainty), ..Measurements::of(&image, &mask, spacing_mm) };
    effects.put_json(keys.measurements.clone(), &measured);
    Ok(effects)
}

/// The mask as viewers and archives take it; none where the slice doesn't say where it lies.
fn segmentation(
    instance: &ObjectKey,
    mask: &Mask,
    model: &ModelVersion,
    objects: &Objects,
) -> Result<Option<Vec<u8>>, StageError> {
    let header = objects.require_object(instance)?;
    match Slice::read(&header.bytes, header.total) {
        SliceRead::Complete(slice) => Ok(slice.segmentation(mask, "modiolus", model.as_str())),
        SliceRead::NeedMore { .. } | SliceRead::Unplaced => Ok(None),
    }
}

fn picture(key: &ObjectKey, objects: &Objects) -> Result<Image8, StageError> {
    let broken = |error| StageError::permanent("picture-unreadable", format!("{key}: {error}"));
    png::decode_grey(objects.require(key)?).map_err(broken)
}

#[cfg(test)]
mod tests {
    use modiolus_dicom::write::{CtImage, Syntax};
    use modiolus_imaging::{Frame, Grid};
    use modiolus_pipeline::{Digest, ErrorClass, Fetched, Object, PatientKey, Plan, plan};
    use modiolus_segmentation::{Network, Origin};

    use super::*;

    fn model() -> Vec<u8> {
        let plan = Plan { network: plan::Network::Unet { levels: 2, features: 2 }, ..Plan::default() };
        let weights = Network::seeded(&plan, Device::CPU).unwrap().weights().unwrap();
        ModelFile { origin: Origin::new(plan, 0, None), weights }.encode().unwrap()
    }

    /// A job of two slices and everything that it reads.
    fn job(model: &[u8]) -> (InferJob, Objects) {
        let plan = ModelFile::decode(model).unwrap().origin.plan;
        let patient: PatientKey = "P-1".parse().unwrap();
        let slices =
            ["s-1", "s-2"].map(|id| SliceRef { patient: patient.clone(), slice: id.parse().unwrap() });
        let job = InferJob { slices: slices.to_vec(), model: ModelVersion::of_file(model), plan: plan.id() };
        let mut objects = Objects::default();
        let mut add = |key, bytes: Vec<u8>| objects.insert(key, Fetched::Found(Object::whole(bytes)));
        add(ObjectKey::Model(job.model.clone()), model.to_vec());
        for slice in &slices {
            let keys = Keys::of(&job, slice);
            let image = Grid::from_fn(75, 61, |row, column| (row * 3 + column) as u8).unwrap();
            let frame = Frame::of_picture(&image, &plan.input).unwrap();
            let scan = CtImage { rows: 75, columns: 61, pixels: vec![0; 75 * 61], ..CtImage::default() };
            add(keys.instance, scan.to_bytes(Syntax::ExplicitLittle));
            add(keys.image, png::encode_grey(&image));
            add(keys.prepared, png::encode_grey(&frame.apply(&image).unwrap()));
            let frame = PreparedFrame { frame, spacing_mm: Some([0.5, 0.5]) };
            add(keys.frame, serde_json::to_vec(&frame).unwrap());
        }
        (job, objects)
    }

    #[test]
    fn masks_have_the_slice_s_size_and_measure_what_they_show() {
        let (job, objects) = job(&model());
        let stage = InferStage::new(Device::CPU);
        assert!(stage.needs(&job, &objects).iter().all(|read| objects.found(&read.key).is_some()));
        let effects = stage.run(&job, &objects, &Progress::default()).unwrap();
        assert_eq!((effects.put.len(), effects.publish.len()), (10, 0));
        let mask = png::decode_mask(&effects.put[0].1).unwrap();
        assert_eq!(mask.size(), (75, 61));
        let probability = png::decode_grey(&effects.put[1].1).unwrap();
        assert!(mask.values().iter().zip(probability.values()).all(|(&set, &p)| !set || p >= 128));
        let measured: Measurements = serde_json::from_slice(&effects.put[4].1).unwrap();
        assert_eq!(measured.electrode_px, mask.count());
        assert_eq!(measured.area_mm2, Some(mask.count() as f64 * 0.25));
        assert!(measured.uncertainty.is_some_and(|share| share > 0.0 && share <= 1.0), "{measured:?}");
        let again = InferStage::new(Device::CPU).run(&job, &objects, &Progress::default()).unwrap();
        assert_eq!(again.put, effects.put);
    }

    #[test]
    fn an_object_that_is_gone_is_named() {
        let (job, _) = job(&model());
        let Keys { instance, image, prepared, frame, .. } = Keys::of(&job, &job.slices[1]);
        for gone in [ObjectKey::Model(job.model.clone()), instance, image, prepared, frame] {
            let (job, mut objects) = self::job(&model());
            objects.insert(gone.clone(), Fetched::Missing);
            let error = InferStage::new(Device::CPU).run(&job, &objects, &Progress::default()).unwrap_err();
            assert_eq!((error.class, error.code), (ErrorClass::Permanent, "object-missing"));
            assert!(error.message.contains(&gone.to_string()), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_no_model_and_a_model_of_another_plan_are_refused() {
        let (job, mut objects) = job(&model());
        objects.insert(
            ObjectKey::Model(job.model.clone()),
            Fetched::Found(Object::whole(&b"\xff\xd8\xff\xe0"[..])),
        );
        let error = InferStage::new(Device::CPU).run(&job, &objects, &Progress::default()).unwrap_err();
        assert_eq!(error.code, "model-unusable");
        let job = InferJob { plan: modiolus_pipeline::PlanId::derived(&Digest::of("x")), ..job };
        objects.insert(ObjectKey::Model(job.model.clone()), Fetched::Found(Object::whole(model())));
        let error = InferStage::new(Device::CPU).run(&job, &objects, &Progress::default()).unwrap_err();
        assert_eq!(error.code, "wrong-plan");
    }
}
