//! What is submitted: a folder here, or files that are in the store already.

use std::path::PathBuf;
use std::str::FromStr;

use modiolus_pipeline::key::SCANS_PREFIX;

/// How people write that the files are in the store.
const SCHEME: &str = "s3://";

/// The bucket's name in the vocabulary; in the store it may have a prefix.
const BUCKET: &str = "incoming";

/// Where the scans are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A folder of this machine.
    Folder(PathBuf),
    /// Below this prefix, which begins below `scans/`.
    Store(String),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(address) = text.strip_prefix(SCHEME) else { return Ok(Self::Folder(text.into())) };
        let (bucket, key) = address.split_once('/').unwrap_or((address, ""));
        if bucket != BUCKET && !bucket.ends_with(&format!("-{BUCKET}")) {
            return Err(format!("scans lie in the bucket {BUCKET}: {SCHEME}{BUCKET}/{SCANS_PREFIX}PREFIX"));
        }
        let prefix = key.strip_prefix(SCANS_PREFIX).unwrap_or(key).trim_end_matches('/');
        let is_prefix = prefix.split('/').all(|part| !matches!(part, "" | "." | ".."));
        match is_prefix {
            true => Ok(Self::Store(prefix.to_owned())),
            false => Err(format!("a delivery needs a name: {SCHEME}{BUCKET}/{SCANS_PREFIX}PREFIX")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_in_the_store_is_named_with_or_without_scans() {
        for text in
            ["s3://incoming/scans/july/a", "s3://incoming/july/a/", "s3://modiolus-incoming/scans/july/a/"]
        {
            assert_eq!(text.parse(), Ok(Source::Store("july/a".into())), "{text}");
        }
        assert_eq!("scans/july".parse(), Ok(Source::Folder("scans/july".into())));
        for text in
            ["s3://incoming", "s3://incoming/", "s3://incoming/scans/", "s3://models/x", "s3://incoming/a//b"]
        {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }
}
