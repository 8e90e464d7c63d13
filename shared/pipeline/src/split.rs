//! Which pictures a model has learned from, and which were held out: what the next training has to keep to.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::job::train::Dataset;

/// How many hexadecimal digits of a picture's digest are kept: enough that two pictures never share them.
const DIGITS: usize = 16;

/// The sides on which the pictures of a model's trainings were, its base's included. It travels inside the model file, so that pictures
/// are kept by digests of their pixels ([`Sample::pixels`](crate::job::train::Sample::pixels)): they say nothing of anybody, whoever has
/// the very picture aside, and hold when patients are named anew. A patient is known by any picture that is among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Told")]
pub struct Split {
    learned_pictures: BTreeSet<String>,
    held_out_pictures: BTreeSet<String>,
    /// Whether a model in the line said it in a way that isn't read any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unknown: bool,
}

/// What model files say.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Told {
    Pictures {
        learned_pictures: BTreeSet<String>,
        held_out_pictures: BTreeSet<String>,
        #[serde(default)]
        unknown: bool,
    },
    /// Earlier versions kept digests of patients' names.
    Names {
        #[serde(rename = "learned")]
        _learned: BTreeSet<String>,
        #[serde(rename = "held_out")]
        _held_out: BTreeSet<String>,
    },
}

impl From<Told> for Split {
    fn from(told: Told) -> Self {
        match told {
            Told::Pictures { learned_pictures, held_out_pictures, unknown } => {
                Self { learned_pictures, held_out_pictures, unknown }
            }
            Told::Names { .. } => Self { unknown: true, ..Self::default() },
        }
    }
}

impl Split {
    /// The split of one dataset.
    pub fn of(dataset: &Dataset) -> Self {
        let side = |held_out: bool| {
            let some = dataset.samples.iter().filter(|sample| sample.held_out == held_out);
            some.map(|sample| mark(&sample.pixels)).collect()
        };
        Self { learned_pictures: side(false), held_out_pictures: side(true), unknown: false }
    }

    /// This split and another one. What was learned from in either can't judge any more.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.learned_pictures.extend(other.learned_pictures);
        self.held_out_pictures.extend(other.held_out_pictures);
        self.held_out_pictures.retain(|picture| !self.learned_pictures.contains(picture));
        self.unknown |= other.unknown;
        self
    }

    /// Whether a picture, by the digest of its pixels, was held out; `None` for one that is new.
    pub fn was_held_out(&self, pixels: &Digest) -> Option<bool> {
        let mark = mark(pixels);
        let learned = self.learned_pictures.contains(&mark).then_some(false);
        learned.or_else(|| self.held_out_pictures.contains(&mark).then_some(true))
    }

    /// Whether no picture is in it: a model that has learned from phantoms only.
    pub fn is_empty(&self) -> bool {
        self.learned_pictures.is_empty() && self.held_out_pictures.is_empty() && !self.unknown
    }

    /// Whether there were trainings of which it can't be told who taught them: an earlier version made the file.
    pub fn is_unknown(&self) -> bool {
        self.unknown
    }
}

fn mark(pixels: &Digest) -> String {
    pixels.short(DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::train::Sample;

    fn split(pictures: &[(&str, bool)]) -> Split {
        let sample = |&(picture, held_out): &(&str, bool)| Sample {
            name: format!("P-secret/{picture}"),
            patient: "P-secret".into(),
            pixels: Digest::of(picture),
            image: Digest::of("image"),
            mask: Digest::of("mask"),
            held_out,
        };
        Split::of(&Dataset { samples: pictures.iter().map(sample).collect() })
    }

    #[test]
    fn what_was_learned_from_once_is_never_held_out_again() {
        let both = split(&[("a", true), ("b", false)]).and(split(&[("a", false), ("c", true)]));
        assert_eq!(
            ["a", "b", "c", "d"].map(|picture| both.was_held_out(&Digest::of(picture))),
            [Some(false), Some(false), Some(true), None]
        );
        assert!(Split::default().is_empty() && !both.is_empty() && !both.is_unknown());
    }

    #[test]
    fn it_comes_back_as_it_was_and_nobody_can_be_read_in_it() {
        let split = split(&[("a", true), ("b", false)]);
        let json = serde_json::to_string(&split).unwrap();
        assert!(!json.contains("secret") && !json.contains("unknown"), "{json}");
        assert_eq!(serde_json::from_str::<Split>(&json).unwrap(), split);
    }

    #[test]
    fn digests_of_names_in_earlier_files_are_read_as_unknown() {
        let names = r#"{ "learned": ["0123456789abcdef"], "held_out": [] }"#;
        let earlier: Split = serde_json::from_str(names).unwrap();
        assert!(earlier.is_unknown() && !earlier.is_empty());
        let later = split(&[("a", true)]).and(earlier);
        assert!(later.is_unknown() && later.was_held_out(&Digest::of("a")) == Some(true));
        let json = serde_json::to_string(&later).unwrap();
        assert_eq!(serde_json::from_str::<Split>(&json).unwrap(), later);
        assert!(serde_json::from_str::<Split>(r#"{ "learned": [], "somebody": [] }"#).is_err());
    }
}
