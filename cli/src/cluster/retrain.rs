//! `modiolus retrain`: a training on what people have drawn, now.

use anyhow::Result;
use modiolus_operations::retraining::{Base, Retraining, Wish};
use modiolus_operations::trainings::TrainingState;

use super::Cluster;
use super::arguments::Retrain;
use super::submit::{ended_well, joins};
use super::wait::Listener;
use super::watch;
use crate::{models, output, terminal, train};

/// Starts a training, and waits where that is wanted.
pub(crate) async fn retrain(options: &Retrain) -> Result<()> {
    let plan = options.plan.as_deref().map(train::named_plan).transpose()?;
    let cluster = Cluster::open(&options.at).await?;
    let base = Base::current(&*cluster.store).await?;
    let wish = Wish { plan, epochs: options.epochs, why: "somebody asked for it".into() };
    let prepared = Retraining::new(cluster.store.clone()).prepare(base, wish).await?;
    let (joins, listener) = (joins(&cluster), Listener::new(&cluster.broker).await);
    let mut outcome = prepared.begin(&*cluster.store, &cluster.broker, &joins).await?;
    let training = prepared.training.first.training;
    let run = training.as_run();
    terminal::say(&match outcome {
        Some(_) => format!("The same training, {training}, is done already: nothing has changed since."),
        None => format!("The training {training} is under way: `modiolus watch {training}` shows it."),
    });
    if options.wait && outcome.is_none() {
        outcome = Some(listener.until_done(&joins, &run, watch::say_epoch).await?);
    }
    let state = TrainingState::read(&*cluster.store, &training).await?;
    cluster.broker.close().await;
    match &state {
        Some(state) if options.json => output::json(state)?,
        Some(state) => {
            output::line(training.as_str())?;
            state.gate.as_ref().map_or(Ok(()), models::print_gate)?;
        }
        None => {}
    }
    if let Some(gate) = state.and_then(|state| state.gate) {
        let said = if gate.promoted { "is promoted" } else { "is not promoted" };
        terminal::say(&format!("{} {said}: {}", gate.candidate, gate.why));
    }
    ended_well(&run, outcome.as_ref().map_or(&[][..], |outcome| &outcome.failed))
}
