//! Spans for an OpenTelemetry collector: one that listens here, and looks into what it is sent.

use crate::common::pictures::{jpeg, scene};
use crate::common::server::Server;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

/// The id of the caller's trace, as `traceparent` has it, and as it is sent on.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACE_BYTES: [u8; 16] = [
    0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36,
];

/// Listens, and hands on the bodies of what is posted to `/v1/traces`.
fn collector() -> (String, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            take(stream.unwrap(), &sender);
        }
    });
    (address, receiver)
}

/// Reads one request, and answers it as a collector does: after its body was handed on, so that who has sent everything finds
/// everything there.
fn take(stream: TcpStream, bodies: &Sender<Vec<u8>>) {
    let mut reader = BufReader::new(&stream);
    let mut length = 0;
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    assert!(first.starts_with("POST /v1/traces HTTP/1.1"), "{first}");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    bodies.send(body).unwrap();
    (&stream)
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .unwrap();
}

#[track_caller]
fn assert_holds(body: &[u8], what: &[u8]) {
    assert!(
        body.windows(what.len()).any(|window| window == what),
        "no {} in {}",
        String::from_utf8_lossy(what),
        String::from_utf8_lossy(body)
    );
}

#[test]
fn a_collector_gets_a_span_for_each_request_and_stage() {
    let (address, sent) = collector();
    let mut server = Server::start_with_env(
        &["--workers", "1"],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &address)],
    );
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let image = jpeg(&scene(64, 64));
    let reply = server
        .client
        .post_with("/predict", ("traceparent", &parent), &image);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let id = reply.header("x-request-id").unwrap().to_owned();
    server
        .client
        .predict(b"nonsense")
        .refusal(415, "unsupported-format");
    // What was not sent yet is on the way out.
    server.terminate();
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    let body: Vec<u8> = sent.try_iter().flatten().collect();
    for name in [
        "POST /predict",
        "queue",
        "instantiate",
        "decode",
        "preprocess",
        "inference",
    ] {
        assert_holds(&body, name.as_bytes());
    }
    assert_holds(&body, b"http.response.status_code");
    assert_holds(&body, b"unsupported-format");
    assert_holds(&body, id.as_bytes());
    assert_holds(&body, &TRACE_BYTES);
}

#[test]
fn a_collector_that_is_away_harms_nobody() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let mut server = Server::start_with_env(
        &["--workers", "1"],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &address)],
    );
    server.client.predict(&jpeg(&scene(64, 64))).answer();
    server.terminate();
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}
