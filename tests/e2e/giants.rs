//! What clients send is given back to them only in part, and answers that nobody fetches hold no memory.

use crate::common::pictures::{jpeg, scene};
use crate::common::server::{Server, read_all};
use crate::common::wait;
use crate::forms::parse;
use serde_json::{Value, json};
use std::io::Write;

/// Forty clients send a key of 19 MB each, and do not read what is said of it. Each answer was as long.
#[test]
#[cfg(target_os = "linux")]
fn giant_keys_hold_no_memory() {
    const CLIENTS: usize = 40;
    const MIB: u64 = 1 << 10;
    let server = Server::start(&["--workers", "2", "--bodies-mib", "64"]);
    let picture = jpeg(&scene(64, 48));
    server.client.predict(&picture).answer();
    let key = "k".repeat(19_900_000);
    let body = format!("{{\"{key}\":1}}");
    let request = format!(
        "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let refused = || {
        let metrics = server.client.get("/metrics").body;
        let count = |line: &str| -> Option<f64> {
            let counted = line.starts_with("pinhole_http_requests_total")
                && line.contains("/predict")
                && (line.contains("\"400\"") || line.contains("\"503\""));
            counted.then(|| line.rsplit(' ').next()?.parse().ok())?
        };
        metrics.lines().filter_map(count).sum::<f64>() as usize
    };
    let mut silent = Vec::new();
    for client in 1..=CLIENTS {
        let mut stream = server.client.connect();
        // One that is refused before its end may be cut off.
        let _ = stream.write_all(request.as_bytes());
        silent.push(stream);
        wait("a refusal", 60, || (refused() >= client).then_some(()));
        assert_eq!(server.client.get("/health").status, 200);
    }
    let held = resident(server.pid());
    // One body, and what is made of it while it is read; the budget of 64 MiB; the service itself.
    assert!(held < 250 * MIB, "{held} kB are held");
    server.client.predict(&picture).answer();
    for mut stream in silent {
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let reply = parse(&read_all(&mut stream));
        let sentence = reply.refusal(400, "bad-request");
        assert!(sentence.contains(&format!("`{}…` is unknown", "k".repeat(99))));
    }
}

/// Kilobytes of memory that a process has now.
#[cfg(target_os = "linux")]
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let words = line.unwrap().split_whitespace().nth(1);
    words.unwrap().parse().unwrap()
}

/// Everything of the protocol's requests that stands in an answer.
#[test]
fn the_protocol_repeats_nothing_without_a_bound() {
    let server = Server::start(&[]);
    let long = "k".repeat(200_000);
    let input = |name: &str, datatype: &str, shape: Value, data: Value| json!({"name": name, "datatype": datatype, "shape": shape, "data": data});
    let picture = input("input", "BYTES", json!([1]), json!(["YQ=="]));
    let model = server.client.get("/health").status;
    assert_eq!(model, 200);
    let model = "/v2/models/mobilenetv2-cifar10/infer";
    for body in [
        json!({"inputs": [input(&long, "FP32", json!([1]), json!([1]))]}),
        json!({"inputs": [input("input", &long, json!([1]), json!([1]))]}),
        json!({"inputs": [input("input", "BYTES", json!(vec![7; 10_000]), json!([1]))]}),
        json!({"inputs": [input("input", "FP32", json!(vec![7; 10_000]), json!([1]))]}),
        json!({"inputs": [input("input", "BYTES", json!([1]), json!([long]))]}),
        json!({"inputs": [input("input", "BYTES", json!([1]), json!([{&*long: 1}]))]}),
        json!({"inputs": [input("input", "FP32", json!([1, 3, 64, 64]), json!({&*long: long}))]}),
        json!({"inputs": long}),
        json!({"inputs": [picture], "outputs": [{"name": long}]}),
        json!({"inputs": [picture], "outputs": long}),
        json!({"inputs": [picture], "id": {&*long: 1}}),
        json!({"inputs": [picture], "id": long}),
        json!({"inputs": [picture], "parameters": {"classification": long}}),
    ] {
        let reply = server
            .client
            .post(model, "application/json", body.to_string().as_bytes());
        assert!((400..500).contains(&reply.status), "{}", reply.status);
        assert!(reply.body.len() < 1000, "{} bytes", reply.body.len());
    }
    let path = "k".repeat(5000);
    for path in [
        format!("/v2/models/{path}"),
        format!("/v2/models/mobilenetv2-cifar10/versions/{path}"),
        format!("/{path}"),
    ] {
        let reply = server.client.get(&path);
        assert_eq!(reply.status, 404);
        assert!(reply.body.len() < 300, "{}", reply.body);
    }
    // What is given back on purpose has a length, too.
    let mut ask = json!({"id": long, "inputs": [picture]});
    ask["inputs"][0]["data"] = json!([crate::common::pictures::base64(&jpeg(&scene(64, 48)))]);
    let reply = server
        .client
        .post(model, "application/json", ask.to_string().as_bytes());
    assert!(reply.body.len() < 2000, "{} bytes", reply.body.len());
}

#[test]
fn a_long_method_is_a_short_line_in_the_log() {
    let server = Server::start(&[]);
    let request = format!(
        "{} /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "M".repeat(8000)
    );
    let reply = parse(&server.client.raw(request.as_bytes()));
    reply.refusal(405, "method-not-allowed");
    let line = wait("its line in the log", 10, || {
        let log = server.log();
        log.lines()
            .find(|line| line.contains("MMM"))
            .map(String::from)
    });
    assert!(
        line.contains(&format!("method={}… ", "M".repeat(99))),
        "{line}"
    );
}
