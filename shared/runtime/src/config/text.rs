//! Secrets, and values that may lie in a file of their own.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ConfigurationError;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

/// A path, unless it is empty, which means none.
pub(super) fn given(path: &Option<PathBuf>) -> Option<&Path> {
    path.as_deref().filter(|path| !path.as_os_str().is_empty())
}

/// Refuses a value that is given as itself and as a file.
pub(super) fn not_both<T>(
    key: &str,
    value: Option<&T>,
    file: &Option<PathBuf>,
) -> Result<(), ConfigurationError> {
    match (value, given(file)) {
        (Some(_), Some(_)) => {
            let text = format!("{key} and {key}_file are both set: remove one");
            Err(ConfigurationError::new(text))
        }
        _ => Ok(()),
    }
}

/// A value, from itself or from its file.
pub(super) fn required(
    key: &str,
    value: Option<&str>,
    file: &Option<PathBuf>,
) -> Result<String, ConfigurationError> {
    let text = match (value, given(file)) {
        (Some(value), _) => value.to_owned(),
        (None, Some(file)) => read(&format!("{key}_file"), file)?,
        (None, None) => {
            let text = format!("{key} is not set: set it, or {key}_file to a file that holds it");
            return Err(ConfigurationError::new(text));
        }
    };
    // Files end with a line break more often than not.
    let text = text.trim();
    if text.is_empty() {
        return Err(ConfigurationError::new(format!("{key} is empty")));
    }
    Ok(text.to_owned())
}

/// The certificates in a file that a key names. One without any would be an authority that vouches for nobody, and the server
/// be waited for for ever.
pub(super) fn certificates(key: &str, file: &Path) -> Result<String, ConfigurationError> {
    let pem = read(key, file)?;
    if pem.contains("-----BEGIN CERTIFICATE-----") {
        return Ok(pem);
    }
    let text = format!("{key} names {}, which holds no certificate in PEM form", file.display());
    Err(ConfigurationError::new(text))
}

/// The text in a file that a key names.
fn read(key: &str, file: &Path) -> Result<String, ConfigurationError> {
    fs::read_to_string(file).map_err(|error| {
        ConfigurationError::new(format!("{key} names {}, which can't be read: {error}", file.display()))
    })
}
