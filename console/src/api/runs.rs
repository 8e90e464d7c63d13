//! Runs: all of them, one of them, live; and starting one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use futures::stream::{StreamExt, TryStreamExt, iter, unfold};
use modiolus_pipeline::{Plane, RunId};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use utoipa::{IntoParams, ToSchema};

use super::App;
use crate::app::Console;
use crate::extract::{Asked, At};
use crate::failure::{Answer, Failure, Said};
use crate::progress::{Progress, Summary};
use crate::upload::receive;

/// How often a watched run is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How many runs are looked at at once for a list.
const AT_A_TIME: usize = 8;

/// All runs, the latest first.
#[utoipa::path(get, path = "/runs", tag = "runs", responses((status = 200, body = [Summary])))]
pub(crate) async fn list(app: App) -> Answer<Json<Vec<Summary>>> {
    Ok(Json(summaries(&app).await?))
}

pub(crate) async fn summaries(app: &Console) -> Answer<Vec<Summary>> {
    let runs = app.catalogue.runs().await?;
    let summaries: Vec<_> = runs.iter().map(|run| summary(app, run)).collect();
    let summaries: Vec<Option<Summary>> = iter(summaries).buffered(AT_A_TIME).try_collect().await?;
    Ok(summaries.into_iter().flatten().collect())
}

/// What a list says of a run. That of a run that is done is remembered: there may be hundreds.
async fn summary(app: &Console, run: &RunId) -> Answer<Option<Summary>> {
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
    responses((status = 200, body = Progress), (status = 404, body = Said)))]
pub(crate) async fn one(app: App, At(run): At<RunId>) -> Answer<Json<Progress>> {
    Ok(Json(progress(&app, &run).await?))
}

pub(crate) async fn progress(app: &Console, run: &RunId) -> Answer<Progress> {
    let found = app.catalogue.run(run).await?.ok_or_else(|| Failure::missing(format!("run {run}")))?;
    Ok(Progress::of(&found, &app.watching))
}

/// A run while it works: `progress` whenever something has changed, `done` at its end, with the same JSON as `GET`.
#[utoipa::path(get, path = "/runs/{run}/events", tag = "runs", params(("run" = String, Path)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 404, body = Said)))]
pub(crate) async fn events(
    app: App,
    At(run): At<RunId>,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    progress(&app, &run).await?;
    let watch = Watch { app: app.0, run, told: String::new(), is_over: false };
    let events = unfold(watch, |mut watch| async move { watch.next().await.map(|event| (Ok(event), watch)) });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

struct Watch {
    app: Arc<Console>,
    run: RunId,
    told: String,
    is_over: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<Event> {
        while !self.is_over {
            // A run that can't be read now may be later: whoever watches sees that nothing changes.
            if let Ok(progress) = progress(&self.app, &self.run).await {
                self.is_over = progress.is_done();
                let json = serde_json::to_string(&progress).unwrap_or_default();
                if self.is_over || json != self.told {
                    self.told.clone_from(&json);
                    return Some(
                        Event::default().event(if self.is_over { "done" } else { "progress" }).data(json),
                    );
                }
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = self.app.stopping.cancelled() => return None,
            }
        }
        None
    }
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
pub(crate) struct Started {
    #[schema(value_type = String)]
    run: RunId,
}

/// Starts a run of a zip of DICOM files, in any folders. Its files are deleted when the run is done; what is kept is
/// de-identified.
#[utoipa::path(post, path = "/runs", tag = "runs", params(Wanted),
    request_body(content = Vec<u8>, content_type = "application/zip"),
    responses((status = 202, body = Started), (status = 400, body = Said), (status = 413, body = Said)))]
pub(crate) async fn start(
    app: App,
    Asked(wanted): Asked<Wanted>,
    body: Body,
) -> Answer<(StatusCode, Json<Started>)> {
    let plane = match wanted.plane.as_deref() {
        None => Plane::CORONAL,
        Some(text) => text.parse().map_err(|error| Failure::bad(format!("plane: {error}")))?,
    };
    let folder = receive(body, app.works.deliveries(), app.bounds).await?;
    let run = app.works.start(folder.path(), plane).await?;
    folder.keep();
    Ok((StatusCode::ACCEPTED, Json(Started { run })))
}
