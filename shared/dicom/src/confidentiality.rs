//! The table of confidentiality profiles, and what may stay. Source: DICOM PS3.15 Annex E, Table E.1-1, edition 2024b.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::tag::Tag;

/// Tag, action of the Basic Profile, whether modified dates may stay, name: one row for each attribute of the standard's table.
const TABLE: &str = include_str!("confidentiality.tsv");

/// What happens to an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// It goes.
    Remove,
    /// It stays without a value.
    Empty,
    /// It gets a value that means nothing.
    Dummy,
    /// Its UIDs become others, the same for the same.
    MapUid,
    /// It stays: it describes the picture and the standard's table doesn't name it.
    Keep,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) action: Action,
    /// A date stays, shifted ("Retain Longitudinal Temporal Information with Modified Dates").
    pub(crate) shift: bool,
}

static RULES: LazyLock<HashMap<Tag, Rule>> = LazyLock::new(|| {
    let rules = rows().filter_map(|row| {
        let action = action_of(row.action)?;
        Some((row.tag?, Rule { action, shift: row.dates == "C" }))
    });
    rules.collect()
});

/// A row as it stands; `tag` is None for the rows of whole groups (private, curves, overlays), which all go anyway,
/// as everything goes that neither the table nor [`KEPT`] names.
struct Row {
    tag: Option<Tag>,
    action: &'static str,
    dates: &'static str,
}

fn rows() -> impl Iterator<Item = Row> {
    TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut columns = line.split('\t');
        let (tag, action, dates) = (columns.next()?, columns.next()?, columns.next()?);
        let tag = tag.split_once(',').and_then(|(group, element)| {
            Some(Tag::new(u16::from_str_radix(group, 16).ok()?, u16::from_str_radix(element, 16).ok()?))
        });
        Some(Row { tag, action, dates })
    })
}

/// Where the table leaves a choice it depends on whether the object's definition asks for the attribute. Images need
/// none of those that may be removed or replaced by a dummy, and get by with empty ones where that is allowed.
fn action_of(text: &str) -> Option<Action> {
    Some(match text {
        "X" | "X/D" | "X/Z/U*" => Action::Remove,
        "Z" | "X/Z" | "X/Z/D" => Action::Empty,
        "D" | "Z/D" => Action::Dummy,
        "U" => Action::MapUid,
        _ => return None,
    })
}

/// What happens to the attribute with this tag: what nobody has thought of goes.
pub(crate) fn rule_of(tag: Tag) -> Rule {
    if let Some(rule) = RULES.get(&tag) {
        return *rule;
    }
    let keep = !tag.is_private() && KEPT.contains(&tag);
    let emptied = EMPTIED.contains(&tag);
    let action = if keep {
        Action::Keep
    } else if emptied {
        Action::Empty
    } else {
        Action::Remove
    };
    Rule { action, shift: false }
}

/// Free text that images must have, if only empty: Manufacturer and PositionReferenceIndicator (PS3.3 C.7.5.1, C.7.4.1).
const EMPTIED: [Tag; 2] = [Tag::new(0x0008, 0x0070), Tag::new(0x0020, 0x1040)];

macro_rules! kept {
    ($($group:literal: $($element:literal)*;)*) => {
        /// Attributes that describe a picture and can't identify anyone, none of them in the table: numbers, codes of
        /// the standard, pixels. Their values are checked to be of that kind before they stay.
        pub(crate) const KEPT: &[Tag] = &[$($(Tag::new($group, $element)),*),*];
    };
}

kept! {
    // ImageType, SOPClassUID, Modality, ConversionType, FrameType, pixel presentation and volumetric properties
    0x0008: 0x0008 0x0016 0x0060 0x0064 0x9007 0x9205 0x9206 0x9207;
    // slice thickness, KVP, spacing, diameters, distances, tilt, table height, rotation, exposure, focal spot,
    // PatientPosition, CTImageFrameTypeSequence
    0x0018: 0x0050 0x0060 0x0088 0x0090 0x1100 0x1110 0x1111 0x1120 0x1130 0x1140 0x1150 0x1151 0x1152 0x1153 0x1164
        0x1190 0x5100 0x9329;
    // series, acquisition and instance numbers, position, orientation, laterality, slice location, plane sequences
    0x0020: 0x0011 0x0012 0x0013 0x0032 0x0037 0x0060 0x0062 0x1041 0x9113 0x9116;
    // the image pixel module
    0x0028: 0x0002 0x0004 0x0006 0x0008 0x0010 0x0011 0x0030 0x0034 0x0100 0x0101 0x0102 0x0103 0x0106 0x0107 0x0120
        0x0121 0x0301;
    // window, rescale, compression, LUTs and the functional groups of these
    0x0028: 0x1050 0x1051 0x1052 0x1053 0x1054 0x1056 0x2110 0x2112 0x2114 0x3000 0x3002 0x3004 0x3006 0x3010 0x9110
        0x9132 0x9145;
    // PresentationLUTShape; functional groups
    0x2050: 0x0020;
    0x5200: 0x9229 0x9230;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_table_is_complete() {
        let mut counts = BTreeMap::new();
        for row in rows() {
            *counts.entry(row.action).or_insert(0) += 1;
        }
        let wanted = [
            ("D", 92),
            ("U", 54),
            ("X", 384),
            ("X/D", 22),
            ("X/Z", 11),
            ("X/Z/D", 8),
            ("X/Z/U*", 2),
            ("Z", 42),
            ("Z/D", 6),
        ];
        assert_eq!(counts, BTreeMap::from(wanted));
        assert_eq!(counts.values().sum::<i32>(), 621);
        assert_eq!(rows().filter(|row| row.dates == "C").count(), 165);
        assert_eq!(RULES.len(), 617, "all but the four rows of whole groups");
    }

    #[test]
    fn what_stays_is_not_in_the_table_and_is_in_the_dictionary() {
        for tag in KEPT {
            assert!(!RULES.contains_key(tag), "{tag}");
            assert!(tag.entry().is_some(), "{tag}");
        }
    }

    #[test]
    fn unknown_private_overlay_and_curve_attributes_go() {
        for tag in [
            Tag::new(0x0029, 0x1010),
            Tag::new(0x6000, 0x3000),
            Tag::new(0x5002, 0x3000),
            Tag::new(0x0010, 0x9999),
        ] {
            assert_eq!(rule_of(tag), Rule { action: Action::Remove, shift: false });
        }
        assert_eq!(rule_of(crate::tag::PATIENT_ID).action, Action::Dummy);
        assert_eq!(rule_of(Tag::new(0x0008, 0x0020)), Rule { action: Action::Empty, shift: true });
    }
}
