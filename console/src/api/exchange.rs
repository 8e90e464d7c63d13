//! Out: masks, files for labelme, a dataset to train elsewhere. What went out and was changed comes in again ([`super::import`]).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Bytes;
use axum::response::Response;
use modiolus_imaging::{annotation as labelme, png};
use modiolus_operations::annotations::Origin;
use modiolus_operations::dataset::BadPair;
use modiolus_operations::exported::{HEADER, Source, TABLE};
use modiolus_operations::objects;
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::{ModelVersion, ObjectKey, PatientKey, Plan, Revision, RevisionId, RunId};
use modiolus_store::ObjectStore;
use serde::Deserialize;
use tokio::runtime::Handle;
use utoipa::IntoParams;

use super::App;
use crate::app::Console;
use crate::archive::{self, Archive};
use crate::catalogue::{Reached, Run};
use crate::extract::{PathParams, QueryParams};
use crate::failure::{ApiResult, ErrorBody, Failure};
use crate::notes::Which;

/// Whose.
#[derive(Deserialize, IntoParams)]
pub(crate) struct Whose {
    /// Only this patient's.
    #[param(value_type = Option<String>)]
    patient: Option<PatientKey>,
}

/// A slice that goes out.
struct Outgoing {
    which: Which,
    name: String,
    mask: Option<Drawn>,
}

/// Whose mask it is.
enum Drawn {
    /// People's: the newest revision.
    ByPeople(RevisionId, Arc<Revision>),
    ByModel(ModelVersion),
}

impl Drawn {
    fn key(&self, (patient, slice): &Which) -> ObjectKey {
        match self {
            Self::ByPeople(_, revision) => ObjectKey::Annotation(revision.mask),
            Self::ByModel(model) => ObjectKey::Mask(model.clone(), patient.clone(), slice.clone()),
        }
    }

    /// As the table says it.
    fn source(&self) -> Source<'_> {
        match self {
            Self::ByPeople(id, revision) => Source::People(id, revision.state),
            Self::ByModel(model) => Source::Model(model),
        }
    }
}

/// The masks of a run's slices as a zip: `PATIENT/NAME.png` of the slice's size with the values 0 and 1, people's newest where there is
/// one, else the model's, and `masks.csv`, which says whose each is. For annotators.
#[utoipa::path(get, path = "/runs/{run}/masks.zip", tag = "exchange", params(("run" = String, Path), Whose),
    responses((status = 200, content_type = "application/zip", body = Vec<u8>), (status = 404, body = ErrorBody)))]
pub(crate) async fn masks(
    app: App,
    PathParams(run): PathParams<RunId>,
    QueryParams(whose): QueryParams<Whose>,
) -> ApiResult<Response> {
    let outgoing = outgoing(&app, &run, whose.patient.as_ref()).await?;
    let (store, handle) = (app.store.clone(), Handle::current());
    Ok(archive::answer(&file_name("masks", &run, whose.patient.as_ref()), move |zip| {
        let mut table = format!("{HEADER}\n");
        for one in &outgoing {
            let Some(drawn) = &one.mask else { continue };
            let name = format!("{}/{}.png", one.which.0, one.name);
            zip.add(&name, &handle.block_on(objects::bytes(&*store, drawn.key(&one.which)))?)?;
            writeln!(table, "{name},{}", drawn.source())?;
        }
        zip.add_text(TABLE, &table)
    }))
}

/// The pictures of a run's slices with their masks as labelme files, side by side as labelme wants them: `PATIENT_NAME.png` and
/// `PATIENT_NAME.json`, from which labelme makes the same masks. What labelme saves comes in again by `annotations`. For annotators.
#[utoipa::path(get, path = "/runs/{run}/labelme.zip", tag = "exchange", params(("run" = String, Path), Whose),
    responses((status = 200, content_type = "application/zip", body = Vec<u8>), (status = 404, body = ErrorBody)))]
pub(crate) async fn labelme_files(
    app: App,
    PathParams(run): PathParams<RunId>,
    QueryParams(whose): QueryParams<Whose>,
) -> ApiResult<Response> {
    let outgoing = outgoing(&app, &run, whose.patient.as_ref()).await?;
    let (app, handle) = (app.0, Handle::current());
    let name = file_name("labelme", &run, whose.patient.as_ref());
    Ok(archive::answer(&name, move |zip| {
        for one in &outgoing {
            // What blocks, as adding does, may not be waited for.
            let found = handle.block_on(for_labelme(&*app.store, one))?;
            add_labelme(zip, one, found)?;
        }
        Ok(())
    }))
}

