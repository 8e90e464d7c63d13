//! Bad input: cut, flipped, nested without end, promising what it doesn't hold. Nothing panics, and each file gets a reason.

use modiolus_dicom::write::{CtImage, Syntax};
use modiolus_dicom::{Deidentifier, HeaderRead, decode, read_header};
use modiolus_pipeline::{Reason, Secret};
use proptest::prelude::*;

const SYNTAXES: [Syntax; 3] = [Syntax::ExplicitLittle, Syntax::ImplicitLittle, Syntax::ExplicitBig];

fn image() -> CtImage {
    CtImage {
        rows: 4,
        columns: 6,
        pixels: (0..24).collect(),
        window: Some((10.0, 20.0)),
        orientation: Some([1.0, 0.0, 0.0, 0.0, 0.0, -1.0]),
        ..CtImage::default()
    }
}

fn reason_of(file: &[u8]) -> Option<Reason> {
    match read_header(file, file.len() as u64) {
        HeaderRead::Complete(_) => None,
        HeaderRead::Refused { refusal, .. } => Some(refusal.reason),
        HeaderRead::NeedMore { .. } => panic!("more is asked for than the file has"),
    }
}

/// The image's file, with these bytes before its pixel data (all syntaxes but Implicit have 12 bytes of head there).
fn with_elements(file: &[u8], elements: &[u8]) -> Vec<u8> {
    let HeaderRead::Complete(attributes) = read_header(file, file.len() as u64) else {
        panic!("not an image")
    };
    let at = attributes.pixel_offset.unwrap() as usize - 12;
    [&file[..at], elements, &file[at..]].concat()
}

/// The image's file with the value of a US attribute replaced.
fn with_us(file: &[u8], tag: [u8; 4], value: u16) -> Vec<u8> {
    let at = file.windows(6).position(|w| w == [tag[0], tag[1], tag[2], tag[3], b'U', b'S']).unwrap();
    let mut file = file.to_vec();
    file[at + 8..at + 10].copy_from_slice(&value.to_le_bytes());
    file
}

#[test]
fn every_prefix_of_a_file_is_truncated_or_ends_before_the_pixels() {
    for syntax in SYNTAXES {
        let file = image().to_bytes(syntax);
        assert_eq!(reason_of(&file), None);
        for length in 0..file.len() {
            let reason = reason_of(&file[..length]).unwrap_or_else(|| panic!("{length} bytes of {syntax:?}"));
            let expected = match length {
                0 => reason == Reason::Empty,
                // Cut exactly between two elements, it is a data set without pixels; nothing in it says otherwise.
                _ => matches!(reason, Reason::Truncated | Reason::NoPixels),
            };
            assert!(expected, "{length} bytes of {syntax:?}: {reason}");
            assert_eq!(decode(&file[..length]).unwrap_err().reason, reason);
        }
    }
}

#[test]
fn a_data_set_without_preamble_and_meta_information_is_read() {
    for syntax in SYNTAXES {
        let file = image().to_bytes(syntax);
        let meta_length = u32::from_le_bytes(file[140..144].try_into().unwrap()) as usize;
        let bare = &file[144 + meta_length..];
        assert_eq!(
            decode(bare).map(|instance| instance.stored),
            decode(&file).map(|instance| instance.stored)
        );
    }
    assert_eq!(reason_of(b"exported for teaching, see disc 3\n"), Some(Reason::NotDicom));
}

#[test]
fn few_prefixes_end_between_two_elements() {
    let file = image().to_bytes(Syntax::ExplicitLittle);
    let between =
        (0..file.len()).filter(|length| reason_of(&file[..*length]) == Some(Reason::NoPixels)).count();
    let elements = dicom_object::from_reader(&file[..]).unwrap().iter().count();
    assert_eq!(between, elements - 1, "one for each element of the data set before the pixels");
}

#[test]
fn a_prefix_read_by_range_asks_for_more_until_it_has_the_header() {
    // A private value of 100,000 bytes stands before the pixels.
    let mut element = vec![0x29, 0x00, 0x10, 0x10, b'O', b'B', 0, 0];
    element.extend_from_slice(&100_000_u32.to_le_bytes());
    element.extend(vec![1; 100_000]);
    let file = with_elements(&image().to_bytes(Syntax::ExplicitLittle), &element);
    let (mut up_to, mut reads) = (1, 0);
    let attributes = loop {
        reads += 1;
        match read_header(&file[..up_to], file.len() as u64) {
            HeaderRead::Complete(attributes) => break attributes,
            HeaderRead::NeedMore { up_to: next } => {
                assert!(next > up_to as u64 && next <= file.len() as u64);
                up_to = next as usize;
            }
            HeaderRead::Refused { refusal, .. } => panic!("{refusal}"),
        }
    };
    assert_eq!(attributes.rows, 4);
    assert!(reads <= 4, "{reads} reads");
}

#[test]
fn nesting_without_end_is_refused_and_not_followed() {
    let level = [
        &[0x08, 0x00, 0x40, 0x11, b'S', b'Q', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF][..],
        &[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF],
    ]
    .concat();
    for depth in [17, 100_000] {
        let file = with_elements(&image().to_bytes(Syntax::ExplicitLittle), &level.repeat(depth));
        assert_eq!(reason_of(&file), Some(Reason::TooLarge), "{depth} levels");
        assert_eq!(decode(&file).unwrap_err().reason, Reason::TooLarge);
    }
    let shallow = [
        level.repeat(9),
        [[0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0], [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]].concat().repeat(9),
    ];
    assert_eq!(reason_of(&with_elements(&image().to_bytes(Syntax::ExplicitLittle), &shallow.concat())), None);
}

