//! Requests that no route hears of, or that nobody waits for any more.

use crate::common::server::Server;
use crate::common::{dist, wait};
use pinhole_report::Refusal;
use std::io::Write;

#[track_caller]
fn refused(answer: &str, status: &str, code: &str) {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{answer}"));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(head.contains("content-type: application/json"), "{answer}");
    assert!(head.contains("x-content-type-options: nosniff"), "{answer}");
    assert!(
        head.contains(&format!("content-length: {}", body.len())),
        "{answer}"
    );
    let refusal: Refusal = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    assert_eq!(refusal.code, code);
    assert!(refusal.error.ends_with('.'));
}

#[test]
fn what_is_no_request_is_refused_with_a_body() {
    let server = Server::start(&[]);
    let header = format!("x-long: {}", "a".repeat(100_000));
    let long = format!("GET /health HTTP/1.1\r\nhost: a\r\n{header}\r\n\r\n");
    refused(
        &server.client.raw(long.as_bytes()),
        "431",
        "header-too-large",
    );
    let many: String = (0..5_000)
        .map(|index| format!("x-{index}: a\r\n"))
        .collect();
    let many = format!("GET /health HTTP/1.1\r\nhost: a\r\n{many}\r\n");
    refused(
        &server.client.raw(many.as_bytes()),
        "431",
        "header-too-large",
    );
    refused(
        &server.client.raw(b"GET /a b c HTTP/1.1\r\n\r\n"),
        "400",
        "bad-request",
    );
    refused(
        &server
            .client
            .raw(b"GET / HTTP/1.1\r\nhost: a\r\na b: c\r\n\r\n"),
        "400",
        "bad-request",
    );
    // Behind a good request on the same connection, too.
    let both =
        b"GET /health HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\na b: c\r\n\r\n";
    let answers = server.client.raw(both);
    assert!(answers.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
    let second = answers.find("HTTP/1.1 400").unwrap();
    refused(&answers[second..], "400", "bad-request");
    assert_eq!(server.client.get("/health").status, 200);
}

#[test]
fn a_client_that_goes_away_leaves_a_line_and_a_count() {
    let server = Server::of(
        &dist("tests/hostile.wasm"),
        &["--workers", "1", "--deadline-ms", "60000"],
    );
    let count = || {
        let metrics = server.client.get("/metrics").body;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("pinhole_requests_abandoned_total "));
        line.and_then(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .unwrap()
    };
    assert_eq!(count(), 0.0);
    let mut client = server.client.connect();
    client
        .write_all(b"POST /predict HTTP/1.1\r\nhost: a\r\nx-request-id: gone\r\ncontent-type: image/png\r\ncontent-length: 4\r\n\r\nloop")
        .unwrap();
    wait("its image to run", 10, || {
        let metrics = server.client.get("/metrics").body;
        metrics.contains("pinhole_workers_busy 1\n").then_some(())
    });
    drop(client);
    wait("its end to be counted", 10, || {
        (count() == 1.0).then_some(())
    });
    let log = server.log();
    let line = log
        .lines()
        .find(|line| line.contains("id=\"gone\""))
        .unwrap_or_else(|| panic!("{log}"));
    assert!(
        line.contains("outcome=\"abandoned\"") && line.contains("/predict"),
        "{line}"
    );
    // The worker is free again.
    server.client.predict(b"harmless").answer();
}
