//! The single checks of `modiolus doctor`: each says what it found and, where that is wrong, what to do.

mod broker;
mod store;

use modiolus_runtime::config::Configuration;
use serde::Serialize;

pub(crate) use broker::broker;
pub(crate) use store::store;

/// What came of one check.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    /// What was checked.
    pub(crate) what: &'static str,
    pub(crate) ok: bool,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it; empty where nothing is.
    pub(crate) advice: &'static str,
}

impl Finding {
    pub(crate) fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, ok: true, found: found.into(), advice: "" }
    }

    pub(crate) fn bad(what: &'static str, found: impl ToString, advice: &'static str) -> Self {
        Self { what, ok: false, found: found.to_string(), advice }
    }
}

/// The key of the pseudonyms.
pub(crate) fn pseudonyms(configuration: &Configuration) -> Finding {
    const WHAT: &str = "key of the pseudonyms";
    match configuration.pseudonyms.secret() {
        Ok(_) => Finding::ok(WHAT, "it is one"),
        Err(error) => {
            Finding::bad(WHAT, error, "set pseudonyms.key_file to the file that filter's worker has")
        }
    }
}
