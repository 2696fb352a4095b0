//! HTTP: routes, bodies, statuses.
//!
//! `connection` accepts and drains, `access` gives each request its id and its line in the log, `body` reads bodies
//! under limits, `predict` and `health` answer, `status` alone chooses statuses.

mod access;
mod body;
pub mod connection;
mod health;
mod predict;
mod status;

use crate::error::Error;
use crate::workers::Workers;
use axum::Router;
use axum::routing::{get, post};
use body::Budget;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
}

/// What every request can reach.
pub struct App {
    workers: Workers,
    limits: Limits,
    bodies: Budget,
    ready: AtomicBool,
}

impl App {
    /// Not ready until told so.
    pub fn new(workers: Workers, limits: Limits) -> Self {
        Self {
            workers,
            limits,
            bodies: Budget::new(limits.bodies_mib),
            ready: AtomicBool::new(false),
        }
    }

    /// The threads that classify.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Says whether new requests should come here.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

/// Every route there is.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/predict", post(predict::predict))
        .route("/health", get(health::ready))
        .route("/v2/health/ready", get(health::ready))
        .route("/v2/health/live", get(health::live))
        .fallback(|| async { Error::NotFound })
        .method_not_allowed_fallback(|| async { Error::MethodNotAllowed })
        .layer(axum::middleware::from_fn(access::log))
        .with_state(app)
}
