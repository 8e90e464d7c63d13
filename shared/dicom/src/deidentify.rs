//! Taking a patient's identity out of a file: PS3.15 Annex E, Basic Profile, with modified dates.
//!
//! It fails closed. Each attribute is treated as the standard's table says; one that is not in the table goes, unless it
//! is on a short list of attributes that describe the picture, and then its value must be of the kind that it should be.
//! Private attributes, overlays, curves, free text, and all that follows the pixels go. Pixels are written anew from
//! their decoded values, so nothing stays in unused bits or in a compressed stream.
//!
//! PatientID and PatientName become the patient's pseudonym, UIDs become others by a keyed function, and dates move
//! into the past by a number of days that is the same for all of a patient's files. Times of day go.

mod image_pixel;

use dicom_core::VR;
use dicom_core::chrono::{Days, NaiveDate};
use image_pixel::{describe_look, describe_pixels, write_pixels};
use modiolus_pipeline::{Reason, Refusal, Secret};

use crate::attributes::Attributes;
use crate::confidentiality::{Action, Rule, rule_of};
use crate::data_set::{Content, Elements, code_item, write_elements};
use crate::element::{Encoding, Head, Reader, Stop, UNDEFINED, Vr};
use crate::header::open;
use crate::instance::{Instance, decode};
use crate::tag::{self, Tag};
use crate::text;
use crate::transfer::EXPLICIT_LITTLE_UID;
use crate::write::{Writer, derived_uid, part10};

/// Dates move by at least a day and at most ten years.
const SHIFT_RANGE: u64 = 3650;

/// Takes identity out of files, the same for the same secret.
#[derive(Debug, Clone)]
pub struct Deidentifier {
    secret: Secret,
}

/// What is the same for all of a file: the number of days to shift by, and how to read values.
struct Patient<'a> {
    deidentifier: &'a Deidentifier,
    shift: Days,
    signed: bool,
}

impl Deidentifier {
    /// A de-identifier with the key of all pseudonyms.
    pub fn new(secret: &Secret) -> Self {
        Self { secret: secret.clone() }
    }

    /// The UID that stands for `uid`, made from the keyed digest. An empty one stays empty.
    pub fn map_uid(&self, uid: &str) -> String {
        if uid.is_empty() {
            return String::new();
        }
        derived_uid(&self.secret.pseudonym("uid", uid.as_bytes()))
    }

    /// The file without identity: Explicit VR Little Endian, uncompressed, the same bytes for the same file.
    ///
    /// # Errors
    /// As [`decode`]: what is no image of a scan is not let through.
    pub fn apply(&self, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.apply_to(bytes, &decode(bytes)?)
    }

    /// As [`apply`](Self::apply), for whoever has already decoded these bytes to `instance`.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply) that come after decoding.
    pub fn apply_to(&self, bytes: &[u8], instance: &Instance) -> Result<Vec<u8>, Refusal> {
        let attributes = &instance.attributes;
        let days = self.secret.pseudonym("date-shift", attributes.patient_id.trim().as_bytes());
        let days = days.as_bytes().iter().take(7).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let patient = Patient {
            deidentifier: self,
            shift: Days::new(1 + days % SHIFT_RANGE),
            signed: attributes.is_signed(),
        };
        let mut elements = patient.clean(bytes).map_err(|stop| match stop {
            Stop::Refuse(refusal) => refusal,
            Stop::Need(_) => Refusal::new(Reason::Truncated, "it ends inside an attribute"),
        })?;
        self.declare(attributes, &mut elements);
        describe_pixels(attributes, &mut elements);
        describe_look(instance, &mut elements);
        let mut writer = Writer::new(Encoding::EXPLICIT_LITTLE);
        write_elements(&elements, &mut writer);
        write_pixels(instance, &mut writer);
        let sop_instance = self.map_uid(&attributes.sop_instance_uid);
        Ok(part10(sop_class(attributes), &sop_instance, EXPLICIT_LITTLE_UID, &writer.bytes))
    }

