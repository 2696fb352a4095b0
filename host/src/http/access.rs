//! What every request has: an id, and one line in the log. Never what is in its image.

use super::status::Outcome;
use axum::body::Body;
use axum::extract::MatchedPath;
use axum::http::{HeaderName, HeaderValue, Request, Response};
use axum::middleware::Next;
use pinhole_report::TimingsMs;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a classification cost, for the log.
#[derive(Clone)]
pub struct Work {
    /// Length of the body.
    pub bytes: usize,
    /// Making the sandbox.
    pub instantiate: Duration,
    /// The stages.
    pub timings: TimingsMs,
}

/// Takes or makes the id, passes the request on, and writes its line.
pub async fn log(request: Request<Body>, next: Next) -> Response<Body> {
    let start = Instant::now();
    let id = request
        .headers()
        .get(REQUEST_ID)
        .filter(|id| is_id(id))
        .cloned()
        .unwrap_or_else(make_id);
    let method = request.method().clone();
    // The pattern and not the path: a path is the client's to choose, and would fill the log with it.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_string(), |path| path.as_str().to_string());
    let mut response = next.run(request).await;
    response.headers_mut().insert(REQUEST_ID, id.clone());

    let id = id.to_str().unwrap_or_default();
    let status = response.status().as_u16();
    let outcome = response
        .extensions()
        .get::<Outcome>()
        .map_or("ok", |outcome| outcome.0);
    let total_ms = start.elapsed().as_secs_f64() * 1e3;
    match response.extensions().get::<Work>() {
        Some(work) => tracing::info!(
            id, %method, route, status, outcome, bytes = work.bytes,
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
            tracing::debug!(id, %method, route, status, outcome, total_ms, "request")
        }
        None => tracing::info!(id, %method, route, status, outcome, total_ms, "request"),
    }
    response
}

/// An id that is taken over must be short and printable: it goes into the log.
fn is_id(id: &HeaderValue) -> bool {
    (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
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
        assert!(!is_id(&HeaderValue::from_bytes(&[b'x'; 129]).unwrap()));
        assert_ne!(make_id(), make_id());
        assert!(is_id(&make_id()));
    }
}
