//! What Triton's tools ask before they infer, and of which the protocol knows nothing: the model's configuration, what was
//! counted, what models there are. All of it can only be read.

use super::super::App;
use super::super::status::{self, Refused};
use super::{Known, OUTPUT};
use crate::bindings::exports::pinhole::vision::classify::{ElementType, Layout};
use crate::error::Error;
use crate::metrics::statistics::Statistics;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use pinhole_request::json;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The model as Triton's own configuration would have it.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = ModelConfig))]
pub struct Config<'a> {
    name: &'a str,
    platform: &'static str,
    backend: &'static str,
    version_policy: VersionPolicy,
    max_batch_size: usize,
    input: [ConfigInput<'a>; 1],
    output: [ConfigOutput; 1],
    instance_group: [InstanceGroup; 1],
    parameters: BTreeMap<&'static str, ConfigParameter<'a>>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
struct VersionPolicy {
    latest: Latest,
}

#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
struct Latest {
    num_versions: u32,
}

#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
struct ConfigInput<'a> {
    name: &'a str,
    data_type: &'static str,
    format: &'static str,
    /// Of one tensor, without the batch.
    dims: Vec<u32>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
struct ConfigOutput {
    name: &'static str,
    data_type: &'static str,
    dims: [usize; 1],
    label_filename: &'static str,
}

#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
struct InstanceGroup {
    name: &'static str,
    kind: &'static str,
    count: u32,
}

#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
struct ConfigParameter<'a> {
    string_value: &'a str,
}

/// What the model takes and gives, as Triton's tools read it.
#[cfg_attr(feature = "docs", utoipa::path(
    get, path = "/v2/models/{model}/config", tag = "v2", operation_id = "v2_config",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "The model's configuration", body = Config)),
))]
pub async fn config(_: Known, State(app): State<Arc<App>>) -> Response<Body> {
    let model = app.workers().model();
    let parameter = |string_value| ConfigParameter { string_value };
    status::ok(&Config {
        name: &model.name,
        platform: "pinhole",
        backend: "pinhole",
        version_policy: VersionPolicy {
            latest: Latest { num_versions: 1 },
        },
        max_batch_size: app.limits().batch,
        input: [ConfigInput {
            name: &model.input.name,
            data_type: match model.input.element_type {
                ElementType::Float32 => "TYPE_FP32",
                ElementType::Float16 => "TYPE_FP16",
                ElementType::Uint8 => "TYPE_UINT8",
            },
            format: match model.preprocessing.layout {
                Layout::Nchw => "FORMAT_NCHW",
                Layout::Nhwc => "FORMAT_NHWC",
            },
            dims: model.input.shape.iter().skip(1).copied().collect(),
        }],
        output: [ConfigOutput {
            name: OUTPUT,
            data_type: "TYPE_FP32",
            dims: [model.labels.len()],
            label_filename: "",
        }],
        instance_group: [InstanceGroup {
            name: "workers",
            kind: "KIND_CPU",
            count: app.workers().admission().workers,
        }],
        parameters: BTreeMap::from([
            ("engine", parameter(&model.engine)),
            ("sha256", parameter(&model.sha256)),
        ]),
    })
}

/// What was counted since the start.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
pub struct AllStatistics<'a> {
    model_stats: [ModelStatistics<'a>; 1],
}

#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
struct ModelStatistics<'a> {
    name: &'a str,
    version: &'a str,
    #[serde(flatten)]
    counted: Statistics,
    /// Each image and tensor runs alone.
    #[cfg_attr(feature = "docs", schema(value_type = Vec<serde_json::Value>, max_items = 0))]
    batch_stats: [(); 0],
    #[cfg_attr(feature = "docs", schema(value_type = Vec<serde_json::Value>, max_items = 0))]
    memory_usage: [(); 0],
}

/// What was counted of every model: there is one.
#[cfg_attr(feature = "docs", utoipa::path(
    get, path = "/v2/models/stats", tag = "v2", operation_id = "v2_all_statistics",
    responses((status = 200, description = "Counts and times", body = AllStatistics)),
))]
pub async fn all_statistics(State(app): State<Arc<App>>) -> Response<Body> {
    let model = app.workers().model();
    status::ok(&AllStatistics {
        model_stats: [ModelStatistics {
            name: &model.name,
            version: &model.version,
            counted: app.metrics().statistics(),
            batch_stats: [],
            memory_usage: [],
        }],
    })
}

/// What was counted of the model.
#[cfg_attr(feature = "docs", utoipa::path(
    get, path = "/v2/models/{model}/stats", tag = "v2", operation_id = "v2_statistics",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "Counts and times", body = AllStatistics)),
))]
pub async fn statistics(_: Known, app: State<Arc<App>>) -> Response<Body> {
    all_statistics(app).await
}

/// Which models are wanted in the index.
#[derive(Default, Deserialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = IndexRequest))]
pub struct IndexWanted {
    /// Only those that are ready.
    ready: Option<bool>,
}

/// A model in the index.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
pub struct Indexed<'a> {
    name: &'a str,
    version: &'a str,
    state: &'static str,
    reason: &'static str,
}

/// Lists the models, and whether they are ready.
#[cfg_attr(feature = "docs", utoipa::path(
    post, path = "/v2/repository/index", tag = "v2", operation_id = "v2_index",
    request_body(content((Option<IndexWanted> = "application/json"))),
    responses((status = 200, description = "The one model", body = Vec<Indexed>)),
))]
pub async fn index(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response<Body>, Refused> {
    let held = app.read(request).await?;
    let wanted: Option<IndexWanted> = if held.bytes.is_empty() {
        None
    } else {
        json::read(&held.bytes).map_err(|reason| {
            Error::BadRequest(format!("The request is not understood: {reason}."))
        })?
    };
    let only_ready = wanted.unwrap_or_default().ready.unwrap_or(false);
    let model = app.workers().model();
    let (state, reason) = if app.is_ready() {
        ("READY", "")
    } else {
        ("UNAVAILABLE", "the service is not ready")
    };
    let models = [Indexed {
        name: &model.name,
        version: &model.version,
        state,
        reason,
    }];
    let is_wanted = app.is_ready() || !only_ready;
    Ok(status::ok(&&models[..usize::from(is_wanted)]))
}

/// Refuses: the model is part of the service.
#[cfg_attr(feature = "docs", utoipa::path(
    post, path = "/v2/repository/models/{model}/load", tag = "v2", operation_id = "v2_load",
    params(("model" = String, Path, description = "The model's name")),
    responses(),
))]
pub async fn load(_: Known) -> Refused {
    Refused(Error::ReadOnly)
}

/// Refuses: the model is part of the service.
#[cfg_attr(feature = "docs", utoipa::path(
    post, path = "/v2/repository/models/{model}/unload", tag = "v2", operation_id = "v2_unload",
    params(("model" = String, Path, description = "The model's name")),
    responses(),
))]
pub async fn unload(_: Known) -> Refused {
    Refused(Error::ReadOnly)
}
