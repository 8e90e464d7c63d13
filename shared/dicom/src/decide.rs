//! Which plane a slice is cut in, and whether it is the wanted one.

use modiolus_pipeline::{Plane, Reason, Refusal};

use crate::attributes::Attributes;
use crate::tag::IMAGE_ORIENTATION_PATIENT;

/// The plane that ImageOrientationPatient means.
///
/// # Errors
/// [`Reason::NoOrientation`], or [`Reason::ImpossibleOrientation`] where the directions are not of unit length or not
/// orthogonal.
pub fn plane_of(attributes: &Attributes) -> Result<Plane, Refusal> {
    let cosines = attributes.orientation.ok_or_else(|| {
        Refusal::new(Reason::NoOrientation, format!("it has no {IMAGE_ORIENTATION_PATIENT}"))
    })?;
    Plane::of_cosines(cosines).map_err(|why| {
        Refusal::new(Reason::ImpossibleOrientation, format!("{IMAGE_ORIENTATION_PATIENT}: {why}"))
    })
}

/// Whether an image is a slice of the wanted plane.
///
/// # Errors
/// As [`plane_of`], and [`Reason::OtherPlane`], which names the plane found.
pub fn verdict(attributes: &Attributes, wanted: Plane) -> Result<(), Refusal> {
    let found = plane_of(attributes)?;
    if found == wanted {
        return Ok(());
    }
    let detail = format!("it is {} ({found}), not {} ({wanted})", found.name(), wanted.name());
    Err(Refusal::new(Reason::OtherPlane, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oriented(orientation: Option<[f64; 6]>) -> Attributes {
        Attributes { orientation, ..Attributes::default() }
    }

    #[test]
    fn a_slice_of_another_plane_is_refused_with_the_plane_found() {
        let sagittal = oriented(Some([0.0, 1.0, 0.0, 0.0, 0.0, -1.0]));
        let refusal = verdict(&sagittal, Plane::CORONAL).unwrap_err();
        assert_eq!(refusal.reason, Reason::OtherPlane);
        assert_eq!(refusal.detail, "it is sagittal (0,1,0,0,0,-1), not coronal (1,0,0,0,0,-1)");
        assert_eq!(verdict(&sagittal, Plane::SAGITTAL), Ok(()));
    }

    #[test]
    fn missing_and_impossible_orientations_are_told_apart() {
        assert_eq!(plane_of(&oriented(None)).unwrap_err().reason, Reason::NoOrientation);
        assert_eq!(plane_of(&oriented(Some([1.0; 6]))).unwrap_err().reason, Reason::ImpossibleOrientation);
    }
}
