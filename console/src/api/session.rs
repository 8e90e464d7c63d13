//! Who asks; logging in and out, for programs.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use crate::app::Who;
use crate::cookie::Cookie;
use crate::extract::JsonBody;
use crate::failure::{ApiResult, ErrorBody, Failure};
use crate::guard::Address;

/// Who asks, and what they have to bring with what changes something.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    #[serde(flatten)]
    who: Who,
    /// The value of the header `X-CSRF`.
    csrf: String,
}

impl From<Who> for Session {
    fn from(who: Who) -> Self {
        Self { csrf: who.csrf.clone(), who }
    }
}

/// Who asks.
#[utoipa::path(get, path = "/session", tag = "session",
    responses((status = 200, body = Session), (status = 401, body = ErrorBody)))]
pub(crate) async fn session(who: Who) -> Json<Session> {
    Json(who.into())
}

/// A name and its password.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Credentials {
    name: String,
    password: String,
}

/// Logs in. The answer sets the cookie of the session, which requests have to bring until it ends: two hours after the last
/// one, twelve after the first. After some wrong passwords one has to wait, as `Retry-After` says.
#[utoipa::path(post, path = "/session", tag = "session", request_body = Credentials, security(()),
    responses((status = 200, body = Session), (status = 401, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub(crate) async fn log_in(
    app: App,
    Address(from): Address,
    headers: HeaderMap,
    JsonBody(told): JsonBody<Credentials>,
) -> ApiResult<([(HeaderName, HeaderValue); 1], Json<Session>)> {
    let id = app.log_in(&told.name, told.password, from).await?;
    let cookie = Cookie::Session.keep(Some(&id), &headers, &app.access)?;
    let who = app.login.whose(&id).await?;
    let who =
        who.ok_or_else(|| Failure::conflict("the account was changed at this moment").then("log in again"))?;
    Ok(([cookie], Json(who.into())))
}

/// Logs out: the session is over.
#[utoipa::path(delete, path = "/session", tag = "session", responses((status = 204), (status = 401, body = ErrorBody)))]
pub(crate) async fn log_out(
    app: App,
    headers: HeaderMap,
) -> ApiResult<(StatusCode, [(HeaderName, HeaderValue); 1])> {
    if let Some(id) = Cookie::Session.read(&headers, &app.access) {
        app.login.log_out(id).await?;
    }
    Ok((StatusCode::NO_CONTENT, [Cookie::Session.keep(None, &headers, &app.access)?]))
}
