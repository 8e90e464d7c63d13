//! Revisions of a slice's mask. The page makes the mask; here it is only checked and kept, pixel by pixel as it was seen.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use modiolus_imaging::png;
use modiolus_operations::objects;
use modiolus_operations::start::now;
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::{
    Digest, ModelVersion, ObjectKey, PatientKey, Revision, RevisionId, RevisionState, SliceId,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::exchange::labelme_of;
use super::pictures::{FOR_EVER, away, instance};
use super::slices::{find, is_there};
use crate::app::{Console, Who};
use crate::extract::{PathParams, QueryParams};
use crate::failure::{ApiResult, ErrorBody, Failure};
use crate::notes::Which;

/// The largest mask, in bytes: well above any slice's.
const MOST_BYTES: usize = 32 << 20;

/// A revision.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ListedRevision)]
pub(crate) struct Listed {
    #[schema(value_type = String)]
    revision: RevisionId,
    #[schema(value_type = Option<String>)]
    parent: Option<RevisionId>,
    by: String,
    /// In seconds since 1970.
    at: i64,
    /// The model whose mask it began with.
    #[schema(value_type = Option<String>)]
    proposal: Option<ModelVersion>,
    /// How long it took.
    seconds: u32,
    /// draft, accepted or rejected.
    #[schema(value_type = String)]
    state: RevisionState,
    /// Whether its mask has electrode pixels; a rejected one has none.
    mask: bool,
    /// Whether another revision was made from the same one: two people worked on the slice.
    conflict: bool,
}

/// The revisions of a slice's mask, the newest last.
#[utoipa::path(get, path = "/slices/{patient}/{slice}/revisions", tag = "annotations",
    params(("patient" = String, Path), ("slice" = String, Path)), responses((status = 200, body = [Listed])))]
pub(crate) async fn list(app: App, PathParams(which): PathParams<Which>) -> ApiResult<Json<Vec<Listed>>> {
    let all = app.notes.all::<Revision>(&which).await?;
    let listed = all.iter().map(|(id, revision)| Listed {
        revision: id.clone(),
        parent: revision.parent.clone(),
        by: revision.by.clone(),
        at: revision.at,
        proposal: revision.proposal.clone(),
        seconds: revision.seconds,
        state: revision.state,
        mask: revision.state != RevisionState::Rejected,
        conflict: all.iter().any(|(other, beside)| other != id && beside.parent == revision.parent),
    });
    Ok(Json(listed.collect()))
}

/// What a new revision is.
#[derive(Deserialize, IntoParams)]
pub(crate) struct New {
    /// The revision that it was made from; none for the first.
    #[param(value_type = Option<String>)]
    parent: Option<RevisionId>,
    /// The model whose mask it began with.
    #[param(value_type = Option<String>)]
    proposal: Option<ModelVersion>,
    /// How long it took.
    seconds: Option<u32>,
    /// draft, accepted, or rejected: there is no array here, and the mask is empty. Otherwise draft.
    #[param(value_type = Option<String>)]
    state: Option<RevisionState>,
    /// Keep it beside what somebody else has made meanwhile.
    force: Option<bool>,
}

/// What came of a new revision.
#[derive(Serialize, ToSchema)]
#[schema(as = SavedRevision)]
pub(crate) struct Saved {
    /// None where it was not kept.
    #[schema(value_type = Option<String>)]
    revision: Option<RevisionId>,
    /// What somebody else has made from the same revision.
    conflict: Option<Other>,
    /// Why nothing can be learned from it although it is kept, in a sentence.
    not_learned: Option<String>,
}

/// A revision of somebody else.
#[derive(Serialize, ToSchema)]
#[schema(as = OtherRevision)]
pub(crate) struct Other {
    #[schema(value_type = String)]
    revision: RevisionId,
    by: String,
    /// In seconds since 1970.
    at: i64,
}

/// Keeps a revision: a PNG of the slice's size, indexed or grey, in which 0 is background and anything else electrode. One
/// that isn't made from the newest is not kept but answered with 409, unless `force` is set. What is accepted or rejected
/// becomes a sample to learn from.
#[utoipa::path(post, path = "/slices/{patient}/{slice}/revisions", tag = "annotations",
    params(("patient" = String, Path), ("slice" = String, Path), New),
    request_body(content = Vec<u8>, content_type = "image/png"),
    responses((status = 201, body = Saved), (status = 409, body = Saved), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 413, body = ErrorBody)))]
pub(crate) async fn add(
    app: App,
    who: Who,
    PathParams(which): PathParams<Which>,
    QueryParams(new): QueryParams<New>,
    body: Body,
) -> ApiResult<(StatusCode, Json<Saved>)> {
    is_there(&app, &which).await?;
    let state = new.state.unwrap_or(RevisionState::Draft);
    let mask = read_mask(&app, &which, body, state).await?;
    let revision = Revision {
        parent: new.parent,
        by: who.name,
        at: now(),
        proposal: new.proposal,
        seconds: new.seconds.unwrap_or(0),
        state,
        mask: Digest::of(&mask),
        imported: false,
    };
    let id = match keep(&app, &which, &revision, mask, new.force.unwrap_or(false)).await? {
        Ok(id) => id,
        Err(other) => {
            let saved = Saved { revision: None, conflict: Some(other), not_learned: None };
            return Ok((StatusCode::CONFLICT, Json(saved)));
        }
    };
    let not_learned = match state.is_final() {
        true => learn_from(&app, &which, revision.mask).await,
        false => None,
    };
    let conflict = beside(&app, &which, &id, &revision).await?;
    Ok((StatusCode::CREATED, Json(Saved { revision: Some(id), conflict, not_learned })))
}

