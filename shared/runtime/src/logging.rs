//! Logs: a sentence for people, fields for queries, once, where the thing is handled. To the standard error output.

use std::io::IsTerminal;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// The environment variable with the level, as `warn` or `info,modiolus_runtime=debug`.
pub const LEVEL_VARIABLE: &str = "RUST_LOG";

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object per line, for machines.
    #[default]
    Json,
    /// For people.
    Text,
}

/// Starts logging. `level` is what is logged when [`LEVEL_VARIABLE`] is unset or makes no sense. A second call does
/// nothing.
pub fn init(format: Format, level: &str) {
    let filter = EnvFilter::try_from_env(LEVEL_VARIABLE).unwrap_or_else(|_| EnvFilter::new(level));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails when logging was started before, which is no fault.
    let _ = match format {
        Format::Text => {
            let coloured = std::io::stderr().is_terminal();
            subscriber.with_target(false).with_ansi(coloured).try_init()
        }
        Format::Json => subscriber.json().flatten_event(true).with_span_list(false).try_init(),
    };
}
