//! Decoders of compressed pixels. Each gives exactly as many samples as asked for, or a refusal.

use modiolus_pipeline::{Reason, Refusal};

fn damaged(detail: &str) -> Refusal {
    Refusal::new(Reason::MalformedAttribute, format!("PixelData (7FE0,0010) can't be decompressed: {detail}"))
}

/// RLE Lossless: one segment for each byte of a sample, the most significant first. Source: DICOM PS3.5 annex G.
pub(crate) fn rle(frame: &[u8], count: usize, bytes_per_sample: usize) -> Result<Vec<u32>, Refusal> {
    let word = |index: usize| {
        let bytes = frame.get(index * 4..index * 4 + 4)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    };
    if word(0) != Some(bytes_per_sample) {
        return Err(damaged("its number of segments does not fit BitsAllocated"));
    }
    let mut samples = vec![0_u32; count];
    for segment in 0..bytes_per_sample {
        let from = word(1 + segment).filter(|from| *from >= 64 && *from <= frame.len());
        let Some(from) = from else { return Err(damaged("a segment lies outside of it")) };
        let is_last = segment + 1 == bytes_per_sample;
        let to = if is_last { frame.len() } else { word(2 + segment).unwrap_or(0).min(frame.len()) };
        unpack_bits(frame.get(from..to).unwrap_or_default(), &mut samples)?;
    }
    Ok(samples)
}

/// Shifts the next byte of each sample in.
fn unpack_bits(packed: &[u8], samples: &mut [u32]) -> Result<(), Refusal> {
    let mut packed = packed.iter().copied();
    let mut samples = samples.iter_mut();
    let short =
        || Refusal::new(Reason::Truncated, "its compressed pixels end early; export or copy it again");
    while samples.len() > 0 {
        let control = packed.next().ok_or_else(short)?.cast_signed();
        match control {
            -128 => {}
            0.. => {
                for sample in samples.by_ref().take(control as usize + 1) {
                    *sample = *sample << 8 | u32::from(packed.next().ok_or_else(short)?);
                }
            }
            _ => {
                let byte = packed.next().ok_or_else(short)?;
                for sample in samples.by_ref().take(usize::from(control.unsigned_abs()) + 1) {
                    *sample = *sample << 8 | u32::from(byte);
                }
            }
        }
    }
    Ok(())
}

/// JPEG: baseline and extended with 8 bits, lossless with up to 16.
pub(crate) fn jpeg(frame: &[u8], rows: u32, columns: u32, bits_allocated: u32) -> Result<Vec<u32>, Refusal> {
    check_jpeg_frame(frame, rows, columns, bits_allocated)?;
    let mut decoder = jpeg_decoder::Decoder::new(frame);
    decoder.set_max_decoding_buffer_size(rows as usize * columns as usize * 2);
    let bytes = decoder.decode().map_err(|_| damaged("its JPEG stream is damaged"))?;
    let count = rows as usize * columns as usize;
    if bytes.len() == count {
        Ok(bytes.into_iter().map(u32::from).collect())
    } else if bytes.len() == 2 * count {
        Ok(bytes.chunks_exact(2).map(|c| u32::from(u16::from_ne_bytes([c[0], c[1]]))).collect())
    } else {
        Err(damaged("its JPEG image has another size"))
    }
}

/// The decoder believes the JPEG stream's own description, so that is compared with the attributes first.
/// Source: ITU-T T.81 section B.2.2.
fn check_jpeg_frame(frame: &[u8], rows: u32, columns: u32, bits_allocated: u32) -> Result<(), Refusal> {
    let mut rest = frame.strip_prefix(&[0xFF, 0xD8]).ok_or_else(|| damaged("it has no JPEG stream"))?;
    let mut frames = 0;
    // Segments up to the start of scan; a second frame header, which could change the size, is refused.
    loop {
        match *rest {
            [0xFF, 0xFF, ..] => rest = &rest[1..],
            [0xFF, 0xDA, ..] if frames == 1 => return Ok(()),
            [0xFF, marker, high, low, ref segment @ ..] if marker != 0xDA => {
                if matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC) {
                    check_frame_header(segment, rows, columns, bits_allocated)?;
                    frames += 1;
                }
                let length = usize::from(u16::from_be_bytes([high, low])).saturating_sub(2);
                rest = segment.get(length..).ok_or_else(|| damaged("its JPEG stream ends early"))?;
            }
            _ => return Err(damaged("its JPEG stream has no image")),
        }
    }
}

fn check_frame_header(segment: &[u8], rows: u32, columns: u32, bits_allocated: u32) -> Result<(), Refusal> {
    let [precision, y1, y0, x1, x0, 1, ..] = *segment else {
        return Err(damaged("its JPEG image is not grey"));
    };
    let size = [y1, x1].map(u16::from);
    let (height, width) = (size[0] << 8 | u16::from(y0), size[1] << 8 | u16::from(x0));
    if (u32::from(height), u32::from(width)) != (rows, columns) {
        return Err(damaged("its JPEG image has another size than Rows and Columns say"));
    }
    if precision < 2 || u32::from(precision) > bits_allocated.min(16) {
        return Err(damaged("its JPEG image has more bits than BitsAllocated"));
    }
    Ok(())
}
