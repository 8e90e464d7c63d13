//! The attributes of a file from its first bytes.
//!
//! Files are told by their content: names and endings mean nothing. The scan goes from the start to the pixel data,
//! takes what [`Attributes`] wants, and steps over the rest without looking at it. Source: DICOM PS3.10 section 7,
//! PS3.5 section 7.
//!
//! It is a scanner of our own, not a library's reader, because ingest reads files by range: it must tell a file that
//! ends from a prefix that ends, say how much more to fetch, allocate nothing by a promised length, and take
//! microseconds, so that a run is bounded by opening its files.

use modiolus_pipeline::{Reason, Refusal};

use crate::admission::admit;
use crate::attributes::{Attributes, Value};
use crate::element::{Encoding, Head, Reader, Stop, UNDEFINED, is_known_vr, refuse};
use crate::tag;
use crate::text;
use crate::transfer::{EXPLICIT_BIG_UID, EXPLICIT_LITTLE_UID, IMPLICIT_LITTLE_UID, TransferSyntax};

/// How many first bytes of a file to read before the first call of [`read_header`]: enough for nearly all headers.
pub const FIRST_READ: u64 = 8 << 10;

/// The preamble (128 bytes) and `DICM`.
const PREAMBLE: u64 = 132;
/// Where more is needed, this much more is asked for, so that a few rounds do.
const STEP: u64 = 8 << 10;

/// What the first bytes of a file say.
#[derive(Debug)]
pub enum HeaderRead {
    /// An image that can be decoded, as far as its header tells.
    Complete(Box<Attributes>),
    /// Call again with the first `up_to` bytes of the file. More than were given, at most the file's length.
    NeedMore {
        /// How many bytes from the start of the file.
        up_to: u64,
    },
    /// Not an image that can be used.
    Refused {
        /// Why, for people and for the table.
        refusal: Refusal,
        /// What the header said all the same, if it is one of a DICOM file.
        attributes: Option<Box<Attributes>>,
    },
}

/// Reads the attributes of a file with `file_len` bytes from its first bytes.
///
/// Memory use is bounded by the attributes kept, whatever lengths the file promises. A header of more than 64 MiB and
/// sequences that nest deeper than 16 levels are refused.
pub fn read_header(prefix: &[u8], file_len: u64) -> HeaderRead {
    let file_len = file_len.max(prefix.len() as u64);
    let mut scan = Scan::default();
    let end = scan.run(prefix, file_len);
    scan.attributes.fill_defaults();
    let end = end.and_then(|()| {
        admit(&scan.attributes, scan.float_pixels, scan.flaw.take(), file_len).map_err(Stop::Refuse)
    });
    match end {
        Ok(()) => HeaderRead::Complete(scan.attributes),
        Err(Stop::Need(wanted)) => HeaderRead::NeedMore { up_to: (wanted + STEP).min(file_len) },
        Err(Stop::Refuse(refusal)) => {
            HeaderRead::Refused { refusal, attributes: scan.started.then_some(scan.attributes) }
        }
    }
}

#[derive(Default)]
struct Scan {
    attributes: Box<Attributes>,
    /// The file turned out to be DICOM, so the attributes mean something.
    started: bool,
    float_pixels: bool,
    /// The first impossible value. The scan goes on, since a better reason for refusal may follow.
    flaw: Option<Refusal>,
}

