//! Pages: rendered here from what the API says, so that they are there at the first paint.

use anyhow::{Context, Result};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Uri};
use axum::response::{Html, IntoResponse, Redirect, Response};
use include_dir::{Dir, include_dir};
use minijinja::value::Serde;
use minijinja::{Environment, context};
use modiolus_operations::models as stored;
use modiolus_pipeline::{ModelVersion, PatientKey, RunId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::{App, audit, comparison, models, runs, slices, trainings, work};
use crate::app::{Console, Who};
use crate::extract::{PathParams, QueryParams};
use crate::failure::{ApiResult, Failure};
use crate::notes::Which;

static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");

/// The templates.
pub(crate) struct Pages(Environment<'static>);

impl Pages {
    /// Those that are in the program.
    pub(crate) fn embedded() -> Result<Self> {
        let mut pages = Environment::new();
        pages.add_filter("ago", ago);
        pages.add_filter("utc", utc);
        pages.add_filter("fixed", |number: f64, digits: usize| format!("{number:.digits$}"));
        for file in TEMPLATES.files() {
            let name = file.path().to_str().context("a template's name is no text")?;
            let text = file.contents_utf8().with_context(|| format!("{name} is no text"))?;
            pages.add_template(name, text)?;
        }
        Ok(Self(pages))
    }
}

/// How long ago a time (in seconds since 1970) is.
fn ago(time: i64) -> String {
    let seconds = modiolus_operations::start::now().saturating_sub(time).max(0);
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// The time of day (UTC) of a time in seconds since 1970.
fn utc(time: i64) -> String {
    let second = time.rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

fn page(app: &Console, who: &Who, template: &str, title: &str, page: impl Serialize) -> ApiResult<Response> {
    Ok(render(app, Reader::Known(who), template, title, page)?.into_response())
}

/// For whom a page is.
pub(crate) enum Reader<'a> {
    /// Somebody who is known.
    Known(&'a Who),
    /// Somebody who isn't, with what their form has to bring.
    Stranger {
        /// The form's token.
        csrf: String,
    },
}

/// A page.
pub(crate) fn render(
    app: &Console,
    reader: Reader<'_>,
    template: &str,
    title: &str,
    page: impl Serialize,
) -> ApiResult<Html<String>> {
    let (who, csrf) = match reader {
        Reader::Known(who) => (Some(who), who.csrf.clone()),
        Reader::Stranger { csrf } => (None, csrf),
    };
    let context = context! {
        page => Serde(page), user => Serde(who), csrf, title, version => env!("CARGO_PKG_VERSION"),
        has_session => who.is_some_and(|who| who.has_session),
    };
    let html = app.pages.0.get_template(template).and_then(|template| template.render(context));
    Ok(Html(html.map_err(anyhow::Error::from)?))
}

/// A failure as a page, for whoever asked, if they are known.
pub(crate) fn failed(app: &Console, who: Option<&Who>, failure: &Failure) -> Response {
    let reader = who.map_or(Reader::Stranger { csrf: String::new() }, Reader::Known);
    let mut response = failure.clone().into_response();
    if let Ok(Html(html)) = render(app, reader, "failed.html", "Failed", failure.said()) {
        *response.body_mut() = html.into();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

/// That there is nothing at this path.
pub(crate) async fn nowhere(_: Who, at: Uri) -> Failure {
    match at.path().starts_with("/api/") {
        true => Failure::missing("such path in the API").then("see /api/v1/openapi.json"),
        false => Failure::missing("such page"),
    }
}

pub(crate) async fn start() -> Redirect {
    Redirect::to("/runs")
}

pub(crate) async fn runs(app: App, who: Who) -> ApiResult<Response> {
    page(&app, &who, "runs.html", "Runs", json!({ "runs": runs::summaries(&app).await? }))
}

pub(crate) async fn run(app: App, who: Who, PathParams(run): PathParams<RunId>) -> ApiResult<Response> {
    page(&app, &who, "run.html", run.as_str(), runs::progress(&app, &run).await?)
}

/// Which part of a wall.
#[derive(Deserialize)]
pub(crate) struct Part {
    patient: Option<PatientKey>,
}

pub(crate) async fn wall(
    app: App,
    who: Who,
    PathParams(run): PathParams<RunId>,
    QueryParams(part): QueryParams<Part>,
) -> ApiResult<Response> {
    let found = app.catalogue.run(&run).await?.ok_or_else(|| Failure::missing(format!("run {run}")))?;
    let said =
        json!({ "run": run, "patients": found.patients(), "patient": part.patient, "model": found.model() });
    page(&app, &who, "wall.html", "Slices", said)
}

pub(crate) async fn slice(
    app: App,
    who: Who,
    PathParams(which): PathParams<Which>,
    QueryParams(through): QueryParams<slices::Through>,
) -> ApiResult<Response> {
    let whole = slices::whole(&app, &which, through.run()).await?;
    let neighbours = whole.neighbours.clone();
    let title = format!("{} {}", which.0, whole.listed.name);
    let said = json!({
        "run": whole.run, "previous": neighbours.previous, "next": neighbours.next, "slice": whole,
    });
    page(&app, &who, "slice.html", &title, said)
}

pub(crate) async fn models(app: App, who: Who) -> ApiResult<Response> {
    let trainings = trainings::listed(&app).await?;
    let before = stored::current(&*app.store).await?.and_then(|pointer| pointer.previous.last().cloned());
    let said = json!({ "models": models::listed(&app).await?, "before": before, "trainings": trainings });
    page(&app, &who, "models.html", "Models", said)
}

/// Beside which model another is shown.
#[derive(Deserialize)]
pub(crate) struct Beside {
    with: Option<ModelVersion>,
}

pub(crate) async fn model(
    app: App,
    who: Who,
    PathParams(version): PathParams<ModelVersion>,
    QueryParams(beside): QueryParams<Beside>,
) -> ApiResult<Response> {
    let title = version.to_string();
    let whole = models::whole(&app, version.clone()).await?;
    let listed = models::listed(&app).await?;
    let current = listed.iter().find(|listed| listed.current).map(|listed| listed.version.clone());
    let others: Vec<ModelVersion> =
        listed.into_iter().map(|listed| listed.version).filter(|other| *other != version).collect();
    let with = beside.with.filter(|with| others.contains(with));
    let comparison = match &with {
        Some(with) => Some(comparison::compare(&app, version, with.clone()).await?),
        None => None,
    };
    let training = trainings::of_model(&app, whole.version()).await?;
    let said = json!({
        "model": whole, "current": current, "others": others, "with": with, "comparison": comparison,
        "training": training,
    });
    page(&app, &who, "model.html", &title, said)
}

pub(crate) async fn work(
    app: App,
    who: Who,
    QueryParams(wanted): QueryParams<work::Wanted>,
) -> ApiResult<Response> {
    let (work, by) = (work::next(&app, work::SHOWN, wanted.by()).await?, wanted.by());
    page(&app, &who, "work.html", "Work", json!({ "work": work, "by": by }))
}

pub(crate) async fn help(app: App, who: Who) -> ApiResult<Response> {
    page(&app, &who, "help.html", "Help", json!({}))
}

pub(crate) async fn audit(
    app: App,
    who: Who,
    QueryParams(part): QueryParams<audit::Part>,
) -> ApiResult<Response> {
    let log = audit::log(&app, part).await?;
    let (later, earlier) = log.beside();
    page(&app, &who, "audit.html", "Audit", json!({ "log": log, "later": later, "earlier": earlier }))
}
