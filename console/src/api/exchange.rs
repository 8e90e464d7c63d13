//! In and out: masks that were drawn elsewhere, files for labelme, a dataset to train elsewhere.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::response::Response;
use modiolus_imaging::{annotation as labelme, png};
use modiolus_operations::annotations::{self, NamedSlice, SliceNames};
use modiolus_operations::dataset::BadPair;
use modiolus_operations::objects;
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::job::preprocess::{AnnotationVerdict, PreprocessJob};
use modiolus_pipeline::{Digest, ModelVersion, ObjectKey, PatientKey, Plan, Revision, RevisionId, RunId};
use modiolus_store::ObjectStore;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use utoipa::{IntoParams, ToSchema};

use super::App;
use crate::app::{Console, Who};
use crate::archive::{self, Archive};
use crate::catalogue::{Reached, Run};
use crate::extract::{Asked, At};
use crate::failure::{Answer, Failure, Said};
use crate::notes::Which;
use crate::upload::{self, Bounds};

/// How large a zip of annotations may be. A labelme file may have its picture inside.
const BOUNDS: Bounds = Bounds { packed: 4 << 30, unpacked: 8 << 30, files: 100_000, depth: 8, ratio: 1000 };

/// What became of a zip of annotations.
#[derive(Serialize, ToSchema)]
pub(crate) struct Imported {
    accepted: usize,
    refused: usize,
    files: Vec<ImportedFile>,
}

/// What became of one of its files.
#[derive(Serialize, ToSchema)]
struct ImportedFile {
    /// As the zip names it.
    file: String,
    /// PATIENT/NAME, where there is such a slice.
    slice: Option<String>,
    /// Why it was refused; null where it is the newest mask of its slice now.
    refused: Option<String>,
    #[serde(skip)]
    drawn: Option<(SliceRef, Digest)>,
}

/// Takes in masks that people drew elsewhere: a zip of labelme files (JSON, of which the shapes labelled `electrode` count) and mask
/// PNGs of their slice's size, in which 0 is background. Each belongs to the slice whose name it has: `PATIENT_NAME.json`,
/// `PATIENT_NAME.png`, `PATIENT_NAME_mask.png` or `PATIENT/NAME.png`, in any folder; other files are passed over. It becomes the newest
/// revision of that slice's mask, accepted, and one to learn from. At most 4 GiB, 100,000 files. For annotators.
#[utoipa::path(post, path = "/runs/{run}/annotations", tag = "exchange", params(("run" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/zip"),
    responses((status = 200, body = Imported), (status = 400, body = Said), (status = 404, body = Said),
        (status = 413, body = Said)))]
pub(crate) async fn import(app: App, who: Who, At(run): At<RunId>, body: Body) -> Answer<Json<Imported>> {
    let names = names(&*found(&app, &run).await?);
    let folder = upload::receive_packed(body, app.works.deliveries(), BOUNDS).await?;
    let (packed, store, handle) = (folder.packed(), app.store.clone(), Handle::current());
    let mut files = super::pictures::away(move || {
        let mut files = Vec::new();
        upload::each_file(&packed, BOUNDS, is_annotation, |file, bytes| {
            files.push(handle.block_on(take_in(&*store, &names, file, bytes, &who.name))?);
            Ok(())
        })?;
        Ok(files)
    })
    .await?;
    let drawn: Vec<_> = files.iter().filter_map(|file| file.drawn.clone()).collect();
    if !drawn.is_empty() {
        app.works.learn_from(drawn).await?;
    }
    for file in &mut files {
        file.look(&*app.store).await?;
    }
    let refused = files.iter().filter(|file| file.refused.is_some()).count();
    Ok(Json(Imported { accepted: files.len() - refused, refused, files }))
}

fn is_annotation(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    // The second are what a Mac adds to a zip.
    (file.ends_with(".json") || file.ends_with(".png")) && !file.starts_with("._")
}

fn names(run: &Run) -> SliceNames {
    SliceNames::new(run.slices.iter().map(|slice| {
        let found = &slice.found;
        let of = SliceRef { patient: found.patient.clone(), slice: found.slice.clone() };
        (found.patient.to_string(), slice.name.clone(), of, (found.rows as usize, found.columns as usize))
    }))
}

async fn take_in(
    store: &dyn ObjectStore,
    names: &SliceNames,
    file: String,
    bytes: Vec<u8>,
    by: &str,
) -> anyhow::Result<ImportedFile> {
    let refused = |file, slice, why| ImportedFile { file, slice, refused: Some(why), drawn: None };
    let NamedSlice { name, slice, size } = match names.find(&file) {
        Ok(named) => named,
        Err(why) => return Ok(refused(file, None, why)),
    };
    let mask = match annotations::mask(&bytes, *size) {
        Ok(mask) => mask,
        Err(why) => return Ok(refused(file, Some(name.clone()), why)),
    };
    let drawn = match annotations::keep(store, slice, mask, by).await? {
        PreprocessJob::Annotation { slice, annotation } => Some((slice, annotation)),
        PreprocessJob::Slices { .. } => None,
    };
    Ok(ImportedFile { file, slice: Some(name.clone()), refused: None, drawn })
}

