//! Every failure of the API: a status, a sentence, and what to do.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use modiolus_operations::models::ChangedMeanwhile;
use modiolus_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::random;
use crate::works::Refused;

/// What came of a request.
pub(crate) type ApiResult<T> = Result<T, Failure>;

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    status: StatusCode,
    said: ErrorBody,
    /// When to try again, in seconds.
    later: Option<i64>,
}

/// The body of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What is wrong, in a sentence.
    error: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    what_to_do: Option<String>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, said: ErrorBody { error: error.into(), what_to_do: None }, later: None }
    }

    /// The request can't be right.
    pub(crate) fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// There is no such thing.
    pub(crate) fn missing(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no {what}"))
    }

    /// It doesn't fit what is there.
    pub(crate) fn conflict(error: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, error)
    }

    /// It may be asked again, in so many seconds.
    pub(crate) fn busy(error: impl Into<String>, seconds: i64) -> Self {
        let failure = Self::new(StatusCode::TOO_MANY_REQUESTS, error);
        Self { later: Some(seconds), ..failure.then(format!("try again in {seconds} seconds")) }
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// What it says.
    pub(crate) fn said(&self) -> &ErrorBody {
        &self.said
    }

    #[must_use]
    pub(crate) fn then(mut self, what_to_do: impl Into<String>) -> Self {
        self.said.what_to_do = Some(what_to_do.into());
        self
    }
}

impl std::fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.error)?;
        self.what_to_do.iter().try_for_each(|what| write!(f, ": {what}"))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(&self.said)).into_response();
        if let Some(seconds) = self.later {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        // For whoever shows it as a page.
        response.extensions_mut().insert(self);
        response
    }
}

/// What failed in here, or what was refused. The reason of a failure is in the log alone.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        if let Some(Refused(why)) = error.downcast_ref() {
            return Self::conflict(why);
        }
        if let Some(changed) = error.downcast_ref::<ChangedMeanwhile>() {
            return Self::conflict(changed.to_string());
        }
        let passes = error
            .chain()
            .any(|cause| cause.downcast_ref::<StoreError>().is_some_and(StoreError::is_retryable));
        // What failed may name folders and servers, which are nobody's business who only asks.
        let number = random().map_or_else(|_| "-".to_owned(), |random| random[..8].to_owned());
        tracing::error!(number, "a request failed: {error:#}");
        let failure = match passes {
            true => Self::new(StatusCode::SERVICE_UNAVAILABLE, "the store can't be reached now"),
            false => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "this failed in here"),
        };
        failure.then(format!("whoever runs the console finds the reason in its log, under {number}"))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        anyhow::Error::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_failure_does_not_say_how_it_is_in_here() {
        let failure = Failure::from(anyhow!("/srv/store/datasets can't be written").context("a sample"));
        let said = failure.said().to_string();
        assert_eq!(failure.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(said.contains("in its log, under ") && !said.contains("srv"), "{said}");
        assert_eq!(
            Failure::from(Refused::error("it is done already")).said().to_string(),
            "it is done already"
        );
    }
}
