//! `modiolus train`: from pictures and masks to a model.
//!
//! The train stage does the work, segment by segment, on a store beside the model file: killed and started again, it goes on.

mod outcome;
mod table;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use modiolus_imaging::png;
use modiolus_operations::retraining::first_job;
use modiolus_operations::{objects, trainings};
use modiolus_pipeline::job::train::{Dataset, TrainJob};
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::{Digest, Message, ObjectKey, Plan, Split};
use modiolus_runtime::{CancellationToken, House, HouseError, stop_on_signal};
use modiolus_store::{FolderStore, ObjectStore};

use crate::arguments::Train;
use crate::failure::Usage;
use crate::models::{self, Chosen};
use crate::network::{Network, Pair};
use crate::output::{self, count};
use crate::pairs::{self, GroupBy};
use crate::place::Place;
use crate::terminal;

use outcome::Outcome;
use table::EpochTable;

/// The largest plan file.
const MAX_PLAN_BYTES: usize = 1 << 20;

/// The training was given up: to start it again would end in the same way.
#[derive(Debug)]
struct TrainingFailed {
    why: String,
    /// The model of its last checkpoint, if it came so far.
    kept: Option<PathBuf>,
}

impl std::fmt::Display for TrainingFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the training failed: {}", self.why)?;
        match &self.kept {
            Some(path) => write!(f, ". What it had learned until then is kept: {}", path.display()),
            None => Ok(()),
        }
    }
}

impl std::error::Error for TrainingFailed {}

/// Trains a model.
pub(crate) fn train(options: &Train, network: &dyn Network) -> Result<()> {
    if options.output.file_name().is_none() || options.output.is_dir() {
        return Err(Usage(format!("--output {}: it has to be a file", options.output.display())).into());
    }
    let (pairs, left_out) = read_pairs(options)?;
    let folder = store_folder(options);
    let is_resumed = folder.exists();
    let place = Place::open(&folder)?;
    let store = Arc::new(FolderStore::new(place.folder())?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no threads")?;
    let result = runtime.block_on(carry_out(options, network, &store, pairs));
    let can_go_on = match &result {
        Ok(()) => false,
        Err(error) => error.is::<HouseError>() || (is_resumed && !error.is::<TrainingFailed>()),
    };
    if options.store.is_none() && !can_go_on {
        fs::remove_dir_all(&folder).with_context(|| format!("{} can't be deleted", folder.display()))?;
    }
    match (result, left_out) {
        (Ok(()), 0) => Ok(()),
        (Ok(()), n) => {
            bail!("{} could not be used (named above); the model was trained without", count(n, "pair"))
        }
        (Err(error), _) => Err(error),
    }
}

/// Where the training is kept while it runs: the store that is given, or a folder beside the model file.
fn store_folder(options: &Train) -> PathBuf {
    match &options.store {
        Some(folder) => models::store_folder(folder),
        None => beside(&options.output, ".training"),
    }
}

/// `model.safetensors` -> `model.safetensors` + `suffix`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    PathBuf::from(name)
}

/// What is said where an earlier version made the model that is gone on from, or that has to be beaten.
const UNKNOWN_SPLIT: &str = "The base or current model doesn't say which pictures it has learned from (an earlier version made it): \
    who is held out now may have taught it, which would flatter it";

async fn carry_out(
    options: &Train,
    network: &dyn Network,
    store: &Arc<FolderStore>,
    pairs: Vec<Pair>,
) -> Result<()> {
    let base = match &options.base {
        Some(wanted) => Some(models::choose(&**store, Some(wanted), network).await.context("--base")?),
        None => None,
    };
    let plan = plan(options, base.as_ref(), network)?;
    let rival = match &options.store {
        Some(_) => Some(models::choose(&**store, None, network).await?.version),
        None => None,
    };
    // Who taught the base or the rival judges neither them nor their successor.
    let mut earlier = Split::default();
    for version in base.iter().map(|base| &base.version).chain(&rival) {
        earlier = earlier.and(models::split(&**store, version).await?);
    }
    if earlier.is_unknown() {
        terminal::say(UNKNOWN_SPLIT);
    }
    let (dataset, objects) = network.assemble(pairs, &plan, &earlier)?;
    announce(&dataset, &plan, network);
    let job = first_job(Digest::of_json(&dataset), &plan, base.map(|base| base.version), rival);
    store.put_many(objects).await?;
    store.put(ObjectKey::Dataset(job.dataset), serde_json::to_vec(&dataset)?.into()).await?;
    store.put(ObjectKey::Plan(job.plan.clone()), serde_json::to_vec(&plan)?.into()).await?;

    let outcome = run(options, network, store, &job, &plan).await?;
    outcome.write(&options.output, &dataset, &plan)?;
    if options.store.is_some() {
        report_gate(&**store, &outcome, options.json).await?;
    }
    if options.json {
        output::json_line(&outcome.summary(&options.output))?;
    }
    terminal::say(&format!("The model {}: {}", outcome.version, options.output.display()));
    Ok(())
}

