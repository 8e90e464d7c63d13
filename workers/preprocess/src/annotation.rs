//! What a person drew -> a training sample.

use modiolus_imaging::{annotation as labelme, png};
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::job::preprocess::AnnotationVerdict;
use modiolus_pipeline::{Digest, Effects, ObjectKey, Objects, StageError};

/// Rasterises an annotation on the grid of its slice. One that can't be used is a verdict, not an error: the others go on.
pub(crate) fn sample(slice: &SliceRef, annotation: Digest, objects: &Objects) -> Result<Effects, StageError> {
    let image_bytes = objects.require(&super::image_key(slice))?;
    let image = png::decode_grey(image_bytes).map_err(|e| {
        StageError::permanent("image-unreadable", format!("{}: {e}", super::image_key(slice)))
    })?;
    let drawn = objects.require(&ObjectKey::Annotation(annotation))?;
    let mut effects = Effects::default();
    let verdict = match labelme::mask(drawn, image.size()) {
        Ok(mask) => {
            let mask = png::encode_mask(&mask);
            let (image_digest, mask_digest) = (Digest::of(image_bytes), Digest::of(&mask));
            effects.put(ObjectKey::Sample(image_digest), image_bytes.clone());
            effects.put(ObjectKey::Sample(mask_digest), mask);
            AnnotationVerdict::Accepted { image: image_digest, mask: mask_digest }
        }
        Err(error) => AnnotationVerdict::Refused { why: error.to_string() },
    };
    let key = ObjectKey::AnnotationVerdict(slice.patient.clone(), slice.slice.clone(), annotation);
    effects.put_json(key, &verdict);
    Ok(effects)
}
