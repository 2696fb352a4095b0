//! `POST /predict`: images in, the best classes of each out.

use super::access::Work;
#[cfg(feature = "docs")]
use super::docs::openapi::{File, Files, OneOrSeveral};
use super::{App, batch, off_thread, status};
use crate::error::Error;
use crate::workers::Turn;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Request, Response};
use bytes::Bytes;
use pinhole_report::{Answer, Answers, Item, cut};
#[cfg(feature = "docs")]
use pinhole_request::Picture;
use pinhole_request::{Contents, Kind, Parameters, Refused, Upload, Wanted};
use std::sync::Arc;
use std::time::Instant;

/// Looking for boundaries is so many times faster than reading JSON.
const FASTER: usize = 16;

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
        (Picture<'static> = "application/json"),
    )),
    responses((status = 200, description = "The answer to one image, or one for each of several", body = OneOrSeveral)),
))]
pub async fn predict(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response<Body>, Error> {
    let start = Instant::now();
    let limit = app.limits().batch;
    let refused = move |refused| refusal(refused, limit);
    let asked = Parameters::of_query(request.uri().query()).map_err(refused)?;
    asked.wanted().map_err(refused)?;
    let types = request.headers().get_all(CONTENT_TYPE).iter();
    let kind = Kind::of(types.map(HeaderValue::as_bytes)).map_err(refused)?;
    let held = app.read(request).await?;
    let mut work = Work {
        bytes: held.bytes.len(),
        ..Work::default()
    };
    let effort = match kind {
        Kind::Raw => 0,
        Kind::Form { .. } => work.bytes / FASTER,
        Kind::Json => work.bytes,
    };
    let body = held.bytes.clone();
    let read = move || kind.read(body, limit).map_err(refused);
    let Contents {
        mut uploads,
        parameters,
    } = off_thread(effort, read).await?;
    let wanted = asked
        .and(parameters)
        .and_then(Parameters::wanted)
        .map_err(refused)?;
    let mut response = match uploads.as_mut_slice() {
        [one] => {
            let image = std::mem::take(&mut one.image);
            let turn = app.workers().turn(0, Instant::now());
            let answer = classify(&app, (image, turn), wanted, start, &mut work).await?;
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
    let begun = Instant::now();
    let ask = |rank, upload: Upload| async move {
        let mut work = Work::default();
        let turn = app.workers().turn(rank, begun);
        let start = Instant::now();
        let answer = classify(app, (upload.image, turn), wanted, start, &mut work).await;
        (upload.name, answer, work)
    };
    let workers = app.workers().admission().workers;
    let mut answers = Vec::with_capacity(uploads.len());
    for (file, outcome, own) in batch::each(workers, uploads, ask).await {
        work.merge(&own);
        let file = file.map(|name| cut(&name).into_owned());
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
    (image, turn): (Bytes, Turn),
    wanted: Wanted,
    start: Instant,
    work: &mut Work,
) -> Result<Answer, Error> {
    let served = app.classify(image, wanted.top_k, turn).await?;
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

/// A request that holds no pictures, or too many.
fn refusal(refused: Refused, limit: usize) -> Error {
    match refused {
        Refused::Malformed(sentence) => Error::BadRequest(sentence),
        Refused::Unsupported(kind) => Error::UnsupportedBody(kind),
        Refused::TooMany => Error::TooMany { limit },
    }
}
