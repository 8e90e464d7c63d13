//! A whole file decoded: its attributes and its grey pixels.

use modiolus_pipeline::{Digest, Reason, Refusal};

use crate::attributes::Attributes;
use crate::codec;
use crate::element::{Encoding, Head, Reader, Stop, UNDEFINED, refuse};
use crate::header::{HeaderRead, open, read_header};
use crate::lut::{Lut, Voi, window};
use crate::tag;
use crate::transfer::{Storage, TransferSyntax};

/// One image of a scan with its pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// What the header says.
    pub attributes: Attributes,
    /// Rows times Columns stored values, row by row: only the stored bits, with their sign. Unsigned 32-bit values
    /// above `i32::MAX` are held as `i32::MAX`.
    pub stored: Vec<i32>,
    pub(crate) modality_lut: Option<Lut>,
    pub(crate) voi_lut: Option<Lut>,
}

impl Instance {
    /// The values that the modality means (Hounsfield units for CT): by the Modality LUT if there is one, else stored
    /// value times RescaleSlope plus RescaleIntercept. Source: PS3.3 C.11.1.
    pub fn modality_values(&self) -> Vec<f32> {
        self.stored.iter().map(|stored| self.modality_value(*stored)).collect()
    }

    /// The modality values as they are to be looked at: padding, which is no part of the image, is the darkest of the others, and
    /// so neither widens their range nor shines.
    pub fn values_to_show(&self) -> Vec<f32> {
        let Some(padding) = self.attributes.padding() else { return self.modality_values() };
        let value = |stored: &i32| (!padding.contains(stored)).then(|| self.modality_value(*stored));
        let values: Vec<Option<f32>> = self.stored.iter().map(value).collect();
        let shown = values.iter().flatten().copied().filter(|value| value.is_finite());
        let darkest = if self.is_monochrome1() { shown.reduce(f32::max) } else { shown.reduce(f32::min) };
        values.into_iter().map(|value| value.or(darkest).unwrap_or_default()).collect()
    }

    /// The value that the modality means by a stored value.
    #[allow(clippy::cast_possible_truncation)] // f32 holds 16-bit values after any sensible rescale
    pub(crate) fn modality_value(&self, stored: i32) -> f32 {
        if let Some(lut) = &self.modality_lut {
            return f32::from(lut.map(stored));
        }
        let slope = self.attributes.rescale_slope.unwrap_or(1.0);
        let intercept = self.attributes.rescale_intercept.unwrap_or(0.0);
        (f64::from(stored) * slope + intercept) as f32
    }

    /// What turns modality values into what people look at: the VOI LUT if there is one, else the first window that
    /// the standard allows. Source: PS3.3 C.11.2.
    pub fn voi(&self) -> Voi {
        self.voi_lut.clone().map_or_else(|| window(&self.attributes), Voi::Lut)
    }

    /// Whether the lowest value is to be shown white.
    pub fn is_monochrome1(&self) -> bool {
        self.attributes.is_monochrome1()
    }
}

impl Instance {
    /// What two slices share if they show the same: their size and modality values, however these are stored.
    pub fn pixel_digest(&self) -> Digest {
        let sides = [self.attributes.rows, self.attributes.columns, u32::from(self.is_monochrome1())];
        let sides: Vec<u8> = sides.iter().flat_map(|side| side.to_le_bytes()).collect();
        let mut values = vec![0; 4 * self.stored.len()];
        for (bytes, stored) in values.as_chunks_mut().0.iter_mut().zip(&self.stored) {
            // Adding zero turns -0.0 into 0.0.
            *bytes = (self.modality_value(*stored) + 0.0).to_le_bytes();
        }
        Digest::of_parts([&sides[..], &values])
    }
}

/// Decodes a whole file.
///
/// Limits are checked before anything is allocated: memory use is at most the file's length, and 16 bytes for each of
/// Rows times Columns pixels (at most 8192 x 8192).
///
/// # Errors
/// The reasons of [`read_header`], and [`Reason::Truncated`] or [`Reason::MalformedAttribute`] where the compressed
/// pixels are damaged.
pub fn decode(bytes: &[u8]) -> Result<Instance, Refusal> {
    let attributes = match read_header(bytes, bytes.len() as u64) {
        HeaderRead::Complete(attributes) => *attributes,
        HeaderRead::Refused { refusal, .. } => return Err(refusal),
        HeaderRead::NeedMore { .. } => {
            return Err(Refusal::new(Reason::Truncated, "it ends inside its header"));
        }
    };
    read_pixels(bytes, attributes).map_err(|stop| match stop {
        Stop::Refuse(refusal) => refusal,
        Stop::Need(_) => {
            Refusal::new(Reason::Truncated, "it ends inside an attribute; export or copy it again")
        }
    })
}

