//! Masks as DICOM files that viewers and archives take: one binary segment on the grid of the slice that it was drawn on.
//! Sources: PS3.3 section A.51 (Segmentation IOD), C.8.20 (its modules), C.7.6.16 (functional groups).
//!
//! A file says which slice it belongs to, lies in the same study and frame of reference, and has the same bytes for the same
//! slice, mask and algorithm: its UIDs follow from theirs, its date is the slice's.

use modiolus_imaging::Mask;
use modiolus_pipeline::Digest;

use crate::attributes::Attributes;
use crate::data_set::{Content, Elements, write_elements};
use crate::deidentify::method;
use crate::element::{Encoding, Stop, UNDEFINED, Vr};
use crate::header::{HeaderRead, open, read_header};
use crate::tag::{self, Tag};
use crate::transfer::EXPLICIT_LITTLE_UID;
use crate::write::{Writer, derived_uid, part10};

/// Segmentation Storage.
const SEGMENTATION_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.66.4";

/// The names of things, all by PS3.16: what a segment is, how it was made, why it names its source.
const PHYSICAL_OBJECT: (&str, &str, &str) = ("260787004", "SCT", "Physical object");
const COCHLEAR_PROSTHESIS: (&str, &str, &str) = ("43252007", "SCT", "Cochlear prosthesis");
const SEGMENTATION: (&str, &str, &str) = ("113076", "DCM", "Segmentation");
const SOURCE_IMAGE: (&str, &str, &str) = ("121322", "DCM", "Source image for image processing operation");

/// Where the numbers of series of masks begin, far beyond those of scans.
const FIRST_SERIES_NUMBER: i64 = 10_000;

/// What patient, study and frame of reference are the slice's, as its file says it. Readers expect all of them, be they empty.
const INHERITED: [(Tag, Vr); 12] = [
    (Tag::new(0x0008, 0x0020), *b"DA"), // StudyDate
    (Tag::new(0x0008, 0x0030), *b"TM"), // StudyTime
    (Tag::new(0x0008, 0x0050), *b"SH"), // AccessionNumber
    (Tag::new(0x0008, 0x0090), *b"PN"), // ReferringPhysicianName
    (tag::PATIENT_NAME, *b"PN"),
    (tag::PATIENT_ID, *b"LO"),
    (Tag::new(0x0010, 0x0030), *b"DA"), // PatientBirthDate
    (Tag::new(0x0010, 0x0040), *b"CS"), // PatientSex
    (tag::STUDY_INSTANCE_UID, *b"UI"),
    (Tag::new(0x0020, 0x0010), *b"SH"), // StudyID
    (FRAME_OF_REFERENCE_UID, *b"UI"),
    (Tag::new(0x0020, 0x1040), *b"LO"), // PositionReferenceIndicator
];

const FRAME_OF_REFERENCE_UID: Tag = Tag::new(0x0020, 0x0052);

/// When the picture of a slice was made, the best known first: content, acquisition, series, study.
const DATES: [Tag; 4] =
    [Tag::new(0x0008, 0x0023), Tag::new(0x0008, 0x0022), Tag::new(0x0008, 0x0021), Tag::new(0x0008, 0x0020)];

/// What a de-identified slice says of itself.
pub struct Slice {
    attributes: Attributes,
    orientation: [f64; 6],
    position: [f64; 3],
    spacing: [f64; 2],
    inherited: Inherited,
}

/// What a segmentation takes over from its slice.
#[derive(Default)]
struct Inherited {
    elements: Vec<(Tag, Vr, Vec<u8>)>,
    character_set: Option<Vec<u8>>,
    thickness: Option<Vec<u8>>,
    /// The days in [`DATES`].
    days: [Option<Vec<u8>>; DATES.len()],
}

/// What the first bytes of a slice's file say.
pub enum SliceRead {
    /// Enough.
    Complete(Box<Slice>),
    /// Too little: read so many bytes.
    NeedMore {
        /// How many bytes from the start of the file.
        up_to: u64,
    },
    /// No segmentation can be made for it: it does not say where it lies, or how large its pixels are.
    Unplaced,
}

