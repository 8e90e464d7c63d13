//! The attributes of an image that Modiolus uses, typed.

use std::fmt;
use std::ops::RangeInclusive;

use modiolus_pipeline::{Reason, Refusal};
use serde::{Deserialize, Serialize};

use crate::element::{Encoding, Head};
use crate::tag::{self, Tag};
use crate::text::{self, NotANumber};
use crate::transfer::TransferSyntax;

/// More values than this in one attribute are refused as malformed.
const VALUES_LIMIT: usize = 64;

/// What the header of a file says. An attribute that is absent or empty is an empty string or list, or `None`; defaults
/// of the standard are filled in ([`samples_per_pixel`](Self::samples_per_pixel) and
/// [`number_of_frames`](Self::number_of_frames) 1, [`bits_stored`](Self::bits_stored) as many as allocated).
///
/// In JSON what is absent is left out. `Debug` shows neither identity nor UIDs.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// PatientID (0010,0020), decoded by SpecificCharacterSet, without padding. **Identity.** Longer than 256 bytes: its
    /// start, `~` and a digest of the whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub patient_id: String,
    /// PatientName (0010,0010), likewise. **Identity**, of no use but to tell whether a file is named for the patient: it never
    /// leaves the process.
    #[serde(skip)]
    pub patient_name: String,
    /// StudyInstanceUID (0020,000D).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub study_instance_uid: String,
    /// SeriesInstanceUID (0020,000E).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub series_instance_uid: String,
    /// SOPInstanceUID (0008,0018).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sop_instance_uid: String,
    /// SOPClassUID (0008,0016).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sop_class_uid: String,
    /// TransferSyntaxUID (0002,0010); where the file has none, the one its data set turned out to be in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub transfer_syntax_uid: String,
    /// Modality (0008,0060), such as CT.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub modality: String,
    /// ConversionType (0008,0064), only in Secondary Capture.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub conversion_type: String,
    /// ImageType (0008,0008), such as DERIVED, SECONDARY, REFORMATTED.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_type: Vec<String>,
    /// SeriesNumber (0020,0011).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series_number: Option<i64>,
    /// InstanceNumber (0020,0013).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_number: Option<i64>,
    /// Rows (0028,0010): the height of the image in pixels; 0 where absent.
    pub rows: u32,
    /// Columns (0028,0011): the width of the image in pixels; 0 where absent.
    pub columns: u32,
    /// SamplesPerPixel (0028,0002): 1 for grey, 3 for colour.
    #[serde(skip_serializing_if = "is_one")]
    pub samples_per_pixel: u32,
    /// NumberOfFrames (0028,0008).
    #[serde(skip_serializing_if = "is_one")]
    pub number_of_frames: u32,
    /// PhotometricInterpretation (0028,0004); MONOCHROME1 means that the lowest value is white.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub photometric_interpretation: String,
    /// BitsAllocated (0028,0100): 8, 16 or 32 for each sample; 0 where absent.
    pub bits_allocated: u32,
    /// BitsStored (0028,0101).
    pub bits_stored: u32,
    /// HighBit (0028,0102): the position of the most significant stored bit.
    pub high_bit: u32,
    /// PixelRepresentation (0028,0103): 1 for signed (two's complement), 0 for unsigned.
    #[serde(skip_serializing_if = "is_zero")]
    pub pixel_representation: u32,
    /// PixelPaddingValue (0028,0120): the stored value of pixels that are no part of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_padding_value: Option<i32>,
    /// PixelPaddingRangeLimit (0028,0121): with it, all values from one to the other are padding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_padding_range_limit: Option<i32>,
    /// ImageOrientationPatient (0020,0037): direction cosines of the rows, then of the columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orientation: Option<[f64; 6]>,
    /// ImagePositionPatient (0020,0032): the centre of the first pixel, in mm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<[f64; 3]>,
    /// PixelSpacing (0028,0030): between rows, then between columns, in mm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_spacing: Option<[f64; 2]>,
    /// SliceThickness (0018,0050), in mm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice_thickness: Option<f64>,
    /// RescaleSlope (0028,1053).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rescale_slope: Option<f64>,
    /// RescaleIntercept (0028,1052).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rescale_intercept: Option<f64>,
    /// WindowCenter (0028,1050): one value for each alternative view. A view of which centre or width can't be read is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub window_centers: Vec<f64>,
    /// WindowWidth (0028,1051): as many values as there are centres.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub window_widths: Vec<f64>,
    /// VOILUTFunction (0028,1056): LINEAR (also where absent), LINEAR_EXACT or SIGMOID.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub voi_lut_function: String,
    /// BurnedInAnnotation (0028,0301) is YES: text that may identify the patient is part of the picture.
    #[serde(skip_serializing_if = "is_false")]
    pub burned_in_annotation: bool,
    /// Where the value of PixelData (7FE0,0010) starts in the file, in bytes; None where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_offset: Option<u64>,
    /// Its length in bytes; None where it is encapsulated (compressed), or absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_length: Option<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_one(number: &u32) -> bool {
    *number == 1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            patient_id: String::new(),
            patient_name: String::new(),
            study_instance_uid: String::new(),
            series_instance_uid: String::new(),
            sop_instance_uid: String::new(),
            sop_class_uid: String::new(),
            transfer_syntax_uid: String::new(),
            modality: String::new(),
            conversion_type: String::new(),
            image_type: Vec::new(),
            series_number: None,
            instance_number: None,
            rows: 0,
            columns: 0,
            samples_per_pixel: 1,
            number_of_frames: 1,
            photometric_interpretation: String::new(),
            bits_allocated: 0,
            bits_stored: 0,
            high_bit: 0,
            pixel_representation: 0,
            pixel_padding_value: None,
            pixel_padding_range_limit: None,
            orientation: None,
            position: None,
            pixel_spacing: None,
            slice_thickness: None,
            rescale_slope: None,
            rescale_intercept: None,
            window_centers: Vec::new(),
            window_widths: Vec::new(),
            voi_lut_function: String::new(),
            burned_in_annotation: false,
            pixel_offset: None,
            pixel_length: None,
        }
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attributes")
            .field("sop_class_uid", &self.sop_class_uid)
            .field("transfer_syntax_uid", &self.transfer_syntax_uid)
            .field("modality", &self.modality)
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .field("bits_allocated", &self.bits_allocated)
            .field("orientation", &self.orientation)
            .field("pixel_spacing", &self.pixel_spacing)
            .finish_non_exhaustive()
    }
}

