//! Making DICOM files: the element writer, and a small builder of CT images for tests and phantoms.

use modiolus_pipeline::Digest;

use crate::element::{Encoding, Vr, has_short_length};
use crate::tag::{self, Tag};
use crate::transfer::{EXPLICIT_BIG_UID, EXPLICIT_LITTLE_UID, IMPLICIT_LITTLE_UID};

/// Who wrote a file (0002,0012): a UID of our own, derived from a fixed number (PS3.5 section B.2).
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.53372764759357168758709872596689602225";
/// And in words (0002,0013).
pub const IMPLEMENTATION_VERSION_NAME: &str = "MODIOLUS_1";

/// Writes elements one after the other.
pub(crate) struct Writer {
    pub(crate) encoding: Encoding,
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { encoding, bytes: Vec::new() }
    }

    fn u16(&mut self, number: u16) {
        let bytes = if self.encoding.big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
        self.bytes.extend_from_slice(&bytes);
    }

    fn u32(&mut self, number: u32) {
        let bytes = if self.encoding.big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
        self.bytes.extend_from_slice(&bytes);
    }

    /// Everything of an element but its value.
    pub(crate) fn head(&mut self, tag: Tag, vr: Vr, length: u32) {
        self.u16(tag.group());
        self.u16(tag.element());
        if self.encoding.explicit && tag.group() != 0xFFFE {
            self.bytes.extend_from_slice(&vr);
            if has_short_length(vr) {
                // Callers never give a short VR more than this; a longer text was cut before.
                return self.u16(u16::try_from(length).unwrap_or(u16::MAX));
            }
            self.u16(0);
        }
        self.u32(length);
    }

    /// An element; its value is padded to even length, and cut where its VR can't hold more.
    pub(crate) fn put(&mut self, tag: Tag, vr: Vr, value: &[u8]) {
        let limit = if has_short_length(vr) { 0xFFFE } else { 0xFFFF_FFFE };
        let value = &value[..value.len().min(limit)];
        let length = value.len() + value.len() % 2;
        self.head(tag, vr, u32::try_from(length).unwrap_or(0xFFFF_FFFE));
        self.bytes.extend_from_slice(value);
        if value.len() < length {
            self.bytes.push(padding(vr));
        }
    }

    pub(crate) fn text(&mut self, tag: Tag, vr: Vr, value: &str) {
        self.put(tag, vr, value.as_bytes());
    }

    pub(crate) fn us(&mut self, tag: Tag, value: u16) {
        self.head(tag, *b"US", 2);
        self.u16(value);
    }

    fn decimals(&mut self, tag: Tag, values: &[f64]) {
        let values: Vec<String> = values.iter().map(|value| decimal(*value)).collect();
        self.text(tag, *b"DS", &values.join("\\"));
    }
}

/// UI, and the VRs of bytes, are padded by NUL, all text by a space (PS3.5 section 6.2).
fn padding(vr: Vr) -> u8 {
    if matches!(&vr, b"UI" | b"OB" | b"UN" | b"OW") { 0 } else { b' ' }
}

/// A decimal string: at most 16 characters, as exact as they allow.
pub(crate) fn decimal(value: f64) -> String {
    let exact = format!("{value}");
    if exact.len() <= 16 {
        return exact;
    }
    (0..=12).rev().map(|digits| format!("{value:.digits$e}")).find(|text| text.len() <= 16).unwrap_or(exact)
}

/// A whole file around a data set: preamble, mark and meta information, then the data set as it is.
pub(crate) fn part10(sop_class: &str, sop_instance: &str, transfer_syntax: &str, data_set: &[u8]) -> Vec<u8> {
    let mut meta = Writer::new(Encoding::EXPLICIT_LITTLE);
    meta.put(Tag::new(0x0002, 0x0001), *b"OB", &[0, 1]);
    meta.text(Tag::new(0x0002, 0x0002), *b"UI", sop_class);
    meta.text(Tag::new(0x0002, 0x0003), *b"UI", sop_instance);
    meta.text(tag::TRANSFER_SYNTAX_UID, *b"UI", transfer_syntax);
    meta.text(Tag::new(0x0002, 0x0012), *b"UI", IMPLEMENTATION_CLASS_UID);
    meta.text(Tag::new(0x0002, 0x0013), *b"SH", IMPLEMENTATION_VERSION_NAME);
    let mut file = Writer::new(Encoding::EXPLICIT_LITTLE);
    file.bytes = vec![0; 128];
    file.bytes.extend_from_slice(b"DICM");
    let group_length = u32::try_from(meta.bytes.len()).unwrap_or(u32::MAX);
    file.put(Tag::new(0x0002, 0x0000), *b"UL", &group_length.to_le_bytes());
    file.bytes.extend_from_slice(&meta.bytes);
    file.bytes.extend_from_slice(data_set);
    file.bytes
}

/// A UID that follows from a digest: `2.25.` and a number. Source: PS3.5 section B.2.
pub(crate) fn derived_uid(digest: &Digest) -> String {
    let mut number = [0; 16];
    number.copy_from_slice(&digest.as_bytes()[..16]);
    // Version 8 of RFC 9562: a UUID with bits of our own making.
    number[6] = number[6] & 0x0F | 0x80;
    number[8] = number[8] & 0x3F | 0x80;
    format!("2.25.{}", u128::from_be_bytes(number))
}

