//! Objects in an S3 store: Garage, AWS and their like.
//!
//! One bucket of the store per [`Bucket`], its name behind a prefix; an object's key there is its path as [`ObjectKey`] has
//! it, so what any S3 client uploads below `scans/` is a delivered file. Nothing here rests on conditional writes, on
//! ETags or on the server's checksums: whoever reads compares lengths, and `verify` computes SHA-256 itself.

mod buckets;
mod errors;
mod multipart;
mod options;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::EncodingType;
use bytes::Bytes;
use futures::stream::{StreamExt, TryStreamExt, iter};
use modiolus_pipeline::join::Output;
use modiolus_pipeline::{Bucket, Digest, Fetched, Object, ObjectKey, Read};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::path::stays_inside;
use crate::{MAX_OBJECT_BYTES, ObjectStore, Puts, StoreError, output_place};
use errors::{Answer, answer, innermost, store_error};

pub use options::{S3Options, SecretKey};

/// The longest key that S3 allows, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 1024;

/// How often a body that broke off is asked for again, on top of the attempts for an answer.
const BODY_ATTEMPTS: u32 = 3;

/// A store behind S3.
#[derive(Debug)]
pub struct S3Store {
    client: Client,
    options: S3Options,
    requests: Semaphore,
}

/// Where one object lies, and how it may be shown.
struct Place {
    bucket: String,
    path: String,
    shown: String,
}

/// What came of reading into a `T`.
enum Got<T> {
    Here { content: T, total: u64 },
    Missing,
    Denied(String),
}

/// Why one attempt at reading came to nothing.
enum Failure {
    Answer(Box<aws_sdk_s3::error::SdkError<GetObjectError>>),
    Body(String),
}

impl S3Store {
    /// The store that the options name. Asks it nothing yet.
    ///
    /// # Errors
    /// When an option can't be right.
    pub fn new(options: S3Options) -> Result<Self, StoreError> {
        let client = Client::from_conf(options.config()?);
        let requests = Semaphore::new(options.requests.max(1));
        Ok(Self { client, options, requests })
    }

