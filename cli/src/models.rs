//! `modiolus models`: the models of a store.

use anyhow::{Context, Result, bail};
pub(crate) use modiolus_operations::models::{
    CURRENT, Chosen, choose, current, make_current, split, store_folder,
};
use modiolus_operations::models::{Version, mean_iou, origin, roll_back, versions};
use modiolus_pipeline::ObjectKey;
use modiolus_pipeline::job::train::{Gate, PatientScore};
use modiolus_pipeline::models::CurrentModel;
use modiolus_store::{FolderStore, ObjectStore};
use serde_json::Value;

use crate::arguments::{Models, ModelsAction};
use crate::network::{self, Network};
use crate::output::{self, Table, number};
use crate::place::Place;

/// Lists, shows, promotes and rolls back.
pub(crate) fn models(options: &Models, network: Option<&dyn Network>) -> Result<()> {
    let changes = matches!(options.action, ModelsAction::Promote { .. } | ModelsAction::Rollback { .. });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no threads")?;
    if options.cluster {
        let store = options.at.configuration()?.open_store()?;
        return runtime.block_on(act(options, &*store, network));
    }
    let folder = store_folder(&options.store);
    if !folder.is_dir() {
        bail!("{} is no store: give a run's output or its .modiolus with --store", options.store.display());
    }
    let _alone = changes.then(|| Place::open(&folder)).transpose()?;
    runtime.block_on(act(options, &FolderStore::new(&folder)?, network))
}

async fn act(options: &Models, store: &dyn ObjectStore, network: Option<&dyn Network>) -> Result<()> {
    match &options.action {
        ModelsAction::List => list(store, options.json).await,
        ModelsAction::Show { version } => show(store, version, options.json).await,
        ModelsAction::Promote { model } => {
            let chosen = choose(store, Some(model), network::required(network)?).await?;
            report(&make_current(store, chosen.version, None).await?, options.json)
        }
        ModelsAction::Rollback { version } => {
            report(&roll_back(store, version.as_ref(), None).await?, options.json)
        }
    }
}

fn report(pointer: &CurrentModel, json: bool) -> Result<()> {
    if json { output::json(pointer) } else { output::line(&format!("{} is current", pointer.current)) }
}

async fn list(store: &dyn ObjectStore, json: bool) -> Result<()> {
    let versions = versions(store).await?;
    if json {
        return output::json(&versions);
    }
    if versions.is_empty() {
        return output::line("no models yet: runs use the base model");
    }
    let mut table = Table::new(&["", "version", "plan", "epochs", "held-out IoU", "gate"]);
    for version in versions {
        let gate = version.gate.as_ref();
        table.row([
            if version.current { "*" } else { "" }.to_owned(),
            version.version.to_string(),
            version.plan.name,
            version.plan.epochs.to_string(),
            number(gate.and_then(|gate| mean_iou(&gate.candidate_iou))),
            gate.map_or("-", |gate| gate.why.as_str()).to_owned(),
        ]);
    }
    table.print()
}

async fn show(store: &dyn ObjectStore, version: &str, json: bool) -> Result<()> {
    let pointer = current(store).await?;
    let version = match (version, &pointer) {
        (CURRENT, Some(pointer)) => pointer.current.clone(),
        (CURRENT, None) => bail!("the store has no current model: runs use the base model"),
        (text, _) => text.parse().with_context(|| format!("{text:?} is no version"))?,
    };
    let key = ObjectKey::Model(version.clone());
    let Some(length) = store.length(&key).await? else {
        bail!("{version} is not in the store: see `modiolus models list`");
    };
    let origin = origin(store, key).await?;
    let Version { version, current, plan, gate } = Version::read(store, version, pointer.as_ref()).await?;
    if json {
        return output::json(&serde_json::json!({
            "version": version, "current": current, "bytes": length, "origin": origin, "plan": plan, "gate": gate,
        }));
    }
    let mut table = Table::new(&["version", version.as_str()]);
    let mut row = |name: &str, text: String| table.row([name.to_owned(), text]);
    row("current", if current { "yes" } else { "no" }.to_owned());
    row("bytes", length.to_string());
    for field in ["epoch", "dataset", "code"] {
        match origin.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => row(field, text.clone()),
            Some(value) => row(field, value.to_string()),
        }
    }
    if let Some(gate) = &gate {
        row("gate", gate.why.clone());
        row("rival", gate.rival.as_ref().map_or("none".into(), ToString::to_string));
    }
    table.print()?;
    if let Some(gate) = gate {
        print_gate(&gate)?;
    }
    output::line("plan:")?;
    output::json(&plan)
}

/// Prints the scores by held-out patient, and those on phantoms by vendor.
pub(crate) fn print_gate(gate: &Gate) -> Result<()> {
    print_scores("held-out patient", &gate.candidate_iou, &gate.rival_iou)?;
    if gate.candidate_phantoms.is_empty() {
        return Ok(());
    }
    print_scores("phantoms with arrays of", &gate.candidate_phantoms, &gate.rival_phantoms)
}

fn print_scores(whose: &str, candidate: &[PatientScore], rival: &[PatientScore]) -> Result<()> {
    let mut table = Table::new(&[whose, "pictures", "IoU", "rival's IoU"]);
    for score in candidate {
        let rival = rival.iter().find(|rival| rival.patient == score.patient).map(|rival| rival.iou);
        table.row([
            score.patient.clone(),
            score.pictures.to_string(),
            number(Some(score.iou)),
            number(rival),
        ]);
    }
    table.print()
}
