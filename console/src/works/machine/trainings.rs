//! Trainings on this machine: started by people, or by the number of new masks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use modiolus_operations::retraining::When;
use modiolus_operations::trainings;
use modiolus_pipeline::{Message, TrainingId};
use modiolus_runtime::House;

use super::super::training::{prepare, under_way};
use super::tasks::Task;
use super::{Course, Inner};

impl Inner {
    /// Starts a training, unless one is under way.
    pub(super) async fn retrain(self: &Arc<Self>, course: Course, why: String) -> Result<TrainingId> {
        if let Some(run) = self.standings.training() {
            return Err(under_way(run));
        }
        let joins = House::new(self.store.clone()).joins();
        let prepared = prepare(&*self.store, &joins, &self.retraining, (course, why)).await?;
        prepared.note(&*self.store).await?;
        let training = prepared.training.first.training.clone();
        self.begin(Task::of_training(training.as_run(), prepared.first)).await?;
        Ok(training)
    }

    /// Starts a training by itself, if enough masks are new.
    pub(super) fn look_whether_due(self: &Arc<Self>) {
        let Some(annotations) = self.retrain_after else { return };
        let inner = self.clone();
        tokio::spawn(async move {
            if let Err(error) = inner.retrain_if_due(annotations).await {
                tracing::warn!("no training can be started now: {error:#}");
            }
        });
    }

    async fn retrain_if_due(self: &Arc<Self>, annotations: usize) -> Result<()> {
        // Nothing waits for long here: whoever draws is there to press the button.
        let when = When { annotations, longest_wait: Duration::MAX };
        let joins = House::new(self.store.clone()).joins();
        match self.retraining.due(&joins, when).await? {
            Some(why) => self.retrain(Course::default(), why).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// The trainings that were noted and have not ended.
    pub(super) async fn unfinished_trainings(&self) -> Result<Vec<Task>> {
        let joins = House::new(self.store.clone()).joins();
        let mut tasks = Vec::new();
        for training in trainings::noted(&*self.store).await? {
            let run = training.first.training.as_run();
            if joins.outcome(&run).await?.is_none() {
                tasks.push(Task::of_training(run, Message::new(&training.first)));
            }
        }
        Ok(tasks)
    }
}