    /// Says who the patient is now and what was done.
    fn declare(&self, attributes: &Attributes, elements: &mut Elements) {
        let pseudonym = self.secret.patient(&attributes.patient_id);
        elements.insert(tag::PATIENT_NAME, Content::text(*b"PN", pseudonym.as_str()));
        elements.insert(tag::PATIENT_ID, Content::text(*b"LO", pseudonym.as_str()));
        let uids = [
            (tag::SOP_INSTANCE_UID, &attributes.sop_instance_uid),
            (tag::STUDY_INSTANCE_UID, &attributes.study_instance_uid),
            (tag::SERIES_INSTANCE_UID, &attributes.series_instance_uid),
        ];
        for (tag, uid) in uids {
            elements.insert(tag, Content::text(*b"UI", &self.map_uid(uid)));
        }
        elements.extend(method());
    }
}

/// That identity was removed, and how (PS3.15 section E.1.1, PS3.16 CID 7050).
pub(crate) fn method() -> Elements {
    let codes = [
        ("113100", "Basic Application Confidentiality Profile"),
        ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ];
    let codes = codes.map(|(value, meaning)| code_item(value, "DCM", meaning));
    Elements::from([
        (Tag::new(0x0012, 0x0062), Content::text(*b"CS", "YES")),
        (Tag::new(0x0012, 0x0063), Content::text(*b"LO", "PS3.15 2024b Annex E Table E.1-1")),
        (Tag::new(0x0012, 0x0064), Content::Items(codes.into())),
        (Tag::new(0x0028, 0x0303), Content::text(*b"CS", "MODIFIED")),
    ])
}

/// The SOP class, if it is one: anything else may be text.
fn sop_class(attributes: &Attributes) -> &str {
    let uid = attributes.sop_class_uid.as_str();
    if uid.bytes().all(|b| b.is_ascii_digit() || b == b'.') { uid } else { "" }
}

impl Patient<'_> {
    /// The elements before the pixel data, cleaned.
    fn clean(&self, bytes: &[u8]) -> Result<Elements, Stop> {
        let mut reader = open(bytes, bytes.len() as u64, drop)?;
        let mut elements = Elements::new();
        while let Some(head) = reader.next_head()? {
            if head.tag == tag::PIXEL_DATA {
                break;
            }
            self.element(&mut reader, &head, 0, &mut elements)?;
        }
        Ok(elements)
    }

    fn element(
        &self,
        reader: &mut Reader,
        head: &Head,
        depth: usize,
        out: &mut Elements,
    ) -> Result<(), Stop> {
        let vr = expected_vr(head.tag, self.signed);
        let rule = rule_of(head.tag);
        // Groups below 0008 are no part of a data set; where they stand in one, they go.
        let may_stay = rule != REMOVED && head.tag.group() >= 0x0008;
        let Some(vr) = vr.filter(|_| may_stay) else { return reader.skip(head, depth) };
        if vr == *b"SQ" {
            return match rule.action {
                Action::Keep => {
                    let items = self.items(reader, head, depth)?;
                    out.insert(head.tag, Content::Items(items));
                    Ok(())
                }
                // An empty sequence is one without items; no dummy of a sequence means anything.
                Action::Empty => {
                    out.insert(head.tag, Content::Items(Vec::new()));
                    reader.skip(head, depth)
                }
                _ => reader.skip(head, depth),
            };
        }
        if head.length == UNDEFINED {
            return reader.skip(head, depth);
        }
        let encoding = reader.encoding;
        let value = reader.value(head)?;
        let is_as_expected = head.vr.is_none_or(|written| may_stand_for(written, vr));
        let cleaned = if is_as_expected { self.value(rule, head.tag, vr, value, encoding) } else { None };
        if let Some(value) = cleaned {
            out.insert(head.tag, Content::Value(vr, value));
        }
        Ok(())
    }

    fn items(&self, reader: &mut Reader, sequence: &Head, depth: usize) -> Result<Vec<Elements>, Stop> {
        let mut items = Vec::new();
        reader.each_item(sequence, depth, &mut |reader, item| {
            let mut elements = Elements::new();
            while let Some(head) = reader.next_in_item(item)? {
                self.element(reader, &head, depth + 1, &mut elements)?;
            }
            items.push(elements);
            Ok(())
        })?;
        Ok(items)
    }

    /// The value that stays; None where the element goes.
    fn value(&self, rule: Rule, tag: Tag, vr: Vr, value: &[u8], encoding: Encoding) -> Option<Vec<u8>> {
        if rule.shift
            && matches!(&vr, b"DA" | b"DT")
            && let Some(date) = self.shifted(value)
        {
            return Some(date.into_bytes());
        }
        match rule.action {
            Action::Remove => None,
            Action::Empty => Some(Vec::new()),
            Action::Dummy => dummy(vr).map(<[u8]>::to_vec),
            Action::MapUid => {
                let uids: Vec<String> = value
                    .split(|b| *b == b'\\')
                    .map(|uid| self.deidentifier.map_uid(&text::code(uid)))
                    .collect();
                Some(uids.join("\\").into_bytes())
            }
            Action::Keep => kept(tag, vr, value, encoding),
        }
    }

    /// A date moved into the past; of a date and time, the date. None for what is no single whole date.
    fn shifted(&self, value: &[u8]) -> Option<String> {
        let digits = std::str::from_utf8(text::trim(value)).ok()?.replace('.', "");
        let is_date = digits.len() >= 8 && digits.bytes().take(8).all(|b| b.is_ascii_digit());
        let (date, _time) = digits.split_at_checked(8).filter(|_| is_date)?;
        let number = |range: std::ops::Range<usize>| date.get(range)?.parse::<u32>().ok();
        let year = i32::try_from(number(0..4)?).ok()?;
        let moved =
            NaiveDate::from_ymd_opt(year, number(4..6)?, number(6..8)?)?.checked_sub_days(self.shift)?;
        Some(moved.format("%Y%m%d").to_string()).filter(|text| text.len() == 8)
    }
}

