//! TensorFlow Serving's REST and KServe's version 1 by hand: exact shapes of answers and refusals.

use crate::common::pictures::{base64, jpeg, scene};
use crate::common::server::{Reply, Server};
use serde_json::{Value, json};

const MODEL: &str = "/v1/models/mobilenetv2-cifar10";

fn post(server: &Server, path: &str, body: &Value) -> Reply {
    let body = body.to_string();
    server
        .client
        .post(path, "application/json", body.as_bytes())
}

#[test]
fn status_and_metadata_have_what_each_client_reads() {
    let server = Server::start(&[]);
    let get = |path: &str| server.client.get(path).json();
    assert_eq!(
        get("/v1/models"),
        json!({"models": ["mobilenetv2-cifar10"]})
    );
    let status = json!({
        "name": "mobilenetv2-cifar10",
        "ready": true,
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
        ],
    });
    // With no version, its own, and the one that stands for any.
    for path in ["", "/", "/versions/1", "/versions/1/", "/versions/0"] {
        assert_eq!(get(&format!("{MODEL}{path}")), status, "{path}");
    }
    let metadata = get(&format!("{MODEL}/metadata"));
    assert_eq!(metadata, get(&format!("{MODEL}/versions/0/metadata/")));
    let spec = json!({"name": "mobilenetv2-cifar10", "signature_name": "", "version": "1"});
    assert_eq!(metadata["model_spec"], spec);
    assert_eq!(metadata["modelSpec"], spec);
    let signatures = &metadata["metadata"]["signature_def"];
    assert_eq!(signatures["signature_def"], signatures["signatureDef"]);
    let signature = &signatures["signature_def"]["serving_default"];
    assert_eq!(signature["method_name"], "tensorflow/serving/predict");
    let input = &signature["inputs"]["input"];
    assert_eq!(input["dtype"], "DT_FLOAT");
    assert_eq!(input["tensor_shape"], input["tensorShape"]);
    let sides = |tensor: &Value| -> Vec<String> {
        let sides = tensor["tensor_shape"]["dim"].as_array().unwrap();
        let side = |side: &Value| side["size"].as_str().unwrap().to_string();
        sides.iter().map(side).collect()
    };
    assert_eq!(sides(input).len(), 4);
    assert_eq!(sides(&signature["outputs"]["scores"]), ["-1", "10"]);
}

#[test]
fn predictions_are_those_of_predict() {
    let server = Server::start(&[]);
    let picture = jpeg(&scene(64, 48));
    let answer = server
        .client
        .post("/predict?top_k=10", "image/jpeg", &picture)
        .answer();
    let b64 = json!({"b64": base64(&picture)});
    let same = |row: &Value| {
        let row = row.as_array().unwrap();
        assert_eq!(row.len(), 10);
        for prediction in &answer.predictions {
            let score = row[prediction.class_id as usize].as_f64().unwrap();
            assert!((score - f64::from(prediction.probability)).abs() < 1e-6);
        }
    };
    for path in [":predict", "/versions/1:predict", "/versions/0:predict/"] {
        let path = format!("{MODEL}{path}");
        let rows = json!({"instances": [b64, {"image_bytes": b64}]});
        let reply = post(&server, &path, &rows).json();
        assert_eq!(reply.as_object().unwrap().len(), 1);
        let rows = reply["predictions"].as_array().unwrap();
        assert_eq!(rows.len(), 2);
        rows.iter().for_each(same);
        let columns = json!({"inputs": {"input": [b64, b64]}, "signature_name": "serving_default"});
        let reply = post(&server, &path, &columns).json();
        assert_eq!(reply.as_object().unwrap().len(), 1);
        reply["outputs"].as_array().unwrap().iter().for_each(same);
    }
    let classes = json!({"examples": [{"input": b64}, b64]});
    let reply = post(&server, &format!("{MODEL}:classify"), &classes).json();
    for row in reply["result"].as_array().unwrap() {
        for (pair, prediction) in row.as_array().unwrap().iter().zip(&answer.predictions) {
            assert_eq!(pair[0], prediction.label.as_str());
            let score = pair[1].as_f64().unwrap();
            assert!((score - f64::from(prediction.probability)).abs() < 1e-6);
        }
    }
    let log = server.log();
    assert!(
        log.contains("route=\"/v1/models/{model}/versions/{version}:predict\" status=200"),
        "{log}"
    );
}

