//! The name of somebody who may log in to the review page.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A login name, in lower case: `Ada` and `ada` are one person.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountName(String);

/// Text that can't be a login name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a valid name: it may hold only letters a to z, digits, '-', '_', '.' and '@', starts with a letter or digit, and has 1 to 64 characters"
)]
pub struct BadName;

impl AccountName {
    /// The name as it stands in keys.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
        let begins = text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
        match begins && text.len() <= 64 && text.bytes().all(is_plain) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(BadName),
        }
    }
}

impl TryFrom<String> for AccountName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<AccountName> for String {
    fn from(name: AccountName) -> Self {
        name.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_in_capitals_and_can_not_leave_its_folder() {
        assert_eq!("Ada.Lovelace@Hospital.org".parse(), "ada.lovelace@hospital.org".parse::<AccountName>());
        for text in ["", ".", "../ada", "a/b", ".ada", "@ada", "ada lovelace", "ädä", "a\0", &"x".repeat(65)]
        {
            assert!(text.parse::<AccountName>().is_err(), "{text:?}");
        }
    }
}
