//! `modiolus phantom`: synthetic CBCT patients.

use anyhow::Result;
use modiolus_phantom::{ExportOptions, PhantomError, Summary, export};
use serde_json::json;

use crate::arguments::Phantom;
use crate::failure::Usage;
use crate::output::{self, count};

/// Makes the patients.
pub(crate) fn phantom(options: &Phantom) -> Result<()> {
    let export_options = ExportOptions {
        patients: options.patients,
        files: options.files,
        seed: options.seed,
        output: &options.output,
        truth: options.truth.as_deref(),
    };
    let Summary { patients, files, coronal, with_array } =
        export(&export_options).map_err(|error| match error {
            PhantomError::Limit { .. } => Usage(error.to_string()).into(),
            error => anyhow::Error::from(error),
        })?;
    if options.json {
        return output::json(&json!({
            "output": options.output, "truth": options.truth,
            "patients": patients, "files": files, "coronal": coronal, "with_array": with_array,
        }));
    }
    output::line(&format!(
        "{}: {} of {}; {} of them, {with_array} with an electrode array",
        options.output.display(),
        count(files, "file"),
        count(patients, "patient"),
        count(coronal, "coronal slice"),
    ))
}