impl Slice {
    /// Reads a de-identified file of `file_len` bytes from its first bytes.
    pub fn read(prefix: &[u8], file_len: u64) -> SliceRead {
        let attributes = match read_header(prefix, file_len) {
            HeaderRead::Complete(attributes) => *attributes,
            HeaderRead::NeedMore { up_to } => return SliceRead::NeedMore { up_to },
            HeaderRead::Refused { .. } => return SliceRead::Unplaced,
        };
        let (Some(orientation), Some(position), Some(spacing)) =
            (attributes.orientation, attributes.position, attributes.pixel_spacing)
        else {
            return SliceRead::Unplaced;
        };
        let Ok(inherited) = Inherited::read(prefix, file_len) else { return SliceRead::Unplaced };
        let lies_in = |(tag, _, uid): &(Tag, Vr, Vec<u8>)| *tag == FRAME_OF_REFERENCE_UID && !uid.is_empty();
        if !inherited.elements.iter().any(lies_in) {
            return SliceRead::Unplaced;
        }
        SliceRead::Complete(Box::new(Self { attributes, orientation, position, spacing, inherited }))
    }

    /// The file of a mask that an algorithm drew on this slice; `None` where the mask has another size. `algorithm` is its
    /// name and `version` tells it from all others: together they stand for what was drawn.
    pub fn segmentation(&self, mask: &Mask, algorithm: &str, version: &str) -> Option<Vec<u8>> {
        let size = (self.attributes.rows as usize, self.attributes.columns as usize);
        if mask.size() != size {
            return None;
        }
        let uid = |of: &str, what: &str| uid(&[what, of, algorithm, version]);
        let instance = uid(&self.attributes.sop_instance_uid, "segmentation");
        let mut elements = method();
        elements.extend(self.general(&instance, &uid(&self.attributes.series_instance_uid, "series")));
        elements.extend(equipment(version));
        elements.extend(self.image());
        elements.insert(Tag::new(0x0062, 0x0002), segment(algorithm, version));
        elements.extend(self.functional_groups());
        elements.extend(dimensions(&uid(&self.attributes.series_instance_uid, "dimensions")));
        elements.extend(self.inherited.elements());
        let mut writer = Writer::new(Encoding::EXPLICIT_LITTLE);
        write_elements(&elements, &mut writer);
        writer.put(tag::PIXEL_DATA, *b"OB", &packed(mask.values()));
        Some(part10(SEGMENTATION_STORAGE, &instance, EXPLICIT_LITTLE_UID, &writer.bytes))
    }

    /// What and whose it is (SOP Common, Segmentation Series, Common Instance Reference).
    fn general(&self, instance: &str, series: &str) -> Elements {
        let number = self.attributes.series_number.unwrap_or(0).clamp(0, FIRST_SERIES_NUMBER - 1);
        let referenced = Content::item([
            (Tag::new(0x0008, 0x114A), Content::Items(vec![self.reference()])),
            (tag::SERIES_INSTANCE_UID, Content::text(*b"UI", &self.attributes.series_instance_uid)),
        ]);
        Elements::from([
            (tag::SOP_CLASS_UID, Content::text(*b"UI", SEGMENTATION_STORAGE)),
            (tag::SOP_INSTANCE_UID, Content::text(*b"UI", instance)),
            (Tag::new(0x0008, 0x0023), Content::Value(*b"DA", self.inherited.day())),
            (Tag::new(0x0008, 0x0033), Content::text(*b"TM", "000000")),
            (tag::MODALITY, Content::text(*b"CS", "SEG")),
            (Tag::new(0x0008, 0x103E), Content::text(*b"LO", "Electrode array")),
            (Tag::new(0x0008, 0x1115), referenced),
            (tag::SERIES_INSTANCE_UID, Content::text(*b"UI", series)),
            (tag::SERIES_NUMBER, Content::text(*b"IS", &(FIRST_SERIES_NUMBER + number).to_string())),
            (
                tag::INSTANCE_NUMBER,
                Content::text(*b"IS", &self.attributes.instance_number.unwrap_or(1).max(0).to_string()),
            ),
        ])
    }