impl Scan {
    fn run(&mut self, prefix: &[u8], file_len: u64) -> Result<(), Stop> {
        let mut reader = open(prefix, file_len, |uid| {
            self.started = true;
            self.attributes.transfer_syntax_uid = uid;
        })?;
        let mut character_set = &[][..];
        while let Some(head) = reader.next_head()? {
            match head.tag {
                tag::PIXEL_DATA => {
                    self.attributes.pixel_offset = Some(head.value_at);
                    let is_native = head.length != UNDEFINED;
                    self.attributes.pixel_length = is_native.then_some(u64::from(head.length));
                    return Ok(());
                }
                tag::FLOAT_PIXEL_DATA | tag::DOUBLE_FLOAT_PIXEL_DATA => {
                    self.float_pixels = true;
                    return Ok(());
                }
                tag::SPECIFIC_CHARACTER_SET => character_set = reader.value(&head)?,
                tag::SHARED_FUNCTIONAL_GROUPS | tag::PER_FRAME_FUNCTIONAL_GROUPS
                    if self.attributes.number_of_frames == 1 =>
                {
                    self.functional_groups(&mut reader, &head)?;
                }
                tag if Attributes::wants(tag) && head.length != UNDEFINED => {
                    self.take(&mut reader, head, character_set)?;
                }
                tag if tag.group() == 0xFFFE => {
                    let detail = format!("{tag} stands outside of any sequence; the file is damaged there");
                    return Err(refuse(Reason::MalformedAttribute, detail));
                }
                _ => reader.skip(&head, 0)?,
            }
        }
        Ok(())
    }

    fn take<'a>(&mut self, reader: &mut Reader<'a>, head: Head, character_set: &'a [u8]) -> Result<(), Stop> {
        let bytes = reader.value(&head)?;
        let value = Value { head, bytes, encoding: reader.encoding_in(&head), character_set };
        if let Err(flaw) = self.attributes.set(&value) {
            self.flaw.get_or_insert(flaw);
        }
        Ok(())
    }

    /// In enhanced objects orientation, spacing, rescale and window stand two sequences deep (PS3.3 C.7.6.16).
    fn functional_groups(&mut self, reader: &mut Reader, groups: &Head) -> Result<(), Stop> {
        reader.each_item(groups, 0, &mut |reader, item| {
            while let Some(macro_) = reader.next_in_item(item)? {
                if !tag::IMAGE_MACROS.contains(&macro_.tag) {
                    reader.skip(&macro_, 1)?;
                    continue;
                }
                reader.each_item(&macro_, 1, &mut |reader, item| {
                    while let Some(head) = reader.next_in_item(item)? {
                        if head.length == UNDEFINED {
                            reader.skip(&head, 2)?;
                        } else {
                            self.take(reader, head, &[])?;
                        }
                    }
                    Ok(())
                })?;
            }
            Ok(())
        })
    }
}

/// A reader at the start of the data set. `found` is told the transfer syntax as soon as the file is known to be DICOM.
pub(crate) fn open(prefix: &[u8], file_len: u64, found: impl FnOnce(String)) -> Result<Reader<'_>, Stop> {
    let start = meta_start(prefix, file_len)?;
    let mut reader = Reader::new(prefix, file_len, start, Encoding::EXPLICIT_LITTLE);
    let mut uid = String::new();
    while reader.peek_tag()?.is_some_and(|tag| tag.group() == 0x0002) {
        let Some(head) = reader.next_head()? else { break };
        if head.tag == tag::TRANSFER_SYNTAX_UID {
            uid = text::code(reader.value(&head)?);
        } else {
            reader.skip(&head, 0)?;
        }
    }
    if reader.at >= file_len {
        return Err(refuse(Reason::Truncated, "it ends before its data set; export or copy it again"));
    }
    let declared = (!uid.is_empty()).then(|| TransferSyntax::of(&uid));
    if declared.is_some_and(|syntax| syntax.deflated) {
        found(uid);
        let detail = format!(
            "{}: the whole data set is deflated and can't be read; export it uncompressed",
            tag::TRANSFER_SYNTAX_UID
        );
        return Err(refuse(Reason::UnsupportedTransferSyntax, detail));
    }
    let first = reader.slice(reader.at, 8.min(file_len - reader.at))?;
    reader.encoding = encoding_of(first, declared);
    found(if uid.is_empty() { uid_of(reader.encoding).to_owned() } else { uid });
    Ok(reader)
}

