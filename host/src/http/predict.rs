//! `POST /predict`: an image in, the best classes out.

use super::access::Work;
use super::{App, body, status};
use crate::error::Error;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Request, Response, Uri};
use bytes::Bytes;
use http_body_util::{BodyDataStream, Full};
use multer::Multipart;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Instant;

/// How many classes are answered when nobody says.
const TOP_K: u32 = 5;

/// The form's field that holds the image.
const FIELD: &str = "image";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    top_k: Option<u32>,
}

/// Answers one image: a form's field `image`, or the body itself.
pub async fn predict(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response<Body>, Error> {
    let start = Instant::now();
    let top_k = top_k(request.uri())?;
    let form = Form::of(request.headers())?;
    let held = body::read(request.into_body(), &app.limits, &app.bodies).await?;
    let length = held.bytes.len();
    let image = match form {
        Form::Raw => held.bytes.clone(),
        Form::Multipart { boundary } => field(held.bytes.clone(), boundary).await?,
    };
    if image.is_empty() {
        return Err(Error::BadRequest(
            "The image is empty: there are no bytes in it.".into(),
        ));
    }
    let served = app.workers().classify(image, top_k).await?;
    drop(held);
    let instantiate = served.answered.instantiate;
    let answer = served
        .answered
        .report(app.workers().model(), served.queue, start.elapsed());
    let mut response = status::ok(&answer);
    response.extensions_mut().insert(Work {
        bytes: length,
        instantiate,
        timings: answer.timings_ms,
    });
    Ok(response)
}

fn top_k(uri: &Uri) -> Result<u32, Error> {
    let Query(parameters) = Query::<Parameters>::try_from_uri(uri).map_err(|error| {
        Error::BadRequest(format!(
            "The query is wrong: {}.",
            std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string)
        ))
    })?;
    match parameters.top_k {
        Some(0) => Err(Error::BadRequest(
            "top_k is 0: ask for at least one class.".into(),
        )),
        Some(top_k) => Ok(top_k),
        None => Ok(TOP_K),
    }
}

/// How the body holds the image.
enum Form {
    Raw,
    Multipart { boundary: String },
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Self, Error> {
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return Ok(Self::Raw);
        };
        let text = value
            .to_str()
            .map_err(|_| Error::BadRequest("The Content-Type is not text.".into()))?;
        let kind = text
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        match kind.as_str() {
            "multipart/form-data" => multer::parse_boundary(text)
                .map(|boundary| Self::Multipart { boundary })
                .map_err(|_| {
                    Error::BadRequest(
                        "The form has no boundary: let the client set the Content-Type.".into(),
                    )
                }),
            "application/octet-stream" => Ok(Self::Raw),
            kind if kind.starts_with("image/") => Ok(Self::Raw),
            _ => Err(Error::UnsupportedBody(kind)),
        }
    }
}

/// The bytes of the form's image. The body is in memory already, and bounded.
async fn field(body: Bytes, boundary: String) -> Result<Bytes, Error> {
    let malformed =
        |error: multer::Error| Error::BadRequest(format!("The form is malformed: {error}."));
    let mut form = Multipart::new(BodyDataStream::new(Full::new(body)), boundary);
    let mut others = Vec::new();
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        if field.name() == Some(FIELD) {
            return field.bytes().await.map_err(malformed);
        }
        others.push(format!("`{}`", field.name().unwrap_or_default()));
    }
    Err(Error::BadRequest(match others.as_slice() {
        [] => format!("The form is empty: it needs a field `{FIELD}`."),
        names => format!(
            "The form has no field `{FIELD}`, only {}.",
            names.join(", ")
        ),
    }))
}