    /// Which file the slice is.
    fn reference(&self) -> Elements {
        Elements::from([
            (Tag::new(0x0008, 0x1150), Content::text(*b"UI", &self.attributes.sop_class_uid)),
            (Tag::new(0x0008, 0x1155), Content::text(*b"UI", &self.attributes.sop_instance_uid)),
        ])
    }

    /// How the pixels are to be read (Image Pixel, Segmentation Image).
    fn image(&self) -> Elements {
        let side = |pixels: u32| Content::us(u16::try_from(pixels).unwrap_or(u16::MAX));
        Elements::from([
            (tag::IMAGE_TYPE, Content::text(*b"CS", "DERIVED\\PRIMARY")),
            (tag::SAMPLES_PER_PIXEL, Content::us(1)),
            (tag::PHOTOMETRIC_INTERPRETATION, Content::text(*b"CS", "MONOCHROME2")),
            (tag::NUMBER_OF_FRAMES, Content::text(*b"IS", "1")),
            (tag::ROWS, side(self.attributes.rows)),
            (tag::COLUMNS, side(self.attributes.columns)),
            (tag::BITS_ALLOCATED, Content::us(1)),
            (tag::BITS_STORED, Content::us(1)),
            (tag::HIGH_BIT, Content::us(0)),
            (tag::PIXEL_REPRESENTATION, Content::us(0)),
            (Tag::new(0x0028, 0x2110), Content::text(*b"CS", "00")), // LossyImageCompression
            (Tag::new(0x0062, 0x0001), Content::text(*b"CS", "BINARY")), // SegmentationType
            (Tag::new(0x0062, 0x0013), Content::text(*b"CS", "NO")), // SegmentsOverlap
            (Tag::new(0x0070, 0x0080), Content::text(*b"CS", "ELECTRODE_ARRAY")), // ContentLabel
            (Tag::new(0x0070, 0x0081), Content::text(*b"LO", "Electrode array of a cochlear implant")),
            (Tag::new(0x0070, 0x0084), Content::text(*b"PN", "Modiolus^infer")), // ContentCreatorName
        ])
    }

    /// Where the frame lies, what it shows and what it was made from.
    fn functional_groups(&self) -> Elements {
        let mut measures = Elements::from([(tag::PIXEL_SPACING, Content::decimals(&self.spacing))]);
        if let Some(thickness) = &self.inherited.thickness {
            measures.insert(tag::SLICE_THICKNESS, Content::Value(*b"DS", thickness.clone()));
        }
        let orientation = (tag::IMAGE_ORIENTATION_PATIENT, Content::decimals(&self.orientation));
        let shared = Content::item([
            (tag::PIXEL_MEASURES_SEQUENCE, Content::Items(vec![measures])),
            (tag::PLANE_ORIENTATION_SEQUENCE, Content::item([orientation])),
            // Which segment, by its number.
            (SEGMENT_IDENTIFICATION, Content::item([(SEGMENT_NUMBER_HERE, Content::us(1))])),
        ]);
        let mut source = self.reference();
        source.insert(Tag::new(0x0040, 0xA170), Content::code(SOURCE_IMAGE));
        source.insert(Tag::new(0x0028, 0x135A), Content::text(*b"CS", "YES")); // SpatialLocationsPreserved
        let derivation = Content::item([
            (Tag::new(0x0008, 0x2112), Content::Items(vec![source])),
            (Tag::new(0x0008, 0x9215), Content::code(SEGMENTATION)),
        ]);
        let position = (tag::IMAGE_POSITION_PATIENT, Content::decimals(&self.position));
        let indices: Vec<u8> = [1_u32, 1].iter().flat_map(|index| index.to_le_bytes()).collect();
        let per_frame = Content::item([
            (Tag::new(0x0008, 0x9124), derivation),
            (
                Tag::new(0x0020, 0x9111),
                Content::item([(Tag::new(0x0020, 0x9157), Content::Value(*b"UL", indices))]),
            ),
            (tag::PLANE_POSITION_SEQUENCE, Content::item([position])),
        ]);
        Elements::from([
            (tag::SHARED_FUNCTIONAL_GROUPS, shared),
            (tag::PER_FRAME_FUNCTIONAL_GROUPS, per_frame),
        ])
    }
}

