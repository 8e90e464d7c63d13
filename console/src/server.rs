//! The routes, and the server that answers on them.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{any, get, post};
use axum::{Json, Router};
use modiolus_runtime::{CancellationToken, Telemetry};
use tokio::net::TcpListener;
use tokio::time::sleep;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{
    annotations, audit, exchange, import, models, pictures, runs, session, slices, trainings, work,
};
use crate::app::{Console, Role, Who};
use crate::audit::GATHER;
use crate::guard::{at_least, from_our_page, front, known};
use crate::login::pages as login;
use crate::{assets, describe, pages, proposals};

/// How long answers may take to end once the console is told to stop: an upload that takes longer is cut off.
const GRACE: Duration = Duration::from_secs(20);

/// Sessions that are over are removed every so many times that the audit log is written: about once an hour.
const SWEEP_ROUNDS: u64 = 120;

/// The largest form or login, in bytes.
const FORM_BYTES: usize = 16 << 10;

/// How the console is reached.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address and port (TCP).
    pub listen: SocketAddr,
    /// Counts the answers.
    pub telemetry: Telemetry,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Modiolus",
        description = "What the review page does, for programs. Where people log in, a program does so with \
            POST /api/v1/session, keeps the cookie that the answer sets, and brings it with every request; without one the \
            answer is 401. What changes something needs the header X-CSRF, too, with the token of that answer or of \
            GET /api/v1/session."
    ),
    security(("session" = [])),
    modifiers(&Schemes)
)]
struct Description;

/// How the API knows who asks.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let cookie = "The session; over the network the cookie is called __Host-modiolus.";
        let session = ApiKey::Cookie(ApiKeyValue::with_description("modiolus", cookie));
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("session", SecurityScheme::ApiKey(session));
    }
}

/// Answers until it is told to stop, and then for a while those who have asked; `ready` is told where.
///
/// # Errors
/// When nobody may listen there ([`crate::Access::check`]), or the address is taken.
pub async fn serve(
    console: Console,
    options: Options,
    stop: CancellationToken,
    ready: impl FnOnce(SocketAddr),
) -> Result<()> {
    console.access.check(options.listen)?;
    let said = || format!("nobody can listen on {}: is another program there?", options.listen);
    let listener = TcpListener::bind(options.listen).await.with_context(said)?;
    ready(listener.local_addr()?);
    let console = Arc::new(console);
    let stopping = console.stopping.clone();
    let app = router(console.clone()).layer(from_fn_with_state(options.telemetry, count));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let (told, over) = (stop.clone(), stop.clone());
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        told.cancelled().await;
        // A page that watches a run would keep the server from its end.
        stopping.cancel();
    });
    let proposals = tokio::spawn(proposals::keep_up(console.clone(), stop));
    let answered = async {
        let ended = server.into_future().await;
        // Those who asked for them may have gone.
        console.deeds.close();
        console.deeds.wait().await;
        ended
    };
    let served = tokio::select! {
        ended = answered => ended.context("the server failed"),
        () = keep_house(&console) => Ok(()),
        () = async { over.cancelled().await; sleep(GRACE).await } => Ok(()),
    };
    proposals.abort();
    served.and(console.journal.write().await)
}

/// Writes the audit log, and removes sessions that are over, for ever. What fails now is tried again.
async fn keep_house(console: &Console) {
    for round in 0u64.. {
        tokio::select! {
            () = sleep(GATHER) => {}
            () = console.journal.filled() => {}
        }
        if let Err(error) = console.journal.write().await {
            tracing::error!("{error:#}");
            sleep(GATHER).await;
        }
        if round.is_multiple_of(SWEEP_ROUNDS)
            && let Err(error) = console.login.sweep().await
        {
            tracing::warn!("sessions that are over were not removed: {error:#}");
        }
    }
}

async fn count(State(telemetry): State<Telemetry>, request: Request, next: Next) -> Response {
    let asked = Instant::now();
    let response = next.run(request).await;
    telemetry.answered(response.status().as_u16(), asked.elapsed());
    response
}

/// All routes.
pub fn router(console: Arc<Console>) -> Router {
    let (api, mut description) = api().split_for_parts();
    let (open_api, open_description) = open_api().split_for_parts();
    description.merge(open_description);
    describe::failures(&mut description);
    let description = Json(description);
    let known_from_our_pages = Router::new()
        .route("/", get(pages::start))
        .route("/runs", get(pages::runs))
        .route("/runs/{run}", get(pages::run))
        .route("/runs/{run}/wall", get(pages::wall))
        .route("/slices/{patient}/{slice}", get(pages::slice))
        .route("/models", get(pages::models))
        .route("/models/{version}", get(pages::model))
        .route("/work", get(pages::work))
        .route("/audit", get(pages::audit).route_layer(from_fn(operators)))
        .route("/help", get(pages::help))
        .route("/api/v1/openapi.json", get(move || async move { description }))
        .merge(api)
        // A route, since the guard stands before routes only.
        .route("/{*anywhere}", any(pages::nowhere))
        .route_layer(from_fn(from_our_page));
    // Their forms bring the token.
    let known_by_forms = Router::new()
        .route("/logout", post(login::log_out))
        .route("/account", get(login::account).post(login::change_password));
    let unknown = Router::new()
        .route("/login", get(login::login).post(login::log_in))
        .route("/link/{name}/{token}", get(login::link).post(login::set_password))
        .route("/assets/{*path}", get(assets::asset))
        .merge(open_api);
    known_from_our_pages
        .merge(known_by_forms.layer(DefaultBodyLimit::max(FORM_BYTES)))
        .route_layer(from_fn_with_state(console.clone(), known))
        .merge(unknown.layer(DefaultBodyLimit::max(FORM_BYTES)))
        .route_layer(from_fn_with_state(console.clone(), front))
        .with_state(console)
}

async fn operators(who: Who, request: Request, next: Next) -> Response {
    at_least(Role::Operator, who, request, next).await
}

async fn annotators(who: Who, request: Request, next: Next) -> Response {
    at_least(Role::Annotator, who, request, next).await
}

/// The part of the API that asks nobody who they are. A page of another site can't send JSON there.
fn open_api() -> OpenApiRouter<Arc<Console>> {
    OpenApiRouter::new().nest("/api/v1", OpenApiRouter::new().routes(routes!(session::log_in)))
}

/// The API with its description: what it has no description of has no route.
fn api() -> OpenApiRouter<Arc<Console>> {
    let viewers = OpenApiRouter::new()
        .routes(routes!(session::session, session::log_out))
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
        .routes(routes!(import::import))
        .route_layer(from_fn(annotators));
    let operators = OpenApiRouter::new()
        .routes(routes!(runs::start))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::replay))
        .routes(routes!(runs::drop_given_up))
        .routes(routes!(runs::remove_uploaded))
        .routes(routes!(trainings::start))
        .routes(routes!(trainings::cancel))
        .routes(routes!(models::promote))
        .routes(routes!(models::draw))
        .routes(routes!(models::rollback))
        .routes(routes!(audit::list))
        .route_layer(from_fn(operators));
    OpenApiRouter::with_openapi(Description::openapi())
        .nest("/api/v1", viewers.merge(annotators).merge(operators))
}
