//! A guest gone bad, as it would be after an image took it over: whatever it does costs its own request, and no other.

use crate::common::server::Server;
use crate::common::{dist, wait};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Misdeeds, and what the client is told: a status, a code, and a word of the line that says more in the log.
pub const MISDEEDS: [(&str, u16, &str, &str); 12] = [
    ("trap", 500, "trap", "unreachable"),
    ("panic", 500, "trap", "this guest panics"),
    ("exit", 500, "trap", "exit"),
    ("loop", 504, "deadline", ""),
    ("sleep", 500, "trap", "wants to wait"),
    ("overflow", 500, "trap", "call stack exhausted"),
    ("grab", 413, "image-too-large", ""),
    ("chatter", 500, "trap", "!!!!"),
    ("sentence", 500, "trap", "fuel allocated for hostcalls"),
    ("list", 500, "trap", "fuel allocated for hostcalls"),
    ("no-text", 500, "trap", "utf-8"),
    ("no-end", 500, "trap", "out of bounds"),
];

/// A service that runs this guest.
pub fn serve(options: &[&str]) -> Server {
    Server::of(&dist("tests/hostile.wasm"), options)
}

/// Fails unless the answer is the one that this guest gives to a harmless image: what it has seen, which is that image.
#[track_caller]
pub fn assert_harmless(server: &Server, text: &str) {
    let answer = server.client.predict(text.as_bytes()).answer();
    let labels: Vec<&str> = answer
        .predictions
        .iter()
        .map(|prediction| prediction.label.as_str())
        .collect();
    assert_eq!(labels, [text]);
}

#[test]
fn a_misdeed_costs_its_own_request() {
    let mut server = serve(&[
        "--deadline-ms",
        "1000",
        "--memory-mib",
        "128",
        "--workers",
        "4",
        "--queue",
        "100",
        "--queue-timeout-ms",
        "60000",
    ]);
    let over = AtomicBool::new(false);
    let answered = thread::scope(|scope| {
        let good = scope.spawn(|| {
            let mut answered = 0;
            while !over.load(Ordering::Relaxed) {
                assert_harmless(&server, &format!("harmless {answered}"));
                answered += 1;
            }
            answered
        });
        for (misdeed, status, code, word) in MISDEEDS {
            let reply =
                server
                    .client
                    .post_with("/predict", ("x-request-id", misdeed), misdeed.as_bytes());
            reply.refusal(status, code);
            assert!(reply.body.len() < 200, "{} bytes", reply.body.len());
            wait("its lines in the log", 10, || {
                let log = server.log();
                let (id, code) = (format!("id=\"{misdeed}\""), format!("outcome=\"{code}\""));
                let has = |words: [&str; 2]| {
                    log.lines()
                        .any(|line| words.iter().all(|word| line.contains(word)))
                };
                // What the guest died of is told with the request that it died of.
                (has([&id, &code]) && has([&id, word])).then_some(())
            });
        }
        over.store(true, Ordering::Relaxed);
        good.join().unwrap()
    });
    assert!(answered > 0);
    assert!(server.is_alive());
    // What a guest says before it dies is bounded, and stays on its line.
    let longest = server.log().lines().map(str::len).max().unwrap();
    assert!(longest < 8000, "{longest}");
    assert!(
        !server
            .log()
            .lines()
            .any(|line| line.starts_with("over two lines"))
    );
}

#[test]
fn nothing_of_one_request_reaches_another() {
    // One worker, so that each instance is made where the last one was.
    let server = serve(&["--workers", "1", "--memory-mib", "64"]);
    for turn in 0..50 {
        assert_harmless(&server, &format!("secret {turn}"));
        let label = |image: &str| {
            let answer = server.client.predict(image.as_bytes()).answer();
            answer.predictions[0].label.clone()
        };
        assert_eq!(label("plant"), "planted");
        assert_eq!(label("search"), "0", "bytes that another request left");
    }
}

#[test]
fn an_instance_is_reused_as_often_as_was_asked_for_and_never_after_a_trap() {
    let server = serve(&["--workers", "1", "--reuse", "3"]);
    let seen = |image: &str| {
        let answer = server.client.predict(image.as_bytes()).answer();
        answer.predictions.len()
    };
    // The self-test was the first.
    assert_eq!(
        ["a", "b", "c", "d"].map(seen),
        [2, 3, 1, 2],
        "{}",
        server.log()
    );
    server.client.predict(b"trap").refusal(500, "trap");
    assert_eq!(["e", "f", "g", "h"].map(seen), [1, 2, 3, 1]);
}

#[test]
fn an_answer_that_is_no_number_is_still_json() {
    let server = serve(&[]);
    let reply = server.client.predict(b"no-number");
    assert_eq!(reply.status, 200, "{}", reply.body);
    let json: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert!(json["predictions"][0]["probability"].is_null(), "{json}");
    assert_harmless(&server, "harmless");
}

