//! What every request's head must have.

use super::refuse;
use crate::error::Error;
use axum::body::Body;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Request, Response, Version};
use axum::middleware::Next;

/// Passes requests on that say for whom they are, as RFC 9112 asks: a proxy before us may have taken a request with two hosts for
/// another one's.
pub async fn check(request: Request<Body>, next: Next) -> Response<Body> {
    match host(request.version(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => refuse(request.uri(), error),
    }
}

fn host(version: Version, headers: &HeaderMap) -> Result<(), Error> {
    let mut hosts = headers.get_all(HOST).iter();
    let wrong = |sentence: &str| Err(Error::BadRequest(sentence.into()));
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => wrong("The request has more than one Host header."),
        // HTTP/1.0 knows none.
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (None, _) => wrong("The request has no Host header, which HTTP/1.1 asks for."),
        (Some(host), None) => {
            if host.to_str().is_ok_and(names_a_host) {
                Ok(())
            } else {
                wrong("The request's Host header names no host.")
            }
        }
    }
}

/// Whether a header's value is a host, and perhaps a port, and nothing else. An empty one is what a request for a URL without a host
/// has.
fn names_a_host(value: &str) -> bool {
    let Ok(authority) = value.parse::<Authority>() else {
        return value.is_empty();
    };
    let port = value.strip_prefix(authority.host()).unwrap_or(value);
    let is_port = port
        .strip_prefix(':')
        .is_none_or(|port| port.bytes().all(|digit| digit.is_ascii_digit()));
    // Sub-delimiters are allowed in names, and no name that anybody resolves has one; a user's name does not belong here.
    !value.contains(['@', ',']) && is_port && (port.is_empty() || port.starts_with(':'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn one_host_is_asked_for() {
        let asked = |version, hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for name in hosts {
                headers.append(HOST, HeaderValue::from_static(name));
            }
            host(version, &headers).is_ok()
        };
        for good in [
            "localhost",
            "localhost:8000",
            "127.0.0.1",
            "[::1]:80",
            "a.example",
            "",
        ] {
            assert!(asked(Version::HTTP_11, &[good]), "{good}");
        }
        for bad in ["a b", "user@a", "a/b", "a,b", "http://a", "a:port"] {
            assert!(!asked(Version::HTTP_11, &[bad]), "{bad}");
        }
        assert!(!asked(Version::HTTP_11, &[]));
        assert!(asked(Version::HTTP_10, &[]));
        assert!(!asked(Version::HTTP_11, &["a", "a"]));
        assert!(!asked(Version::HTTP_10, &["a", "b"]));
    }
}
