//! Identifiers. Each is derived, never drawn at random, so that doing a thing twice names the same thing.
//!
//! None of them reveals a patient: [`PatientKey`] and [`SliceId`] are keyed pseudonyms (HMAC-SHA-256), which nobody
//! without the [`Secret`] can link to a PatientID, however few PatientIDs there are to guess.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::Digest;

/// Text that can't be an identifier of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a valid {kind}: it may hold only letters, digits, '-', '_' and '.', must not start with '.', and has 1 to 80 characters"
)]
pub struct BadId {
    kind: &'static str,
}

fn is_plain_name(text: &str) -> bool {
    (1..=80).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

macro_rules! plain_name {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as it stands in keys and messages.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                if is_plain_name(text) { Ok(Self(text.to_owned())) } else { Err(BadId { kind: $kind }) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

plain_name!(
    /// One run: some scans, a wanted plane and a model, from the first file to the report; or one training.
    RunId,
    "run id"
);
plain_name!(
    /// One job: stage, revision of its code, and the digest of its body. Two jobs with one id have the same outputs.
    JobId,
    "job id"
);
plain_name!(
    /// A patient's pseudonym, made from PatientID with the [`Secret`].
    PatientKey,
    "patient pseudonym"
);
plain_name!(
    /// One slice, made from its patient and its content with the [`Secret`].
    SliceId,
    "slice id"
);
plain_name!(
    /// One immutable model: `m-` and the start of the digest of its file.
    ModelVersion,
    "model version"
);
plain_name!(
    /// One plan: `p-` and the start of the digest of its JSON.
    PlanId,
    "plan id"
);
plain_name!(
    /// One training: a chain of segments that ends in a candidate model.
    TrainingId,
    "training id"
);

plain_name!(
    /// One of the things that people said of a slice: a number, so that the newest comes last by its bytes, and the start of
    /// a digest, so that no two share a name.
    RevisionId,
    "revision id"
);

plain_name!(
    /// One part of the audit log: when it was written, and by which process.
    BatchId,
    "audit batch id"
);

impl BatchId {
    /// The one that `writer` wrote at this time (in milliseconds since 1970); in order of time by its bytes.
    pub fn new(at_ms: u64, writer: &str) -> Self {
        Self(format!("{at_ms:013}-{writer}"))
    }
}

impl RevisionId {
    /// The one with this number and this content.
    pub fn new(number: u32, content: &Digest) -> Self {
        Self(format!("{number:06}-{}", content.short(12)))
    }

    /// Its number; 0 for a name that has none.
    pub fn number(&self) -> u32 {
        self.0.split('-').next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

impl RunId {
    /// The run that follows from these inputs.
    pub fn derived(inputs: &Digest) -> Self {
        Self(format!("r-{}", inputs.short(16)))
    }
}

impl JobId {
    /// The job with this stage, revision and body.
    pub fn derived(stage: &str, revision: u32, body: &[u8]) -> Self {
        let digest = Digest::of_parts([stage.as_bytes(), &revision.to_le_bytes(), body]);
        Self(format!("{stage}-{}", digest.short(24)))
    }
}

impl ModelVersion {
    /// The version of the model with this file.
    pub fn of_file(file: &[u8]) -> Self {
        Self(format!("m-{}", Digest::of(file).short(12)))
    }
}

impl PlanId {
    /// The id of the plan with this JSON digest.
    pub fn derived(json: &Digest) -> Self {
        Self(format!("p-{}", json.short(12)))
    }
}

impl TrainingId {
    /// The training that follows from these inputs (dataset, plan, base model).
    pub fn derived(inputs: &Digest) -> Self {
        Self(format!("t-{}", inputs.short(16)))
    }

    /// A training is joined and watched like a run of one chunk.
    pub fn as_run(&self) -> RunId {
        RunId(self.0.clone())
    }
}

/// The key of all pseudonyms of one store. Never printed, never in a message; whoever has it can re-identify.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A secret from 32 bytes of a cryptographic random source.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// HMAC-SHA-256 of `text` under this secret; `domain` keeps pseudonyms of different kinds apart.
    pub fn pseudonym(&self, domain: &str, text: &[u8]) -> Digest {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(domain.as_bytes());
        mac.update(&[0]);
        mac.update(text);
        Digest::from(<[u8; 32]>::from(mac.finalize().into_bytes()))
    }

    /// The pseudonym of the patient with this PatientID (padding trimmed). Files without a PatientID share one.
    pub fn patient(&self, patient_id: &str) -> PatientKey {
        PatientKey(format!("P-{}", self.pseudonym("patient", patient_id.trim().as_bytes()).short(10)))
    }

    /// The id of the slice with this file content under this patient.
    pub fn slice(&self, patient: &PatientKey, file: &Digest) -> SliceId {
        let mut text = patient.as_str().as_bytes().to_vec();
        text.extend_from_slice(file.as_bytes());
        SliceId(format!("s-{}", self.pseudonym("slice", &text).short(20)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for text in ["", ".", "..", "../x", "a/b", "a\0b", "ä", ".hidden", &"x".repeat(81)] {
            assert!(text.parse::<RunId>().is_err(), "{text:?}");
        }
        assert_eq!("r-1.2_x".parse::<RunId>().unwrap().as_str(), "r-1.2_x");
    }

    #[test]
    fn pseudonyms_depend_on_the_secret_and_hide_the_patient_id() {
        let (one, two) = (Secret::new([1; 32]), Secret::new([2; 32]));
        assert_eq!(one.patient("207"), one.patient(" 207 "));
        assert_ne!(one.patient("207"), one.patient("208"));
        assert_ne!(one.patient("207"), two.patient("207"));
        assert_eq!(format!("{one:?}"), "Secret(..)");
    }
}
