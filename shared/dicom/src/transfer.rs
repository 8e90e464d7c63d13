//! Transfer syntaxes: how the data set and the pixels of a file are written. Source: DICOM PS3.5 section 10 and PS3.6 table A-1.

use crate::element::Encoding;

/// How pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// One after the other, uncompressed.
    Native,
    /// RLE Lossless.
    Rle,
    /// JPEG: baseline, extended (8 bit) or lossless.
    Jpeg,
    /// Not decoded here.
    Unsupported,
}

/// A transfer syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransferSyntax {
    pub(crate) name: &'static str,
    pub(crate) encoding: Encoding,
    pub(crate) storage: Storage,
    /// The data set itself is compressed and can't be read here.
    pub(crate) deflated: bool,
}

pub(crate) const EXPLICIT_LITTLE_UID: &str = "1.2.840.10008.1.2.1";
pub(crate) const IMPLICIT_LITTLE_UID: &str = "1.2.840.10008.1.2";
pub(crate) const JPEG_EXTENDED_UID: &str = "1.2.840.10008.1.2.4.51";
pub(crate) const EXPLICIT_BIG_UID: &str = "1.2.840.10008.1.2.2";

impl TransferSyntax {
    /// The transfer syntax with this UID. Unknown ones are read as Explicit VR Little Endian, as all but the three oldest are.
    pub(crate) fn of(uid: &str) -> Self {
        let compressed =
            |name, storage| Self { name, encoding: Encoding::EXPLICIT_LITTLE, storage, deflated: false };
        let native = |name, encoding| Self { name, encoding, storage: Storage::Native, deflated: false };
        match uid {
            IMPLICIT_LITTLE_UID => native("Implicit VR Little Endian", Encoding::IMPLICIT_LITTLE),
            EXPLICIT_LITTLE_UID => native("Explicit VR Little Endian", Encoding::EXPLICIT_LITTLE),
            "1.2.840.10008.1.2.1.98" => compressed("Encapsulated Uncompressed", Storage::Unsupported),
            "1.2.840.10008.1.2.1.99" => Self {
                deflated: true,
                ..compressed("Deflated Explicit VR Little Endian", Storage::Unsupported)
            },
            EXPLICIT_BIG_UID => native("Explicit VR Big Endian", Encoding::EXPLICIT_BIG),
            "1.2.840.10008.1.2.4.50" => compressed("JPEG Baseline", Storage::Jpeg),
            JPEG_EXTENDED_UID => compressed("JPEG Extended", Storage::Jpeg),
            "1.2.840.10008.1.2.4.57" => compressed("JPEG Lossless", Storage::Jpeg),
            "1.2.840.10008.1.2.4.70" => compressed("JPEG Lossless SV1", Storage::Jpeg),
            "1.2.840.10008.1.2.5" => compressed("RLE Lossless", Storage::Rle),
            "1.2.840.10008.1.2.4.80" => compressed("JPEG-LS Lossless", Storage::Unsupported),
            "1.2.840.10008.1.2.4.81" => compressed("JPEG-LS Near-lossless", Storage::Unsupported),
            "1.2.840.10008.1.2.4.90" => compressed("JPEG 2000 Lossless", Storage::Unsupported),
            "1.2.840.10008.1.2.4.91" => compressed("JPEG 2000", Storage::Unsupported),
            _ => compressed("unknown to this program", Storage::Unsupported),
        }
    }
}

/// A UID fit for a message: hostile text is not repeated.
pub(crate) fn printable_uid(uid: &str) -> &str {
    let plain = uid.len() <= 64 && uid.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if plain { uid } else { "not a UID" }
}
