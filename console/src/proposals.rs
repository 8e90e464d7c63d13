//! The current model's proposals: when another model becomes current, it draws what people annotate next.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use modiolus_operations::models;
use modiolus_pipeline::job::SliceRef;
use modiolus_pipeline::{ModelVersion, ObjectKey, Read};
use modiolus_runtime::CancellationToken;

use crate::api::{comparison, work};
use crate::app::Console;
use crate::failure::Failure;
use crate::notes::Which;

/// How often it is looked which model is current.
const LOOK: Duration = Duration::from_secs(2);

/// How many slices of the work list it draws.
const AHEAD: usize = 200;

/// Looks again and again, until the console stops.
pub(crate) async fn keep_up(app: Arc<Console>, stop: CancellationToken) {
    let mut drawn_by = None;
    loop {
        match models::current(&*app.store).await {
            Ok(Some(pointer)) if drawn_by.as_ref() != Some(&pointer.current) => {
                match draw(&app, &pointer.current).await {
                    Ok(()) => drawn_by = Some(pointer.current),
                    Err(failure) => {
                        tracing::warn!("the current model can't draw its proposals yet: {failure:?}")
                    }
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!("it can't be seen which model is current: {error:#}"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Has a model draw what people annotate next, and what they have annotated, so that it can be compared.
async fn draw(app: &Console, model: &ModelVersion) -> Result<(), Failure> {
    let next = work::next(app, AHEAD, work::By::Patient).await?;
    let mut slices: Vec<Which> = next.into_iter().map(|next| next.which()).collect();
    slices.extend(comparison::annotated(app).await?.into_iter().map(|(which, _)| which));
    let missing = missing(app, model, slices).await?;
    if !missing.is_empty() {
        app.works.draw(missing, model.clone()).await?;
    }
    Ok(())
}

/// Those that a model has not drawn.
async fn missing(app: &Console, model: &ModelVersion, slices: Vec<Which>) -> Result<Vec<SliceRef>> {
    let key = |(patient, slice): &Which| ObjectKey::Mask(model.clone(), patient.clone(), slice.clone());
    let reads: Vec<Read> = slices.iter().map(|which| Read::first(key(which), 0)).collect();
    let mut missing = Vec::new();
    for ((patient, slice), found) in slices.into_iter().zip(app.store.get_many(&reads).await) {
        if found? == modiolus_pipeline::Fetched::Missing {
            missing.push(SliceRef { patient, slice });
        }
    }
    Ok(missing)
}
