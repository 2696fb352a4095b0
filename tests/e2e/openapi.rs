//! `GET /openapi.json` and `GET /docs`: the document and the service say the same, asked by hand, by Schemathesis, and by a
//! person in a browser.

use crate::common::pictures::{jpeg, scene};
use crate::common::server::Server;
use crate::common::{python, root, run, say};
use crate::page::{chromium, screenshots};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

fn document(server: &Server) -> Value {
    let reply = server.client.get("/openapi.json");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    serde_json::from_str(&reply.body).unwrap()
}

#[test]
fn each_path_takes_the_methods_that_are_documented() {
    let server = Server::start(&[]);
    let document = document(&server);
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 10);
    for (path, item) in paths {
        let path = path
            .replace("{model}", "mobilenetv2-cifar10")
            .replace("{version}", "1");
        let request = format!("BREW {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let reply = server.client.raw(request.as_bytes());
        assert!(reply.starts_with("HTTP/1.1 405 "), "{path}: {reply}");
        let allow = reply.lines().find_map(|line| line.strip_prefix("allow: "));
        let taken: BTreeSet<String> = allow
            .unwrap()
            .split(',')
            .filter(|method| *method != "HEAD")
            .map(str::to_lowercase)
            .collect();
        let said: BTreeSet<String> = item.as_object().unwrap().keys().cloned().collect();
        assert_eq!(taken, said, "{path}");
    }
}

#[test]
fn the_page_comes_with_all_it_needs() {
    let server = Server::start(&[]);
    let page = server.client.get("/docs");
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self' 'sha256-"),
        "{policy}"
    );
    assert!(!page.body.contains("http:") && !page.body.contains("https:"));
    for (file, start) in [("swagger-ui.css", "."), ("swagger-ui-bundle.js", "/*!")] {
        assert!(page.body.contains(&format!("\"docs/{file}\"")));
        let request = format!("GET /docs/{file} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        let raw = |more: &str| {
            let reply = server
                .client
                .raw_bytes(format!("{request}{more}\r\n").as_bytes());
            let end = reply
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
                .unwrap();
            (
                String::from_utf8_lossy(&reply[..end]).into_owned(),
                reply[end + 4..].to_vec(),
            )
        };
        // Packed for those who take it, plain for the others.
        let (head, plain) = raw("");
        assert!(
            head.starts_with("HTTP/1.1 200 ") && !head.contains("content-encoding"),
            "{head}"
        );
        assert!(plain.starts_with(start.as_bytes()) && plain.len() > 100_000);
        let (head, packed) = raw("Accept-Encoding: gzip\r\n");
        assert!(head.contains("content-encoding: gzip"), "{head}");
        let mut unpacked = Vec::new();
        std::io::Read::read_to_end(
            &mut flate2::read::GzDecoder::new(packed.as_slice()),
            &mut unpacked,
        )
        .unwrap();
        assert!(unpacked == plain && packed.len() < plain.len() / 2);
    }
}

/// Thousands of requests that the document allows, and some that it does not: no answer is a failure of ours, and each is of
/// a status, a type and a shape that the document has.
#[test]
fn schemathesis_finds_no_answer_that_is_not_documented() {
    let Some(python) = python() else { return };
    let server = Server::start(&[]);
    let mut schemathesis = Command::new(python);
    schemathesis
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(root().join("tests/clients/schemathesis.toml"))
        .arg("run")
        .arg(format!("http://{}/openapi.json", server.client.address));
    // It writes down what it did in the folder where it runs.
    let folder = tempfile::tempdir().unwrap();
    let ended = run(schemathesis.current_dir(&folder), b"");
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    // Refusals alone would say little.
    for route in ["/predict", "/v2/models/{model}/infer"] {
        let answered = format!("route=\"{route}\" status=200");
        assert!(server.log().contains(&answered), "{}", ended.stdout);
    }
    let tried = ended
        .stdout
        .lines()
        .find(|line| line.contains(" generated, "));
    say(tried.unwrap_or_else(|| panic!("{}", ended.stdout)).trim());
}

#[test]
fn a_person_can_try_it_out() {
    let (Some(python), Some(chromium)) = (python(), chromium()) else {
        return;
    };
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("picture.jpg");
    std::fs::write(&picture, jpeg(&scene(320, 240))).unwrap();
    let mut script = Command::new(python);
    script
        .arg(root().join("tests/clients/docs.py"))
        .arg(chromium)
        .arg(&server.client.address)
        .arg(screenshots("docs"))
        .arg(picture);
    say(run(&mut script, b"").ok().trim());
}
