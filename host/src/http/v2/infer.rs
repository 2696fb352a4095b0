//! `POST /v2/models/{model}/infer`: tensors or encoded images in, scores or labels out.

use super::super::access::Work;
#[cfg(feature = "docs")]
use super::super::docs::openapi::File;
use super::super::status::Refused;
use super::super::{App, off_thread, scores};
use super::Known;
use super::request::{self, Wanted};
use super::response::{self, JSON_LENGTH};
use crate::error::Error;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, Response};
use std::sync::Arc;

/// Runs the model on tensors or encoded images.
///
/// Tensors come as JSON or, behind the JSON whose length the header then says, as bytes; and so does the answer, where that
/// is asked for. A length of 0 stands for no JSON at all, and a body that is one image.
#[cfg_attr(feature = "docs", utoipa::path(
    post, path = "/v2/models/{model}/infer", tag = "v2", operation_id = "v2_infer",
    params(
        ("model" = String, Path, description = "The model's name"),
        ("Inference-Header-Content-Length" = Option<u32>, Header, description = "Length of the JSON, where bytes are behind it", nullable = false),
    ),
    request_body(content((request::Body = "application/json"), (File = "application/octet-stream"))),
    responses((status = 200, description = "Scores or labels", content(
        (response::Answer = "application/json"),
        (File = "application/octet-stream"),
    ))),
))]
pub async fn infer(
    _: Known,
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response<Body>, Refused> {
    let json = json_length(request.headers())?;
    let held = app.read(request).await?;
    let bytes = held.bytes.len();
    let (shared, body) = (app.clone(), held.bytes.clone());
    let parse = move || request::parse(body, json, shared.workers().model(), shared.limits().batch);
    let request = off_thread(json.unwrap_or(bytes), parse).await?;
    let top_k = match request.wanted {
        Wanted::Labels(k) => k,
        Wanted::Scores => u32::MAX,
    };
    let scores = scores::of(&app, request.input, top_k).await?;
    drop(held);
    let mut response = response::write(
        app.workers().model(),
        request.id.as_deref(),
        scores.content,
        &scores.rows,
        request.wanted,
        request.binary,
    );
    let work = Work {
        bytes,
        ..scores.work
    };
    response.extensions_mut().insert(work);
    Ok(response)
}

fn json_length(headers: &HeaderMap) -> Result<Option<usize>, Error> {
    let Some(value) = headers.get(JSON_LENGTH) else {
        return Ok(None);
    };
    // A sign is none of a header's numbers.
    let digits = value
        .to_str()
        .ok()
        .filter(|text| text.bytes().all(|digit| digit.is_ascii_digit()));
    let length = digits.and_then(|text| text.parse().ok());
    match length {
        Some(length) => Ok(Some(length)),
        None => Err(Error::BadRequest(
            "Inference-Header-Content-Length is not a number of bytes.".into(),
        )),
    }
}