fn read_pixels(bytes: &[u8], attributes: Attributes) -> Result<Instance, Stop> {
    let mut reader = open(bytes, bytes.len() as u64, drop)?;
    let (mut modality_lut, mut voi_lut) = (None, None);
    while let Some(head) = reader.next_head()? {
        match head.tag {
            tag::MODALITY_LUT_SEQUENCE => {
                modality_lut = Lut::read(&mut reader, &head, attributes.is_signed())?
            }
            // Its input is the modality LUT's output, which is signed only where rescaling makes it so.
            tag::VOI_LUT_SEQUENCE => {
                let signed = modality_lut.is_none()
                    && (attributes.is_signed() || attributes.rescale_intercept.is_some_and(|b| b < 0.0));
                voi_lut = Lut::read(&mut reader, &head, signed)?;
            }
            tag::PIXEL_DATA => {
                let stored = stored_values(&mut reader, &head, &attributes)?;
                return Ok(Instance { attributes, stored, modality_lut, voi_lut });
            }
            _ => reader.skip(&head, 0)?,
        }
    }
    Err(refuse(Reason::NoPixels, "it has no PixelData (7FE0,0010)"))
}

fn stored_values(reader: &mut Reader, head: &Head, attributes: &Attributes) -> Result<Vec<i32>, Stop> {
    // The header's admission bounds both sides, so this can't overflow.
    let count = attributes.rows as usize * attributes.columns as usize;
    let storage = TransferSyntax::of(&attributes.transfer_syntax_uid).storage;
    let keep = |raw: u32| stored_bits(raw, attributes);
    match storage {
        Storage::Native => {
            let length = count as u64 * u64::from(attributes.bits_allocated / 8);
            // Eight-bit pixels in words of Big Endian stand swapped, two and two (PS3.5 section 8.1.2).
            if reader.encoding.big_endian && attributes.bits_allocated == 8 && head.vr == Some(*b"OW") {
                let whole = reader.slice(head.value_at, u64::from(head.length))?;
                let swapped: Vec<u8> = whole.chunks(2).flat_map(|pair| pair.iter().rev().copied()).collect();
                return Ok(swapped.into_iter().take(count).map(|byte| keep(byte.into())).collect());
            }
            let value = reader.slice(head.value_at, length)?;
            Ok(native(value, reader.encoding, attributes.bits_allocated, keep))
        }
        Storage::Rle => {
            let frame = fragments(reader, head)?;
            let samples =
                codec::rle(&frame, count, attributes.bits_allocated as usize / 8).map_err(Stop::Refuse)?;
            Ok(samples.into_iter().map(keep).collect())
        }
        Storage::Jpeg => {
            let frame = fragments(reader, head)?;
            let samples = codec::jpeg(&frame, attributes.rows, attributes.columns, attributes.bits_allocated)
                .map_err(Stop::Refuse)?;
            Ok(samples.into_iter().map(keep).collect())
        }
        Storage::Unsupported => Err(refuse(Reason::UnsupportedTransferSyntax, "its pixels can't be decoded")),
    }
}

/// Uncompressed values. Each width has a loop of its own, which is what makes it quick.
fn native(value: &[u8], encoding: Encoding, bits_allocated: u32, keep: impl Fn(u32) -> i32) -> Vec<i32> {
    match bits_allocated {
        8 => value.iter().map(|byte| keep(u32::from(*byte))).collect(),
        16 => value.as_chunks().0.iter().map(|bytes| keep(u32::from(encoding.u16(*bytes)))).collect(),
        _ => value.as_chunks().0.iter().map(|bytes| keep(encoding.u32(*bytes))).collect(),
    }
}

/// The stored bits of an allocated cell, with their sign. What other bits hold (overlays, padding) goes.
/// Source: PS3.5 section 8.1.1.
#[inline]
fn stored_bits(raw: u32, attributes: &Attributes) -> i32 {
    let (stored, high) = (attributes.bits_stored, attributes.high_bit);
    // Shifts by at most 31: admission has checked 1 <= stored <= high + 1 <= 32.
    let top_aligned = raw << (31 - high.min(31));
    let shift = 32 - stored.clamp(1, 32);
    if attributes.is_signed() {
        top_aligned.cast_signed() >> shift
    } else {
        i32::try_from(top_aligned >> shift).unwrap_or(i32::MAX)
    }
}

