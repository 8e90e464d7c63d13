//! Data sets as they are written: elements in the order of their tags, items in sequences.

use std::collections::BTreeMap;

use crate::element::{UNDEFINED, Vr};
use crate::tag::{self, Tag};
use crate::write::{Writer, decimal};

/// What a data set, or an item of a sequence, holds.
pub(crate) type Elements = BTreeMap<Tag, Content>;

/// What an element holds.
pub(crate) enum Content {
    Value(Vr, Vec<u8>),
    Items(Vec<Elements>),
}

impl Content {
    pub(crate) fn text(vr: Vr, text: &str) -> Self {
        Self::Value(vr, text.as_bytes().to_vec())
    }

    /// A number of 16 bits.
    pub(crate) fn us(number: u16) -> Self {
        Self::Value(*b"US", number.to_le_bytes().to_vec())
    }

    /// Decimal strings.
    pub(crate) fn decimals(values: &[f64]) -> Self {
        let values: Vec<String> = values.iter().map(|value| decimal(*value)).collect();
        Self::text(*b"DS", &values.join("\\"))
    }

    /// A sequence of one item.
    pub(crate) fn item<const N: usize>(elements: [(Tag, Self); N]) -> Self {
        Self::Items(vec![Elements::from(elements)])
    }

    /// A code: its value, its scheme and what it means (PS3.3 section 8.8).
    pub(crate) fn code((value, scheme, meaning): (&str, &str, &str)) -> Self {
        Self::Items(vec![code_item(value, scheme, meaning)])
    }
}

/// The item of a sequence of codes.
pub(crate) fn code_item(value: &str, scheme: &str, meaning: &str) -> Elements {
    Elements::from([
        (Tag::new(0x0008, 0x0100), Content::text(*b"SH", value)),
        (Tag::new(0x0008, 0x0102), Content::text(*b"SH", scheme)),
        (Tag::new(0x0008, 0x0104), Content::text(*b"LO", meaning)),
    ])
}

/// Writes all elements, those of items inside them.
pub(crate) fn write_elements(elements: &Elements, writer: &mut Writer) {
    for (tag, content) in elements {
        match content {
            Content::Value(vr, value) => writer.put(*tag, *vr, value),
            Content::Items(items) => {
                writer.head(*tag, *b"SQ", UNDEFINED);
                for item in items {
                    writer.head(tag::ITEM, *b"  ", UNDEFINED);
                    write_elements(item, writer);
                    writer.head(tag::ITEM_DELIMITATION, *b"  ", 0);
                }
                writer.head(tag::SEQUENCE_DELIMITATION, *b"  ", 0);
            }
        }
    }
}
