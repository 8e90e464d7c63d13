//! PNG bytes in memory: pictures, masks and overlays.
//!
//! A mask is written as an indexed PNG: the value is 0 (background) or 1 (electrode), its palette shows it black and white.
//! People's own masks come in every kind of PNG, see [`decode_mask`].

use std::io::Cursor;

use png::{BitDepth, ColorType, Compression, Decoder, Encoder, Limits, Transformations};

use crate::grid::{Grid, GridError, Image8, MAX_SIDE, Mask, Rgb};

/// The most memory that decoding one PNG may take beside the picture itself, in bytes.
const DECODER_BYTES: usize = 64 << 20;

/// The bytes are no PNG that can be used.
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    /// Not a PNG, damaged, cut off, or beyond the decoder's memory limit.
    #[error("not a readable PNG: {0}")]
    Unreadable(#[from] png::DecodingError),
    /// The picture has no pixel or too many.
    #[error(transparent)]
    Size(#[from] GridError),
}

/// The pixels of a PNG before anyone decides what they mean: per pixel, `samples` values of 16 bits at most.
struct Raw {
    rows: usize,
    columns: usize,
    color: ColorType,
    depth: u8,
    palette: Vec<u8>,
    bytes: Vec<u8>,
    line: usize,
}

/// A picture of 8 bits, lossless.
pub fn encode_grey(image: &Image8) -> Vec<u8> {
    encode(image.size(), ColorType::Grayscale, BitDepth::Eight, None, image.values())
}

/// A picture in colour, 8 bits per channel, lossless.
pub fn encode_rgb(image: &Grid<Rgb>) -> Vec<u8> {
    encode(image.size(), ColorType::Rgb, BitDepth::Eight, None, image.values().as_flattened())
}

/// A mask as an indexed PNG of one bit per pixel: 0 = background, shown black; 1 = electrode, shown white.
pub fn encode_mask(mask: &Mask) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(mask.rows() * mask.columns().div_ceil(8));
    for row in 0..mask.rows() {
        let pack = |pixels: &[bool]| {
            pixels.iter().enumerate().fold(0, |byte, (i, &set)| byte | u8::from(set) << (7 - i))
        };
        bytes.extend(mask.row(row).chunks(8).map(pack));
    }
    encode(mask.size(), ColorType::Indexed, BitDepth::One, Some(&[0, 0, 0, 255, 255, 255]), &bytes)
}

fn encode(
    size: (usize, usize),
    color: ColorType,
    depth: BitDepth,
    palette: Option<&[u8]>,
    data: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A grid's sides fit u32, and writing to memory has no error of its own.
    let mut encoder = Encoder::new(&mut bytes, size.1 as u32, size.0 as u32);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_compression(Compression::Fast);
    if let Some(palette) = palette {
        encoder.set_palette(palette.to_vec());
    }
    let mut writer = encoder.write_header().expect("a grid's size is a PNG's size");
    writer.write_image_data(data).expect("the data has the grid's size");
    writer.finish().expect("memory can be written to");
    bytes
}

/// Whether these bytes begin as a PNG does.
pub fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n")
}

/// Any PNG as a picture of 8 bits: grey of 1 to 16 bits scaled to 0..=255, colours and palettes by their luma
/// (ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B), transparency ignored. At most [`MAX_SIDE`] rows and columns.
pub fn decode_grey(bytes: &[u8]) -> Result<Image8, PngError> {
    let raw = Raw::decode(bytes)?;
    let white = (1_u32 << raw.depth) - 1;
    let grey = |value: u16| ((u32::from(value) * 255 + white / 2) / white) as u8;
    raw.pixels(|samples| match (raw.color, samples) {
        (ColorType::Indexed, &[index, ..]) => {
            let entry =
                raw.palette.get(usize::from(index) * 3..usize::from(index) * 3 + 3).unwrap_or(&[0, 0, 0]);
            luma(entry[0], entry[1], entry[2])
        }
        (ColorType::Rgb | ColorType::Rgba, &[r, g, b, ..]) => luma(grey(r), grey(g), grey(b)),
        (_, samples) => grey(samples[0]),
    })
}

/// Any PNG as a mask, read as people draw masks: in a palette PNG (ours, labelme's VOC style) every *index* but 0 is
/// electrode, whatever its colour; in a grey or colour PNG (0/1, 0/255, ...) every pixel that isn't black is. Transparency is
/// ignored. At most [`MAX_SIDE`] rows and columns.
pub fn decode_mask(bytes: &[u8]) -> Result<Mask, PngError> {
    let raw = Raw::decode(bytes)?;
    let colours = match raw.color {
        ColorType::Rgb | ColorType::Rgba => 3,
        _ => 1,
    };
    raw.pixels(|samples| samples[..colours].iter().any(|&value| value != 0))
}

