//! Traces: which job followed from which, across processes.
//!
//! A letter carries its trace in the headers `traceparent` and `tracestate` (W3C Trace Context,
//! <https://www.w3.org/TR/trace-context/>). Each attempt at a job is a span of that trace, and what it publishes carries the
//! same trace, with this span as its parent. A letter without a trace, or with one that makes no sense, begins one: so do the
//! first jobs of chunks. Log lines about a job carry its run, its id, trace and span. Stages know nothing of all this.
//!
//! Where it is configured, spans are told to an OpenTelemetry collector, in batches, by a thread of their own. A collector that
//! isn't there costs spans and some lines in the log, never a job.

mod collector;

use std::collections::BTreeMap;

use modiolus_broker::Letter;
use modiolus_pipeline::{JobId, Scope, StageName};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::field::{Empty, display};

/// The longest header that is read as part of a trace, in bytes: all systems have to pass on as much of `tracestate`.
const LONGEST_HEADER: usize = 512;

/// Where the spans of a process come from. Clones share it.
#[derive(Debug, Clone)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// Traces that are passed on and told to nobody.
impl Default for Traces {
    fn default() -> Self {
        Self::from(SdkTracerProvider::default())
    }
}

impl From<SdkTracerProvider> for Traces {
    fn from(provider: SdkTracerProvider) -> Self {
        Self { tracer: provider.tracer("modiolus"), provider }
    }
}

/// One attempt at a job: a span of its trace, which ends with the value, and the mark of its log lines.
pub(crate) struct Attempt {
    context: Context,
    /// What log lines of this attempt say of it.
    pub(crate) log: tracing::Span,
}

impl Traces {
    /// Begins an attempt at what a letter asks for.
    pub(crate) fn begin(&self, stage: StageName, letter: &Letter) -> Attempt {
        let span = self.tracer.span_builder(stage.as_str()).with_kind(SpanKind::Consumer);
        let span = span.with_attributes([KeyValue::new("modiolus.stage", stage.as_str())]);
        let context = Context::new().with_span(span.start_with_context(&self.tracer, &parent(letter)));
        let ids = context.span().span_context().clone();
        // As serious as an error can be: whoever sees any line sees whose it is.
        let log = tracing::error_span!(
            "job", %stage, run = Empty, job = Empty, attempt = Empty,
            trace_id = %ids.trace_id(), span_id = %ids.span_id()
        );
        Attempt { context, log }
    }
}

impl Attempt {
    /// Says which attempt at which job this is.
    pub(crate) fn is_at(&self, scope: &Scope, job: &JobId, attempt: u32) {
        self.log.record("run", display(&scope.run)).record("job", display(job)).record("attempt", attempt);
        self.context.span().set_attributes([
            KeyValue::new("modiolus.run", scope.run.to_string()),
            KeyValue::new("modiolus.chunk", i64::from(scope.chunk)),
            KeyValue::new("modiolus.job", job.to_string()),
            KeyValue::new("modiolus.attempt", i64::from(attempt)),
        ]);
    }

    /// Says with which error it ended.
    pub(crate) fn failed(&self, code: &'static str) {
        self.context.span().set_attribute(KeyValue::new("error.type", code));
        self.context.span().set_status(Status::error(code));
    }

    /// The letter as one that follows from this attempt.
    pub(crate) fn followed_by(&self, mut letter: Letter) -> Letter {
        TraceContextPropagator::new().inject_context(&self.context, &mut Headers(&mut letter.headers));
        letter
    }
}

/// The trace that a letter belongs to, as 32 hexadecimal digits; zeros where it belongs to none.
pub(crate) fn trace_id(letter: &Letter) -> String {
    parent(letter).span().span_context().trace_id().to_string()
}

/// Whose follower a letter is; empty where it doesn't say.
fn parent(letter: &Letter) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(&letter.headers))
}

/// A letter's headers, as OpenTelemetry reads and writes them.
struct Headers<T>(T);

impl Extractor for Headers<&BTreeMap<String, String>> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| value.len() <= LONGEST_HEADER)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

impl Injector for Headers<&mut BTreeMap<String, String>> {
    fn set(&mut self, name: &str, value: String) {
        // An empty `tracestate` says no more than none.
        if !value.is_empty() {
            self.0.insert(name.into(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::SpanContext;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn followers(letter: &Letter) -> SpanContext {
        let follower = Traces::default().begin(StageName::Filter, letter).followed_by(Letter::new("next"));
        parent(&follower).span().span_context().clone()
    }

    #[test]
    fn a_follower_has_the_trace_and_a_parent_of_its_own() {
        let letter = Letter::new("job").with("traceparent", format!("00-{TRACE}-{SPAN}-01"));
        let letter = letter.with("tracestate", "vendor=opaque").with("code", "store-unavailable");
        let (one, two) = (followers(&letter), followers(&letter));
        for follower in [&one, &two] {
            assert_eq!(follower.trace_id().to_string(), TRACE);
            assert_eq!(follower.trace_state().header(), "vendor=opaque");
            assert!(follower.is_sampled() && follower.span_id().to_string() != SPAN);
        }
        assert_ne!(one.span_id(), two.span_id(), "another attempt is another span");
        let follower = Traces::default().begin(StageName::Filter, &letter).followed_by(Letter::new("next"));
        assert_eq!(follower.headers.keys().collect::<Vec<_>>(), ["traceparent", "tracestate"]);
    }

    #[test]
    fn what_was_not_to_be_recorded_stays_so() {
        let letter = Letter::new("job").with("traceparent", format!("00-{TRACE}-{SPAN}-00"));
        let follower = followers(&letter);
        assert!(follower.trace_id().to_string() == TRACE && !follower.is_sampled());
    }

    #[test]
    fn a_letter_without_a_trace_that_makes_sense_begins_one() {
        let zeros = format!("00-{}-{SPAN}-01", "0".repeat(32));
        let long = format!("01-{TRACE}-{SPAN}-01-{}", "x".repeat(LONGEST_HEADER));
        for header in ["", "nonsense", &format!("00-{TRACE}-01"), &zeros, &long] {
            let letter = Letter::new("job").with("traceparent", header).with("tracestate", "vendor=opaque");
            assert_eq!(trace_id(&letter), "0".repeat(32), "{header}");
            let follower = followers(&letter);
            assert!(follower.is_valid() && follower.trace_id().to_string() != TRACE, "{header}");
            assert_eq!(follower.trace_state().header(), "", "{header}");
        }
        assert!(followers(&Letter::new("job")).is_valid());
    }
}
