//! Whether the name of a file says whose it is: people name files for patients.

use crate::text;

/// Parts of a name with fewer letters are parts of many words.
const LETTERS: usize = 3;

/// The same outside of ASCII, where some names have no more.
const OTHER_LETTERS: usize = 2;

/// Shorter numbers are those of slices and series.
const DIGITS: usize = 4;

/// Whether a file's name (without its folders) has a part of PatientName or PatientID in it, whatever its case and accents.
pub fn is_in_file_name(file_name: &str, patient_name: &str, patient_id: &str) -> bool {
    // Umlauts are written with an e by some and without by others.
    [false, true].into_iter().any(|with_e| {
        let file = folded(file_name, with_e);
        let known = [patient_name, patient_id].map(|known| folded(&text::with_latin1(known), with_e));
        let mut parts = known.iter().flat_map(|text| text.split(|c: char| !c.is_alphanumeric()));
        parts.any(|part| has(&file, part)) || has_whole(&file, &known[1])
    })
}

/// Whether PatientID is in it, however either is cut into parts: `12-34-56` as `123456`. UIDs are cut into numbers of their own.
fn has_whole(file: &str, id: &str) -> bool {
    let whole = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    let id = whole(id);
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_uid = file.split('.').filter(is_number).count() > 3;
    id.chars().count() > DIGITS && !is_uid && whole(file).contains(&id)
}

fn has(file: &str, part: &str) -> bool {
    if part.bytes().all(|b| b.is_ascii_digit()) {
        // As a number of its own: every UID has every short number somewhere inside.
        let part = part.trim_start_matches('0');
        let mut numbers = file.split(|c: char| !c.is_ascii_digit());
        return part.len() >= DIGITS && numbers.any(|number| number.trim_start_matches('0') == part);
    }
    let least = if part.is_ascii() { LETTERS } else { OTHER_LETTERS };
    let letters = part.chars().count();
    // Shorter ones as a word of their own.
    letters >= least && file.contains(part)
        || letters == 2 && file.split(|c: char| !c.is_alphabetic()).any(|word| word == part)
}

/// In lower case and without accents.
fn folded(text: &str, with_e: bool) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        match c {
            'ä' | 'ö' | 'ü' if with_e => folded.extend([base(c), 'e']),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'ß' => folded.push_str("ss"),
            'þ' => folded.push_str("th"),
            // Accents that stand on their own, as a Mac writes them in names of files.
            '\u{300}'..='\u{36F}' => {}
            _ => folded.push(base(c)),
        }
    }
    folded
}

/// The letter below an accent, of the alphabets of Europe.
fn base(c: char) -> char {
    match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => 'c',
        'ð' | 'ď' | 'đ' => 'd',
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => 'e',
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => 'g',
        'ĥ' | 'ħ' => 'h',
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => 'i',
        'ĵ' => 'j',
        'ķ' => 'k',
        'ĺ' | 'ļ' | 'ľ' | 'ŀ' | 'ł' => 'l',
        'ñ' | 'ń' | 'ņ' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => 'o',
        'ŕ' | 'ŗ' | 'ř' => 'r',
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => 's',
        'ţ' | 'ť' | 'ŧ' | 'ț' => 't',
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => 'u',
        'ŵ' => 'w',
        'ý' | 'ÿ' | 'ŷ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        'ё' => 'е',
        'й' => 'и',
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_patients_name_or_id_is_found_whatever_its_case_and_accents() {
        for (file, name) in [
            ("MUELLER_003.dcm", "Müller^Jörg"),
            ("muller-3", "Müller^Jörg"),
            ("mu\u{308}ller.dcm", "Müller^Jörg"),
            ("scan joerg", "Müller^Jörg"),
            ("Иванов_1", "ИВАНОВ^Иван"),
            ("lukasz1", "Łukasz"),
            ("山田0001.dcm", "Yamada^Tarou=山田^太郎"),
            ("CT_doe_12", "Doe^Jane"),
            // Its character set was not named, or wrongly.
            ("MUELLER_003.dcm", "M\\xfcller^J\\xf6rg"),
        ] {
            assert!(is_in_file_name(file, name, ""), "{file} {name}");
        }
        assert!(is_in_file_name("LI_WU_003.dcm", "Li^Wu", ""));
        for (file, id) in [
            ("4711_12.dcm", "ID-4711"),
            ("IM004711", "4711"),
            ("p77x-1", "P77X"),
            ("12-34-56.dcm", "12-34-56"),
            ("CT 123456.dcm", "12-34-56"),
        ] {
            assert!(is_in_file_name(file, "", id), "{file} {id}");
        }
    }

    #[test]
    fn what_is_in_every_name_is_no_sign() {
        for (file, name, id) in [
            ("I0000613", "Doe^Jane", "207"),
            ("207_613", "", "207"),
            ("1.2.840.10008.147110", "", "4711"),
            ("IM-0001-0002.dcm", "Li^Wu", "1"),
            ("anything", "", ""),
            ("a b", "^^ = -", "--"),
        ] {
            assert!(!is_in_file_name(file, name, id), "{file} {name} {id}");
        }
    }
}