/// A value as it is met: its head, its bytes, and how to read them.
pub(crate) struct Value<'a> {
    pub(crate) head: Head,
    pub(crate) bytes: &'a [u8],
    pub(crate) encoding: Encoding,
    pub(crate) character_set: &'a [u8],
}

impl Attributes {
    /// Whether the file has pixel data.
    pub fn has_pixels(&self) -> bool {
        self.pixel_offset.is_some()
    }

    /// The name of the transfer syntax, such as `Explicit VR Little Endian`.
    pub fn transfer_syntax_name(&self) -> &'static str {
        TransferSyntax::of(&self.transfer_syntax_uid).name
    }

    /// Whether the pixels are signed.
    pub fn is_signed(&self) -> bool {
        self.pixel_representation == 1
    }

    /// Whether the lowest value is white.
    pub fn is_monochrome1(&self) -> bool {
        self.photometric_interpretation == "MONOCHROME1"
    }

    /// The stored values of pixels that are no part of the image. Source: PS3.3 C.7.5.1.1.2.
    pub fn padding(&self) -> Option<RangeInclusive<i32>> {
        let value = self.pixel_padding_value?;
        let limit = self.pixel_padding_range_limit.unwrap_or(value);
        Some(value.min(limit)..=value.max(limit))
    }

    /// Fills in what writers leave out: all allocated bits are stored, the highest stored bit is the last. Windows that can't be
    /// read, or have no width, go: an image has no less to show for it.
    pub(crate) fn fill_defaults(&mut self) {
        let windows = self.window_centers.iter().zip(&self.window_widths);
        let readable = windows.filter(|(center, width)| center.is_finite() && width.is_finite());
        (self.window_centers, self.window_widths) = readable.unzip();
        if self.bits_stored == 0 {
            self.bits_stored = self.bits_allocated;
        }
        if self.high_bit == 0 {
            self.high_bit = self.bits_stored.saturating_sub(1);
        }
    }

    /// Whether [`set`](Self::set) has a use for this attribute.
    pub(crate) fn wants(tag: Tag) -> bool {
        matches!(tag.group(), 0x0008 | 0x0010 | 0x0018 | 0x0020 | 0x0028) && tag.0 <= tag::VOI_LUT_FUNCTION.0
    }

    /// Takes one attribute over.
    ///
    /// # Errors
    /// When its value is impossible and images need it; the attribute then stays as it was.
    pub(crate) fn set(&mut self, value: &Value) -> Result<(), Refusal> {
        let bytes = value.bytes;
        match value.head.tag {
            tag::PATIENT_ID => self.patient_id = text::identifier(bytes, value.character_set),
            tag::PATIENT_NAME => self.patient_name = text::identifier(bytes, value.character_set),
            tag::STUDY_INSTANCE_UID => self.study_instance_uid = text::code(bytes),
            tag::SERIES_INSTANCE_UID => self.series_instance_uid = text::code(bytes),
            tag::SOP_INSTANCE_UID => self.sop_instance_uid = text::code(bytes),
            tag::SOP_CLASS_UID => self.sop_class_uid = text::code(bytes),
            tag::MODALITY => self.modality = text::code(bytes),
            tag::CONVERSION_TYPE => self.conversion_type = text::code(bytes),
            tag::IMAGE_TYPE => {
                self.image_type = bytes.split(|b| *b == b'\\').take(VALUES_LIMIT).map(text::code).collect();
            }
            tag::PHOTOMETRIC_INTERPRETATION => self.photometric_interpretation = text::code(bytes),
            tag::VOI_LUT_FUNCTION => self.voi_lut_function = text::code(bytes),
            tag::BURNED_IN_ANNOTATION => self.burned_in_annotation = text::trim(bytes) == b"YES",
            _ => return self.set_number(value),
        }
        Ok(())
    }

    fn set_number(&mut self, value: &Value) -> Result<(), Refusal> {
        match value.head.tag {
            tag::SERIES_NUMBER => self.series_number = value.informative(),
            tag::INSTANCE_NUMBER => self.instance_number = value.informative(),
            tag::ROWS => self.rows = value.count(self.rows)?,
            tag::COLUMNS => self.columns = value.count(self.columns)?,
            tag::SAMPLES_PER_PIXEL => self.samples_per_pixel = value.count(self.samples_per_pixel)?,
            // Some writers say 0 where they have no frames to tell apart; toolkits take that for one.
            tag::NUMBER_OF_FRAMES => self.number_of_frames = value.count(self.number_of_frames)?.max(1),
            tag::BITS_ALLOCATED => self.bits_allocated = value.count(self.bits_allocated)?,
            tag::BITS_STORED => self.bits_stored = value.count(self.bits_stored)?,
            tag::HIGH_BIT => self.high_bit = value.count(self.high_bit)?,
            tag::PIXEL_REPRESENTATION => self.pixel_representation = value.count(0)?,
            tag::PIXEL_PADDING_VALUE => self.pixel_padding_value = value.stored(self.is_signed()),
            tag::PIXEL_PADDING_RANGE_LIMIT => {
                self.pixel_padding_range_limit = value.stored(self.is_signed());
            }
            tag::IMAGE_ORIENTATION_PATIENT => self.orientation = value.decimals()?,
            tag::IMAGE_POSITION_PATIENT => self.position = value.decimals()?,
            tag::PIXEL_SPACING => {
                let spacing: Option<[f64; 2]> = value.decimals()?;
                if spacing.is_some_and(|s| s.iter().any(|mm| *mm <= 0.0)) {
                    return Err(value.malformed("is not above zero"));
                }
                self.pixel_spacing = spacing;
            }
            tag::SLICE_THICKNESS => self.slice_thickness = text::number(text::trim(value.bytes)).ok(),
            tag::RESCALE_SLOPE => {
                self.rescale_slope = value.decimals()?.map(|[slope]: [f64; 1]| slope);
                if self.rescale_slope == Some(0.0) {
                    return Err(value.malformed("is zero"));
                }
            }
            tag::RESCALE_INTERCEPT => self.rescale_intercept = value.decimals()?.map(|[b]: [f64; 1]| b),
            tag::WINDOW_CENTER => self.window_centers = value.views(),
            tag::WINDOW_WIDTH => self.window_widths = value.views(),
            _ => {}
        }
        Ok(())
    }
}

