//! Spans for an OpenTelemetry collector, over OTLP: HTTP with protobuf. Configured by the standard's own variables, and off
//! while none of them names an endpoint.

use crate::bindings::exports::pinhole::vision::classify::Classification;
use crate::workers::Served;
use anyhow::{Context, Result};
use axum::http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span as _, SpanBuilder, TracerProvider};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, Registry};

/// Either of them turns exporting on.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// What makes spans; empty while there is no collector.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Sends what was not sent yet when it is dropped.
pub struct Guard(Option<SdkTracerProvider>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.take().map(|provider| provider.shutdown()) {
            tracing::warn!("the last spans were not sent: {error}");
        }
    }
}

/// Hands spans to a collector, where one is named.
pub fn exporter() -> Result<(impl Layer<Registry>, Guard)> {
    let named = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !ENDPOINTS.into_iter().any(named) {
        return Ok((None, Guard(None)));
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .build()
        .context("Traces cannot be exported: check the OTEL_EXPORTER_OTLP variables")?;
    let mut resource = Resource::builder();
    if !named("OTEL_SERVICE_NAME") {
        resource = resource.with_service_name(env!("CARGO_BIN_NAME"));
    }
    let provider = SdkTracerProvider::builder()
        .with_resource(resource.build())
        .with_batch_exporter(exporter)
        .build();
    let tracer = TRACER.get_or_init(|| provider.tracer(env!("CARGO_BIN_NAME")));
    // Nothing but requests: the spans of libraries would say nothing about them.
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer.clone())
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_filter(tracing_subscriber::filter::filter_fn(|metadata| {
            metadata.is_span() && metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
        }));
    Ok((Some(layer), Guard(Some(provider))))
}

/// Makes the request part of the caller's trace, where its `traceparent` names one.
pub fn take_parent(span: &Span, headers: &HeaderMap) {
    if TRACER.get().is_some() {
        let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        // It fails only for a span that nobody records.
        let _ = span.set_parent(parent);
    }
}

/// Puts a span for each stage of a classification below the request's. They are made afterwards, from what was measured.
pub fn classified(start: SystemTime, served: &Served<Classification>) {
    let Some(tracer) = TRACER.get() else { return };
    let parent = Span::current().context();
    let timings = &served.answered.output.timings;
    let mut start = start;
    for (stage, length) in [
        ("queue", served.queue),
        ("instantiate", served.answered.instantiate),
        ("decode", Duration::from_nanos(timings.decode)),
        ("preprocess", Duration::from_nanos(timings.preprocess)),
        ("inference", Duration::from_nanos(timings.inference)),
    ] {
        let end = start + length;
        SpanBuilder::from_name(stage)
            .with_start_time(start)
            .start_with_context(tracer, &parent)
            .end_with_timestamp(end);
        start = end;
    }
}
