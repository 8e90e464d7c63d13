//! Objects without which a finished run can't be shown.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use modiolus_pipeline::{Fetched, ObjectKey, Read};
use modiolus_store::ObjectStore;
use serde::de::DeserializeOwned;

/// An object's bytes.
pub async fn bytes(store: &dyn ObjectStore, key: ObjectKey) -> Result<Bytes> {
    let shown = key.to_string();
    bytes_if_there(store, key).await?.with_context(|| format!("{shown} is missing from the store"))
}

/// An object's JSON.
pub async fn json<T: DeserializeOwned>(store: &dyn ObjectStore, key: ObjectKey) -> Result<T> {
    let shown = key.to_string();
    json_if_there(store, key).await?.with_context(|| format!("{shown} is missing from the store"))
}

/// An object's JSON, or nothing where there is no such object.
pub async fn json_if_there<T: DeserializeOwned>(
    store: &dyn ObjectStore,
    key: ObjectKey,
) -> Result<Option<T>> {
    let shown = key.to_string();
    let Some(bytes) = bytes_if_there(store, key).await? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).with_context(|| format!("{shown} in the store is damaged"))
}

/// An object's bytes, or nothing where there is no such object.
pub async fn bytes_if_there(store: &dyn ObjectStore, key: ObjectKey) -> Result<Option<Bytes>> {
    let shown = key.to_string();
    match store.get(Read::whole(key)).await? {
        Fetched::Found(object) => Ok(Some(object.bytes)),
        Fetched::Missing => Ok(None),
        Fetched::Denied(why) => bail!("{shown} can't be read: {why}"),
    }
}
