//! Lists as clients write them, good and bad.

use super::*;

fn floats(json: &str, limit: usize) -> Result<Numbers, Error> {
    numbers(json, limit, ElementType::Float32)
}

#[test]
fn numbers_come_flat_and_nested() {
    for (json, nesting) in [
        ("[1, -2, 0.5, 4]", vec![4]),
        ("[[1.0, -2], [5e-1, 4]]", vec![2, 2]),
        ("[[[[1], [-2]], [[0.5], [4]]]]", vec![1, 2, 2, 1]),
    ] {
        let values = vec![1.0, -2.0, 0.5, 4.0];
        assert_eq!(floats(json, 4).unwrap(), Numbers { values, nesting });
    }
    assert_eq!(floats("[]", 4).unwrap().values, [0.0; 0]);
    for wrong in [
        "[1, 2, 3, 4, 5]",
        "[\"1\"]",
        "[true]",
        "[null]",
        "[1",
        "[1] 2",
        "",
        "[[1], [2, 3]]",
        "[[1, 2], [[3, 4]]]",
        "[1, [2]]",
        "[[], [1]]",
    ] {
        let error = floats(wrong, 4).unwrap_err().to_string();
        assert_ne!(error, NOT_FINITE, "{wrong}");
    }
}

#[test]
fn what_is_not_finite_is_refused_in_the_same_words_however_it_is_written() {
    for wrong in [
        "[1e39]",
        "[-1e39]",
        "[1e999]",
        "[-1e999]",
        "[1, NaN]",
        "[[1],\n[nan]]",
        "[Infinity]",
        "[1,-Infinity, 2]",
        "[-inf]",
    ] {
        let error = floats(wrong, 4).unwrap_err().to_string();
        assert_eq!(error, NOT_FINITE, "{wrong}");
        let body = format!("{{\"a\":\n 1, \"data\": {wrong}}}");
        let refused = refusal(body.as_bytes(), "x").to_string();
        let is_json = serde_json::from_str::<IgnoredAny>(&body).is_ok();
        assert!(is_json || refused == NOT_FINITE, "{wrong}");
    }
    assert_ne!(refusal(b"{\"a\": nothing}", "x").to_string(), NOT_FINITE);
    let ask = |json, element_type| numbers(json, 4, element_type).map(|found| found.values);
    assert_eq!(ask("[65519]", ElementType::Float16).unwrap(), [65519.0]);
    for wrong in ["[65520]", "[-1e5]", "[1e999]", "[NaN]"] {
        let error = ask(wrong, ElementType::Float16).unwrap_err().to_string();
        assert_eq!(error, NOT_FINITE, "{wrong}");
    }
    assert_eq!(ask("[0, 255.0]", ElementType::Uint8).unwrap(), [0.0, 255.0]);
    for wrong in ["[256]", "[-1]", "[0.5]", "[1e39]"] {
        let error = ask(wrong, ElementType::Uint8).unwrap_err().to_string();
        assert!(error.contains("whole"), "{error}");
    }
    let error = ask("[NaN]", ElementType::Uint8).unwrap_err().to_string();
    assert_eq!(error, NOT_FINITE);
}

#[test]
fn nesting_that_is_of_another_tensor_is_seen() {
    let fits = |nesting: &[usize], shape: &[usize]| {
        let nesting = nesting.to_vec();
        let values = Vec::new();
        Numbers { values, nesting }.fits(shape)
    };
    for right in [
        &[150][..],
        &[1, 150],
        &[1, 3, 50],
        &[3, 5, 10],
        &[1, 3, 5, 10],
        &[1, 3, 5, 10, 1],
        &[15, 10],
    ] {
        assert!(fits(right, &[1, 3, 5, 10]), "{right:?}");
    }
    for wrong in [
        &[1, 5, 10, 3][..],
        &[5, 10, 3],
        &[5, 30],
        &[149],
        &[3, 10, 5],
        &[0],
        &[],
    ] {
        assert!(!fits(wrong, &[1, 3, 5, 10]), "{wrong:?}");
    }
}

#[test]
fn nesting_has_an_end() {
    let deep = "[".repeat(100_000);
    assert!(floats(&deep, 4).is_err());
    let objects = "{\"b64\":".repeat(100_000);
    assert!(pictures(&objects, 4).is_err());
}

#[test]
fn pictures_come_as_text_and_as_objects() {
    let expected = [Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
    for json in [
        r#"["YWI=", "Yw=="]"#,
        r#"[["YWI"], ["Yw"]]"#,
        r#"[{"b64": "YWI="}, "data:image/png;base64,Yw=="]"#,
    ] {
        assert_eq!(pictures(json, 2).unwrap(), expected);
    }
    for wrong in [
        "[1]",
        r#"["no base64!"]"#,
        r#"[{"b65": "YWI="}]"#,
        r#"[{"b64": "YWI=", "x": 1}]"#,
        r#"["YQ", "YQ", "YQ"]"#,
    ] {
        assert!(pictures(wrong, 2).is_err(), "{wrong}");
    }
}
