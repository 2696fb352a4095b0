//! `POST /predict` beyond one file: several, JSON, thresholds, and compressed answers.

use crate::common::assert_same;
use crate::common::pictures::{base64, jpeg, scene};
use crate::common::server::{Server, form_of};
use pinhole_report::{Answers, Item};
use std::io::Read;

#[test]
fn several_files_get_an_answer_each_in_their_order() {
    let server = Server::start(&["--workers", "2"]);
    let (one, other) = (jpeg(&scene(320, 240)), jpeg(&scene(64, 300)));
    let cut = &one[..one.len() / 2];
    let (content_type, body) = form_of(&[
        ("image", "one.jpg", &one),
        ("note", "note.txt", b"not an image, and not asked about"),
        ("image", "cut.jpg", cut),
        ("image", "other \u{1f431}.jpg", &other),
        ("image", "empty.jpg", b""),
        ("image", "note.txt", b"no image"),
    ]);
    let reply = server.client.post("/predict?top_k=2", &content_type, &body);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let answers: Answers = serde_json::from_str(&reply.body).unwrap();
    let names = [
        "one.jpg",
        "cut.jpg",
        "other \u{1f431}.jpg",
        "empty.jpg",
        "note.txt",
    ];
    assert_eq!(answers.answers.len(), names.len());
    for (item, name) in answers.answers.iter().zip(names) {
        match item {
            Item::Answered { file, answer } => {
                assert_eq!(file.as_deref(), Some(name));
                let image = if name == "one.jpg" { &one } else { &other };
                let alone = server.client.post("/predict?top_k=2", "image/jpeg", image);
                assert_same(&answer.predictions, &alone.answer().predictions);
            }
            Item::Refused {
                file,
                status,
                refusal,
            } => {
                assert_eq!(file.as_deref(), Some(name));
                let (expected, code) = match name {
                    "cut.jpg" => (422, "invalid-image"),
                    "empty.jpg" => (400, "bad-request"),
                    _ => (415, "unsupported-format"),
                };
                assert_eq!((*status, refusal.code.as_str()), (expected, code));
            }
        }
    }
}

#[test]
fn a_single_file_is_answered_as_ever() {
    let server = Server::start(&["--max-batch", "2"]);
    let image = jpeg(&scene(64, 64));
    let ask = |count| {
        let (content_type, body) = form_of(&vec![("image", "a.jpg", image.as_slice()); count]);
        server.client.post("/predict", &content_type, &body)
    };
    ask(1).answer();
    assert!(ask(2).body.starts_with(r#"{"answers":[{"#));
    let sentence = ask(3).refusal(413, "too-many-images");
    assert!(sentence.contains('2'), "{sentence}");
}

#[test]
fn json_carries_base64() {
    let server = Server::start(&[]);
    let image = jpeg(&scene(320, 240));
    let expected = server.client.predict(&image).answer().predictions;
    let ask = |json: &str| {
        server
            .client
            .post("/predict", "application/json", json.as_bytes())
    };
    let text = base64(&image);
    for value in [
        text.clone(),
        text.trim_end_matches('=').to_string(),
        format!("data:image/jpeg;base64,{text}"),
    ] {
        let reply = ask(&format!(r#"{{"image": "{value}"}}"#));
        assert_same(&reply.answer().predictions, &expected);
    }
    for wrong in [
        "",
        "{}",
        "[]",
        r#"{"image": 7}"#,
        r#"{"image": "%%%"}"#,
        r#"{"image": ""}"#,
        r#"{"image": "YQ==", "more": 1}"#,
    ] {
        ask(wrong).refusal(400, "bad-request");
    }
    ask(r#"{"image": "bm8gaW1hZ2U="}"#).refusal(415, "unsupported-format");
}

#[test]
fn unlikely_classes_can_be_left_out() {
    let server = Server::start(&[]);
    let image = jpeg(&scene(64, 64));
    let ask = |query: &str| {
        server
            .client
            .post(&format!("/predict?{query}"), "image/jpeg", &image)
    };
    let all = ask("top_k=1000").answer().predictions;
    let least = all[2].probability;
    let likely = ask(&format!("top_k=1000&min_probability={least}"))
        .answer()
        .predictions;
    assert_same(&likely, &all[..3]);
    assert_eq!(
        ask("top_k=2&min_probability=0").answer().predictions.len(),
        2
    );
    assert!(ask("min_probability=1").answer().predictions.is_empty());
    for wrong in ["-0.1", "1.1", "nan", "x", ""] {
        ask(&format!("min_probability={wrong}")).refusal(400, "bad-request");
    }
}

#[test]
fn long_answers_are_compressed_for_those_who_ask() {
    let server = Server::start(&[]);
    let image = jpeg(&scene(64, 64));
    // By hand: the client would not ask, nor leave packed what it gets.
    let ask = |accept: &str, query: &str| {
        let mut request = format!(
            "POST /predict{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: {accept}\r\nContent-Length: {}\r\n\r\n",
            image.len()
        )
        .into_bytes();
        request.extend_from_slice(&image);
        head_and_body(&server.client.raw_bytes(&request))
    };
    let (head, plain) = ask("identity", "?top_k=10");
    assert!(plain.len() < 1024, "{}", plain.len());
    let (short, _) = ask("gzip", "?top_k=1");
    for head in [&head, &short] {
        assert!(!head.contains("content-encoding"), "{head}");
    }
    let metrics =
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n";
    let (head, packed) = head_and_body(&server.client.raw_bytes(metrics));
    assert!(head.contains("content-encoding: gzip"), "{head}");
    assert!(head.contains("vary: accept-encoding"), "{head}");
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_string(&mut text)
        .unwrap();
    assert!(text.contains("pinhole_build_info"), "{text}");
}

/// An answer's head in lower case, and its body as it came.
fn head_and_body(reply: &[u8]) -> (String, Vec<u8>) {
    let end = reply
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8(reply[..end].to_vec()).unwrap();
    (head.to_lowercase(), reply[end + 4..].to_vec())
}