/// Where the file meta information starts; the refusal of what is no DICOM file.
fn meta_start(prefix: &[u8], file_len: u64) -> Result<u64, Stop> {
    if file_len == 0 {
        return Err(refuse(Reason::Empty, "it has no bytes"));
    }
    if (prefix.len() as u64) < PREAMBLE.min(file_len) {
        return Err(Stop::Need(PREAMBLE.min(file_len)));
    }
    // AppleDouble and AppleSingle (RFC 1740), and the Finder's .DS_Store.
    if matches!(prefix, [0, 5, 0x16, 0 | 7, ..]) || prefix.starts_with(b"\0\0\0\x01Bud1") {
        return Err(refuse(Reason::AppleDouble, "it holds a Mac's notes about another file"));
    }
    let (preamble, rest) = prefix.split_at(prefix.len().min(128));
    if rest.starts_with(b"DICM") {
        return Ok(PREAMBLE);
    }
    if file_len < PREAMBLE && b"DICM".starts_with(rest) && preamble.iter().all(|b| *b == 0) {
        return Err(refuse(Reason::Truncated, "it ends inside its preamble; export or copy it again"));
    }
    if starts_like_a_data_set(prefix, file_len) {
        return Ok(0);
    }
    Err(refuse(Reason::NotDicom, "it neither has the DICM mark nor starts like a data set"))
}

/// Old writers leave preamble and meta information out; such files start with group 0002 or 0008.
fn starts_like_a_data_set(prefix: &[u8], file_len: u64) -> bool {
    match *prefix {
        [2 | 8, 0, _, 0..=0x10, e, f, ..] | [0, 8, 0..=0x10, _, e, f, ..] if is_known_vr([e, f]) => true,
        [8, 0, _, 0..=0x10, e, f, g, h, ..] => {
            let length = u64::from(u32::from_le_bytes([e, f, g, h]));
            length % 2 == 0 && length <= file_len - 8
        }
        _ => false,
    }
}

/// The encoding of a data set, by its first bytes: some files are in another one than they say.
fn encoding_of(first: &[u8], declared: Option<TransferSyntax>) -> Encoding {
    let guess = match declared {
        Some(syntax) => syntax.encoding,
        None if first.first() == Some(&0) => Encoding::EXPLICIT_BIG,
        None => Encoding::IMPLICIT_LITTLE,
    };
    match *first {
        _ if guess.big_endian => guess,
        [_, _, _, _, e, f, ..] => Encoding { explicit: is_known_vr([e, f]), big_endian: false },
        _ => guess,
    }
}

