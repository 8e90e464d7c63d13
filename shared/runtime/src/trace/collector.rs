//! The way to an OpenTelemetry collector: OTLP over HTTP, carried by ureq, which is here anyway. OpenTelemetry calls it on a
//! thread of its own, which may wait.

use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use ureq::Agent;

use super::Traces;

/// How long the collector may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the last spans may take when a process ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// The largest answer that is read, in bytes: mostly it is empty.
const LARGEST_ANSWER: u64 = 64 * 1024;

impl Traces {
    /// Traces that are told to the collector that takes them at `url`, as those of a program.
    ///
    /// # Errors
    /// When that is no URL.
    pub(crate) fn told_to(
        url: &str,
        name: &'static str,
        version: &'static str,
    ) -> Result<Self, ExporterBuildError> {
        let http = SpanExporter::builder().with_http().with_http_client(Carrier::new());
        let exporter = http.with_endpoint(url).with_timeout(PATIENCE).build()?;
        let program = Resource::builder().with_service_name(name);
        let program = program.with_attribute(KeyValue::new("service.version", version)).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(program);
        Ok(Self::from(provider.build()))
    }

    /// Tells what is not told yet, if the collector takes it soon.
    pub(crate) fn close(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FAREWELL) {
            tracing::warn!(%error, "the last traces could not be told to the OpenTelemetry collector");
        }
    }
}

#[derive(Debug)]
struct Carrier(Agent);

impl Carrier {
    fn new() -> Self {
        // No proxy: the collector is in the cluster's network.
        let agent = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None);
        Self(agent.build().new_agent())
    }
}

#[async_trait]
impl HttpClient for Carrier {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.0.run(request.map(|body| body.to_vec()))?;
        let (head, mut body) = answer.into_parts();
        let body = body.with_config().limit(LARGEST_ANSWER).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }
}