#[test]
fn tensors_are_answered_as_by_version_2() {
    let server = Server::start(&[]);
    let model = server.client.get("/v2/models/mobilenetv2-cifar10").json();
    let shape: Vec<usize> = serde_json::from_value(
        model["inputs"][0]["shape"].as_array().unwrap()[1..]
            .to_vec()
            .into(),
    )
    .unwrap();
    let [channels, height, width] = shape[..] else {
        panic!("{shape:?}")
    };
    let value = |i: usize| (i * 37 % 101) as f32 / 50.0 - 1.0;
    let flat: Vec<f32> = (0..channels * height * width).map(value).collect();
    let nested: Vec<Vec<&[f32]>> = flat
        .chunks(height * width)
        .map(|plane| plane.chunks(width).collect())
        .collect();
    let input = json!({
        "name": "input", "datatype": "FP32", "shape": [1, channels, height, width], "data": flat,
    });
    let path = "/v2/models/mobilenetv2-cifar10/infer/";
    let expected = &post(&server, path, &json!({"inputs": [input]})).json()["outputs"][0]["data"];
    let path = format!("{MODEL}:predict");
    for body in [
        json!({"instances": [nested]}),
        json!({"instances": [{"input": nested}]}),
        json!({"instances": [flat]}),
        json!({"inputs": [nested]}),
        json!({"inputs": {"input": [nested]}}),
    ] {
        let answer = post(&server, &path, &body).json();
        let rows = answer.as_object().unwrap().values().next().unwrap();
        assert_eq!(*rows, json!([expected]));
    }
    // The same numbers as a picture with its channels last are of another tensor.
    let last: Vec<Vec<&[f32]>> = flat
        .chunks(width * channels)
        .map(|row| row.chunks(channels).collect())
        .collect();
    let sentence = post(&server, &path, &json!({"instances": [last]})).protocol_refusal(400);
    assert!(sentence.contains("shape"), "{sentence}");
}

#[test]
fn refusals_have_the_protocol_s_shape() {
    let server = Server::start(&["--max-batch", "2"]);
    for path in [
        "/v1",
        "/v1/nothing",
        "/v1/models/other",
        "/v1/models/other/metadata",
        "/v1/models/mobilenetv2-cifar10/versions/2",
        "/v1/models/mobilenetv2-cifar10:explain",
    ] {
        server.client.get(path).protocol_refusal(404);
    }
    let path = format!("{MODEL}:predict");
    let reply = server.client.get(&path);
    reply.protocol_refusal(405);
    assert_eq!(reply.header("allow"), Some("POST"));
    let ask = |body: &Value, status| post(&server, &path, body).protocol_refusal(status);
    ask(&json!({}), 400);
    ask(&json!({"instances": [{"b64": ""}]}), 400);
    ask(
        &json!({"instances": [{"b64": base64(b"no picture at all")}]}),
        415,
    );
    let picture = base64(&jpeg(&scene(64, 64)));
    let sentence = ask(&json!({"instances": [picture, picture, picture]}), 413);
    assert!(sentence.contains('2'));
    let broken = base64(&jpeg(&scene(64, 64))[..400]);
    let sentence = ask(&json!({"instances": [picture, broken]}), 422);
    assert!(sentence.starts_with("Image 2 of 2: "), "{sentence}");
    let long = "m".repeat(4000);
    let sentence = server
        .client
        .get(&format!("/v1/models/{long}"))
        .protocol_refusal(404);
    assert!(sentence.len() < 300, "{sentence}");
    let other = post(&server, "/v1/models/other:predict", &json!({}));
    other.protocol_refusal(404);
}

#[test]
fn the_root_is_a_page_for_people_and_a_word_for_kserve() {
    let server = Server::start(&[]);
    let ask = |accept: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{accept}Connection: close\r\n\r\n");
        server.client.raw(request.as_bytes())
    };
    for accept in [
        "",
        "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n",
        "Accept: text/html\r\n",
    ] {
        assert!(ask(accept).contains("<!doctype html>"), "{accept}");
    }
    for accept in ["Accept: */*\r\n", "Accept: application/json\r\n"] {
        assert!(ask(accept).ends_with(r#"{"status":"alive"}"#), "{accept}");
    }
}
