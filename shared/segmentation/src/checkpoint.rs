//! Model files and checkpoints: safetensors bytes with everything that made them.
//!
//! A model file has the weights, a checkpoint also the optimizer's moments. Both are safetensors (a length, a JSON header,
//! numbers; nothing in it can run), with one metadata entry `modiolus` that holds an [`Origin`] as JSON. What is read is
//! checked against the plan inside before any of it is copied: no more memory is taken than the file has bytes.

use std::collections::{HashMap, HashSet};

use modiolus_pipeline::{Digest, ModelVersion, Plan, Split};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::network::{Part, Weights, parts};
use crate::optimizer::Moments;

/// The form of the files. A file of another form is refused.
const SCHEMA: u32 = 1;

/// The largest file that is looked at, in bytes.
pub const MOST_BYTES: usize = 1 << 30;

/// The largest header that is looked at, in bytes.
const MOST_HEADER_BYTES: u64 = 1 << 20;

/// How much of a strange name is said, in characters.
const LONGEST_NAME: usize = 80;

const METADATA: &str = "modiolus";

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The plan.
    pub plan: Plan,
    /// How many epochs it has learned.
    pub epoch: u32,
    /// The dataset; `None` if it was not one of a store (phantoms).
    pub dataset: Option<Digest>,
    /// The version of the code that trained it.
    pub code: String,
    /// On which side the pictures were from which it and its bases come.
    #[serde(default, skip_serializing_if = "Split::is_empty")]
    pub split: Split,
}

impl Origin {
    /// The origin of what this code makes, from nobody's pictures.
    pub fn new(plan: Plan, epoch: u32, dataset: Option<Digest>) -> Self {
        Self { plan, epoch, dataset, code: env!("CARGO_PKG_VERSION").into(), split: Split::default() }
    }
}

/// What the metadata entry holds.
#[derive(Serialize, Deserialize)]
struct Metadata {
    schema: u32,
    kind: String,
    /// How many steps the optimizer took; 0 in a model.
    steps: u64,
    origin: Origin,
}

/// A model: its weights and where they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// Where it comes from.
    pub origin: Origin,
    /// The weights.
    pub weights: Weights,
}

/// A training between two epochs.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The model so far.
    pub model: ModelFile,
    /// The optimizer's state.
    pub moments: Moments,
}

impl ModelFile {
    /// The file. Equal models give equal bytes.
    ///
    /// # Errors
    /// When the plan asks for more than a header may hold.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        encode(MODEL, &self.origin, 0, &[("weights", &self.weights)])
    }

    /// The model in a file, wholly checked.
    ///
    /// # Errors
    /// Says what is wrong: no model at all (a JPEG), cut off, another schema, a plan out of range, another architecture
    /// than its plan's, weights that are no numbers.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let file = File::open(MODEL, bytes)?;
        file.check_names(&[("weights", |_| true)])?;
        Ok(Self { weights: file.numbers("weights", |_| true)?, origin: file.metadata.origin })
    }

    /// The plan in a model file, without its weights.
    ///
    /// # Errors
    /// As [`ModelFile::decode`], the weights aside.
    pub fn plan(bytes: &[u8]) -> Result<Plan, Error> {
        Ok(File::open(MODEL, bytes)?.metadata.origin.plan)
    }
}

/// The version that a model file's bytes have.
pub fn version(bytes: &[u8]) -> ModelVersion {
    ModelVersion::of_file(bytes)
}

impl Checkpoint {
    /// The file. Equal checkpoints give equal bytes.
    ///
    /// # Errors
    /// As [`ModelFile::encode`].
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let Moments { steps, first, second } = &self.moments;
        let all = [("first", first), ("second", second), ("weights", &self.model.weights)];
        encode(CHECKPOINT, &self.model.origin, *steps, &all)
    }

    /// Whether all its numbers are some.
    pub(crate) fn is_finite(&self) -> bool {
        let groups = [&self.model.weights, &self.moments.first, &self.moments.second];
        groups.iter().all(|group| group.values().flatten().all(|value| value.is_finite()))
    }

    /// The checkpoint in a file, wholly checked.
    ///
    /// # Errors
    /// As [`ModelFile::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let file = File::open(CHECKPOINT, bytes)?;
        file.check_names(&[
            ("weights", |_| true),
            ("first", Part::is_trained),
            ("second", Part::is_trained),
        ])?;
        let moments = Moments {
            steps: file.metadata.steps,
            first: file.numbers("first", Part::is_trained)?,
            second: file.numbers("second", Part::is_trained)?,
        };
        let weights = file.numbers("weights", |_| true)?;
        Ok(Self { model: ModelFile { weights, origin: file.metadata.origin }, moments })
    }
}

/// The two kinds of file: the word in the metadata, and the words in errors.
type Kind = (&'static str, &'static str);
const MODEL: Kind = ("model", "the model file");
const CHECKPOINT: Kind = ("checkpoint", "the checkpoint");

