//! A span a request: it gives lines of the log their request, and goes to an OpenTelemetry collector where one is named
//! (with the feature `otlp`).

#[cfg(not(feature = "otlp"))]
mod off;
#[cfg(feature = "otlp")]
mod otlp;

#[cfg(not(feature = "otlp"))]
pub use off::{Guard, classified, exporter, take_parent};
#[cfg(feature = "otlp")]
pub use otlp::{Guard, classified, exporter, take_parent};

use tracing::Span;
use tracing::field::Empty;

/// The span of a request, with the names of OpenTelemetry's semantic conventions.
pub fn request(id: &str, method: &str, route: &str) -> Span {
    tracing::info_span!(
        "request",
        id,
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        error.r#type = Empty,
    )
}

/// Says how the request ended: its status, and the code of its refusal.
pub fn answered(span: &Span, status: u16, refused: Option<&str>) {
    span.record("http.response.status_code", status);
    if let Some(code) = refused {
        span.record("error.type", code);
    }
}
