//! The routes, and the server that answers on them.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::routing::{any, get};
use axum::{Json, Router};
use modiolus_runtime::CancellationToken;
use tokio::net::TcpListener;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{annotations, models, pictures, runs, session, slices, work};
use crate::app::{Console, Role, Who};
use crate::guard::{at_least, guard};
use crate::{assets, pages};

/// How the console is reached.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The address and port (TCP).
    pub listen: SocketAddr,
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Modiolus",
    description = "What the review page does, for programs. What changes something needs the header X-CSRF with the token \
        of GET /api/v1/session."
))]
struct Description;

/// Answers until it is told to stop; `ready` is told where.
///
/// # Errors
/// When nobody may listen there, or the address is taken.
pub async fn serve(
    console: Console,
    options: Options,
    stop: CancellationToken,
    ready: impl FnOnce(SocketAddr),
) -> Result<()> {
    if !options.listen.ip().is_loopback() {
        bail!("{}: without accounts only this machine is served: listen on 127.0.0.1", options.listen);
    }
    let said = || format!("nobody can listen on {}: is another program there?", options.listen);
    let listener = TcpListener::bind(options.listen).await.with_context(said)?;
    ready(listener.local_addr()?);
    let server = axum::serve(listener, router(console));
    // A page that watches a run would keep the server from its end.
    tokio::select! {
        ended = server => ended.context("the server failed"),
        () = stop.cancelled() => Ok(()),
    }
}

/// All routes.
pub fn router(console: Console) -> Router {
    let console = Arc::new(console);
    let (api, description) = api().split_for_parts();
    let description = Json(description);
    Router::new()
        .route("/", get(pages::start))
        .route("/runs", get(pages::runs))
        .route("/runs/{run}", get(pages::run))
        .route("/runs/{run}/wall", get(pages::wall))
        .route("/slices/{patient}/{slice}", get(pages::slice))
        .route("/models", get(pages::models))
        .route("/models/{version}", get(pages::model))
        .route("/work", get(pages::work))
        .route("/help", get(pages::help))
        .route("/assets/{*path}", get(assets::asset))
        .route("/api/v1/openapi.json", get(move || async move { description }))
        .merge(api)
        // A route, since the guard stands before routes only.
        .route("/{*anywhere}", any(pages::nowhere))
        .route_layer(from_fn_with_state(console.clone(), guard))
        .with_state(console)
}

/// The API with its description: what it has no description of has no route.
fn api() -> OpenApiRouter<Arc<Console>> {
    let viewers = OpenApiRouter::new()
        .routes(routes!(session::session))
        .routes(routes!(runs::list))
        .routes(routes!(runs::one))
        .routes(routes!(runs::events))
        .routes(routes!(slices::wall))
        .routes(routes!(slices::one))
        .routes(routes!(pictures::image))
        .routes(routes!(pictures::thumbnail))
        .routes(routes!(pictures::mask))
        .routes(routes!(pictures::probability))
        .routes(routes!(pictures::overlay))
        .routes(routes!(pictures::pixels))
        .routes(routes!(annotations::list))
        .routes(routes!(annotations::mask))
        .routes(routes!(annotations::labelme_file))
        .routes(routes!(work::list))
        .routes(routes!(models::list))
        .routes(routes!(models::one))
        .routes(routes!(models::compare));
    let annotators =
        OpenApiRouter::new().routes(routes!(slices::triage)).routes(routes!(annotations::add)).route_layer(
            from_fn(|who: Who, request: Request, next: Next| at_least(Role::Annotator, who, request, next)),
        );
    let operators = OpenApiRouter::new()
        .routes(routes!(runs::start))
        .routes(routes!(models::promote))
        .routes(routes!(models::draw))
        .routes(routes!(models::rollback))
        .route_layer(from_fn(|who: Who, request: Request, next: Next| {
            at_least(Role::Operator, who, request, next)
        }))
        .layer(DefaultBodyLimit::disable());
    OpenApiRouter::with_openapi(Description::openapi())
        .nest("/api/v1", viewers.merge(annotators).merge(operators))
}
