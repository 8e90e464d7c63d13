//! In: masks that were drawn elsewhere.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use modiolus_operations::annotations::{self, NamedSlice, SliceNames};
use modiolus_operations::exported::Exported;
use modiolus_operations::objects;
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::job::preprocess::{AnnotationVerdict, PreprocessJob};
use modiolus_pipeline::{Digest, ObjectKey, RunId};
use modiolus_store::ObjectStore;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::exchange::found;
use super::pictures::away;
use crate::app::{Console, Who};
use crate::catalogue::Run;
use crate::extract::{PathParams, QueryParams};
use crate::failure::{ApiResult, ErrorBody};
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
/// revision of that slice's mask, accepted, and one to learn from. A PNG beside a labelme file under its name is the picture that was
/// drawn on, and passed over; of several files for one slice none is taken. What went out from here says so in itself (labelme files) or in
/// `masks.csv` beside it (PNGs): where somebody has drawn on the slice since, it is refused. At most 4 GiB, 100,000 files. For
/// annotators.
#[utoipa::path(post, path = "/runs/{run}/annotations", tag = "exchange", params(("run" = String, Path), How),
    request_body(content = Vec<u8>, content_type = "application/zip"),
    responses((status = 200, body = Imported), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 413, body = ErrorBody)))]
pub(crate) async fn import(
    app: App,
    who: Who,
    PathParams(run): PathParams<RunId>,
    QueryParams(how): QueryParams<How>,
    body: Body,
) -> ApiResult<Json<Imported>> {
    let names = names(&*found(&app, &run).await?);
    let folder = upload::receive_packed(body, app.works.deliveries(), BOUNDS).await?;
    let force = how.force.unwrap_or(false);
    let import = Import { app: app.0.clone(), names, exported: Exported::default(), by: who.name, force };
    let handle = Handle::current();
    let mut files = away(move || import.files(&folder.packed(), &handle)).await?;
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

/// How masks come in.
#[derive(Deserialize, IntoParams)]
pub(crate) struct How {
    /// Take in also what went out before somebody drew on its slice. What they drew stays a revision.
    force: Option<bool>,
}

/// A zip that is taken in.
struct Import {
    app: Arc<Console>,
    names: SliceNames,
    exported: Exported,
    by: String,
    force: bool,
}

impl Import {
    /// Takes in the files of a zip. All of it is read before anything is kept, so that one that is damaged leaves nothing.
    fn files(mut self, packed: &Path, handle: &Handle) -> ApiResult<Vec<ImportedFile>> {
        let mut annotations = Vec::new();
        upload::each_file(
            packed,
            BOUNDS,
            |name| annotations::is_annotation(name) || Exported::is_table(name),
            |name, bytes| {
                if Exported::is_table(&name) {
                    self.exported.add(&String::from_utf8_lossy(&bytes), &self.names);
                } else {
                    annotations.push(name);
                }
                Ok(())
            },
        )?;
        let annotations = annotations::without_pictures(annotations, |name| name);
        let names: Vec<&str> = annotations.iter().map(String::as_str).collect();
        let slices: HashMap<&str, _> = names.iter().copied().zip(self.names.find_all(&names)).collect();
        let mut files = Vec::new();
        upload::each_file(
            packed,
            BOUNDS,
            |name| slices.contains_key(name),
            |file, bytes| {
                let slice = slices[file.as_str()].clone();
                files.push(handle.block_on(self.take_in(file, slice, &bytes))?);
                Ok(())
            },
        )?;
        Ok(files)
    }

    async fn take_in(
        &self,
        file: String,
        slice: Result<&NamedSlice, String>,
        bytes: &[u8],
    ) -> anyhow::Result<ImportedFile> {
        let refused = |file, slice, why| ImportedFile { file, slice, refused: Some(why), drawn: None };
        let named = match slice {
            Ok(named) => named,
            Err(why) => return Ok(refused(file, None, why)),
        };
        let NamedSlice { name, slice, size } = named;
        let mask = match annotations::mask(bytes, *size) {
            Ok(mask) => mask,
            Err(why) => return Ok(refused(file, Some(name.clone()), why)),
        };
        let store = &*self.app.store;
        // Nobody adds a revision between the look and this one.
        let _turn = self.app.notes.turn(&(slice.patient.clone(), slice.slice.clone())).await;
        if let Some(origin) = self.exported.origin(named, bytes).filter(|_| !self.force)
            && let Some(why) = annotations::moved_on(store, slice, &mask, &origin, &self.by).await?
        {
            return Ok(refused(file, Some(name.clone()), why));
        }
        let drawn = match annotations::keep(store, slice, mask, &self.by).await? {
            PreprocessJob::Annotation { slice, annotation } => Some((slice, annotation)),
            PreprocessJob::Slices { .. } => None,
        };
        Ok(ImportedFile { file, slice: Some(name.clone()), refused: None, drawn })
    }
}

fn names(run: &Run) -> SliceNames {
    SliceNames::new(run.slices.iter().map(|slice| {
        let found = &slice.found;
        let of = SliceRef { patient: found.patient.clone(), slice: found.slice.clone() };
        (found.patient.to_string(), slice.name.clone(), of, (found.rows as usize, found.columns as usize))
    }))
}

impl ImportedFile {
    /// What preprocess said.
    async fn look(&mut self, store: &dyn ObjectStore) -> ApiResult<()> {
        let Some((slice, annotation)) = &self.drawn else { return Ok(()) };
        let key = ObjectKey::AnnotationVerdict(slice.patient.clone(), slice.slice.clone(), *annotation);
        if let Some(AnnotationVerdict::Refused { why }) = objects::json_if_there(store, key).await? {
            self.refused = Some(why);
        }
        Ok(())
    }
}
