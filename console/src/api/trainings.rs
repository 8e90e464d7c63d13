//! Trainings: what started each, how far it is, what came of it; starting one, and ending it.

use axum::Json;
use axum::http::StatusCode;
use modiolus_operations::runs::State;
use modiolus_operations::trainings::{self, TrainingState};
use modiolus_pipeline::job::train::EpochMetrics;
use modiolus_pipeline::{ModelVersion, TrainingId};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::live::{Live, Watched, watch};
use crate::app::Console;
use crate::extract::{JsonBody, PathParams};
use crate::failure::{ApiResult, ErrorBody, Failure};
use crate::progress::Counted;
use crate::works::Course;

/// How many trainings are listed, the newest first.
const SHOWN: usize = 50;

/// How many epochs a plan may have.
const EPOCHS: std::ops::RangeInclusive<u32> = 1..=100_000;

/// Trainings, and what the next one would have new.
#[derive(Serialize, ToSchema)]
pub(crate) struct Trainings {
    /// The newest first, at most 50.
    pub(crate) trainings: Vec<Listed>,
    /// Slices with masks that the newest training has not learned from.
    new_masks: usize,
    /// After how many of those a training starts by itself; null where it never does, or where that is not known here.
    retrains_after: Option<usize>,
}

/// A training in a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ListedTraining)]
pub(crate) struct Listed {
    #[schema(value_type = String)]
    training: TrainingId,
    /// not-started, running, done or cancelled.
    #[schema(value_type = String)]
    pub(crate) state: State,
    /// In seconds since 1970.
    started: i64,
    /// What started it, in a sentence.
    why: String,
    /// How many epochs it will have.
    planned: u32,
    /// How many it has.
    done: u32,
    /// The candidate, once there is one.
    #[schema(value_type = Option<String>)]
    pub(crate) model: Option<ModelVersion>,
    /// Whether the candidate became current.
    promoted: Option<bool>,
    /// The gate's verdict in a sentence.
    verdict: Option<String>,
    /// Why it was given up, where it was.
    failure: Option<String>,
}

/// A training in detail.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Training)]
pub(crate) struct Whole {
    #[serde(flatten)]
    pub(crate) listed: Listed,
    /// What each epoch brought: epoch, loss, judged_loss, iou, dice, and whether the judging pictures were held out.
    #[schema(value_type = Vec<Object>)]
    pub(crate) epochs: Vec<EpochMetrics>,
    /// As far as can be told from the epochs that somebody watched.
    seconds_left: Option<f64>,
    /// It waits until another run or training is done.
    waits: bool,
    /// Why it stands still, where it does: an error that may pass did not pass.
    stands_still: Option<String>,
    /// How many times a segment was tried again, as far as that was heard.
    tried_again: usize,
}

impl Listed {
    fn of(state: TrainingState, done: u32) -> Self {
        let TrainingState { training, state, started, why, planned, model, gate, failed, .. } = state;
        let (promoted, verdict) = gate.map(|gate| (gate.promoted, gate.why)).unzip();
        let failure = failed.map(|failed| format!("{}: {}", failed.code, failed.message));
        Self { training, state, started, why, planned, done, model, promoted, verdict, failure }
    }
}

/// Trainings that were started for what people drew, the newest first.
#[utoipa::path(get, path = "/trainings", tag = "models", responses((status = 200, body = Trainings)))]
pub(crate) async fn list(app: App) -> ApiResult<Json<Trainings>> {
    Ok(Json(listed(&app).await?))
}

pub(crate) async fn listed(app: &Console) -> ApiResult<Trainings> {
    let mut listed = Vec::new();
    for noted in trainings::noted(&*app.store).await?.into_iter().take(SHOWN) {
        if let Some(whole) = whole(app, &noted.first.training).await? {
            listed.push(whole.listed);
        }
    }
    let new_masks = app.retraining.new_masks().await?.len();
    Ok(Trainings { trainings: listed, new_masks, retrains_after: app.works.retrains_after() })
}

/// One training.
#[utoipa::path(get, path = "/trainings/{training}", tag = "models", params(("training" = String, Path)),
    responses((status = 200, body = Whole), (status = 404, body = ErrorBody)))]
pub(crate) async fn one(app: App, PathParams(training): PathParams<TrainingId>) -> ApiResult<Json<Whole>> {
    Ok(Json(found(&app, &training).await?))
}