    /// Waits for its turn. Never while another turn is held, or all might wait for each other.
    async fn turn(&self) -> SemaphorePermit<'_> {
        self.requests.acquire().await.expect("the semaphore is never closed")
    }

    /// `None` where no object can be.
    fn place(&self, key: &ObjectKey) -> Option<Place> {
        let path = key.path();
        let possible = stays_inside(&path) && path.len() <= MAX_KEY_BYTES;
        possible.then(|| Place {
            bucket: self.options.bucket_name(key.bucket()),
            path,
            shown: key.to_string(),
        })
    }

    async fn fetch(&self, read: &Read) -> Result<Fetched, StoreError> {
        let Some(place) = self.place(&read.key) else {
            return Ok(Fetched::Denied("its path leaves the store or is longer than S3 allows".into()));
        };
        // S3 has no empty range.
        if read.first == Some(0) {
            let found = |total| Fetched::Found(Object { bytes: Bytes::new(), total });
            return Ok(self.length(&read.key).await?.map_or(Fetched::Missing, found));
        }
        let begin = |wanted: u64, _| {
            if wanted > MAX_OBJECT_BYTES {
                return Err(format!("{wanted} bytes; at most {MAX_OBJECT_BYTES} are read at once"));
            }
            Ok(Vec::with_capacity(wanted as usize))
        };
        let got = self.get_into(&place, read.first, begin, |bytes: &mut Vec<u8>, piece| bytes.extend(piece));
        Ok(match got.await? {
            Got::Here { content, total } => Fetched::Found(Object { bytes: content.into(), total }),
            Got::Missing => Fetched::Missing,
            Got::Denied(why) => Fetched::Denied(why),
        })
    }

    async fn is_intact(&self, output: &Output) -> Result<bool, StoreError> {
        let Some((bucket, path)) = output_place(output) else { return Ok(false) };
        let shown = format!("{bucket}/");
        let place = Place { bucket: self.options.bucket_name(bucket), path: path.to_owned(), shown };
        let begin =
            |_, total| if total == output.length { Ok(Sha256::new()) } else { Err("another length".into()) };
        let got = self.get_into(&place, None, begin, |hasher: &mut Sha256, piece| hasher.update(piece));
        Ok(match got.await? {
            Got::Here { content, .. } => Digest::from(<[u8; 32]>::from(content.finalize())) == output.sha256,
            Got::Missing | Got::Denied(_) => false,
        })
    }

    /// Reads an object, or its first bytes, piece by piece into what `begin` makes of the wanted and the total length.
    async fn get_into<T>(
        &self,
        place: &Place,
        first: Option<u64>,
        begin: impl Fn(u64, u64) -> Result<T, String>,
        take: impl Fn(&mut T, &[u8]),
    ) -> Result<Got<T>, StoreError> {
        let mut attempt = 1;
        loop {
            match self.get_once(place, first, &begin, &take).await {
                Ok(got) => return Ok(got),
                Err(Failure::Body(why)) if attempt >= BODY_ATTEMPTS => {
                    return Err(StoreError::unavailable(&place.shown, why));
                }
                Err(Failure::Body(_)) => attempt += 1,
                Err(Failure::Answer(error)) => match answer(&error) {
                    Answer::NoObject => return Ok(Got::Missing),
                    Answer::Forbidden => return self.forbidden(place).await,
                    // Every range begins at 0, so there is nothing in it.
                    Answer::BadRange => return begin(0, 0).map_or_else(denied, |content| here(content, 0)),
                    Answer::NoBucket | Answer::Other => {
                        return Err(store_error(&place.shown, &place.bucket, &error));
                    }
                },
            }
        }
    }

    async fn get_once<T>(
        &self,
        place: &Place,
        first: Option<u64>,
        begin: impl Fn(u64, u64) -> Result<T, String>,
        take: impl Fn(&mut T, &[u8]),
    ) -> Result<Got<T>, Failure> {
        let _turn = self.turn().await;
        let range = first.map(|first| format!("bytes=0-{}", first.saturating_sub(1)));
        let request = self.client.get_object().bucket(&place.bucket).key(&place.path).set_range(range);
        let output = request.send().await.map_err(|error| Failure::Answer(Box::new(error)))?;
        let total = total_length(&output).ok_or_else(|| Failure::Body("no length in the answer".into()))?;
        let wanted = first.map_or(total, |first| first.min(total));
        match begin(wanted, total) {
            Err(why) => denied(why),
            Ok(mut content) => {
                read_body(output.body, wanted, |piece| take(&mut content, piece)).await?;
                here(content, total)
            }
        }
    }

    /// Sorts a refusal: an object that this key may not read is the object's matter; a whole bucket that it may not use is
    /// the configuration's, and must not look like many unreadable files.
    async fn forbidden<T>(&self, place: &Place) -> Result<Got<T>, StoreError> {
        let _turn = self.turn().await;
        match self.client.head_bucket().bucket(&place.bucket).send().await {
            Ok(_) => denied("the store does not let this access key read it".into()),
            Err(error) => Err(store_error(&place.shown, &place.bucket, &error)),
        }
    }

    async fn put_one(&self, key: &ObjectKey, bytes: Bytes) -> Result<(), StoreError> {
        let Some(place) = self.place(key) else {
            let why = format!("its path leaves the store or has more than {MAX_KEY_BYTES} bytes: shorten it");
            return Err(StoreError::refused(key, why));
        };
        if bytes.len() > multipart::PART_BYTES {
            return self.upload_in_parts(&place, bytes).await;
        }
        let _turn = self.turn().await;
        let request = self.client.put_object().bucket(&place.bucket).key(&place.path);
        let put = request.body(ByteStream::from(bytes)).send().await;
        put.map(drop).map_err(|error| store_error(&place.shown, &place.bucket, &error))
    }

    /// One page of a list, and where the next begins.
    async fn list_page(
        &self,
        bucket: Bucket,
        prefix: &str,
        from: Option<String>,
    ) -> Result<(Vec<String>, Option<String>), StoreError> {
        let _turn = self.turn().await;
        let name = self.options.bucket_name(bucket);
        let what = format!("{bucket}/");
        // Encoded, since XML can't hold every character that a key can.
        let request = self.client.list_objects_v2().bucket(&name).prefix(prefix);
        let request = request.encoding_type(EncodingType::Url).set_continuation_token(from);
        let page = request.send().await.map_err(|error| store_error(&what, &name, &error))?;
        let is_encoded = page.encoding_type() == Some(&EncodingType::Url);
        let keys = page.contents().iter().filter_map(|object| object.key());
        let paths = keys.map(|key| if is_encoded { decoded(key) } else { Some(key.to_owned()) });
        let unreadable = || StoreError::unavailable(&what, "the store's list can't be read");
        let paths = paths.collect::<Option<Vec<_>>>().ok_or_else(unreadable)?;
        let next = page.next_continuation_token().filter(|_| page.is_truncated() == Some(true));
        Ok((paths, next.map(str::to_owned)))
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn get_many(&self, reads: &[Read]) -> Vec<Result<Fetched, StoreError>> {
        let fetches: Vec<_> = reads.iter().map(|read| self.fetch(read)).collect();
        iter(fetches).buffered(self.options.requests.max(1)).collect().await
    }

    async fn put_in_order(&self, steps: Vec<Puts>) -> Result<(), StoreError> {
        for step in steps {
            let put = |(key, bytes)| async move { self.put_one(&key, bytes).await };
            iter(step).map(Ok).try_for_each_concurrent(self.options.requests.max(1), put).await?;
        }
        Ok(())
    }

    async fn list(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, StoreError> {
        let (mut paths, mut next) = self.list_page(bucket, prefix, None).await?;
        while let Some(from) = next {
            let (page, after) = self.list_page(bucket, prefix, Some(from.clone())).await?;
            if after.as_ref() == Some(&from) {
                return Err(StoreError::unavailable(
                    format!("{bucket}/"),
                    "the store's list goes in a circle",
                ));
            }
            paths.extend(page);
            next = after;
        }
        paths.sort_unstable();
        Ok(paths)
    }

    async fn length(&self, key: &ObjectKey) -> Result<Option<u64>, StoreError> {
        let Some(place) = self.place(key) else { return Ok(None) };
        let _turn = self.turn().await;
        match self.client.head_object().bucket(&place.bucket).key(&place.path).send().await {
            Ok(head) => {
                let length = head.content_length().and_then(|length| u64::try_from(length).ok());
                length.map(Some).ok_or_else(|| StoreError::unavailable(key, "no length in the answer"))
            }
            Err(error) if answer(&error) == Answer::NoObject => Ok(None),
            Err(error) => Err(store_error(key, &place.bucket, &error)),
        }
    }

    async fn verify(&self, outputs: &[Output]) -> Result<bool, StoreError> {
        let checks: Vec<_> = outputs.iter().map(|output| self.is_intact(output)).collect();
        let mut checks = iter(checks).buffered(self.options.requests.max(1));
        while let Some(is_intact) = checks.next().await {
            if !is_intact? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let Some(place) = self.place(key) else { return Ok(()) };
        let _turn = self.turn().await;
        match self.client.delete_object().bucket(&place.bucket).key(&place.path).send().await {
            Ok(_) => Ok(()),
            Err(error) if answer(&error) == Answer::NoObject => Ok(()),
            Err(error) => Err(store_error(key, &place.bucket, &error)),
        }
    }
}

fn here<T, E>(content: T, total: u64) -> Result<Got<T>, E> {
    Ok(Got::Here { content, total })
}

fn denied<T, E>(why: String) -> Result<Got<T>, E> {
    Ok(Got::Denied(why))
}

/// The length of the whole object: behind the slash of `bytes 0-2/6`, or that of the body where there is no range.
fn total_length(output: &GetObjectOutput) -> Option<u64> {
    match output.content_range() {
        Some(range) => range.rsplit_once('/')?.1.parse().ok(),
        None => u64::try_from(output.content_length()?).ok(),
    }
}

/// Reads as many bytes as are wanted, never fewer. A server that ignores ranges sends more, which nobody reads.
async fn read_body(mut body: ByteStream, wanted: u64, mut take: impl FnMut(&[u8])) -> Result<(), Failure> {
    let mut left = wanted;
    while left > 0 {
        match body.next().await {
            None => return Err(Failure::Body(format!("the store sent {left} of {wanted} bytes too few"))),
            Some(Err(error)) => {
                return Err(Failure::Body(format!("its body broke off: {}", innermost(&error))));
            }
            Some(Ok(piece)) => {
                let length = left.min(piece.len() as u64);
                take(&piece[..length as usize]);
                left -= length;
            }
        }
    }
    Ok(())
}

/// A key from a list; some servers write a space as '+'.
fn decoded(key: &str) -> Option<String> {
    let spaced = key.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8().ok().map(|key| key.into_owned())
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod s3s_server;
#[cfg(test)]
mod tests;
