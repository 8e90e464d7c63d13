//! What is left of a file when identity is out of it.

use super::*;
use crate::write::{CtImage, Syntax};
use crate::{HeaderRead, read_header};

const CANARY: &[u8] = b"CANARY^JOHN ";

fn deidentifier() -> Deidentifier {
    Deidentifier::new(&Secret::new([7; 32]))
}

fn attributes_of(file: &[u8]) -> Attributes {
    match read_header(file, file.len() as u64) {
        HeaderRead::Complete(attributes) => *attributes,
        other => panic!("{other:?}"),
    }
}

/// The file with more elements before its pixel data.
fn with_elements(file: &[u8], elements: &[u8]) -> Vec<u8> {
    let is_head =
        |bytes: &[u8]| matches!(bytes, [0xE0, 0x7F, 0x10, 0, b'O', _] | [0x7F, 0xE0, 0, 0x10, b'O', _]);
    let head_length = if file.windows(6).any(is_head) { 12 } else { 8 };
    let at = attributes_of(file).pixel_offset.unwrap() as usize - head_length;
    [&file[..at], elements, &file[at..]].concat()
}

/// An element of each attribute of the table, of whole groups and of private ones, all with the canary.
fn canaries() -> Vec<u8> {
    let mut writer = Writer::new(Encoding::EXPLICIT_LITTLE);
    let named = include_str!("../confidentiality.tsv").lines().filter(|line| !line.starts_with('#'));
    let mut tags: Vec<Tag> = named.map(|line| tag_of(&line[..9])).collect();
    assert_eq!(tags.len(), 621);
    tags.extend([Tag::new(0x0009, 0x0010), Tag::new(0x0029, 0x1010), Tag::new(0x0010, 0x9998)]);
    for tag in tags.into_iter().filter(|tag| tag.group() != 0x0002) {
        match expected_vr(tag, false).unwrap_or(*b"LO") {
            vr if vr == *b"SQ" => {
                writer.head(tag, vr, UNDEFINED);
                writer.head(tag::ITEM, vr, UNDEFINED);
                writer.put(tag::PATIENT_NAME, *b"PN", CANARY);
                writer.put(Tag::new(0x0009, 0x1001), *b"LO", CANARY);
                writer.head(tag::ITEM_DELIMITATION, vr, 0);
                writer.head(tag::SEQUENCE_DELIMITATION, vr, 0);
            }
            vr => writer.put(tag, vr, CANARY),
        }
    }
    writer.bytes
}

fn tag_of(text: &str) -> Tag {
    let text = text.replace("oooo", "0011").replace('x', "0");
    let (group, element) = text.split_once(',').unwrap();
    Tag::new(u16::from_str_radix(group, 16).unwrap(), u16::from_str_radix(element, 16).unwrap())
}

#[test]
fn no_identity_survives_from_any_attribute_of_the_table() {
    let image = CtImage {
        patient_name: "CANARY^JOHN".into(),
        patient_id: "CANARY^JOHN".into(),
        ..CtImage::default()
    };
    let file = with_elements(&image.to_bytes(Syntax::ExplicitLittle), &canaries());
    let clean = deidentifier().apply(&file).unwrap();
    assert!(file.windows(6).filter(|w| w == b"CANARY").count() > 620);
    assert!(!clean.windows(6).any(|w| w == b"CANARY"));
    assert!(!clean.windows(4).any(|w| w == b"JOHN"));
    let attributes = attributes_of(&clean);
    assert_eq!(attributes.patient_id, Secret::new([7; 32]).patient("CANARY^JOHN").as_str());
}

