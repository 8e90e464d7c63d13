//! DICOM objects of an export, as bytes: CT slices and what lies about beside them.

use dicom_core::value::{PixelFragmentSequence, Value};
use dicom_core::{DataElement, Length, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use crate::PhantomError;
use crate::draw::Draw;

/// Stored values run from 0, which is this many HU.
pub(crate) const LOWEST_HU: i32 = -1000;
/// For MONOCHROME1 the stored value is this minus the ordinary one.
const FLIPPED_TOP: u16 = 12_000;

/// What all objects of one patient share.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) number: String,
    /// Distinguishes patients in UIDs.
    pub(crate) seed: u64,
    pub(crate) date: String,
    pub(crate) sex: &'static str,
}

/// How the pixels of a slice are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    Plain,
    /// White is low.
    Monochrome1,
    RunLength,
    /// The header promises a picture, and there is none.
    NoPixels,
    /// ImageOrientationPatient holds text that is no number.
    BadOrientation,
}

/// A CT slice before it becomes a file.
pub(crate) struct CtSlice {
    pub(crate) instance: u32,
    pub(crate) series: Series,
    /// Direction of columns, then of rows, in the patient's system.
    pub(crate) orientation: [f32; 6],
    pub(crate) position: [f32; 3],
    pub(crate) spacing: [f32; 2],
    pub(crate) thickness: f32,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// HU minus [`LOWEST_HU`].
    pub(crate) stored: Vec<u16>,
    /// Centre and width, HU.
    pub(crate) window: [f32; 2],
}

/// A series of a patient's study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Series {
    Axial,
    Coronal,
    Sagittal,
    Oblique,
    Report,
    Capture,
}

impl Series {
    fn description(self) -> &'static str {
        match self {
            Self::Axial => "CBCT axial",
            Self::Coronal => "coronal MPR",
            Self::Sagittal => "sagittal MPR",
            Self::Oblique => "oblique MPR",
            Self::Report => "Dose report",
            Self::Capture => "Report page",
        }
    }
}

type Object = InMemDicomObject<StandardDataDictionary>;

fn text(object: &mut Object, tag: Tag, vr: VR, value: impl Into<String>) {
    object.put(DataElement::new(tag, vr, PrimitiveValue::from(value.into())));
}

fn number(object: &mut Object, tag: Tag, value: usize) {
    object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value as u16)));
}

/// The number that a person would write: six decimals at most, none of those that f32 only seems to have.
pub(crate) fn decimal(value: f32) -> f64 {
    let shortest: f64 = value.to_string().parse().unwrap_or_default();
    // Adding zero turns -0 into 0.
    (shortest * 1e6).round() / 1e6 + 0.0
}

/// Decimal strings (DS, at most 16 characters), joined by backslashes.
fn decimals(values: &[f32]) -> String {
    values.iter().map(|&value| decimal(value).to_string()).collect::<Vec<_>>().join("\\")
}

impl Identity {
    pub(crate) fn random(draw: &mut Draw, number: String) -> Self {
        let date = format!("20{:02}{:02}{:02}", 15 + draw.below(10), 1 + draw.below(12), 1 + draw.below(28));
        let sex = ["F", "M", "O"][draw.below(3)];
        Self { number, seed: u64::from(draw.bits()) << 32 | u64::from(draw.bits()), date, sex }
    }

    /// A UID derived from a UUID (DICOM PS3.5 B.2): "2.25." and a number of 128 bits.
    pub(crate) fn uid(&self, kind: u64, index: u32) -> String {
        let mut draw = Draw::new(self.seed ^ (kind << 40), u64::from(index) + 1);
        let number = (0..4).fold(0_u128, |number, _| number << 32 | u128::from(draw.bits()));
        // Version 4, variant 1, as a random UUID has them.
        let number = number & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
        format!("2.25.{number}")
    }

