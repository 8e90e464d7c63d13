//! What a person drew -> a training sample.

use modiolus_imaging::{Image8, Mask, annotation as labelme, png};
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
    let verdict = match rasterise(drawn, &image) {
        Ok(mask) => {
            let mask = png::encode_mask(&mask);
            let (image_digest, mask_digest) = (Digest::of(image_bytes), Digest::of(&mask));
            effects.put(ObjectKey::Sample(image_digest), image_bytes.clone());
            effects.put(ObjectKey::Sample(mask_digest), mask);
            AnnotationVerdict::Accepted { image: image_digest, mask: mask_digest }
        }
        Err(why) => AnnotationVerdict::Refused { why },
    };
    let key = ObjectKey::AnnotationVerdict(slice.patient.clone(), slice.slice.clone(), annotation);
    effects.put_json(key, &verdict);
    Ok(effects)
}

/// A PNG is a mask; everything else has to be labelme's JSON.
fn rasterise(drawn: &[u8], image: &Image8) -> Result<Mask, String> {
    let (rows, columns) = (image.rows(), image.columns());
    if png::is_png(drawn) {
        let mask = png::decode_mask(drawn).map_err(|e| e.to_string())?;
        if (mask.rows(), mask.columns()) == (rows, columns) {
            return Ok(mask);
        }
        return Err(format!(
            "the mask has {} x {} pixels, its slice {rows} x {columns} (rows x columns)",
            mask.rows(),
            mask.columns()
        ));
    }
    let annotation = labelme::parse(drawn, rows, columns).map_err(|e| e.to_string())?;
    Ok(annotation.electrode)
}
