//! Styles, scripts and pictures, embedded as they are.

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use include_dir::{Dir, include_dir};
use modiolus_pipeline::Digest;

use crate::failure::Failure;

static ASSETS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/assets");

/// Asked for again each time, and answered with "unchanged" where it is: a new version of the program shows at once.
const ALWAYS_ASK: &str = "no-cache";

/// One of them.
pub(crate) async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    let Some(file) = ASSETS.get_file(&path) else { return Failure::missing("such file").into_response() };
    let tag = format!("\"{}\"", Digest::of(file.contents()).short(16));
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
    }
    let head = [(CONTENT_TYPE, kind(&path).to_owned()), (ETAG, tag), (CACHE_CONTROL, ALWAYS_ASK.to_owned())];
    (head, file.contents()).into_response()
}

fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json") => "application/json",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}