/// ReferencedSegmentNumber, and the functional group that it stands in.
const SEGMENT_NUMBER_HERE: Tag = Tag::new(0x0062, 0x000B);
const SEGMENT_IDENTIFICATION: Tag = Tag::new(0x0062, 0x000A);

impl Inherited {
    fn read(prefix: &[u8], file_len: u64) -> Result<Self, Stop> {
        let mut reader = open(prefix, file_len, drop)?;
        let mut inherited = Self::default();
        while let Some(head) = reader.next_head()?.filter(|head| head.tag != tag::PIXEL_DATA) {
            if head.length == UNDEFINED {
                reader.skip(&head, 0)?;
            } else {
                inherited.take(head.tag, reader.value(&head)?);
            }
        }
        Ok(inherited)
    }

    fn take(&mut self, tag: Tag, value: &[u8]) {
        if let Some((_, vr)) = INHERITED.iter().find(|(inherited, _)| *inherited == tag) {
            self.elements.push((tag, *vr, value.to_vec()));
        }
        match tag {
            tag::SPECIFIC_CHARACTER_SET => self.character_set = Some(value.to_vec()),
            tag::SLICE_THICKNESS => self.thickness = Some(value.to_vec()),
            _ => {}
        }
        if let Some(rank) = DATES.iter().position(|date| *date == tag)
            && !value.is_empty()
        {
            self.days[rank] = Some(value.to_vec());
        }
    }

    fn elements(&self) -> Elements {
        let mut elements: Elements =
            INHERITED.iter().map(|(tag, vr)| (*tag, Content::text(*vr, ""))).collect();
        let found = self.elements.iter().map(|(tag, vr, value)| (*tag, Content::Value(*vr, value.clone())));
        elements.extend(found);
        let set = self.character_set.iter();
        elements.extend(set.map(|set| (tag::SPECIFIC_CHARACTER_SET, Content::Value(*b"CS", set.clone()))));
        elements
    }

    /// When the picture was made; as everywhere where a date has to be and none is known, the year 1900.
    fn day(&self) -> Vec<u8> {
        self.days.iter().flatten().next().map_or_else(|| b"19000101".to_vec(), Clone::clone)
    }
}

/// Who made it (General and Enhanced General Equipment).
fn equipment(version: &str) -> Elements {
    Elements::from([
        (Tag::new(0x0008, 0x0070), Content::text(*b"LO", "Modiolus")),
        (Tag::new(0x0008, 0x1090), Content::text(*b"LO", "modiolus-infer")),
        (Tag::new(0x0018, 0x1000), Content::text(*b"LO", "none")), // DeviceSerialNumber: a program has none
        (Tag::new(0x0018, 0x1020), Content::text(*b"LO", version)),
    ])
}

/// What the one segment is (Segment Description).
fn segment(algorithm: &str, version: &str) -> Content {
    Content::item([
        (Tag::new(0x0062, 0x0003), Content::code(PHYSICAL_OBJECT)),
        (Tag::new(0x0062, 0x0004), Content::us(1)),
        (Tag::new(0x0062, 0x0005), Content::text(*b"LO", "Electrode array")),
        (Tag::new(0x0062, 0x0008), Content::text(*b"CS", "AUTOMATIC")),
        (Tag::new(0x0062, 0x0009), Content::text(*b"LO", &format!("{algorithm} {version}"))),
        (Tag::new(0x0062, 0x000F), Content::code(COCHLEAR_PROSTHESIS)),
    ])
}