/// How a [`CtImage`] is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// Explicit VR Little Endian.
    ExplicitLittle,
    /// Implicit VR Little Endian.
    ImplicitLittle,
    /// Explicit VR Big Endian (retired).
    ExplicitBig,
}

/// A CT image of 16-bit grey pixels. The default is a made-up patient with one black pixel, axial.
#[derive(Clone)]
pub struct CtImage {
    /// PatientID.
    pub patient_id: String,
    /// PatientName.
    pub patient_name: String,
    /// StudyInstanceUID.
    pub study_instance_uid: String,
    /// SeriesInstanceUID.
    pub series_instance_uid: String,
    /// SOPInstanceUID.
    pub sop_instance_uid: String,
    /// FrameOfReferenceUID.
    pub frame_of_reference_uid: String,
    /// Study, series and content date, YYYYMMDD.
    pub date: String,
    /// SeriesDescription.
    pub series_description: String,
    /// SeriesNumber.
    pub series_number: u32,
    /// InstanceNumber.
    pub instance_number: u32,
    /// Height in pixels.
    pub rows: u16,
    /// Width in pixels.
    pub columns: u16,
    /// Rows times Columns stored values, row by row; the lower 16 bits of each are written.
    pub pixels: Vec<i32>,
    /// Whether the stored values are signed.
    pub signed: bool,
    /// ImageOrientationPatient; left out where None.
    pub orientation: Option<[f64; 6]>,
    /// ImagePositionPatient, in mm.
    pub position: [f64; 3],
    /// PixelSpacing: between rows, between columns, in mm.
    pub pixel_spacing: [f64; 2],
    /// SliceThickness, in mm.
    pub slice_thickness: f64,
    /// RescaleSlope.
    pub rescale_slope: f64,
    /// RescaleIntercept.
    pub rescale_intercept: f64,
    /// WindowCenter and WindowWidth.
    pub window: Option<(f64, f64)>,
}