/// The plan: the one asked for, else the base model's, else the default; with the epochs asked for.
fn plan(options: &Train, base: Option<&Chosen>, network: &dyn Network) -> Result<Plan> {
    let mut plan = match (options.plan.as_deref(), base) {
        (None, Some(base)) => base.plan.fine_tuning(),
        (None, None) => network.default_plan(),
        (Some(name), _) => named_plan(name)?,
    };
    if let Some(base) = base.filter(|base| base.plan.network != plan.network) {
        bail!(
            "the base model {} has another network than the plan: leave out --plan or --base",
            base.version
        );
    }
    plan.epochs = options.epochs.unwrap_or(plan.epochs);
    plan.check().map_err(|error| Usage(error.to_string()))?;
    Ok(plan)
}

/// The plan of this name: a built-in one, or a file.
pub(crate) fn named_plan(name: &str) -> Result<Plan> {
    match name {
        "default" => Ok(Plan::default()),
        "one-level-unet" => Ok(Plan::one_level_unet()),
        file => read_plan(Path::new(file)),
    }
}

fn read_plan(path: &Path) -> Result<Plan> {
    let said = || format!("--plan {}", path.display());
    let bytes = output::read_file(path)
        .with_context(|| format!("{}: no built-in plan (default, one-level-unet)", said()))?;
    if bytes.len() > MAX_PLAN_BYTES {
        bail!("{}: too large for a plan", said());
    }
    let plan: Plan = serde_json::from_slice(&bytes).with_context(|| format!("{}: no plan", said()))?;
    plan.check().with_context(said)?;
    Ok(plan)
}

/// Reads the pairs. What can't be used is named, and its number given.
fn read_pairs(options: &Train) -> Result<(Vec<Pair>, usize)> {
    let group_by = GroupBy::new(options.group_by.as_deref())?;
    let pairing = pairs::pair(&options.images, &options.masks)?;
    for name in &pairing.pictures_alone {
        terminal::say(&format!("{name}: no mask, left out"));
    }
    for mask in &pairing.masks_alone {
        terminal::say(&format!("{}: no picture, left out", mask.display()));
    }
    pairing.ambiguous.iter().for_each(|text| terminal::say(text));
    let mut left_out = pairing.ambiguous.len();
    let mut usable = Vec::new();
    for (name, image, mask) in pairing.pairs {
        match read_pair(name, &image, &mask, &group_by) {
            Ok(pair) => usable.push(pair),
            Err(error) => {
                left_out += 1;
                terminal::say(&format!("{error:#}"));
            }
        }
    }
    if usable.is_empty() {
        let (images, masks) = (options.images.display(), options.masks.display());
        bail!("no usable pairs in {images} and {masks}: NAME.png needs NAME.png, NAME_mask.png or NAME.json");
    }
    Ok((usable, left_out))
}

fn read_pair(name: String, image: &Path, mask: &Path, group_by: &GroupBy) -> Result<Pair> {
    let patient = group_by.patient(&name)?;
    let bytes = output::read_file(image)?;
    let picture = png::decode_grey(&bytes).with_context(|| image.display().to_string())?;
    let mask = pairs::read_mask(mask, picture.size())?;
    Ok(Pair { name, patient, image: png::encode_grey(&picture), mask: png::encode_mask(&mask) })
}

