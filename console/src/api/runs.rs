//! Runs: all of them, one of them, live; and starting one.

use axum::Json;
use axum::body::Body;
use axum::http::StatusCode;
use futures::stream::{StreamExt, TryStreamExt, iter};
use modiolus_pipeline::{Plane, RunId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::live::{Live, Watched, watch};
use crate::app::Console;
use crate::extract::{PathParams, QueryParams};
use crate::failure::{ApiResult, ErrorBody, Failure};
use crate::progress::{Progress, Summary};
use crate::upload::receive;

/// How many runs are looked at at once for a list.
const AT_A_TIME: usize = 8;

/// All runs, the latest first.
#[utoipa::path(get, path = "/runs", tag = "runs", responses((status = 200, body = [Summary])))]
pub(crate) async fn list(app: App) -> ApiResult<Json<Vec<Summary>>> {
    Ok(Json(summaries(&app).await?))
}

pub(crate) async fn summaries(app: &Console) -> ApiResult<Vec<Summary>> {
    let runs = app.catalogue.runs().await?;
    let summaries: Vec<_> = runs.iter().map(|run| summary(app, run)).collect();
    let summaries: Vec<Option<Summary>> = iter(summaries).buffered(AT_A_TIME).try_collect().await?;
    Ok(summaries.into_iter().flatten().collect())
}

/// What a list says of a run. That of a run that is done is remembered: there may be hundreds.
async fn summary(app: &Console, run: &RunId) -> ApiResult<Option<Summary>> {
    let known = app.watching.summary(run);
    if known.is_some() && app.catalogue.is_done(run).await? {
        return Ok(known);
    }
    let Some(run) = app.catalogue.run(run).await? else { return Ok(None) };
    let summary = Summary::of(&run);
    if run.is_settled() {
        app.watching.remember(&summary);
    }
    Ok(Some(summary))
}

/// One run: patients by stage, refused files by reason, jobs that were given up.
#[utoipa::path(get, path = "/runs/{run}", tag = "runs", params(("run" = String, Path)),
    responses((status = 200, body = Progress), (status = 404, body = ErrorBody)))]
pub(crate) async fn one(app: App, PathParams(run): PathParams<RunId>) -> ApiResult<Json<Progress>> {
    Ok(Json(progress(&app, &run).await?))
}

pub(crate) async fn progress(app: &Console, run: &RunId) -> ApiResult<Progress> {
    let found = app.catalogue.run(run).await?.ok_or_else(|| Failure::missing(format!("run {run}")))?;
    Ok(Progress::of(&found, &app.watching, app.works.standing(run).await))
}

impl Watched for Progress {
    fn is_over(&self) -> bool {
        self.is_done()
    }
}

/// A run while it works: `progress` whenever something has changed, `done` at its end, with the same JSON as `GET`.
#[utoipa::path(get, path = "/runs/{run}/events", tag = "runs", params(("run" = String, Path)),
    responses((status = 200, content_type = "text/event-stream", body = Object), (status = 404, body = ErrorBody)))]
pub(crate) async fn events(app: App, PathParams(run): PathParams<RunId>) -> ApiResult<Live> {
    progress(&app, &run).await?;
    let app = app.0;
    Ok(watch(app.stopping.clone(), move || {
        let (app, run) = (app.clone(), run.clone());
        async move { progress(&app, &run).await }
    }))
}

/// Ends a run before its end. What is done stays done; the files of the delivery are deleted. The same files uploaded again go on
/// with it. For operators.
#[utoipa::path(post, path = "/runs/{run}/cancel", tag = "runs", params(("run" = String, Path)),
    responses((status = 200, body = Progress), (status = 404, body = ErrorBody),
        (status = 409, description = "It is done already.", body = ErrorBody)))]
pub(crate) async fn cancel(app: App, PathParams(run): PathParams<RunId>) -> ApiResult<Json<Progress>> {
    progress(&app, &run).await?;
    app.works.cancel(&run).await?;
    app.catalogue.forget(&run);
    Ok(Json(progress(&app, &run).await?))
}

/// How many jobs were given up.
#[derive(Serialize, ToSchema)]
#[schema(as = JobsGivenUp)]
pub(crate) struct GivenUp {
    jobs: usize,
}

