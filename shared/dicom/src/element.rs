//! The one reader of data elements: strict, borrowing, bounded. Source: DICOM PS3.5 sections 7 and A.
//!
//! It works on a prefix of a file whose whole length is known, so it can tell "the file ends here" (truncated) from
//! "this is all that was read so far" (more is needed).

use modiolus_pipeline::{Reason, Refusal};

use crate::tag::{ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION, Tag};

/// How deep sequences may nest. Real files reach 6 or 7.
pub(crate) const NESTING_LIMIT: usize = 16;
/// A header longer than this is refused.
pub(crate) const HEADER_LIMIT: u64 = 64 << 20;
/// The length that says "until the delimiter".
pub(crate) const UNDEFINED: u32 = u32::MAX;

/// Why reading stopped early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The file goes on, but these first bytes of it are needed.
    Need(u64),
    /// The file can't be read.
    Refuse(Refusal),
}

pub(crate) fn refuse(reason: Reason, detail: impl Into<String>) -> Stop {
    Stop::Refuse(Refusal::new(reason, detail))
}

/// A value representation: its two letters.
pub(crate) type Vr = [u8; 2];

/// How elements are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) explicit: bool,
    pub(crate) big_endian: bool,
}

impl Encoding {
    pub(crate) const EXPLICIT_LITTLE: Self = Self { explicit: true, big_endian: false };
    pub(crate) const IMPLICIT_LITTLE: Self = Self { explicit: false, big_endian: false };
    pub(crate) const EXPLICIT_BIG: Self = Self { explicit: true, big_endian: true };

    pub(crate) fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    /// As many numbers of 16 bits as there are.
    pub(crate) fn words(self, bytes: &[u8]) -> Vec<u16> {
        bytes.as_chunks().0.iter().map(|word| self.u16(*word)).collect()
    }

    pub(crate) fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

/// The head of a data element: everything but its value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) tag: Tag,
    /// As written; None in Implicit VR and for items and delimiters.
    pub(crate) vr: Option<Vr>,
    pub(crate) length: u32,
    /// Where the value starts in the file.
    pub(crate) value_at: u64,
}

/// A cursor over the elements of a data set.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    pub(crate) at: u64,
    /// Where the data set ends: the file's length, or the end of an item of defined length.
    end: u64,
    pub(crate) encoding: Encoding,
}

impl<'a> Reader<'a> {
    /// A reader from `at`, over the first `bytes` of a file with `file_len` bytes.
    pub(crate) fn new(bytes: &'a [u8], file_len: u64, at: u64, encoding: Encoding) -> Self {
        Self { bytes, at, end: file_len.max(bytes.len() as u64), encoding }
    }

