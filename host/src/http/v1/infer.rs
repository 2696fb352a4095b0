//! `:predict` and `:classify`: encoded images or tensors in, scores or labels out.

use super::super::scores::{self, Scores, ranked};
use super::super::status::{self, Refused};
use super::super::{App, off_thread};
use super::Known;
use super::request::{self, Form, Request};
use crate::bindings::exports::pinhole::vision::classify::ModelInfo;
use crate::error::Error;
use axum::body::Body;
use axum::extract::State;
use axum::http::{self, Response};
use bytes::Bytes;
use serde::Serialize;
use std::sync::Arc;

/// A row of scores for each image or tensor, in order of class: `predictions` of `instances`, `outputs` of `inputs`.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = Predicted))]
pub enum Answer {
    /// Of a request by rows.
    Predictions(Vec<Vec<f32>>),
    /// Of a request by columns.
    Outputs(Vec<Vec<f32>>),
}

/// Every class of each image or tensor, best first.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = Classified))]
pub struct Classes<'a> {
    #[cfg_attr(feature = "docs", schema(value_type = Vec<Vec<Vec<serde_json::Value>>>))]
    result: Vec<Vec<(&'a str, f32)>>,
}

/// Runs the model on encoded images or tensors.
///
/// Images are `{"b64": "..."}`, alone or in a field; tensors are nested lists of numbers, in the shape of the metadata. Of
/// images the scores are probabilities, of tensors the model's own output.
#[cfg_attr(feature = "docs", utoipa::path(
    post, path = "/v1/models/{model}:predict", tag = "v1", operation_id = "v1_predict",
    params(("model" = String, Path, description = "The model's name")),
    request_body(content((request::Predict = "application/json"))),
    responses((status = 200, description = "Scores", body = Answer)),
))]
pub async fn predict(
    _: Known,
    State(app): State<Arc<App>>,
    request: http::Request<Body>,
) -> Result<Response<Body>, Refused> {
    let (form, scores) = ask(&app, request, request::predict).await?;
    let answer = match form {
        Form::Rows => Answer::Predictions(scores.rows),
        Form::Columns => Answer::Outputs(scores.rows),
    };
    let mut response = status::ok(&answer);
    response.extensions_mut().insert(scores.work);
    Ok(response)
}

/// Names the classes of encoded images or tensors, best first.
#[cfg_attr(feature = "docs", utoipa::path(
    post, path = "/v1/models/{model}:classify", tag = "v1", operation_id = "v1_classify",
    params(("model" = String, Path, description = "The model's name")),
    request_body(content((request::Classify = "application/json"))),
    responses((status = 200, description = "Labels and scores", body = Classes)),
))]
pub async fn classify(
    _: Known,
    State(app): State<Arc<App>>,
    request: http::Request<Body>,
) -> Result<Response<Body>, Refused> {
    let (_, scores) = ask(&app, request, request::classify).await?;
    let labels = &app.workers().model().labels;
    let named = |row: &Vec<f32>| {
        let classes = ranked(row).into_iter();
        classes
            .map(|class| (labels.get(class).map_or("", String::as_str), row[class]))
            .collect()
    };
    let mut response = status::ok(&Classes {
        result: scores.rows.iter().map(named).collect(),
    });
    response.extensions_mut().insert(scores.work);
    Ok(response)
}

type Parse = fn(&Bytes, &ModelInfo, usize) -> Result<Request, Error>;

async fn ask(
    app: &Arc<App>,
    request: http::Request<Body>,
    parse: Parse,
) -> Result<(Form, Scores), Error> {
    let held = app.read(request).await?;
    let bytes = held.bytes.len();
    let (shared, body) = (app.clone(), held.bytes.clone());
    let parse = move || parse(&body, shared.workers().model(), shared.limits().batch);
    let Request { input, form } = off_thread(bytes, parse).await?;
    let mut scores = scores::of(app, input, u32::MAX).await?;
    scores.work.bytes = bytes;
    Ok((form, scores))
}
