//! Refusals of hyper's own: what is no HTTP, and heads that are too long, never become requests that a route could answer. hyper
//! says only a status then, and has no place to say more at; here they get a body, as every other refusal has.

use hyper::StatusCode;
use pinhole_report::Refusal;

/// The whole answer in the place of these bytes, where they are a refusal of hyper's own: a head alone, for a failed request, and
/// without the id that all answers of routes have.
pub fn with_body(bytes: &[u8]) -> Option<Vec<u8>> {
    // Looked at first: whatever else is written goes through here, too.
    let rest = bytes.strip_prefix(b"HTTP/1.1 4")?;
    let (head, rest) = (
        std::str::from_utf8(bytes).ok()?,
        std::str::from_utf8(rest).ok()?,
    );
    let is_whole = head.ends_with("\r\n\r\n") && head.matches("\r\n\r\n").count() == 1;
    if !is_whole || rest.contains("x-request-id") {
        return None;
    }
    let status = StatusCode::from_bytes(&bytes[9..12]).ok()?;
    let (code, sentence) = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
            "header-too-large",
            "The request's head is longer than the service reads: send fewer or shorter headers.",
        ),
        StatusCode::URI_TOO_LONG => (
            "uri-too-long",
            "The request's target is longer than the service reads.",
        ),
        _ => ("bad-request", "This is not an HTTP/1.1 request."),
    };
    let refusal = Refusal {
        error: sentence.into(),
        code: code.into(),
    };
    let body = serde_json::to_string(&refusal).ok()?;
    let date = rest
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("date:"))
        .map(|line| format!("{line}\r\n"))
        .unwrap_or_default();
    let reason = status.canonical_reason().unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\nx-content-type-options: nosniff\r\nconnection: close\r\ncontent-length: {}\r\n{date}\r\n{body}",
        status.as_u16(),
        body.len(),
    );
    Some(answer.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_no_body_gets_one() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: Fri, 27 Nov 2026 06:00:00 GMT\r\n\r\n";
        let whole = String::from_utf8(with_body(bare).unwrap()).unwrap();
        let (head, body) = whole.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
        assert!(head.ends_with("date: Fri, 27 Nov 2026 06:00:00 GMT"));
        let refusal: Refusal = serde_json::from_str(body).unwrap();
        assert_eq!(refusal.code, "header-too-large");

        for other in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\nx-request-id: 1\r\ncontent-length: 2\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.1 400",
            b"{\"error\":\"HTTP/1.1 431\"}",
            b"\xff\xd8\xff",
            b"",
        ] {
            assert_eq!(with_body(other), None, "{}", other.escape_ascii());
        }
    }
}
