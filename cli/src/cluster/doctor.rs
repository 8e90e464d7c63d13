//! `modiolus doctor`: what has to be right for a cluster to work, each thing with what to do where it is not.

use anyhow::{Result, bail};

use super::arguments::Doctor;
use super::probe::{self, Finding};
use crate::output;

/// Checks everything and says what it finds.
pub(crate) async fn doctor(options: &Doctor) -> Result<()> {
    let findings = look(options).await;
    if options.json {
        output::json(&findings)?;
    } else {
        for finding in &findings {
            let mark = if finding.ok { "ok    " } else { "NOT OK" };
            output::line(&output::printable(&format!("{mark}  {}: {}", finding.what, finding.found)))?;
            if !finding.ok {
                output::line(&format!("        what to do: {}", finding.advice))?;
            }
        }
    }
    match findings.iter().filter(|finding| !finding.ok).count() {
        0 => Ok(()),
        n => bail!("{n} of {} things are not as they have to be", findings.len()),
    }
}

async fn look(options: &Doctor) -> Vec<Finding> {
    const WHAT: &str = "configuration";
    let configuration = match options.at.configuration() {
        Ok(configuration) => configuration,
        Err(error) => {
            return vec![Finding::bad(WHAT, error, "correct it; without it nothing else can be looked at")];
        }
    };
    let (broker, store) = futures::join!(probe::broker(&configuration), probe::store(&configuration));
    let mut findings = vec![Finding::ok(WHAT, "it can be read"), probe::pseudonyms(&configuration)];
    findings.extend(broker.into_iter().chain(store));
    findings
}
