//! Slices: the wall of a run, one slice with all that is known of it, and whether people see an array on it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use modiolus_dicom::lut::Voi;
use modiolus_operations::models;
use modiolus_operations::start::now;
use modiolus_pipeline::{
    Clarity, ModelVersion, ObjectKey, PatientKey, Revision, RevisionId, RunId, SliceId, Triage,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::pictures::instance;
use crate::app::{Console, Who};
use crate::catalogue::{Reached, Run, Slice};
use crate::extract::{PathParams, QueryParams};
use crate::failure::{ApiResult, ErrorBody, Failure};
use crate::notes::Which;

/// How many slices of a wall are given at most, unless fewer are asked for.
const MOST: usize = 5000;

/// The windows that people in this field use, with their names: centre and width.
const PRESETS: [(&str, f64, f64); 4] = [
    ("bone", 300.0, 2000.0),
    ("temporal bone", 700.0, 4000.0),
    ("implant", 2000.0, 6000.0),
    ("soft tissue", 40.0, 400.0),
];

/// A slice in a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ListedSlice)]
pub(crate) struct Listed {
    #[schema(value_type = String)]
    pub(crate) patient: PatientKey,
    #[schema(value_type = String)]
    pub(crate) slice: SliceId,
    /// Its name beside its patient's.
    pub(crate) name: String,
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    /// Between rows, then between columns.
    pub(crate) spacing_mm: Option<[f64; 2]>,
    /// How clearly an array is visible, 0 to 1.
    pub(crate) array_score: f32,
    pub(crate) electrode_px: Option<usize>,
    /// The model that has drawn its mask.
    #[schema(value_type = Option<String>)]
    pub(crate) model: Option<ModelVersion>,
    pub(crate) uncertainty: Option<f64>,
    /// What people say: clear, no or unsure.
    #[schema(value_type = Option<String>)]
    pub(crate) triage: Option<Clarity>,
    pub(crate) annotation: Option<Annotated>,
}

impl Listed {
    /// Whether somebody has said what the mask is.
    pub(crate) fn is_final(&self) -> bool {
        self.annotation.as_ref().is_some_and(|annotation| annotation.state.is_final())
    }
}

/// The newest revision of a slice's mask.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Annotated {
    #[schema(value_type = String)]
    revision: RevisionId,
    by: String,
    /// In seconds since 1970.
    at: i64,
    #[schema(value_type = String)]
    state: modiolus_pipeline::RevisionState,
}

/// What people said of all slices, to be joined to a list.
pub(crate) struct Sayings {
    triage: HashMap<Which, (RevisionId, Arc<Triage>)>,
    revisions: HashMap<Which, (RevisionId, Arc<Revision>)>,
}

impl Sayings {
    pub(crate) async fn read(app: &Console) -> ApiResult<Self> {
        Ok(Self { triage: app.notes.newest().await?, revisions: app.notes.newest().await? })
    }

    /// What people said of one slice alone.
    async fn of_slice(app: &Console, which: &Which) -> ApiResult<Self> {
        let (triage, revision) = (app.notes.all(which).await?.pop(), app.notes.all(which).await?.pop());
        Ok(Self {
            triage: triage.into_iter().map(|newest| (which.clone(), newest)).collect(),
            revisions: revision.into_iter().map(|newest| (which.clone(), newest)).collect(),
        })
    }

    pub(crate) fn of(&self, run: &Run, slice: &Slice) -> Listed {
        let found = &slice.found;
        let which = (found.patient.clone(), found.slice.clone());
        let annotation = self.revisions.get(&which).map(|(id, revision)| Annotated {
            revision: id.clone(),
            by: revision.by.clone(),
            at: revision.at,
            state: revision.state,
        });
        Listed {
            name: slice.name.clone(),
            rows: found.rows,
            columns: found.columns,
            spacing_mm: found.spacing_mm,
            array_score: found.array_score,
            electrode_px: found.measured.map(|measured| measured.electrode_px),
            model: run.model().filter(|_| found.reached == Reached::Drawn).cloned(),
            uncertainty: found.measured.and_then(|measured| measured.uncertainty),
            triage: self.triage.get(&which).and_then(|(_, triage)| triage.answer),
            annotation,
            patient: which.0,
            slice: which.1,
        }
    }
}

/// Which slices of a run.
#[derive(Deserialize, IntoParams)]
pub(crate) struct Wanted {
    /// Only this patient's.
    #[param(value_type = Option<String>)]
    patient: Option<PatientKey>,
    /// Only those with this answer: clear, no, unsure or none.
    triage: Option<String>,
    /// Only those behind this one, PATIENT/SLICE: the last of the part before.
    after: Option<String>,
    /// Give so many at most.
    limit: Option<usize>,
}

/// A part of a run's slices.
#[derive(Serialize, ToSchema)]
pub(crate) struct Wall {
    /// How many there are without after and limit.
    total: usize,
    slices: Vec<Listed>,
}

