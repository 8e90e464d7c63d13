//! `modiolus models`: the models of a store; and which model a command uses.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use modiolus_pipeline::job::train::{Gate, PatientScore};
use modiolus_pipeline::key::MODELS_PREFIX;
use modiolus_pipeline::models::CurrentModel;
use modiolus_pipeline::{Bucket, ModelVersion, ObjectKey, Plan, Read};
use modiolus_store::{FolderStore, ObjectStore};
use serde::Serialize;
use serde_json::Value;

use crate::arguments::{Models, ModelsAction};
use crate::network::{self, Network};
use crate::output::{self, Table, number};
use crate::place::{self, Place};
use crate::run::objects;

/// The word for the store's current model, or the base model where the store has none.
pub(crate) const CURRENT: &str = "current";

/// The longest header of a model file that is looked at, in bytes.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// A model that a command uses.
pub(crate) struct Chosen {
    pub(crate) version: ModelVersion,
    pub(crate) plan: Plan,
    pub(crate) bytes: Bytes,
}

/// The model that is wanted: a file, a version in the store, or by default (and as "current") the store's current model,
/// else the base model. Afterwards the store has it.
///
/// # Errors
/// Names the file or version and says what is wrong with it.
pub(crate) async fn choose(
    store: &dyn ObjectStore,
    wanted: Option<&str>,
    network: &dyn Network,
) -> Result<Chosen> {
    let (bytes, said) = match wanted.filter(|wanted| *wanted != CURRENT) {
        None => match current(store).await? {
            Some(CurrentModel { current, .. }) => {
                (stored(store, &current).await?, format!("the current model {current}"))
            }
            None => (Bytes::from_static(network.base_model()), "the base model".to_owned()),
        },
        Some(file) if Path::new(file).exists() => {
            (output::read_file(Path::new(file))?.into(), file.to_owned())
        }
        Some(version) => match version.parse() {
            Ok(version) => (stored(store, &version).await?, format!("the model {version}")),
            Err(_) => bail!("{version}: there is no such file"),
        },
    };
    let plan = network.plan_of(&bytes).with_context(|| said)?;
    let version = ModelVersion::of_file(&bytes);
    keep(store, &version, &plan, &bytes).await?;
    Ok(Chosen { version, plan, bytes })
}

/// Puts a model where it is missing.
async fn keep(store: &dyn ObjectStore, version: &ModelVersion, plan: &Plan, bytes: &Bytes) -> Result<()> {
    let plan = Bytes::from(serde_json::to_vec(plan)?);
    let model = (ObjectKey::Model(version.clone()), bytes.clone());
    for (key, bytes) in [model, (ObjectKey::ModelPlan(version.clone()), plan)] {
        if store.length(&key).await? != Some(bytes.len() as u64) {
            store.put(key, bytes).await?;
        }
    }
    Ok(())
}

async fn stored(store: &dyn ObjectStore, version: &ModelVersion) -> Result<Bytes> {
    let key = ObjectKey::Model(version.clone());
    if store.length(&key).await?.is_none() {
        bail!("{version} is neither a file nor a model in the store: see `modiolus models list`");
    }
    let bytes = objects::bytes(store, key).await?;
    if ModelVersion::of_file(&bytes) != *version {
        bail!("the model {version} in the store is damaged: its bytes are not those that it is named for");
    }
    Ok(bytes)
}

/// The store's pointer to its current model.
pub(crate) async fn current(store: &dyn ObjectStore) -> Result<Option<CurrentModel>> {
    objects::json_if_there(store, ObjectKey::CurrentModel).await
}

/// Makes a version current.
pub(crate) async fn make_current(store: &dyn ObjectStore, version: ModelVersion) -> Result<CurrentModel> {
    let pointer = CurrentModel::promote(current(store).await?, version);
    point(store, &pointer).await?;
    Ok(pointer)
}

async fn point(store: &dyn ObjectStore, pointer: &CurrentModel) -> Result<()> {
    Ok(store.put(ObjectKey::CurrentModel, serde_json::to_vec(pointer)?.into()).await?)
}

/// The store's folder that is meant: the folder itself, or its `.modiolus` (as in the output of a run).
pub(crate) fn store_folder(folder: &Path) -> PathBuf {
    let inside = folder.join(place::FOLDER);
    if inside.is_dir() { inside } else { folder.to_owned() }
}

