//! How the API fails, which is the same for all of it: written once, beside what each operation says of itself.

use utoipa::openapi::path::Operation;
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response};

/// The schema of every failure's body.
const ERROR_BODY: &str = "ErrorBody";

/// What may happen to every request.
const EVERY: [(&str, &str); 4] = [
    ("403", "A proxy that is not believed named somebody, or the header X-CSRF or the role is missing."),
    ("421", "This page has another name."),
    ("500", "Something failed in here; the console's log says what, under the number that the answer gives."),
    ("503", "The store or the audit log can't be reached now."),
];

/// What may happen to one with variables in its path.
const WITH_PATH: [(&str, &str); 2] =
    [("400", "A variable can't be right."), ("404", "There is no such thing.")];

/// What may happen to one with a body.
const WITH_BODY: [(&str, &str); 2] = [("400", "The body can't be read."), ("413", "The body is too large.")];

/// What may happen to one with a body of JSON.
const WITH_JSON: [(&str, &str); 2] = [
    ("415", "The body's type is not application/json."),
    ("422", "The body is JSON, but not what is asked for."),
];

/// Adds to each operation how it may fail besides what it says itself.
pub(crate) fn failures(description: &mut OpenApi) {
    for item in description.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        operations.into_iter().flatten().for_each(add);
    }
}

fn add(operation: &mut Operation) {
    let is_open = operation.security == Some(vec![SecurityRequirement::default()]);
    let mut may: Vec<(&str, &str)> = EVERY.to_vec();
    if !is_open {
        may.push(("401", "Nobody is logged in."));
    }
    if operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty()) {
        may.extend(WITH_PATH);
    }
    if let Some(RefOr::T(body)) = &operation.request_body {
        may.extend(WITH_BODY);
        may.extend(WITH_JSON.into_iter().filter(|_| is_json(body)));
    }
    for (status, why) in may {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| said(why).into());
    }
}

fn is_json(body: &RequestBody) -> bool {
    body.content.keys().any(|kind| kind == "application/json")
}

fn said(why: &str) -> Response {
    let mut response = Response::new(why);
    let content = Content::new(Some(Ref::from_schema_name(ERROR_BODY)));
    response.content.insert("application/json".to_owned(), content.into());
    response
}
