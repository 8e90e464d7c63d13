//! Attribute tags and their names.

use std::fmt;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;

/// A tag: group in the upper 16 bits, element in the lower.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tag(pub(crate) u32);

impl Tag {
    pub(crate) const fn new(group: u16, element: u16) -> Self {
        Self((group as u32) << 16 | element as u32)
    }

    pub(crate) const fn group(self) -> u16 {
        (self.0 >> 16) as u16
    }

    pub(crate) const fn element(self) -> u16 {
        (self.0 & 0xFFFF) as u16
    }

    pub(crate) const fn is_private(self) -> bool {
        self.group() % 2 == 1
    }

    /// What the standard's dictionary says about this tag; None for private and unknown tags.
    pub(crate) fn entry(self) -> Option<&'static dicom_core::dictionary::DataDictionaryEntryRef<'static>> {
        StandardDataDictionary.by_tag(dicom_core::Tag(self.group(), self.element()))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `Rows (0028,0010)`, or just the number for a tag that the standard doesn't name.
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(entry) = self.entry().filter(|_| !self.is_private()) {
            write!(f, "{} ", entry.alias())?;
        }
        write!(f, "({:04X},{:04X})", self.group(), self.element())
    }
}

macro_rules! tags {
    ($($name:ident = $group:literal, $element:literal;)*) => {
        $(pub(crate) const $name: Tag = Tag::new($group, $element);)*
    };
}

tags! {
    TRANSFER_SYNTAX_UID = 0x0002, 0x0010;
    SPECIFIC_CHARACTER_SET = 0x0008, 0x0005;
    IMAGE_TYPE = 0x0008, 0x0008;
    SOP_CLASS_UID = 0x0008, 0x0016;
    SOP_INSTANCE_UID = 0x0008, 0x0018;
    MODALITY = 0x0008, 0x0060;
    CONVERSION_TYPE = 0x0008, 0x0064;
    PATIENT_NAME = 0x0010, 0x0010;
    PATIENT_ID = 0x0010, 0x0020;
    SLICE_THICKNESS = 0x0018, 0x0050;
    STUDY_INSTANCE_UID = 0x0020, 0x000D;
    SERIES_INSTANCE_UID = 0x0020, 0x000E;
    SERIES_NUMBER = 0x0020, 0x0011;
    INSTANCE_NUMBER = 0x0020, 0x0013;
    IMAGE_POSITION_PATIENT = 0x0020, 0x0032;
    IMAGE_ORIENTATION_PATIENT = 0x0020, 0x0037;
    SAMPLES_PER_PIXEL = 0x0028, 0x0002;
    PHOTOMETRIC_INTERPRETATION = 0x0028, 0x0004;
    NUMBER_OF_FRAMES = 0x0028, 0x0008;
    ROWS = 0x0028, 0x0010;
    COLUMNS = 0x0028, 0x0011;
    PIXEL_SPACING = 0x0028, 0x0030;
    BITS_ALLOCATED = 0x0028, 0x0100;
    BITS_STORED = 0x0028, 0x0101;
    HIGH_BIT = 0x0028, 0x0102;
    PIXEL_REPRESENTATION = 0x0028, 0x0103;
    PIXEL_PADDING_VALUE = 0x0028, 0x0120;
    PIXEL_PADDING_RANGE_LIMIT = 0x0028, 0x0121;
    BURNED_IN_ANNOTATION = 0x0028, 0x0301;
    WINDOW_CENTER = 0x0028, 0x1050;
    WINDOW_WIDTH = 0x0028, 0x1051;
    RESCALE_INTERCEPT = 0x0028, 0x1052;
    RESCALE_SLOPE = 0x0028, 0x1053;
    VOI_LUT_FUNCTION = 0x0028, 0x1056;
    MODALITY_LUT_SEQUENCE = 0x0028, 0x3000;
    LUT_DESCRIPTOR = 0x0028, 0x3002;
    MODALITY_LUT_TYPE = 0x0028, 0x3004;
    LUT_DATA = 0x0028, 0x3006;
    VOI_LUT_SEQUENCE = 0x0028, 0x3010;
    PIXEL_MEASURES_SEQUENCE = 0x0028, 0x9110;
    FRAME_VOI_LUT_SEQUENCE = 0x0028, 0x9132;
    PIXEL_VALUE_TRANSFORMATION_SEQUENCE = 0x0028, 0x9145;
    PLANE_POSITION_SEQUENCE = 0x0020, 0x9113;
    PLANE_ORIENTATION_SEQUENCE = 0x0020, 0x9116;
    SHARED_FUNCTIONAL_GROUPS = 0x5200, 0x9229;
    PER_FRAME_FUNCTIONAL_GROUPS = 0x5200, 0x9230;
    FLOAT_PIXEL_DATA = 0x7FE0, 0x0008;
    DOUBLE_FLOAT_PIXEL_DATA = 0x7FE0, 0x0009;
    PIXEL_DATA = 0x7FE0, 0x0010;
    ITEM = 0xFFFE, 0xE000;
    ITEM_DELIMITATION = 0xFFFE, 0xE00D;
    SEQUENCE_DELIMITATION = 0xFFFE, 0xE0DD;
}

/// The functional groups that say how a frame lies in the patient and what its pixels mean.
pub(crate) const IMAGE_MACROS: [Tag; 5] = [
    PIXEL_MEASURES_SEQUENCE,
    FRAME_VOI_LUT_SEQUENCE,
    PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
    PLANE_POSITION_SEQUENCE,
    PLANE_ORIENTATION_SEQUENCE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_named_as_the_standard_names_them() {
        assert_eq!(ROWS.to_string(), "Rows (0028,0010)");
        assert_eq!(IMAGE_ORIENTATION_PATIENT.to_string(), "ImageOrientationPatient (0020,0037)");
        assert_eq!(Tag::new(0x0029, 0x1010).to_string(), "(0029,1010)");
    }
}
