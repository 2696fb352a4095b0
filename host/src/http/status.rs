//! The one place where HTTP statuses are chosen.

use crate::bindings::exports::pinhole::vision::classify::ClassifyError;
use crate::error::Error;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use pinhole_report::Refusal;
use serde::Serialize;

/// When a client that met a busy service may try again, in seconds.
const RETRY_AFTER_SECONDS: &str = "1";

/// The status of each failure.
fn status(error: &Error) -> StatusCode {
    match error {
        Error::BadRequest(_)
        | Error::BrokenBody
        | Error::Guest(ClassifyError::InvalidArgument(_)) => StatusCode::BAD_REQUEST,
        Error::NotFound | Error::UnknownModel(_) => StatusCode::NOT_FOUND,
        Error::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Error::ReadOnly => StatusCode::NOT_IMPLEMENTED,
        Error::SlowBody => StatusCode::REQUEST_TIMEOUT,
        Error::BodyTooLarge { .. }
        | Error::TooMany { .. }
        | Error::MemoryLimit { .. }
        | Error::Guest(ClassifyError::ImageTooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
        Error::UnsupportedBody(_)
        | Error::EncodedBody(_)
        | Error::Guest(ClassifyError::UnsupportedFormat(_)) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Error::OneOf { error, .. } => status(error),
        Error::Guest(ClassifyError::InvalidImage(_)) => StatusCode::UNPROCESSABLE_ENTITY,
        Error::Trap(_)
        | Error::Instance(_)
        | Error::Metrics(_)
        | Error::Guest(ClassifyError::Inference(_)) => StatusCode::INTERNAL_SERVER_ERROR,
        Error::Busy
        | Error::BodiesFull
        | Error::QueueTimeout(_)
        | Error::NotReady
        | Error::Abandoned => StatusCode::SERVICE_UNAVAILABLE,
        Error::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// A success, as JSON.
pub fn ok(body: &impl Serialize) -> Response<Body> {
    json(StatusCode::OK, body)
}

/// A success that is text of this type.
pub fn text(content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_vec(body).expect("strings and numbers always have a JSON form");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Why a request failed, for the metrics and its line in the log.
#[derive(Clone, Copy)]
pub struct Outcome {
    /// The error's code.
    pub code: &'static str,
    /// The limit that was hit, if it was one.
    pub limit: Option<&'static str>,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response<Body> {
        refuse(&self, &describe(&self).1)
    }
}

/// The status and the words of a refusal, for one that is not a request's whole answer.
pub fn describe(error: &Error) -> (u16, Refusal) {
    let refusal = Refusal {
        error: error.to_string(),
        code: error.code().into(),
    };
    (status(error).as_u16(), refusal)
}

/// A refusal as the Open Inference Protocol has it.
pub struct Refused(pub Error);

/// The sentence, and nothing else.
#[derive(Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
pub struct Sentence {
    error: String,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response<Body> {
        let sentence = Sentence {
            error: self.0.to_string(),
        };
        refuse(&self.0, &sentence)
    }
}

fn refuse(error: &Error, body: &impl Serialize) -> Response<Body> {
    let status = status(error);
    let mut response = json(status, body);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    response.extensions_mut().insert(Outcome {
        code: error.code(),
        limit: error.limit(),
    });
    response
}