/// The slices of a run, those with the clearest arrays first. Their order stays while people answer and the run goes on: whoever asks
/// part by part, by `after`, gets none twice.
#[utoipa::path(get, path = "/runs/{run}/slices", tag = "slices", params(("run" = String, Path), Wanted),
    responses((status = 200, body = Wall), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn wall(
    app: App,
    PathParams(run): PathParams<RunId>,
    QueryParams(wanted): QueryParams<Wanted>,
) -> ApiResult<Json<Wall>> {
    let found = app.catalogue.run(&run).await?.ok_or_else(|| Failure::missing(format!("run {run}")))?;
    let answer = wanted.triage.as_deref().map(answer).transpose()?;
    let sayings = Sayings::read(&app).await?;
    let mut all: Vec<&Slice> = found.slices.iter().collect();
    all.sort_by(|a, b| b.found.array_score.total_cmp(&a.found.array_score));
    // Those before have their places, too, though the filter doesn't let them through any more.
    let first = wanted.after.as_deref().map_or(Ok(0), |last| place_after(&all, last))?;
    let slices: Vec<(usize, Listed)> = (0..)
        .zip(all)
        .filter(|(_, slice)| wanted.patient.as_ref().is_none_or(|p| slice.found.patient == *p))
        .map(|(place, slice)| (place, sayings.of(&found, slice)))
        .filter(|(_, listed)| answer.is_none_or(|answer| listed.triage == answer))
        .collect();
    let total = slices.len();
    let limit = wanted.limit.unwrap_or(MOST).min(MOST);
    let part = slices.into_iter().skip_while(|(place, _)| *place < first).take(limit);
    Ok(Json(Wall { total, slices: part.map(|(_, listed)| listed).collect() }))
}

fn place_after(all: &[&Slice], last: &str) -> ApiResult<usize> {
    let (patient, slice) = last.split_once('/').ok_or_else(|| Failure::bad("after is PATIENT/SLICE"))?;
    let is_last = |one: &&Slice| one.found.patient.as_str() == patient && one.found.slice.as_str() == slice;
    let place = all.iter().position(is_last).map(|place| place + 1);
    place.ok_or_else(|| {
        Failure::missing(format!("slice {last} in this run")).then("begin again without after")
    })
}

fn answer(text: &str) -> ApiResult<Option<Clarity>> {
    match text {
        "none" => Ok(None),
        "clear" => Ok(Some(Clarity::Clear)),
        "no" => Ok(Some(Clarity::No)),
        "unsure" => Ok(Some(Clarity::Unsure)),
        _ => Err(Failure::bad("triage is clear, no, unsure or none")),
    }
}

/// Through which run a slice is seen.
#[derive(Deserialize, IntoParams)]
pub(crate) struct Through {
    /// The run; otherwise the latest that has the slice.
    #[param(value_type = Option<String>)]
    run: Option<RunId>,
}

impl Through {
    pub(crate) fn run(&self) -> Option<&RunId> {
        self.run.as_ref()
    }
}

/// A slice with all that is known of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Slice)]
pub(crate) struct Whole {
    #[serde(flatten)]
    pub(crate) listed: Listed,
    /// The run that it is seen through.
    #[schema(value_type = String)]
    pub(crate) run: RunId,
    /// What its header says, without identity.
    attributes: Vec<Attribute>,
    pub(crate) neighbours: Neighbours,
    window: Window,
}

/// An attribute for people.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Attribute {
    name: &'static str,
    tag: &'static str,
    value: String,
}

/// The slices beside it in the patient.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Neighbours {
    #[schema(value_type = Option<String>)]
    pub(crate) previous: Option<SliceId>,
    #[schema(value_type = Option<String>)]
    pub(crate) next: Option<SliceId>,
}

/// How its values become greys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Window {
    /// In units of the values, as WindowCenter.
    centre: f64,
    /// As WindowWidth.
    width: f64,
    presets: Vec<Preset>,
}

/// A window with a name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Preset {
    name: &'static str,
    centre: f64,
    width: f64,
}

/// One slice.
#[utoipa::path(get, path = "/slices/{patient}/{slice}", tag = "slices",
    params(("patient" = String, Path), ("slice" = String, Path), Through),
    responses((status = 200, body = Whole), (status = 404, body = ErrorBody)))]
pub(crate) async fn one(
    app: App,
    PathParams(which): PathParams<Which>,
    QueryParams(through): QueryParams<Through>,
) -> ApiResult<Json<Whole>> {
    Ok(Json(whole(&app, &which, through.run.as_ref()).await?))
}

pub(crate) async fn whole(app: &Console, which: &Which, run: Option<&RunId>) -> ApiResult<Whole> {
    let (run, position) = find(app, which, run).await?;
    let mut listed = Sayings::of_slice(app, which).await?.of(&run, &run.slices[position]);
    listed.model = newest_proposal(app, which, listed.model).await?;
    let instance = instance(app, which).await?;
    let beside = |position: Option<usize>| {
        let slice = run.slices.get(position?)?;
        (slice.found.patient == which.0).then(|| slice.found.slice.clone())
    };
    let neighbours =
        Neighbours { previous: beside(position.checked_sub(1)), next: beside(position.checked_add(1)) };
    Ok(Whole {
        listed,
        run: run.state.run.clone(),
        attributes: attributes(&instance),
        neighbours,
        window: window(&instance),
    })
}

