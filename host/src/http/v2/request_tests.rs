//! Requests as clients write them, good and bad.

use super::*;
use crate::bindings::exports::pinhole::vision::classify::ElementType;
use crate::http::sample::model;

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
fn what_is_not_finite_is_refused_in_the_same_words_both_ways() {
    let json = |data: &str| {
        read(&format!(
            r#"{{"inputs": [{{"name": "image", "shape": [1, 1, 2, 1], "datatype": "FP32", "data": {data}}}]}}"#
        ))
    };
    assert!(json("[1e38, -1e38]").is_ok());
    for wrong in ["[1, 1e39]", "[1e999, 1]", "[NaN, 1]", "[1, -Infinity]"] {
        assert_eq!(refused(json(wrong)), values::NOT_FINITE, "{wrong}");
    }
    let binary = |datatype: &str, element_type, section: &[u8]| {
        let json = format!(
            r#"{{"inputs": [{{"name": "image", "shape": [1, 1, 2, 1], "datatype": "{datatype}",
                "parameters": {{"binary_data_size": {}}}}}]}}"#,
            section.len()
        );
        let mut model = model();
        model.input.element_type = element_type;
        let body = [json.as_bytes(), section].concat();
        parse(body.into(), Some(json.len()), &model, 3)
    };
    for wrong in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let section = binary::from_numbers(&[0.0, wrong]);
        let request = binary("FP32", ElementType::Float32, &section);
        assert_eq!(refused(request), values::NOT_FINITE, "{wrong}");
    }
    for wrong in [0x7c00_u16, 0xfc00, 0x7e00, 0x7c01] {
        let section = [0x3c00, wrong].map(u16::to_le_bytes).concat();
        let request = binary("FP16", ElementType::Float16, &section);
        assert_eq!(refused(request), values::NOT_FINITE, "{wrong:x}");
    }
    let largest = [0x7bff_u16, 0xfbff].map(u16::to_le_bytes).concat();
    assert!(binary("FP16", ElementType::Float16, &largest).is_ok());
    assert!(binary("UINT8", ElementType::Uint8, &[0, 255]).is_ok());
}

#[test]
fn null_is_unset_everywhere() {
    let request = read(
        r#"{"id": null, "parameters": null, "outputs": null, "model_name": null,
            "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "parameters": null, "data": ["YQ"]}]}"#,
    );
    let plain = read(
        r#"{"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["YQ"]}]}"#,
    );
    assert_eq!(request.unwrap(), plain.unwrap());
    let request = read(
        r#"{"parameters": {"binary_data_output": null}, "outputs": [{"name": "scores", "parameters": null}],
            "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["YQ"],
                "parameters": {"binary_data_size": null, "shared_memory_region": null}}]}"#,
    );
    assert_eq!(request.unwrap().wanted, Wanted::Scores);
    let request = with_binary(
        r#"{"outputs": [{"name": "scores", "parameters": {"classification": null, "binary_data": null}}],
            "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": null,
                "parameters": {"binary_data_size": 5}}]}"#,
        b"\x01\0\0\0a",
    );
    assert_eq!(request.unwrap().input, Input::Images(vec!["a".into()]));
}

#[test]
fn ids_are_given_back_whole_or_refused() {
    let ask = |id: &str| {
        read(&format!(
            r#"{{"id": "{id}", "inputs": [{{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["YQ"]}}]}}"#
        ))
    };
    for id in ["", "7", &"ö".repeat(512)] {
        assert_eq!(ask(id).unwrap().id.as_deref(), Some(id));
    }
    assert!(refused(ask(&"x".repeat(1025))).contains("1024"));
}

#[test]
fn lists_nested_for_another_tensor_are_refused() {
    let ask = |data: &str| {
        read(&format!(
            r#"{{"inputs": [{{"name": "image", "shape": [3, 1, 2, 1], "datatype": "FP32", "data": {data}}}]}}"#
        ))
    };
    for right in [
        "[1, 2, 3, 4, 5, 6]",
        "[[1, 2], [3, 4], [5, 6]]",
        "[[[[1], [2]]], [[[3], [4]]], [[[5], [6]]]]",
    ] {
        assert!(ask(right).is_ok(), "{right}");
    }
    let wrong = "[[1, 2, 3], [4, 5, 6]]";
    assert!(refused(ask(wrong)).contains("[2, 3]"));
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
