//! Whether requests should come here.

use super::{App, status};
use crate::error::Error;
use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use serde::Serialize;
use std::sync::Arc;

/// In a word.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
pub struct Health {
    status: &'static str,
}

/// Ready: the self-test has passed, and the service is not draining.
#[cfg_attr(feature = "docs", utoipa::path(
    get, path = "/health", tag = "service", operation_id = "health",
    responses((status = 200, description = "Send requests here", body = Health)),
))]
pub async fn ready(State(app): State<Arc<App>>) -> Result<Response<Body>, Error> {
    if app.is_ready() {
        Ok(status::ok(&Health { status: "ok" }))
    } else {
        Err(Error::NotReady)
    }
}