/// The model whose mask is proposed: the current one, as soon as it has drawn the slice, else that of the run.
async fn newest_proposal(
    app: &Console,
    which: &Which,
    of_run: Option<ModelVersion>,
) -> ApiResult<Option<ModelVersion>> {
    let Some(pointer) = models::current(&*app.store).await? else { return Ok(of_run) };
    let key = ObjectKey::Mask(pointer.current.clone(), which.0.clone(), which.1.clone());
    let is_drawn = app.store.length(&key).await?.is_some();
    Ok(if is_drawn { Some(pointer.current) } else { of_run })
}

pub(crate) async fn find(app: &Console, which: &Which, run: Option<&RunId>) -> ApiResult<(Arc<Run>, usize)> {
    let found = app.catalogue.with_slice(run, &which.0, &which.1).await?;
    found.ok_or_else(|| Failure::missing(format!("slice {} of the patient {}", which.1, which.0)))
}

fn window(instance: &modiolus_dicom::instance::Instance) -> Window {
    let presets = PRESETS.map(|(name, centre, width)| Preset { name, centre, width }).into();
    let (centre, width) = match instance.voi() {
        Voi::Window { center, width, .. } => (center, width),
        _ => {
            let values = instance.values_to_show();
            let (low, high) = values
                .iter()
                .filter(|value| value.is_finite())
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                    (low.min(f64::from(*value)), high.max(f64::from(*value)))
                });
            if low < high { (f64::midpoint(low, high), high - low) } else { (0.0, 1.0) }
        }
    };
    Window { centre, width, presets }
}

fn attributes(instance: &modiolus_dicom::instance::Instance) -> Vec<Attribute> {
    let of = &instance.attributes;
    let list = |numbers: &[f64]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join("\\");
    let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
    let rows = [
        ("Modality", "(0008,0060)", of.modality.clone()),
        ("ImageType", "(0008,0008)", of.image_type.join("\\")),
        ("SeriesNumber", "(0020,0011)", of.series_number.map(|n| n.to_string()).unwrap_or_default()),
        ("InstanceNumber", "(0020,0013)", of.instance_number.map(|n| n.to_string()).unwrap_or_default()),
        ("Rows", "(0028,0010)", of.rows.to_string()),
        ("Columns", "(0028,0011)", of.columns.to_string()),
        ("PixelSpacing", "(0028,0030)", of.pixel_spacing.map(|mm| list(&mm)).unwrap_or_default()),
        ("SliceThickness", "(0018,0050)", number(of.slice_thickness)),
        ("ImageOrientationPatient", "(0020,0037)", of.orientation.map(|o| list(&o)).unwrap_or_default()),
        ("ImagePositionPatient", "(0020,0032)", of.position.map(|p| list(&p)).unwrap_or_default()),
        ("PhotometricInterpretation", "(0028,0004)", of.photometric_interpretation.clone()),
        ("BitsStored", "(0028,0101)", of.bits_stored.to_string()),
        ("RescaleSlope", "(0028,1053)", number(of.rescale_slope)),
        ("RescaleIntercept", "(0028,1052)", number(of.rescale_intercept)),
        ("WindowCenter", "(0028,1050)", list(&of.window_centers)),
        ("WindowWidth", "(0028,1051)", list(&of.window_widths)),
    ];
    let rows = rows.into_iter().filter(|(_, _, value)| !value.is_empty());
    rows.map(|(name, tag, value)| Attribute { name, tag, value }).collect()
}

/// Whether a clear array is visible.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Answered {
    /// clear, no, unsure, or null to take it back.
    #[schema(value_type = Option<String>)]
    answer: Option<Clarity>,
}

/// Says whether a clear array is visible.
#[utoipa::path(put, path = "/slices/{patient}/{slice}/triage", tag = "slices",
    params(("patient" = String, Path), ("slice" = String, Path)), request_body = Answered,
    responses((status = 204), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(crate) async fn triage(
    app: App,
    who: Who,
    PathParams(which): PathParams<Which>,
    crate::extract::JsonBody(said): crate::extract::JsonBody<Answered>,
) -> ApiResult<StatusCode> {
    is_there(&app, &which).await?;
    let _turn = app.notes.turn(&which).await;
    app.notes.append(&which, &Triage { by: who.name, at: now(), answer: said.answer }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// That nothing is said of a slice that there isn't.
pub(crate) async fn is_there(app: &Console, which: &Which) -> ApiResult<()> {
    let key = ObjectKey::Instance(which.0.clone(), which.1.clone());
    match app.store.length(&key).await? {
        Some(_) => Ok(()),
        None => Err(Failure::missing(format!("slice {} of the patient {}", which.1, which.0))),
    }
}
