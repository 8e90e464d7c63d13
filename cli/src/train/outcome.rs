//! What a training left in the store, and the files beside the model.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use modiolus_imaging::plot;
use modiolus_operations::trainings;
use modiolus_pipeline::job::train::{Dataset, EpochMetrics, Gate, TrainJob};
use modiolus_pipeline::{ModelVersion, ObjectKey, Plan};
use modiolus_store::ObjectStore;
use serde::Serialize;
use serde_json::{Value, json};

use crate::output;
use crate::run::objects;

/// A finished training.
pub(super) struct Outcome {
    pub(super) version: ModelVersion,
    pub(super) gate: Option<Gate>,
    pub(super) epochs: Vec<EpochMetrics>,
    model: Bytes,
}

/// How the pictures were split.
#[derive(Serialize)]
struct Split {
    held_out_patients: Vec<String>,
    training_patients: Vec<String>,
    held_out: Vec<String>,
    training: Vec<String>,
}

fn log(job: &TrainJob) -> ObjectKey {
    ObjectKey::TrainingLog { training: job.training.clone(), segment: job.segment }
}

impl Outcome {
    /// Reads what the last segment of a training left.
    pub(super) async fn read(store: &dyn ObjectStore, last: &TrainJob) -> Result<Self> {
        let version = trainings::model_of(store, last).await?.context("the training left no model")?;
        Ok(Self {
            gate: objects::json_if_there(store, ObjectKey::Gate(version.clone())).await?,
            epochs: objects::json(store, log(last)).await?,
            model: objects::bytes(store, ObjectKey::Model(version.clone())).await?,
            version,
        })
    }

    /// Writes the model file and, beside it, its curves, metrics and split.
    pub(super) fn write(&self, path: &Path, dataset: &Dataset, plan: &Plan) -> Result<()> {
        let pretty = |value: &Value| serde_json::to_vec_pretty(value);
        let metrics =
            json!({ "model": self.version, "plan": plan, "epochs": self.epochs, "gate": self.gate });
        output::write_file(&path.with_extension("metrics.json"), &pretty(&metrics)?)?;
        output::write_file(
            &path.with_extension("split.json"),
            &pretty(&serde_json::to_value(split(dataset))?)?,
        )?;
        output::write_file(&path.with_extension("curves.svg"), plot::curves_svg(&self.epochs).as_bytes())?;
        output::write_file(path, &self.model)
    }

    /// The last line of `--json`.
    pub(super) fn summary(&self, path: &Path) -> Value {
        let last = self.epochs.last();
        json!({
            "model": path, "version": self.version, "curves": path.with_extension("curves.svg"),
            "iou": last.map(|epoch| epoch.iou), "dice": last.map(|epoch| epoch.dice),
            "held_out": last.map(|epoch| epoch.held_out), "gate": self.gate,
        })
    }
}

/// The patients whose pictures are held out, or those whose are not.
pub(super) fn patients(dataset: &Dataset, held_out: bool) -> Vec<String> {
    let some = dataset.samples.iter().filter(|sample| sample.held_out == held_out);
    some.map(|sample| sample.patient.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn split(dataset: &Dataset) -> Split {
    let names = |held_out: bool| {
        let some = dataset.samples.iter().filter(|sample| sample.held_out == held_out);
        some.map(|sample| sample.name.clone()).collect()
    };
    Split {
        held_out_patients: patients(dataset, true),
        training_patients: patients(dataset, false),
        held_out: names(true),
        training: names(false),
    }
}