/// In which order frames would lie, were there more (Multi-frame Dimension): by segment, then by position.
fn dimensions(uid: &str) -> Elements {
    let organization = Tag::new(0x0020, 0x9164);
    let pointer = |tag: Tag| {
        let halves = [tag.group().to_le_bytes(), tag.element().to_le_bytes()];
        Content::Value(*b"AT", halves.concat())
    };
    let dimension = |group: Tag, of: Tag, label: &str| {
        Elements::from([
            (organization, Content::text(*b"UI", uid)),
            (Tag::new(0x0020, 0x9165), pointer(of)),
            (Tag::new(0x0020, 0x9167), pointer(group)),
            (Tag::new(0x0020, 0x9421), Content::text(*b"LO", label)),
        ])
    };
    let by_segment = dimension(SEGMENT_IDENTIFICATION, SEGMENT_NUMBER_HERE, "Segment");
    let by_position = dimension(tag::PLANE_POSITION_SEQUENCE, tag::IMAGE_POSITION_PATIENT, "Position");
    Elements::from([
        (Tag::new(0x0020, 0x9221), Content::item([(organization, Content::text(*b"UI", uid))])),
        (Tag::new(0x0020, 0x9222), Content::Items(vec![by_segment, by_position])),
    ])
}

/// Eight pixels a byte, the first in the lowest bit (PS3.5 section 8.1.1 and annex D).
fn packed(pixels: &[bool]) -> Vec<u8> {
    let byte = |eight: &[bool]| eight.iter().rev().fold(0, |byte, &set| byte << 1 | u8::from(set));
    pixels.chunks(8).map(byte).collect()
}

/// A UID that follows from what it stands for.
fn uid(parts: &[&str]) -> String {
    derived_uid(&Digest::of_json(&parts))
}

#[cfg(test)]
mod tests {
    use dicom_core::Tag as Number;
    use dicom_dictionary_std::tags;
    use dicom_object::{InMemDicomObject, from_reader};
    use modiolus_pipeline::Secret;

    use super::*;
    use crate::Deidentifier;
    use crate::write::{CtImage, Syntax};

    fn scan() -> CtImage {
        CtImage {
            patient_id: "JANE-4711".into(),
            sop_instance_uid: "1.2.840.99999.207".into(),
            patient_name: "Doe^Jane".into(),
            rows: 3,
            columns: 5,
            pixels: vec![0; 15],
            orientation: Some([1.0, 0.0, 0.0, 0.0, 0.0, -1.0]),
            position: [-10.5, 3.25, 40.0],
            pixel_spacing: [0.2, 0.25],
            slice_thickness: 0.3,
            instance_number: 207,
            series_number: 4,
            ..CtImage::default()
        }
    }

    /// The slice as filter leaves it.
    fn slice(scan: &CtImage) -> Vec<u8> {
        let deidentifier = Deidentifier::new(&Secret::new([7; 32]));
        deidentifier.apply(&scan.to_bytes(Syntax::ExplicitLittle)).expect("an image")
    }

    fn complete(bytes: &[u8]) -> Box<Slice> {
        match Slice::read(bytes, bytes.len() as u64) {
            SliceRead::Complete(slice) => slice,
            _ => panic!("a slice that says where it lies"),
        }
    }

    /// What another library reads at the end of a path of tags, the first item of each sequence.
    fn text(object: &InMemDicomObject, path: &[Number]) -> String {
        let [last] = path else {
            let element = object.element(path[0]).unwrap();
            return text(&element.items().unwrap()[0], &path[1..]);
        };
        object.element(*last).unwrap().to_str().unwrap().into_owned()
    }