fn announce(dataset: &Dataset, plan: &Plan, network: &dyn Network) {
    let (all, held_out) = (outcome::patients(dataset, false), outcome::patients(dataset, true));
    terminal::say(&format!(
        "{} of {}, plan {} for {} on {}",
        count(dataset.samples.len(), "picture"),
        count(all.len() + held_out.len(), "patient"),
        plan.name,
        count(plan.epochs as usize, "epoch"),
        network.device(),
    ));
    let pictures = dataset.samples.iter().filter(|sample| sample.held_out).count();
    match held_out.len() {
        0 => terminal::say(
            "No split is possible (one patient, equal pictures in all, or a base that knows them all): judged on what it trains on",
        ),
        n => terminal::say(&format!(
            "Held out: {} of {}: {}",
            count(pictures, "picture"),
            count(n, "patient"),
            held_out.join(", ")
        )),
    }
}

/// Writes the model of a failed training's last checkpoint beside the one that was wanted; `None` if it has none.
async fn keep_last_good(
    options: &Train,
    network: &dyn Network,
    store: &FolderStore,
    segments: &[TrainJob],
) -> Result<Option<PathBuf>> {
    for checkpoint in segments.iter().rev().map(TrainJob::checkpoint) {
        if store.length(&checkpoint).await?.is_some() {
            // One that can't be read is no reason to hide why the training failed.
            let Ok(model) = network.model_so_far(&objects::bytes(store, checkpoint).await?) else { continue };
            let path = options.output.with_extension("last-good.safetensors");
            output::write_file(&path, &model)?;
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Runs all segments, with a live table.
async fn run(
    options: &Train,
    network: &dyn Network,
    store: &Arc<FolderStore>,
    job: &TrainJob,
    plan: &Plan,
) -> Result<Outcome> {
    let segments = trainings::segments(job, plan.epochs);
    let table = EpochTable::new(options.json, plan.epochs);
    let earlier = trainings::epochs_so_far(&**store, &segments).await?;
    if let Some(last) = earlier.last() {
        terminal::say(&format!("Going on after epoch {}", last.epoch));
    }
    table.catch_up(&earlier)?;
    let first = Message::new(job);
    let manifest = RunManifest { wanted: None, chunks: vec![first.id.clone()] };
    let stop = CancellationToken::new();
    let listening = stop_on_signal(stop.clone(), terminal::say_stopping)?;
    let house = network.with_train(House::new(store.clone())).stopped_by(stop);
    let ended = house
        .run(&job.training.as_run(), &manifest, vec![first], |event| table.follow(&event.progress))
        .await;
    listening.abort();
    let ended = ended?;
    if let Some(failed) = ended.failed.into_iter().next() {
        let kept = keep_last_good(options, network, store, &segments).await?;
        return Err(TrainingFailed { why: failed.message, kept }.into());
    }
    let last = segments.last().context("a training of no epochs")?;
    let outcome = Outcome::read(&**store, last).await?;
    table.catch_up(&outcome.epochs)?;
    table.finish();
    Ok(outcome)
}

/// Says what the gate said.
async fn report_gate(store: &dyn ObjectStore, outcome: &Outcome, json: bool) -> Result<()> {
    let Some(gate) = &outcome.gate else { return Ok(()) };
    if !json {
        models::print_gate(gate)?;
    }
    let is_current = models::current(store).await?.is_some_and(|pointer| pointer.current == outcome.version);
    let said = if is_current { "is now current" } else { "is not made current" };
    terminal::say(&format!("{} {said}: {}", outcome.version, gate.why));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_training_folder_lies_beside_the_model_file() {
        assert_eq!(
            beside(Path::new("out/m.safetensors"), ".training"),
            Path::new("out/m.safetensors.training")
        );
    }

    #[test]
    fn bad_plan_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plan.json");
        assert!(format!("{:#}", read_plan(&file).unwrap_err()).contains("plan.json"));
        fs::write(&file, "{\"name\": 1}").unwrap();
        assert!(format!("{:#}", read_plan(&file).unwrap_err()).contains("no plan"));
        fs::write(&file, serde_json::to_vec(&Plan { batch: 0, ..Plan::default() }).unwrap()).unwrap();
        assert!(format!("{:#}", read_plan(&file).unwrap_err()).contains("batch"));
        fs::write(&file, serde_json::to_vec(&Plan::one_level_unet()).unwrap()).unwrap();
        assert_eq!(read_plan(&file).unwrap(), Plan::one_level_unet());
    }
}
