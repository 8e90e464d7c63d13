//! Models: which there are, how each was judged, and which one runs use.

use axum::Json;
use axum::http::StatusCode;
use modiolus_operations::models::{self, Version};
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::models::CurrentModel;
use modiolus_pipeline::{ModelVersion, ObjectKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{App, comparison};
use crate::app::Console;
use crate::extract::{PathParams, QueryParams};
use crate::failure::{ApiResult, ErrorBody, Failure};

/// A version in a list.
#[derive(Serialize, ToSchema)]
#[schema(as = ListedModel)]
pub(crate) struct Listed {
    #[schema(value_type = String)]
    pub(crate) version: ModelVersion,
    /// Whether runs use it.
    pub(crate) current: bool,
    /// Its plan's name.
    plan: String,
    epochs: u32,
    /// The mean IoU over held-out patients, where it was judged.
    iou: Option<f64>,
    /// What the gate said.
    gate: Option<String>,
}

/// All versions.
#[utoipa::path(get, path = "/models", tag = "models", responses((status = 200, body = [Listed])))]
pub(crate) async fn list(app: App) -> ApiResult<Json<Vec<Listed>>> {
    Ok(Json(listed(&app).await?))
}

pub(crate) async fn listed(app: &Console) -> ApiResult<Vec<Listed>> {
    let versions = models::versions(&*app.store).await?;
    let listed = versions.into_iter().map(|Version { version, current, plan, gate }| Listed {
        version,
        current,
        plan: plan.name,
        epochs: plan.epochs,
        iou: gate.as_ref().and_then(|gate| models::mean_iou(&gate.candidate_iou)),
        gate: gate.map(|gate| gate.why),
    });
    Ok(listed.collect())
}

/// A version in detail.
#[derive(Serialize, ToSchema)]
#[schema(as = Model)]
pub(crate) struct Whole {
    #[schema(value_type = String)]
    version: ModelVersion,
    current: bool,
    bytes: u64,
    /// What its file says of where it comes from.
    #[schema(value_type = Object)]
    origin: Value,
    #[schema(value_type = Object)]
    plan: Value,
    /// How it was judged: by held-out patient, beside the model that it had to beat.
    #[schema(value_type = Option<Object>)]
    gate: Option<Value>,
}

impl Whole {
    pub(crate) fn version(&self) -> &ModelVersion {
        &self.version
    }
}

/// One version.
#[utoipa::path(get, path = "/models/{version}", tag = "models", params(("version" = String, Path)),
    responses((status = 200, body = Whole), (status = 404, body = ErrorBody)))]
pub(crate) async fn one(app: App, PathParams(version): PathParams<ModelVersion>) -> ApiResult<Json<Whole>> {
    Ok(Json(whole(&app, version).await?))
}

pub(crate) async fn whole(app: &Console, version: ModelVersion) -> ApiResult<Whole> {
    let bytes = length(app, &version).await?;
    let pointer = models::current(&*app.store).await?;
    let origin = models::origin(&*app.store, ObjectKey::Model(version.clone())).await?;
    let Version { version, current, plan, gate } =
        Version::read(&*app.store, version, pointer.as_ref()).await?;
    let json = |value: serde_json::Result<Value>| value.map_err(anyhow::Error::from);
    let gate = gate.map(|gate| json(serde_json::to_value(gate))).transpose()?;
    Ok(Whole { version, current, bytes, origin, plan: json(serde_json::to_value(plan))?, gate })
}

async fn length(app: &Console, version: &ModelVersion) -> ApiResult<u64> {
    let length = app.store.length(&ObjectKey::Model(version.clone())).await?;
    length.ok_or_else(|| Failure::missing(format!("model {version}")))
}

/// The slices that people have annotated.
#[derive(Serialize, ToSchema)]
pub(crate) struct Drawing {
    slices: usize,
}

/// Has a version draw the masks of all annotated slices, so that it can be compared.
#[utoipa::path(post, path = "/models/{version}/draw", tag = "models", params(("version" = String, Path)),
    responses((status = 202, body = Drawing), (status = 404, body = ErrorBody)))]
pub(crate) async fn draw(
    app: App,
    PathParams(version): PathParams<ModelVersion>,
) -> ApiResult<(StatusCode, Json<Drawing>)> {
    length(&app, &version).await?;
    let annotated = comparison::annotated(&app).await?;
    let slices: Vec<SliceRef> =
        annotated.into_iter().map(|((patient, slice), _)| SliceRef { patient, slice }).collect();
    let drawing = Drawing { slices: slices.len() };
    app.works.draw(slices, version).await?;
    Ok((StatusCode::ACCEPTED, Json(drawing)))
}

/// Beside which.
#[derive(Deserialize, IntoParams)]
pub(crate) struct Beside {
    /// The other version.
    #[param(value_type = String)]
    with: ModelVersion,
}

/// A version beside another on the slices that people have annotated: how far each mask is theirs.
#[utoipa::path(get, path = "/models/{version}/comparison", tag = "models", params(("version" = String, Path), Beside),
    responses((status = 200, body = comparison::Comparison), (status = 404, body = ErrorBody)))]
pub(crate) async fn compare(
    app: App,
    PathParams(version): PathParams<ModelVersion>,
    QueryParams(beside): QueryParams<Beside>,
) -> ApiResult<Json<comparison::Comparison>> {
    for version in [&version, &beside.with] {
        length(&app, version).await?;
    }
    Ok(Json(comparison::compare(&app, version, beside.with).await?))
}

/// Which model runs use.
#[derive(Serialize, ToSchema)]
pub(crate) struct Current {
    #[schema(value_type = String)]
    current: ModelVersion,
    /// Those that were current before, the latest last.
    #[schema(value_type = Vec<String>)]
    previous: Vec<ModelVersion>,
}

impl From<CurrentModel> for Current {
    fn from(CurrentModel { current, previous, .. }: CurrentModel) -> Self {
        Self { current, previous }
    }
}

/// By what somebody decided.
#[derive(Deserialize, IntoParams)]
pub(crate) struct Seen {
    /// The version that was current then. Where another one is meanwhile, nothing is done.
    #[param(value_type = Option<String>)]
    seen: Option<ModelVersion>,
}

/// Makes a version the one that runs use.
#[utoipa::path(post, path = "/models/{version}/promote", tag = "models", params(("version" = String, Path), Seen),
    responses((status = 200, body = Current), (status = 404, body = ErrorBody),
        (status = 409, description = "Another model has become current meanwhile.", body = ErrorBody)))]
pub(crate) async fn promote(
    app: App,
    PathParams(version): PathParams<ModelVersion>,
    QueryParams(by): QueryParams<Seen>,
) -> ApiResult<Json<Current>> {
    length(&app, &version).await?;
    Ok(Json(models::make_current(&*app.store, version, by.seen.as_ref()).await?.into()))
}

/// Goes back to the model that was current before.
#[utoipa::path(post, path = "/models/rollback", tag = "models", params(Seen),
    responses((status = 200, body = Current),
        (status = 409, description = "None was, or another model has become current meanwhile.", body = ErrorBody)))]
pub(crate) async fn rollback(app: App, QueryParams(by): QueryParams<Seen>) -> ApiResult<Json<Current>> {
    match models::current(&*app.store).await? {
        Some(pointer) if !pointer.previous.is_empty() => {
            Ok(Json(models::roll_back(&*app.store, None, by.seen.as_ref()).await?.into()))
        }
        _ => Err(Failure::conflict("no model was current before this one")),
    }
}
