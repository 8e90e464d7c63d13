//! Pictures of a slice: as people see it, small, its mask, its probabilities, its values.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse, Response};
use modiolus_dicom::instance::{self, Instance};
use modiolus_imaging::{png, resize};
use modiolus_operations::objects;
use modiolus_pipeline::{ModelVersion, ObjectKey, PatientKey, SliceId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::slices::find;
use crate::app::Console;
use crate::extract::{PathParams, QueryParams};
use crate::failure::{ApiResult, ErrorBody, Failure};
use crate::notes::Which;

/// The longer side of a small picture, in pixels.
const THUMBNAIL_PX: usize = 224;

/// What a name stands for never changes: a slice is named by its content, a mask by its model.
pub(crate) const FOR_EVER: &str = "private, max-age=31536000, immutable";

/// Which model's.
#[derive(Deserialize, IntoParams)]
pub(crate) struct Of {
    /// The model; otherwise that of the latest run that has the slice.
    #[param(value_type = Option<String>)]
    model: Option<ModelVersion>,
}

/// The slice as people see it (8 bit grey).
#[utoipa::path(get, path = "/slices/{patient}/{slice}/image.png", tag = "pictures",
    params(("patient" = String, Path), ("slice" = String, Path)),
    responses((status = 200, content_type = "image/png", body = Vec<u8>), (status = 404, body = ErrorBody)))]
pub(crate) async fn image(app: App, PathParams(which): PathParams<Which>) -> ApiResult<Response> {
    Ok(picture(picture_of(&app, &which).await?))
}

/// The slice's picture; one that has none yet, since its run hasn't come so far, is made from its values.
async fn picture_of(app: &Console, which: &Which) -> ApiResult<Bytes> {
    let key = ObjectKey::Image(which.0.clone(), which.1.clone());
    if app.store.length(&key).await?.is_some() {
        return Ok(objects::bytes(&*app.store, key).await?);
    }
    let instance = instance(app, which).await?;
    away(move || Ok(png::encode_grey(&instance.picture().map_err(anyhow::Error::from)?).into())).await
}

/// The slice, small.
#[utoipa::path(get, path = "/slices/{patient}/{slice}/thumbnail.png", tag = "pictures",
    params(("patient" = String, Path), ("slice" = String, Path)),
    responses((status = 200, content_type = "image/png", body = Vec<u8>), (status = 404, body = ErrorBody)))]
pub(crate) async fn thumbnail(app: App, PathParams(which): PathParams<Which>) -> ApiResult<Response> {
    let bytes = picture_of(&app, &which).await?;
    let small = away(move || {
        let image = png::decode_grey(&bytes).map_err(anyhow::Error::from)?;
        let (rows, columns) = image.size();
        let longer = rows.max(columns).max(THUMBNAIL_PX);
        let side = |side: usize| (side * THUMBNAIL_PX / longer).max(1);
        let small = resize::bilinear8(&image, side(rows), side(columns)).map_err(anyhow::Error::from)?;
        Ok(png::encode_grey(&small).into())
    });
    Ok(picture(small.await?))
}

/// A model's mask of the slice (indexed: 0 background, 1 electrode).
#[utoipa::path(get, path = "/slices/{patient}/{slice}/mask.png", tag = "pictures",
    params(("patient" = String, Path), ("slice" = String, Path), Of),
    responses((status = 200, content_type = "image/png", body = Vec<u8>), (status = 404, body = ErrorBody)))]
pub(crate) async fn mask(
    app: App,
    PathParams(which): PathParams<Which>,
    QueryParams(of): QueryParams<Of>,
) -> ApiResult<Response> {
    drawn(&app, which, of, ObjectKey::Mask).await
}

/// A model's probabilities of the slice (8 bit grey: 255 is 1).
#[utoipa::path(get, path = "/slices/{patient}/{slice}/probability.png", tag = "pictures",
    params(("patient" = String, Path), ("slice" = String, Path), Of),
    responses((status = 200, content_type = "image/png", body = Vec<u8>), (status = 404, body = ErrorBody)))]
pub(crate) async fn probability(
    app: App,
    PathParams(which): PathParams<Which>,
    QueryParams(of): QueryParams<Of>,
) -> ApiResult<Response> {
    drawn(&app, which, of, ObjectKey::Probability).await
}

/// The slice with a model's mask drawn over it (RGB).
#[utoipa::path(get, path = "/slices/{patient}/{slice}/overlay.png", tag = "pictures",
    params(("patient" = String, Path), ("slice" = String, Path), Of),
    responses((status = 200, content_type = "image/png", body = Vec<u8>), (status = 404, body = ErrorBody)))]
