//! The routes, and the server that answers on them.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Json, Router};
use modiolus_runtime::{CancellationToken, Telemetry};
use tokio::net::TcpListener;
use tokio::time::sleep;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{annotations, exchange, models, pictures, runs, session, slices, trainings, work};
use crate::app::{Console, Role, Who};
use crate::guard::{at_least, guard};
use crate::{assets, pages, proposals};

/// How long answers may take to end once the console is told to stop: an upload that takes longer is cut off.
const GRACE: Duration = Duration::from_secs(20);

/// How the console is reached.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address and port (TCP).
    pub listen: SocketAddr,
    /// Counts the answers.
    pub telemetry: Telemetry,
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Modiolus",
    description = "What the review page does, for programs. What changes something needs the header X-CSRF with the token \
        of GET /api/v1/session."
))]
struct Description;

/// Answers until it is told to stop, and then for a while those who have asked; `ready` is told where.
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
    let stopping = console.stopping.clone();
    let console = Arc::new(console);
    let app = router(console.clone()).layer(from_fn_with_state(options.telemetry, count));
    let (told, over) = (stop.clone(), stop.clone());
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        told.cancelled().await;
        // A page that watches a run would keep the server from its end.
        stopping.cancel();
    });
    let proposals = tokio::spawn(proposals::keep_up(console, stop));
    let ended = tokio::select! {
        ended = server.into_future() => ended.context("the server failed"),
        () = async { over.cancelled().await; sleep(GRACE).await } => Ok(()),
    };
    proposals.abort();
    ended
}

async fn count(State(telemetry): State<Telemetry>, request: Request, next: Next) -> Response {
    let asked = Instant::now();
    let response = next.run(request).await;
    telemetry.answered(response.status().as_u16(), asked.elapsed());
    response
}

/// All routes.
pub fn router(console: Arc<Console>) -> Router {
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
        .routes(routes!(models::compare))
        .routes(routes!(trainings::list))
        .routes(routes!(trainings::one))
        .routes(routes!(trainings::events));
    let annotators = OpenApiRouter::new()
        .routes(routes!(slices::triage))
        .routes(routes!(annotations::add))
        .routes(routes!(exchange::masks))
        .routes(routes!(exchange::labelme_files))
        .routes(routes!(exchange::dataset))
        .routes(routes!(exchange::import))
        .route_layer(from_fn(|who: Who, request: Request, next: Next| {
            at_least(Role::Annotator, who, request, next)
        }));
    let operators = OpenApiRouter::new()
        .routes(routes!(runs::start))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::replay))
        .routes(routes!(runs::drop_given_up))
        .routes(routes!(trainings::start))
        .routes(routes!(trainings::cancel))
        .routes(routes!(models::promote))
        .routes(routes!(models::draw))
        .routes(routes!(models::rollback))
        .route_layer(from_fn(|who: Who, request: Request, next: Next| {
            at_least(Role::Operator, who, request, next)
        }));
    OpenApiRouter::with_openapi(Description::openapi())
        .nest("/api/v1", viewers.merge(annotators).merge(operators))
}