/// A mask of this size (Rows, Columns), read as [`decode_mask`] does.
pub fn decode_mask_of(bytes: &[u8], wanted: (usize, usize)) -> Result<Mask, PngError> {
    let mask = decode_mask(bytes)?;
    let found = mask.size();
    if found == wanted { Ok(mask) } else { Err(GridError::Mismatch { wanted, found }.into()) }
}

fn luma(r: u8, g: u8, b: u8) -> u8 {
    // Sixteenths of 4096ths that sum to one, as PIL's mode "L" has them.
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

impl Raw {
    fn decode(bytes: &[u8]) -> Result<Self, PngError> {
        let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: DECODER_BYTES });
        decoder.set_transformations(Transformations::IDENTITY);
        decoder.set_ignore_text_chunk(true);
        decoder.set_ignore_iccp_chunk(true);
        let header = decoder.read_header_info()?;
        let (rows, columns) = (header.height as usize, header.width as usize);
        if rows > MAX_SIDE || columns > MAX_SIDE {
            return Err(GridError::Size { rows, columns }.into());
        }
        let mut reader = decoder.read_info()?;
        let too_large = GridError::Size { rows, columns };
        let mut bytes = vec![0; reader.output_buffer_size().ok_or(too_large)?];
        let frame = reader.next_frame(&mut bytes)?;
        let palette = reader.info().palette.as_ref().map(|palette| palette.to_vec()).unwrap_or_default();
        // An animated PNG's first frame may be smaller than its picture; what was decoded is what counts.
        let (rows, columns) = (frame.height as usize, frame.width as usize);
        Ok(Self {
            rows,
            columns,
            color: frame.color_type,
            depth: frame.bit_depth as u8,
            palette,
            bytes,
            line: frame.line_size,
        })
    }

    /// One value per pixel, made from its samples (1 to 4, as the colour type has them).
    fn pixels<T>(&self, mut value: impl FnMut(&[u16]) -> T) -> Result<Grid<T>, PngError> {
        let count = self.color.samples();
        let mut samples = [0; 4];
        let grid = Grid::from_fn(self.rows, self.columns, |row, column| {
            let line = &self.bytes[row * self.line..][..self.line];
            for (i, sample) in samples.iter_mut().take(count).enumerate() {
                *sample = self.sample(line, column * count + i);
            }
            value(&samples[..count])
        })?;
        Ok(grid)
    }

    fn sample(&self, line: &[u8], index: usize) -> u16 {
        match self.depth {
            16 => u16::from_be_bytes([line[2 * index], line[2 * index + 1]]),
            8 => u16::from(line[index]),
            depth => {
                let bit = index * usize::from(depth);
                u16::from(line[bit / 8] >> (8 - usize::from(depth) - bit % 8)) & ((1 << depth) - 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(
        size: (usize, usize),
        color: ColorType,
        depth: BitDepth,
        palette: Option<&[u8]>,
        data: &[u8],
    ) -> Vec<u8> {
        encode(size, color, depth, palette, data)
    }

    #[test]
    fn a_mask_is_indexed_one_bit_and_shown_black_and_white() {
        let mask = Grid::from_fn(3, 11, |row, column| (row + column) % 3 == 0).unwrap();
        let bytes = encode_mask(&mask);
        let raw = Raw::decode(&bytes).unwrap();
        assert_eq!(
            (raw.color, raw.depth, &raw.palette[..]),
            (ColorType::Indexed, 1, &[0, 0, 0, 255, 255, 255][..])
        );
        assert_eq!(decode_mask(&bytes).unwrap(), mask);
        assert_eq!(decode_grey(&bytes).unwrap(), mask.map(|&set| if set { 255 } else { 0 }));
    }

    #[test]
    fn a_mask_may_be_any_kind_of_png() {
        let expected = [false, true, true];
        let grey = encoded((1, 3), ColorType::Grayscale, BitDepth::Eight, None, &[0, 1, 255]);
        let rgba = [[0, 0, 0, 255], [255, 255, 255, 0], [0, 0, 9, 255]];
        let rgba = encoded((1, 3), ColorType::Rgba, BitDepth::Eight, None, rgba.as_flattened());
        // labelme's VOC palette: index 1 is dark red, and here index 2 is black: the index counts.
        let voc = encoded(
            (1, 3),
            ColorType::Indexed,
            BitDepth::Eight,
            Some(&[0, 0, 0, 128, 0, 0, 0, 0, 0]),
            &[0, 1, 2],
        );
        let deep = encoded((1, 3), ColorType::Grayscale, BitDepth::Sixteen, None, &[0, 0, 0, 1, 255, 255]);
        let grey_alpha =
            encoded((1, 3), ColorType::GrayscaleAlpha, BitDepth::Eight, None, &[0, 255, 1, 0, 255, 9]);
        for bytes in [grey, rgba, voc, deep, grey_alpha] {
            assert_eq!(decode_mask(&bytes).unwrap().values(), expected);
        }
    }

    #[test]
    fn a_picture_may_be_any_kind_of_png() {
        let bits = encoded((1, 3), ColorType::Grayscale, BitDepth::One, None, &[0b0100_0000]);
        assert_eq!(decode_grey(&bits).unwrap().values(), [0, 255, 0]);
        let nibbles = encoded((1, 3), ColorType::Grayscale, BitDepth::Four, None, &[0x0f, 0x80]);
        assert_eq!(decode_grey(&nibbles).unwrap().values(), [0, 255, 136]);
        let deep = encoded((1, 2), ColorType::Grayscale, BitDepth::Sixteen, None, &[0x80, 0x80, 0xff, 0xff]);
        assert_eq!(decode_grey(&deep).unwrap().values(), [128, 255]);
        let rgb = encoded((1, 2), ColorType::Rgb, BitDepth::Eight, None, &[255, 0, 0, 10, 10, 10]);
        assert_eq!(decode_grey(&rgb).unwrap().values(), [76, 10]);
        let palette = encoded(
            (1, 2),
            ColorType::Indexed,
            BitDepth::Two,
            Some(&[1, 1, 1, 200, 200, 200]),
            &[0b0111_0000],
        );
        assert_eq!(decode_grey(&palette).unwrap().values(), [200, 0], "index 3 is past the palette");
    }

    #[test]
    fn an_interlaced_png_is_read() {
        // 2 x 2, grey, Adam7, written by PIL's peer zlib: pixels 10, 20 / 30, 40.
        let passes = [0_u8, 10, 0, 20, 0, 30, 40];
        let bytes = interlaced_2x2(&passes);
        assert_eq!(decode_grey(&bytes).unwrap().values(), [10, 20, 30, 40]);
    }

    /// A PNG with one stored deflate block, so that the test needs no encoder for Adam7.
    fn interlaced_2x2(data: &[u8]) -> Vec<u8> {
        let chunk = |kind: &[u8; 4], body: &[u8]| {
            let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
            bytes.extend(kind);
            bytes.extend(body);
            bytes.extend(crc(&bytes[4..]).to_be_bytes());
            bytes
        };
        let length = data.len() as u16;
        let (a, b) = data
            .iter()
            .fold((1_u32, 0_u32), |(a, b), &d| ((a + u32::from(d)) % 65521, (b + a + u32::from(d)) % 65521));
        let mut zlib = vec![0x78, 0x01, 1];
        zlib.extend(length.to_le_bytes());
        zlib.extend((!length).to_le_bytes());
        zlib.extend(data);
        zlib.extend((b << 16 | a).to_be_bytes());
        let header = [0, 0, 0, 2, 0, 0, 0, 2, 8, 0, 0, 0, 1];
        [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header), chunk(b"IDAT", &zlib), chunk(b"IEND", &[])]
            .concat()
    }

    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        })
    }

    #[test]
    fn sizes_beyond_the_limit_are_refused_before_memory_is_taken() {
        let mut bytes = encode_grey(&Grid::filled(1, 1, 0).unwrap());
        bytes[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        let crc = crc(&bytes[12..29]).to_be_bytes();
        bytes[29..33].copy_from_slice(&crc);
        assert!(matches!(decode_grey(&bytes), Err(PngError::Size(_))));
        assert!(matches!(decode_mask(b"\xff\xd8\xff\xe0 a JPEG"), Err(PngError::Unreadable(_))));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_grey(&bytes);
            let _ = decode_mask(&bytes);
        }

        #[test]
        fn flipped_and_cut_files_never_panic(
            flips in proptest::collection::vec((0_usize..400, any::<u8>()), 0..6), cut in 0_usize..400, mask: bool,
        ) {
            let grid = Grid::from_fn(9, 13, |row, column| (row * column) as u8).unwrap();
            let mut bytes = if mask { encode_mask(&grid.map(|&v| v > 20)) } else { encode_grey(&grid) };
            for (at, value) in flips {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes.truncate(cut);
            let _ = decode_grey(&bytes);
            let _ = decode_mask(&bytes);
        }

        #[test]
        fn pictures_and_masks_come_back_exactly(rows in 1_usize..20, columns in 1_usize..20, seed: u64) {
            let grid = Grid::from_fn(rows, columns, |r, c| (seed.rotate_left((r * 7 + c) as u32) & 255) as u8).unwrap();
            prop_assert_eq!(&decode_grey(&encode_grey(&grid)).unwrap(), &grid);
            let mask = grid.map(|&value| value > 127);
            prop_assert_eq!(decode_mask(&encode_mask(&mask)).unwrap(), mask);
        }
    }
}
