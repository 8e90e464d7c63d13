//! What stands before every request: who asks, whether a page of ours asked, and headers that keep a page to itself.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::{Console, Role, Who};
use crate::failure::Failure;

/// The header in which scripts bring the token of their page.
const CSRF: &str = "x-csrf";

/// Everything comes from here, nothing is written into a page, and no other page shows ours. Pictures may also be those that
/// a script made.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    font-src 'self'; connect-src 'self'; worker-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Lets through what one of our pages asks, with who asks.
pub(crate) async fn guard(State(console): State<Arc<Console>>, mut request: Request, next: Next) -> Response {
    let mut response = match check(&console, request.method(), request.headers()) {
        Ok(()) => {
            request.extensions_mut().insert(console.everyone.clone());
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn check(console: &Console, method: &Method, headers: &HeaderMap) -> Result<(), Failure> {
    if !is_this_machine(headers) {
        let failure = Failure::new(StatusCode::MISDIRECTED_REQUEST, "this console is for this machine alone");
        return Err(failure.then("open it as http://127.0.0.1 or http://localhost with its port"));
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let brought = headers.get(CSRF).map(HeaderValue::as_bytes).unwrap_or_default();
    if is_same(brought, console.csrf.as_bytes()) {
        return Ok(());
    }
    let failure = Failure::new(StatusCode::FORBIDDEN, "the header X-CSRF is missing or old");
    Err(failure.then("load the page again; programs find the token in /api/v1/session"))
}

/// Where nobody logs in, another site could have its own name lead here (DNS rebinding); the name that was asked for tells.
fn is_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// Whether two texts are the same, in a time that tells nothing about where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// Lets through who has at least this role.
pub(crate) async fn at_least(role: Role, who: Who, request: Request, next: Next) -> Response {
    if who.role >= role {
        return next.run(request).await;
    }
    let failure = Failure::new(StatusCode::FORBIDDEN, format!("this is for the role {}", role.name()));
    failure.then("ask an operator for it").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_somebody_else_leads_here_is_refused() {
        let asked = |host: &'static str| {
            is_this_machine(&HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]))
        };
        for host in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"] {
            assert!(asked(host), "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost:x", ""] {
            assert!(!asked(host), "{host}");
        }
        assert!(!is_this_machine(&HeaderMap::new()));
    }

    #[test]
    fn a_token_is_compared_whole() {
        assert!(is_same(b"abc", b"abc"));
        assert!(!is_same(b"abc", b"abd") && !is_same(b"abc", b"ab") && !is_same(b"", b"a"));
    }
}
