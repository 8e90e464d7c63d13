//! The audit log, for operators.

use axum::Json;
use modiolus_pipeline::Day;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use crate::app::Console;
use crate::audit::Entry;
use crate::extract::QueryParams;
use crate::failure::{ApiResult, ErrorBody, Failure};

/// How many entries are given unless fewer or more are asked for.
const SHOWN: usize = 100;

/// How many are given at most.
const MOST: usize = 1000;

/// Which part of the log.
#[derive(Deserialize, IntoParams)]
pub(crate) struct Part {
    /// The day (UTC), as 2026-11-23; otherwise today.
    day: Option<String>,
    /// Only what this person did.
    user: Option<String>,
    /// Leave out so many.
    offset: Option<usize>,
    /// Give so many at most; otherwise 100.
    limit: Option<usize>,
}

/// A part of the log.
#[derive(Serialize, ToSchema)]
pub(crate) struct Log {
    day: String,
    user: Option<String>,
    /// How many entries there are without offset and limit.
    total: usize,
    offset: usize,
    /// The latest first.
    entries: Vec<Entry>,
}

/// Who saw and changed what on a day, the latest first. What somebody did several times within half a minute is one entry.
#[utoipa::path(get, path = "/audit", tag = "audit", params(Part),
    responses((status = 200, body = Log), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody)))]
pub(crate) async fn list(app: App, QueryParams(part): QueryParams<Part>) -> ApiResult<Json<Log>> {
    Ok(Json(log(&app, part).await?))
}

pub(crate) async fn log(app: &Console, part: Part) -> ApiResult<Log> {
    // A form that is sent with an empty field means that nothing is asked for.
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (day, user) = (said(part.day), said(part.user));
    let day = match day {
        Some(day) => day.parse().map_err(|error| Failure::bad(format!("day: {error}")))?,
        None => Day::of(app.clock.now()),
    };
    let mut entries = app.journal.of(day).await?;
    entries.retain(|entry| user.is_none() || entry.by == user);
    let (total, offset) = (entries.len(), part.offset.unwrap_or(0));
    let limit = part.limit.unwrap_or(SHOWN).min(MOST);
    let entries = entries.into_iter().skip(offset).take(limit).collect();
    Ok(Log { day: day.to_string(), user, total, offset, entries })
}

impl Log {
    /// The offsets of the parts before and after this one.
    pub(crate) fn beside(&self) -> (Option<usize>, Option<usize>) {
        let after = self.offset + self.entries.len();
        let later = (self.offset > 0).then(|| self.offset.saturating_sub(SHOWN));
        (later, (after < self.total).then_some(after))
    }
}
