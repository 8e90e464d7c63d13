//! The buckets of an installation.

use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketLocationConstraint,
    CreateBucketConfiguration, ExpirationStatus, LifecycleRule, LifecycleRuleFilter,
};
use modiolus_pipeline::Bucket;

use super::S3Store;
use super::errors::{Answer, answer, store_error};
use crate::StoreError;

/// The days after which the parts of an upload that was never finished are removed.
const UNFINISHED_DAYS: i32 = 1;

/// A key that no object has.
const NO_OBJECT: &str = "no-object/what-time-is-it";

impl S3Store {
    /// Makes the buckets that are not there, and has the store remove uploads that were never finished. May run twice, and
    /// beside itself. Returns the buckets that it made.
    ///
    /// A bucket that Garage makes for an S3 client is known by its name to that client's key alone. Where each worker has a
    /// key of its own, make the buckets with Garage's own tool first (`garage bucket create`); this then finds them.
    ///
    /// # Errors
    /// When a bucket can be neither found nor made.
    pub async fn create_buckets(&self) -> Result<Vec<Bucket>, StoreError> {
        let mut made = vec![];
        for bucket in Bucket::ALL {
            if !self.has_bucket(bucket).await? && self.create_bucket(bucket).await? {
                made.push(bucket);
            }
            self.forget_unfinished_uploads(bucket).await?;
        }
        Ok(made)
    }

    /// Whether the bucket is there, for us to use.
    ///
    /// # Errors
    /// When the store can't be asked, or does not let this access key use the bucket.
    pub async fn has_bucket(&self, bucket: Bucket) -> Result<bool, StoreError> {
        let name = self.options.bucket_name(bucket);
        let _turn = self.turn().await;
        match self.client.head_bucket().bucket(&name).send().await {
            Ok(_) => Ok(true),
            Err(error) if matches!(answer(&error), Answer::NoObject | Answer::NoBucket) => Ok(false),
            Err(error) => Err(store_error(bucket, &name, &error)),
        }
    }

    /// The server's clock, as time since 1970; `None` where the server can't be reached or doesn't tell.
    pub async fn clock(&self) -> Option<Duration> {
        let _turn = self.turn().await;
        // Only an error shows the answer's headers; this one asks for what never is.
        let request = self.client.get_object().bucket(self.options.bucket_name(Bucket::Runs)).key(NO_OBJECT);
        let error = request.send().await.err()?;
        let date = error.raw_response()?.headers().get("date")?;
        let date = DateTime::from_str(date, DateTimeFormat::HttpDate).ok()?;
        Some(Duration::from_secs(u64::try_from(date.secs()).ok()?))
    }

    /// Whether it was made just now, and not by somebody else meanwhile.
    async fn create_bucket(&self, bucket: Bucket) -> Result<bool, StoreError> {
        let name = self.options.bucket_name(bucket);
        // The first of Amazon's regions must not be named.
        let region = Some(self.options.region.as_str()).filter(|region| *region != "us-east-1");
        let place = region.map(|region| {
            let region = BucketLocationConstraint::from(region);
            CreateBucketConfiguration::builder().location_constraint(region).build()
        });
        let _turn = self.turn().await;
        let request = self.client.create_bucket().bucket(&name).set_create_bucket_configuration(place);
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("BucketAlreadyOwnedByYou") => Ok(false),
            Err(error) => Err(store_error(bucket, &name, &error)),
        }
    }

    /// Rules that somebody made are left alone, and a store without such rules is no fault.
    async fn forget_unfinished_uploads(&self, bucket: Bucket) -> Result<(), StoreError> {
        let name = self.options.bucket_name(bucket);
        let _turn = self.turn().await;
        match self.client.get_bucket_lifecycle_configuration().bucket(&name).send().await {
            Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => {}
            Ok(_) => return Ok(()),
            Err(error) if is_unsupported(error.code()) => return Ok(()),
            Err(error) => return Err(store_error(bucket, &name, &error)),
        }
        let request = self.client.put_bucket_lifecycle_configuration().bucket(&name);
        match request.lifecycle_configuration(lifecycle()).send().await {
            Err(error) if !is_unsupported(error.code()) => Err(store_error(bucket, &name, &error)),
            _ => Ok(()),
        }
    }
}

fn lifecycle() -> BucketLifecycleConfiguration {
    let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(UNFINISHED_DAYS).build();
    let rule = LifecycleRule::builder()
        .id("modiolus-unfinished-uploads")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .abort_incomplete_multipart_upload(abort)
        .build()
        .expect("a rule with a status");
    BucketLifecycleConfiguration::builder().rules(rule).build().expect("a configuration with a rule")
}

fn is_unsupported(code: Option<&str>) -> bool {
    matches!(code, Some("NotImplemented" | "MethodNotAllowed"))
}
