//! What is here, and whether it is ready.

use super::super::status::{self, Refused};
use super::super::{App, health};
use super::{Known, OUTPUT, datatype};
use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use serde::Serialize;
use std::sync::Arc;

/// What the service is.
#[derive(Serialize)]
struct Server {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 2],
}

/// What the model is.
#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
    versions: [&'a str; 1],
    platform: &'static str,
    inputs: [Tensor<'a>; 1],
    outputs: [Tensor<'a>; 1],
    parameters: ModelParameters<'a>,
}

/// A tensor that the model takes or gives.
#[derive(Serialize)]
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
struct ModelParameters<'a> {
    sha256: &'a str,
    engine: &'a str,
    max_batch: usize,
}

pub async fn server() -> Response<Body> {
    status::ok(&Server {
        name: "pinhole",
        version: env!("CARGO_PKG_VERSION"),
        extensions: ["binary_tensor_data", "classification"],
    })
}

pub async fn live() -> Response<Body> {
    health::live().await
}

pub async fn ready(app: State<Arc<App>>) -> Result<Response<Body>, Refused> {
    Ok(health::ready(app).await?)
}

pub async fn model_ready(_: Known, State(app): State<Arc<App>>) -> Result<Response<Body>, Refused> {
    #[derive(Serialize)]
    struct Ready<'a> {
        name: &'a str,
        ready: bool,
    }
    health::ready(State(app.clone())).await?;
    Ok(status::ok(&Ready {
        name: &app.workers().model().name,
        ready: true,
    }))
}

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
