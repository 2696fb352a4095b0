//! The component behind its own HTTP front, under stock `wasmtime serve`: what it answers, the host would answer.

use crate::common::pictures::{jpeg, jpeg_announcing, scene};
use crate::common::server::{Client, Reply, Server, form, form_of};
use crate::common::{assert_same, dist, run, wasmtime};
use pinhole_report::{Answers, Item};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::OnceLock;

/// A running engine that is not ours. It ends with the test.
struct Engine {
    child: Child,
    client: Client,
}

impl Engine {
    /// Starts it. Its code is compiled once for all tests, by itself and with its own settings.
    fn start() -> Self {
        static COMPILED: OnceLock<std::path::PathBuf> = OnceLock::new();
        let code = COMPILED.get_or_init(|| {
            let code = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stock-http.cwasm");
            let mut compile = wasmtime();
            compile.arg("compile").arg(dist("guest-http.wasm"));
            run(compile.arg("-o").arg(&code), b"").ok();
            code
        });
        let mut child = wasmtime()
            .args(["serve", "-S", "cli", "--addr", "127.0.0.1:0"])
            // A feature that it is not built with here, to be built sooner. Memory is then taken as it is asked for.
            .args(["-O", "pooling-allocator=n", "--allow-precompiled"])
            .arg(code)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            said += &line;
            let (_, address) = line.split_once("Serving HTTP on http://")?;
            Some(address.trim_end_matches('/').to_string())
        });
        // What it says afterwards is read, so that it never waits.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let address = address.unwrap_or_else(|| {
            let ended = child.wait();
            panic!("`wasmtime serve` ended with {ended:?}: {said}")
        });
        Self {
            child,
            client: Client::new(&address),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both refuse with the same status, sentence and code.
#[track_caller]
fn assert_same_refusal(front: &Reply, host: &Reply) {
    assert_eq!(front.status, host.status, "{}", front.body);
    assert_eq!(front.body, host.body);
    assert_eq!(front.header("content-type"), host.header("content-type"));
    assert_eq!(front.header("allow"), host.header("allow"));
}

#[test]
fn stock_wasmtime_answers_as_the_host_does() {
    let (engine, host) = (Engine::start(), Server::start(&[]));
    let health = engine.client.get("/health");
    assert_eq!(
        (health.status, health.body),
        (200, host.client.get("/health").body)
    );
    for (width, height) in [(64, 64), (500, 375)] {
        let picture = jpeg(&scene(width, height));
        let (ours, theirs) = (
            host.client.predict(&picture),
            engine.client.predict(&picture),
        );
        assert_same(&theirs.answer().predictions, &ours.answer().predictions);
        assert_eq!(theirs.answer().model, ours.answer().model);
        assert!(theirs.answer().timings_ms.decode > 0.0);
        let form = engine.client.predict_form("image", "cat.jpg", &picture);
        assert_same(&form.answer().predictions, &ours.answer().predictions);
    }
    let path = "/predict?top_k=3&min_probability=0.01";
    let picture = jpeg(&scene(200, 100));
    let [ours, theirs] =
        [&host.client, &engine.client].map(|client| client.post(path, "image/jpeg", &picture));
    assert_same(&theirs.answer().predictions, &ours.answer().predictions);
    assert!(ours.answer().predictions.len() <= 3);
    let id = ("x-request-id", "mine-7");
    let named = engine.client.post_with("/predict", id, &picture);
    assert_eq!(named.header("x-request-id"), Some("mine-7"));
    assert_eq!(theirs.header("x-request-id").unwrap().len(), 16);
}

#[test]
fn stock_wasmtime_refuses_as_the_host_does() {
    let (engine, host) = (Engine::start(), Server::start(&[]));
    let picture = jpeg(&scene(64, 64));
    let cut = &picture[..picture.len() / 2];
    let (multipart, body) = form("picture", "a.jpg", &picture);
    let too_many = vec![("image", "a.jpg", picture.as_slice()); 33];
    let (_, many) = form_of(&too_many);
    let kind = "image/jpeg";
    for (path, content_type, body) in [
        ("/predict", kind, b"nonsense".as_slice()),
        ("/predict", kind, b""),
        ("/predict", kind, cut),
        ("/predict", kind, &jpeg_announcing(30_000, 30_000)),
        ("/predict?top_k=0", kind, &picture),
        ("/predict?top_k=x", kind, &picture),
        ("/predict?topk=1", kind, &picture),
        ("/predict?min_probability=2", kind, &picture),
        ("/predict", "text/html", &picture),
        ("/predict", "multipart/form-data", &body),
        ("/predict", &multipart, &body),
        ("/predict", &multipart, b"no form"),
        ("/predict", &multipart, &many),
        ("/nowhere", kind, &picture),
        ("/health", kind, &picture),
    ] {
        let [ours, theirs] =
            [&host.client, &engine.client].map(|client| client.post(path, content_type, body));
        assert!(ours.status >= 400, "{path}: {}", ours.body);
        assert_same_refusal(&theirs, &ours);
    }
    let [ours, theirs] = [&host.client, &engine.client].map(|client| client.get("/predict"));
    assert_same_refusal(&theirs, &ours);
    let encoded = ("content-encoding", "br");
    let [ours, theirs] = [&host.client, &engine.client]
        .map(|client| client.post_with("/predict", encoded, &picture));
    assert_same_refusal(&theirs, &ours);
    // What was refused is of no consequence for what comes next.
    engine.client.predict(&picture).answer();
}

#[test]
fn one_bad_file_spoils_no_other_under_stock_wasmtime() {
    let engine = Engine::start();
    let picture = jpeg(&scene(64, 64));
    let (content_type, body) = form_of(&[
        ("image", "good.jpg", picture.as_slice()),
        ("image", "bad.jpg", b"nonsense"),
        ("image", "good too.jpg", &picture),
    ]);
    let reply = engine.client.post("/predict", &content_type, &body);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let Answers { answers } = serde_json::from_str(&reply.body).unwrap();
    let [
        Item::Answered { answer: first, .. },
        Item::Refused { status: 415, .. },
        Item::Answered { file, answer: last },
    ] = answers.as_slice()
    else {
        panic!("{}", reply.body)
    };
    assert_eq!(file.as_deref(), Some("good too.jpg"));
    assert_same(&first.predictions, &last.predictions);
}

#[test]
fn requests_are_understood_under_stock_wasmtime_as_clients_write_them() {
    crate::forms::try_all(&Engine::start().client);
}

/// The limit is the host's default: one byte more is refused, by its declared length and by what comes.
#[test]
fn a_body_is_bounded_under_stock_wasmtime() {
    let engine = Engine::start();
    let limit = 20_000_000;
    let head = "POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let declared = format!("{head}Content-Length: {}\r\n\r\n", limit + 1);
    let mut chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        limit + 1
    )
    .into_bytes();
    chunked.resize(chunked.len() + limit + 1, 0);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    for request in [declared.as_bytes(), &chunked] {
        let reply = engine.client.raw(request);
        assert!(reply.starts_with("HTTP/1.1 413 "), "{reply}");
        assert!(reply.contains("\"code\":\"body-too-large\""), "{reply}");
    }
    let whole = engine.client.predict(&vec![0; limit]);
    whole.refusal(415, "unsupported-format");
}
