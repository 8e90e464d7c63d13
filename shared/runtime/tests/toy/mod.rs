//! Toy stages: a job that fans out, jobs that follow, some of which fail.

#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use std::sync::Arc;

use bytes::Bytes;
use modiolus_pipeline::join::RunManifest;
use modiolus_pipeline::{
    Digest, Effects, Job, Message, ObjectKey, Objects, Progress, ProgressEvent, Read, RunId, Stage,
    StageError, StageName,
};
use modiolus_store::ObjectStore;
use serde::{Deserialize, Serialize};

/// What a part does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    Succeeds,
    Fails,
    Panics,
}

/// Reads an object and publishes its parts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Split {
    pub input: Digest,
    pub parts: Vec<Fate>,
}

/// Writes an object and publishes its last step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    pub input: Digest,
    pub number: usize,
    pub fate: Fate,
}

/// Writes an object; nothing follows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Last {
    pub part: Digest,
}

macro_rules! job {
    ($job:ident, $stage:ident) => {
        impl Job for $job {
            const STAGE: StageName = StageName::$stage;
            const SCHEMA: u32 = 1;
            const REVISION: u32 = 1;
        }
    };
}
job!(Split, Ingest);
job!(Part, Filter);
job!(Last, Preprocess);

pub struct SplitStage;
pub struct PartStage;
pub struct LastStage;

fn sample(text: &str) -> (ObjectKey, Bytes) {
    (ObjectKey::Sample(Digest::of(text)), Bytes::from(text.to_owned()))
}

impl Stage for SplitStage {
    type Job = Split;

    fn needs(&self, job: &Split, _: &Objects) -> Vec<Read> {
        vec![Read::whole(ObjectKey::Sample(job.input))]
    }

    fn run(&self, job: &Split, objects: &Objects, progress: &Progress) -> Result<Effects, StageError> {
        let input = objects.require(&ObjectKey::Sample(job.input))?;
        let mut effects = Effects::default();
        effects.put(ObjectKey::Index(job.id()), input.clone());
        for (number, fate) in job.parts.iter().enumerate() {
            effects.publish(&Part { input: job.input, number, fate: *fate });
        }
        progress.tell(ProgressEvent::Units { done: 1 });
        Ok(effects)
    }
}

impl Stage for PartStage {
    type Job = Part;

    fn needs(&self, job: &Part, _: &Objects) -> Vec<Read> {
        vec![Read::whole(ObjectKey::Sample(job.input))]
    }

    fn run(&self, job: &Part, objects: &Objects, progress: &Progress) -> Result<Effects, StageError> {
        if progress.is_stopping() {
            return Err(StageError::interrupted());
        }
        objects.require(&ObjectKey::Sample(job.input))?;
        match job.fate {
            Fate::Succeeds => {}
            Fate::Fails => return Err(StageError::permanent("bad-part", "this part can't be done")),
            // A panic without the noise of the hook.
            Fate::Panics => std::panic::resume_unwind(Box::new("a fault in the stage")),
        }
        let mut effects = Effects::default();
        let (key, bytes) = sample(&format!("{} {}", job.input, job.number));
        let part = Digest::of(&bytes);
        effects.put(key, bytes);
        effects.put(ObjectKey::Verdicts(job.id()), "{}");
        // One part in three has nothing after it; the others share their last step in pairs.
        if !job.number.is_multiple_of(3) {
            effects.publish(&Last { part });
            effects.publish(&Last { part: job.input });
        }
        Ok(effects)
    }
}

impl Stage for LastStage {
    type Job = Last;

    fn needs(&self, job: &Last, _: &Objects) -> Vec<Read> {
        vec![Read::whole(ObjectKey::Sample(job.part))]
    }

    fn run(&self, job: &Last, objects: &Objects, _: &Progress) -> Result<Effects, StageError> {
        let mut effects = Effects::default();
        effects.put(ObjectKey::Dataset(job.part), objects.require(&ObjectKey::Sample(job.part))?.clone());
        Ok(effects)
    }
}

/// A run of as many chunks as there are lists of fates.
pub struct ToyRun {
    pub run: RunId,
    pub manifest: RunManifest,
    pub first: Vec<Message>,
}

impl ToyRun {
    pub async fn new(name: &str, chunks: &[Vec<Fate>], store: &dyn ObjectStore) -> Self {
        let mut first = vec![];
        for (number, parts) in chunks.iter().enumerate() {
            let (key, bytes) = sample(&format!("{name} {number}"));
            let input = Digest::of(&bytes);
            store.put(key, bytes).await.unwrap();
            first.push(Message::new(&Split { input, parts: parts.clone() }));
        }
        let chunks = first.iter().map(|message| message.id.clone()).collect();
        let manifest = RunManifest { wanted: None, chunks };
        Self { run: name.parse().unwrap(), manifest, first }
    }
}

pub fn house(store: Arc<dyn ObjectStore>) -> modiolus_runtime::House {
    modiolus_runtime::House::new(store).with(SplitStage, 2).with(PartStage, 2).with(LastStage, 2)
}
