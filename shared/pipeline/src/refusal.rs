//! Why a file was refused. A refusal is an outcome that people read, not an error.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The reason codes, as they stand in `summary.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The file has no bytes.
    Empty,
    /// A macOS resource fork (`._NAME`) or `.DS_Store`.
    AppleDouble,
    /// Not a DICOM file: no `DICM` after the preamble and no data set that starts like one.
    NotDicom,
    /// The file ends inside an attribute, or before the pixel data that it promises.
    Truncated,
    /// A DICOM object without pixel data (a structured report, a presentation state, DICOMDIR).
    NoPixels,
    /// It has pixels, but of an object that is no image of a scan (a segmentation, an encapsulated document).
    NotAnImage,
    /// A picture of text or of a screen: Secondary Capture, or text burned into the picture.
    ReportPage,
    /// Colour pixels (SamplesPerPixel above 1, or a palette).
    Colour,
    /// More than one frame in a file.
    MultiFrame,
    /// Pixels stored in a way that can't be decoded here; the detail names the transfer syntax.
    UnsupportedTransferSyntax,
    /// An attribute that is needed is missing or has an impossible value; the detail names it.
    MalformedAttribute,
    /// The file promises more than the limits allow (Rows, Columns, nesting, length).
    TooLarge,
    /// The file could not be read (no permission, a damaged disk).
    Unreadable,
    /// No ImageOrientationPatient.
    NoOrientation,
    /// ImageOrientationPatient is not of unit length or not orthogonal.
    ImpossibleOrientation,
    /// A good slice of another plane.
    OtherPlane,
}

impl Reason {
    /// The code: lower-case words joined by hyphens.
    pub fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::AppleDouble => "apple-double",
            Self::NotDicom => "not-dicom",
            Self::Truncated => "truncated",
            Self::NoPixels => "no-pixels",
            Self::NotAnImage => "not-an-image",
            Self::ReportPage => "report-page",
            Self::Colour => "colour",
            Self::MultiFrame => "multi-frame",
            Self::UnsupportedTransferSyntax => "unsupported-transfer-syntax",
            Self::MalformedAttribute => "malformed-attribute",
            Self::TooLarge => "too-large",
            Self::Unreadable => "unreadable",
            Self::NoOrientation => "no-orientation",
            Self::ImpossibleOrientation => "impossible-orientation",
            Self::OtherPlane => "other-plane",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A reason with its detail: the attribute it is about and what to do. The detail never holds a value that could identify
/// a patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Refusal {
    /// The code.
    pub reason: Reason,
    /// A sentence for people.
    pub detail: String,
}

impl Refusal {
    /// A refusal with its detail.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_serialised_form() {
        for reason in
            [Reason::AppleDouble, Reason::UnsupportedTransferSyntax, Reason::NotAnImage, Reason::Empty]
        {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.code());
        }
    }
}
