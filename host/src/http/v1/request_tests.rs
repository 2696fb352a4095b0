//! Requests as clients write them, good and bad.

use super::*;
use crate::http::sample::model;

fn ask(json: &str) -> Result<Request, Error> {
    predict(&Bytes::copy_from_slice(json.as_bytes()), &model(), 3)
}

#[track_caller]
fn refused(json: &str) -> String {
    let sentence = ask(json).unwrap_err().to_string();
    assert!(sentence.ends_with('.'), "{sentence}");
    sentence
}

#[test]
fn images_come_in_every_way_that_clients_write_them() {
    let images = || Input::Images(vec!["ab".into(), "c".into()]);
    for rows in [
        r#"[{"b64": "YWI="}, {"b64": "Yw=="}]"#,
        r#"["YWI=", "Yw=="]"#,
        r#"[{"image_bytes": {"b64": "YWI="}}, {"image_bytes": {"b64": "Yw=="}}]"#,
        r#"[{"input": {"b64": "YWI="}}, {"data": "Yw=="}]"#,
        r#"[{"image": {"b64": "YWI="}, "key": null}, {"image": "Yw=="}]"#,
    ] {
        let request = ask(&format!(r#"{{"instances": {rows}}}"#)).unwrap();
        assert_eq!(request.input, images(), "{rows}");
        assert_eq!(request.form, Form::Rows);
        let examples = format!(r#"{{"examples": {rows}, "context": {{}}}}"#);
        let request = classify(&examples.into(), &model(), 3).unwrap();
        assert_eq!(request.input, images(), "{rows}");
    }
    let two = r#"[{"b64": "YWI="}, {"b64": "Yw=="}]"#;
    for columns in [two, &format!(r#"{{"image": {two}}}"#)] {
        let request = ask(&format!(r#"{{"inputs": {columns}, "instances": null}}"#)).unwrap();
        assert_eq!(request.input, images(), "{columns}");
        assert_eq!(request.form, Form::Columns);
    }
    for one in [
        r#"{"b64": "YQ"}"#,
        r#""YQ""#,
        r#"{"image": {"b64": "YQ"}}"#,
        r#"{"image": "YQ"}"#,
    ] {
        let request = ask(&format!(r#"{{"inputs": {one}}}"#)).unwrap();
        assert_eq!(request.input, Input::Images(vec!["a".into()]), "{one}");
    }
}

#[test]
fn tensors_come_by_rows_and_by_columns() {
    let expected = Input::Tensors(vec![vec![1.0, 2.0], vec![3.0, 4.0]]);
    for json in [
        r#"{"instances": [[[[1], [2]]], [[[3], [4]]]]}"#,
        r#"{"instances": [[1, 2], [3, 4]], "signature_name": "serving_default"}"#,
        r#"{"instances": [{"image": [[[1], [2]]]}, {"image": [3, 4]}], "signature_name": null}"#,
        r#"{"inputs": [[[[1], [2]]], [[[3], [4]]]], "signature_name": ""}"#,
        r#"{"inputs": {"image": [[[[1], [2]]], [[[3], [4]]]]}}"#,
    ] {
        assert_eq!(ask(json).unwrap().input, expected, "{json}");
    }
}

#[test]
fn what_does_not_fit_is_refused_in_a_sentence() {
    for (json, words) in [
        ("{}", "`instances`"),
        (r#"{"instances": null, "inputs": null}"#, "`instances`"),
        (r#"{"instances": ["YQ"], "inputs": ["YQ"]}"#, "both"),
        (r#"{"instances": []}"#, "empty"),
        (r#"{"instances": [], "signature_name": "x"}"#, "`x`"),
        (r#"{"instances": {"b64": "YQ"}}"#, "list"),
        (r#"{"instances": ["YQ", "YQ", "YQ", "YQ"]}"#, "3 images"),
        (r#"{"instances": ["YQ", [1, 2]]}"#, "either"),
        (r#"{"instances": [[1, 2], "YQ"]}"#, "either"),
        (r#"{"instances": [[1, 2, 3]]}"#, "more than 2"),
        (r#"{"instances": [[1]]}"#, "[1, 2, 1]"),
        (r#"{"instances": [[1, [2]]]}"#, "length"),
        (r#"{"instances": [1, 2]}"#, "`1`"),
        (r#"{"instances": [{"pixels": [1, 2]}]}"#, "`pixels`"),
        (r#"{"instances": [{"image": "YQ", "key": 1}]}"#, "one field"),
        (r#"{"instances": [{}]}"#, "no field"),
        (r#"{"instances": [{"image": {"input": "YQ"}}]}"#, "b64"),
        (r#"{"instances": [{"b64": 7}]}"#, "`7`"),
        (r#"{"instances": ["no base64!"]}"#, "base64"),
        (r#"{"instances": [["1", 2]]}"#, "text"),
        (r#"{"instances": ["#, "breaks off"),
        ("[]", "not understood"),
    ] {
        let sentence = refused(json);
        assert!(sentence.contains(words), "{json}: {sentence}");
    }
    for wrong in ["NaN", "-Infinity", "1e39", "1e999"] {
        let json = format!(r#"{{"instances": [[1, {wrong}]]}}"#);
        assert_eq!(refused(&json), values::NOT_FINITE);
    }
}

#[test]
fn what_is_long_costs_no_more_than_it_is_long() {
    let many = format!(r#"{{"instances": [{}1]}}"#, "1,".repeat(1_000_000));
    assert!(refused(&many).contains("3 images"));
    let deep = format!(r#"{{"inputs": {}"#, "[".repeat(100_000));
    refused(&deep);
    let name = "x".repeat(100_000);
    let sentence = refused(&format!(r#"{{"instances": [{{"{name}": [1, 2]}}]}}"#));
    assert!(sentence.len() < 300);
}