/// Has the jobs of a run that were given up done again, and what follows from them. For operators.
#[utoipa::path(post, path = "/runs/{run}/replay", tag = "runs", params(("run" = String, Path)),
    responses((status = 202, body = GivenUp), (status = 404, body = ErrorBody),
        (status = 409, description = "Nothing was given up, it is under way, or its files are gone.", body = ErrorBody)))]
pub(crate) async fn replay(
    app: App,
    PathParams(run): PathParams<RunId>,
) -> ApiResult<(StatusCode, Json<GivenUp>)> {
    progress(&app, &run).await?;
    let jobs = app.works.replay(&run).await?;
    app.catalogue.forget(&run);
    Ok((StatusCode::ACCEPTED, Json(GivenUp { jobs })))
}

/// Leaves the jobs of a run that were given up as they are, and forgets what was kept to replay them. For operators.
#[utoipa::path(post, path = "/runs/{run}/drop", tag = "runs", params(("run" = String, Path)),
    responses((status = 200, body = GivenUp), (status = 404, body = ErrorBody),
        (status = 409, description = "Nothing is kept of it.", body = ErrorBody)))]
pub(crate) async fn drop_given_up(app: App, PathParams(run): PathParams<RunId>) -> ApiResult<Json<GivenUp>> {
    progress(&app, &run).await?;
    let jobs = app.works.drop_given_up(&run).await?;
    Ok(Json(GivenUp { jobs }))
}

/// What was removed.
#[derive(Serialize, ToSchema)]
pub(crate) struct RemovedFiles {
    files: usize,
}

/// Removes the files that were uploaded for a run from the store, where they lie as they were delivered, with identity inside. What was
/// kept of them stays, and so do files that another run under way needs. In a cluster, once the run has ended; on one machine they
/// are removed by themselves then. For operators.
#[utoipa::path(delete, path = "/runs/{run}/uploaded", tag = "runs", params(("run" = String, Path)),
    responses((status = 200, body = RemovedFiles), (status = 404, body = ErrorBody),
        (status = 409, description = "They are needed yet, or nothing was uploaded.", body = ErrorBody)))]
pub(crate) async fn remove_uploaded(
    app: App,
    PathParams(run): PathParams<RunId>,
) -> ApiResult<Json<RemovedFiles>> {
    progress(&app, &run).await?;
    let files = app.works.remove_uploaded(&run).await?;
    app.catalogue.forget(&run);
    Ok(Json(RemovedFiles { files }))
}

/// What a new run wants.
#[derive(Deserialize, IntoParams)]
pub(crate) struct Wanted {
    /// coronal, axial, sagittal or six direction cosines; otherwise coronal.
    #[param(value_type = Option<String>)]
    plane: Option<String>,
}

/// A run that was started.
#[derive(Serialize, ToSchema)]
#[schema(as = StartedRun)]
pub(crate) struct Started {
    #[schema(value_type = String)]
    run: RunId,
}

/// Starts a run of a zip of DICOM files, in any folders. On one machine its files are deleted when the run is done, or, where jobs of
/// it were given up, when those are dropped; in a cluster when an operator says so. What is kept is de-identified. For operators.
#[utoipa::path(post, path = "/runs", tag = "runs", params(Wanted),
    request_body(content = Vec<u8>, content_type = "application/zip"),
    responses((status = 202, body = Started), (status = 400, body = ErrorBody), (status = 409, body = ErrorBody),
        (status = 413, body = ErrorBody)))]
pub(crate) async fn start(
    app: App,
    QueryParams(wanted): QueryParams<Wanted>,
    body: Body,
) -> ApiResult<(StatusCode, Json<Started>)> {
    let plane = match wanted.plane.as_deref() {
        None => Plane::CORONAL,
        Some(text) => text.parse().map_err(|error| Failure::bad(format!("plane: {error}")))?,
    };
    let folder = receive(body, app.works.deliveries(), app.bounds).await?;
    let run = app.works.start(folder.path(), plane).await?;
    folder.keep();
    app.catalogue.forget(&run);
    Ok((StatusCode::ACCEPTED, Json(Started { run })))
}
