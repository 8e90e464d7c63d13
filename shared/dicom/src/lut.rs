//! Grey-level transformations of an image: modality and VOI. Source: DICOM PS3.3 C.11.1 and C.11.2.

use modiolus_pipeline::{Reason, Refusal};

use crate::attributes::Attributes;
use crate::element::{Reader, Stop, UNDEFINED};
use crate::tag;

/// A lookup table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lut {
    /// The input value that the first entry is for. Lower inputs take the first entry, inputs past the end the last.
    pub first: i32,
    /// LUTData (0028,3006); never empty.
    pub entries: Vec<u16>,
    /// Bits per entry, 8 to 16: the largest output is `2^bits - 1`.
    pub bits: u8,
}

impl Lut {
    /// The output for an input value.
    pub fn map(&self, input: i32) -> u16 {
        let index = i64::from(input) - i64::from(self.first);
        let index = usize::try_from(index).unwrap_or(0).min(self.entries.len().saturating_sub(1));
        self.entries.get(index).copied().unwrap_or_default()
    }

    /// The table in the first item of a sequence; None where the sequence has no item.
    pub(crate) fn read(
        reader: &mut Reader,
        sequence: &crate::element::Head,
        signed: bool,
    ) -> Result<Option<Self>, Stop> {
        let mut found = None;
        reader.each_item(sequence, 0, &mut |reader, item| {
            let (mut descriptor, mut words, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
            while let Some(head) = reader.next_in_item(item)? {
                let encoding = reader.encoding_in(&head);
                match head.tag {
                    tag::LUT_DESCRIPTOR if head.length != UNDEFINED => {
                        descriptor = encoding.words(reader.value(&head)?);
                    }
                    tag::LUT_DATA if head.length != UNDEFINED => {
                        let value = reader.value(&head)?;
                        words = encoding.words(value);
                        // Of two bytes in a word, the lower one comes first (PS3.5 section 8.1.2 has it so for pixels).
                        bytes = match head.vr {
                            Some([b'O', b'B']) => value.to_vec(),
                            _ => words.iter().flat_map(|word| word.to_le_bytes()).collect(),
                        };
                    }
                    _ => reader.skip(&head, 1)?,
                }
            }
            found.get_or_insert((descriptor, bytes, words));
            Ok(())
        })?;
        let Some((descriptor, bytes, words)) = found else { return Ok(None) };
        match Self::from_parts(&descriptor, bytes, words, signed) {
            Some(lut) => Ok(Some(lut)),
            None => Err(Stop::Refuse(Refusal::new(
                Reason::MalformedAttribute,
                format!("{} holds no table that fits its description", sequence.tag),
            ))),
        }
    }

    /// LUTDescriptor (0028,3002) and LUTData (0028,3006), each in words of 16 bits.
    pub(crate) fn words(&self) -> ([u16; 3], &[u16]) {
        // 65,536 entries are written as 0; the first input keeps its bits, whether they have a sign or not.
        let count = (self.entries.len() & 0xFFFF) as u16;
        ([count, (self.first & 0xFFFF) as u16, u16::from(self.bits)], &self.entries)
    }

    /// Tables of 8-bit entries are stored two to a word, or one, by different writers; the number of entries tells.
    fn from_parts(descriptor: &[u16], bytes: Vec<u8>, words: Vec<u16>, signed: bool) -> Option<Self> {
        let [count, first, bits @ 8..=16, ..] = *descriptor else { return None };
        let count = if count == 0 { 1 << 16 } else { usize::from(count) };
        let mut entries =
            if words.len() >= count { words } else { bytes.into_iter().map(u16::from).collect() };
        if entries.len() < count {
            return None;
        }
        entries.truncate(count);
        let first = if signed { i32::from(first.cast_signed()) } else { i32::from(first) };
        Some(Self { first, entries, bits: u8::try_from(bits).ok()? })
    }
}

/// How a window is applied (VOILUTFunction).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WindowFunction {
    /// C.11.2.1.2.1, also where the attribute is absent.
    #[default]
    Linear,
    /// C.11.2.1.3.2.
    LinearExact,
    /// C.11.2.1.3.1.
    Sigmoid,
}

/// What turns modality values into what people look at.
#[derive(Debug, Clone, PartialEq)]
pub enum Voi {
    /// VOILUTSequence (0028,3010), its first table.
    Lut(Lut),
    /// WindowCenter (0028,1050) and WindowWidth (0028,1051), in units of the modality values.
    Window {
        /// The first centre.
        center: f64,
        /// The first width: at least 1 for LINEAR, above 0 otherwise.
        width: f64,
        /// The shape.
        function: WindowFunction,
    },
    /// Neither: the whole range of values.
    None,
}

/// The first window that the standard allows.
pub(crate) fn window(attributes: &Attributes) -> Voi {
    let function = match attributes.voi_lut_function.as_str() {
        "LINEAR_EXACT" => WindowFunction::LinearExact,
        "SIGMOID" => WindowFunction::Sigmoid,
        _ => WindowFunction::Linear,
    };
    let is_allowed = |width: f64| if function == WindowFunction::Linear { width >= 1.0 } else { width > 0.0 };
    // What fits in the numbers that pictures are made with.
    let is_small = |number: f64| number.abs() < f64::from(f32::MAX);
    let windows = attributes.window_centers.iter().zip(&attributes.window_widths);
    windows
        .into_iter()
        .find(|(center, width)| is_allowed(**width) && is_small(**center) && is_small(**width))
        .map_or(Voi::None, |(center, width)| Voi::Window { center: *center, width: *width, function })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_outside_of_a_table_take_its_first_and_last_entry() {
        let lut = Lut { first: -2, entries: vec![10, 20, 30], bits: 8 };
        assert_eq!([-9, -2, -1, 0, 9].map(|input| lut.map(input)), [10, 10, 20, 30, 30]);
        assert_eq!([i32::MIN, i32::MAX].map(|input| lut.map(input)), [10, 30]);
    }

    #[test]
    fn a_window_too_narrow_for_the_standard_is_passed_over() {
        let attributes = Attributes {
            window_centers: vec![0.0, 40.0],
            window_widths: vec![0.0, 400.0],
            ..Attributes::default()
        };
        assert_eq!(
            window(&attributes),
            Voi::Window { center: 40.0, width: 400.0, function: WindowFunction::Linear }
        );
        assert_eq!(window(&Attributes::default()), Voi::None);
    }

    #[test]
    fn tables_must_have_the_entries_that_they_promise() {
        assert_eq!(
            Lut::from_parts(&[3, 0, 16], vec![0; 4], vec![0; 2], false).map(|lut| lut.entries.len()),
            Some(3)
        );
        assert_eq!(Lut::from_parts(&[5, 0, 16], vec![0; 4], vec![0; 2], false), None);
        assert_eq!(Lut::from_parts(&[0, 0, 16], vec![0; 4], vec![0; 2], false), None);
        assert_eq!(Lut::from_parts(&[2, 0xFFFF, 16], vec![0; 4], vec![7, 8], true).unwrap().first, -1);
    }
}
