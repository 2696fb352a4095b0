//! Requests as clients write them, good and bad.

use super::*;
use crate::bindings::exports::pinhole::vision::classify::{
    Aspect, Colour, ElementType, Interpolation, Layout, Preprocessing, TensorInfo,
};

fn model() -> ModelInfo {
    ModelInfo {
        name: "m".into(),
        version: "1".into(),
        sha256: String::new(),
        input: TensorInfo {
            name: "image".into(),
            shape: vec![1, 1, 2, 1],
            element_type: ElementType::Float32,
        },
        labels: vec!["a".into(), "b".into()],
        preprocessing: Preprocessing {
            resize: 2,
            aspect: Aspect::Keep,
            crop: 2,
            interpolation: Interpolation::Nearest,
            mean: vec![0.0],
            std: vec![1.0],
            layout: Layout::Nchw,
            colour: Colour::Grey,
        },
        engine: "none".into(),
    }
}

fn read(json: &str) -> Result<Request, Error> {
    parse(Bytes::copy_from_slice(json.as_bytes()), None, &model(), 3)
}

fn with_binary(json: &str, binary: &[u8]) -> Result<Request, Error> {
    let body = [json.as_bytes(), binary].concat();
    parse(body.into(), Some(json.len()), &model(), 3)
}

#[track_caller]
fn refused(result: Result<Request, Error>) -> String {
    let sentence = result.unwrap_err().to_string();
    assert!(sentence.ends_with('.'), "{sentence}");
    sentence
}

#[test]
fn a_tensor_in_json() {
    let request = read(
        r#"{"id": "7", "inputs": [{"name": "image", "shape": [2, 1, 2, 1], "datatype": "FP32",
            "data": [[[[1], [2]]], [[[3], [4]]]]}]}"#,
    );
    assert_eq!(
        request.unwrap(),
        Request {
            id: Some("7".into()),
            input: Input::Tensors(vec![vec![1.0, 2.0], vec![3.0, 4.0]]),
            wanted: Wanted::Scores,
            binary: false,
        }
    );
}

#[test]
fn a_tensor_in_binary() {
    let json = r#"{"inputs": [{"name": "image", "shape": [1, 1, 2, 1], "datatype": "FP32",
        "parameters": {"binary_data_size": 8}}], "parameters": {"binary_data_output": true}}"#;
    let tensor = binary::from_numbers(&[0.5, -1.0]);
    let request = with_binary(json, &tensor).unwrap();
    assert_eq!(request.input, Input::Tensors(vec![vec![0.5, -1.0]]));
    assert!(request.binary);
    assert!(refused(with_binary(json, &tensor[..7])).contains("7 bytes"));
    assert!(refused(with_binary(json, b"")).contains("0 bytes"));
}

#[test]
fn images_in_json_and_in_binary() {
    let expected = Input::Images(vec!["ab".into(), "c".into()]);
    let request = read(
        r#"{"inputs": [{"name": "image", "shape": [2], "datatype": "BYTES", "data": ["YWI=", {"b64": "Yw=="}]}],
            "outputs": [{"name": "scores", "parameters": {"classification": 3, "binary_data": false}}]}"#,
    )
    .unwrap();
    assert_eq!(request.input, expected);
    assert_eq!(request.wanted, Wanted::Labels(3));
    let request = with_binary(
        r#"{"inputs": [{"name": "image", "shape": [2, 1], "datatype": "BYTES", "parameters": {"binary_data_size": 11}}],
            "outputs": [{"name": "scores", "parameters": {"classification": 0, "binary_data": true}}]}"#,
        b"\x02\0\0\0ab\x01\0\0\0c",
    )
    .unwrap();
    assert_eq!(request.input, expected);
    assert_eq!(request.wanted, Wanted::Scores);
    assert!(request.binary);
}

#[test]
fn a_body_without_json_is_an_image() {
    let request = parse("abc".into(), Some(0), &model(), 3).unwrap();
    assert_eq!(request.input, Input::Images(vec!["abc".into()]));
    assert!(request.binary);
}

#[test]
fn what_does_not_fit_is_refused_in_a_sentence() {
    let input = |shape: &str, datatype: &str, rest: &str| {
        read(&format!(
            r#"{{"inputs": [{{"name": "image", "shape": {shape}, "datatype": "{datatype}"{rest}}}]}}"#
        ))
    };
    let data = r#", "data": [1, 2]"#;
    assert!(input("[1, 1, 2, 1]", "FP32", data).is_ok());
    for (wrong, words) in [
        (input("[1, 2, 1]", "FP32", data), "[n, 1, 2, 1]"),
        (input("[]", "FP32", data), "[n, 1, 2, 1]"),
        (input("[2, 1, 2, 1]", "FP32", data), "4 elements"),
        (input("[0, 1, 2, 1]", "FP32", data), "empty"),
        (input("[4, 1, 2, 1]", "FP32", data), "3 images"),
        (
            input("[18446744073709551615, 1, 2, 1]", "FP32", data),
            "3 images",
        ),
        (input("[-1, 1, 2, 1]", "FP32", data), "not understood"),
        (input("[1, 1, 2, 1]", "FP64", data), "FP64"),
        (input("[1, 1, 2, 1]", "FP32", ""), "binary_data_size"),
        (
            input("[1, 1, 2, 1]", "FP32", r#", "data": [1, 2, 3]"#),
            "more than 2",
        ),
        (
            input("[1, 1, 2, 1]", "FP32", r#", "data": ["1", 2]"#),
            "text",
        ),
        (input("[2]", "BYTES", r#", "data": ["YQ"]"#), "2 images"),
        (input("[1]", "BYTES", data), "number"),
        (input("[1, 2]", "BYTES", data), "[n, 1]"),
        (
            input(
                "[1]",
                "BYTES",
                r#", "parameters": {"shared_memory_region": "x"}"#,
            ),
            "shared memory",
        ),
        (read("{}"), "inputs"),
        (read("[1"), "not understood"),
        (read(r#"{"inputs": []}"#), "one input"),
        (parse("{}".into(), Some(3), &model(), 3), "only 2 bytes"),
    ] {
        let sentence = refused(wrong);
        assert!(sentence.contains(words), "{sentence}");
    }
}

#[test]
fn other_names_are_refused_and_the_right_ones_told() {
    let ask = |input: &str, outputs: &str| {
        refused(read(&format!(
            r#"{{"inputs": [{{"name": "{input}", "shape": [1], "datatype": "BYTES", "data": ["YQ"]}}], "outputs": [{outputs}]}}"#
        )))
    };
    assert!(ask("pixels", "").contains("`image`"));
    assert!(ask("image", r#"{"name": "x"}"#).contains("`scores`"));
    assert!(ask("image", r#"{"name": "scores"}, {"name": "scores"}"#).contains("asks for 2"));
}