/// Keeps a revision; where it isn't made from the newest, unless `force` is set, what somebody else has made.
async fn keep(
    app: &Console,
    which: &Which,
    revision: &Revision,
    mask: Bytes,
    force: bool,
) -> ApiResult<Result<RevisionId, Other>> {
    // Nobody adds a revision between the look and this one.
    let _turn = app.notes.turn(which).await;
    let newest = app.notes.all::<Revision>(which).await?.pop();
    if let Some((id, newest)) = newest.filter(|(id, _)| revision.parent.as_ref() != Some(id)) {
        if is_the_same(&newest, revision) {
            // Its answer was lost on the way, so it was sent again.
            return Ok(Ok(id));
        }
        if !force {
            return Ok(Err(Other { revision: id, by: newest.by.clone(), at: newest.at }));
        }
    }
    app.store.put(ObjectKey::Annotation(revision.mask), mask).await?;
    Ok(Ok(app.notes.append(which, revision).await?))
}

/// Whether two revisions differ in nothing but their times.
fn is_the_same(one: &Revision, other: &Revision) -> bool {
    *one == Revision { at: one.at, seconds: one.seconds, ..other.clone() }
}

/// Makes a training sample of a mask that is kept already. Why that failed: what was saved stays saved.
async fn learn_from(app: &Console, (patient, slice): &Which, mask: Digest) -> Option<String> {
    let slice = SliceRef { patient: patient.clone(), slice: slice.clone() };
    let error = app.works.learn_from(vec![(slice, mask)]).await.err()?;
    tracing::warn!("no training sample could be made of a mask: {error:#}");
    Some("no training sample could be made of it: the console's log says why".to_owned())
}

/// What somebody else has made from the same revision.
async fn beside(
    app: &Console,
    which: &Which,
    id: &RevisionId,
    revision: &Revision,
) -> ApiResult<Option<Other>> {
    let all = app.notes.all::<Revision>(which).await?;
    let others = all.into_iter().filter(|(other, beside)| other != id && beside.parent == revision.parent);
    Ok(others.last().map(|(revision, of)| Other { revision, by: of.by.clone(), at: of.at }))
}

async fn read_mask(app: &Console, which: &Which, body: Body, state: RevisionState) -> ApiResult<Bytes> {
    let bytes = axum::body::to_bytes(body, MOST_BYTES).await.map_err(|_| {
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a mask has at most {MOST_BYTES} bytes"))
    })?;
    let instance = instance(app, which).await?;
    let size = (instance.attributes.rows as usize, instance.attributes.columns as usize);
    away(move || checked(&bytes, size, state)).await
}

/// The mask as it is kept: an indexed PNG, the same for the same pixels.
fn checked(bytes: &[u8], size: (usize, usize), state: RevisionState) -> ApiResult<Bytes> {
    let mask = png::decode_mask_of(bytes, size)
        .map_err(|error| Failure::bad(format!("this is no mask of the slice: {error}")))?;
    match (state, mask.is_blank()) {
        (RevisionState::Rejected, false) => Err(Failure::bad("a slice without an array has an empty mask")),
        _ => Ok(png::encode_mask(&mask).into()),
    }
}

/// A revision's mask (indexed PNG).
#[utoipa::path(get, path = "/slices/{patient}/{slice}/revisions/{revision}/mask.png", tag = "annotations",
    params(("patient" = String, Path), ("slice" = String, Path), ("revision" = String, Path)),
    responses((status = 200, content_type = "image/png", body = Vec<u8>), (status = 404, body = ErrorBody)))]
pub(crate) async fn mask(
    app: App,
    PathParams((patient, slice, revision)): PathParams<(PatientKey, SliceId, RevisionId)>,
) -> ApiResult<Response> {
    let png = mask_of(&app, patient, slice, &revision).await?;
    Ok(([(CONTENT_TYPE, "image/png"), (CACHE_CONTROL, FOR_EVER)], png).into_response())
}

async fn mask_of(
    app: &Console,
    patient: PatientKey,
    slice: SliceId,
    revision: &RevisionId,
) -> ApiResult<Bytes> {
    let key = ObjectKey::Revision(patient, slice, revision.clone());
    let found: Option<Revision> = objects::json_if_there(&*app.store, key).await?;
    let found = found.ok_or_else(|| Failure::missing(format!("revision {revision}")))?;
    Ok(objects::bytes(&*app.store, ObjectKey::Annotation(found.mask)).await?)
}

/// A revision's mask as a labelme file, from which labelme makes the same mask again.
#[utoipa::path(get, path = "/slices/{patient}/{slice}/revisions/{revision}/labelme.json", tag = "annotations",
    params(("patient" = String, Path), ("slice" = String, Path), ("revision" = String, Path)),
    responses((status = 200, content_type = "application/json", body = Object), (status = 404, body = ErrorBody)))]
pub(crate) async fn labelme_file(
    app: App,
    PathParams((patient, slice, revision)): PathParams<(PatientKey, SliceId, RevisionId)>,
) -> ApiResult<Response> {
    let which = (patient.clone(), slice.clone());
    let name = match find(&app, &which, None).await {
        Ok((run, position)) => run.slices[position].name.clone(),
        Err(_) => slice.to_string(),
    };
    let png = mask_of(&app, patient.clone(), slice, &revision).await?;
    let file = away(move || Ok(labelme_of(&png, &format!("{patient}_{name}"), &which, Some(revision))?));
    Ok(([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, FOR_EVER)], file.await?).into_response())
}
