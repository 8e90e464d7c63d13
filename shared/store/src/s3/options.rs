//! Where an S3 store is and how to talk to it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_s3::Config;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use modiolus_pipeline::Bucket;

use crate::StoreError;

/// Where an S3 store is, who we are there, and how patient we are. Its `Debug` shows no secret.
///
/// A proxy that the environment names is not used: patients' pictures go to the store and nowhere else.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// The server's address (`http://garage:3900`), without user or password; `None` is AWS itself.
    pub endpoint: Option<String>,
    /// The region; for Garage its `s3_region`.
    pub region: String,
    /// The access key's id.
    pub access_key: String,
    /// The access key's secret.
    pub secret_key: SecretKey,
    /// What stands before each [`Bucket`]'s name in the store: a store can serve several installations.
    pub bucket_prefix: String,
    /// Buckets in the path (`host/bucket/key`), as self-hosted servers want it; else in the host's name.
    pub path_style: bool,
    /// The certificates (PEM) of who vouches for the server; `None` is the system's.
    pub ca_file: Option<PathBuf>,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long the server may take to answer a request, its upload of at most 8 MiB included, and how long a body may
    /// stand still.
    pub answer_timeout: Duration,
    /// How often a request is tried in all; at least once.
    pub attempts: u32,
    /// The longest wait before the second attempt; it doubles with each, and the wait is drawn at random below it.
    pub first_delay: Duration,
    /// How many requests are under way at once, over all callers.
    pub requests: usize,
}

impl S3Options {
    /// A self-hosted store with what suits one: path style, patience of half a minute, 32 requests at once.
    pub fn new(
        endpoint: impl Into<String>,
        access_key: impl Into<String>,
        secret_key: impl Into<SecretKey>,
    ) -> Self {
        Self {
            endpoint: Some(endpoint.into()),
            region: "garage".into(),
            access_key: access_key.into(),
            secret_key: secret_key.into(),
            bucket_prefix: "modiolus-".into(),
            path_style: true,
            ca_file: None,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(30),
            attempts: 4,
            first_delay: Duration::from_millis(500),
            requests: 32,
        }
    }

    /// The bucket's name in the store.
    pub fn bucket_name(&self, bucket: Bucket) -> String {
        format!("{}{bucket}", self.bucket_prefix)
    }

    /// Whether the server is Amazon's, which alone is trusted to know its newest checksums.
    pub(super) fn is_aws(&self) -> bool {
        self.endpoint.as_ref().is_none_or(|endpoint| endpoint.contains(".amazonaws.com"))
    }

    /// The client's settings.
    ///
    /// # Errors
    /// When an option can't be right; says which.
    pub(super) fn config(&self) -> Result<Config, StoreError> {
        self.check()?;
        let credentials =
            Credentials::new(&self.access_key, &self.secret_key.0, None, None, "modiolus configuration");
        let stalled = StalledStreamProtectionConfig::enabled()
            .grace_period(self.answer_timeout)
            .upload_enabled(true)
            .download_enabled(true)
            .build();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(self.connect_timeout)
            .operation_attempt_timeout(self.answer_timeout)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(self.attempts.max(1))
            .with_initial_backoff(self.first_delay)
            .with_max_backoff(Duration::from_secs(10));
        // Checksums beyond the signature's own are for AWS: other servers stumble over them.
        let (requests, responses) = if self.is_aws() {
            (RequestChecksumCalculation::WhenSupported, ResponseChecksumValidation::WhenSupported)
        } else {
            (RequestChecksumCalculation::WhenRequired, ResponseChecksumValidation::WhenRequired)
        };
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(self.http_client()?)
            .region(Region::new(self.region.clone()))
            .credentials_provider(credentials)
            .force_path_style(self.path_style)
            .timeout_config(timeouts)
            .retry_config(retries)
            .stalled_stream_protection(stalled)
            .request_checksum_calculation(requests)
            .response_checksum_validation(responses);
        config.set_endpoint_url(self.endpoint.clone());
        Ok(config.build())
    }

    fn check(&self) -> Result<(), StoreError> {
        let refused = |why: &str| Err(StoreError::refused("the store's configuration", why));
        if let Some(endpoint) = &self.endpoint {
            let address = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
            let Some(address) = address.filter(|address| !address.is_empty()) else {
                return refused("the endpoint must start with http:// or https:// and name a host");
            };
            if address.contains('@') {
                return refused("the endpoint holds a user or a password: give the access key on its own");
            }
            if address.contains(|c: char| c.is_whitespace() || matches!(c, '?' | '#')) {
                return refused("the endpoint must be an address only, such as http://garage:3900");
            }
        }
        if self.access_key.is_empty() || self.secret_key.0.is_empty() {
            return refused("the access key or its secret is empty");
        }
        if self.region.is_empty() {
            return refused("the region is empty; Garage's is its s3_region");
        }
        Ok(())
    }

    fn http_client(&self) -> Result<SharedHttpClient, StoreError> {
        let trusted = match &self.ca_file {
            None => TrustStore::default(),
            Some(file) => {
                let refused =
                    |why: String| StoreError::refused(format!("the CA file {}", file.display()), why);
                let pem = std::fs::read(file).map_err(|error| refused(error.to_string()))?;
                // The client panics later where there is no certificate in it.
                if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
                    return Err(refused("it holds no certificate in PEM form".into()));
                }
                TrustStore::empty().with_pem_certificate(pem)
            }
        };
        let context = TlsContext::builder().with_trust_store(trusted).build();
        let context =
            context.map_err(|_| StoreError::refused("the store's configuration", "TLS can't be set up"))?;
        // One provider, named here, so that none has to be installed for the process.
        let client = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
        Ok(client.tls_context(context).build_https())
    }
}

/// The secret half of an access key. Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(String);

impl<T: Into<String>> From<T> for SecretKey {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl SecretKey {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> S3Options {
        S3Options::new("http://127.0.0.1:3900", "GK0", "very secret")
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert!(!format!("{:?}", options()).contains("very"));
        assert!(!format!("{:?}", options().config().unwrap()).contains("very secret"));
    }

    #[test]
    fn options_that_cannot_be_right_are_refused_without_showing_them() {
        let endpoints =
            ["garage:3900", "http://", "http://me:pass@garage", "http://garage/?x=pass", "ftp://pass"];
        for endpoint in endpoints {
            let error = S3Options { endpoint: Some(endpoint.into()), ..options() }.config().unwrap_err();
            assert!(!error.is_retryable() && !error.to_string().contains("pass@"), "{error}");
        }
        assert!(S3Options { secret_key: "".into(), ..options() }.config().is_err());
        assert!(S3Options { region: String::new(), ..options() }.config().is_err());
    }

    #[test]
    fn a_ca_file_that_is_none_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let config = || S3Options { ca_file: Some(file.clone()), ..options() }.config();
        assert!(config().unwrap_err().to_string().contains("ca.pem"));
        std::fs::write(&file, "no certificate").unwrap();
        assert!(config().unwrap_err().to_string().contains("no certificate in PEM form"));
    }

    #[test]
    fn only_amazon_is_asked_for_its_own_checksums() {
        assert!(!options().is_aws());
        assert!(S3Options { endpoint: None, ..options() }.is_aws());
        let regional = "https://s3.eu-central-1.amazonaws.com".to_owned();
        assert!(S3Options { endpoint: Some(regional), ..options() }.is_aws());
    }
}