impl Value<'_> {
    fn malformed(&self, why: &str) -> Refusal {
        Refusal::new(Reason::MalformedAttribute, format!("{} {why}", self.head.tag))
    }

    fn decimal_list(&self) -> Result<Vec<f64>, Refusal> {
        text::numbers(self.bytes, VALUES_LIMIT)
            .map_err(|NotANumber| self.malformed("holds something that is no decimal number"))
    }

    /// Exactly N numbers; None for an empty value.
    fn decimals<const N: usize>(&self) -> Result<Option<[f64; N]>, Refusal> {
        let numbers = self.decimal_list()?;
        if numbers.is_empty() {
            return Ok(None);
        }
        let found = numbers.len();
        let numbers =
            numbers.try_into().map_err(|_| self.malformed(&format!("has {found} values instead of {N}")))?;
        Ok(Some(numbers))
    }

    /// The numbers of alternative views, not-a-number where one can't be read.
    fn views(&self) -> Vec<f64> {
        if text::trim(self.bytes).is_empty() {
            return Vec::new();
        }
        let views = self.bytes.split(|b| *b == b'\\').take(VALUES_LIMIT);
        views.map(|view| text::number(text::trim(view)).unwrap_or(f64::NAN)).collect()
    }

    /// A stored value of 16 bits (US or SS, by PixelRepresentation, whatever was written); None where it isn't one.
    fn stored(&self, signed: bool) -> Option<i32> {
        let word = self.encoding.u16(self.bytes.try_into().ok()?);
        Some(if signed { i32::from(word.cast_signed()) } else { i32::from(word) })
    }

    /// A number that nothing depends on: None where it can't be read.
    fn informative(&self) -> Option<i64> {
        std::str::from_utf8(text::trim(self.bytes)).ok()?.parse().ok()
    }

    /// A count (US, or IS for NumberOfFrames), also where a writer chose another VR; `absent` for an empty value.
    fn count(&self, absent: u32) -> Result<u32, Refusal> {
        let is_text =
            self.head.tag == tag::NUMBER_OF_FRAMES || matches!(&self.head.vr, Some([b'I' | b'D', b'S']));
        if is_text {
            let text = text::trim(self.bytes);
            let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            return if text.is_empty() {
                Ok(absent)
            } else {
                number.ok_or_else(|| self.malformed("is no count"))
            };
        }
        match (self.bytes, self.head.vr) {
            ([], _) => Ok(absent),
            ([a, b, c, d], Some([b'U' | b'S', b'L'])) => Ok(self.encoding.u32([*a, *b, *c, *d])),
            ([a, b, ..], _) => Ok(u32::from(self.encoding.u16([*a, *b]))),
            _ => Err(self.malformed("is no count")),
        }
    }
}
