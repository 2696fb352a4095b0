//! What every request has: an id, a place in the metrics, and one line in the log. Never what is in its image.

use super::status::Outcome;
use super::{App, paths};
use crate::bindings::exports::pinhole::vision::classify::Timings;
use crate::trace;
use axum::body::Body;
use axum::extract::{MatchedPath, State};
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response};
use axum::middleware::Next;
use pinhole_report::{ECHO, TimingsMs, echo, milliseconds};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tracing::Instrument;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a request's classifications cost together, for the log.
#[derive(Clone, Default)]
pub struct Work {
    /// Length of the body.
    pub bytes: usize,
    /// How many images, or tensors.
    pub images: usize,
    /// Making the sandboxes.
    pub instantiate: Duration,
    /// The stages.
    pub timings: TimingsMs,
}

impl Work {
    /// Adds what one image cost.
    pub fn add(&mut self, timings: &Timings, queue: Duration, instantiate: Duration) {
        self.add_tensor(queue, instantiate);
        self.timings.decode += milliseconds(timings.decode);
        self.timings.preprocess += milliseconds(timings.preprocess);
        self.timings.inference += milliseconds(timings.inference);
    }

    /// Adds what other images cost.
    pub fn merge(&mut self, other: &Self) {
        self.images += other.images;
        self.instantiate += other.instantiate;
        self.timings.queue += other.timings.queue;
        self.timings.decode += other.timings.decode;
        self.timings.preprocess += other.timings.preprocess;
        self.timings.inference += other.timings.inference;
    }

    /// Adds what one tensor cost: it has no stages.
    pub fn add_tensor(&mut self, queue: Duration, instantiate: Duration) {
        self.images += 1;
        self.instantiate += instantiate;
        self.timings.queue += queue.as_secs_f64() * 1e3;
    }
}

/// Takes or makes the id, passes the request on, and writes its line.
pub async fn log(
    State(app): State<Arc<App>>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    let start = Instant::now();
    let id = request
        .headers()
        .get(REQUEST_ID)
        .filter(|id| is_id(id))
        .cloned()
        .unwrap_or_else(make_id);
    let method = request.method().clone();
    // It is the client's to choose, and may be as long as a head.
    let told = echo(method.as_str());
    // The pattern and not the path: a path is the client's to choose, and would fill the log with it.
    let route = request.extensions().get::<MatchedPath>().map_or_else(
        || "none".to_string(),
        |path| paths::as_written(path.as_str()),
    );
    let span = trace::request(id.to_str().unwrap_or_default(), known(&method), &route);
    trace::take_parent(&span, request.headers());
    let waiting = Waiting {
        app: &app,
        id: &id,
        route: &route,
        start,
    };
    let mut response = next.run(request).instrument(span.clone()).await;
    // Answered: from here on nothing waits.
    std::mem::forget(waiting);
    response.headers_mut().insert(REQUEST_ID, id.clone());
    // What a client sent may stand in an answer: no browser shall take it for a page.
    let nosniff = HeaderValue::from_static("nosniff");
    response
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, nosniff);

    let id = id.to_str().unwrap_or_default();
    let status = response.status().as_u16();
    let refused = response.extensions().get::<Outcome>();
    let outcome = refused.map_or("ok", |outcome| outcome.code);
    if let Some(limit) = refused.and_then(|outcome| outcome.limit) {
        app.metrics().limit(limit);
    }
    trace::answered(&span, status, refused.map(|outcome| outcome.code));
    let total = start.elapsed();
    app.metrics().request(&route, known(&method), status, total);
    let total_ms = total.as_secs_f64() * 1e3;
    match response.extensions().get::<Work>() {
        Some(work) => tracing::info!(
            id, method = %told, route, status, outcome, bytes = work.bytes, images = work.images,
            queue_ms = work.timings.queue,
            instantiate_ms = work.instantiate.as_secs_f64() * 1e3,
            decode_ms = work.timings.decode,
            preprocess_ms = work.timings.preprocess,
            inference_ms = work.timings.inference,
            total_ms,
            "request"
        ),
        // Probes come every second and say nothing.
        None if status == 200 => {
            tracing::debug!(id, method = %told, route, status, outcome, total_ms, "request")
        }
        None => tracing::info!(id, method = %told, route, status, outcome, total_ms, "request"),
    }
    response
}

/// A request that has no answer yet. Its future is dropped when its client goes away, and this with it.
struct Waiting<'a> {
    app: &'a App,
    id: &'a HeaderValue,
    route: &'a str,
    start: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.app.gone.fetch_add(1, Ordering::Relaxed);
        let total_ms = self.start.elapsed().as_secs_f64() * 1e3;
        tracing::info!(
            id = self.id.to_str().unwrap_or_default(),
            route = self.route,
            outcome = "abandoned",
            total_ms,
            "the client went away before it was answered"
        );
    }
}

/// A method is the client's to choose, too: in a metric's label, any but these would be a series of its own.
fn known(method: &Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
        _ => "other",
    }
}

/// An id that is taken over must be short and printable: it goes into the log.
fn is_id(id: &HeaderValue) -> bool {
    (1..=ECHO).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// 16 hexadecimal digits: a counter, scattered by a key of this process.
fn make_id() -> HeaderValue {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = KEY.hash_one(NEXT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::from_str(&format!("{id:016x}")).expect("hexadecimal digits are a header's value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_printable() {
        assert!(is_id(&HeaderValue::from_static("abc-123")));
        assert!(!is_id(&HeaderValue::from_static("")));
        assert!(!is_id(&HeaderValue::from_static("two words")));
        assert!(!is_id(&HeaderValue::from_bytes(&[b'x'; ECHO + 1]).unwrap()));
        assert_ne!(make_id(), make_id());
        assert!(is_id(&make_id()));
    }
}
