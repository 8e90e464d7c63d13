//! Preprocess: slices -> prepared images; annotations -> training samples.
//!
//! A slice becomes two pictures. People get it as the standard says it should look (rescale, then VOI LUT or window, 8 bit,
//! native size). The network gets the same picture cropped to the anatomy and brought to the grid of the model's plan,
//! with the [`Frame`] that maps it back. An annotation becomes a mask on the slice's own grid.

mod annotation;

use modiolus_dicom::instance;
use modiolus_imaging::frame::{Frame, PreparedFrame};
use modiolus_imaging::{Image8, Spacing, png};
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::job::infer::InferJob;
use modiolus_pipeline::job::preprocess::PreprocessJob;
use modiolus_pipeline::{
    Effects, ModelVersion, ObjectKey, Objects, Plan, Progress, ProgressEvent, Read, Stage, StageError,
};

/// The stage. It has no state.
#[derive(Debug, Default, Clone, Copy)]
pub struct PreprocessStage;

impl Stage for PreprocessStage {
    type Job = PreprocessJob;

    fn needs(&self, job: &PreprocessJob, _have: &Objects) -> Vec<Read> {
        match job {
            PreprocessJob::Slices { slices, model } => {
                let instances = slices.iter().map(|s| Read::whole(instance_key(s)));
                [Read::whole(ObjectKey::ModelPlan(model.clone()))].into_iter().chain(instances).collect()
            }
            PreprocessJob::Annotation { slice, annotation } => {
                vec![Read::whole(ObjectKey::Annotation(*annotation)), Read::whole(image_key(slice))]
            }
        }
    }

    fn run(
        &self,
        job: &PreprocessJob,
        objects: &Objects,
        progress: &Progress,
    ) -> Result<Effects, StageError> {
        match job {
            PreprocessJob::Slices { slices, model } => prepare(slices, model, objects, progress),
            PreprocessJob::Annotation { slice, annotation } => {
                annotation::sample(slice, *annotation, objects)
            }
        }
    }
}

fn instance_key(slice: &SliceRef) -> ObjectKey {
    ObjectKey::Instance(slice.patient.clone(), slice.slice.clone())
}

fn image_key(slice: &SliceRef) -> ObjectKey {
    ObjectKey::Image(slice.patient.clone(), slice.slice.clone())
}

fn prepare(
    slices: &[SliceRef],
    model: &ModelVersion,
    objects: &Objects,
    progress: &Progress,
) -> Result<Effects, StageError> {
    let plan: Plan = objects.require_json(&ObjectKey::ModelPlan(model.clone()))?;
    let plan_id = plan.id();
    let mut effects = Effects::default();
    for slice in slices {
        let (image, spacing_mm) = picture(slice, objects)?;
        let broken =
            |error| StageError::permanent("slice-unpreparable", format!("{}: {error}", instance_key(slice)));
        let frame = Frame::of_picture(&image, &plan.input).map_err(broken)?;
        let prepared = png::encode_grey(&frame.apply(&image).map_err(broken)?);
        let SliceRef { patient, slice: id } = slice.clone();
        effects.put(image_key(slice), png::encode_grey(&image));
        effects.put(ObjectKey::Prepared(plan_id.clone(), patient.clone(), id.clone()), prepared);
        effects
            .put_json(ObjectKey::Frame(plan_id.clone(), patient, id), &PreparedFrame { frame, spacing_mm });
        progress.tell(ProgressEvent::Units { done: 1 });
    }
    effects.publish(&InferJob { slices: slices.to_vec(), model: model.clone(), plan: plan_id });
    Ok(effects)
}

/// The slice as people look at it, and its PixelSpacing.
fn picture(slice: &SliceRef, objects: &Objects) -> Result<(Image8, Option<Spacing>), StageError> {
    let key = instance_key(slice);
    let broken = |refusal| StageError::permanent("instance-unreadable", format!("{key}: {refusal}"));
    let instance = instance::decode(objects.require(&key)?).map_err(broken)?;
    let spacing = instance.attributes.pixel_spacing;
    Ok((instance.picture().map_err(broken)?, spacing))
}

#[cfg(test)]
mod tests {
    use modiolus_pipeline::{Digest, ErrorClass, Fetched, Object};

    use super::*;

    #[track_caller]
    fn names(gone: &ObjectKey, job: &PreprocessJob, mut objects: Objects) {
        objects.insert(gone.clone(), Fetched::Missing);
        let error = PreprocessStage.run(job, &objects, &Progress::default()).unwrap_err();
        assert_eq!((error.class, error.code), (ErrorClass::Permanent, "object-missing"));
        assert!(error.message.contains(&gone.to_string()), "{error}");
    }

    #[test]
    fn an_object_that_is_gone_is_named() {
        let slice = SliceRef { patient: "P-1".parse().unwrap(), slice: "s-1".parse().unwrap() };
        let drawn = PreprocessJob::Annotation { slice: slice.clone(), annotation: Digest::of("drawn") };
        names(&image_key(&slice), &drawn, Objects::default());
        let (model, instance) = ("m-1".parse::<ModelVersion>().unwrap(), instance_key(&slice));
        let slices = PreprocessJob::Slices { slices: vec![slice], model: model.clone() };
        let plan = ObjectKey::ModelPlan(model);
        names(&plan, &slices, Objects::default());
        let (mut there, mut objects) = (Effects::default(), Objects::default());
        there.put_json(plan, &Plan::default());
        let put = there.put.into_iter();
        put.for_each(|(key, bytes)| objects.insert(key, Fetched::Found(Object::whole(bytes))));
        names(&instance, &slices, objects);
    }
}
