//! `modiolus cancel`: the rest of a run is not begun any more.

use anyhow::Result;
use modiolus_operations::start;
use modiolus_pipeline::RunId;
use serde::Serialize;

use super::Cluster;
use super::arguments::Cancel;
use super::submit::joins;
use crate::output;

/// What is printed.
#[derive(Serialize)]
struct Cancelled<'a> {
    run: &'a RunId,
    /// How many of its jobs are not begun, as far as they were known: what would have followed from them was not.
    cancelled: usize,
}

/// Cancels a run.
pub(crate) async fn cancel(options: &Cancel) -> Result<()> {
    let (cluster, run) = (Cluster::open(&options.at).await?, &options.run);
    let outcome = start::cancel(&joins(&cluster), run).await;
    cluster.broker.close().await;
    let cancelled = outcome?.failed.iter().filter(|job| job.is_cancelled()).count();
    if options.json {
        return output::json(&Cancelled { run, cancelled });
    }
    output::line(&format!(
        "{run} is cancelled: {cancelled} jobs, and what follows from them, are not begun. Submitted again, it goes on"
    ))
}