fn encode(kind: Kind, origin: &Origin, steps: u64, all: &[(&str, &Weights)]) -> Result<Vec<u8>, Error> {
    let bad = |why: String| Error::File { what: kind.1, why };
    let metadata = Metadata { schema: SCHEMA, kind: kind.0.into(), steps, origin: origin.clone() };
    let metadata = serde_json::to_string(&metadata).map_err(|error| bad(error.to_string()))?;
    let shapes: HashMap<String, Vec<usize>> =
        parts(&origin.plan.network).into_iter().map(|part| (part.name.clone(), shape(&part))).collect();
    let mut tensors = Vec::new();
    for (group, weights) in all {
        for (name, values) in *weights {
            let shape =
                shapes.get(name).cloned().ok_or_else(|| bad(format!("{name} is no part of its network")))?;
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            tensors.push((format!("{group}.{name}"), shape, bytes));
        }
    }
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<_, safetensors::SafeTensorError>>()
        .map_err(|error| bad(error.to_string()))?;
    // One entry: several would be written in a random order.
    let metadata = HashMap::from([(METADATA.to_owned(), metadata)]);
    safetensors::serialize(views, Some(metadata)).map_err(|error| bad(error.to_string()))
}

fn shape(part: &Part) -> Vec<usize> {
    part.shape.iter().map(|&side| side as usize).collect()
}

/// A file whose header and plan are in order.
struct File<'a> {
    kind: Kind,
    metadata: Metadata,
    tensors: SafeTensors<'a>,
}

/// A group of numbers: its name, and which parts of the network have one in it.
type Group<'a> = (&'a str, fn(&Part) -> bool);

