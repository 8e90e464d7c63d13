//! A console over an empty store, and people who ask it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Result, bail};
use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use modiolus_console::accounts::Accounts;
use modiolus_console::clock::Clock;
use modiolus_console::works::{Course, Standing, Works};
use modiolus_console::{Access, Console, Role, router};
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::job::train::EpochMetrics;
use modiolus_pipeline::{Bucket, Digest, Fetched, ModelVersion, ObjectKey, Plane, Read, RunId, TrainingId};
use modiolus_store::{MemoryStore, ObjectStore};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::ServiceExt;

/// When the tests begin, in seconds since 1970: 2026-11-23 at 08:00.
pub(crate) const START: i64 = 1_795_420_800;

/// A password that is good enough.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Nobody works here. Only a training is started, as soon as somebody lets that go on.
#[derive(Default)]
pub(crate) struct Idle {
    /// A training was asked for.
    pub(crate) asked: Notify,
    /// It may start.
    pub(crate) go_on: Notify,
}

#[async_trait]
impl Works for Idle {
    fn deliveries(&self) -> &Path {
        Path::new("/nowhere")
    }

    async fn start(&self, _: &Path, _: Plane) -> Result<RunId> {
        bail!("nobody works here")
    }

    async fn cancel(&self, _: &RunId) -> Result<()> {
        bail!("nobody works here")
    }

    async fn replay(&self, _: &RunId) -> Result<usize> {
        bail!("nobody works here")
    }

    async fn drop_given_up(&self, _: &RunId) -> Result<usize> {
        bail!("nobody works here")
    }

    async fn remove_uploaded(&self, _: &RunId) -> Result<usize> {
        bail!("nobody works here")
    }

    async fn standing(&self, _: &RunId) -> Standing {
        Standing::default()
    }

    async fn learn_from(&self, _: Vec<(SliceRef, Digest)>) -> Result<()> {
        bail!("nobody works here")
    }

    async fn draw(&self, _: Vec<SliceRef>, _: ModelVersion) -> Result<()> {
        bail!("nobody works here")
    }

    async fn retrain(&self, _: Course, _: String) -> Result<TrainingId> {
        self.asked.notify_one();
        self.go_on.notified().await;
        Ok("t-1".parse()?)
    }

    fn retrains_after(&self) -> Option<usize> {
        None
    }

    async fn heard(&self, _: &TrainingId) -> Vec<EpochMetrics> {
        Vec::new()
    }
}

/// A console.
pub(crate) struct Desk {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) works: Arc<Idle>,
    /// The accounts as another process sees them.
    pub(crate) accounts: Accounts,
    router: Router,
    hands: Arc<AtomicI64>,
}

impl Desk {
    /// One that people log in to.
    pub(crate) fn new() -> Self {
        Self::with(Access::default())
    }

    pub(crate) fn with(access: Access) -> Self {
        let (store, hands) = (Arc::new(MemoryStore::new()), Arc::new(AtomicI64::new(START)));
        let shown = hands.clone();
        let clock = Clock::showing(move || shown.load(Ordering::SeqCst));
        let works = Arc::new(Idle::default());
        let console = Console::at(clock.clone(), store.clone(), works.clone(), access).unwrap();
        Self {
            accounts: Accounts::new(store.clone(), clock),
            router: router(Arc::new(console)),
            store,
            works,
            hands,
        }
    }

    /// Turns the clock.
    pub(crate) fn wait(&self, seconds: i64) {
        self.hands.fetch_add(seconds, Ordering::SeqCst);
    }

    /// An account whose owner has set a password with its link, and is logged in.
    pub(crate) async fn account(&self, name: &str, role: Role) -> Browser<'_> {
        let invitation = self.accounts.add(name.parse().unwrap(), role).await.unwrap();
        let mut browser = self.browser();
        let answer = browser.set_password(&invitation.link, PASSWORD, PASSWORD).await;
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/runs"), "{}", answer.text);
        browser
    }

    /// Somebody who has just come.
    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser {
            desk: self,
            host: "127.0.0.1:8080",
            peer: ([10, 1, 2, 3], 50_000).into(),
            headers: HeaderMap::new(),
            cookies: Vec::new(),
        }
    }

    /// All that lies in the console's bucket.
    pub(crate) async fn kept(&self) -> String {
        let mut all = String::new();
        for path in self.store.list(Bucket::Console, "").await.unwrap() {
            let Fetched::Found(object) = self.store.get(Read::whole(key(&path))).await.unwrap() else {
                panic!("{path}")
            };
            all += &format!("{path}\n{}\n", String::from_utf8_lossy(&object.bytes));
        }
        all
    }
}