/// The fragments of one encapsulated frame, joined; the first item is the offset table (PS3.5 section A.4).
fn fragments(reader: &mut Reader, head: &Head) -> Result<Vec<u8>, Stop> {
    let mut frame = Vec::new();
    let mut is_offset_table = true;
    while let Some(item) = reader.next_item(head)? {
        if item.length == UNDEFINED {
            return Err(refuse(
                Reason::MalformedAttribute,
                "PixelData (7FE0,0010) has a fragment without length",
            ));
        }
        let fragment = reader.value(&item)?;
        if !std::mem::take(&mut is_offset_table) {
            frame.extend_from_slice(fragment);
        }
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::write::{CtImage, Syntax};

    const RLE: &str = "1.2.840.10008.1.2.5";
    const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";

    fn image(pixels: Vec<i32>) -> CtImage {
        let columns = u16::try_from(pixels.len() / 2).unwrap();
        CtImage { rows: 2, columns, pixels, signed: true, ..CtImage::default() }
    }

    /// An RLE frame of 16-bit samples without any run.
    fn rle_frame(pixels: &[i32]) -> Vec<u8> {
        let segment = |shift: i32| -> Vec<u8> {
            let control = u8::try_from(pixels.len() - 1).unwrap();
            let bytes = pixels.iter().map(|pixel| (pixel >> shift & 0xFF) as u8);
            std::iter::once(control).chain(bytes).collect()
        };
        let (high, low) = (segment(8), segment(0));
        let mut frame: Vec<u8> =
            [2, 64, 64 + high.len() as u32].iter().flat_map(|word| word.to_le_bytes()).collect();
        frame.resize(64, 0);
        [frame, high, low].concat()
    }

    fn jpeg_frame(side: u16, grey: u8) -> Vec<u8> {
        let mut frame = Vec::new();
        let pixels = vec![grey; usize::from(side) * usize::from(side)];
        let encoder = jpeg_encoder::Encoder::new(&mut frame, 100);
        encoder.encode(&pixels, side, side, jpeg_encoder::ColorType::Luma).unwrap();
        frame
    }

    fn jpeg_file(side: u16, frame: &[u8]) -> Vec<u8> {
        let pixels = vec![0; usize::from(side) * usize::from(side)];
        CtImage { rows: side, columns: side, pixels, ..CtImage::default() }
            .to_encapsulated(JPEG_BASELINE, frame)
    }

    #[test]
    fn rle_and_jpeg_are_decoded() {
        let pixels = vec![-1000, -1, 0, 1, 255, 3071];
        let file = image(pixels.clone()).to_encapsulated(RLE, &rle_frame(&pixels));
        assert_eq!(decode(&file).unwrap().stored, pixels);
        let decoded = decode(&jpeg_file(16, &jpeg_frame(16, 200))).unwrap().stored;
        assert!(decoded.len() == 256 && decoded.iter().all(|pixel| (pixel - 200).abs() <= 1));
    }

    #[test]
    fn a_jpeg_of_another_size_is_refused_before_it_is_decoded() {
        let refusal = decode(&jpeg_file(16, &jpeg_frame(1024, 0))).unwrap_err();
        assert_eq!(refusal.reason, Reason::MalformedAttribute);
        assert!(refusal.detail.contains("Rows and Columns"));
    }

    #[test]
    fn compressed_pixels_that_end_early_are_truncated() {
        let pixels = vec![5; 8];
        let frame = rle_frame(&pixels);
        let file = image(pixels).to_encapsulated(RLE, &frame[..frame.len() - 4]);
        assert_eq!(decode(&file).unwrap_err().reason, Reason::Truncated);
        assert_eq!(decode(&file[..file.len() - 9]).unwrap_err().reason, Reason::Truncated);
    }

    #[test]
    fn only_stored_bits_count_and_keep_their_sign() {
        let mut attributes = Attributes {
            bits_allocated: 16,
            bits_stored: 12,
            high_bit: 11,
            pixel_representation: 1,
            ..Attributes::default()
        };
        assert_eq!(stored_bits(0xF7FF, &attributes), 2047);
        assert_eq!(stored_bits(0x0FFF, &attributes), -1);
        attributes.pixel_representation = 0;
        assert_eq!(stored_bits(0xFFFF, &attributes), 4095);
        attributes.high_bit = 15;
        assert_eq!(stored_bits(0xFFF0 | 0x7, &attributes), 4095);
        let whole = Attributes { bits_allocated: 32, bits_stored: 32, high_bit: 31, ..Attributes::default() };
        assert_eq!(stored_bits(u32::MAX, &whole), i32::MAX);
    }

    #[test]
    fn modality_values_follow_slope_and_intercept() {
        let image = CtImage { rescale_slope: 2.0, rescale_intercept: -1000.0, ..image(vec![0, 1, -3, 4]) };
        let instance = decode(&image.to_bytes(Syntax::ImplicitLittle)).unwrap();
        assert_eq!(instance.modality_values(), [-1000.0, -998.0, -1006.0, -992.0]);
    }

    #[test]
    fn equal_pixels_have_one_digest_however_they_are_stored() {
        let shifted = CtImage { rescale_intercept: -24.0, ..image(vec![24, 25, 26, 27]) };
        let digest = |image: &CtImage, syntax| decode(&image.to_bytes(syntax)).unwrap().pixel_digest();
        let plain = digest(&image(vec![0, 1, 2, 3]), Syntax::ExplicitLittle);
        assert_eq!(digest(&shifted, Syntax::ExplicitBig), plain);
        assert_ne!(digest(&image(vec![0, 1, 2, 4]), Syntax::ExplicitLittle), plain);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn damaged_compressed_pixels_never_panic(
            rle: bool,
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let pixels: Vec<i32> = (0..64).collect();
            let mut frame = if rle { rle_frame(&pixels) } else { jpeg_frame(16, 7) };
            for (at, byte) in flips {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
            let file = if rle { image(pixels).to_encapsulated(RLE, &frame) } else { jpeg_file(16, &frame) };
            if let Ok(instance) = decode(&file) {
                prop_assert_eq!(instance.stored.len(), if rle { 64 } else { 256 });
            }
        }
    }
}
