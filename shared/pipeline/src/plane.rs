//! Planes: which way a slice is cut, from ImageOrientationPatient.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A plane as the six direction cosines of ImageOrientationPatient (0020,0037), each rounded to one decimal and held in
/// tenths: coronal is `[10, 0, 0, 0, 0, -10]`. -0.0 is 0.0. Rounding is half away from zero.
///
/// Source: DICOM PS3.3 C.7.6.2.1.1; the wanted slices are those whose rounded cosines equal the plane's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Plane([i8; 6]);

/// A direction whose length differs from 1 by more than this is no direction, and two whose scalar product exceeds it
/// are not orthogonal. Exports print cosines with as few as three decimals, which costs up to 0.002.
const COSINE_TOLERANCE: f64 = 0.02;

/// Six numbers that can't be the orientation of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImpossibleOrientation {
    /// A row or column direction is not of unit length.
    #[error("its directions are not of unit length")]
    NotUnit,
    /// Row and column directions are not orthogonal.
    #[error("its row and column directions are not orthogonal")]
    NotOrthogonal,
    /// A component is NaN or infinite.
    #[error("it has a component that is no number")]
    NotFinite,
}

impl Plane {
    /// Rows run to the patient's left, columns to the feet.
    pub const CORONAL: Self = Self([10, 0, 0, 0, 0, -10]);
    /// Rows run to the patient's left, columns to the back.
    pub const AXIAL: Self = Self([10, 0, 0, 0, 10, 0]);
    /// Rows run to the patient's back, columns to the feet.
    pub const SAGITTAL: Self = Self([0, 10, 0, 0, 0, -10]);

    /// The plane that direction cosines round to.
    ///
    /// # Errors
    /// When the cosines can't be an orientation: not finite, not unit length, not orthogonal.
    pub fn of_cosines(cosines: [f64; 6]) -> Result<Self, ImpossibleOrientation> {
        if cosines.iter().any(|c| !c.is_finite()) {
            return Err(ImpossibleOrientation::NotFinite);
        }
        let (row, column) = cosines.split_at(3);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        if [row, column].iter().any(|d| (dot(d, d).sqrt() - 1.0).abs() > COSINE_TOLERANCE) {
            return Err(ImpossibleOrientation::NotUnit);
        }
        if dot(row, column).abs() > COSINE_TOLERANCE {
            return Err(ImpossibleOrientation::NotOrthogonal);
        }
        Ok(Self(cosines.map(tenths)))
    }

    /// The name people use, or "oblique".
    pub fn name(&self) -> &'static str {
        match *self {
            Self::CORONAL => "coronal",
            Self::AXIAL => "axial",
            Self::SAGITTAL => "sagittal",
            _ => "oblique",
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // a cosine times ten is within ±11
fn tenths(cosine: f64) -> i8 {
    (cosine * 10.0).round() as i8
}

impl fmt::Display for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, tenth) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{}", f64::from(*tenth) / 10.0)?;
        }
        Ok(())
    }
}

/// The text names no plane.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no plane: use coronal, axial, sagittal or six direction cosines such as \"1,0,0,0,0,-1\"{why}"
)]
pub struct BadPlane {
    text: String,
    why: String,
}

impl FromStr for Plane {
    type Err = BadPlane;

    fn from_str(text: &str) -> Result<Self, BadPlane> {
        let bad = |why: String| BadPlane { text: text.to_owned(), why };
        match text {
            "coronal" => return Ok(Self::CORONAL),
            "axial" => return Ok(Self::AXIAL),
            "sagittal" => return Ok(Self::SAGITTAL),
            _ => {}
        }
        let numbers: Result<Vec<f64>, _> = text.split([',', '\\']).map(|part| part.trim().parse()).collect();
        let cosines: [f64; 6] =
            numbers.ok().and_then(|n| n.try_into().ok()).ok_or_else(|| bad(String::new()))?;
        Self::of_cosines(cosines).map_err(|why| bad(format!(": {why}")))
    }
}

impl TryFrom<String> for Plane {
    type Error = BadPlane;
    fn try_from(text: String) -> Result<Self, BadPlane> {
        text.parse()
    }
}

impl From<Plane> for String {
    fn from(plane: Plane) -> String {
        plane.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_are_rounded_to_one_decimal_and_minus_zero_is_zero() {
        let tilted = Plane::of_cosines([0.999, -0.04, 0.0, -0.0, 0.03, -0.998]);
        assert_eq!(tilted, Ok(Plane::CORONAL));
        assert_eq!(Plane::of_cosines([0.9986, 0.0523, 0.0, 0.0, 0.0, -1.0]).unwrap().name(), "oblique");
    }

    #[test]
    fn impossible_orientations_are_named() {
        assert_eq!(Plane::of_cosines([0.0; 6]), Err(ImpossibleOrientation::NotUnit));
        assert_eq!(
            Plane::of_cosines([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
            Err(ImpossibleOrientation::NotOrthogonal)
        );
        assert_eq!(
            Plane::of_cosines([f64::NAN, 0.0, 0.0, 1.0, 0.0, 0.0]),
            Err(ImpossibleOrientation::NotFinite)
        );
    }

    #[test]
    fn text_form_round_trips() {
        assert_eq!("1,0,0,0,0,-1".parse(), Ok(Plane::CORONAL));
        assert_eq!(Plane::CORONAL.to_string(), "1,0,0,0,0,-1");
        let tilted: Plane = "0.7,0.7,0,0,0,-1".parse().unwrap();
        assert_eq!(tilted.to_string().parse(), Ok(tilted));
        assert!("1,0,0".parse::<Plane>().unwrap_err().to_string().contains("coronal, axial"));
        assert!("9,0,0,0,0,-1".parse::<Plane>().unwrap_err().to_string().contains("unit length"));
    }
}
