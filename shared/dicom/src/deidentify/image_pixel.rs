//! The image pixel module of a de-identified file.

use super::sop_class;
use crate::attributes::Attributes;
use crate::data_set::{Content, Elements};
use crate::instance::Instance;
use crate::lut::Lut;
use crate::tag;
use crate::write::Writer;

/// Describes the pixels as they are written: low-aligned, without anything in unused bits.
pub(super) fn describe_pixels(attributes: &Attributes, elements: &mut Elements) {
    let numbers = [
        (tag::SAMPLES_PER_PIXEL, 1),
        (tag::ROWS, attributes.rows),
        (tag::COLUMNS, attributes.columns),
        (tag::BITS_ALLOCATED, attributes.bits_allocated),
        (tag::BITS_STORED, attributes.bits_stored),
        (tag::HIGH_BIT, attributes.bits_stored - 1),
        (tag::PIXEL_REPRESENTATION, attributes.pixel_representation),
    ];
    for (tag, number) in numbers {
        // Admission bounds all of them to far below 65,536.
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        elements.insert(tag, Content::us(number));
    }
    let padding = [
        (tag::PIXEL_PADDING_VALUE, attributes.pixel_padding_value),
        (tag::PIXEL_PADDING_RANGE_LIMIT, attributes.pixel_padding_range_limit),
    ];
    for (tag, value) in padding {
        elements.remove(&tag);
        if let Some(value) = value {
            let vr = if attributes.is_signed() { *b"SS" } else { *b"US" };
            // It was read from 16 bits.
            elements.insert(tag, Content::Value(vr, value.to_le_bytes()[..2].to_vec()));
        }
    }
    let photometric = if attributes.is_monochrome1() { "MONOCHROME1" } else { "MONOCHROME2" };
    elements.insert(tag::PHOTOMETRIC_INTERPRETATION, Content::text(*b"CS", photometric));
    elements.insert(tag::SOP_CLASS_UID, Content::text(*b"UI", sop_class(attributes)));
}

/// Writes the tables and windows anew from their decoded values: writers store tables in bytes or words, of either order, and
/// under several VRs.
pub(super) fn describe_look(instance: &Instance, elements: &mut Elements) {
    let tables =
        [(tag::MODALITY_LUT_SEQUENCE, &instance.modality_lut), (tag::VOI_LUT_SEQUENCE, &instance.voi_lut)];
    let signed = instance.attributes.is_signed();
    for (sequence, table) in tables {
        let before = elements.remove(&sequence);
        if let Some(table) = table {
            elements.insert(sequence, Content::Items(vec![item(table, before, signed)]));
        }
    }
    // Those of functional groups stay where they are.
    if [tag::SHARED_FUNCTIONAL_GROUPS, tag::PER_FRAME_FUNCTIONAL_GROUPS]
        .iter()
        .any(|tag| elements.contains_key(tag))
    {
        return;
    }
    let Attributes { window_centers, window_widths, .. } = &instance.attributes;
    for (tag, values) in [(tag::WINDOW_CENTER, window_centers), (tag::WINDOW_WIDTH, window_widths)] {
        elements.remove(&tag);
        if !values.is_empty() {
            elements.insert(tag, Content::decimals(values));
        }
    }
}

/// The item of a table, with the ModalityLUTType that it had.
fn item(table: &Lut, before: Option<Content>, signed: bool) -> Elements {
    let little = |words: &[u16]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let (descriptor, entries) = table.words();
    let vr = if signed { *b"SS" } else { *b"US" };
    let mut item = Elements::from([
        (tag::LUT_DESCRIPTOR, Content::Value(vr, little(&descriptor))),
        (tag::LUT_DATA, Content::Value(*b"OW", little(entries))),
    ]);
    if let Some(Content::Items(items)) = before
        && let Some(kind) =
            items.into_iter().next().and_then(|mut first| first.remove(&tag::MODALITY_LUT_TYPE))
    {
        item.insert(tag::MODALITY_LUT_TYPE, kind);
    }
    item
}

/// Writes the pixels anew from their decoded values.
pub(super) fn write_pixels(instance: &Instance, writer: &mut Writer) {
    let bytes = instance.attributes.bits_allocated as usize / 8;
    // Little endian: the low bytes come first.
    let mut value = vec![0; bytes * instance.stored.len()];
    for (cell, stored) in value.chunks_exact_mut(bytes.max(1)).zip(&instance.stored) {
        cell.copy_from_slice(&stored.to_le_bytes()[..bytes]);
    }
    writer.put(tag::PIXEL_DATA, if bytes == 1 { *b"OB" } else { *b"OW" }, &value);
}
