//! `POST /predict`: images in, the best classes of each out.

mod upload;

use super::access::Work;
#[cfg(feature = "docs")]
use super::docs::openapi::{File, Files, OneOrSeveral};
use super::{App, batch, status};
use crate::error::Error;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{Request, Response, Uri};
use bytes::Bytes;
use pinhole_report::{Answer, Answers, Item};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Instant;
use upload::{Form, Upload};

/// How many classes are answered when nobody says.
const TOP_K: u32 = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "docs", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
struct Parameters {
    /// How many classes are answered, where the model has as many [default: 5]
    #[cfg_attr(feature = "docs", param(minimum = 1, nullable = false))]
    top_k: Option<u32>,
    /// Less probable classes are left out [default: 0]
    #[cfg_attr(
        feature = "docs",
        param(minimum = 0.0, maximum = 1.0, nullable = false)
    )]
    min_probability: Option<f32>,
}

/// What is wanted of each image.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    top_k: u32,
    min_probability: f32,
}

/// Classifies images.
///
/// Answers one image with its answer, and several with one for each: one that is refused does not spoil the others.
#[cfg_attr(feature = "docs", utoipa::path(
    post, path = "/predict", tag = "classify", params(Parameters),
    request_body(content(
        (Files = "multipart/form-data"),
        (File = "image/jpeg"),
        (File = "image/png"),
        (File = "image/webp"),
        (File = "image/gif"),
        (File = "image/bmp"),
        (File = "application/octet-stream"),
        (upload::Picture = "application/json"),
    )),
    responses((status = 200, description = "The answer to one image, or one for each of several", body = OneOrSeveral)),
))]
pub async fn predict(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response<Body>, Error> {
    let start = Instant::now();
    let wanted = Wanted::of(request.uri())?;
    let form = Form::of(request.headers())?;
    let held = app.read(request).await?;
    let mut work = Work {
        bytes: held.bytes.len(),
        ..Work::default()
    };
    let mut uploads = form.read(held.bytes.clone(), app.limits().batch).await?;
    let mut response = match uploads.as_mut_slice() {
        [one] => {
            let image = std::mem::take(&mut one.image);
            let answer = classify(&app, image, wanted, start, &mut work).await?;
            status::ok(&answer)
        }
        _ => several(&app, uploads, wanted, &mut work).await,
    };
    drop(held);
    response.extensions_mut().insert(work);
    Ok(response)
}

async fn several(
    app: &App,
    uploads: Vec<Upload>,
    wanted: Wanted,
    work: &mut Work,
) -> Response<Body> {
    let ask = |upload: Upload| async move {
        let mut work = Work::default();
        let answer = classify(app, upload.image, wanted, Instant::now(), &mut work).await;
        (upload.name, answer, work)
    };
    let workers = app.workers().admission().workers;
    let mut answers = Vec::with_capacity(uploads.len());
    for (file, outcome, own) in batch::each(workers, uploads, ask).await {
        work.merge(&own);
        answers.push(match outcome {
            Ok(answer) => Item::Answered { file, answer },
            Err(error) => {
                app.metrics().refused(&error);
                let (status, refusal) = status::describe(&error);
                Item::Refused {
                    file,
                    status,
                    refusal,
                }
            }
        });
    }
    status::ok(&Answers { answers })
}

async fn classify(
    app: &App,
    image: Bytes,
    wanted: Wanted,
    start: Instant,
    work: &mut Work,
) -> Result<Answer, Error> {
    let served = app.classify(image, wanted.top_k).await?;
    work.add(
        &served.answered.output.timings,
        served.queue,
        served.answered.instantiate,
    );
    let model = app.workers().model();
    let mut answer = served.answered.report(model, served.queue, start.elapsed());
    answer
        .predictions
        .retain(|prediction| prediction.probability >= wanted.min_probability);
    Ok(answer)
}

impl Wanted {
    fn of(uri: &Uri) -> Result<Self, Error> {
        let Query(parameters) = Query::<Parameters>::try_from_uri(uri).map_err(|error| {
            Error::BadRequest(format!(
                "The query is wrong: {}.",
                std::error::Error::source(&error)
                    .map_or_else(|| error.to_string(), ToString::to_string)
            ))
        })?;
        let top_k = parameters.top_k.unwrap_or(TOP_K);
        if top_k == 0 {
            return Err(Error::BadRequest(
                "top_k is 0: ask for at least one class.".into(),
            ));
        }
        let min_probability = parameters.min_probability.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&min_probability) {
            return Err(Error::BadRequest(
                "min_probability is not from 0 to 1.".into(),
            ));
        }
        Ok(Self {
            top_k,
            min_probability,
        })
    }
}
