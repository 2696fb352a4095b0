//! HTTP: routes, bodies, statuses.
//!
//! `connection` accepts and drains, `access` gives each request its id and its line in the log, `body` reads bodies
//! under limits and `budget` counts their memory, `linger` reads on where a refusal came first, `predict`, `v1`, `v2`, `health` and `page` answer, `docs`
//! describes them, `head` refuses heads that lack what HTTP asks for, `bare` gives hyper's own refusals a body, `drain` and `places` keep clients from holding connections, `compress` packs
//! answers, `answers` counts their memory, `cors` lets other sites' pages ask, `status` alone chooses statuses.

mod access;
mod answers;
mod bare;
mod batch;
mod body;
mod budget;
mod compress;
pub mod connection;
pub mod cors;
#[cfg(feature = "docs")]
mod docs;
pub mod drain;
mod head;
mod health;
mod linger;
mod page;
mod paths;
mod places;
mod predict;
#[cfg(test)]
mod sample;
mod scores;
mod status;
mod v1;
mod v2;
mod values;

use crate::error::Error;
use crate::metrics::{Connections, Metrics};
use crate::trace;
use crate::workers::{Served, Turn, Workers};
use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONNECTION, CONTENT_ENCODING};
use axum::http::{HeaderValue, Request, Response, Uri};
use axum::middleware::{from_fn, from_fn_with_state, map_request};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use body::Held;
use budget::{Budget, Peer};
use bytes::Bytes;
use pinhole_request::{base64, header};
use places::Places;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;

/// What a request's body may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one body.
    pub body_bytes: usize,
    /// MiB of all bodies that are held at the same time.
    pub bodies_mib: u32,
    /// From its first byte to its last.
    pub body_timeout: Duration,
    /// Bytes a second, on average, after the first second. 0: any.
    pub min_body_rate: u64,
    /// Images, or tensors, that one request may hold.
    pub batch: usize,
}

/// What every request can reach.
pub struct App {
    workers: Workers,
    metrics: Metrics,
    limits: Limits,
    bodies: Budget,
    places: Arc<Places>,
    ready: AtomicBool,
    doubt: Notify,
    gone: AtomicU64,
}

impl App {
    /// Not ready until told so.
    pub fn new(workers: Workers, limits: Limits, connections: u32) -> anyhow::Result<Self> {
        Ok(Self {
            metrics: Metrics::new(&workers).context("The metrics cannot be set up")?,
            workers,
            limits,
            bodies: Budget::new(limits.bodies_mib),
            places: Arc::new(Places::new(connections)),
            ready: AtomicBool::new(false),
            doubt: Notify::new(),
            gone: AtomicU64::new(0),
        })
    }

    /// The threads that classify.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// The places for connections.
    pub fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// Says whether new requests should come here, and returns what was said before.
    pub fn set_ready(&self, ready: bool) -> bool {
        self.ready.swap(ready, Ordering::Relaxed)
    }

    /// Waits until something has failed that is not a request's fault.
    pub async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// Takes note of a failure that may be the service's own.
    fn judge<T>(&self, result: &Result<T, Error>) {
        if let Err(error) = result
            && error.is_our_own()
        {
            self.doubt.notify_one();
        }
    }

    /// Whether new requests should come here.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Reads a request's body whole.
    async fn read(&self, request: Request<Body>) -> Result<Held, Error> {
        let codings = request.headers().get_all(CONTENT_ENCODING).iter();
        if let Some(coding) = header::coding(codings.map(HeaderValue::as_bytes)) {
            return Err(Error::EncodedBody(coding));
        }
        // Known to be in vain: the body need not be kept, nor understood.
        if self.workers.is_full() {
            return Err(Error::Busy);
        }
        let peer = request.extensions().get::<Peer>().copied();
        let held = body::read(request.into_body(), &self.limits, &self.bodies, peer).await?;
        self.metrics.received(held.bytes.len());
        Ok(held)
    }

    /// Classifies an image that came in a request.
    async fn classify(&self, image: Bytes, top_k: u32, turn: Turn) -> Result<Served, Error> {
        if image.is_empty() {
            return Err(Error::BadRequest(
                "The image is empty: there are no bytes in it.".into(),
            ));
        }
        let (start, clock) = (SystemTime::now(), Instant::now());
        let result = self.workers.classify(image, top_k, turn).await;
        if let Ok(served) = &result {
            trace::classified(start, served);
        }
        self.judge(&result);
        self.metrics.classified(&result, clock.elapsed());
        result
    }