fn uid_of(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding { big_endian: true, .. } => EXPLICIT_BIG_UID,
        Encoding { explicit: true, .. } => EXPLICIT_LITTLE_UID,
        _ => IMPLICIT_LITTLE_UID,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::{CtImage, Syntax, Writer};

    #[test]
    fn orientation_and_spacing_of_enhanced_objects_are_found_in_their_functional_groups() {
        for defined_length in [true, false] {
            let nest = |tag, inner: &[u8]| {
                let mut writer = Writer::new(Encoding::EXPLICIT_LITTLE);
                let length = |of: usize| if defined_length { of as u32 } else { UNDEFINED };
                writer.head(tag, *b"SQ", length(inner.len() + 8));
                writer.head(tag::ITEM, *b"  ", length(inner.len()));
                writer.bytes.extend_from_slice(inner);
                if !defined_length {
                    writer.head(tag::ITEM_DELIMITATION, *b"  ", 0);
                    writer.head(tag::SEQUENCE_DELIMITATION, *b"  ", 0);
                }
                writer.bytes
            };
            let value = |tag, value: &[u8]| {
                let mut writer = Writer::new(Encoding::EXPLICIT_LITTLE);
                writer.put(tag, *b"DS", value);
                writer.bytes
            };
            let macros = [
                nest(
                    tag::PLANE_ORIENTATION_SEQUENCE,
                    &value(tag::IMAGE_ORIENTATION_PATIENT, b"1\\0\\0\\0\\0\\-1"),
                ),
                nest(tag::PIXEL_MEASURES_SEQUENCE, &value(tag::PIXEL_SPACING, b"0.2\\0.3")),
                nest(tag::LUT_DATA, &value(tag::PIXEL_SPACING, b"9\\9")),
            ];
            let groups = nest(tag::SHARED_FUNCTIONAL_GROUPS, &macros.concat());
            let file = CtImage { orientation: None, ..CtImage::default() }.to_bytes(Syntax::ExplicitLittle);
            let at = file.len() - 14;
            let file = [&file[..at], &groups, &file[at..]].concat();
            let HeaderRead::Complete(found) = read_header(&file, file.len() as u64) else {
                panic!("refused")
            };
            assert_eq!(found.orientation, Some([1.0, 0.0, 0.0, 0.0, 0.0, -1.0]));
            assert_eq!(found.pixel_spacing, Some([0.2, 0.3]));
        }
    }

    /// A CT image with elements put before its WindowCenter, or what would be there.
    fn with(syntax: Syntax, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let file = CtImage::default().to_bytes(syntax);
        let encoding = match syntax {
            Syntax::ExplicitLittle => Encoding::EXPLICIT_LITTLE,
            Syntax::ImplicitLittle => Encoding::IMPLICIT_LITTLE,
            Syntax::ExplicitBig => Encoding::EXPLICIT_BIG,
        };
        let mut intercept = Writer::new(encoding);
        intercept.head(tag::RESCALE_INTERCEPT, *b"DS", 2);
        let at = file.windows(4).position(|bytes| bytes == &intercept.bytes[..4]).unwrap();
        let mut writer = Writer::new(encoding);
        write(&mut writer);
        [&file[..at], &writer.bytes, &file[at..]].concat()
    }

    fn complete(file: &[u8]) -> Attributes {
        match read_header(file, file.len() as u64) {
            HeaderRead::Complete(attributes) => *attributes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn windows_that_cannot_be_read_are_passed_over() {
        let windows = |centers: &str, widths: &str| {
            let found = complete(&with(Syntax::ExplicitLittle, |writer| {
                writer.text(tag::WINDOW_CENTER, *b"DS", centers);
                writer.text(tag::WINDOW_WIDTH, *b"DS", widths);
            }));
            (found.window_centers, found.window_widths)
        };
        assert_eq!(windows("40\\300", "400\\2000"), (vec![40.0, 300.0], vec![400.0, 2000.0]));
        assert_eq!(windows("40\\300", "400"), (vec![40.0], vec![400.0]));
        assert_eq!(windows("0,5\\300", "wide\\2000"), (vec![300.0], vec![2000.0]));
        assert_eq!(windows("\\300", "400\\2000"), (vec![300.0], vec![2000.0]));
        assert_eq!(windows("NaN", "inf"), (vec![], vec![]));
        assert_eq!(windows("", ""), (vec![], vec![]));
    }

    #[test]
    fn no_frames_are_one_and_padding_has_the_sign_of_the_pixels() {
        let found = complete(&with(Syntax::ExplicitBig, |writer| {
            writer.text(tag::NUMBER_OF_FRAMES, *b"IS", "0");
            writer.us(tag::PIXEL_REPRESENTATION, 1);
            writer.us(tag::PIXEL_PADDING_VALUE, 0xF830);
            writer.us(tag::PIXEL_PADDING_RANGE_LIMIT, 0xF82E);
        }));
        assert_eq!(found.number_of_frames, 1);
        assert_eq!(found.padding(), Some(-2002..=-2000));
        let unsigned =
            complete(&with(Syntax::ImplicitLittle, |writer| writer.us(tag::PIXEL_PADDING_VALUE, 0xF830)));
        assert_eq!(unsigned.padding(), Some(63536..=63536));
    }

    #[test]
    fn values_of_unknown_representation_are_little_endian() {
        let found = complete(&with(Syntax::ExplicitBig, |writer| {
            writer.put(tag::PIXEL_PADDING_VALUE, *b"UN", &7_u16.to_le_bytes());
        }));
        assert_eq!(found.pixel_padding_value, Some(7));
    }

    #[test]
    fn a_macs_notes_are_told_by_their_content() {
        for notes in [&b"\0\x05\x16\x07\0\x02\0\0Mac OS X"[..], b"\0\0\0\x01Bud1\0\0"] {
            let HeaderRead::Refused { refusal, attributes } = read_header(notes, notes.len() as u64) else {
                panic!("not refused")
            };
            assert_eq!(refusal.reason, Reason::AppleDouble);
            assert!(attributes.is_none());
        }
    }
}
