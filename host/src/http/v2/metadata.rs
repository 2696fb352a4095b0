//! What is here, and whether it is ready.

use super::super::status::{self, Refused};
use super::super::{App, health, v1};
use super::{Known, OUTPUT, datatype};
use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use serde::Serialize;
use std::sync::Arc;

/// What the service is.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
pub struct Server {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 5],
}

/// What the model is.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = ModelMetadata))]
pub struct Model<'a> {
    name: &'a str,
    versions: [&'a str; 1],
    platform: &'static str,
    inputs: [Tensor<'a>; 1],
    outputs: [Tensor<'a>; 1],
    parameters: ModelParameters<'a>,
}

/// A tensor that the model takes or gives.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = TensorMetadata))]
struct Tensor<'a> {
    name: &'a str,
    datatype: &'static str,
    /// -1: as many as the request holds.
    shape: Vec<i64>,
    parameters: TensorParameters,
}

/// What the protocol has no field for.
#[derive(Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
enum TensorParameters {
    Input {
        also: &'static str,
    },
    Output {
        of_tensors: &'static str,
        of_images: &'static str,
    },
}

/// What the protocol has no field for.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
struct ModelParameters<'a> {
    sha256: &'a str,
    engine: &'a str,
    max_batch: usize,
}

/// What the service is.
#[cfg_attr(feature = "docs", utoipa::path(
    get, path = "/v2", tag = "v2", operation_id = "v2_server",
    responses((status = 200, description = "Name, version and extensions", body = Server)),
))]
pub async fn server() -> Response<Body> {
    status::ok(&Server {
        name: "pinhole",
        version: env!("CARGO_PKG_VERSION"),
        extensions: [
            "binary_tensor_data",
            "classification",
            "model_configuration",
            // Of which only the index is taken.
            "model_repository",
            "statistics",
        ],
    })
}

/// Alive: whoever reads this is.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = ServerLive))]
pub struct Live {
    live: bool,
}

/// Alive: whoever reads this is.
#[cfg_attr(feature = "docs", utoipa::path(
    get, path = "/v2/health/live", tag = "v2", operation_id = "v2_live",
    responses((status = 200, description = "The service lives", body = Live)),
))]
pub async fn live() -> Response<Body> {
    status::ok(&Live { live: true })
}

/// Ready, which is never answered with a no: that is a refusal.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = ServerReady))]
pub struct AllReady {
    ready: bool,
}

/// Ready: the self-test has passed, and the service is not draining.
#[cfg_attr(feature = "docs", utoipa::path(
    get, path = "/v2/health/ready", tag = "v2", operation_id = "v2_ready",
    responses((status = 200, description = "Send requests here", body = AllReady)),
))]
pub async fn ready(app: State<Arc<App>>) -> Result<Response<Body>, Refused> {
    health::ready(app).await?;
    Ok(status::ok(&AllReady { ready: true }))
}

/// Lists the models: there is one.
#[cfg_attr(feature = "docs", utoipa::path(
    get, path = "/v2/models", tag = "v2", operation_id = "v2_models",
    responses((status = 200, description = "Names", body = v1::metadata::Models)),
))]
pub async fn models(app: State<Arc<App>>) -> Response<Body> {
    v1::metadata::models(app).await
}

/// The same, of a model.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = ModelReady))]
pub struct Ready<'a> {
    name: &'a str,
    ready: bool,
}

/// Ready: as the service is, since the model is part of it.
#[cfg_attr(feature = "docs", utoipa::path(
    get, path = "/v2/models/{model}/ready", tag = "v2", operation_id = "v2_model_ready",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "Send requests here", body = Ready)),
))]
pub async fn model_ready(_: Known, State(app): State<Arc<App>>) -> Result<Response<Body>, Refused> {
    health::ready(State(app.clone())).await?;
    Ok(status::ok(&Ready {
        name: &app.workers().model().name,
        ready: true,
    }))
}

/// What the model is: its input, its output, the file it was made of.
#[cfg_attr(feature = "docs", utoipa::path(
    get, path = "/v2/models/{model}", tag = "v2", operation_id = "v2_model",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "Tensors and parameters", body = Model)),
))]
pub async fn model(_: Known, State(app): State<Arc<App>>) -> Response<Body> {
    let model = app.workers().model();
    let mut shape: Vec<i64> = model.input.shape.iter().copied().map(i64::from).collect();
    if let Some(batch) = shape.first_mut() {
        *batch = -1;
    }
    status::ok(&Model {
        name: &model.name,
        versions: [&model.version],
        platform: "pinhole",
        inputs: [Tensor {
            name: &model.input.name,
            datatype: datatype(model),
            shape,
            parameters: TensorParameters::Input {
                also: "encoded images, as BYTES of shape [-1]",
            },
        }],
        outputs: [Tensor {
            name: OUTPUT,
            datatype: "FP32",
            shape: vec![-1, model.labels.len() as i64],
            parameters: TensorParameters::Output {
                of_tensors: "the model's own output",
                of_images: "probabilities",
            },
        }],
        parameters: ModelParameters {
            sha256: &model.sha256,
            engine: &model.engine,
            max_batch: app.limits().batch,
        },
    })
}