/// Sends an image, and leaves the connection open.
fn send(server: &Server, image: &str) -> TcpStream {
    let mut stream = server.client.connect();
    let request = format!(
        "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{image}",
        image.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn is_answered(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let answered = stream.peek(&mut [0; 1]).is_ok();
    stream.set_nonblocking(false).unwrap();
    answered
}

/// One worker, no queue, and a deadline that no test waits for.
const ALONE: [&str; 6] = ["--workers", "1", "--queue", "0", "--deadline-ms", "600000"];

/// Has the only worker run without end, and returns the connection that it does so for.
fn occupy(server: &Server) -> TcpStream {
    // Two ask for one place: that one of them is refused tells that the other has it.
    let [one, other] = [send(server, "loop"), send(server, "loop")];
    let answered = wait("a refusal", 10, || {
        let answered = (is_answered(&one), is_answered(&other));
        (answered.0 || answered.1).then_some(answered)
    });
    assert_ne!(answered.0, answered.1, "{}", server.log());
    server.client.predict(b"harmless").refusal(503, "busy");
    if answered.0 { other } else { one }
}

#[test]
fn a_client_that_goes_away_frees_its_worker() {
    let server = serve(&ALONE);
    drop(occupy(&server));
    wait("the worker to be free", 10, || {
        (server.client.predict(b"harmless").status == 200).then_some(())
    });
}

#[test]
fn a_client_that_goes_away_frees_its_place_in_the_queue() {
    let options = [
        "--workers",
        "1",
        "--queue",
        "1",
        "--queue-timeout-ms",
        "3000",
        "--deadline-ms",
        "600000",
    ];
    let server = serve(&options);
    let says = |code: &str| server.client.predict(b"harmless").body.contains(code);
    let _running = send(&server, "loop");
    wait("the guest to run", 30, || {
        says("queue-timeout").then_some(())
    });
    let mut waiting = send(&server, "loop");
    wait("a full queue", 30, || {
        if is_answered(&waiting) {
            // The question below was there first.
            waiting = send(&server, "loop");
        }
        says("busy").then_some(())
    });
    drop(waiting);
    wait("a place in the queue", 10, || {
        let mut stream = send(&server, "harmless");
        let patience = Some(Duration::from_millis(200));
        stream.set_read_timeout(patience).unwrap();
        // A refusal would come at once.
        stream.read(&mut [0; 1]).is_err().then_some(())
    });
}

#[test]
fn a_second_signal_ends_what_the_first_one_waits_for() {
    let mut server = serve(&[&ALONE[..], &["--grace-s", "600"]].concat());
    let _running = occupy(&server);
    server.terminate();
    wait("draining", 10, || {
        server.log().contains("draining").then_some(())
    });
    assert!(server.is_alive());
    server.terminate();
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    assert!(server.log().contains("a second signal"), "{}", server.log());
}

#[test]
fn the_grace_period_ends_what_does_not_end_itself() {
    let mut server = serve(&[&ALONE[..], &["--grace-s", "1"]].concat());
    let _running = occupy(&server);
    server.terminate();
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    assert!(
        server.log().contains("the grace period is over"),
        "{}",
        server.log()
    );
}

#[test]
fn a_service_that_answers_no_more_says_so_and_comes_back() {
    // One instance, kept for some calls: what it breaks stays broken for as long as it lives.
    let server = serve(&["--workers", "1", "--reuse", "8"]);
    let health = || server.client.get("/health").status;
    assert_eq!(health(), 200);
    server.client.predict(b"break").refusal(500, "inference");
    wait("the service to find out", 30, || {
        (health() == 503).then_some(())
    });
    let log = server.log();
    assert!(
        log.contains("no longer passes its test") && log.contains("The model broke."),
        "{log}"
    );
    wait("another instance", 60, || (health() == 200).then_some(()));
    server.client.predict(b"harmless").answer();
}

#[test]
fn bad_images_do_not_make_a_service_unready() {
    let server = serve(&["--workers", "1"]);
    for _ in 0..20 {
        server.client.predict(b"trap").refusal(500, "trap");
        assert_eq!(server.client.get("/health").status, 200);
    }
    // The service has tested itself since, in a sandbox of its own, or will have.
    wait("its own test", 30, || {
        let metrics = server.client.get("/metrics").body;
        let made = metrics
            .lines()
            .find(|line| line.starts_with("pinhole_instances_total "));
        let made: f64 = made?.rsplit_once(' ')?.1.parse().ok()?;
        (made >= 1.0 + 20.0 + 1.0).then_some(())
    });
    assert_eq!(server.client.get("/health").status, 200);
}
