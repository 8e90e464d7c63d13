//! Which files are images of a scan that can be decoded, by their attributes alone.

use modiolus_pipeline::{Reason, Refusal};

use crate::attributes::Attributes;
use crate::tag::{self, Tag};
use crate::transfer::{JPEG_EXTENDED_UID, Storage, TransferSyntax, printable_uid};

/// Rows and Columns may not be more than this.
pub(crate) const SIDE_LIMIT: u32 = 8192;

/// What kind of object a SOP class is. Source: DICOM PS3.4 table B.5-1.
#[derive(PartialEq)]
enum Class {
    ScanImage,
    SecondaryCapture,
    /// It may have pixels, but they are no image of a scan.
    NotAnImage,
    Unknown,
}

fn class_of(uid: &str) -> Class {
    let Some(storage) = uid.strip_prefix("1.2.840.10008.5.1.4.1.1.") else { return Class::Unknown };
    match storage.split('.').next().unwrap_or_default() {
        // CR and DX, CT, MR, X-ray (XA, RF, 3-D and cone beam), NM, PET
        "1" | "2" | "4" | "12" | "13" | "20" | "128" | "130" => Class::ScanImage,
        "7" => Class::SecondaryCapture,
        // waveforms, presentation states, parametric maps, segmentations, mappings, surfaces, SR, documents, RT
        "9" | "11" | "30" | "66" | "67" | "68" | "88" | "104" | "481" => Class::NotAnImage,
        _ => Class::Unknown,
    }
}

/// Whether the image can be used; the reasons are tried in the order in which people would give them.
pub(crate) fn admit(
    attributes: &Attributes,
    float_pixels: bool,
    flaw: Option<Refusal>,
    file_len: u64,
) -> Result<(), Refusal> {
    check_kind(attributes, float_pixels)?;
    check_transfer_syntax(attributes)?;
    flaw.map_or(Ok(()), Err)?;
    if class_of(&attributes.sop_class_uid) == Class::Unknown && attributes.orientation.is_none() {
        return Err(Refusal::new(
            Reason::NotAnImage,
            "it is of no class of scan images and has no ImageOrientationPatient (0020,0037)",
        ));
    }
    check_pixel_description(attributes)?;
    check_pixel_length(attributes, file_len)
}

fn check_kind(attributes: &Attributes, float_pixels: bool) -> Result<(), Refusal> {
    let class = class_of(&attributes.sop_class_uid);
    let is_document = attributes.sop_class_uid.starts_with("1.2.840.10008.5.1.4.1.1.104.");
    if !attributes.has_pixels() && !float_pixels && !is_document {
        return Err(Refusal::new(Reason::NoPixels, "it has no PixelData (7FE0,0010)"));
    }
    if class == Class::NotAnImage || float_pixels {
        return Err(Refusal::new(Reason::NotAnImage, "its pixels are no grey image of a scan"));
    }
    let is_colour = attributes.samples_per_pixel > 1
        || !matches!(attributes.photometric_interpretation.as_str(), "" | "MONOCHROME1" | "MONOCHROME2");
    if class == Class::SecondaryCapture && (is_colour || is_page(attributes)) {
        return Err(Refusal::new(
            Reason::ReportPage,
            "it is a Secondary Capture: a picture of a page or screen",
        ));
    }
    if attributes.burned_in_annotation {
        return Err(Refusal::new(
            Reason::ReportPage,
            "BurnedInAnnotation (0028,0301) is YES: its text may identify the patient",
        ));
    }
    if is_colour {
        return Err(Refusal::new(Reason::Colour, "its pixels are coloured, not grey"));
    }
    if attributes.number_of_frames != 1 {
        let detail = format!("{} is more than 1; export one file for each slice", tag::NUMBER_OF_FRAMES);
        return Err(Refusal::new(Reason::MultiFrame, detail));
    }
    Ok(())
}

/// A grey Secondary Capture is a reformatted slice, as some workstations write them, only if it lies in the patient.
/// Digitised video, films, paper and drawings never do (ConversionType, PS3.3 C.8.6.1).
fn is_page(attributes: &Attributes) -> bool {
    attributes.orientation.is_none()
        || matches!(attributes.conversion_type.as_str(), "DV" | "DF" | "SD" | "SI" | "DRW")
}

fn check_transfer_syntax(attributes: &Attributes) -> Result<(), Refusal> {
    let uid = &attributes.transfer_syntax_uid;
    let syntax = TransferSyntax::of(uid);
    let (native, has_length) = (syntax.storage == Storage::Native, attributes.pixel_length.is_some());
    // JPEG Extended holds 8 bits or 12, and the decoder knows 8.
    let is_12_bit = uid == JPEG_EXTENDED_UID && attributes.bits_stored > 8;
    if syntax.storage == Storage::Unsupported || is_12_bit {
        let detail = format!(
            "{}: {} ({}) can't be decoded; export it uncompressed",
            tag::TRANSFER_SYNTAX_UID,
            syntax.name,
            printable_uid(uid)
        );
        return Err(Refusal::new(Reason::UnsupportedTransferSyntax, detail));
    }
    if native != has_length {
        let detail = format!("{} is not stored as {} says", tag::PIXEL_DATA, tag::TRANSFER_SYNTAX_UID);
        return Err(Refusal::new(Reason::MalformedAttribute, detail));
    }
    Ok(())
}