#[test]
fn sizes_that_promise_gigabytes_are_refused_before_anything_is_allocated() {
    let file = image().to_bytes(Syntax::ExplicitLittle);
    let (rows, columns) = ([0x28, 0, 0x10, 0], [0x28, 0, 0x11, 0]);
    let huge = with_us(&with_us(&file, rows, 0xFFFF), columns, 0xFFFF);
    assert_eq!(decode(&huge).unwrap_err().reason, Reason::TooLarge);
    let larger_than_its_pixels = with_us(&file, rows, 8192);
    assert_eq!(decode(&larger_than_its_pixels).unwrap_err().reason, Reason::Truncated);
    let no_rows = with_us(&file, rows, 0);
    let refusal = decode(&no_rows).unwrap_err();
    assert_eq!(refusal.reason, Reason::MalformedAttribute);
    assert!(refusal.detail.contains("Rows (0028,0010)"));
}

#[test]
fn a_header_of_more_than_64_mib_is_refused() {
    // The file is as long as the value promises, so only the limit stops the reading.
    let start = image().to_bytes(Syntax::ExplicitLittle);
    let meta_length = u32::from_le_bytes(start[140..144].try_into().unwrap()) as usize;
    let mut file = start[..144 + meta_length].to_vec();
    file.extend_from_slice(&[0x09, 0x00, 0x10, 0x10, b'O', b'B', 0, 0]);
    file.extend_from_slice(&(200_u32 << 20).to_le_bytes());
    match read_header(&file, 300 << 20) {
        HeaderRead::Refused { refusal, .. } => assert_eq!(refusal.reason, Reason::TooLarge),
        other => panic!("{other:?}"),
    }
}

#[test]
fn malformed_orientations_are_named() {
    for bad in ["1\\0\\0\\0\\0", "1\\0\\0\\0\\0\\-1\\0", "left\\0\\0\\0\\0\\-1", "1,0\\0\\0\\0\\0\\-1"] {
        let mut element = vec![0x20, 0x00, 0x37, 0x00, b'D', b'S', (bad.len() + bad.len() % 2) as u8, 0];
        element.extend_from_slice(bad.as_bytes());
        element.extend(std::iter::repeat_n(b' ', bad.len() % 2));
        let file = with_elements(&image().to_bytes(Syntax::ExplicitLittle), &element);
        let HeaderRead::Refused { refusal, attributes } = read_header(&file, file.len() as u64) else {
            panic!("{bad}")
        };
        assert_eq!(refusal.reason, Reason::MalformedAttribute, "{bad}");
        assert!(refusal.detail.contains("ImageOrientationPatient (0020,0037)"), "{}", refusal.detail);
        assert!(attributes.is_some_and(|attributes| attributes.rows == 4));
    }
}

#[test]
fn patient_ids_of_every_kind_are_kept_apart_and_never_shown() {
    let ids =
        ["../../etc/passwd", "a/b\\c", "a\0b", "Иванов-207", &"9".repeat(10_000), &"9".repeat(10_001), ""];
    let mut seen = std::collections::BTreeSet::new();
    for id in ids {
        let file = CtImage { patient_id: id.into(), ..image() }.to_bytes(Syntax::ExplicitLittle);
        let HeaderRead::Complete(attributes) = read_header(&file, file.len() as u64) else {
            panic!("refused")
        };
        assert!(attributes.patient_id.len() <= 256);
        assert!(id.is_empty() || !format!("{attributes:?}").contains(&attributes.patient_id));
        assert!(seen.insert(attributes.patient_id));
        let clean = Deidentifier::new(&Secret::new([1; 32])).apply(&file).unwrap();
        assert!(
            id.is_empty()
                || !clean.windows(id.len().min(9)).any(|w| id.as_bytes().starts_with(w) && w.len() > 2)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic(
        syntax in 0..3_usize,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = image().to_bytes(SYNTAXES[syntax]);
        for (at, byte) in flips {
            let at = 128 + at.index(file.len() - 128);
            file[at] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let header = read_header(&file, file.len() as u64);
        let needs_more = matches!(header, HeaderRead::NeedMore { .. });
        prop_assert!(!needs_more);
        let decoded = decode(&file);
        if let Ok(instance) = &decoded {
            prop_assert_eq!(instance.stored.len(), (instance.attributes.rows * instance.attributes.columns) as usize);
            prop_assert!(instance.stored.len() <= file.len());
            let _ = (instance.modality_values(), instance.voi());
        }
        if let Ok(clean) = Deidentifier::new(&Secret::new([1; 32])).apply(&file) {
            prop_assert_eq!(decode(&clean).map(|i| i.stored), decoded.map(|i| i.stored));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), file_len in any::<u64>()) {
        let mut file = vec![0; 128];
        file.extend_from_slice(b"DICM");
        file.extend_from_slice(&bytes);
        let _ = read_header(&file, file_len);
        let _ = read_header(&bytes, file_len);
        let _ = decode(&file);
        let _ = decode(&bytes);
    }
}
