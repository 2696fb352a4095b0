//! `POST /predict` and what stands around it: formats, refusals, limits; and after each refusal, a good answer.

use crate::common::pictures::{encode, jpeg, jpeg_announcing, scene};
use crate::common::server::{Server, form, read_all};
use crate::common::{assert_same, pictures, wait};
use image::ImageFormat;
use std::io::{Read, Write};

/// Fails unless the service still answers a good request.
#[track_caller]
fn assert_serves(server: &Server) {
    assert_eq!(
        server
            .client
            .predict(&jpeg(&scene(64, 48)))
            .answer()
            .predictions
            .len(),
        5
    );
}

#[test]
fn every_format_is_classified() {
    let server = Server::start(&[]);
    let picture = scene(320, 240);
    let expected = server
        .client
        .predict(&encode(&picture, ImageFormat::Png))
        .answer();
    assert!(!expected.model.name.is_empty() && !expected.model.version.is_empty());
    let timings = expected.timings_ms;
    assert!(
        timings.decode > 0.0 && timings.inference > 0.0,
        "{timings:?}"
    );
    assert!(
        timings.total >= timings.decode + timings.preprocess + timings.inference,
        "{timings:?}"
    );
    for format in [ImageFormat::Bmp, ImageFormat::WebP] {
        let same = server
            .client
            .post("/predict", format.to_mime_type(), &encode(&picture, format))
            .answer();
        assert_same(&same.predictions, &expected.predictions);
    }
    for format in [ImageFormat::Jpeg, ImageFormat::Gif] {
        let reply =
            server
                .client
                .post("/predict", format.to_mime_type(), &encode(&picture, format));
        assert_eq!(reply.answer().predictions.len(), 5);
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
}

#[test]
fn the_bytes_decide_and_not_what_they_are_called() {
    let server = Server::start(&[]);
    let png = encode(&scene(64, 64), ImageFormat::Png);
    let expected = server.client.predict(&png).answer().predictions;
    assert_same(
        &server
            .client
            .post("/predict", "image/jpeg", &png)
            .answer()
            .predictions,
        &expected,
    );
    assert_same(
        &server
            .client
            .post("/predict", "Image/JPEG; q=1", &png)
            .answer()
            .predictions,
        &expected,
    );
    assert_same(
        &server
            .client
            .predict_form("image", "x.gif", &png)
            .answer()
            .predictions,
        &expected,
    );
}

#[test]
fn a_form_may_hold_other_fields() {
    let server = Server::start(&[]);
    let image = jpeg(&scene(64, 64));
    let (content_type, body) = form("image", "cat.jpg", &image);
    let boundary = content_type.split_once("boundary=").unwrap().1;
    let mut longer =
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n")
            .into_bytes();
    longer.extend_from_slice(&body);
    let reply = server.client.post("/predict", &content_type, &longer);
    assert_same(
        &reply.answer().predictions,
        &server.client.predict(&image).answer().predictions,
    );
}

#[test]
fn top_k_is_a_parameter() {
    let server = Server::start(&[]);
    let image = jpeg(&scene(64, 64));
    let ask = |query: &str| {
        server
            .client
            .post(&format!("/predict{query}"), "image/jpeg", &image)
    };
    assert_eq!(ask("?top_k=1").answer().predictions.len(), 1);
    assert_eq!(ask("").answer().predictions.len(), 5);
    assert!(ask("?top_k=4294967295").answer().predictions.len() >= 10);
    for wrong in [
        "?top_k=0",
        "?top_k=-1",
        "?top_k=x",
        "?top_k=",
        "?top_k=4294967296",
        "?topk=5",
    ] {
        ask(wrong).refusal(400, "bad-request");
    }
    assert_serves(&server);
}

#[test]
fn an_empty_body_is_400() {
    let server = Server::start(&[]);
    server.client.predict(b"").refusal(400, "bad-request");
    server
        .client
        .predict_form("image", "cat.jpg", b"")
        .refusal(400, "bad-request");
    let reply = server
        .client
        .raw(b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
    assert_serves(&server);
}

#[test]
fn a_wrong_field_or_form_is_400() {
    let server = Server::start(&[]);
    let image = jpeg(&scene(64, 64));
    let sentence = server
        .client
        .predict_form("picture", "cat.jpg", &image)
        .refusal(400, "bad-request");
    assert!(
        sentence.contains("`image`") && sentence.contains("`picture`"),
        "{sentence}"
    );
    server
        .client
        .post("/predict", "multipart/form-data", &image)
        .refusal(400, "bad-request");
    server
        .client
        .post("/predict", "multipart/form-data; boundary=x", &image)
        .refusal(400, "bad-request");
    let (content_type, body) = form("image", "cat.jpg", &image);
    server
        .client
        .post("/predict", &content_type, &body[..body.len() / 2])
        .refusal(400, "bad-request");
    assert_serves(&server);
}

#[test]
fn wrong_paths_and_methods_are_404_and_405() {
    let server = Server::start(&[]);
    server.client.get("/nothing").refusal(404, "not-found");
    server
        .client
        .post("/nothing", "image/jpeg", b"x")
        .refusal(404, "not-found");
    let reply = server.client.get("/predict");
    reply.refusal(405, "method-not-allowed");
    assert_eq!(reply.header("allow"), Some("POST"));
    server
        .client
        .post("/health", "image/jpeg", b"x")
        .refusal(405, "method-not-allowed");
    assert_serves(&server);
}

#[test]
fn what_is_no_image_is_415() {
    let server = Server::start(&[]);
    let sentence = server
        .client
        .post("/predict", "image/jpeg", b"Hello, world")
        .refusal(415, "unsupported-format");
    assert!(
        sentence.contains("JPEG, PNG, WebP, GIF and BMP"),
        "{sentence}"
    );
    server
        .client
        .predict_form("image", "cat.jpg", b"%PDF-1.7")
        .refusal(415, "unsupported-format");
    for other in [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
    ] {
        server
            .client
            .post("/predict", other, &jpeg(&scene(64, 64)))
            .refusal(415, "unsupported-format");
    }
    assert_serves(&server);
}

#[test]
fn a_damaged_image_is_422() {
    let server = Server::start(&[]);
    let good = jpeg(&scene(500, 375));
    // Without its last two bytes only the end marker is missing.
    for length in [3, 100, good.len() / 2, good.len() - 9] {
        server
            .client
            .predict(&good[..length])
            .refusal(422, "invalid-image");
    }
    for format in [
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Gif,
        ImageFormat::Bmp,
    ] {
        let good = encode(&scene(500, 375), format);
        server
            .client
            .predict(&good[..good.len() / 2])
            .refusal(422, "invalid-image");
    }
    assert_serves(&server);
}

#[test]
fn too_many_pixels_are_413_and_cost_nothing() {
    let server = Server::start(&[]);
    let sentence = server
        .client
        .predict(&jpeg_announcing(65_535, 65_535))
        .refusal(413, "image-too-large");
    assert!(sentence.contains("65535 x 65535"), "{sentence}");
    let mut png = encode(&scene(8, 8), ImageFormat::Png);
    png[16..24].fill(0x7f);
    let status = server.client.predict(&png).status;
    assert!(status == 413 || status == 422, "{status}");
    assert_serves(&server);
}

#[test]
fn too_many_bytes_are_413() {
    let server = Server::start(&["--max-body-bytes", "50000"]);
    let big = encode(&scene(200, 200), ImageFormat::Bmp);
    assert!(big.len() > 50_000);
    server.client.predict(&big).refusal(413, "body-too-large");
    server
        .client
        .predict_form("image", "big.bmp", &big)
        .refusal(413, "body-too-large");
    // A length that is only announced is refused before a byte of it is sent.
    let head = "POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9999999999\r\n\r\n";
    let reply = server.client.raw(head.as_bytes());
    assert!(reply.starts_with("HTTP/1.1 413 "), "{reply}");
    // And one that is not announced at all is refused where it passes the limit.
    let mut chunked = b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in big.chunks(8000) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let reply = server.client.raw(&chunked);
    assert!(reply.starts_with("HTTP/1.1 413 "), "{reply}");
    assert_serves(&server);
}

#[test]
fn a_refusal_is_heard_by_who_is_still_sending() {
    let server = Server::start(&["--max-body-bytes", "1000000"]);
    let mut stream = server.client.connect();
    stream
        .write_all(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
        .unwrap();
    // All of it, although the refusal is on its way: a connection that had been reset would fail here, or lose it.
    stream.write_all(&vec![0; 3_000_000]).unwrap();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let replies = read_all(&mut stream);
    assert!(replies.starts_with("HTTP/1.1 413 "), "{replies}");
    assert!(replies.contains("HTTP/1.1 200 "), "{replies}");
}

#[test]
fn who_asks_first_is_refused_before_sending() {
    let server = Server::start(&["--max-body-bytes", "1000"]);
    let ask = |length: usize| {
        format!(
            "POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let reply = server.client.raw(ask(3_000_000).as_bytes());
    assert!(reply.starts_with("HTTP/1.1 413 "), "{reply}");

    let mut stream = server.client.connect();
    stream.write_all(ask(3).as_bytes()).unwrap();
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").unwrap();
    let reply = read_all(&mut stream);
    assert!(reply.starts_with("HTTP/1.1 415 "), "{reply}");
}

#[test]
fn a_body_that_does_not_come_is_408() {
    let server = Server::start(&["--body-timeout-ms", "200"]);
    let mut stream = server.client.connect();
    stream
        .write_all(b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000\r\n\r\nabc")
        .unwrap();
    let reply = read_all(&mut stream);
    assert!(
        reply.starts_with("HTTP/1.1 408 ") && reply.contains("slow-body"),
        "{reply}"
    );
    assert_serves(&server);
}

#[test]
fn a_head_that_does_not_come_is_cut_off() {
    let server = Server::start(&["--header-timeout-ms", "200"]);
    let mut stream = server.client.connect();
    stream
        .write_all(b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        .unwrap();
    read_all(&mut stream);
    let mut head = b"GET /health HTTP/1.1\r\nHost: x\r\n".to_vec();
    head.resize(2_000_000, b'a');
    let reply = server.client.raw(&head);
    assert!(
        reply.is_empty() || reply.starts_with("HTTP/1.1 4"),
        "{reply}"
    );
    let reply = server.client.raw(b"nonsense\r\n\r\n");
    assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
    assert_serves(&server);
}

#[test]
fn what_takes_too_long_is_504() {
    let server = Server::start(&["--deadline-ms", "60"]);
    let sentence = server
        .client
        .predict(&pictures::large())
        .refusal(504, "deadline");
    assert!(sentence.contains("60 ms"), "{sentence}");
    assert_serves(&server);
}

#[test]
fn what_needs_too_much_memory_is_413() {
    let server = Server::start(&["--memory-mib", "96"]);
    server
        .client
        .predict(&pictures::large())
        .refusal(413, "image-too-large");
    assert_serves(&server);
}

#[test]
fn a_compressed_body_is_415() {
    let server = Server::start(&[]);
    let image = jpeg(&scene(64, 64));
    let sentence = server
        .client
        .post_with("/predict", ("content-encoding", "gzip"), &image)
        .refusal(415, "encoded-body");
    assert!(sentence.contains("gzip"), "{sentence}");
    server
        .client
        .post_with("/predict", ("content-encoding", "identity"), &image)
        .answer();
}

#[test]
fn requests_have_ids() {
    let server = Server::start(&[]);
    let image = jpeg(&scene(64, 64));
    let made = [
        server.client.predict(&image),
        server.client.predict(&image),
        server.client.get("/nothing"),
    ]
    .map(|reply| reply.header("x-request-id").unwrap().to_string());
    assert!(made[0] != made[1] && made[1] != made[2] && !made[0].is_empty());
    let taken = server
        .client
        .post_with("/predict", ("x-request-id", "from-outside-7"), &image);
    assert_eq!(taken.header("x-request-id"), Some("from-outside-7"));
    // An answer is sent before its line is written.
    wait("the lines in the log", 10, || {
        let log = server.log();
        (log.contains("from-outside-7") && log.contains(&made[0])).then_some(())
    });
}

#[test]
fn health_is_a_word() {
    let server = Server::start(&[]);
    for (path, word) in [
        ("/health", r#"{"status":"ok"}"#),
        ("/v2/health/live", r#"{"live":true}"#),
        ("/v2/health/ready", r#"{"ready":true}"#),
    ] {
        let reply = server.client.get(path);
        assert_eq!((reply.status, reply.body.as_str()), (200, word));
    }
}