    #[test]
    fn another_library_reads_the_pixels_where_they_lie_and_what_they_belong_to() {
        let file = slice(&scan());
        let set = [0, 3, 7, 8, 14];
        let mask = Mask::from_fn(3, 5, |row, column| set.contains(&(5 * row + column))).unwrap();
        let bytes = complete(&file).segmentation(&mask, "modiolus", "m-1").unwrap();
        let made = from_reader(&bytes[..]).expect("a file that another library reads");
        assert_eq!(made.meta().media_storage_sop_class_uid(), SEGMENTATION_STORAGE);
        assert_eq!(
            made.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap()[..],
            [0b1000_1001, 0b0100_0001]
        );
        let source = from_reader(&file[..]).unwrap();
        for tag in
            [tags::PATIENT_ID, tags::STUDY_INSTANCE_UID, tags::FRAME_OF_REFERENCE_UID, tags::STUDY_DATE]
        {
            assert_eq!(text(&made, &[tag]), text(&source, &[tag]), "{tag}");
        }
        let id = text(&source, &[tags::SOP_INSTANCE_UID]);
        let derived = [tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, tags::DERIVATION_IMAGE_SEQUENCE];
        let derived =
            [&derived[..], &[tags::SOURCE_IMAGE_SEQUENCE, tags::REFERENCED_SOP_INSTANCE_UID]].concat();
        assert_eq!(text(&made, &derived), id);
        let listed = [tags::REFERENCED_SERIES_SEQUENCE, tags::REFERENCED_INSTANCE_SEQUENCE];
        assert_eq!(text(&made, &[&listed[..], &[tags::REFERENCED_SOP_INSTANCE_UID]].concat()), id);
        let shared = |group, tag| text(&made, &[tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, group, tag]);
        assert_eq!(shared(tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING), "0.2\\0.25");
        assert_eq!(shared(tags::PIXEL_MEASURES_SEQUENCE, tags::SLICE_THICKNESS), "0.3");
        let orientation = shared(tags::PLANE_ORIENTATION_SEQUENCE, tags::IMAGE_ORIENTATION_PATIENT);
        assert_eq!(orientation, "1\\0\\0\\0\\0\\-1");
        let frame = [tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, tags::PLANE_POSITION_SEQUENCE];
        assert_eq!(text(&made, &[&frame[..], &[tags::IMAGE_POSITION_PATIENT]].concat()), "-10.5\\3.25\\40");
        assert_ne!(text(&made, &[tags::SERIES_INSTANCE_UID]), text(&source, &[tags::SERIES_INSTANCE_UID]));
    }

    #[test]
    fn the_same_mask_of_the_same_slice_has_the_same_bytes_and_no_identity() {
        let file = slice(&scan());
        let mask = Mask::from_fn(3, 5, |_, _| false).unwrap();
        let made = |version: &str| complete(&file).segmentation(&mask, "modiolus", version).unwrap();
        assert_eq!(made("m-1"), made("m-1"));
        let id = |bytes: &[u8]| text(&from_reader(bytes).unwrap(), &[tags::SOP_INSTANCE_UID]);
        assert_ne!(id(&made("m-1")), id(&made("m-2")));
        let bytes = made("m-1");
        for identity in ["JANE-4711", "Doe", "99999.207"] {
            assert!(!bytes.windows(identity.len()).any(|window| window == identity.as_bytes()), "{identity}");
        }
    }

    #[test]
    fn a_slice_that_does_not_say_where_it_lies_has_none_and_a_longer_header_is_asked_for() {
        let file = slice(&CtImage { orientation: None, ..scan() });
        assert!(matches!(Slice::read(&file, file.len() as u64), SliceRead::Unplaced));
        let file = slice(&scan());
        let SliceRead::NeedMore { up_to } = Slice::read(&file[..300], file.len() as u64) else {
            panic!("too little")
        };
        assert!(up_to > 300);
        assert!(
            complete(&file)
                .segmentation(&Mask::from_fn(5, 3, |_, _| false).unwrap(), "modiolus", "m-1")
                .is_none()
        );
    }
}
