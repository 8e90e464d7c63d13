//! Large objects, such as checkpoints, go in parts: a part that fails is sent again, not the whole.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::create_multipart_upload::CreateMultipartUploadError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::stream::{StreamExt, TryStreamExt, iter};

use super::errors::store_error;
use super::{Place, S3Store};
use crate::StoreError;

/// The length of a part; S3 wants at least 5 MiB. A longer object goes in parts.
pub(super) const PART_BYTES: usize = 8 << 20;

/// How many parts of one object are under way at once.
const PARTS_AT_ONCE: usize = 4;

/// An upload in parts that is no object yet. Dropped before it is one, its parts are removed.
struct Unfinished {
    client: Client,
    bucket: String,
    path: String,
    id: String,
    is_object: bool,
}

impl S3Store {
    pub(super) async fn upload_in_parts(&self, place: &Place, bytes: Bytes) -> Result<(), StoreError> {
        let mut upload = self.begin_upload(place).await?;
        let parts = (1..).zip((0..bytes.len()).step_by(PART_BYTES)).map(|(number, start)| {
            let part = bytes.slice(start..bytes.len().min(start + PART_BYTES));
            self.upload_part(place, &upload.id, number, part)
        });
        let parts = iter(parts.collect::<Vec<_>>()).buffered(PARTS_AT_ONCE).try_collect().await;
        let done = match parts {
            Ok(parts) => self.complete_upload(place, &upload.id, parts).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => upload.is_object = true,
            Err(_) => upload.abort().await,
        }
        done
    }

    async fn begin_upload(&self, place: &Place) -> Result<Unfinished, StoreError> {
        let _turn = self.turn().await;
        let (client, bucket, path) = (self.client.clone(), place.bucket.clone(), place.path.clone());
        let request = client.create_multipart_upload().bucket(&bucket).key(&path).send();
        // A task of its own ends well when nobody waits for it any more, so no upload begins that nobody ends.
        let begun = tokio::spawn(async move {
            let id = request.await?.upload_id.unwrap_or_default();
            Ok(Unfinished { client, bucket, path, id, is_object: false })
        });
        let stopping = |_| StoreError::unavailable(&place.shown, "the process is stopping");
        let begun: Result<_, SdkError<CreateMultipartUploadError>> = begun.await.map_err(stopping)?;
        begun.map_err(|error| store_error(&place.shown, &place.bucket, &error))
    }

    async fn upload_part(
        &self,
        place: &Place,
        id: &str,
        number: i32,
        part: Bytes,
    ) -> Result<CompletedPart, StoreError> {
        let _turn = self.turn().await;
        let request = self.client.upload_part().bucket(&place.bucket).key(&place.path).upload_id(id);
        let sent = request.part_number(number).body(ByteStream::from(part)).send().await;
        let sent = sent.map_err(|error| store_error(&place.shown, &place.bucket, &error))?;
        // On AWS each part has a checksum, which the last request has to name again.
        let done = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag);
        let done =
            done.set_checksum_crc32(sent.checksum_crc32).set_checksum_crc64_nvme(sent.checksum_crc64_nvme);
        Ok(done.build())
    }

    async fn complete_upload(
        &self,
        place: &Place,
        id: &str,
        parts: Vec<CompletedPart>,
    ) -> Result<(), StoreError> {
        let _turn = self.turn().await;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.client.complete_multipart_upload().bucket(&place.bucket).key(&place.path);
        let done = request.upload_id(id).multipart_upload(parts).send().await;
        done.map(drop).map_err(|error| store_error(&place.shown, &place.bucket, &error))
    }
}

impl Unfinished {
    /// Best effort: the bucket's lifecycle rule removes what stays behind.
    async fn abort(&mut self) {
        // From here on it is settled, whatever comes of it.
        self.is_object = true;
        abort(&self.client, &self.bucket, &self.path, &self.id).await;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.is_object {
            let (client, bucket) = (self.client.clone(), std::mem::take(&mut self.bucket));
            let (path, id) = (std::mem::take(&mut self.path), std::mem::take(&mut self.id));
            runtime.spawn(async move { abort(&client, &bucket, &path, &id).await });
        }
    }
}

async fn abort(client: &Client, bucket: &str, path: &str, id: &str) {
    let _ = client.abort_multipart_upload().bucket(bucket).key(path).upload_id(id).send().await;
}