    fn object(&self, class: &str, series: Series, instance: u32, modality: &str) -> Object {
        let mut object = InMemDicomObject::new_empty();
        let o = &mut object;
        text(o, tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100");
        text(o, tags::SOP_CLASS_UID, VR::UI, class);
        text(o, tags::SOP_INSTANCE_UID, VR::UI, self.uid(1 + series as u64, instance));
        for tag in [tags::STUDY_DATE, tags::SERIES_DATE, tags::CONTENT_DATE] {
            text(o, tag, VR::DA, &self.date);
        }
        text(o, tags::STUDY_TIME, VR::TM, "101500");
        text(o, tags::CONTENT_TIME, VR::TM, "101730");
        text(o, tags::ACCESSION_NUMBER, VR::SH, "");
        text(o, tags::MODALITY, VR::CS, modality);
        text(o, tags::MANUFACTURER, VR::LO, "MODIOLUS PHANTOM");
        text(o, tags::REFERRING_PHYSICIAN_NAME, VR::PN, "");
        text(o, tags::SERIES_DESCRIPTION, VR::LO, series.description());
        text(o, tags::PATIENT_NAME, VR::PN, format!("PHANTOM^{}", self.number));
        text(o, tags::PATIENT_ID, VR::LO, &self.number);
        text(o, tags::PATIENT_BIRTH_DATE, VR::DA, "");
        text(o, tags::PATIENT_SEX, VR::CS, self.sex);
        text(o, tags::STUDY_INSTANCE_UID, VR::UI, self.uid(20, 0));
        text(o, tags::SERIES_INSTANCE_UID, VR::UI, self.uid(21, series as u32));
        text(o, tags::FRAME_OF_REFERENCE_UID, VR::UI, self.uid(22, 0));
        text(o, tags::STUDY_ID, VR::SH, "1");
        text(o, tags::SERIES_NUMBER, VR::IS, (series as u32 + 1).to_string());
        text(o, tags::INSTANCE_NUMBER, VR::IS, instance.to_string());
        object
    }

    /// A slice as a CT Image Storage file.
    pub(crate) fn ct(&self, slice: &CtSlice, storage: Storage) -> Result<Vec<u8>, PhantomError> {
        let mut object = self.object(uids::CT_IMAGE_STORAGE, slice.series, slice.instance, "CT");
        let o = &mut object;
        let flip = storage == Storage::Monochrome1;
        let [centre, width] = slice.window;
        let kind = if slice.series == Series::Axial {
            "ORIGINAL\\PRIMARY\\AXIAL"
        } else {
            "DERIVED\\SECONDARY\\MPR"
        };
        text(o, tags::IMAGE_TYPE, VR::CS, kind);
        text(o, tags::SLICE_THICKNESS, VR::DS, decimals(&[slice.thickness]));
        text(o, tags::KVP, VR::DS, "90");
        text(o, tags::IMAGE_POSITION_PATIENT, VR::DS, decimals(&slice.position));
        let mut orientation = decimals(&slice.orientation);
        if storage == Storage::BadOrientation {
            orientation = orientation.replacen("\\0", "\\zero", 1);
        }
        text(o, tags::IMAGE_ORIENTATION_PATIENT, VR::DS, orientation);
        number(o, tags::SAMPLES_PER_PIXEL, 1);
        text(o, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, if flip { "MONOCHROME1" } else { "MONOCHROME2" });
        number(o, tags::ROWS, slice.rows);
        number(o, tags::COLUMNS, slice.columns);
        text(o, tags::PIXEL_SPACING, VR::DS, decimals(&slice.spacing));
        number(o, tags::BITS_ALLOCATED, 16);
        number(o, tags::BITS_STORED, 16);
        number(o, tags::HIGH_BIT, 15);
        number(o, tags::PIXEL_REPRESENTATION, 0);
        // Where white is low, values are negated, so that the picture looks the same.
        text(o, tags::WINDOW_CENTER, VR::DS, decimals(&[if flip { 1.0 - centre } else { centre }]));
        text(o, tags::WINDOW_WIDTH, VR::DS, decimals(&[width]));
        let intercept = if flip { -LOWEST_HU - i32::from(FLIPPED_TOP) } else { LOWEST_HU };
        text(o, tags::RESCALE_INTERCEPT, VR::DS, intercept.to_string());
        text(o, tags::RESCALE_SLOPE, VR::DS, "1");
        text(o, tags::RESCALE_TYPE, VR::LO, "HU");
        let values: Vec<u16> = match flip {
            true => slice.stored.iter().map(|&value| FLIPPED_TOP.saturating_sub(value)).collect(),
            false => slice.stored.clone(),
        };
        let mut syntax = uids::EXPLICIT_VR_LITTLE_ENDIAN;
        match storage {
            Storage::NoPixels => {}
            Storage::RunLength => {
                syntax = uids::RLE_LOSSLESS;
                let fragments = PixelFragmentSequence::new(vec![0], vec![run_length(&values)]);
                o.put(DataElement::new(tags::PIXEL_DATA, VR::OB, Value::PixelSequence(fragments)));
            }
            _ => {
                o.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(values.into())));
            }
        }
        file(object, syntax)
    }

    /// A structured report without a picture.
    pub(crate) fn report(&self, instance: u32) -> Result<Vec<u8>, PhantomError> {
        let mut object = self.object(uids::BASIC_TEXT_SR_STORAGE, Series::Report, instance, "SR");
        let o = &mut object;
        text(o, tags::VALUE_TYPE, VR::CS, "CONTAINER");
        let mut code = InMemDicomObject::new_empty();
        text(&mut code, tags::CODE_VALUE, VR::SH, "121111");
        text(&mut code, tags::CODING_SCHEME_DESIGNATOR, VR::SH, "DCM");
        text(&mut code, tags::CODE_MEANING, VR::LO, "Summary");
        let sequence = dicom_core::value::DataSetSequence::new(vec![code], Length::UNDEFINED);
        o.put(DataElement::new(tags::CONCEPT_NAME_CODE_SEQUENCE, VR::SQ, Value::from(sequence)));
        text(o, tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE");
        text(o, tags::COMPLETION_FLAG, VR::CS, "COMPLETE");
        text(o, tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED");
        file(object, uids::EXPLICIT_VR_LITTLE_ENDIAN)
    }

    /// A screenshot in colour that lacks PlanarConfiguration and carries a coronal orientation.
    pub(crate) fn page(&self, instance: u32, draw: &mut Draw) -> Result<Vec<u8>, PhantomError> {
        let class = uids::SECONDARY_CAPTURE_IMAGE_STORAGE;
        let mut object = self.object(class, Series::Capture, instance, "CT");
        let o = &mut object;
        let (rows, columns) = (120, 160);
        text(o, tags::CONVERSION_TYPE, VR::CS, "WSD");
        text(o, tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\0\\-1");
        number(o, tags::SAMPLES_PER_PIXEL, 3);
        text(o, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB");
        number(o, tags::ROWS, rows);
        number(o, tags::COLUMNS, columns);
        number(o, tags::BITS_ALLOCATED, 8);
        number(o, tags::BITS_STORED, 8);
        number(o, tags::HIGH_BIT, 7);
        number(o, tags::PIXEL_REPRESENTATION, 0);
        let ends: Vec<usize> = (0..rows / 8).map(|_| 40 + draw.below(110)).collect();
        let ink = |row: usize, column: usize| {
            row % 8 > 2 && (10..ends[row / 8]).contains(&column) && (column * 7 + row / 8 * 3) % 11 > 3
        };
        let pixels = (0..rows * columns)
            .flat_map(|i| if ink(i / columns, i % columns) { [30, 40, 90] } else { [250, 250, 245] });
        o.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(pixels.collect())));
        file(object, uids::EXPLICIT_VR_LITTLE_ENDIAN)
    }
}

fn file(object: Object, syntax: &str) -> Result<Vec<u8>, PhantomError> {
    let meta = FileMetaTableBuilder::new().transfer_syntax(syntax);
    let object = object.with_meta(meta).map_err(|error| PhantomError::Dicom(error.to_string()))?;
    let mut bytes = Vec::new();
    object.write_all(&mut bytes).map_err(|error| PhantomError::Dicom(error.to_string()))?;
    Ok(bytes)
}

/// One frame of 16-bit values in DICOM's run-length coding (PS3.5 annex G): high bytes, then low bytes.
fn run_length(values: &[u16]) -> Vec<u8> {
    let high = pack_bits(&values.iter().map(|value| (value >> 8) as u8).collect::<Vec<_>>());
    let low = pack_bits(&values.iter().map(|value| *value as u8).collect::<Vec<_>>());
    let mut header = [0_u32; 16];
    header[..3].copy_from_slice(&[2, 64, 64 + high.len() as u32]);
    let header = header.iter().flat_map(|number| number.to_le_bytes());
    header.chain(high).chain(low).collect()
}

/// PackBits: a byte n < 128 copies the next n + 1 bytes, n > 128 repeats the next one 257 - n times. Padded to even length.
fn pack_bits(bytes: &[u8]) -> Vec<u8> {
    let run_at = |at: usize| bytes[at..].iter().take(128).take_while(|&&b| b == bytes[at]).count();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let run = run_at(at);
        if run > 2 {
            out.extend([(257 - run) as u8, bytes[at]]);
            at += run;
            continue;
        }
        let start = at;
        while at < bytes.len() && at - start < 128 && run_at(at) < 3 {
            at += 1;
        }
        out.push((at - start - 1) as u8);
        out.extend_from_slice(&bytes[start..at]);
    }
    if out.len() % 2 == 1 {
        out.push(0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(packed: &[u8], length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = 0;
        while out.len() < length {
            let n = usize::from(packed[at]);
            if n < 128 {
                out.extend_from_slice(&packed[at + 1..at + 2 + n]);
                at += n + 2;
            } else {
                out.extend(std::iter::repeat_n(packed[at + 1], 257 - n));
                at += 2;
            }
        }
        out
    }

    #[test]
    fn run_length_coding_gives_the_bytes_back() {
        let mut draw = Draw::new(3, 0);
        for length in [1, 2, 3, 127, 128, 129, 300, 5000] {
            let bytes: Vec<u8> = (0..length).map(|_| draw.below(2) as u8 * draw.below(3) as u8).collect();
            let packed = pack_bits(&bytes);
            assert_eq!(packed.len() % 2, 0);
            assert_eq!(unpack(&packed, length), bytes);
        }
    }

    #[test]
    fn decimals_are_short_and_plain() {
        assert_eq!(decimals(&[1.0, -0.0, 0.0064, -36.4, 1030.5]), "1\\0\\0.0064\\-36.4\\1030.5");
    }

    #[test]
    fn uids_are_those_of_random_uuids_and_differ() {
        let identity = Identity::random(&mut Draw::new(1, 1), "501".into());
        let uid = identity.uid(1, 7);
        assert!(uid.starts_with("2.25.") && uid.len() <= 64);
        assert_eq!(uid, identity.uid(1, 7));
        assert_ne!(uid, identity.uid(1, 8));
        assert_ne!(uid, identity.uid(2, 7));
    }
}