impl<'a> File<'a> {
    fn open(kind: Kind, bytes: &'a [u8]) -> Result<Self, Error> {
        let bad = |why: String| Error::File { what: kind.1, why };
        if bytes.len() > MOST_BYTES {
            return Err(bad(format!("it has {} bytes; at most {MOST_BYTES} are allowed", bytes.len())));
        }
        let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
        let length = length.ok_or_else(|| bad(format!("it has only {} bytes", bytes.len())))?;
        if bytes.get(8) != Some(&b'{') {
            return Err(bad("it is no safetensors file (a model is made by modiolus train)".into()));
        }
        if length > MOST_HEADER_BYTES || length > bytes.len() as u64 - 8 {
            return Err(bad(format!("its header claims {length} bytes, the file has {}", bytes.len())));
        }
        let (_, header) = SafeTensors::read_metadata(bytes)
            .map_err(|error| bad(format!("it is damaged or cut off: {error}")))?;
        let metadata = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA));
        let metadata = metadata.ok_or_else(|| bad("it is a safetensors file of another program".into()))?;
        let metadata: Metadata = serde_json::from_str(metadata)
            .map_err(|error| bad(format!("its metadata are not those of this version: {error}")))?;
        if metadata.schema != SCHEMA {
            return Err(bad(format!("it has schema {}, this version knows {SCHEMA}", metadata.schema)));
        }
        if metadata.kind != kind.0 {
            return Err(bad(format!("it is a {}", metadata.kind.chars().take(20).collect::<String>())));
        }
        metadata.origin.plan.check().map_err(|error| bad(error.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| bad(error.to_string()))?;
        Ok(Self { kind, metadata, tensors })
    }

    /// Refuses, by name, what is missing and what the plan's network has no use for: whoever put it there meant something by it.
    fn check_names(&self, groups: &[Group]) -> Result<(), Error> {
        let parts = parts(&self.metadata.origin.plan.network);
        let names = |(group, wanted): &Group| {
            let wanted = parts.iter().filter(|part| wanted(part));
            wanted.map(|part| format!("{group}.{}", part.name)).collect::<Vec<_>>()
        };
        let wanted: HashSet<String> = groups.iter().flat_map(names).collect();
        let found: HashSet<&str> = self.tensors.names().into_iter().collect();
        let missing = wanted.iter().map(String::as_str).filter(|name| !found.contains(name)).min();
        let strange = found.iter().copied().filter(|name| !wanted.contains(*name)).min();
        let (name, fault) = match (missing, strange) {
            (None, None) => return Ok(()),
            (Some(name), _) => (name, "is missing"),
            (None, Some(name)) => (name, "is no part of its plan's network"),
        };
        let name: String = name.chars().take(LONGEST_NAME).collect();
        Err(Error::File { what: self.kind.1, why: format!("{name} {fault}: another architecture") })
    }

    /// One group of numbers, of all parts of the plan's network that are wanted.
    fn numbers(&self, group: &str, wanted: impl Fn(&Part) -> bool) -> Result<Weights, Error> {
        let bad = |why: String| Error::File { what: self.kind.1, why };
        let wanted: Vec<Part> =
            parts(&self.metadata.origin.plan.network).into_iter().filter(wanted).collect();
        let mut numbers = Weights::new();
        for part in wanted {
            let name = format!("{group}.{}", part.name);
            let missing = |_| bad(format!("{name} is missing: another architecture"));
            let view = self.tensors.tensor(&name).map_err(missing)?;
            if view.dtype() != Dtype::F32 || view.shape() != shape(&part) {
                let (found, shape) = (view.shape(), shape(&part));
                let text = format!(
                    "{name} has the shape {found:?} of {}, its plan's network {shape:?} of F32",
                    view.dtype()
                );
                return Err(bad(text));
            }
            let values: Vec<f32> =
                view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            if values.iter().any(|value| !value.is_finite()) {
                return Err(bad(format!("{name} has a value that is no number")));
            }
            numbers.insert(part.name, values);
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use modiolus_pipeline::plan::Network as Architecture;
    use proptest::prelude::*;

    use super::*;
    use crate::{Device, Training};

    fn small() -> Plan {
        Plan { network: Architecture::Unet { levels: 1, features: 2 }, ..Plan::default() }
    }

    fn checkpoint() -> Checkpoint {
        Training::start(small(), None, Some(Digest::of("data")), Device::CPU, 1)
            .unwrap()
            .checkpoint()
            .unwrap()
    }

    fn refusal(bytes: &[u8]) -> String {
        ModelFile::decode(bytes).unwrap_err().to_string()
    }

    #[test]
    fn files_come_back_as_they_were_and_have_equal_bytes() {
        let checkpoint = checkpoint();
        let bytes = checkpoint.encode().unwrap();
        assert_eq!(checkpoint.encode().unwrap(), bytes);
        assert_eq!(Checkpoint::decode(&bytes).unwrap(), checkpoint);
        let model = checkpoint.model.encode().unwrap();
        assert_eq!(ModelFile::decode(&model).unwrap(), checkpoint.model);
        assert_eq!(ModelFile::plan(&model).unwrap(), small());
        assert!(refusal(&bytes).contains("it is a checkpoint"));
    }

    #[test]
    fn what_is_no_model_is_called_what_it_is() {
        assert!(refusal(b"").contains("only 0 bytes"));
        assert!(refusal(b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01").contains("no safetensors file"));
        let mut hostile = u64::MAX.to_le_bytes().to_vec();
        hostile.extend(b"{\"a\":1}");
        assert!(refusal(&hostile).contains("header claims 18446744073709551615 bytes"));
        let other = safetensors::serialize(Vec::<(&str, TensorView<'_>)>::new(), None).unwrap();
        assert!(refusal(&other).contains("of another program"));
        let model = checkpoint().model.encode().unwrap();
        assert!(refusal(&model[..model.len() - 4]).contains("damaged or cut off"));
    }

    #[test]
    fn another_architecture_and_weights_that_are_no_numbers_are_named() {
        let mut model = checkpoint().model;
        model.weights.get_mut("down.0.0.kernel").unwrap()[3] = f32::NAN;
        assert!(
            refusal(&model.encode().unwrap())
                .contains("weights.down.0.0.kernel has a value that is no number")
        );
        model.weights.remove("head.bias");
        assert!(refusal(&model.encode().unwrap()).contains("another architecture"));
        let mut other = checkpoint().model.encode().unwrap();
        let at = other.windows(14).position(|bytes| bytes == b"\\\"features\\\":2").unwrap();
        other[at + 13] = b'3';
        assert!(refusal(&other).contains("has the shape"), "{}", refusal(&other));
    }

    #[test]
    fn tensors_that_the_network_has_no_use_for_are_refused_by_name() {
        let model = checkpoint().model.encode().unwrap();
        let (_, header) = SafeTensors::read_metadata(&model).unwrap();
        let file = SafeTensors::deserialize(&model).unwrap();
        for extra in ["weights.down.9.0.kernel", "first.head.bias", "adapter.scale"] {
            let mut views = file.tensors();
            views.push((extra.into(), file.tensor("weights.head.bias").unwrap()));
            let bytes = safetensors::serialize(views, header.metadata().clone()).unwrap();
            assert!(refusal(&bytes).contains(extra), "{}", refusal(&bytes));
        }
    }

    #[test]
    fn a_base_of_another_network_is_refused() {
        let base = checkpoint().model;
        let error = Training::start(Plan::default(), Some(&base), None, Device::CPU, 1).unwrap_err();
        assert!(error.to_string().contains("base model"), "{error}");
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(at in 0_usize..4000, value: u8, cut in 0_usize..20_000) {
            let mut bytes = checkpoint().model.encode().unwrap();
            let length = bytes.len();
            bytes[at % length] = value;
            bytes.truncate(length.min(cut));
            let _ = ModelFile::decode(&bytes);
            let _ = Checkpoint::decode(&bytes);
        }
    }
}
