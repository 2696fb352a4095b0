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
        Error::NotFound => StatusCode::NOT_FOUND,
        Error::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Error::SlowBody => StatusCode::REQUEST_TIMEOUT,
        Error::BodyTooLarge { .. }
        | Error::MemoryLimit { .. }
        | Error::Guest(ClassifyError::ImageTooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
        Error::UnsupportedBody(_) | Error::Guest(ClassifyError::UnsupportedFormat(_)) => {
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        }
        Error::Guest(ClassifyError::InvalidImage(_)) => StatusCode::UNPROCESSABLE_ENTITY,
        Error::Trap(_) | Error::Instance(_) | Error::Guest(ClassifyError::Inference(_)) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        Error::Busy | Error::QueueTimeout(_) | Error::NotReady | Error::Abandoned => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Error::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// A success, as JSON.
pub fn ok(body: &impl Serialize) -> Response<Body> {
    json(StatusCode::OK, body)
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

/// Why a request failed, for its line in the log.
#[derive(Clone, Copy)]
pub struct Outcome(pub &'static str);

impl IntoResponse for Error {
    fn into_response(self) -> Response<Body> {
        let status = status(&self);
        let refusal = Refusal {
            error: self.to_string(),
            code: self.code().into(),
        };
        let mut response = json(status, &refusal);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response.extensions_mut().insert(Outcome(self.code()));
        response
    }
}