const REMOVED: Rule = Rule { action: Action::Remove, shift: false };

/// The VR that an attribute has by the standard, whatever the file says; None for attributes that it doesn't know.
fn expected_vr(tag: Tag, signed: bool) -> Option<Vr> {
    use dicom_core::dictionary::{DataDictionaryEntry, VirtualVr};
    let vr = match tag.entry()?.vr() {
        VirtualVr::Exact(vr) => vr,
        VirtualVr::Xs if signed => VR::SS,
        VirtualVr::Xs => VR::US,
        _ => VR::OW,
    };
    vr.to_string().as_bytes().try_into().ok()
}

/// Writers choose among VRs, and the value is checked for what it should be. Only binary numbers can't be told from
/// text by their bytes, so they must be written as such.
fn may_stand_for(written: Vr, expected: Vr) -> bool {
    let is_words = |vr: Vr| matches!(&vr, b"US" | b"SS" | b"OW");
    !is_words(expected) || is_words(written)
}

/// A value that means nothing (action D). None for binary ones: such attributes go.
fn dummy(vr: Vr) -> Option<&'static [u8]> {
    Some(match &vr {
        b"DA" | b"DT" => b"19000101",
        b"TM" => b"000000",
        b"DS" | b"IS" => b"0",
        b"AS" => b"000Y",
        b"CS" | b"SH" | b"LO" | b"PN" | b"AE" | b"ST" | b"LT" | b"UT" | b"UC" => b"REMOVED",
        _ => return None,
    })
}

/// A value of the picture's description, in Little Endian, if it is what its VR says.
fn kept(tag: Tag, vr: Vr, value: &[u8], encoding: Encoding) -> Option<Vec<u8>> {
    const NUMBERS_LIMIT: usize = 64;
    let is_text_of = |allowed: fn(u8) -> bool| {
        text::trim(value).iter().all(|b| allowed(*b))
            && value.split(|b| *b == b'\\').all(|part| part.len() <= 17)
    };
    let is_clean = match &vr {
        b"DS" | b"IS" => text::numbers(value, NUMBERS_LIMIT).is_ok(),
        // RescaleType and ModalityLUTType are LO, but hold terms of the standard such as HU.
        b"CS" | b"LO" => {
            is_text_of(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b' ' | b'_' | b'\\'))
        }
        b"UI" => text::trim(value).iter().all(|b| b.is_ascii_digit() || *b == b'.') && value.len() <= 64,
        b"US" | b"SS" => value.len().is_multiple_of(2) && value.len() <= 8,
        b"OW" => value.len().is_multiple_of(2) && matches!(tag, tag::LUT_DATA | tag::LUT_DESCRIPTOR),
        _ => false,
    };
    let is_words = matches!(&vr, b"US" | b"SS" | b"OW");
    is_clean.then(|| match is_words && encoding.big_endian {
        true => value.chunks_exact(2).flat_map(|pair| [pair[1], pair[0]]).collect(),
        false if is_words => value.to_vec(),
        false => text::trim(value).to_vec(),
    })
}

#[cfg(test)]
mod tests;
