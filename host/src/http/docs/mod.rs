//! `GET /openapi.json` and `GET /docs`: what the service says about itself, for programs and for people.

pub mod openapi;

use super::answers::Shared;
use super::page::{CLOSED, guarded, hash};
use super::{Route, compress, status};
use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, VARY};
use axum::http::{HeaderMap, HeaderValue, Response};
use axum::routing::get;
use bytes::Bytes;
use std::sync::LazyLock;

const PAGE: &str = include_str!("docs.html");
const STYLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css.gz"));
const SCRIPT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js.gz"));

/// The page runs Swagger UI, starts it, and shows the pictures in its style.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src 'self' {}; style-src 'self'; img-src data:; \
         connect-src 'self'; {CLOSED}",
        hash(PAGE, "script"),
    );
    HeaderValue::from_str(&policy).expect("base64 and words are a header's value")
});

/// The document, written once.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    serde_json::to_vec(&openapi::document())
        .expect("strings and numbers always have a JSON form")
        .into()
});

/// The routes, none of which describes itself.
pub fn routes() -> Vec<Route> {
    vec![
        ("/openapi.json".into(), get(document)),
        ("/docs".into(), get(page)),
        ("/docs/swagger-ui.css".into(), get(style)),
        ("/docs/swagger-ui-bundle.js".into(), get(script)),
    ]
}

async fn document() -> Response<Body> {
    let mut response = status::text("application/json", DOCUMENT.clone());
    response.extensions_mut().insert(Shared);
    response
}

async fn page() -> Response<Body> {
    guarded("text/html; charset=utf-8", PAGE, POLICY.clone())
}

async fn style(headers: HeaderMap) -> Response<Body> {
    packed("text/css; charset=utf-8", STYLE, &headers)
}

async fn script(headers: HeaderMap) -> Response<Body> {
    packed("text/javascript; charset=utf-8", SCRIPT, &headers)
}

/// A file that lies here compressed, as the client takes it.
fn packed(content_type: &'static str, file: &'static [u8], headers: &HeaderMap) -> Response<Body> {
    let nothing = HeaderValue::from_static("default-src 'none'");
    if !compress::takes_gzip(headers) {
        return guarded(content_type, compress::unpack(file), nothing);
    }
    let mut response = guarded(content_type, file, nothing);
    response.extensions_mut().insert(Shared);
    for (name, value) in [(CONTENT_ENCODING, "gzip"), (VARY, "accept-encoding")] {
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
