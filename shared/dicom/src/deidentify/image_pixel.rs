//! The image pixel module of a de-identified file.

use super::sop_class;
use crate::attributes::Attributes;
use crate::data_set::{Content, Elements};
use crate::instance::Instance;
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
    let photometric = if attributes.is_monochrome1() { "MONOCHROME1" } else { "MONOCHROME2" };
    elements.insert(tag::PHOTOMETRIC_INTERPRETATION, Content::text(*b"CS", photometric));
    elements.insert(tag::SOP_CLASS_UID, Content::text(*b"UI", sop_class(attributes)));
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
