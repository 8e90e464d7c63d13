//! An OpenTelemetry collector: takes OTLP over HTTP on a free port and keeps it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;

type Kept = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// A collector that serves until its test ends.
pub struct Collector {
    listen: SocketAddr,
    kept: Kept,
}

/// A span, and the program that told it.
pub struct Told {
    /// `service.name` of the program.
    pub program: String,
    /// The span.
    pub span: Span,
}

impl Collector {
    /// A collector that listens.
    ///
    /// # Panics
    /// When this machine has no port left.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let listen = listener.local_addr().expect("a port");
        let kept = Kept::default();
        let routes = Router::new().route("/v1/traces", post(keep)).with_state(kept.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { listen, kept }
    }

    /// Its address, as workers are told it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// All bytes that came, encoded again.
    pub fn bytes(&self) -> Vec<u8> {
        self.requests().iter().flat_map(Message::encode_to_vec).collect()
    }

    /// All spans that came.
    pub fn spans(&self) -> Vec<Told> {
        let resources = self.requests().into_iter().flat_map(|request| request.resource_spans);
        let spans = resources.flat_map(|resource| {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let program = text(&attributes, "service.name").expect("a program's name");
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.map(move |span| Told { program: program.clone(), span })
        });
        spans.collect()
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn keep(State(kept): State<Kept>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let is_protobuf = headers.get("content-type").is_some_and(|kind| kind == "application/x-protobuf");
    match ExportTraceServiceRequest::decode(body) {
        Ok(request) if is_protobuf => {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            StatusCode::OK
        }
        _ => StatusCode::BAD_REQUEST,
    }
}

/// The attribute of this name, if it is a text or a number.
pub fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match &found.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text.clone()),
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => Some(number.to_string()),
        _ => None,
    }
}
