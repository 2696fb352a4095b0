//! Answers with gzip, for clients that ask for it.

use axum::body::{Body, HttpBody};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, Request, Response};
use axum::middleware::Next;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;
use std::io::Write;

/// Shorter answers fit in a packet as they are, in bytes.
const SHORT: u64 = 1024;

/// Passes a request on, and compresses its answer where that is wanted and worth it.
pub async fn answers(request: Request<Body>, next: Next) -> Response<Body> {
    let wanted = takes_gzip(request.headers());
    let mut response = next.run(request).await;
    if !is_worth_it(&response) {
        return response;
    }
    response
        .headers_mut()
        .append(VARY, HeaderValue::from_static("accept-encoding"));
    if !wanted {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(whole) = body.collect().await else {
        // An answer is made in memory: there is nothing in it that could fail.
        return Response::from_parts(head, Body::empty());
    };
    let packed = gzip(&whole.to_bytes());
    head.headers.remove(CONTENT_LENGTH);
    head.headers
        .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(head, Body::from(packed))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer
        .write_all(bytes)
        .and_then(|()| packer.finish())
        .expect("writing to memory cannot fail")
}

/// What was packed, for clients that take nothing else.
#[cfg(feature = "docs")]
pub fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut unpacker = flate2::write::GzDecoder::new(Vec::new());
    unpacker
        .write_all(packed)
        .and_then(|()| unpacker.finish())
        .expect("what was packed unpacks, and writing to memory cannot fail")
}

fn is_worth_it(response: &Response<Body>) -> bool {
    let headers = response.headers();
    let is_text = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/json") || kind.starts_with("text/"));
    is_text
        && !headers.contains_key(CONTENT_ENCODING)
        && response.body().size_hint().lower() >= SHORT
}

/// Whether a client takes gzip: because it says so, or because it takes anything that it does not name.
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut anything = false;
    let encodings = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','));
    for encoding in encodings {
        let mut parts = encoding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        // A weight of 0 means "not this one".
        let taken = !parts.any(|part| {
            let weight = part.strip_prefix("q=").or(part.strip_prefix("Q="));
            weight.and_then(|weight| weight.parse().ok()) == Some(0.0)
        });
        match name.as_str() {
            "gzip" | "x-gzip" => return taken,
            "*" => anything = taken,
            _ => {}
        }
    }
    anything
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn clients_say_what_they_take() {
        let takes = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(text));
            takes_gzip(&headers)
        };
        for yes in [
            "gzip",
            "br, gzip",
            "GZIP;q=0.5",
            "*",
            "deflate, gzip;q=1.0, *;q=0.5",
            "*;q=0, gzip",
            "br\t,\tgzip\t;\tq=1",
        ] {
            assert!(takes(yes), "{yes}");
        }
        for no in [
            "",
            "identity",
            "br",
            "gzip;q=0",
            "gzip; q=0.0, br",
            "gzip;Q=0, *",
            "*;q=0",
            "gzipped",
        ] {
            assert!(!takes(no), "{no}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn what_is_packed_unpacks() {
        let text = b"scores, scores and scores".repeat(100);
        let packed = gzip(&text);
        assert!(packed.len() < text.len() / 10);
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice())
            .read_to_end(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, text);
    }
}