impl Default for CtImage {
    fn default() -> Self {
        Self {
            patient_id: "1".into(),
            patient_name: "Nobody".into(),
            study_instance_uid: "2.25.1".into(),
            series_instance_uid: "2.25.2".into(),
            sop_instance_uid: "2.25.3".into(),
            frame_of_reference_uid: "2.25.4".into(),
            date: "20200101".into(),
            series_description: String::new(),
            series_number: 1,
            instance_number: 1,
            rows: 1,
            columns: 1,
            pixels: vec![0],
            signed: false,
            orientation: Some([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
            position: [0.0; 3],
            pixel_spacing: [1.0; 2],
            slice_thickness: 1.0,
            rescale_slope: 1.0,
            rescale_intercept: 0.0,
            window: None,
        }
    }
}

const CT_IMAGE_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.2";

impl CtImage {
    /// The file, the same bytes for the same image. Source: PS3.3 table A.3-1 (CT Image IOD).
    pub fn to_bytes(&self, syntax: Syntax) -> Vec<u8> {
        let (encoding, uid) = match syntax {
            Syntax::ExplicitLittle => (Encoding::EXPLICIT_LITTLE, EXPLICIT_LITTLE_UID),
            Syntax::ImplicitLittle => (Encoding::IMPLICIT_LITTLE, IMPLICIT_LITTLE_UID),
            Syntax::ExplicitBig => (Encoding::EXPLICIT_BIG, EXPLICIT_BIG_UID),
        };
        let mut writer = Writer::new(encoding);
        self.write_identity(&mut writer);
        self.write_image(&mut writer);
        part10(CT_IMAGE_STORAGE, &self.sop_instance_uid, uid, &writer.bytes)
    }

    /// The file with one compressed frame in place of its pixels, in two fragments.
    #[cfg(test)]
    pub(crate) fn to_encapsulated(&self, transfer_syntax: &str, frame: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new(Encoding::EXPLICIT_LITTLE);
        self.write_identity(&mut writer);
        self.write_image(&mut writer);
        writer.bytes.truncate(writer.bytes.len() - 12 - 2 * self.pixels.len());
        writer.head(tag::PIXEL_DATA, *b"OB", crate::element::UNDEFINED);
        let (one, two) = frame.split_at(frame.len() / 4 * 2);
        for fragment in [&[][..], one, two] {
            writer.put(tag::ITEM, *b"OB", fragment);
        }
        writer.head(tag::SEQUENCE_DELIMITATION, *b"OB", 0);
        part10(CT_IMAGE_STORAGE, &self.sop_instance_uid, transfer_syntax, &writer.bytes)
    }

    fn write_identity(&self, writer: &mut Writer) {
        writer.text(tag::SPECIFIC_CHARACTER_SET, *b"CS", "ISO_IR 192");
        writer.text(tag::IMAGE_TYPE, *b"CS", "ORIGINAL\\PRIMARY\\AXIAL");
        writer.text(tag::SOP_CLASS_UID, *b"UI", CT_IMAGE_STORAGE);
        writer.text(tag::SOP_INSTANCE_UID, *b"UI", &self.sop_instance_uid);
        for element in [0x0020, 0x0021, 0x0023] {
            writer.text(Tag::new(0x0008, element), *b"DA", &self.date);
        }
        writer.text(Tag::new(0x0008, 0x0030), *b"TM", "");
        writer.text(Tag::new(0x0008, 0x0033), *b"TM", "");
        writer.text(Tag::new(0x0008, 0x0050), *b"SH", "");
        writer.text(tag::MODALITY, *b"CS", "CT");
        writer.text(Tag::new(0x0008, 0x0070), *b"LO", "");
        writer.text(Tag::new(0x0008, 0x0090), *b"PN", "");
        writer.text(Tag::new(0x0008, 0x103E), *b"LO", &self.series_description);
        writer.text(tag::PATIENT_NAME, *b"PN", &self.patient_name);
        writer.text(tag::PATIENT_ID, *b"LO", &self.patient_id);
        writer.text(Tag::new(0x0010, 0x0030), *b"DA", "");
        writer.text(Tag::new(0x0010, 0x0040), *b"CS", "");
        writer.decimals(tag::SLICE_THICKNESS, &[self.slice_thickness]);
        writer.text(Tag::new(0x0018, 0x0060), *b"DS", "");
    }

    fn write_image(&self, writer: &mut Writer) {
        writer.text(tag::STUDY_INSTANCE_UID, *b"UI", &self.study_instance_uid);
        writer.text(tag::SERIES_INSTANCE_UID, *b"UI", &self.series_instance_uid);
        writer.text(Tag::new(0x0020, 0x0010), *b"SH", "");
        writer.text(tag::SERIES_NUMBER, *b"IS", &self.series_number.to_string());
        writer.text(Tag::new(0x0020, 0x0012), *b"IS", "");
        writer.text(tag::INSTANCE_NUMBER, *b"IS", &self.instance_number.to_string());
        writer.decimals(tag::IMAGE_POSITION_PATIENT, &self.position);
        if let Some(orientation) = &self.orientation {
            writer.decimals(tag::IMAGE_ORIENTATION_PATIENT, orientation);
        }
        writer.text(Tag::new(0x0020, 0x0052), *b"UI", &self.frame_of_reference_uid);
        writer.text(Tag::new(0x0020, 0x1040), *b"LO", "");
        writer.us(tag::SAMPLES_PER_PIXEL, 1);
        writer.text(tag::PHOTOMETRIC_INTERPRETATION, *b"CS", "MONOCHROME2");
        writer.us(tag::ROWS, self.rows);
        writer.us(tag::COLUMNS, self.columns);
        writer.decimals(tag::PIXEL_SPACING, &self.pixel_spacing);
        writer.us(tag::BITS_ALLOCATED, 16);
        writer.us(tag::BITS_STORED, 16);
        writer.us(tag::HIGH_BIT, 15);
        writer.us(tag::PIXEL_REPRESENTATION, self.signed.into());
        if let Some((center, width)) = self.window {
            writer.decimals(tag::WINDOW_CENTER, &[center]);
            writer.decimals(tag::WINDOW_WIDTH, &[width]);
        }
        writer.decimals(tag::RESCALE_INTERCEPT, &[self.rescale_intercept]);
        writer.decimals(tag::RESCALE_SLOPE, &[self.rescale_slope]);
        let length = u32::try_from(self.pixels.len() * 2).unwrap_or(u32::MAX - 1);
        writer.head(tag::PIXEL_DATA, *b"OW", length);
        for pixel in &self.pixels {
            writer.u16((pixel & 0xFFFF) as u16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeaderRead, read_header};

    #[test]
    fn an_image_reads_back_from_every_syntax() {
        let image = CtImage {
            patient_id: "Иванов".into(),
            rows: 2,
            columns: 3,
            pixels: vec![1, 2, 3, 4, 5, 6],
            orientation: Some([0.999_971, -0.004, 0.0064, 0.0063, 0.011, -0.99991]),
            ..CtImage::default()
        };
        for syntax in [Syntax::ExplicitLittle, Syntax::ImplicitLittle, Syntax::ExplicitBig] {
            let file = image.to_bytes(syntax);
            let HeaderRead::Complete(found) = read_header(&file, file.len() as u64) else {
                panic!("{syntax:?}")
            };
            assert_eq!((found.rows, found.columns, found.patient_id.as_str()), (2, 3, "Иванов"));
            assert_eq!(found.orientation, image.orientation);
            assert_eq!(found.pixel_length, Some(12));
        }
    }

    #[test]
    fn decimals_have_at_most_sixteen_characters() {
        for value in [1.0 / 3.0, -1e-9 / 7.0, 123_456_789.123_456_78, -0.2, -1.0e300 / 3.0] {
            let text = decimal(value);
            assert!(text.len() <= 16, "{text}");
            assert!((text.parse::<f64>().unwrap() - value).abs() <= value.abs() * 1e-7);
        }
        assert_eq!(decimal(-0.2), "-0.2");
    }
}
