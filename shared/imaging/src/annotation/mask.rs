//! The mask of a slice, in whatever file a person drew it.

use super::{AnnotationError, BYTE_ORDER_MARK, parse};
use crate::grid::Mask;
use crate::png::{self, PngError};

/// The file holds no mask of the slice.
#[derive(Debug, thiserror::Error)]
pub enum MaskError {
    /// It is neither of the two.
    #[error("neither a PNG nor a labelme file")]
    Neither,
    /// A PNG that can't be read, or of another size.
    #[error(transparent)]
    Png(#[from] PngError),
    /// A labelme file that can't be used.
    #[error(transparent)]
    Labelme(#[from] AnnotationError),
}

/// The mask of a slice of this size (Rows, Columns) in a file: a PNG, read as [`png::decode_mask`] does, or labelme's JSON, of which
/// the shapes labelled `electrode` are drawn. What the file is, its bytes say.
///
/// # Errors
/// When it is neither, can't be read, or was drawn on another size.
pub fn mask(file: &[u8], size: (usize, usize)) -> Result<Mask, MaskError> {
    if png::is_png(file) {
        return Ok(png::decode_mask_of(file, size)?);
    }
    let text = file.strip_prefix(BYTE_ORDER_MARK).unwrap_or(file);
    match text.trim_ascii_start().first() {
        Some(b'{') => Ok(parse(file, size.0, size.1)?.electrode),
        _ => Err(MaskError::Neither),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_a_png_of_the_slices_size_or_what_labelme_wrote() {
        let drawn = Mask::from_fn(3, 4, |row, column| row == 1 && column > 0).unwrap();
        let indexed = png::encode_mask(&drawn);
        assert_eq!(mask(&indexed, (3, 4)).unwrap(), drawn);
        let labelme = b"\xef\xbb\xbf {\"shapes\":[],\"imageHeight\":3,\"imageWidth\":4}";
        assert!(mask(labelme, (3, 4)).unwrap().is_blank());
    }

    #[test]
    fn what_is_none_says_what_it_is() {
        let said = |file: &[u8], size| mask(file, size).unwrap_err().to_string();
        let indexed = png::encode_mask(&Mask::filled(3, 4, true).unwrap());
        let size = said(&indexed, (4, 3));
        assert!(size.contains("3 x 4") && size.contains("4 x 3"), "{size}");
        assert!(said(&indexed[..20], (3, 4)).contains("not a readable PNG"));
        assert!(said(b"{}", (3, 4)).contains("not a labelme file"));
        for other in [b"\xff\xd8\xff\xe0 a JPEG".as_slice(), b"", b"[1]"] {
            assert_eq!(said(other, (3, 4)), "neither a PNG nor a labelme file");
        }
    }
}
