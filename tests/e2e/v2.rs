//! The Open Inference Protocol by hand: exact shapes of answers and refusals, and what clients do not send.

use crate::common::pictures::{base64, jpeg, large, scene};
use crate::common::server::Server;
use serde_json::{Value, json};

const INFER: &str = "/v2/models/mobilenetv2-cifar10/infer";

#[test]
fn metadata_has_the_protocol_s_fields() {
    let server = Server::start(&[]);
    let get = |path: &str| server.client.get(path).json();
    assert_eq!(
        get("/v2"),
        json!({
            "name": "pinhole",
            "version": env!("CARGO_PKG_VERSION"),
            "extensions": [
                "binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics",
            ],
        })
    );
    let model = get("/v2/models/mobilenetv2-cifar10");
    assert_eq!(model, get("/v2/models/mobilenetv2-cifar10/versions/1"));
    assert_eq!(model["name"], "mobilenetv2-cifar10");
    assert_eq!(model["versions"], json!(["1"]));
    assert_eq!(model["inputs"][0]["datatype"], "FP32");
    assert_eq!(model["outputs"][0]["shape"], json!([-1, 10]));
    assert_eq!(get("/v2/health/live"), json!({"live": true}));
    assert_eq!(get("/v2/health/ready"), json!({"ready": true}));
    assert_eq!(get("/health"), json!({"status": "ok"}));
    assert_eq!(
        get("/v2/models"),
        json!({"models": ["mobilenetv2-cifar10"]})
    );
    let ready = json!({"name": "mobilenetv2-cifar10", "ready": true});
    assert_eq!(get("/v2/models/mobilenetv2-cifar10/ready"), ready);
    assert_eq!(
        get("/v2/models/mobilenetv2-cifar10/versions/1/ready"),
        ready
    );
}

#[test]
fn a_slash_at_the_end_means_nothing() {
    let server = Server::start(&[]);
    for path in [
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models",
        "/v2/models/mobilenetv2-cifar10",
        "/v2/models/mobilenetv2-cifar10/ready",
        "/v2/models/mobilenetv2-cifar10/versions/1",
        "/v2/models/mobilenetv2-cifar10/config",
        "/health",
    ] {
        let reply = server.client.get(&format!("{path}/"));
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        assert_eq!(reply.body, server.client.get(path).body, "{path}");
    }
    let picture = jpeg(&scene(64, 64));
    let reply = server
        .client
        .post("/predict/?top_k=1", "image/jpeg", &picture);
    assert_eq!(reply.answer().predictions.len(), 1);
    // Their counts are those of the route, not new ones.
    let metrics = server.client.get("/metrics/");
    assert_eq!(metrics.status, 200);
    assert!(metrics.body.contains("route=\"/predict\""));
    assert!(!metrics.body.contains("/\","), "{}", metrics.body);
    server.client.get("/v2//").protocol_refusal(404);
}

#[test]
fn what_triton_s_tools_ask_is_read_only() {
    let server = Server::start(&[]);
    let index = |body: &[u8]| {
        server
            .client
            .post("/v2/repository/index", "application/json", body)
    };
    let models =
        json!([{"name": "mobilenetv2-cifar10", "version": "1", "state": "READY", "reason": ""}]);
    for body in ["", "{}", "null", r#"{"ready": true}"#, r#"{"ready": null}"#] {
        assert_eq!(index(body.as_bytes()).json(), models, "{body}");
    }
    index(b"{").protocol_refusal(400);
    let config = server
        .client
        .get("/v2/models/mobilenetv2-cifar10/versions/1/config")
        .json();
    assert_eq!(config["max_batch_size"], 32);
    assert_eq!(config["input"][0]["format"], "FORMAT_NCHW");
    assert_eq!(config["output"][0]["dims"], json!([10]));
    let statistics = || server.client.get("/v2/models/stats").json()["model_stats"][0].clone();
    let before = statistics();
    let reply = server.client.predict(&jpeg(&scene(64, 64)));
    reply.answer();
    server.client.predict(b"no picture at all");
    let after = statistics();
    assert_eq!(
        after,
        server
            .client
            .get("/v2/models/mobilenetv2-cifar10/versions/1/stats")
            .json()["model_stats"][0]
    );
    let more = |pointer: &str| {
        let count = |stats: &Value| stats.pointer(pointer).unwrap().as_u64().unwrap();
        count(&after) - count(&before)
    };
    assert_eq!(more("/inference_count"), 1);
    assert_eq!(more("/inference_stats/success/count"), 1);
    assert_eq!(more("/inference_stats/fail/count"), 1);
    assert!(more("/inference_stats/compute_infer/ns") > 0);
    let post = |path: &str| server.client.post(path, "application/json", b"{}");
    for verb in ["load", "unload"] {
        let path = format!("/v2/repository/models/mobilenetv2-cifar10/{verb}");
        assert!(
            post(&path)
                .protocol_refusal(501)
                .contains("part of the service")
        );
        post(&format!("/v2/repository/models/other/{verb}")).protocol_refusal(404);
    }
}

