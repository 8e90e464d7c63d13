//! `modiolus fetch`: the results of a run, as `modiolus run` would have left them.

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use modiolus_operations::runs::{RunState, State};
use modiolus_pipeline::job::Wanted;
use modiolus_pipeline::job::ingest::Submission;
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::{Digest, ObjectKey, RunId, Secret};
use modiolus_runtime::RunOutcome;
use modiolus_runtime::config::Configuration;
use modiolus_store::ObjectStore;

use super::arguments::Fetch;
use super::submit::joins;
use super::{Cluster, USER};
use crate::place::{FOLDER, Place};
use crate::run::rows::Gathering;
use crate::run::summary::Summary;
use crate::run::tree::Tree;
use crate::run::{objects, results};

/// Gathers a finished run's objects under names for people.
pub(crate) async fn fetch(options: &Fetch) -> Result<()> {
    let configuration = options.at.configuration()?;
    let secret = configuration.pseudonyms.secret()?;
    let store = configuration.open_store()?;
    let run = &options.run;
    let Described { manifest, wanted, submission } = described(&*store, run).await?;
    let outcome = outcome(&configuration, store.clone(), run).await?;

    fs::create_dir_all(&options.output)
        .with_context(|| format!("{} can't be made", options.output.display()))?;
    let _place = Place::open(&options.output.join(FOLDER))?;
    let mut tree = Tree::open(&options.output, inputs(options, &secret, &outcome));
    if tree.is_whole() {
        eprintln!("Nothing to do: {} has all of {run}.", options.output.display());
        return results::print_earlier(&options.output, options.json);
    }
    let (model, keep_patient_ids) = (wanted.model.as_ref(), options.keep_patient_ids);
    let (store, delivery) = (&*store, &submission.delivery);
    let gathering = Gathering { store, run, model, secret: &secret, keep_patient_ids, delivery };
    let rows = gathering.rows(&manifest).await?;
    tree.copy_slices(store, &rows, model).await?;
    let summary = Summary::of(run, &wanted, rows, Vec::new());
    results::write(&summary, tree)?;
    results::print(&summary, &options.output, options.json)
}

/// What a run of the main job is.
pub(super) struct Described {
    pub(super) manifest: RunManifest,
    pub(super) wanted: Wanted,
    pub(super) submission: Submission,
}

/// Reads what a run is.
pub(super) async fn described(store: &dyn ObjectStore, run: &RunId) -> Result<Described> {
    let manifest: Option<RunManifest> = objects::json_if_there(store, ObjectKey::Run(run.clone())).await?;
    let manifest = manifest.with_context(|| format!("there is no run {run}: see `modiolus status`"))?;
    let wanted = manifest.wanted.clone();
    let wanted = wanted.with_context(|| format!("{run} is a training or an import: it has no files"))?;
    let submission = objects::json(store, ObjectKey::Submission(run.clone())).await?;
    Ok(Described { manifest, wanted, submission })
}

/// How the run ended. Where nobody has said so yet, looks whether it has; only for that is the broker needed.
pub(super) async fn outcome(
    configuration: &Configuration,
    store: Arc<dyn ObjectStore>,
    run: &RunId,
) -> Result<RunOutcome> {
    let state = RunState::read(&*store, run).await?.map(|run| run.state);
    if state == Some(State::Cancelled) {
        bail!("{run} was cancelled: submit it again, and fetch it when it is done");
    }
    if state == Some(State::Done) {
        return objects::json(&*store, ObjectKey::RunDone(run.clone())).await;
    }
    let broker = configuration.open_broker(USER).await?;
    let cluster = Cluster { broker, store };
    if let Some(outcome) = joins(&cluster).sweep(run).await? {
        cluster.broker.close().await;
        return Ok(outcome);
    }
    let (done, chunks) =
        RunState::read(&*cluster.store, run).await?.map_or((0, 0), |state| (state.chunks_done, state.chunks));
    bail!("{run} is not done yet: {done} of {chunks} chunks are; `modiolus watch {run}` waits for it")
}

/// A digest of everything that the output depends on.
fn inputs(options: &Fetch, secret: &Secret, outcome: &RunOutcome) -> Digest {
    let parts = [
        options.run.as_str().to_owned(),
        env!("CARGO_PKG_VERSION").to_owned(),
        options.keep_patient_ids.to_string(),
        secret.patient("").to_string(),
        Digest::of_json(outcome).to_string(),
    ];
    Digest::of_parts(parts.iter().map(String::as_bytes))
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