#[test]
fn no_identity_survives_in_a_value_of_what_may_stay() {
    let mut writer = Writer::new(Encoding::EXPLICIT_LITTLE);
    for tag in crate::confidentiality::KEPT.iter().filter(|tag| tag.group() != 0x0028) {
        match expected_vr(*tag, false).unwrap() {
            vr if vr == *b"SQ" => {
                writer.head(*tag, vr, UNDEFINED);
                writer.head(tag::ITEM, vr, UNDEFINED);
                writer.put(Tag::new(0x0028, 0x1054), *b"LO", b"Canary");
                writer.put(tag::RESCALE_INTERCEPT, *b"LT", b"Canary");
                writer.head(tag::ITEM_DELIMITATION, vr, 0);
                writer.head(tag::SEQUENCE_DELIMITATION, vr, 0);
            }
            vr if matches!(*tag, tag::IMAGE_ORIENTATION_PATIENT | tag::IMAGE_POSITION_PATIENT) => {
                writer.put(*tag, vr, b"");
            }
            vr => writer.put(*tag, vr, b"Canary"),
        }
    }
    writer.put(tag::SOP_CLASS_UID, *b"UI", b"1.2.840.10008.5.1.4.1.1.2.Canary");
    let file = with_elements(&CtImage::default().to_bytes(Syntax::ExplicitLittle), &writer.bytes);
    let clean = deidentifier().apply(&file).unwrap();
    assert!(!clean.windows(6).any(|w| w == b"Canary"));
}

#[test]
fn pixels_and_geometry_stay_whatever_the_syntax() {
    let image = CtImage {
        rows: 2,
        columns: 2,
        pixels: vec![-1000, 0, 7, 3000],
        signed: true,
        window: Some((300.0, 2000.0)),
        rescale_intercept: -24.0,
        orientation: Some([1.0, 0.0, 0.0, 0.0, 0.0, -1.0]),
        ..CtImage::default()
    };
    let reference = deidentifier().apply(&image.to_bytes(Syntax::ExplicitLittle)).unwrap();
    for syntax in [Syntax::ImplicitLittle, Syntax::ExplicitBig] {
        assert_eq!(deidentifier().apply(&image.to_bytes(syntax)).unwrap(), reference, "{syntax:?}");
    }
    let before = decode(&image.to_bytes(Syntax::ExplicitLittle)).unwrap();
    let after = decode(&reference).unwrap();
    assert_eq!(before.stored, after.stored);
    assert_eq!(before.pixel_digest(), after.pixel_digest());
    assert_eq!(before.voi(), after.voi());
    assert_eq!(before.attributes.orientation, after.attributes.orientation);
    assert_eq!(before.attributes.pixel_spacing, after.attributes.pixel_spacing);
}

/// A Modality LUT or VOI LUT sequence of one item, as a writer with a mind of its own has it.
fn table(
    writer: &mut Writer,
    sequence: Tag,
    (descriptor, data): (&[u16], &[u8]),
    (vr, inner): (Vr, Encoding),
) {
    let mut item = Writer::new(inner);
    let bytes = |words: &[u16]| -> Vec<u8> {
        let of = |word: &u16| if inner.big_endian { word.to_be_bytes() } else { word.to_le_bytes() };
        words.iter().flat_map(of).collect()
    };
    item.put(tag::LUT_DESCRIPTOR, *b"US", &bytes(descriptor));
    item.put(tag::LUT_DATA, vr, data);
    writer.head(sequence, if inner == writer.encoding { *b"SQ" } else { *b"UN" }, UNDEFINED);
    for (tag, bytes) in [(tag::ITEM, &item.bytes), (tag::SEQUENCE_DELIMITATION, &Vec::new())] {
        let mut head = Writer::new(inner);
        head.head(tag, *b"  ", bytes.len() as u32);
        writer.bytes.extend([head.bytes, bytes.clone()].concat());
    }
}

