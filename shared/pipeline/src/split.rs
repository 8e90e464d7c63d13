//! Which patients a model has learned from, and which were held out: what the next training has to keep to.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::job::train::Dataset;

/// How many hexadecimal digits of a patient's digest are kept: enough that two patients never share them.
const DIGITS: usize = 16;

/// The sides on which the patients of a model's trainings were, its base's included. It travels inside the model file, so that
/// patients are kept by digests of their names: who knows or guesses a name can ask for its side. Pseudonyms of the store can't be
/// guessed; other names are as safe as they are hard to guess.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    learned: BTreeSet<String>,
    held_out: BTreeSet<String>,
}

impl Split {
    /// The split of one dataset.
    pub fn of(dataset: &Dataset) -> Self {
        let side = |held_out: bool| {
            let some = dataset.samples.iter().filter(|sample| sample.held_out == held_out);
            some.map(|sample| mark(&sample.patient)).collect()
        };
        Self { learned: side(false), held_out: side(true) }
    }

    /// This split and another one. Who was learned from in either can't judge any more.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.learned.extend(other.learned);
        self.held_out.extend(other.held_out);
        self.held_out.retain(|patient| !self.learned.contains(patient));
        self
    }

    /// Whether a patient was held out; `None` for one who is new.
    pub fn was_held_out(&self, patient: &str) -> Option<bool> {
        let mark = mark(patient);
        let learned = self.learned.contains(&mark).then_some(false);
        learned.or_else(|| self.held_out.contains(&mark).then_some(true))
    }

    /// Whether nobody is in it: a model that has learned from phantoms only.
    pub fn is_empty(&self) -> bool {
        self.learned.is_empty() && self.held_out.is_empty()
    }
}

fn mark(patient: &str) -> String {
    Digest::of_parts([&b"patient of a split"[..], patient.as_bytes()]).short(DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::train::Sample;

    fn split(patients: &[(&str, bool)]) -> Split {
        let digest = Digest::of("x");
        let sample = |&(patient, held_out): &(&str, bool)| Sample {
            name: format!("{patient}_1"),
            patient: patient.into(),
            pixels: digest,
            image: digest,
            mask: digest,
            held_out,
        };
        Split::of(&Dataset { samples: patients.iter().map(sample).collect() })
    }

    #[test]
    fn who_was_learned_from_once_is_never_held_out_again() {
        let both = split(&[("a", true), ("b", false)]).and(split(&[("a", false), ("c", true)]));
        assert_eq!(
            ["a", "b", "c", "d"].map(|p| both.was_held_out(p)),
            [Some(false), Some(false), Some(true), None]
        );
        assert!(Split::default().is_empty() && !both.is_empty());
    }

    #[test]
    fn no_pseudonym_can_be_read_in_it() {
        let json = serde_json::to_string(&split(&[("P-secret", true)])).unwrap();
        assert!(!json.contains("secret"), "{json}");
        assert_eq!(serde_json::from_str::<Split>(&json).unwrap(), split(&[("P-secret", true)]));
    }
}