pub(crate) async fn overlay(
    app: App,
    PathParams(which): PathParams<Which>,
    QueryParams(of): QueryParams<Of>,
) -> ApiResult<Response> {
    drawn(&app, which, of, ObjectKey::Overlay).await
}

async fn drawn(
    app: &Console,
    which: Which,
    of: Of,
    key: fn(ModelVersion, PatientKey, SliceId) -> ObjectKey,
) -> ApiResult<Response> {
    // The latest run's model is another one tomorrow.
    let caching = if of.model.is_some() { FOR_EVER } else { "no-store" };
    let model = match of.model {
        Some(model) => model,
        None => {
            let (run, _) = find(app, &which, None).await?;
            run.model().cloned().ok_or_else(|| Failure::missing("mask: the run stopped before its masks"))?
        }
    };
    let missing = Failure::missing(format!("mask of {} by {model}", which.1));
    let key = key(model, which.0, which.1);
    match app.store.length(&key).await? {
        Some(_) => Ok(png_answer(objects::bytes(&*app.store, key).await?, caching)),
        None => Err(missing),
    }
}

/// The slice's values after rescale, row by row, little-endian: `i16` where all are whole numbers of 16 bits, else `f32`.
/// `X-Rows`, `X-Columns`, `X-Type`, `X-Minimum`, `X-Maximum` and `X-Inverted` (the lowest value is white) say what they are.
#[utoipa::path(get, path = "/slices/{patient}/{slice}/pixels", tag = "pictures",
    params(("patient" = String, Path), ("slice" = String, Path)),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = 404, body = ErrorBody)))]
pub(crate) async fn pixels(app: App, PathParams(which): PathParams<Which>) -> ApiResult<Response> {
    let instance = instance(&app, &which).await?;
    away(move || {
        let values = instance.values_to_show();
        let finite = values.iter().filter(|value| value.is_finite());
        let (low, high) =
            finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
        let short: Option<Vec<i16>> = values.iter().map(|value| whole(*value)).collect();
        let (kind, bytes): (_, Vec<u8>) = match short {
            Some(short) => ("i16", short.iter().flat_map(|value| value.to_le_bytes()).collect()),
            None => ("f32", values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        };
        let says = |name: &'static str, value: String| (HeaderName::from_static(name), value);
        let headers = [
            says("x-rows", instance.attributes.rows.to_string()),
            says("x-columns", instance.attributes.columns.to_string()),
            says("x-type", kind.to_owned()),
            says("x-minimum", low.to_string()),
            says("x-maximum", high.to_string()),
            says("x-inverted", instance.is_monochrome1().to_string()),
            (CONTENT_TYPE, "application/octet-stream".to_owned()),
            (CACHE_CONTROL, FOR_EVER.to_owned()),
        ];
        Ok((headers, bytes).into_response())
    })
    .await
}

/// A value as a whole number of 16 bits, where it is one.
#[allow(clippy::cast_possible_truncation)] // checked by the way back
fn whole(value: f32) -> Option<i16> {
    let short = value as i16;
    (f32::from(short) == value).then_some(short)
}

/// The slice, decoded.
pub(crate) async fn instance(app: &Console, which: &Which) -> ApiResult<Arc<Instance>> {
    let key = ObjectKey::Instance(which.0.clone(), which.1.clone());
    if app.store.length(&key).await?.is_none() {
        return Err(Failure::missing(format!("slice {} of the patient {}", which.1, which.0)));
    }
    let bytes = objects::bytes(&*app.store, key).await?;
    away(move || Ok(Arc::new(instance::decode(&bytes).map_err(anyhow::Error::from)?))).await
}

/// Does what takes a while away from the threads that answer.
pub(crate) async fn away<T: Send + 'static>(
    work: impl FnOnce() -> ApiResult<T> + Send + 'static,
) -> ApiResult<T> {
    let stopping = |_| Failure::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "the console is stopping");
    tokio::task::spawn_blocking(work).await.map_err(stopping)?
}

/// A PNG that never changes.
fn picture(bytes: Bytes) -> Response {
    png_answer(bytes, FOR_EVER)
}

fn png_answer(bytes: Bytes, caching: &'static str) -> Response {
    ([(CONTENT_TYPE, "image/png"), (CACHE_CONTROL, caching)], bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_of_16_bits_are_short() {
        assert_eq!([-32768.0, 0.0, 32767.0].map(whole), [Some(i16::MIN), Some(0), Some(i16::MAX)]);
        assert_eq!([0.5, 32768.0, f32::NAN, f32::INFINITY].map(whole), [None; 4]);
    }
}
