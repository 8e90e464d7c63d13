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
    let (mut process, mut restarts) = (None, false);
    // Segments up to the start of scan; a second frame header, which could change the size, is refused.
    loop {
        let (marker, length, segment) = match *rest {
            [0xFF, 0xFF, ..] => {
                rest = &rest[1..];
                continue;
            }
            [0xFF, marker, high, low, ref segment @ ..] => {
                (marker, usize::from(u16::from_be_bytes([high, low])).saturating_sub(2), segment)
            }
            _ => return Err(damaged("its JPEG stream has no image")),
        };
        match (marker, process) {
            (SOS, Some(LOSSLESS)) => return check_lossless_scan(segment, restarts),
            (SOS, Some(_)) => return Ok(()),
            (SOS, None) => return Err(damaged("its JPEG stream has no image")),
            (0xC4 | 0xC8 | 0xCC, _) => {}
            (0xC0..=0xCF, None) => {
                check_frame_header(segment, rows, columns, bits_allocated)?;
                process = Some(marker);
            }
            (0xC0..=0xCF, Some(_)) => return Err(damaged("its JPEG stream has more than one image")),
            (DRI, _) => restarts = !matches!(segment, [0, 0, ..]),
            _ => {}
        }
        rest = segment.get(length..).ok_or_else(|| damaged("its JPEG stream ends early"))?;
    }
}

/// Start of scan, definition of the restart interval, and the frame header of the lossless process (14).
const SOS: u8 = 0xDA;
const DRI: u8 = 0xDD;
const LOSSLESS: u8 = 0xC3;

/// The decoder gets lossless streams with restart intervals or a point transform wrong, without an error.
/// Source: ITU-T T.81 sections B.2.3 and H.1.2.
fn check_lossless_scan(segment: &[u8], restarts: bool) -> Result<(), Refusal> {
    let unsupported = |what: &str| {
        let detail = format!(
            "PixelData (7FE0,0010) is JPEG Lossless with {what}, which can't be decoded; export it uncompressed"
        );
        Err(Refusal::new(Reason::UnsupportedTransferSyntax, detail))
    };
    // One component: its number and its table, the predictor, an unused byte, and the point transform.
    let [1, _, _, predictor, _, transform, ..] = *segment else {
        return Err(damaged("its JPEG scan is not grey"));
    };
    if restarts {
        return unsupported("restart intervals");
    }
    if transform & 0x0F != 0 {
        return unsupported("a point transform");
    }
    if !(1..=7).contains(&predictor) {
        return Err(damaged("its JPEG scan has no predictor"));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A lossless stream of 2 x 3 pixels of 16 bits, all of them the first prediction: its restart interval and its point transform.
    fn lossless(interval: Option<u16>, transform: u8) -> Vec<u8> {
        let mut stream = vec![0xFF, 0xD8, 0xFF, 0xC3, 0, 11, 16, 0, 2, 0, 3, 1, 1, 0x11, 0];
        // Codes 0, 10 and 110 for differences of 0, 1 and 16 bits.
        stream.extend([0xFF, 0xC4, 0, 22, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 16]);
        if let Some(interval) = interval {
            stream.extend([0xFF, 0xDD, 0, 4]);
            stream.extend(interval.to_be_bytes());
        }
        stream.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 0, transform]);
        // No difference from what is predicted for any of the six, then ones to the end of the byte.
        stream.extend([0b0000_0011, 0xFF, 0xD9]);
        stream
    }

    #[test]
    fn a_lossless_stream_is_decoded_or_refused_by_name() {
        assert_eq!(jpeg(&lossless(None, 0), 2, 3, 16).unwrap(), [1 << 15; 6]);
        assert_eq!(jpeg(&lossless(Some(0), 0), 2, 3, 16).unwrap(), [1 << 15; 6]);
        for (stream, what) in
            [(lossless(Some(3), 0), "restart intervals"), (lossless(None, 2), "a point transform")]
        {
            let refusal = jpeg(&stream, 2, 3, 16).unwrap_err();
            assert_eq!(refusal.reason, Reason::UnsupportedTransferSyntax);
            assert!(refusal.detail.contains(what) && refusal.detail.contains("uncompressed"), "{refusal}");
        }
    }
}
