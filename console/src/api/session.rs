//! Who asks.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use crate::app::Who;

/// Who asks, and what they have to bring with what changes something.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    #[serde(flatten)]
    who: Who,
    /// The value of the header `X-CSRF`.
    csrf: String,
}

/// Who asks.
#[utoipa::path(get, path = "/session", tag = "session", responses((status = 200, body = Session)))]
pub(crate) async fn session(app: App, who: Who) -> Json<Session> {
    Json(Session { who, csrf: app.csrf.clone() })
}