#[test]
fn tables_stay_what_they_were_however_they_were_written() {
    let image = CtImage { rows: 1, columns: 4, pixels: vec![0, 1, 2, 3], ..CtImage::default() };
    let (little, big) = (Encoding::EXPLICIT_LITTLE, Encoding::EXPLICIT_BIG);
    let cases: [(Syntax, &[u8], Vr, Encoding); 5] = [
        (Syntax::ExplicitLittle, &[9, 50, 100, 200], *b"OB", little),
        (Syntax::ExplicitLittle, &[9, 50, 100, 200], *b"OW", little),
        (Syntax::ExplicitLittle, &[9, 0, 50, 0, 100, 0, 200, 0], *b"US", little),
        (Syntax::ExplicitBig, &[50, 9, 200, 100], *b"OW", big),
        (Syntax::ExplicitLittle, &[9, 0, 50, 0, 100, 0, 200, 0], *b"OW", Encoding::IMPLICIT_LITTLE),
    ];
    for sequence in [tag::MODALITY_LUT_SEQUENCE, tag::VOI_LUT_SEQUENCE] {
        for (syntax, data, vr, inner) in cases {
            let mut writer = Writer::new(if syntax == Syntax::ExplicitBig { big } else { little });
            table(&mut writer, sequence, (&[4, 0, 8], data), (vr, inner));
            let file = with_elements(&image.to_bytes(syntax), &writer.bytes);
            let (before, after) =
                (decode(&file).unwrap(), decode(&deidentifier().apply(&file).unwrap()).unwrap());
            let look = |instance: &Instance| (instance.modality_values(), instance.voi());
            assert_eq!(look(&before), look(&after), "{syntax:?} {vr:?}");
            assert_eq!(before.picture(), after.picture());
            let table = [&after.modality_lut, &after.voi_lut].into_iter().flatten().next().unwrap();
            assert_eq!(table.entries, [9, 50, 100, 200], "{syntax:?} {vr:?}");
        }
    }
}

#[test]
fn padding_and_readable_windows_stay() {
    let image = CtImage { rows: 1, columns: 2, pixels: vec![-2000, 5], signed: true, ..CtImage::default() };
    let mut writer = Writer::new(Encoding::EXPLICIT_LITTLE);
    writer.us(tag::PIXEL_PADDING_VALUE, 0xF830);
    writer.text(tag::WINDOW_CENTER, *b"DS", "none\\300");
    writer.text(tag::WINDOW_WIDTH, *b"DS", "400\\2000");
    let clean = deidentifier().apply(&with_elements(&image.to_bytes(Syntax::ExplicitLittle), &writer.bytes));
    let attributes = attributes_of(&clean.unwrap());
    assert_eq!(attributes.padding(), Some(-2000..=-2000));
    assert_eq!((attributes.window_centers, attributes.window_widths), (vec![300.0], vec![2000.0]));
}

#[test]
fn uids_and_dates_change_by_key_and_stay_related() {
    let of = |date: &str, uid: &str, secret: u8| {
        let image = CtImage { date: date.into(), sop_instance_uid: uid.into(), ..CtImage::default() };
        Deidentifier::new(&Secret::new([secret; 32])).apply(&image.to_bytes(Syntax::ExplicitLittle)).unwrap()
    };
    let date = |file: &[u8]| {
        let at = file.windows(6).position(|w| w == [8, 0, 0x20, 0, b'D', b'A']).unwrap();
        NaiveDate::parse_from_str(std::str::from_utf8(&file[at + 8..at + 16]).unwrap(), "%Y%m%d").unwrap()
    };
    let (one, later) = (of("20200228", "2.25.11", 1), of("20200301", "2.25.12", 1));
    assert_eq!((date(&later) - date(&one)).num_days(), 2);
    assert!(date(&one) < NaiveDate::from_ymd_opt(2020, 2, 28).unwrap());
    assert_ne!(date(&of("20200228", "2.25.11", 2)), date(&one));
    assert_ne!(attributes_of(&one).sop_instance_uid, attributes_of(&later).sop_instance_uid);
    assert_eq!(attributes_of(&one).series_instance_uid, attributes_of(&later).series_instance_uid);
    assert_eq!(
        attributes_of(&one).sop_instance_uid,
        Deidentifier::new(&Secret::new([1; 32])).map_uid("2.25.11")
    );
    assert!(attributes_of(&one).sop_instance_uid.len() <= 64);
}

#[test]
fn what_is_no_image_is_not_let_through() {
    assert_eq!(deidentifier().apply(b"").unwrap_err().reason, Reason::Empty);
}
