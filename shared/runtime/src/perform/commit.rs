//! What a job leaves in the store: outputs, then pointers, then its manifest, then its marker.

use bytes::Bytes;
use modiolus_pipeline::join::Output;
use modiolus_pipeline::message::MAX_MESSAGE_BYTES;
use modiolus_pipeline::stage::Move;
use modiolus_pipeline::{
    Digest, Effects, Envelope, Fetched, Manifest, Marker, ObjectKey, Outcome, Read, Scope, StageError,
    topology,
};

use super::{End, Performer, done_marker, json, marker_key};

/// What became of a job before. Given up is final: whoever wants it tried again removes its marker first.
enum Before {
    Committed(Manifest),
    GivenUp { code: String, message: String },
}

impl Performer {
    /// Runs the job, unless it was run or given up before or its run was cancelled, and writes what it leaves. `is_first`
    /// says that its message was never given out before.
    pub(super) async fn commit(&self, envelope: &Envelope, is_first: bool) -> Result<End, StageError> {
        let (scope, message) = (&envelope.scope, &envelope.message);
        let (run, stage, id) = (&scope.run, self.stage.name(), &message.id);
        let job = self.stage.clone().open(message)?;
        let manifest_key = ObjectKey::Manifest(stage, id.clone());
        let marker_key = marker_key(scope, id);
        match self.before(&manifest_key, &marker_key).await? {
            Some(Before::GivenUp { code, message }) => return Ok(End::GivenUp { code, message }),
            Some(Before::Committed(manifest)) => {
                tracing::debug!(%run, %stage, job = %id, "a job was done before");
                return self.mark(marker_key, manifest).await;
            }
            None if self.joins.was_cancelled(run).await? => return Ok(End::Cancelled),
            None => tracing::debug!(%run, %stage, job = %id, "a job begins"),
        }
        let objects = self.fetch(&*job).await?;
        let effects = self.run(&*job, &objects, scope, id.clone())?;
        // Two messages of one job in a chain would make two chains, to its end: one of them ends here.
        if topology::followers(stage).contains(&stage)
            && let Some(Before::Committed(manifest)) = self.before(&manifest_key, &marker_key).await?
        {
            tracing::info!(%run, %stage, job = %id, "a job was done meanwhile, for another message");
            // One that came back may be the very message for which it was done: its followers may be nobody's yet.
            let is_anothers = is_first;
            return if is_anothers { Ok(End::DoneElsewhere) } else { self.mark(marker_key, manifest).await };
        }
        let Effects { put, moves, publish } = effects;
        let manifest = Manifest { outputs: put.iter().map(output).collect(), followers: publish };
        manifest.followers.iter().try_for_each(|follower| fits(scope, follower))?;
        let mut steps = vec![put];
        if !moves.is_empty() {
            // What they will point to is there before.
            self.store.put_in_order(std::mem::take(&mut steps)).await?;
        }
        for one in moves {
            self.move_pointer(one).await?;
        }
        steps.push(vec![(manifest_key, json(&manifest).into())]);
        steps.push(vec![(marker_key, json(&done_marker(&manifest.followers)).into())]);
        self.store.put_in_order(steps).await?;
        Ok(End::Done(manifest.followers))
    }

    /// Moves a pointer, if it is still what the job has read.
    async fn move_pointer(&self, one: Move) -> Result<(), StageError> {
        let key = one.key.clone();
        if self.store.move_pointer(one).await? {
            return Ok(());
        }
        let text = format!("somebody has changed {key} while the job ran: it is done again");
        Err(StageError::retryable("pointer-moved", text))
    }

    async fn mark(&self, marker: ObjectKey, manifest: Manifest) -> Result<End, StageError> {
        self.store.put(marker, json(&done_marker(&manifest.followers)).into()).await?;
        Ok(End::Done(manifest.followers))
    }

    /// What became of a job before. A manifest counts if all it names is still there and intact.
    async fn before(&self, manifest: &ObjectKey, marker: &ObjectKey) -> Result<Option<Before>, StageError> {
        match self.manifest_and_marker(manifest, marker).await? {
            (_, Some(Marker { outcome: Outcome::Failed { code, message }, .. })) => {
                Ok(Some(Before::GivenUp { code, message }))
            }
            (Some(manifest), _) if self.store.verify(&manifest.outputs).await? => {
                Ok(Some(Before::Committed(manifest)))
            }
            _ => Ok(None),
        }
    }

    pub(super) async fn manifest_and_marker(
        &self,
        manifest: &ObjectKey,
        marker: &ObjectKey,
    ) -> Result<(Option<Manifest>, Option<Marker>), StageError> {
        let reads = [Read::whole(manifest.clone()), Read::whole(marker.clone())];
        let mut found = self.store.get_many(&reads).await.into_iter();
        Ok((decoded(found.next().transpose()?), decoded(found.next().transpose()?)))
    }
}

fn output((key, bytes): &(ObjectKey, Bytes)) -> Output {
    Output {
        bucket: key.bucket().to_string(),
        path: key.path(),
        sha256: Digest::of(bytes),
        length: bytes.len() as u64,
    }
}

/// A message that is too large for the broker is a fault of its stage.
fn fits(scope: &Scope, follower: &modiolus_pipeline::Message) -> Result<(), StageError> {
    let length = Envelope::new(scope.clone(), follower.clone()).encode().len();
    // Room for the attempt to grow by some digits.
    if length + 16 <= MAX_MESSAGE_BYTES {
        return Ok(());
    }
    let text = format!("{} has {length} bytes; at most {MAX_MESSAGE_BYTES} are allowed", follower.id);
    Err(StageError::permanent("message-too-large", text))
}

/// The value in an object, if it is there and whole.
fn decoded<T: serde::de::DeserializeOwned>(fetched: Option<Fetched>) -> Option<T> {
    match fetched {
        Some(Fetched::Found(object)) => serde_json::from_slice(&object.bytes).ok(),
        _ => None,
    }
}