impl ImportedFile {
    /// What preprocess said.
    async fn look(&mut self, store: &dyn ObjectStore) -> Answer<()> {
        let Some((slice, annotation)) = &self.drawn else { return Ok(()) };
        let key = ObjectKey::AnnotationVerdict(slice.patient.clone(), slice.slice.clone(), *annotation);
        if let Some(AnnotationVerdict::Refused { why }) = objects::json_if_there(store, key).await? {
            self.refused = Some(why);
        }
        Ok(())
    }
}

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
    mask: Option<Source>,
}

/// Whose mask it is.
enum Source {
    /// People's: the newest revision.
    People(RevisionId, Arc<Revision>),
    /// A model's.
    Model(ModelVersion),
}

impl Source {
    fn key(&self, (patient, slice): &Which) -> ObjectKey {
        match self {
            Self::People(_, revision) => ObjectKey::Annotation(revision.mask),
            Self::Model(model) => ObjectKey::Mask(model.clone(), patient.clone(), slice.clone()),
        }
    }

    /// By whom it is and what it counts as, for a table.
    fn row(&self) -> String {
        match self {
            Self::People(id, revision) => {
                let state = serde_json::to_value(revision.state).unwrap_or_default();
                format!("people,{},{id}", state.as_str().unwrap_or_default())
            }
            Self::Model(model) => format!("model,proposal,{model}"),
        }
    }
}

/// The masks of a run's slices as a zip: `PATIENT/NAME.png` of the slice's size with the values 0 and 1, people's newest where there is
/// one, else the model's, and `masks.csv`, which says whose each is. For annotators.
#[utoipa::path(get, path = "/runs/{run}/masks.zip", tag = "exchange", params(("run" = String, Path), Whose),
    responses((status = 200, content_type = "application/zip", body = Vec<u8>), (status = 404, body = Said)))]
pub(crate) async fn masks(app: App, At(run): At<RunId>, Asked(whose): Asked<Whose>) -> Answer<Response> {
    let outgoing = outgoing(&app, &run, whose.patient.as_ref()).await?;
    let (store, handle) = (app.store.clone(), Handle::current());
    Ok(archive::answer(&file_name("masks", &run, whose.patient.as_ref()), move |zip| {
        let mut table = "name,by,state,revision_or_model\n".to_owned();
        for one in &outgoing {
            let Some(source) = &one.mask else { continue };
            let name = format!("{}/{}.png", one.which.0, one.name);
            zip.add(&name, &handle.block_on(objects::bytes(&*store, source.key(&one.which)))?)?;
            writeln!(table, "{name},{}", source.row())?;
        }
        zip.add_text("masks.csv", &table)
    }))
}

/// The pictures of a run's slices with their masks as labelme files, side by side as labelme wants them: `PATIENT_NAME.png` and
/// `PATIENT_NAME.json`, from which labelme makes the same masks. What labelme saves comes in again by `annotations`. For annotators.
#[utoipa::path(get, path = "/runs/{run}/labelme.zip", tag = "exchange", params(("run" = String, Path), Whose),
    responses((status = 200, content_type = "application/zip", body = Vec<u8>), (status = 404, body = Said)))]
pub(crate) async fn labelme_files(
    app: App,
    At(run): At<RunId>,
    Asked(whose): Asked<Whose>,
) -> Answer<Response> {
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
        Some(source) => Some(objects::bytes(store, source.key(&one.which)).await?),
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
        let file = labelme::write(&png::decode_mask(&mask)?, &format!("{name}.png"));
        zip.add_text(&format!("{name}.json"), &String::from_utf8(file)?)?;
    }
    Ok(())
}

/// What people have accepted so far, as a zip to train elsewhere: `images/NAME.png`, `masks/NAME.png` of the same size with the values 0
/// and 1, and `split.csv`, which says of each whose it is and whether its patient is held out. It is the dataset that the next training
/// here would learn from. For annotators.
#[utoipa::path(get, path = "/dataset.zip", tag = "exchange",
    responses((status = 200, content_type = "application/zip", body = Vec<u8>),
        (status = 409, description = "Nothing is annotated yet.", body = Said)))]
pub(crate) async fn dataset(app: App) -> Answer<Response> {
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

async fn found(app: &Console, run: &RunId) -> Answer<Arc<Run>> {
    app.catalogue.run(run).await?.ok_or_else(|| Failure::missing(format!("run {run}")))
}

async fn outgoing(app: &Console, run: &RunId, patient: Option<&PatientKey>) -> Answer<Vec<Outgoing>> {
    let run = found(app, run).await?;
    let mut newest: HashMap<Which, (RevisionId, Arc<Revision>)> = app.notes.newest().await?;
    let mut all = Vec::new();
    for slice in run.slices.iter().filter(|slice| patient.is_none_or(|of| slice.found.patient == *of)) {
        let which = (slice.found.patient.clone(), slice.found.slice.clone());
        let drawn = run.model().filter(|_| slice.found.reached == Reached::Drawn);
        let mask = match newest.remove(&which) {
            Some((id, revision)) => Some(Source::People(id, revision)),
            None => drawn.cloned().map(Source::Model),
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