fn check_pixel_description(attributes: &Attributes) -> Result<(), Refusal> {
    let malformed =
        |tag: Tag, why: &str| Err(Refusal::new(Reason::MalformedAttribute, format!("{tag} {why}")));
    for (tag, side) in [(tag::ROWS, attributes.rows), (tag::COLUMNS, attributes.columns)] {
        if side == 0 {
            return malformed(tag, "is missing or zero");
        }
        if side > SIDE_LIMIT {
            return Err(Refusal::new(Reason::TooLarge, format!("{tag} is {side}, more than {SIDE_LIMIT}")));
        }
    }
    let (allocated, stored) = (attributes.bits_allocated, attributes.bits_stored);
    if !matches!(allocated, 8 | 16 | 32) {
        return malformed(tag::BITS_ALLOCATED, "is neither 8 nor 16 nor 32");
    }
    if stored == 0 || stored > allocated {
        return malformed(tag::BITS_STORED, "does not fit BitsAllocated");
    }
    if attributes.high_bit >= allocated || attributes.high_bit + 1 < stored {
        return malformed(tag::HIGH_BIT, "does not fit BitsAllocated and BitsStored");
    }
    if attributes.pixel_representation > 1 {
        return malformed(tag::PIXEL_REPRESENTATION, "is neither 0 nor 1");
    }
    Ok(())
}

fn check_pixel_length(attributes: &Attributes, file_len: u64) -> Result<(), Refusal> {
    let (Some(offset), Some(length)) = (attributes.pixel_offset, attributes.pixel_length) else {
        return Ok(());
    };
    let promised =
        u64::from(attributes.rows) * u64::from(attributes.columns) * u64::from(attributes.bits_allocated / 8);
    if length < promised || offset.saturating_add(length) > file_len {
        let detail = format!("{} is shorter than promised; export or copy it again", tag::PIXEL_DATA);
        return Err(Refusal::new(Reason::Truncated, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Attributes {
        Attributes {
            sop_class_uid: "1.2.840.10008.5.1.4.1.1.2".into(),
            transfer_syntax_uid: "1.2.840.10008.1.2.1".into(),
            photometric_interpretation: "MONOCHROME2".into(),
            orientation: Some([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
            rows: 10,
            columns: 10,
            bits_allocated: 16,
            bits_stored: 12,
            high_bit: 11,
            pixel_offset: Some(1000),
            pixel_length: Some(200),
            ..Attributes::default()
        }
    }

    fn secondary_capture(conversion_type: &str) -> Attributes {
        let (sop_class_uid, conversion_type) = ("1.2.840.10008.5.1.4.1.1.7".into(), conversion_type.into());
        Attributes { sop_class_uid, conversion_type, ..image() }
    }

    fn reason(attributes: &Attributes) -> Option<Reason> {
        admit(attributes, false, None, 1200).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn images_of_scans_are_admitted() {
        let class = |uid: &str| Attributes { sop_class_uid: uid.into(), ..image() };
        let cone_beam = class("1.2.840.10008.5.1.4.1.1.13.1.2");
        let private = class("1.3.12.2.1107.5.9.1");
        for attributes in [image(), cone_beam, private, secondary_capture("WSD"), secondary_capture("")] {
            assert_eq!(reason(&attributes), None, "{attributes:?}");
        }
    }

    #[test]
    fn each_kind_of_other_object_has_its_reason() {
        let class = |uid: &str| Attributes { sop_class_uid: uid.into(), ..image() };
        let syntax = |uid: &str| Attributes { transfer_syntax_uid: uid.into(), ..image() };
        let cases = [
            (Attributes { pixel_offset: None, pixel_length: None, ..image() }, Reason::NoPixels),
            (class("1.2.840.10008.5.1.4.1.1.66.4"), Reason::NotAnImage),
            (Attributes { pixel_offset: None, ..class("1.2.840.10008.5.1.4.1.1.104.1") }, Reason::NotAnImage),
            (Attributes { orientation: None, ..class("1.2.3") }, Reason::NotAnImage),
            (Attributes { orientation: None, ..secondary_capture("WSD") }, Reason::ReportPage),
            (Attributes { samples_per_pixel: 3, ..secondary_capture("WSD") }, Reason::ReportPage),
            (secondary_capture("SD"), Reason::ReportPage),
            (Attributes { burned_in_annotation: true, ..image() }, Reason::ReportPage),
            (Attributes { photometric_interpretation: "PALETTE COLOR".into(), ..image() }, Reason::Colour),
            (Attributes { number_of_frames: 2, ..image() }, Reason::MultiFrame),
            (syntax("1.2.840.10008.1.2.4.90"), Reason::UnsupportedTransferSyntax),
            (syntax("1.2.840.10008.1.2.4.70"), Reason::MalformedAttribute),
            (Attributes { bits_stored: 17, ..image() }, Reason::MalformedAttribute),
            (Attributes { high_bit: 10, ..image() }, Reason::MalformedAttribute),
            (Attributes { rows: 8193, ..image() }, Reason::TooLarge),
            (Attributes { rows: 11, ..image() }, Reason::Truncated),
            (Attributes { pixel_length: Some(201), ..image() }, Reason::Truncated),
        ];
        for (attributes, expected) in cases {
            assert_eq!(reason(&attributes), Some(expected), "{attributes:?}");
        }
    }

    #[test]
    fn what_an_object_is_comes_before_what_is_wrong_with_it() {
        let flaw = Refusal::new(Reason::MalformedAttribute, "Rows");
        let colour = Attributes { samples_per_pixel: 3, ..image() };
        assert_eq!(admit(&colour, false, Some(flaw.clone()), 1200).unwrap_err().reason, Reason::Colour);
        assert_eq!(admit(&image(), false, Some(flaw.clone()), 1200), Err(flaw));
    }

    #[test]
    fn no_refusal_repeats_hostile_text() {
        let hostile = Attributes { transfer_syntax_uid: "Miller^Anna".into(), ..image() };
        let refusal = admit(&hostile, false, None, 1200).unwrap_err();
        assert!(!refusal.detail.contains("Miller"), "{}", refusal.detail);
    }
}
