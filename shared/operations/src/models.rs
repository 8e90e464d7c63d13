//! The models of a store: which there are, which is current, which one is used.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use modiolus_pipeline::job::train::{Gate, PatientScore};
use modiolus_pipeline::key::MODELS_PREFIX;
use modiolus_pipeline::models::CurrentModel;
use modiolus_pipeline::stage::Move;
use modiolus_pipeline::{Bucket, ModelVersion, ObjectKey, Plan, Read, Split};
use modiolus_store::ObjectStore;
use serde::Serialize;
use serde_json::Value;

use crate::network::Network;
use crate::{file, objects, place};

/// The word for the store's current model, or the base model where the store has none.
pub const CURRENT: &str = "current";

/// The word for the base model, whatever is current.
pub const BASE: &str = "base";

/// The base model, which ships with Modiolus (safetensors).
pub static BASE_MODEL: &[u8] = include_bytes!("../../segmentation/models/base.safetensors");

/// The longest header of a model file that is looked at, in bytes.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// A model that a command uses.
pub struct Chosen {
    /// Its version.
    pub version: ModelVersion,
    /// The plan inside it.
    pub plan: Plan,
    /// Its file.
    pub bytes: Bytes,
}

/// The model that is wanted: a file, a version in the store, the base model ("base"), or by default (and as "current") the
/// store's current model, else the base model. Afterwards the store has it.
///
/// # Errors
/// Names the file or version and says what is wrong with it.
pub async fn choose(store: &dyn ObjectStore, wanted: Option<&str>, network: &dyn Network) -> Result<Chosen> {
    let shipped = || (Bytes::from_static(BASE_MODEL), "the base model".to_owned());
    let (bytes, said) = match wanted.filter(|wanted| *wanted != CURRENT) {
        None => match current(store).await? {
            Some(CurrentModel { current, .. }) => {
                (stored(store, &current).await?, format!("the current model {current}"))
            }
            None => shipped(),
        },
        Some(BASE) => shipped(),
        Some(file) if Path::new(file).exists() => (file::read_file(Path::new(file))?.into(), file.to_owned()),
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
///
/// # Errors
/// When the store fails.
pub async fn keep(store: &dyn ObjectStore, version: &ModelVersion, plan: &Plan, bytes: &Bytes) -> Result<()> {
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
pub async fn current(store: &dyn ObjectStore) -> Result<Option<CurrentModel>> {
    objects::json_if_there(store, ObjectKey::CurrentModel).await
}

/// Another model has become current than the one that somebody saw when they decided. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the current model has changed meanwhile, it is {0} now: look at it, then decide again")]
pub struct ChangedMeanwhile(String);

/// The pointer to the current model as it was read: a training's gate, or somebody else, may move it at any time.
struct Pointer {
    bytes: Option<Bytes>,
    is: Option<CurrentModel>,
}

impl Pointer {
    /// Reads it. `seen` is the model that was current when somebody decided what to do, where that is known.
    async fn read(store: &dyn ObjectStore, seen: Option<&ModelVersion>) -> Result<Self> {
        let bytes = objects::bytes_if_there(store, ObjectKey::CurrentModel).await?;
        let is = bytes.as_deref().map(serde_json::from_slice::<CurrentModel>).transpose();
        let is = is.with_context(|| format!("{} in the store is damaged", ObjectKey::CurrentModel))?;
        match (seen, &is) {
            (Some(seen), Some(is)) if is.current != *seen => {
                Err(ChangedMeanwhile(is.current.to_string()).into())
            }
            _ => Ok(Self { bytes, is }),
        }
    }

    /// Moves it, if it is still what was read.
    async fn move_to(self, store: &dyn ObjectStore, to: CurrentModel) -> Result<CurrentModel> {
        let one =
            Move { key: ObjectKey::CurrentModel, from: self.bytes, to: serde_json::to_vec(&to)?.into() };
        if store.move_pointer(one).await? {
            return Ok(to);
        }
        let now = current(store).await?.map_or_else(|| "none".to_owned(), |now| now.current.to_string());
        Err(ChangedMeanwhile(now).into())
    }
}

/// Makes a version current, if the one that was `seen` to be current still is.
///
/// # Errors
/// [`ChangedMeanwhile`]; when the store fails.
pub async fn make_current(
    store: &dyn ObjectStore,
    version: ModelVersion,
    seen: Option<&ModelVersion>,
) -> Result<CurrentModel> {
    let pointer = Pointer::read(store, seen).await?;
    let to = CurrentModel::promote(pointer.is.clone(), version);
    pointer.move_to(store, to).await
}

/// The store's folder that is meant: the folder itself, or its `.modiolus` (as in the output of a run).
pub fn store_folder(folder: &Path) -> PathBuf {
    let inside = folder.join(place::FOLDER);
    if inside.is_dir() { inside } else { folder.to_owned() }
}

/// Goes back to the model that was current before, or to this one, if it was ever; if the one that was `seen` to be current still is.
///
/// # Errors
/// [`ChangedMeanwhile`]; when there is none to go back to, or the store fails.
pub async fn roll_back(
    store: &dyn ObjectStore,
    to: Option<&ModelVersion>,
    seen: Option<&ModelVersion>,
) -> Result<CurrentModel> {
    let pointer = Pointer::read(store, seen).await?;
    let mut earlier =
        pointer.is.clone().context("the store has no current model: nothing to go back from")?;
    loop {
        let from = earlier.current.clone();
        earlier = match (earlier.rollback(), to) {
            (Some(earlier), _) => earlier,
            (None, None) => bail!("no model was current before {from}"),
            (None, Some(to)) => bail!("{to} was never current: use `modiolus models promote {to}`"),
        };
        if to.is_none_or(|to| earlier.current == *to) {
            stored(store, &earlier.current).await?;
            return pointer.move_to(store, earlier).await;
        }
    }
}

/// What is known of one version.
#[derive(Debug, Serialize)]
pub struct Version {
    /// Which.
    pub version: ModelVersion,
    /// Whether runs use it.
    pub current: bool,
    /// The plan inside it.
    pub plan: Plan,
    /// How it was judged, if it was.
    pub gate: Option<Gate>,
}

impl Version {
    /// Reads it.
    ///
    /// # Errors
    /// When the store fails, or has no such version.
    pub async fn read(
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

/// All versions in a store.
///
/// # Errors
/// When the store fails, or an object in it is damaged.
pub async fn versions(store: &dyn ObjectStore) -> Result<Vec<Version>> {
    let pointer = current(store).await?;
    let mut versions = Vec::new();
    for path in store.list(Bucket::Models, MODELS_PREFIX).await? {
        let name = path.strip_prefix(MODELS_PREFIX).and_then(|name| name.strip_suffix(".safetensors"));
        if let Some(version) = name.and_then(|name| name.parse().ok()) {
            versions.push(Version::read(store, version, pointer.as_ref()).await?);
        }
    }
    Ok(versions)
}

/// The mean over patients.
pub fn mean_iou(scores: &[PatientScore]) -> Option<f64> {
    (!scores.is_empty()).then(|| scores.iter().map(|score| score.iou).sum::<f64>() / scores.len() as f64)
}

/// Where a model comes from, as its file says (the safetensors metadata): nothing where that can't be read.
pub async fn origin(store: &dyn ObjectStore, key: ObjectKey) -> Result<Value> {
    let start = match store.get(Read::first(key, 8 + MAX_HEADER_BYTES)).await? {
        modiolus_pipeline::Fetched::Found(object) => object.bytes,
        _ => return Ok(Value::Null),
    };
    Ok(header(&start).unwrap_or(Value::Null))
}

/// On which side the pictures were that a model of the store comes from; none where its file tells of none.
///
/// # Errors
/// When the store fails, or what the file tells can't be read.
pub async fn split(store: &dyn ObjectStore, version: &ModelVersion) -> Result<Split> {
    match origin(store, ObjectKey::Model(version.clone())).await?.get_mut("split") {
        Some(split) => serde_json::from_value(split.take())
            .with_context(|| format!("the model {version} doesn't say who is held out")),
        None => Ok(Split::default()),
    }
}

/// The plan inside a model file, for programs without the network, which check no weights.
///
/// # Errors
/// When it is no model file, or its plan can't be carried out.
pub fn plan_of(model: &[u8]) -> Result<Plan> {
    let mut origin = header(model).context("this is no model file")?;
    let plan: Plan = serde_json::from_value(origin["plan"].take()).context("the model file has no plan")?;
    plan.check()?;
    Ok(plan)
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

    /// A network whose models are the base model and any bytes that start with "model".
    struct Toy;

    impl Network for Toy {
        fn plan_of(&self, model: &[u8]) -> Result<Plan> {
            let is_model = model == BASE_MODEL || model.starts_with(b"model");
            if is_model { Ok(Plan::default()) } else { Err(anyhow!("not a model file")) }
        }
        fn model_so_far(&self, _: &[u8]) -> Result<Vec<u8>> {
            Err(anyhow!("a toy"))
        }
        fn predictor(&self, _: &[u8]) -> Result<Box<dyn Predictor>> {
            Err(anyhow!("a toy"))
        }
        fn default_plan(&self) -> Plan {
            Plan::default()
        }
        fn assemble(&self, _: Vec<Pair>, _: &Plan, _: &Split) -> Result<(Dataset, Vec<(ObjectKey, Bytes)>)> {
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
        assert_eq!(base.version, ModelVersion::of_file(BASE_MODEL));
        assert!(store.length(&ObjectKey::ModelPlan(base.version.clone())).await.unwrap().is_some());

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.safetensors");
        std::fs::write(&file, b"model mine").unwrap();
        let mine = choose(&store, file.to_str(), &Toy).await.unwrap();
        make_current(&store, base.version.clone(), None).await.unwrap();
        make_current(&store, mine.version.clone(), None).await.unwrap();
        assert_eq!(choose(&store, Some("current"), &Toy).await.unwrap().version, mine.version);
        assert_eq!(choose(&store, Some(base.version.as_str()), &Toy).await.unwrap().bytes, base.bytes);
        assert_eq!(choose(&store, Some("base"), &Toy).await.unwrap().bytes, base.bytes);

        assert_eq!(roll_back(&store, None, None).await.unwrap().current, base.version);
        let none_before = roll_back(&store, None, None).await.unwrap_err().to_string();
        assert!(none_before.contains("no model was current before"), "{none_before}");
        assert_eq!(choose(&store, None, &Toy).await.unwrap().version, base.version);
    }

    #[tokio::test]
    async fn rolling_back_to_a_version_that_never_was_current_changes_nothing() {
        let store = MemoryStore::default();
        let base = choose(&store, None, &Toy).await.unwrap();
        make_current(&store, base.version.clone(), None).await.unwrap();
        assert!(roll_back(&store, Some(&"m-0".parse().unwrap()), None).await.is_err());
        assert_eq!(current(&store).await.unwrap().unwrap().current, base.version);
    }

    #[tokio::test]
    async fn nobody_moves_the_pointer_from_a_model_that_they_have_not_seen() {
        let store = MemoryStore::default();
        let version = |text: &str| text.parse::<ModelVersion>().unwrap();
        let [first, gates, mine] = ["m-1", "m-2", "m-3"].map(version);
        make_current(&store, first.clone(), None).await.unwrap();
        // Meanwhile a gate promotes another one.
        make_current(&store, gates.clone(), Some(&first)).await.unwrap();
        for moved in
            [make_current(&store, mine, Some(&first)).await, roll_back(&store, None, Some(&first)).await]
        {
            let error = moved.unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&ChangedMeanwhile("m-2".into())), "{error}");
        }
        assert_eq!(current(&store).await.unwrap().unwrap().current, gates);
    }

    #[tokio::test]
    async fn a_pointer_that_moves_between_look_and_write_stays_where_it_went() {
        let store = MemoryStore::default();
        let version = |text: &str| text.parse::<ModelVersion>().unwrap();
        make_current(&store, version("m-1"), None).await.unwrap();
        let pointer = Pointer::read(&store, None).await.unwrap();
        let after = make_current(&store, version("m-2"), None).await.unwrap();
        let to = CurrentModel::promote(pointer.is.clone(), version("m-3"));
        assert!(pointer.move_to(&store, to).await.unwrap_err().is::<ChangedMeanwhile>());
        assert_eq!(current(&store).await.unwrap(), Some(after));
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
        assert!(versions(&store).await.is_ok());
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

    #[tokio::test]
    async fn a_model_file_tells_who_was_held_out() {
        let held_out =
            serde_json::json!({ "learned_pictures": [], "held_out_pictures": ["0123456789abcdef"] });
        let file = |origin: Value| {
            let metadata = serde_json::json!({ "origin": origin }).to_string();
            let json = serde_json::json!({ "__metadata__": { "modiolus": metadata } }).to_string();
            [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat()
        };
        let store = MemoryStore::default();
        let told = |origin: Value| async {
            let bytes = file(origin);
            let version = ModelVersion::of_file(&bytes);
            store.put(ObjectKey::Model(version.clone()), bytes.into()).await.unwrap();
            split(&store, &version).await
        };
        let known = told(serde_json::json!({ "split": held_out })).await.unwrap();
        assert_eq!(serde_json::to_value(known).unwrap(), held_out);
        assert!(told(serde_json::json!({ "epoch": 3 })).await.unwrap().is_empty());
        assert!(told(serde_json::json!({ "split": [1] })).await.is_err());
        assert!(split(&store, &"m-0".parse().unwrap()).await.unwrap().is_empty());
    }

    #[test]
    fn the_plan_is_read_from_the_model_that_ships() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../segmentation/models");
        let wanted: Plan =
            serde_json::from_slice(&std::fs::read(models.join("base.plan.json")).unwrap()).unwrap();
        assert_eq!(plan_of(BASE_MODEL).unwrap(), wanted);
        assert!(plan_of(b"\xff\xd8\xff\xe0 a JPEG").unwrap_err().to_string().contains("no model file"));
    }
}