    /// Bytes from `from`, if the file has them and they are here.
    pub(crate) fn slice(&self, from: u64, length: u64) -> Result<&'a [u8], Stop> {
        let to = self.within(from, length)?;
        if to > HEADER_LIMIT && to > self.bytes.len() as u64 {
            return Err(refuse(Reason::TooLarge, "its header is longer than 64 MiB"));
        }
        match (usize::try_from(from), usize::try_from(to)) {
            (Ok(from), Ok(to)) => self.bytes.get(from..to).ok_or(Stop::Need(to as u64)),
            _ => Err(refuse(Reason::TooLarge, "its header is longer than 64 MiB")),
        }
    }

    /// The end of `length` bytes from `from`, which must not lie beyond the end of the data set.
    fn within(&self, from: u64, length: u64) -> Result<u64, Stop> {
        from.checked_add(length)
            .filter(|to| *to <= self.end)
            .ok_or_else(|| refuse(Reason::Truncated, "it ends inside an attribute; export or copy it again"))
    }

    fn array<const N: usize>(&self, from: u64) -> Result<[u8; N], Stop> {
        let slice = self.slice(from, N as u64)?;
        Ok(slice.try_into().expect("slice() returns as many bytes as it was asked for"))
    }

    /// The tag at the cursor; None at the end of the data set.
    pub(crate) fn peek_tag(&self) -> Result<Option<Tag>, Stop> {
        if self.at >= self.end {
            return Ok(None);
        }
        let [a, b, c, d] = self.array(self.at)?;
        Ok(Some(Tag::new(self.encoding.u16([a, b]), self.encoding.u16([c, d]))))
    }

    /// How the value of an element is written: what was of unknown VR to some system on its way (UN) is Implicit VR Little Endian,
    /// whatever the rest is. Source: PS3.5 section 6.2.2 note 2.
    pub(crate) fn encoding_in(&self, head: &Head) -> Encoding {
        if head.vr == Some(*b"UN") { Encoding::IMPLICIT_LITTLE } else { self.encoding }
    }

    /// The next head, with the cursor moved to its value; None at the end of the data set.
    pub(crate) fn next_head(&mut self) -> Result<Option<Head>, Stop> {
        if self.at >= self.end {
            return Ok(None);
        }
        let [a, b, c, d, e, f, g, h] = self.array(self.at)?;
        let tag = Tag::new(self.encoding.u16([a, b]), self.encoding.u16([c, d]));
        let head = if !self.encoding.explicit || tag.group() == 0xFFFE {
            Head { tag, vr: None, length: self.encoding.u32([e, f, g, h]), value_at: self.at + 8 }
        } else if has_short_length([e, f]) {
            let length = u32::from(self.encoding.u16([g, h]));
            Head { tag, vr: Some([e, f]), length, value_at: self.at + 8 }
        } else if e.is_ascii_uppercase() && f.is_ascii_uppercase() {
            // Value representations newer than this code have the long form too (PS3.5 section 7.1.2).
            let length = self.encoding.u32(self.array(self.at + 8)?);
            Head { tag, vr: Some([e, f]), length, value_at: self.at + 12 }
        } else {
            let detail = format!("{tag} has no value representation; the file is damaged there");
            return Err(refuse(Reason::MalformedAttribute, detail));
        };
        self.at = head.value_at;
        Ok(Some(head))
    }

    /// The value of an element of defined length, with the cursor moved behind it.
    pub(crate) fn value(&mut self, head: &Head) -> Result<&'a [u8], Stop> {
        if head.length == UNDEFINED {
            return Err(refuse(Reason::MalformedAttribute, format!("{} has no length", head.tag)));
        }
        let value = self.slice(head.value_at, u64::from(head.length))?;
        self.at = head.value_at + u64::from(head.length);
        Ok(value)
    }

    /// Moves the cursor behind the value, which may be a sequence of undefined length.
    pub(crate) fn skip(&mut self, head: &Head, depth: usize) -> Result<(), Stop> {
        if head.length != UNDEFINED {
            self.at = self.within(head.value_at, u64::from(head.length))?;
            return Ok(());
        }
        self.each_item(head, depth, &mut |reader, item| {
            if item.length != UNDEFINED {
                reader.at = reader.end;
                return Ok(());
            }
            while let Some(element) = reader.next_in_item(item)? {
                reader.skip(&element, depth + 1)?;
            }
            Ok(())
        })
    }

    /// Calls `visit` with the cursor at the start of each item of a sequence; it reads the item to its end with
    /// [`next_in_item`](Self::next_in_item). Afterwards the cursor is behind the sequence.
    pub(crate) fn each_item(
        &mut self,
        sequence: &Head,
        depth: usize,
        visit: &mut dyn FnMut(&mut Self, &Head) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        check_depth(depth)?;
        let (outer_end, outer_encoding) = (self.end, self.encoding);
        if sequence.length != UNDEFINED {
            self.end = self.within(sequence.value_at, u64::from(sequence.length))?;
        }
        self.encoding = self.encoding_in(sequence);
        let sequence_end = self.end;
        while let Some(item) = self.next_item(sequence)? {
            if item.length != UNDEFINED {
                self.end = self.within(item.value_at, u64::from(item.length))?;
            }
            visit(self, &item)?;
            self.end = sequence_end;
        }
        (self.end, self.encoding) = (outer_end, outer_encoding);
        Ok(())
    }

    /// The head of the next item of a sequence; None at its end or delimiter.
    pub(crate) fn next_item(&mut self, sequence: &Head) -> Result<Option<Head>, Stop> {
        match self.next_head()? {
            Some(head) if head.tag == ITEM => Ok(Some(head)),
            Some(head) if head.tag == SEQUENCE_DELIMITATION => Ok(None),
            Some(_) => {
                let detail = format!("{} holds something that is no item", sequence.tag);
                Err(refuse(Reason::MalformedAttribute, detail))
            }
            None if sequence.length == UNDEFINED => Err(unfinished(sequence.tag)),
            None => Ok(None),
        }
    }

    /// The next element of an item; None at its end or delimiter.
    pub(crate) fn next_in_item(&mut self, item: &Head) -> Result<Option<Head>, Stop> {
        match self.next_head()? {
            Some(head) if head.tag == ITEM_DELIMITATION => Ok(None),
            Some(head) => Ok(Some(head)),
            None if item.length == UNDEFINED => Err(unfinished(item.tag)),
            None => Ok(None),
        }
    }
}

pub(crate) fn check_depth(depth: usize) -> Result<(), Stop> {
    if depth < NESTING_LIMIT {
        return Ok(());
    }
    Err(refuse(Reason::TooLarge, format!("its sequences nest deeper than {NESTING_LIMIT} levels")))
}

fn unfinished(sequence: Tag) -> Stop {
    refuse(Reason::Truncated, format!("it ends inside {sequence}; export or copy it again"))
}

/// Whether a VR is written with a 16-bit length (PS3.5 table 7.1-2).
pub(crate) fn has_short_length(vr: Vr) -> bool {
    matches!(
        &vr,
        b"AE"
            | b"AS"
            | b"AT"
            | b"CS"
            | b"DA"
            | b"DS"
            | b"DT"
            | b"FL"
            | b"FD"
            | b"IS"
            | b"LO"
            | b"LT"
            | b"PN"
            | b"SH"
            | b"SL"
            | b"SS"
            | b"ST"
            | b"TM"
            | b"UI"
            | b"UL"
            | b"US"
    )
}

/// Whether two bytes can be a VR of the standard.
pub(crate) fn is_known_vr(vr: Vr) -> bool {
    has_short_length(vr)
        || matches!(
            &vr,
            b"OB"
                | b"OD"
                | b"OF"
                | b"OL"
                | b"OV"
                | b"OW"
                | b"SQ"
                | b"SV"
                | b"UC"
                | b"UN"
                | b"UR"
                | b"UT"
                | b"UV"
        )
}
