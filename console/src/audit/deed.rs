//! What a request is in words: from its method, its route, and the variables of its path.

use std::borrow::Cow;

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use modiolus_pipeline::{ModelVersion, PatientKey, RunId, SliceId, TrainingId};

/// What somebody does, with what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deed {
    pub(crate) action: Cow<'static, str>,
    pub(crate) object: Option<String>,
}

/// Of a wall, not every thumbnail is a line: the patient is.
const THUMBNAILS: &str = "thumbnails seen";

/// Routes in words. A route that isn't here is noted as it is written in the code; those that show nothing of a patient, a
/// run or a model are in [`IDLE`].
const DEEDS: &[(&str, &str, &str)] = &[
    ("GET", "/runs", "runs listed"),
    ("GET", "/api/v1/runs", "runs listed"),
    ("POST", "/api/v1/runs", "run started"),
    ("GET", "/runs/{run}", "run seen"),
    ("GET", "/api/v1/runs/{run}", "run seen"),
    ("GET", "/api/v1/runs/{run}/events", "run seen"),
    ("GET", "/runs/{run}/wall", "wall seen"),
    ("GET", "/api/v1/runs/{run}/slices", "wall seen"),
    ("GET", "/slices/{patient}/{slice}", "slice seen"),
    ("GET", "/api/v1/slices/{patient}/{slice}", "slice seen"),
    ("GET", "/api/v1/slices/{patient}/{slice}/image.png", "slice seen"),
    ("GET", "/api/v1/slices/{patient}/{slice}/pixels", "slice seen"),
    ("GET", "/api/v1/slices/{patient}/{slice}/overlay.png", "slice seen"),
    ("GET", "/api/v1/slices/{patient}/{slice}/mask.png", "mask seen"),
    ("GET", "/api/v1/slices/{patient}/{slice}/probability.png", "mask seen"),
    ("GET", "/api/v1/slices/{patient}/{slice}/revisions", "revisions seen"),
    ("GET", "/api/v1/slices/{patient}/{slice}/revisions/{revision}/mask.png", "revisions seen"),
    ("GET", "/api/v1/slices/{patient}/{slice}/revisions/{revision}/labelme.json", "mask exported"),
    ("GET", "/api/v1/slices/{patient}/{slice}/thumbnail.png", THUMBNAILS),
    ("POST", "/api/v1/slices/{patient}/{slice}/revisions", "mask saved"),
    ("PUT", "/api/v1/slices/{patient}/{slice}/triage", "array judged"),
    ("GET", "/work", "work listed"),
    ("GET", "/api/v1/work", "work listed"),
    ("GET", "/models", "models listed"),
    ("GET", "/api/v1/models", "models listed"),
    ("GET", "/models/{version}", "model seen"),
    ("GET", "/api/v1/models/{version}", "model seen"),
    ("GET", "/api/v1/models/{version}/comparison", "models compared"),
    ("POST", "/api/v1/models/{version}/draw", "masks ordered"),
    ("POST", "/api/v1/models/{version}/promote", "model promoted"),
    ("POST", "/api/v1/models/rollback", "model rolled back"),
    ("POST", "/api/v1/runs/{run}/cancel", "run cancelled"),
    ("POST", "/api/v1/runs/{run}/replay", "jobs replayed"),
    ("POST", "/api/v1/runs/{run}/drop", "jobs dropped"),
    ("DELETE", "/api/v1/runs/{run}/uploaded", "uploaded files removed"),
    ("POST", "/api/v1/runs/{run}/annotations", "masks imported"),
    ("GET", "/api/v1/runs/{run}/masks.zip", "masks exported"),
    ("GET", "/api/v1/runs/{run}/labelme.zip", "masks exported"),
    ("GET", "/api/v1/dataset.zip", "dataset exported"),
    ("GET", "/api/v1/trainings", "models listed"),
    ("GET", "/api/v1/trainings/{training}", "training seen"),
    ("GET", "/api/v1/trainings/{training}/events", "training seen"),
    ("POST", "/api/v1/trainings", "training started"),
    ("POST", "/api/v1/trainings/{training}/cancel", "training cancelled"),
    ("GET", "/audit", "audit log read"),
    ("GET", "/api/v1/audit", "audit log read"),
    ("POST", "/logout", "logged out"),
    ("DELETE", "/api/v1/session", "logged out"),
    ("POST", "/account", "password changed"),
];

/// Nothing is seen there.
const IDLE: &[&str] = &["/", "/help", "/account", "/api/v1/session", "/api/v1/openapi.json", "/{*anywhere}"];

impl Deed {
    /// This, with that.
    pub(crate) fn new(action: &'static str, object: Option<String>) -> Self {
        Self { action: Cow::Borrowed(action), object }
    }

    /// What a request is; `None` where it is nothing that anybody would ask for later.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let route = request.extensions().get::<MatchedPath>()?.as_str();
        // What is asked for by HEAD is seen as little or as much.
        let method = if request.method() == Method::HEAD { "GET" } else { request.method().as_str() };
        let known = DEEDS.iter().find(|(of, at, _)| (*of, *at) == (method, route));
        if known.is_none() && method == "GET" && IDLE.contains(&route) {
            return None;
        }
        let action =
            known.map_or_else(|| format!("{method} {route}").into(), |(.., action)| Cow::Borrowed(*action));
        let object = object(route, request.uri().path(), action == THUMBNAILS);
        Some(Self { action, object })
    }

    /// The deed with its outcome known: of what isn't there, the name is only what somebody typed.
    pub(crate) fn with(self, status: StatusCode) -> Self {
        let is_there = !matches!(status.as_u16(), 400 | 403 | 404);
        Self { object: self.object.filter(|_| is_there), ..self }
    }
}

/// The variables of a path, as far as they name things of ours; whatever else somebody typed is not kept.
fn object(route: &str, path: &str, patient_alone: bool) -> Option<String> {
    let value = |name: &str| {
        let found = route.split('/').zip(path.split('/')).find(|(part, _)| *part == name);
        found.map(|(_, value)| value)
    };
    let is = |name: &str, is_one: fn(&str) -> bool| {
        value(name).filter(|value| is_one(value)).map(ToOwned::to_owned)
    };
    let patient = is("{patient}", |text| text.parse::<PatientKey>().is_ok());
    let slice = is("{slice}", |text| text.parse::<SliceId>().is_ok());
    match (patient, slice) {
        (Some(patient), Some(slice)) if !patient_alone => Some(format!("{patient}/{slice}")),
        (Some(patient), _) => Some(patient),
        _ => is("{run}", |text| text.parse::<RunId>().is_ok())
            .or_else(|| is("{training}", |text| text.parse::<TrainingId>().is_ok()))
            .or_else(|| is("{version}", |text| text.parse::<ModelVersion>().is_ok())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_a_name_of_ours_or_nothing() {
        let route = "/api/v1/slices/{patient}/{slice}/thumbnail.png";
        let path = "/api/v1/slices/P-1/s-2/thumbnail.png";
        assert_eq!(object(route, path, false).as_deref(), Some("P-1/s-2"));
        assert_eq!(object(route, path, true).as_deref(), Some("P-1"));
        assert_eq!(object(route, "/api/v1/slices/DOE%5EJANE/s-2/thumbnail.png", false), None);
        assert_eq!(object("/runs/{run}", "/runs/july", false).as_deref(), Some("july"));
        assert_eq!(object("/runs", "/runs", false), None);
    }
}
