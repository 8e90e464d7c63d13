//! What went wrong, sorted by what happens next. Of what the server and the client say, only codes and the innermost cause
//! of a broken connection are passed on: messages of servers quote keys and paths.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::StoreError;

/// What the server answered instead of doing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is no such object.
    NoObject,
    /// There is no such bucket.
    NoBucket,
    /// We may not.
    Forbidden,
    /// The range begins behind the object's end.
    BadRange,
    /// Anything else.
    Other,
}

/// Which answer this is; of a HEAD only its status is known.
pub(super) fn answer<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Answer {
    match (status(error), code(error)) {
        (_, Some("NoSuchKey")) => Answer::NoObject,
        (_, Some("NoSuchBucket")) => Answer::NoBucket,
        (Some(416), _) => Answer::BadRange,
        (Some(404), None | Some("NotFound")) => Answer::NoObject,
        (Some(403), None | Some("AccessDenied" | "Forbidden")) if !is_quota(error) => Answer::Forbidden,
        _ => Answer::Other,
    }
}

/// The error of an object or bucket, as `what` shows it.
pub(super) fn store_error<E>(what: impl ToString, bucket: &str, error: &SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let what = what.to_string();
    match error {
        SdkError::ServiceError(_) | SdkError::ResponseError(_) => {}
        SdkError::ConstructionFailure(_) => {
            return StoreError::refused(what, "the request can't be made: check the store's configuration");
        }
        SdkError::TimeoutError(_) => {
            return StoreError::unavailable(what, "the store did not answer in time");
        }
        other => {
            return StoreError::unavailable(
                what,
                format!("the store can't be reached: {}", innermost(other)),
            );
        }
    }
    if is_full(error) {
        return StoreError::Full { what };
    }
    let (status, code) = (status(error).unwrap_or(0), code(error).unwrap_or("no code"));
    match (status, code) {
        (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch") => StoreError::refused(
            what,
            format!("the store does not know this access key and secret ({code}): check both"),
        ),
        (_, "AuthorizationHeaderMalformed") => {
            StoreError::refused(what, "the store refuses the signature: the region must be the store's own")
        }
        (_, "RequestTimeTooSkewed") => {
            StoreError::unavailable(what, "the clocks of this machine and of the store differ: set them")
        }
        (_, "NoSuchBucket") => {
            StoreError::refused(what, format!("the bucket {bucket} is not there: make the buckets first"))
        }
        (_, "NoSuchUpload") => StoreError::unavailable(what, "its upload was ended by somebody else"),
        // A HEAD has no code, so a missing bucket looks like a missing object.
        (404, _) => StoreError::refused(what, format!("not there ({code}), or the bucket {bucket} is not")),
        (403, _) => StoreError::refused(
            what,
            format!(
                "the store does not let this access key do that in {bucket}: check key, secret and rights"
            ),
        ),
        (501, _) => StoreError::refused(what, "the store can't do that (501)"),
        (408 | 409 | 429 | 0 | 500.., _) => {
            StoreError::unavailable(what, format!("the store answered {status} {code}"))
        }
        _ => StoreError::refused(what, format!("the store refused it: {status} {code}")),
    }
}

/// The cause behind all causes, such as "Connection refused": it names no address and no key.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// The server's code, if it looks like one.
fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    let code = error.as_service_error()?.code()?;
    (code.len() < 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(code)
}

/// Whether the disk or the quota is full: servers say so in different ways, Garage in its message only.
fn is_full<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let no_space = message(error).is_some_and(|message| message.contains("No space left"));
    let codes = ["InsufficientStorage", "StorageFull", "XMinioStorageFull", "QuotaExceeded"];
    status(error) == Some(507)
        || code(error).is_some_and(|code| codes.contains(&code))
        || no_space
        || is_quota(error)
}

fn is_quota<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    message(error).is_some_and(|message| message.contains("quota is reached"))
}

fn message<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    error.as_service_error()?.message()
}