fn key(path: &str) -> ObjectKey {
    let parts: Vec<&str> = path.strip_suffix(".json").unwrap().split('/').collect();
    match parts.as_slice() {
        ["accounts", name] => ObjectKey::Account(name.parse().unwrap()),
        ["sessions", digest] => ObjectKey::Session(digest.parse().unwrap()),
        ["audit", day, batch] => ObjectKey::Audit(day.parse().unwrap(), batch.parse().unwrap()),
        _ => panic!("{path}"),
    }
}

/// What came of a request.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn location(&self) -> &str {
        self.headers.get("location").map_or("", |location| location.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// The token in the page's form.
    pub(crate) fn token(&self) -> String {
        let after = self.text.split(r#"name="csrf" value=""#).nth(1).expect("a form");
        after.split('"').next().unwrap().to_owned()
    }

    /// The cookies that it sets, each with its flags.
    pub(crate) fn cookies(&self) -> Vec<&str> {
        self.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect()
    }
}

/// Keeps cookies, as browsers do.
#[derive(Clone)]
pub(crate) struct Browser<'a> {
    desk: &'a Desk,
    pub(crate) host: &'static str,
    pub(crate) peer: SocketAddr,
    /// What it sends with every request.
    pub(crate) headers: HeaderMap,
    pub(crate) cookies: Vec<(String, String)>,
}

impl Browser<'_> {
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    /// Sends a form.
    pub(crate) async fn fill(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let field =
            |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
        let body = fields.iter().map(field).collect::<Vec<_>>().join("&");
        let kind = ("content-type", "application/x-www-form-urlencoded");
        self.send(Method::POST, path, &[kind], body.into()).await
    }

    /// Changes something, as a script does, with this token.
    pub(crate) async fn change(&mut self, method: Method, path: &str, csrf: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json"), ("x-csrf", csrf)];
        self.send(method, path, &headers, body.to_string().into()).await
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", self.host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !self.cookies.is_empty() {
            let pair = |(name, value): &(String, String)| format!("{name}={value}");
            let all: Vec<String> = self.cookies.iter().map(pair).collect();
            request = request.header("cookie", all.join("; "));
        }
        let mut request = request.body(body).unwrap();
        request.headers_mut().extend(self.headers.clone());
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let response = self.desk.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let answer = Answer { status: parts.status, headers: parts.headers, text };
        self.keep(&answer);
        answer
    }

    fn keep(&mut self, answer: &Answer) {
        for cookie in answer.cookies() {
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            self.cookies.retain(|(kept, _)| kept != name);
            if !rest.contains("Max-Age=0") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    /// Logs in on the page.
    pub(crate) async fn log_in(&mut self, name: &str, password: &str) -> Answer {
        let csrf = self.get("/login").await.token();
        self.fill("/login", &[("name", name), ("password", password), ("csrf", &csrf)]).await
    }

    /// Logs in as programs do.
    pub(crate) async fn log_in_by_api(&mut self, name: &str, password: &str) -> Answer {
        let body = json!({ "name": name, "password": password });
        self.change(Method::POST, "/api/v1/session", "", &body).await
    }

    pub(crate) async fn set_password(&mut self, link: &str, password: &str, again: &str) -> Answer {
        let page = self.get(link).await;
        if page.status != StatusCode::OK {
            return page;
        }
        let csrf = page.token();
        self.fill(link, &[("password", password), ("again", again), ("csrf", &csrf)]).await
    }

    /// Who the console takes them for: name, role and token; none where it knows nobody.
    pub(crate) async fn who(&mut self) -> Option<(String, String, String)> {
        let answer = self.get("/api/v1/session").await;
        if answer.status == StatusCode::UNAUTHORIZED {
            return None;
        }
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let said = answer.json();
        let text = |field: &str| said[field].as_str().unwrap().to_owned();
        Some((text("name"), text("role"), text("csrf")))
    }

    pub(crate) async fn token(&mut self) -> String {
        self.who().await.expect("logged in").2
    }
}
