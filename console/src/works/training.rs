//! What comes before a training, wherever it is done.

use anyhow::Result;
use modiolus_operations::dataset::BadPair;
use modiolus_operations::models;
use modiolus_operations::retraining::{Base, Prepared, Retraining};
use modiolus_operations::runs::forget_given_up;
use modiolus_pipeline::plan::BadPlan;
use modiolus_runtime::Joins;
use modiolus_store::ObjectStore;

use super::{Course, Refused};

/// Prepares a training from the current model, or from the base model. One that was given up before can be started again
/// afterwards.
pub(super) async fn prepare(
    store: &dyn ObjectStore,
    joins: &Joins,
    retraining: &Retraining,
    (course, why): (Course, String),
) -> Result<Prepared> {
    let base = Base::current(store).await?;
    if models::current(store).await?.is_none() {
        // So that people can go back to the model that ships.
        models::make_current(store, base.version.clone(), None).await?;
    }
    let wish = course.wish(&base, why);
    let prepared = retraining.prepare(base, wish).await.map_err(in_words)?;
    let training = &prepared.training.first.training;
    let outcome = joins.outcome(&training.as_run()).await?;
    if outcome.is_some_and(|outcome| outcome.failed.is_empty()) {
        let said = format!("the same training, {training}, is done already: nobody has drawn anything since");
        return Err(Refused::error(said));
    }
    forget_given_up(store, &training.as_run()).await?;
    Ok(prepared)
}

/// What people can mend is said to them.
fn in_words(error: anyhow::Error) -> anyhow::Error {
    if error.is::<BadPlan>() {
        return Refused::error(format!("{error:#}"));
    }
    if error.is::<BadPair>() {
        return Refused::error(format!("{error:#}. Accept the masks of some slices first"));
    }
    error
}

/// That there is one at a time.
pub(super) fn under_way(training: impl std::fmt::Display) -> anyhow::Error {
    Refused::error(format!("the training {training} is under way: wait for its end, or cancel it"))
}