/// A slice's picture and its mask; nothing where its run hasn't come so far.
async fn for_labelme(
    store: &dyn ObjectStore,
    one: &Outgoing,
) -> anyhow::Result<Option<(Bytes, Option<Bytes>)>> {
    let picture = ObjectKey::Image(one.which.0.clone(), one.which.1.clone());
    if store.length(&picture).await?.is_none() {
        return Ok(None);
    }
    let mask = match &one.mask {
        Some(drawn) => Some(objects::bytes(store, drawn.key(&one.which)).await?),
        None => None,
    };
    Ok(Some((objects::bytes(store, picture).await?, mask)))
}

fn add_labelme(
    zip: &mut Archive,
    one: &Outgoing,
    found: Option<(Bytes, Option<Bytes>)>,
) -> anyhow::Result<()> {
    let Some((picture, mask)) = found else { return Ok(()) };
    let name = format!("{}_{}", one.which.0, one.name);
    zip.add(&format!("{name}.png"), &picture)?;
    if let Some(mask) = mask {
        let revision = match &one.mask {
            Some(Drawn::ByPeople(id, _)) => Some(id.clone()),
            _ => None,
        };
        let file = labelme_of(&mask, &name, &one.which, revision)?;
        zip.add_text(&format!("{name}.json"), &String::from_utf8(file)?)?;
    }
    Ok(())
}

/// A mask (PNG) as labelme's file for the picture NAME.png, which says where it comes from.
pub(crate) fn labelme_of(
    mask: &[u8],
    name: &str,
    (patient, slice): &Which,
    revision: Option<RevisionId>,
) -> anyhow::Result<Vec<u8>> {
    let slice = SliceRef { patient: patient.clone(), slice: slice.clone() };
    let origin = Origin { slice, revision }.to_json()?;
    Ok(labelme::write_from(&png::decode_mask(mask)?, &format!("{name}.png"), Some(&origin)))
}

/// What people have accepted so far, as a zip to train elsewhere: `images/NAME.png`, `masks/NAME.png` of the same size with the values 0
/// and 1, and `split.csv`, which says of each whose it is and whether its patient is held out. It is the dataset that the next training
/// here would learn from. For annotators.
#[utoipa::path(get, path = "/dataset.zip", tag = "exchange",
    responses((status = 200, content_type = "application/zip", body = Vec<u8>),
        (status = 409, description = "Nothing is annotated yet.", body = ErrorBody)))]
pub(crate) async fn dataset(app: App) -> ApiResult<Response> {
    let dataset = app.retraining.newest_dataset(&Plan::default()).await.map_err(|error| {
        match error.downcast_ref::<BadPair>() {
            Some(bad) => Failure::conflict(bad.to_string()).then("accept the masks of some slices first"),
            None => error.into(),
        }
    })?;
    let (store, handle) = (app.store.clone(), Handle::current());
    Ok(archive::answer("dataset.zip", move |zip| {
        let mut split = "name,patient,side\n".to_owned();
        for sample in &dataset.samples {
            for (folder, digest) in [("images", sample.image), ("masks", sample.mask)] {
                let bytes = handle.block_on(objects::bytes(&*store, ObjectKey::Sample(digest)))?;
                zip.add(&format!("{folder}/{}.png", sample.name), &bytes)?;
            }
            let side = if sample.held_out { "held-out" } else { "training" };
            writeln!(split, "{}.png,{},{side}", sample.name, sample.patient)?;
        }
        zip.add_text("split.csv", &split)
    }))
}

pub(super) async fn found(app: &Console, run: &RunId) -> ApiResult<Arc<Run>> {
    app.catalogue.run(run).await?.ok_or_else(|| Failure::missing(format!("run {run}")))
}

async fn outgoing(app: &Console, run: &RunId, patient: Option<&PatientKey>) -> ApiResult<Vec<Outgoing>> {
    let run = found(app, run).await?;
    let mut newest: HashMap<Which, (RevisionId, Arc<Revision>)> = app.notes.newest().await?;
    let mut all = Vec::new();
    for slice in run.slices.iter().filter(|slice| patient.is_none_or(|of| slice.found.patient == *of)) {
        let which = (slice.found.patient.clone(), slice.found.slice.clone());
        let drawn = run.model().filter(|_| slice.found.reached == Reached::Drawn);
        let mask = match newest.remove(&which) {
            Some((id, revision)) => Some(Drawn::ByPeople(id, revision)),
            None => drawn.cloned().map(Drawn::ByModel),
        };
        all.push(Outgoing { name: slice.name.clone(), which, mask });
    }
    match (all.is_empty(), patient) {
        (true, Some(patient)) => Err(Failure::missing(format!("slice of the patient {patient} in this run"))),
        _ => Ok(all),
    }
}

fn file_name(what: &str, run: &RunId, patient: Option<&PatientKey>) -> String {
    patient.map_or_else(|| format!("{what}-{run}.zip"), |patient| format!("{what}-{patient}.zip"))
}