async fn found(app: &Console, training: &TrainingId) -> ApiResult<Whole> {
    whole(app, training).await?.ok_or_else(|| Failure::missing(format!("training {training}")))
}

async fn whole(app: &Console, training: &TrainingId) -> ApiResult<Option<Whole>> {
    let Some(mut state) = TrainingState::read(&*app.store, training).await? else { return Ok(None) };
    let mut epochs = std::mem::take(&mut state.epochs);
    let last = epochs.last().map_or(0, |epoch| epoch.epoch);
    // What the store doesn't know yet, since its segment has not ended.
    epochs.extend(app.works.heard(training).await.into_iter().filter(|epoch| epoch.epoch > last));
    let (run, done) = (training.as_run(), epochs.last().map_or(0, |epoch| epoch.epoch));
    let standing = app.works.standing(&run).await;
    let is_running = state.state == State::Running && !standing.waits;
    let speed = if is_running { app.watching.speed(&run, Counted::Epochs, done as usize) } else { None };
    if !is_running {
        app.watching.forget(&run);
    }
    let left = f64::from(state.planned.saturating_sub(done));
    Ok(Some(Whole {
        listed: Listed::of(state, done),
        epochs,
        seconds_left: speed.map(|speed| left / speed),
        waits: standing.waits,
        stands_still: standing.stands_still,
        tried_again: standing.tried_again,
    }))
}

/// The training that a model came from, where it was started for what people drew.
pub(crate) async fn of_model(app: &Console, model: &ModelVersion) -> ApiResult<Option<Whole>> {
    for noted in trainings::noted(&*app.store).await? {
        if let Some(found) = whole(app, &noted.first.training).await?
            && found.listed.model.as_ref() == Some(model)
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

impl Watched for Whole {
    fn is_over(&self) -> bool {
        matches!(self.listed.state, State::Done | State::Cancelled)
    }
}

/// A training while it goes on: `progress` whenever something has changed, `done` at its end, with the same JSON as `GET`.
#[utoipa::path(get, path = "/trainings/{training}/events", tag = "models", params(("training" = String, Path)),
    responses((status = 200, content_type = "text/event-stream", body = Object), (status = 404, body = ErrorBody)))]
pub(crate) async fn events(app: App, PathParams(training): PathParams<TrainingId>) -> ApiResult<Live> {
    found(&app, &training).await?;
    let app = app.0;
    Ok(watch(app.stopping.clone(), move || {
        let (app, training) = (app.clone(), training.clone());
        async move { found(&app, &training).await }
    }))
}

/// A training that was started.
#[derive(Serialize, ToSchema)]
#[schema(as = StartedTraining)]
pub(crate) struct Started {
    #[schema(value_type = String)]
    training: TrainingId,
}

/// Starts a training on the masks that people have accepted, from the current model and against it. Only a better model becomes
/// current. For operators.
#[utoipa::path(post, path = "/trainings", tag = "models", request_body = Course,
    responses((status = 202, body = Started), (status = 400, body = ErrorBody), (status = 422, body = ErrorBody),
        (status = 409, description = "One is under way, there is nothing to learn from, or nothing has changed since the last \
            one.", body = ErrorBody)))]
pub(crate) async fn start(
    app: App,
    who: crate::app::Who,
    JsonBody(course): JsonBody<Course>,
) -> ApiResult<(StatusCode, Json<Started>)> {
    if course.epochs.is_some_and(|epochs| !EPOCHS.contains(&epochs)) {
        return Err(Failure::bad(format!("a training has {} to {} epochs", EPOCHS.start(), EPOCHS.end())));
    }
    let training = app.works.retrain(course, format!("{} asked for it", who.name)).await?;
    Ok((StatusCode::ACCEPTED, Json(Started { training })))
}

/// Ends a training before its end. Asked for again with the same masks, it goes on. For operators.
#[utoipa::path(post, path = "/trainings/{training}/cancel", tag = "models", params(("training" = String, Path)),
    responses((status = 200, body = Whole), (status = 404, body = ErrorBody),
        (status = 409, description = "It is done already.", body = ErrorBody)))]
pub(crate) async fn cancel(app: App, PathParams(training): PathParams<TrainingId>) -> ApiResult<Json<Whole>> {
    found(&app, &training).await?;
    app.works.cancel(&training.as_run()).await?;
    Ok(Json(found(&app, &training).await?))
}
