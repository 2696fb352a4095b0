//! TensorFlow Serving's REST, and KServe's version 1, which is its neighbour: what `ovmsclient`, `kserve` and many a script
//! speak.
//!
//! `metadata` says what is here, `infer` answers, `request` is what it is asked. Refusals are a sentence in `error`, as in
//! version 2.

pub mod infer;
pub mod metadata;
mod request;

use super::status::Refused;
use super::{App, Route, v2};
use crate::error::Error;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::routing::{get, post};
use std::sync::Arc;

/// A model's own path.
pub const MODEL: &str = "/v1/models/{model}";
/// The same, with the version that the client counts on.
pub const VERSION: &str = "/v1/models/{model}/versions/{version}";

/// What `ovmsclient` calls the version of a client that counts on none.
const ANY_VERSION: &str = "0";

/// The protocol's routes. Each model route exists with and without a version.
pub fn routes() -> Vec<Route> {
    let mut routes = vec![("/v1/models".into(), get(metadata::models))];
    for model in [MODEL, VERSION] {
        routes.extend([
            (model.into(), get(metadata::status)),
            (format!("{model}/metadata"), get(metadata::metadata)),
            (format!("{model}:predict"), post(infer::predict)),
            (format!("{model}:classify"), post(infer::classify)),
        ]);
    }
    routes
}

/// Whether a path is the protocol's, so that refusals there look as it says.
pub fn owns(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/")
}

/// The path names the model and version that are here.
pub struct Known;

impl FromRequestParts<Arc<App>> for Known {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refused> {
        let Path(mut names) = Path::<v2::Names>::from_request_parts(parts, app)
            .await
            .map_err(|_| Error::BadRequest("The path is not text in UTF-8.".into()))?;
        names.version = names.version.filter(|version| version != ANY_VERSION);
        v2::check(&names, app.workers().model())?;
        Ok(Self)
    }
}
