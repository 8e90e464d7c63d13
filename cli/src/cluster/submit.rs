//! `modiolus submit`: scans into the store, and a run of them into the queues.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use modiolus_operations::start::{Ready, start};
use modiolus_operations::upload::{Uploaded, listed, upload};
use modiolus_pipeline::job::Wanted;
use modiolus_pipeline::job::ingest::{Delivery, ListedFile};
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::{ModelVersion, ObjectKey, RunId};
use modiolus_runtime::{FailedJob, Joins, RunOutcome};
use modiolus_store::ObjectStore;
use serde::Serialize;

use super::Cluster;
use super::arguments::Submit;
use super::source::Source;
use super::wait::Listener;
use crate::arguments::Until;
use crate::network::{self, Network};
use crate::run::progress::Progress;
use crate::run::walk;
use crate::terminal::Bar;
use crate::{models, output, terminal};

/// What is printed.
#[derive(Serialize)]
struct Submitted<'a> {
    run: &'a RunId,
    files: u64,
    /// How many files were sent now, and how many bytes they have; the others were there.
    sent: u64,
    sent_bytes: u64,
    /// Whether the run is done; with --wait it is.
    done: bool,
    /// The jobs that were given up, where it is done.
    failed: &'a [FailedJob],
}

/// Uploads, starts, and waits where that is wanted.
pub(crate) async fn submit(options: &Submit, network: Option<&dyn Network>) -> Result<()> {
    let cluster = Cluster::open(&options.at).await?;
    let model = match options.until {
        Some(Until::Filter) => None,
        Some(Until::Infer) | None => Some(model(&*cluster.store, options.model.as_deref(), network).await?),
    };
    let wanted = Wanted { plane: options.plane, model };
    let (uploaded, delivery) = deliver(&options.scans, &*cluster.store).await?;
    let (files, sent, sent_bytes) = (uploaded.files.len() as u64, uploaded.sent, uploaded.bytes);
    let ready = Ready::new(uploaded.files, wanted, delivery, options.name.clone());

    let (joins, listener) = (joins(&cluster), Listener::new(&cluster.broker).await);
    ready.note(&*cluster.store).await?;
    let Ready { run, manifest, first, .. } = ready;
    let mut outcome = start(&*cluster.store, &cluster.broker, &joins, &run, &manifest, first).await?;
    terminal::say(&said(&run, files, sent, outcome.is_some()));
    if options.wait && outcome.is_none() {
        outcome = Some(wait(listener, &joins, &run, &manifest, files).await?);
    }
    let failed = outcome.as_ref().map_or(&[][..], |outcome| &outcome.failed);
    if options.json {
        output::json(&Submitted { run: &run, files, sent, sent_bytes, done: outcome.is_some(), failed })?;
    } else {
        output::line(run.as_str())?;
    }
    cluster.broker.close().await;
    ended_well(&run, failed)
}

pub(crate) fn joins(cluster: &Cluster) -> Joins {
    Joins::new(cluster.store.clone(), Arc::new(cluster.broker.clone()))
}

/// A job that was given up or cancelled is a failure of the command that waited for it.
pub(crate) fn ended_well(run: &RunId, failed: &[FailedJob]) -> Result<()> {
    if failed.iter().any(FailedJob::is_cancelled) {
        bail!("{run} was cancelled: submitted again, it goes on");
    }
    match failed.len() {
        0 => Ok(()),
        n => bail!("{n} jobs of {run} were given up: see `modiolus status {run}` and `modiolus dead list`"),
    }
}

/// The files in the store, and how they lie there.
async fn deliver(scans: &Source, store: &dyn ObjectStore) -> Result<(Uploaded, Delivery)> {
    match scans {
        Source::Folder(folder) => {
            let walked: Vec<ListedFile> = walk::walk_scans(folder, Path::new(""))?;
            let bar = Bar::new("Uploading", 0, "files");
            let uploaded = upload(folder, walked, store, &bar).await?;
            bar.finish();
            Ok((uploaded, Delivery::Uploaded))
        }
        Source::Store(prefix) => {
            let bar = Bar::new("Listing", 0, "files");
            let files = listed(store, prefix, &bar).await?;
            bar.finish();
            Ok((Uploaded { files, sent: 0, bytes: 0 }, Delivery::Below { prefix: prefix.clone() }))
        }
    }
}

/// The model that draws the masks. One that the store has needs no network to be chosen.
async fn model(
    store: &dyn ObjectStore,
    wanted: Option<&str>,
    network: Option<&dyn Network>,
) -> Result<ModelVersion> {
    let version = match wanted.filter(|wanted| *wanted != models::CURRENT) {
        None => models::current(store).await?.map(|pointer| pointer.current),
        Some(file) if Path::new(file).exists() => None,
        Some(version) => version.parse().ok(),
    };
    if let Some(version) = version
        && store.length(&ObjectKey::ModelPlan(version.clone())).await?.is_some()
        && store.length(&ObjectKey::Model(version.clone())).await?.is_some()
    {
        return Ok(version);
    }
    match network {
        Some(network) => Ok(models::choose(store, wanted, network).await?.version),
        None => Err(network::go_on_in_sibling()),
    }
}

async fn wait(
    listener: Listener<'_>,
    joins: &Joins,
    run: &RunId,
    manifest: &RunManifest,
    files: u64,
) -> Result<RunOutcome> {
    let draws_masks = manifest.wanted.as_ref().is_some_and(|wanted| wanted.model.is_some());
    let progress = Progress::new(files, draws_masks);
    let outcome = listener
        .until_done(joins, run, |notice| {
            if let modiolus_runtime::Notice::Progress(event) = notice {
                progress.follow(event);
            }
        })
        .await;
    progress.finish(outcome.as_ref().is_ok_and(|outcome| !outcome.is_cancelled()));
    outcome
}

fn said(run: &RunId, files: u64, sent: u64, is_done: bool) -> String {
    let uploaded = format!("{files} files, {sent} of them uploaded now");
    match is_done {
        true => format!(
            "{uploaded}. The run {run} is done: `modiolus fetch {run} --output DIR` brings its results."
        ),
        false => format!("{uploaded}. The run {run} is under way: `modiolus watch {run}` shows it."),
    }
}
