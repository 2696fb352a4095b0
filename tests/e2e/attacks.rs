//! Clients who hold what others need: each attack in a small size, and good clients beside it who must be answered.

use crate::common::server::{Client, Server, form_of};
use crate::common::{dist, pictures, pinhole, run, wait};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// A picture of one pixel that claims a canvas of so many a side.
pub fn canvas(side: u16) -> Vec<u8> {
    let [low, high] = side.to_le_bytes();
    let mut gif = b"GIF89a".to_vec();
    gif.extend([low, high, low, high, 0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    gif.extend([0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0, 0x3b]);
    gif
}

/// The value of a metric without labels.
fn metric(client: &Client, name: &str) -> f64 {
    let text = client.get("/metrics").body;
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")));
    let value = line.and_then(|line| line.split(' ').nth(1)).unwrap();
    value.parse().unwrap()
}

#[test]
fn clients_that_do_not_read_lose_their_places() {
    let server = Server::start(&["--max-connections", "8"]);
    let request = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n".repeat(40);
    // Half as many again as there are places: each holds its own, or waits for one.
    let held: Vec<TcpStream> = (0..12)
        .map(|_| {
            let mut stream = server.client.connect();
            stream.write_all(&request).unwrap();
            stream
        })
        .collect();
    let picture = pictures::jpeg(&pictures::scene(64, 48));
    for _ in 0..3 {
        assert_eq!(server.client.get("/health").status, 200);
        // One more client than there are places to be had waits until one is taken from those who do not read.
        server.client.predict(&picture).answer();
    }
    wait("all of them to be closed", 60, || {
        (metric(&server.client, "pinhole_connections_closed_total") >= 12.0).then_some(())
    });
    drop(held);
}

#[test]
fn health_is_told_where_all_places_are_taken() {
    let server = Server::start(&["--max-connections", "4", "--header-timeout-ms", "60000"]);
    // They are not slow to read: they just say nothing.
    let _held: Vec<TcpStream> = (0..5).map(|_| server.client.connect()).collect();
    // On connections of their own: the client's may have one of the places.
    let ask = |request: &str| server.client.raw(request.as_bytes());
    let health = ask("GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    let other = ask("GET /v2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(other.starts_with("HTTP/1.1 503"), "{other}");
    assert!(other.contains("The service is busy"), "{other}");
}

#[test]
fn bodies_take_memory_when_they_come_not_when_they_are_declared() {
    let server = Server::start(&["--bodies-mib", "2", "--max-body-bytes", "2000000"]);
    let head = "POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\nContent-Length: 1900000\r\n\r\n";
    let _held: Vec<TcpStream> = (0..10)
        .map(|_| {
            let mut stream = server.client.connect();
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&[0xff; 1200]).unwrap();
            stream
        })
        .collect();
    let picture = pictures::jpeg(&pictures::scene(64, 48));
    for _ in 0..5 {
        server.client.predict(&picture).answer();
    }
}

/// One address has three quarters of the memory for bodies at most, however many connections it has.
#[test]
fn one_address_leaves_memory_for_others() {
    let options = [
        "--bodies-mib",
        "4",
        "--max-body-bytes",
        "3000000",
        "--min-body-rate",
        "0",
    ];
    let server = Server::start(&options);
    let head = "POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\nContent-Length: 2999999\r\n\r\n";
    let mut held = server.client.connect();
    held.write_all(head.as_bytes()).unwrap();
    held.write_all(&vec![0xff; 2_900_000]).unwrap();
    let more = vec![0xff; 400_000];
    wait("the first body to be held", 30, || {
        (metric(&server.client, "pinhole_bodies_bytes") >= 2_900_000.0).then_some(())
    });
    server.client.predict(&more).refusal(503, "busy");
    // What is free would have been enough.
    server
        .client
        .predict(&more[..100_000])
        .refusal(415, "unsupported-format");
    drop(held);
    wait("its memory to be free", 30, || {
        (metric(&server.client, "pinhole_bodies_bytes") == 0.0).then_some(())
    });
    server
        .client
        .predict(&more)
        .refusal(415, "unsupported-format");
}

/// A form of small files that are much work has the time of one image, not of each.
#[test]
fn a_request_has_one_deadline() {
    let options = [
        "--workers",
        "1",
        "--deadline-ms",
        "100",
        "--queue-timeout-ms",
        "100",
    ];
    let small = canvas(1);
    let large = canvas(6000);
    let server = Server::start(&options);
    let files: Vec<(&str, &str, &[u8])> = (0..32).map(|_| ("image", "a.gif", &large[..])).collect();
    let (content_type, body) = form_of(&files);
    let reply = server.client.post("/predict", &content_type, &body);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let answers: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    let last = &answers["answers"][31];
    assert_eq!(
        (last["status"].as_u64(), last["code"].as_str()),
        (Some(504), Some("deadline")),
        "{last}"
    );
    // A whole request later, the service is as before.
    wait("an answer", 30, || {
        (server.client.predict(&small).status == 200).then_some(())
    });
}

/// Nobody reads the log: lines are lost, and nothing else is.
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let address = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let mut child = pinhole()
        .args(["serve", "--listen", &address, "--component"])
        .arg(dist("guest.cwasm"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let client = Client::new(&address);
    wait("readiness", 60, || {
        let reply = client.try_get("/health").ok()?;
        (reply.status == 200).then_some(())
    });
    // Each is a line: more than a pipe and the lines that may wait hold together.
    let requests = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    let lost = || metric(&client, "pinhole_log_lines_lost_total");
    let mut stream = client.connect();
    for _ in 0..1000 {
        stream.write_all(&requests).unwrap();
        let mut answers = 0;
        let mut seen = Vec::new();
        let mut buffer = [0; 16 << 10];
        while answers < 100 {
            let length = stream.read(&mut buffer).unwrap();
            assert!(length > 0);
            seen.extend_from_slice(&buffer[..length]);
            answers = seen
                .windows(12)
                .filter(|part| part == b"HTTP/1.1 404")
                .count();
        }
        if lost() > 0.0 {
            break;
        }
    }
    assert!(lost() > 0.0);
    let picture = pictures::jpeg(&pictures::scene(64, 48));
    client.predict(&picture).answer();
    assert_eq!(client.get("/health").status, 200);
    run(
        Command::new("kill").args(["-TERM", &child.id().to_string()]),
        b"",
    )
    .ok();
    let ended = wait("its end", 30, || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn a_hang_up_ends_the_service_as_gently_as_a_signal_to_end() {
    let mut server = Server::start(&[]);
    run(
        Command::new("kill").args(["-HUP", &server.pid().to_string()]),
        b"",
    )
    .ok();
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.log().contains("every request was answered"));
}

#[test]
fn a_request_says_for_which_host_it_is() {
    let server = Server::start(&[]);
    let ask = |head: &str| {
        let text = format!("GET /health HTTP/1.1\r\n{head}Connection: close\r\n\r\n");
        server.client.raw(text.as_bytes())
    };
    assert!(ask("Host: localhost\r\n").starts_with("HTTP/1.1 200"));
    for wrong in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a b\r\n",
        "Host: user@a\r\n",
    ] {
        let reply = ask(wrong);
        assert!(reply.starts_with("HTTP/1.1 400"), "{wrong:?}: {reply}");
        assert!(reply.contains("\"code\":\"bad-request\""), "{reply}");
        assert!(
            reply
                .to_lowercase()
                .contains("x-content-type-options: nosniff")
        );
    }
    let old = server.client.raw(b"GET /health HTTP/1.0\r\n\r\n");
    assert!(
        old.starts_with("HTTP/1.0 200") || old.starts_with("HTTP/1.1 200"),
        "{old}"
    );
}

#[test]
fn a_long_method_is_no_long_line() {
    let server = Server::start(&[]);
    let method = "X".repeat(12_000);
    let request = format!("{method} /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(
        server
            .client
            .raw(request.as_bytes())
            .starts_with("HTTP/1.1 405")
    );
    wait("its line", 30, || {
        server.log().contains("405").then_some(())
    });
    let longest = server.log().lines().map(str::len).max().unwrap();
    assert!(longest < 1000, "{longest}");
}
