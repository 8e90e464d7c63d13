//! What stands before every request: the name that was asked for, who asks, whether a page of ours asked, and headers that
//! keep a page to itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use modiolus_pipeline::AccountName;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::access::is_loopback_name;
use crate::app::{Console, Role, Who};
use crate::audit::deed::Deed;
use crate::cookie::Cookie;
use crate::failure::{ApiResult, Failure};
use crate::pages;

/// The header in which scripts bring the token of their page.
const CSRF: &str = "x-csrf";

/// The header in which a proxy says for which address it asks.
const FORWARDED_FOR: &str = "x-forwarded-for";

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

/// Before every route: lets through what asks for this page by its name. A page that fails is shown as one.
pub(crate) async fn front(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let is_page = is_page(&request);
    let mut response = match is_by_name(&console, request.headers()) {
        Ok(()) if only_looks(&request) => next.run(request).await,
        Ok(()) => to_its_end(&console, next.run(request)).await,
        Err(failure) => failure.into_response(),
    };
    if is_page && let Some(failure) = response.extensions().get::<Failure>() {
        response = pages::failed(&console, response.extensions().get::<Who>(), failure);
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Whether a person looks at the answer, and not a script.
fn is_page(request: &Request) -> bool {
    let path = request.uri().path();
    !path.starts_with("/api/") && !path.starts_with("/assets/")
}

/// Does what changes something to its end even if whoever asked has gone meanwhile: half a deed would be done, and noted nowhere.
async fn to_its_end(console: &Console, deed: impl Future<Output = Response> + Send + 'static) -> Response {
    let done = console.deeds.spawn(deed).await;
    done.unwrap_or_else(|error| Failure::from(anyhow::Error::from(error)).into_response())
}

/// Whether a request changes nothing.
fn only_looks(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Where nobody logs in, another site could have its own name lead here (DNS rebinding): the name that was asked for tells.
fn is_by_name(console: &Console, headers: &HeaderMap) -> ApiResult<()> {
    let asked = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let (is_right, names) = match (&console.access.origin, &console.access.everyone) {
        (Some(origin), _) => (asked.eq_ignore_ascii_case(origin.authority()), origin.to_string()),
        (None, Some(_)) => {
            (is_loopback_name(asked), "http://127.0.0.1 or http://localhost with its port".into())
        }
        (None, None) => (true, String::new()),
    };
    if is_right {
        return Ok(());
    }
    let failure = Failure::new(StatusCode::MISDIRECTED_REQUEST, "this page has another name");
    Err(failure.then(format!("open it as {names}; a proxy in front has to pass on the header Host")))
}

/// Before the routes of those who are known: lets them through, and says to the route who they are.
pub(crate) async fn known(State(console): State<Arc<Console>>, mut request: Request, next: Next) -> Response {
    let who = match identify(&console, request.headers(), request.extensions()).await {
        Ok(Some(who)) => who,
        Ok(None) => return to_login(&request),
        Err(failure) => return failure.into_response(),
    };
    if !console.journal.has_room() {
        let failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the audit log can't be written");
        return failure.then("ask whoever runs the store").into_response();
    }
    let deed = Deed::of(&request);
    request.extensions_mut().insert(who.clone());
    let mut response = next.run(request).await;
    if let Some(deed) = deed {
        console.journal.note(Some(&who), deed.with(response.status()), response.status());
    }
    response.extensions_mut().insert(who);
    response
}

/// A page leads to the login and back; a script is told.
fn to_login(request: &Request) -> Response {
    if is_page(request) && matches!(*request.method(), Method::GET | Method::HEAD) {
        let wanted = request.uri().path_and_query().map_or("/", |wanted| wanted.as_str());
        let wanted = utf8_percent_encode(wanted, NON_ALPHANUMERIC);
        return Redirect::to(&format!("/login?next={wanted}")).into_response();
    }
    let failure = Failure::new(StatusCode::UNAUTHORIZED, "nobody is logged in");
    failure.then("log in; programs do so with POST /api/v1/session").into_response()
}

/// Who asks: whoever sits at this machine, whom a proxy names, or whose session it is.
pub(crate) async fn identify(
    console: &Console,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> ApiResult<Option<Who>> {
    if let Some(everyone) = &console.access.everyone {
        return Ok(Some(console.login.without_session(everyone.clone())));
    }
    if let Some(name) = named_by_proxy(console, headers, extensions)? {
        let role = console.login.role_of(&name).await?.unwrap_or(console.access.proxy_role);
        return Ok(Some(console.login.without_session(Who::new(name, role))));
    }
    match Cookie::Session.read(headers, &console.access) {
        Some(id) => Ok(console.login.whose(id).await?),
        None => Ok(None),
    }
}

/// Whom a proxy names. Anybody else who brings its header may be up to no good, and finds out that it doesn't help.
fn named_by_proxy(
    console: &Console,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> ApiResult<Option<AccountName>> {
    let Some(header) = &console.access.proxy_header else { return Ok(None) };
    let mut named = headers.get_all(header).iter();
    let (Some(name), None) = (named.next(), named.next()) else {
        let is_many = headers.contains_key(header);
        return if is_many { Err(unbelieved(format!("{header} is there twice"))) } else { Ok(None) };
    };
    if name.is_empty() {
        return Ok(None);
    }
    if !console.access.is_proxy(peer(extensions)) {
        tracing::warn!(peer = %peer(extensions), "{header} did not come from a proxy");
        return Err(unbelieved(format!("{header} is not believed from here")));
    }
    let name = name.to_str().unwrap_or_default();
    name.parse().map(Some).map_err(|error| unbelieved(format!("{header} is {error}")))
}

fn unbelieved(error: String) -> Failure {
    Failure::new(StatusCode::FORBIDDEN, error).then("ask whoever runs the proxy")
}

/// Who is at the other end of the connection.
fn peer(extensions: &Extensions) -> IpAddr {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    peer.unwrap_or(Ipv4Addr::UNSPECIFIED.into())
}

/// From where somebody asks: the other end of the connection, or whom the proxies there name, the last that is none of them.
pub(crate) struct Address(pub(crate) IpAddr);

impl FromRequestParts<Arc<Console>> for Address {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Self::Rejection> {
        let peer = peer(&parts.extensions);
        let is_proxy = |address: &IpAddr| console.access.is_proxy(*address);
        if !is_proxy(&peer) {
            return Ok(Self(peer));
        }
        let all: Vec<&str> =
            parts.headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
        let named = all.iter().flat_map(|value| value.split(','));
        let last = named.rev().map_while(|text| address(text.trim())).find(|address| !is_proxy(address));
        Ok(Self(last.unwrap_or(peer)))
    }
}

/// With a port or without.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
}

/// Before what changes something: lets through what one of our pages asks.
pub(crate) async fn from_our_page(who: Who, request: Request, next: Next) -> Response {
    let brought = request.headers().get(CSRF).map(HeaderValue::as_bytes).unwrap_or_default();
    if only_looks(&request) || is_same(brought, who.csrf.as_bytes()) {
        return next.run(request).await;
    }
    let failure = Failure::new(StatusCode::FORBIDDEN, "the header X-CSRF is missing or old");
    failure.then("load the page again; programs find the token in /api/v1/session").into_response()
}

/// Whether two texts are the same, in a time that tells nothing about where they differ.
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    !one.is_empty()
        && one.len() == other.len()
        && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
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
    fn a_token_is_compared_whole() {
        assert!(is_same(b"abc", b"abc"));
        assert!(!is_same(b"abc", b"abd") && !is_same(b"abc", b"ab") && !is_same(b"", b""));
    }
}
