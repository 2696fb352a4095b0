//! Pages of other origins: what a browser asks first, what it is told, and a real Chromium that acts on it.

use crate::common::pictures::{jpeg, scene};
use crate::common::server::{Reply, Server};
use crate::common::{pinhole, python, root, run, say};
use crate::forms::parse;
use crate::page::chromium;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

const HOME: &str = "https://home.example";

/// A request with these lines in its head, and no body.
fn ask(server: &Server, line: &str, head: &[&str]) -> Reply {
    let head: String = head.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n");
    parse(&server.client.raw(request.as_bytes()))
}

fn preflight(server: &Server, origin: &str, path: &str) -> Reply {
    let head = [
        &format!("Origin: {origin}"),
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: content-type,x-request-id",
    ];
    ask(server, &format!("OPTIONS {path}"), &head)
}

#[track_caller]
fn assert_lists(reply: &Reply, header: &str, names: &[&str]) {
    let list = reply.header(header).unwrap().to_lowercase();
    let listed: Vec<&str> = list.split(',').map(str::trim).collect();
    for name in names {
        assert!(listed.contains(name), "{header}: {list}");
    }
}

#[test]
fn nobody_else_may_ask_by_default() {
    let server = Server::start(&[]);
    preflight(&server, HOME, "/predict").refusal(405, "method-not-allowed");
    let reply = ask(&server, "GET /health", &[&format!("Origin: {HOME}")]);
    assert_eq!(reply.status, 200);
    let said = reply.headers.iter();
    let said: Vec<_> = said
        .filter(|(name, _)| name.starts_with("access-"))
        .collect();
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn preflights_are_answered_for_the_origins_that_are_named() {
    let options = [
        "--cors-origin",
        HOME,
        "--cors-origin",
        "HTTP://localhost:3000,http://[::1]:3000",
    ];
    let server = Server::start(&options);
    for origin in [HOME, "http://localhost:3000", "http://[::1]:3000"] {
        for path in ["/predict", "/v2/models/m/infer"] {
            let reply = preflight(&server, origin, path);
            assert!([200, 204].contains(&reply.status), "{}", reply.status);
            assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
            assert_lists(&reply, "access-control-allow-methods", &["get", "post"]);
            assert_lists(
                &reply,
                "access-control-allow-headers",
                &["content-type", "x-request-id"],
            );
            assert_lists(&reply, "vary", &["origin"]);
            assert!(reply.header("access-control-max-age").is_some());
            assert!(reply.header("x-request-id").is_some());
            assert_eq!(reply.header("access-control-allow-credentials"), None);
        }
        // Answers and refusals of every kind.
        let origin_line = format!("Origin: {origin}");
        for (line, head, status) in [
            ("GET /health", &[origin_line.as_str()][..], 200),
            ("GET /nowhere", &[&origin_line], 404),
            ("GET /predict", &[&origin_line], 405),
            ("POST /predict", &[&origin_line, "Content-Length: 0"], 400),
            (
                "POST /predict",
                &[&origin_line, "Content-Length: 99999999"],
                413,
            ),
            (
                "POST /predict",
                &[&origin_line, "Content-Length: 0", "Content-Encoding: br"],
                415,
            ),
            ("GET /v2/models/m", &[&origin_line], 404),
        ] {
            let reply = ask(&server, line, head);
            assert_eq!(reply.status, status, "{line}: {}", reply.body);
            assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
            assert_lists(
                &reply,
                "access-control-expose-headers",
                &["x-request-id", "retry-after"],
            );
            assert_lists(&reply, "vary", &["origin"]);
        }
    }
    for stranger in [
        "https://other.example",
        "https://home.example.org",
        "http://home.example",
        "null",
    ] {
        let replies = [
            preflight(&server, stranger, "/predict"),
            ask(&server, "GET /health", &[&format!("Origin: {stranger}")]),
        ];
        for reply in replies {
            assert_eq!(
                reply.header("access-control-allow-origin"),
                None,
                "{stranger}"
            );
            assert_lists(&reply, "vary", &["origin"]);
        }
    }
}

#[test]
fn any_origin_may_be_allowed() {
    let server = Server::start_with_env(&[], &[("PINHOLE_CORS_ORIGIN", "*")]);
    for reply in [
        preflight(&server, HOME, "/predict"),
        ask(&server, "GET /nowhere", &[]),
    ] {
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    }
}

#[test]
fn what_is_no_origin_is_a_wrong_flag() {
    for wrong in [
        "home.example",
        "https://home.example/",
        "null",
        "https://home.example:443",
        "a\u{1b}b",
    ] {
        let ended = run(pinhole().args(["serve", "--cors-origin", wrong]), b"");
        assert_eq!(ended.code, Some(2), "{wrong}");
    }
}

/// A page of another origin asks a service that allows it, and one that does not.
#[test]
fn a_browser_lets_a_page_of_another_origin_ask() {
    let (Some(python), Some(chromium)) = (python(), chromium()) else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\nConnection: close\r\n\r\n<!DOCTYPE html>",
            );
        }
    });
    let (open, closed) = (
        Server::start(&["--cors-origin", &origin]),
        Server::start(&[]),
    );
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("cat.jpg");
    std::fs::write(&picture, jpeg(&scene(320, 240))).unwrap();
    let mut script = Command::new(python);
    script
        .arg(root().join("tests/clients/cors.py"))
        .arg(chromium)
        .arg(&origin)
        .arg(&open.client.address)
        .arg(&closed.client.address)
        .arg(picture);
    say(run(&mut script, b"").ok().trim());
}