/// Lists, shows, promotes and rolls back.
pub(crate) fn models(options: &Models, network: Option<&dyn Network>) -> Result<()> {
    let folder = store_folder(&options.store);
    if !folder.is_dir() {
        bail!("{} is no store: give a run's output or its .modiolus with --store", options.store.display());
    }
    let changes = matches!(options.action, ModelsAction::Promote { .. } | ModelsAction::Rollback { .. });
    let _alone = changes.then(|| Place::open(&folder)).transpose()?;
    let store = FolderStore::new(&folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no threads")?;
    runtime.block_on(async {
        match &options.action {
            ModelsAction::List => list(&store, options.json).await,
            ModelsAction::Show { version } => show(&store, version, options.json).await,
            ModelsAction::Promote { model } => {
                let chosen = choose(&store, Some(model), network::required(network)?).await?;
                report(&make_current(&store, chosen.version).await?, options.json)
            }
            ModelsAction::Rollback { version } => {
                report(&roll_back(&store, version.as_ref()).await?, options.json)
            }
        }
    })
}

async fn roll_back(store: &dyn ObjectStore, to: Option<&ModelVersion>) -> Result<CurrentModel> {
    let mut pointer =
        current(store).await?.context("the store has no current model: nothing to go back from")?;
    loop {
        let from = pointer.current.clone();
        pointer = match (pointer.rollback(), to) {
            (Some(earlier), _) => earlier,
            (None, None) => bail!("no model was current before {from}"),
            (None, Some(to)) => bail!("{to} was never current: use `modiolus models promote {to}`"),
        };
        if to.is_none_or(|to| pointer.current == *to) {
            stored(store, &pointer.current).await?;
            point(store, &pointer).await?;
            return Ok(pointer);
        }
    }
}

fn report(pointer: &CurrentModel, json: bool) -> Result<()> {
    if json { output::json(pointer) } else { output::line(&format!("{} is current", pointer.current)) }
}

/// What is known of one version.
#[derive(Debug, Serialize)]
struct Version {
    version: ModelVersion,
    current: bool,
    plan: Plan,
    gate: Option<Gate>,
}

impl Version {
    async fn read(
        store: &dyn ObjectStore,
        version: ModelVersion,
        pointer: Option<&CurrentModel>,
    ) -> Result<Self> {
        let plan = objects::json(store, ObjectKey::ModelPlan(version.clone())).await?;
        let gate = objects::json_if_there(store, ObjectKey::Gate(version.clone())).await?;
        let current = pointer.is_some_and(|pointer| pointer.current == version);
        Ok(Self { version, current, plan, gate })
    }
}

async fn list(store: &dyn ObjectStore, json: bool) -> Result<()> {
    let pointer = current(store).await?;
    let mut versions = Vec::new();
    for path in store.list(Bucket::Models, MODELS_PREFIX).await? {
        let name = path.strip_prefix(MODELS_PREFIX).and_then(|name| name.strip_suffix(".safetensors"));
        if let Some(version) = name.and_then(|name| name.parse().ok()) {
            versions.push(Version::read(store, version, pointer.as_ref()).await?);
        }
    }
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

/// The mean over patients.
pub(crate) fn mean_iou(scores: &[PatientScore]) -> Option<f64> {
    (!scores.is_empty()).then(|| scores.iter().map(|score| score.iou).sum::<f64>() / scores.len() as f64)
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

/// Prints the scores by held-out patient.
pub(crate) fn print_gate(gate: &Gate) -> Result<()> {
    let mut table = Table::new(&["held-out patient", "pictures", "IoU", "rival's IoU"]);
    for score in &gate.candidate_iou {
        let rival = gate.rival_iou.iter().find(|rival| rival.patient == score.patient).map(|rival| rival.iou);
        table.row([
            score.patient.clone(),
            score.pictures.to_string(),
            number(Some(score.iou)),
            number(rival),
        ]);
    }
    table.print()
}

/// Where a model comes from, as its file says (the safetensors metadata): nothing where that can't be read.
async fn origin(store: &dyn ObjectStore, key: ObjectKey) -> Result<Value> {
    let start = match store.get(Read::first(key, 8 + MAX_HEADER_BYTES)).await? {
        modiolus_pipeline::Fetched::Found(object) => object.bytes,
        _ => return Ok(Value::Null),
    };
    Ok(header(&start).unwrap_or(Value::Null))
}

fn header(start: &[u8]) -> Option<Value> {
    let (length, rest) = start.split_first_chunk()?;
    let json = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let header: Value = serde_json::from_slice(json).ok()?;
    let metadata: Value =
        serde_json::from_str(header.get("__metadata__")?.get("modiolus")?.as_str()?).ok()?;
    metadata.get("origin").cloned()
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use modiolus_pipeline::job::train::Dataset;
    use modiolus_runtime::House;
    use modiolus_store::MemoryStore;

    use super::*;
    use crate::network::{Pair, Predictor};

    /// A network whose models are any bytes that start with "model".
    struct Toy;

    impl Network for Toy {
        fn base_model(&self) -> &'static [u8] {
            b"model base"
        }
        fn plan_of(&self, model: &[u8]) -> Result<Plan> {
            if model.starts_with(b"model") { Ok(Plan::default()) } else { Err(anyhow!("not a model file")) }
        }
        fn predictor(&self, _: &[u8]) -> Result<Box<dyn Predictor>> {
            Err(anyhow!("a toy"))
        }
        fn default_plan(&self) -> Plan {
            Plan::default()
        }
        fn assemble(&self, _: Vec<Pair>, _: &Plan) -> Result<(Dataset, Vec<(ObjectKey, Bytes)>)> {
            Err(anyhow!("a toy"))
        }
        fn with_infer(&self, house: House, _: usize) -> House {
            house
        }
        fn with_train(&self, house: House) -> House {
            house
        }
        fn device(&self) -> String {
            "nothing".into()
        }
    }

    #[tokio::test]
    async fn the_base_model_serves_until_another_is_current() {
        let store = MemoryStore::default();
        let base = choose(&store, None, &Toy).await.unwrap();
        assert_eq!(
            (&base.bytes[..], base.version.clone()),
            (&b"model base"[..], ModelVersion::of_file(b"model base"))
        );
        assert!(store.length(&ObjectKey::ModelPlan(base.version.clone())).await.unwrap().is_some());

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.safetensors");
        std::fs::write(&file, b"model mine").unwrap();
        let mine = choose(&store, file.to_str(), &Toy).await.unwrap();
        make_current(&store, base.version.clone()).await.unwrap();
        make_current(&store, mine.version.clone()).await.unwrap();
        assert_eq!(choose(&store, Some("current"), &Toy).await.unwrap().version, mine.version);
        assert_eq!(choose(&store, Some(base.version.as_str()), &Toy).await.unwrap().bytes, base.bytes);

        assert_eq!(roll_back(&store, None).await.unwrap().current, base.version);
        assert!(
            roll_back(&store, None).await.unwrap_err().to_string().contains("no model was current before")
        );
        assert_eq!(choose(&store, None, &Toy).await.unwrap().version, base.version);
    }

    #[tokio::test]
    async fn rolling_back_to_a_version_that_never_was_current_changes_nothing() {
        let store = MemoryStore::default();
        let base = choose(&store, None, &Toy).await.unwrap();
        make_current(&store, base.version.clone()).await.unwrap();
        assert!(roll_back(&store, Some(&"m-0".parse().unwrap())).await.is_err());
        assert_eq!(current(&store).await.unwrap().unwrap().current, base.version);
    }

    #[tokio::test]
    async fn what_is_no_model_is_named() {
        let store = MemoryStore::default();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("photo.safetensors");
        std::fs::write(&file, b"\xff\xd8\xff\xe0 a JPEG").unwrap();
        let said = |wanted: String| async {
            let wanted = wanted;
            format!("{:#}", choose(&MemoryStore::default(), Some(&wanted), &Toy).await.err().unwrap())
        };
        let error = said(file.display().to_string()).await;
        assert!(error.contains("photo.safetensors") && error.contains("not a model file"), "{error}");
        assert!(said("nowhere/m.safetensors".into()).await.contains("no such file"));
        assert!(said("m-0123".into()).await.contains("models list"));
        assert!(list(&store, true).await.is_ok());
    }

    #[test]
    fn the_origin_is_read_from_the_start_of_a_model_file() {
        let metadata = serde_json::json!({ "origin": { "epoch": 7 } }).to_string();
        let json = serde_json::json!({ "__metadata__": { "modiolus": metadata } }).to_string();
        let file = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), b"weights"].concat();
        assert_eq!(header(&file).unwrap()["epoch"], 7);
        assert_eq!(header(&file[..20]), None);
        assert_eq!(header(&[0xff; 64]), None);
    }
}
