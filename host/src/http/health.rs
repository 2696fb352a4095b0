//! Whether the service lives, and whether requests should come to it.

use super::{App, status};
use crate::error::Error;
use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// Ready: the self-test has passed, and the service is not draining.
pub async fn ready(State(app): State<Arc<App>>) -> Result<Response<Body>, Error> {
    if app.is_ready() {
        Ok(status::ok(&Health { status: "ok" }))
    } else {
        Err(Error::NotReady)
    }
}

/// Alive: whoever reads this is.
pub async fn live() -> Response<Body> {
    status::ok(&Health { status: "ok" })
}