    /// Runs the model on a tensor that came in a request.
    async fn infer(&self, tensor: Vec<f32>, turn: Turn) -> Result<Served<Vec<f32>>, Error> {
        let clock = Instant::now();
        let result = self.workers.infer(tensor, turn).await;
        self.judge(&result);
        self.metrics.inferred(&result, clock.elapsed());
        result
    }
}

/// A path, and what answers there.
type Route = (String, MethodRouter<Arc<App>>);

/// Every route there is.
fn routes() -> Vec<Route> {
    let mut routes = vec![
        ("/".into(), get(v1::metadata::root)),
        ("/predict".into(), post(predict::predict)),
        ("/health".into(), get(health::ready)),
        ("/metrics".into(), get(metrics)),
    ];
    routes.extend(v1::routes());
    routes.extend(v2::routes());
    #[cfg(feature = "docs")]
    routes.extend(docs::routes());
    routes
}

/// The routes, with what every request meets on its way to one. Pages of these origins may ask, too.
pub fn router(app: Arc<App>, origins: &[HeaderValue]) -> Router {
    let router = routes()
        .into_iter()
        .fold(
            Router::new().without_v07_checks(),
            |router, (path, methods)| router.route(&paths::for_router(&path), methods),
        )
        .fallback(|uri: Uri| async move { refuse(&uri, Error::NotFound) })
        .method_not_allowed_fallback(
            |uri: Uri| async move { refuse(&uri, Error::MethodNotAllowed) },
        )
        .layer(from_fn_with_state(app.clone(), linger::read_on))
        .layer(from_fn(compress::answers))
        .layer(from_fn_with_state(app.clone(), answers::count));
    let router = match cors::layer(origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    let router = router
        .layer(from_fn(head::check))
        .layer(from_fn_with_state(app.clone(), access::log))
        .with_state(app);
    // A path is brought into the router's form before the router sees it.
    Router::new()
        .fallback_service(router)
        .layer(map_request(paths::rewrite))
}

/// What answers on the places that are kept: whether the service is alive, and what it counts. Everything else is told to come
/// back.
pub fn kept_router(app: Arc<App>) -> Router {
    let mut routes: Vec<Route> = vec![
        ("/health".into(), get(health::ready)),
        ("/metrics".into(), get(metrics)),
    ];
    routes.extend(v2::health_routes());
    routes
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| {
            router.route(&path, methods)
        })
        .fallback(|uri: Uri| async move {
            let mut response = refuse(&uri, Error::Busy);
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
            response
        })
        .layer(from_fn(head::check))
        .layer(from_fn_with_state(app.clone(), access::log))
        .with_state(app)
}

/// Everything that was counted, for Prometheus.
#[cfg_attr(feature = "docs", utoipa::path(
    get, path = "/metrics", tag = "service",
    responses((status = 200, description = "Prometheus' text format", body = String, content_type = "text/plain")),
))]
async fn metrics(State(app): State<Arc<App>>) -> Result<Response<Body>, Error> {
    let text = app
        .metrics
        .text(
            &app.workers,
            app.is_ready(),
            Connections {
                closed: app.places.closed(),
                gone: app.gone.load(Ordering::Relaxed),
                held: app.bodies.held() as u64,
            },
        )
        .map_err(Error::Metrics)?;
    Ok(status::text(
        "text/plain; version=0.0.4; charset=utf-8",
        text,
    ))
}

/// Bodies longer than this take long to understand, in bytes.
const LONG: usize = 64 << 10;

/// Parses a body of this length; off the threads that move bytes, where that takes long.
async fn off_thread<T: Send + 'static>(
    length: usize,
    parse: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    if length <= LONG {
        return parse();
    }
    // It fails only when the service ends.
    tokio::task::spawn_blocking(parse)
        .await
        .unwrap_or(Err(Error::NotReady))
}

/// A refusal in the shape that clients of this path expect.
fn refuse(uri: &Uri, error: Error) -> Response<Body> {
    if v1::owns(uri.path()) || v2::owns(uri.path()) {
        status::Refused(error).into_response()
    } else {
        error.into_response()
    }
}
