//! Delivered paths as text: any bytes in, printable UTF-8 out, and back.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The text names no file inside the scans' folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a path inside the scans' folder: it is absolute, has an empty part, '.' or '..', or a malformed %XX"
)]
pub struct BadPath;

/// A relative path as text: bytes that are not UTF-8, control characters and '%' are written as %XX.
pub fn escape_path(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '%' || c.is_control() {
                escape_bytes(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut text);
            } else {
                text.push(c);
            }
        }
        escape_bytes(chunk.invalid(), &mut text);
    }
    text
}

fn escape_bytes(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        text.push_str(&format!("%{byte:02X}"));
    }
}

/// The path that [`escape_path`] made the text from.
///
/// # Errors
/// When the text names nothing inside a folder: an absolute path, an empty part, `.` or `..`, a NUL, a malformed %XX.
pub fn unescape_path(text: &str) -> Result<PathBuf, BadPath> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (digits, after) = rest.split_at_checked(2).ok_or(BadPath)?;
            bytes.push(hex_byte(digits).ok_or(BadPath)?);
            rest = after;
        } else {
            bytes.push(byte);
        }
    }
    if stays_inside(&bytes) { Ok(PathBuf::from(OsString::from_vec(bytes))) } else { Err(BadPath) }
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(digits[0])? << 4 | digit(digits[1])?)
}

/// Whether a relative path can't leave the folder that it starts from (links aside).
pub(crate) fn stays_inside(path: impl AsRef<[u8]>) -> bool {
    let path = path.as_ref();
    !path.contains(&0) && path.split(|b| *b == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn readable_names_stay_readable_and_the_rest_is_escaped() {
        assert_eq!(escape_path(Path::new("Пациент 1/I1.dcm")), "Пациент 1/I1.dcm");
        assert_eq!(escape_path(Path::new("100%/a\nb")), "100%25/a%0Ab");
        let latin1 = OsString::from_vec(b"M\xfcller/\xff".to_vec());
        assert_eq!(escape_path(Path::new(&latin1)), "M%FCller/%FF");
        assert_eq!(unescape_path("M%FCller/%FF"), Ok(PathBuf::from(latin1)));
    }

    #[test]
    fn text_that_leaves_the_folder_is_refused() {
        let texts = [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "a/",
            "%2E%2E/x",
            "%2e./x",
            ".",
            "%00",
            "a%",
            "%+1",
            "%zz",
        ];
        for text in texts {
            assert_eq!(unescape_path(text), Err(BadPath), "{text:?}");
        }
        assert_eq!(unescape_path("%2Fetc"), Err(BadPath));
    }

    fn name() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![1u8..=255, Just(b'%'), Just(0xc3)], 1..12)
            .prop_map(|name| name.into_iter().filter(|b| *b != b'/').collect())
            .prop_filter("a name", |name: &Vec<u8>| !matches!(name.as_slice(), b"" | b"." | b".."))
    }

    proptest! {
        #[test]
        fn any_path_of_a_file_system_comes_back_from_its_text(names in prop::collection::vec(name(), 1..5)) {
            let path = PathBuf::from(OsString::from_vec(names.join(&b'/')));
            let text = escape_path(&path);
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert_eq!(unescape_path(&text), Ok(path));
        }

        #[test]
        fn no_text_names_anything_outside(text in "[a./%0-9F]{0,24}") {
            if let Ok(path) = unescape_path(&text) {
                prop_assert!(path.is_relative());
                prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
            }
        }
    }
}
