//! Beside the stage: looks whether people have drawn enough new masks, and starts a training then.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use modiolus_operations::retraining::{Retraining, When};
use modiolus_pipeline::Plan;
use modiolus_runtime::service::Site;
use modiolus_segmentation::ModelFile;

/// The base model, which a store without models begins with.
static BASE_MODEL: &[u8] = include_bytes!("../../../shared/segmentation/models/base.safetensors");

/// Looks again and again, until the process is told to stop.
pub async fn keep_looking(site: Site) {
    let Site { store, broker, joins, configuration, shutdown, .. } = site;
    let training = configuration.training;
    let when = When {
        annotations: training.annotations.get(),
        longest_wait: Duration::from_secs(u64::from(training.longest_wait_hours) * 3600),
    };
    let pause = Duration::from_secs(training.look_seconds.get().into());
    let retraining = Retraining::new(store);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let looked = tokio::select! {
            () = shutdown.cancelled() => return,
            looked = retraining.look(&*broker, &joins, when, shipped) => looked,
        };
        if let Err(error) = looked {
            tracing::warn!(error = %format!("{error:#}"), "no training can be started now; looking again later");
        }
    }
}

fn shipped() -> Result<(Bytes, Plan)> {
    let model = ModelFile::decode(BASE_MODEL)?;
    Ok((Bytes::from_static(BASE_MODEL), model.origin.plan))
}
