//! Text and numbers of elements. Source: DICOM PS3.5 sections 6.1 and 6.2, PS3.3 C.12.1.1.2 (character sets).

use encoding_rs::Encoding;
use modiolus_pipeline::Digest;

/// Identifiers longer than this are cut; the cut ones end in a digest of the whole, so different ones stay different.
/// The standard allows 64 characters.
const IDENTIFIER_LIMIT: usize = 256;

/// The value without its padding: spaces and NULs at both ends.
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(first) = value.iter().position(|b| !is_padding(b)) else { return &[] };
    let last = value.iter().rposition(|b| !is_padding(b)).unwrap_or(first);
    &value[first..=last]
}

/// The text of a value in the character set that SpecificCharacterSet names. What that set can't decode keeps every
/// bit: bytes outside ASCII become `\xHH`.
pub(crate) fn decode(value: &[u8], character_set: &[u8]) -> String {
    let value = trim(value);
    // ISO 2022 switches sets by escape sequences; a text without any of them, and without high bytes, is ASCII.
    if value.iter().all(|b| b.is_ascii() && *b != 0x1B) {
        return String::from_utf8_lossy(value).into_owned();
    }
    let whole = encoding_of(character_set)
        .and_then(|set| set.decode_without_bom_handling_and_without_replacement(value));
    match whole {
        Some(text) => text.into_owned(),
        None => escape(value),
    }
}

/// The first character set is the one in use until an escape sequence, and those are not followed here.
fn encoding_of(character_set: &[u8]) -> Option<&'static Encoding> {
    let first = character_set.split(|b| *b == b'\\').next().map_or(&[][..], trim);
    let first = std::str::from_utf8(first).ok()?.replace("ISO_IR ", "").replace("ISO 2022 IR ", "");
    let label = match first.as_str() {
        "100" => "windows-1252",
        "101" => "iso-8859-2",
        "109" => "iso-8859-3",
        "110" => "iso-8859-4",
        "126" => "iso-8859-7",
        "127" => "iso-8859-6",
        "138" => "iso-8859-8",
        "144" => "iso-8859-5",
        "166" => "windows-874",
        "203" => "iso-8859-15",
        "GB18030" | "GBK" => "gb18030",
        // None is named where a high byte stands: nearly always UTF-8, and if it isn't, that shows.
        "192" | "" | "6" => "utf-8",
        _ => return None,
    };
    Encoding::for_label(label.as_bytes())
}

fn escape(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value {
        match byte {
            b'\\' => text.push_str("\\x5c"),
            0x20..=0x7E => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

/// The text with Latin 1 for what [`decode`] had to escape: most systems that name no character set have that one.
pub(crate) fn with_latin1(text: &str) -> String {
    let mut pieces = text.split("\\x");
    let mut read = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => read.extend([char::from(byte).to_string().as_str(), &piece[2..]]),
            None => read.extend(["\\x", piece]),
        }
    }
    read
}

/// An identifier, of bounded length.
pub(crate) fn identifier(value: &[u8], character_set: &[u8]) -> String {
    let value = trim(value);
    if value.len() <= IDENTIFIER_LIMIT {
        return decode(value, character_set);
    }
    let kept = decode(&value[..IDENTIFIER_LIMIT / 2], character_set);
    format!("{kept}~{}", Digest::of(value).short(32))
}

/// Short text that is ASCII by the standard (UI, CS); other bytes become `\xHH`.
pub(crate) fn code(value: &[u8]) -> String {
    identifier(value, b"none")
}

/// A value that is no number where a number has to be.
#[derive(Debug, PartialEq)]
pub(crate) struct NotANumber;

/// The numbers of a decimal string (DS): at most `limit` of them, blank ones left out.
pub(crate) fn numbers(value: &[u8], limit: usize) -> Result<Vec<f64>, NotANumber> {
    let mut numbers = Vec::new();
    for part in trim(value).split(|b| *b == b'\\').map(trim).filter(|part| !part.is_empty()) {
        if numbers.len() == limit {
            return Err(NotANumber);
        }
        numbers.push(number(part)?);
    }
    Ok(numbers)
}

/// One number of a decimal string: digits, sign, point, exponent. Neither "inf" nor a decimal comma.
pub(crate) fn number(part: &[u8]) -> Result<f64, NotANumber> {
    let is_decimal = |b: &u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E');
    if part.len() > 64 || !part.iter().all(is_decimal) {
        return Err(NotANumber);
    }
    let text = std::str::from_utf8(part).map_err(|_| NotANumber)?;
    text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or(NotANumber)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cyrillic_is_read_in_both_of_its_usual_character_sets() {
        assert_eq!(decode("Иванов ".as_bytes(), b"ISO_IR 192"), "Иванов");
        assert_eq!(decode(&[0xB8, 0xD2, 0xD0, 0xDD, 0xDE, 0xD2], b"ISO_IR 144 "), "Иванов");
        assert_eq!(decode(b"M\xFCller\0", b"ISO_IR 100"), "Müller");
        assert_eq!(decode("Müller".as_bytes(), b""), "Müller");
    }

    #[test]
    fn undecodable_text_keeps_every_byte() {
        assert_eq!(decode(b"a\xFF\\b", b"ISO_IR 192"), "a\\xff\\x5cb");
        assert_eq!(decode(b"\x1B$B", b"ISO 2022 IR 87"), "\\x1b$B");
        assert_ne!(decode(b"\xFF", b""), decode(b"\xFE", b""));
        assert_eq!(with_latin1(&decode(b"M\xFCl\\ler^J\xF6", b"")), "Mül\\ler^Jö");
        assert_eq!(with_latin1("\\x\\xg0\\xé\\"), "\\x\\xg0\\xé\\");
    }

    #[test]
    fn long_identifiers_are_cut_and_stay_different() {
        let (one, two) = (identifier(&[b'x'; 10_000], b""), identifier(&[b'x'; 10_001], b""));
        assert!(one.len() < 200 && two.len() < 200);
        assert_ne!(one, two);
        assert_eq!(identifier(b" ../../etc ", b""), "../../etc");
    }

    #[test]
    fn decimal_strings_are_numbers_or_refused() {
        assert_eq!(numbers(b"1\\-0.0\\ 2.5E+1 \\", 6), Ok(vec![1.0, -0.0, 25.0]));
        assert_eq!(numbers(b"", 6), Ok(vec![]));
        for bad in ["0,2\\0,2", "one", "inf", "NaN", "1e999", "1 2", "--1", "."] {
            assert_eq!(numbers(bad.as_bytes(), 6), Err(NotANumber), "{bad}");
        }
        assert_eq!(numbers(b"1\\2\\3", 2), Err(NotANumber));
    }
}
