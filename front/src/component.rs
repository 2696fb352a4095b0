//! `wasi:http` on one side, `pinhole:vision` on the other.

use crate::bindings::pinhole::vision::classify::{self, ClassifyError};
use crate::error::{Error, Kind};
use crate::routes::{Classified, Classifier, Request, Response, answer};
use pinhole_report::{ECHO, Model, Prediction};
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

const REQUEST_ID: &str = "x-request-id";

struct Component;

wasip2::http::proxy::export!(Component);

impl Guest for Component {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let mut request = Incoming::of(request);
        let id = request.header(REQUEST_ID).into_iter().next();
        let id = id.filter(|id| is_id(id));
        let response = answer(&mut request, &Imported);
        let is_head = request.method == "HEAD";
        // A client that has gone reads nothing, and there is nobody else to tell.
        let _ = send(out, &response, &id.unwrap_or_else(make_id), is_head);
    }
}

/// A request as the engine hands it over.
struct Incoming {
    request: IncomingRequest,
    method: String,
    target: String,
}

impl Incoming {
    fn of(request: IncomingRequest) -> Self {
        let method = match request.method() {
            Method::Get => "GET".into(),
            Method::Head => "HEAD".into(),
            Method::Post => "POST".into(),
            // Nothing here takes another one.
            _ => String::new(),
        };
        let target = request.path_with_query().unwrap_or_default();
        Self {
            request,
            method,
            target,
        }
    }
}

impl Request for Incoming {
    fn method(&self) -> &str {
        &self.method
    }

    fn target(&self) -> &str {
        &self.target
    }

    fn header(&self, name: &str) -> Vec<Vec<u8>> {
        self.request.headers().get(name)
    }

    fn body(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let declared: Option<usize> = self
            .header("content-length")
            .first()
            .and_then(|length| str::from_utf8(length).ok()?.parse().ok());
        // Refused before a byte of it is read.
        if declared.is_some_and(|length| length > limit) {
            return Err(Error::BodyTooLarge);
        }
        let body = self.request.consume().map_err(|()| Error::BrokenBody)?;
        let stream = body.stream().map_err(|()| Error::BrokenBody)?;
        let mut bytes = Vec::with_capacity(declared.unwrap_or(0));
        stream
            .take(limit as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|_| Error::BrokenBody)?;
        if bytes.len() > limit {
            return Err(Error::BodyTooLarge);
        }
        Ok(bytes)
    }
}

/// The guest that this is composed with.
struct Imported;

impl Classifier for Imported {
    fn model(&self) -> Option<Model> {
        let classify::ModelInfo { name, version, .. } = classify::describe()?;
        Some(Model { name, version })
    }

    fn classify(&self, image: &[u8], top_k: u32) -> Result<Classified, Error> {
        let answer = classify::classify(image, top_k)?;
        let predictions = answer
            .predictions
            .into_iter()
            .map(|prediction| Prediction {
                class_id: prediction.class_id,
                label: prediction.label,
                probability: prediction.probability,
            })
            .collect();
        let timings = answer.timings;
        Ok(Classified {
            predictions,
            complete: answer.complete,
            nanoseconds: [timings.decode, timings.preprocess, timings.inference],
        })
    }
}

impl From<ClassifyError> for Error {
    fn from(error: ClassifyError) -> Self {
        let (kind, sentence) = match error {
            ClassifyError::UnsupportedFormat(sentence) => (Kind::UnsupportedFormat, sentence),
            ClassifyError::InvalidImage(sentence) => (Kind::InvalidImage, sentence),
            ClassifyError::ImageTooLarge(sentence) => (Kind::ImageTooLarge, sentence),
            ClassifyError::InvalidArgument(sentence) => (Kind::InvalidArgument, sentence),
            ClassifyError::Inference(sentence) => (Kind::Inference, sentence),
        };
        Self::Guest(kind, sentence)
    }
}

/// None where the engine takes no more of it: the client has gone.
fn send(out: ResponseOutparam, response: &Response, id: &[u8], is_head: bool) -> Option<()> {
    let length = response.body.len().to_string();
    let mut headers = vec![
        ("content-type".to_string(), b"application/json".to_vec()),
        ("x-content-type-options".into(), b"nosniff".to_vec()),
        ("content-length".to_string(), length.into_bytes()),
        (REQUEST_ID.to_string(), id.to_vec()),
    ];
    if let Some(methods) = response.allow {
        headers.push(("allow".into(), methods.into()));
    }
    if response.status == 503 {
        headers.push(("retry-after".into(), b"1".to_vec()));
    }
    let outgoing = OutgoingResponse::new(Fields::from_list(&headers).ok()?);
    outgoing.set_status_code(response.status).ok()?;
    let body = outgoing.body().ok()?;
    ResponseOutparam::set(out, Ok(outgoing));
    if !is_head {
        let mut stream = body.write().ok()?;
        stream.write_all(&response.body).ok()?;
        stream.blocking_flush().ok()?;
    }
    OutgoingBody::finish(body, None).ok()
}

/// An id that is taken over must be short and printable: it goes into other people's logs.
fn is_id(id: &[u8]) -> bool {
    (1..=ECHO).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// 16 hexadecimal digits: a counter, scattered by a key of this instance.
fn make_id() -> Vec<u8> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = RandomState::new().hash_one(NEXT.fetch_add(1, Ordering::Relaxed));
    format!("{id:016x}").into_bytes()
}
