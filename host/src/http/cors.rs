//! Pages of other origins, which a browser lets ask only where the service agrees (the Fetch standard's CORS).

use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, Uri};
use std::time::Duration;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Any origin.
const ANY: &str = "*";

/// How long a browser need not ask again. Operators change their minds.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Headers that pages may send. Those that we do not read may be for a proxy before us.
const SENT: [HeaderName; 8] = [
    ACCEPT,
    AUTHORIZATION,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    HeaderName::from_static("inference-header-content-length"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
];

/// Headers that pages may read beside those that they always may.
const READ: [HeaderName; 3] = [
    HeaderName::from_static("inference-header-content-length"),
    RETRY_AFTER,
    HeaderName::from_static("x-request-id"),
];

/// Answers preflights, and says of every answer, refusals among them, that these origins may read it. None where there
/// are no origins: then nothing is said at all.
pub fn layer(origins: &[HeaderValue]) -> Option<CorsLayer> {
    let allowed = match origins {
        [] => return None,
        any if any.iter().any(|origin| origin == ANY) => AllowOrigin::any(),
        list => AllowOrigin::list(list.iter().cloned()),
    };
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::HEAD, Method::POST])
            .allow_headers(SENT)
            .expose_headers(READ)
            .max_age(MAX_AGE),
    )
}

/// Reads an origin as browsers send it: a scheme, a host, and a port that is not the scheme's own.
pub fn origin(text: &str) -> Result<HeaderValue, String> {
    let text = text.trim().to_ascii_lowercase();
    let wrong = || {
        "an origin is `*`, or a scheme and a host and perhaps a port, as in https://example.org"
            .to_string()
    };
    if text != ANY {
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong());
        };
        if text != format!("{scheme}://{authority}") || authority.as_str().contains(['@', '*']) {
            return Err(wrong());
        }
        if let ("http", Some(80)) | ("https", Some(443)) = (scheme, authority.port_u16()) {
            return Err("browsers leave out the port that is the scheme's own: do so, too".into());
        }
    }
    HeaderValue::from_str(&text).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_send_them() {
        for (text, read) in [
            ("*", "*"),
            ("https://example.org", "https://example.org"),
            (" HTTP://LocalHost:3000 ", "http://localhost:3000"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ] {
            assert_eq!(origin(text).unwrap(), read, "{text}");
        }
        for wrong in [
            "",
            "example.org",
            "null",
            "https://",
            "https://example.org/",
            "https://example.org/path",
            "https://user@example.org",
            "https://*.example.org",
            "https://example.org:443",
            "http://example.org:80",
            "https://a b",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
        assert!(layer(&[]).is_none());
    }
}
