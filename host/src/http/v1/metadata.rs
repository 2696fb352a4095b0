//! What is here, and whether it is ready, as TensorFlow Serving and KServe write it: each reads its own fields.

use super::super::status::{self, Refused};
use super::super::v2::OUTPUT;
use super::super::{App, health, page};
use super::Known;
use crate::bindings::exports::pinhole::vision::classify::{ElementType, ModelInfo};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT, VARY};
use axum::http::{HeaderMap, HeaderValue, Response};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The one signature of the model.
pub const SIGNATURE: &str = "serving_default";

#[derive(Serialize)]
struct Alive {
    status: &'static str,
}

/// The page, or what KServe's client wants to read there, who takes anything and does not ask for a page.
pub async fn root(headers: HeaderMap) -> Response<Body> {
    let accepts = |kind: &str| {
        let mut values = headers.get_all(ACCEPT).iter();
        values.any(|value| value.to_str().is_ok_and(|value| value.contains(kind)))
    };
    let wants_json = !accepts("text/html") && (accepts("*/*") || accepts("application/json"));
    let mut response = if wants_json {
        status::ok(&Alive { status: "alive" })
    } else {
        page::page().await
    };
    response
        .headers_mut()
        .append(VARY, HeaderValue::from_static("accept"));
    response
}

/// The names of the models that are here: one.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
pub struct Models<'a> {
    models: [&'a str; 1],
}

/// Lists the models: there is one.
#[cfg_attr(feature = "docs", utoipa::path(
    get, path = "/v1/models", tag = "v1", operation_id = "v1_models",
    responses((status = 200, description = "Names", body = Models)),
))]
pub async fn models(State(app): State<Arc<App>>) -> Response<Body> {
    status::ok(&Models {
        models: [&app.workers().model().name],
    })
}

/// Whether the model is ready. TensorFlow Serving has the list, KServe the rest.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = ModelStatus))]
pub struct Status<'a> {
    name: &'a str,
    ready: bool,
    model_version_status: [VersionStatus<'a>; 1],
}

#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
struct VersionStatus<'a> {
    version: &'a str,
    state: &'static str,
    status: Code,
}

#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = StatusCode))]
struct Code {
    error_code: &'static str,
    error_message: &'static str,
}

/// Ready: as the service is, since the model is part of it.
#[cfg_attr(feature = "docs", utoipa::path(
    get, path = "/v1/models/{model}", tag = "v1", operation_id = "v1_status",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "Send requests here", body = Status)),
))]
pub async fn status(_: Known, State(app): State<Arc<App>>) -> Result<Response<Body>, Refused> {
    health::ready(State(app.clone())).await?;
    let model = app.workers().model();
    Ok(status::ok(&Status {
        name: &model.name,
        ready: true,
        model_version_status: [VersionStatus {
            version: &model.version,
            state: "AVAILABLE",
            status: Code {
                error_code: "OK",
                error_message: "",
            },
        }],
    }))
}

/// What the model takes and gives. Some servers write these fields in snake case and some in camel case, and their clients
/// read one or the other.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = SavedModel))]
pub struct Metadata<'a> {
    model_spec: Spec<'a>,
    #[serde(rename = "modelSpec")]
    model_spec_too: Spec<'a>,
    metadata: Signatures<'a>,
}

#[derive(Clone, Copy, Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = ModelSpec))]
struct Spec<'a> {
    name: &'a str,
    signature_name: &'static str,
    version: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
struct Signatures<'a> {
    signature_def: SignatureMap<'a>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
struct SignatureMap<'a> {
    signature_def: ByName<'a>,
    #[serde(rename = "signatureDef")]
    signature_def_too: ByName<'a>,
}

#[derive(Clone, Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
struct ByName<'a> {
    serving_default: Signature<'a>,
}

#[derive(Clone, Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
struct Signature<'a> {
    inputs: BTreeMap<&'a str, Tensor>,
    outputs: BTreeMap<&'a str, Tensor>,
    method_name: &'static str,
}

#[derive(Clone, Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = SignatureTensor))]
struct Tensor {
    dtype: &'static str,
    tensor_shape: Shape,
    #[serde(rename = "tensorShape")]
    tensor_shape_too: Shape,
    name: String,
}

#[derive(Clone, Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = SignatureShape))]
struct Shape {
    dim: Vec<Dimension>,
    unknown_rank: bool,
}

#[derive(Clone, Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
struct Dimension {
    /// As text; -1: as many as the request holds.
    size: String,
    name: &'static str,
}

impl Tensor {
    /// A tensor of so many batches of these sides.
    fn new(name: &str, dtype: &'static str, sides: impl Iterator<Item = u32>) -> Self {
        let dimension = |size: String| Dimension { size, name: "" };
        let batch = std::iter::once(dimension("-1".into()));
        let dim = batch.chain(sides.map(|side| dimension(side.to_string())));
        let shape = Shape {
            dim: dim.collect(),
            unknown_rank: false,
        };
        Self {
            dtype,
            tensor_shape: shape.clone(),
            tensor_shape_too: shape,
            name: name.into(),
        }
    }
}

fn signature(model: &ModelInfo) -> Signature<'_> {
    let dtype = match model.input.element_type {
        ElementType::Float32 => "DT_FLOAT",
        ElementType::Float16 => "DT_HALF",
        ElementType::Uint8 => "DT_UINT8",
    };
    let sides = model.input.shape.iter().skip(1).copied();
    let input = Tensor::new(&model.input.name, dtype, sides);
    let classes = std::iter::once(model.labels.len() as u32);
    Signature {
        inputs: BTreeMap::from([(model.input.name.as_str(), input)]),
        outputs: BTreeMap::from([(OUTPUT, Tensor::new(OUTPUT, "DT_FLOAT", classes))]),
        method_name: "tensorflow/serving/predict",
    }
}

/// What the model takes and gives.
#[cfg_attr(feature = "docs", utoipa::path(
    get, path = "/v1/models/{model}/metadata", tag = "v1", operation_id = "v1_metadata",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "Its one signature", body = Metadata)),
))]
pub async fn metadata(_: Known, State(app): State<Arc<App>>) -> Response<Body> {
    let model = app.workers().model();
    let spec = Spec {
        name: &model.name,
        signature_name: "",
        version: &model.version,
    };
    let signatures = ByName {
        serving_default: signature(model),
    };
    status::ok(&Metadata {
        model_spec: spec,
        model_spec_too: spec,
        metadata: Signatures {
            signature_def: SignatureMap {
                signature_def: signatures.clone(),
                signature_def_too: signatures,
            },
        },
    })
}
