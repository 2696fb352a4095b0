//! `GET /`: one page, without anything from elsewhere, that sends pictures to `/predict` and shows the answers.

use super::answers::Shared;
use super::status;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::http::{HeaderName, HeaderValue, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const PAGE: &str = include_str!("page.html");

/// The page runs its own script and style, known by their hashes, speaks to this service, and does nothing else.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; img-src blob: data:; connect-src 'self'; {CLOSED}",
        hash(PAGE, "script"),
        hash(PAGE, "style"),
    );
    HeaderValue::from_str(&policy).expect("base64 and words are a header's value")
});

/// What no page of ours does: send forms, move its relative addresses, stand in another site's frame.
pub const CLOSED: &str = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers with the page.
pub async fn page() -> Response<Body> {
    let mut response = guarded("text/html; charset=utf-8", PAGE, POLICY.clone());
    response.extensions_mut().insert(Shared);
    response
}

/// An answer that a browser shows, under this policy and with everything else forbidden that can be.
pub fn guarded(
    content_type: &'static str,
    body: impl Into<Body>,
    policy: HeaderValue,
) -> Response<Body> {
    let mut response = status::text(content_type, body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    for (name, value) in [
        // The next version of this program has the next version of the page.
        (CACHE_CONTROL, "no-cache"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The hash of a page's one element of this name without attributes, as a policy names it.
pub fn hash(page: &str, element: &str) -> String {
    let text = text(page, element);
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

fn text<'a>(page: &'a str, element: &str) -> &'a str {
    page.split_once(&format!("<{element}>"))
        .and_then(|(_, rest)| rest.split_once(&format!("</{element}>")))
        .map_or("", |(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_knows_the_script_and_the_style() {
        for element in ["script", "style"] {
            assert!(text(PAGE, element).len() > 500, "{element}");
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1);
        }
        let policy = POLICY.to_str().unwrap();
        assert_eq!(policy.matches("'sha256-").count(), 2);
        assert!(!policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        let namespace = "http://www.w3.org/2000/svg";
        let links = PAGE.replace(namespace, "");
        assert!(!links.contains("http:") && !links.contains("https:"));
        // Neither would the policy let it run.
        assert!(!links.contains(" style=") && !links.contains(" onclick="));
    }
}