#[test]
fn what_is_not_finite_is_refused_both_ways() {
    let server = Server::start(&[]);
    let model = server.client.get("/v2/models/mobilenetv2-cifar10").json();
    let mut shape: Vec<i64> = serde_json::from_value(model["inputs"][0]["shape"].clone()).unwrap();
    shape[0] = 1;
    let elements = shape.iter().product::<i64>() as usize;
    let mut sentences = Vec::new();
    for (word, value) in [
        ("NaN", f32::NAN),
        ("-Infinity", f32::NEG_INFINITY),
        ("1e39", f32::INFINITY),
    ] {
        let data = format!("[{}{word}]", "0,".repeat(elements - 1));
        let body = format!(
            r#"{{"inputs": [{{"name": "input", "datatype": "FP32", "shape": {shape:?}, "data": {data}}}]}}"#
        );
        let reply = server
            .client
            .post(INFER, "application/json", body.as_bytes());
        sentences.push(reply.protocol_refusal(400));
        let size = elements * 4;
        let mut body = format!(
            r#"{{"inputs": [{{"name": "input", "datatype": "FP32", "shape": {shape:?}, "parameters": {{"binary_data_size": {size}}}}}]}}"#
        )
        .into_bytes();
        let length = body.len().to_string();
        body.resize(body.len() + size - 4, 0);
        body.extend(value.to_le_bytes());
        let header = ("inference-header-content-length", length.as_str());
        sentences.push(
            server
                .client
                .post_with(INFER, header, &body)
                .protocol_refusal(400),
        );
    }
    sentences.dedup();
    assert_eq!(sentences.len(), 1, "{sentences:?}");
    assert!(sentences[0].contains("NaN"));
}

#[test]
fn other_models_and_paths_are_404_in_the_protocol_s_shape() {
    let server = Server::start(&[]);
    for path in [
        "/v2/models/other",
        "/v2/models/other/ready",
        "/v2/models/mobilenetv2-cifar10/versions/2",
        "/v2/models/mobilenetv2-cifar10/versions/2/ready",
        "/v2/nothing",
        "/v2/models/mobilenetv2-cifar10/nothing",
    ] {
        server.client.get(path).protocol_refusal(404);
    }
    let sentence = server.client.get("/v2/models/other").protocol_refusal(404);
    assert!(sentence.contains("`other`") && sentence.contains("`mobilenetv2-cifar10`"));
    server.client.get("/v2/models/%ff").protocol_refusal(400);
    let reply = server.client.get(INFER);
    reply.protocol_refusal(405);
    assert_eq!(reply.header("allow"), Some("POST"));
    server
        .client
        .post("/v2/models/other/infer", "application/json", b"{}")
        .protocol_refusal(404);
}

#[test]
fn a_picture_alone_is_a_request() {
    let server = Server::start(&[]);
    let picture = jpeg(&scene(64, 64));
    let reply = server
        .client
        .post_with(INFER, ("inference-header-content-length", "0"), &picture);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let length: usize = reply
        .header("inference-header-content-length")
        .unwrap()
        .parse()
        .unwrap();
    // What is behind it is no text, and its length is not known here any more.
    let head: Value = serde_json::from_str(&reply.body[..length]).unwrap();
    assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], 40);
    for wrong in ["-1", "x", "99999999"] {
        let header = ("inference-header-content-length", wrong);
        server
            .client
            .post_with(INFER, header, &picture)
            .protocol_refusal(400);
    }
}

#[test]
fn a_batch_is_bounded_and_costs_what_its_pictures_cost() {
    let server = Server::start(&["--max-batch", "2", "--workers", "1", "--queue", "0"]);
    let picture = base64(&jpeg(&scene(64, 64)));
    let ask = |count: usize| {
        let input = json!({
            "name": "input", "datatype": "BYTES", "shape": [count], "data": vec![&picture; count],
        });
        let body = json!({"inputs": [input], "outputs": [{"name": "scores"}]}).to_string();
        server
            .client
            .post(INFER, "application/json", body.as_bytes())
    };
    let model = server.client.get("/v2/models/mobilenetv2-cifar10").json();
    assert_eq!(model["inputs"][0]["name"], "input");
    let answer = ask(2).json();
    let scores = answer["outputs"][0]["data"].as_array().unwrap();
    assert_eq!(scores.len(), 20);
    assert_eq!(scores[..10], scores[10..]);
    let sum: f64 = scores[..10]
        .iter()
        .map(|score| score.as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    assert!(ask(3).protocol_refusal(413).contains('2'));
}

#[test]
fn what_cannot_be_decoded_names_the_picture() {
    let server = Server::start(&["--memory-mib", "96"]);
    let good = jpeg(&scene(64, 64));
    let ask = |pictures: &[&[u8]]| {
        let data: Vec<_> = pictures
            .iter()
            .map(|bytes| json!({"b64": base64(bytes)}))
            .collect();
        let input = json!({
            "name": "input", "datatype": "BYTES", "shape": [data.len()], "data": data,
        });
        let body = json!({"inputs": [input]}).to_string();
        server
            .client
            .post(INFER, "application/json", body.as_bytes())
    };
    assert_eq!(ask(&[&good, &good]).status, 200);
    assert!(
        ask(&[&good, b"nonsense"])
            .protocol_refusal(415)
            .starts_with("Image 2 of 2: ")
    );
    ask(&[&good[..good.len() / 2]]).protocol_refusal(422);
    ask(&[b""]).protocol_refusal(400);
    ask(&[&large()]).protocol_refusal(413);
    assert_eq!(ask(&[&good]).status, 200);
}
