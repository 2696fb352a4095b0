//! The Open Inference Protocol, version 2, over REST: what the clients of Triton, KServe and OpenVINO's server speak.
//!
//! `metadata` says what is here, `triton` what only Triton's tools ask, `infer` answers; `request` and `response` are its
//! two sides, `binary` and JSON the two forms that tensors come in. Refusals have the protocol's own shape, which `status::Refused` is.

mod binary;
pub mod infer;
pub mod metadata;
mod request;
mod response;
pub mod triton;

use super::status::Refused;
use super::{App, Route};
use crate::bindings::exports::pinhole::vision::classify::{ElementType, ModelInfo};
use crate::error::Error;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::routing::{get, post};
use pinhole_report::echo;
use serde::Deserialize;
use std::sync::Arc;

/// The one output. The contract with the guest has no name for it.
pub const OUTPUT: &str = "scores";

/// A model's own path.
pub const MODEL: &str = "/v2/models/{model}";
/// The same, with the version that the client counts on.
pub const VERSION: &str = "/v2/models/{model}/versions/{version}";
/// A model in the repository, which cannot be changed.
const REPOSITORY: &str = "/v2/repository/models/{model}";

/// The protocol's routes. Each model route exists with and without a version.
pub fn routes() -> Vec<Route> {
    let mut routes = vec![
        ("/v2".into(), get(metadata::server)),
        ("/v2/models".into(), get(metadata::models)),
        ("/v2/models/stats".into(), get(triton::all_statistics)),
        ("/v2/repository/index".into(), post(triton::index)),
        (format!("{REPOSITORY}/load"), post(triton::load)),
        (format!("{REPOSITORY}/unload"), post(triton::unload)),
    ];
    routes.extend(health_routes());
    for model in [MODEL, VERSION] {
        routes.extend([
            (model.into(), get(metadata::model)),
            (format!("{model}/ready"), get(metadata::model_ready)),
            (format!("{model}/infer"), post(infer::infer)),
            (format!("{model}/config"), get(triton::config)),
            (format!("{model}/stats"), get(triton::statistics)),
        ]);
    }
    routes
}

/// Those that say whether the service is alive.
pub fn health_routes() -> Vec<Route> {
    vec![
        ("/v2/health/live".into(), get(metadata::live)),
        ("/v2/health/ready".into(), get(metadata::ready)),
    ]
}

/// Whether a path is the protocol's, so that refusals there look as it says.
pub fn owns(path: &str) -> bool {
    path == "/v2" || path.starts_with("/v2/")
}

/// The path names the model and version that are here.
pub struct Known;

/// What a path says.
#[derive(Deserialize)]
pub struct Names {
    /// The model.
    pub model: String,
    /// The version, where the client counts on one.
    pub version: Option<String>,
}

impl FromRequestParts<Arc<App>> for Known {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refused> {
        let Path(names) = Path::<Names>::from_request_parts(parts, app)
            .await
            .map_err(|_| Error::BadRequest("The path is not text in UTF-8.".into()))?;
        check(&names, app.workers().model())?;
        Ok(Self)
    }
}

/// Refuses other models and versions than those that are here.
pub fn check(names: &Names, here: &ModelInfo) -> Result<(), Error> {
    if names.model != here.name {
        return Err(Error::UnknownModel(format!(
            "There is no model `{}` here, only `{}`.",
            echo(&names.model),
            here.name
        )));
    }
    match &names.version {
        Some(version) if *version != here.version => Err(Error::UnknownModel(format!(
            "There is no version `{}` of `{}` here, only `{}`.",
            echo(version),
            here.name,
            here.version
        ))),
        _ => Ok(()),
    }
}

/// The protocol's word for the elements of the model's input.
fn datatype(model: &ModelInfo) -> &'static str {
    match model.input.element_type {
        ElementType::Float32 => "FP32",
        ElementType::Float16 => "FP16",
        ElementType::Uint8 => "UINT8",
    }
}
