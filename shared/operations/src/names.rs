//! Names in the output: patients' folders and stems that are safe as paths, and different for different things.

use std::collections::HashMap;

use modiolus_pipeline::Digest;

/// Longer names are cut and get a digest.
const MAX_LENGTH: usize = 64;

/// A name that is safe in a path and a URL. A name that had to be changed gets a piece of its digest, so that two different
/// names stay different.
pub fn safe(name: &str) -> String {
    let trimmed = name.trim();
    let plain: String = trimmed
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .take(MAX_LENGTH)
        .collect();
    if plain == trimmed && !plain.starts_with('.') && !plain.is_empty() {
        return plain;
    }
    let plain = plain.trim_start_matches('.');
    let start = if plain.is_empty() { "unnamed" } else { plain };
    format!("{start}~{}", Digest::of(trimmed).short(6))
}

/// The stem of an input file: its name without a DICOM ending.
pub fn stem(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let lower = name.to_ascii_lowercase();
    let ending = [".dcm", ".dicom", ".dic", ".ima"].into_iter().find(|ending| lower.ends_with(ending));
    match ending {
        Some(ending) if name.len() > ending.len() => safe(&name[..name.len() - ending.len()]),
        _ => safe(name),
    }
}

/// The stem of a slice whose file is named for its patient: SERIES_INSTANCE, by SeriesNumber and InstanceNumber.
pub fn neutral_stem(series: Option<i64>, instance: Option<i64>) -> String {
    let number = |number: Option<i64>| number.map_or_else(|| "x".to_owned(), |number| number.to_string());
    format!("{}_{}", number(series), number(instance))
}

/// The folder of a path below the scans' folder; "." for the scans' folder itself.
pub fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(folder, _)| folder)
}

/// Gives each stem of a patient once; files of one name in different folders become `STEM`, `STEM~2`, `STEM~3`.
#[derive(Default)]
pub struct Stems(HashMap<(String, String), usize>);

impl Stems {
    /// The stem for the next file of this name.
    pub fn next(&mut self, patient: &str, stem: String) -> String {
        let count = self.0.entry((patient.to_owned(), stem.clone())).or_default();
        *count += 1;
        if *count == 1 { stem } else { format!("{stem}~{count}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_inside_their_folder_and_stay_different() {
        let long = "x".repeat(10_000);
        let names = ["../x", "a/b", "a\0b", "Иванов", "", ".", "..", &long, "a b", "a_b", "207"];
        let mut safe_names: Vec<String> = names.iter().map(|name| safe(name)).collect();
        for name in &safe_names {
            assert!(!name.starts_with('.') && !name.contains(['/', '\0']) && name.len() <= 80, "{name}");
        }
        assert_eq!(safe_names[10], "207");
        safe_names.sort();
        safe_names.dedup();
        assert_eq!(safe_names.len(), names.len());
    }

    #[test]
    fn a_stem_is_the_name_without_a_dicom_ending() {
        assert_eq!(stem("a/b/I0000613"), "I0000613");
        assert_eq!(stem("a/IM1.DCM"), "IM1");
        assert_eq!(stem("a/1.2.840"), "1.2.840");
        let mut stems = Stems::default();
        assert_eq!(stems.next("p", "I1".into()), "I1");
        assert_eq!(stems.next("p", "I1".into()), "I1~2");
        assert_eq!(stems.next("q", "I1".into()), "I1");
    }
}
