//! Tensors as JSON: flat or nested lists of numbers, or of pictures in base64.

use super::super::base64;
use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Reads a list of numbers, flat or nested, of at most `limit` elements.
pub fn numbers(json: &str, limit: usize) -> Result<Vec<f32>, serde_json::Error> {
    read(json, limit, |found| match found {
        Found::Number(value) if (value as f32).is_finite() => Ok(value as f32),
        Found::Number(_) => Err("a number is out of range for 32 bits".into()),
        Found::Text(_) => Err("a text stands where a number is wanted".into()),
    })
}

/// Reads a list of pictures, each in base64, alone or as `{"b64": "..."}`, of at most `limit` elements.
pub fn pictures(json: &str, limit: usize) -> Result<Vec<Bytes>, serde_json::Error> {
    read(json, limit, |found| match found {
        Found::Text(text) => base64::decode(text),
        Found::Number(_) => Err("a number stands where a picture in base64 is wanted".into()),
    })
}

enum Found<'a> {
    Number(f64),
    Text(&'a str),
}

fn read<T, F>(json: &str, limit: usize, convert: F) -> Result<Vec<T>, serde_json::Error>
where
    F: FnMut(Found<'_>) -> Result<T, String>,
{
    let mut into = Into {
        values: Vec::new(),
        limit,
        convert,
    };
    let mut reader = serde_json::Deserializer::from_str(json);
    Level(&mut into).deserialize(&mut reader)?;
    reader.end()?;
    Ok(into.values)
}

/// Where elements go.
struct Into<T, F> {
    values: Vec<T>,
    limit: usize,
    convert: F,
}

impl<T, F: FnMut(Found<'_>) -> Result<T, String>> Into<T, F> {
    fn add<E: serde::de::Error>(&mut self, found: Found<'_>) -> Result<(), E> {
        if self.values.len() == self.limit {
            return Err(E::custom(format_args!(
                "there are more than {} elements",
                self.limit
            )));
        }
        self.values.push((self.convert)(found).map_err(E::custom)?);
        Ok(())
    }
}

/// One level of nesting: a list of levels, or an element. The parser bounds how deep they go.
struct Level<'a, T, F>(&'a mut Into<T, F>);

impl<'de, T, F: FnMut(Found<'_>) -> Result<T, String>> DeserializeSeed<'de> for Level<'_, T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T, F: FnMut(Found<'_>) -> Result<T, String>> Visitor<'de> for Level<'_, T, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of the tensor's elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Level(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match map.next_key::<String>()?.as_deref() {
            Some("b64") => map.next_value_seed(Level(&mut *self.0))?,
            _ => return Err(A::Error::custom("an object needs one field, `b64`")),
        }
        match map.next_key::<String>()? {
            None => Ok(()),
            Some(_) => Err(A::Error::custom("an object needs one field, `b64`")),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.0.add(Found::Number(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.0.add(Found::Number(value as f64))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.0.add(Found::Number(value as f64))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.0.add(Found::Text(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_flat_and_nested() {
        let expected = [1.0, -2.0, 0.5, 4.0];
        for json in [
            "[1, -2, 0.5, 4]",
            "[[1.0, -2], [5e-1, 4]]",
            "[[[[1], [-2]], [[0.5], [4]]]]",
        ] {
            assert_eq!(numbers(json, 4).unwrap(), expected);
        }
        assert_eq!(numbers("[]", 4).unwrap(), [0.0; 0]);
        for wrong in [
            "[1, 2, 3, 4, 5]",
            "[\"1\"]",
            "[true]",
            "[null]",
            "[1e39]",
            "[1",
            "[1] 2",
            "",
        ] {
            assert!(numbers(wrong, 4).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let deep = "[".repeat(100_000);
        assert!(numbers(&deep, 4).is_err());
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
            r#"["no base64"]"#,
            r#"[{"b65": "YWI="}]"#,
            r#"[{"b64": "YWI=", "x": 1}]"#,
            r#"["YQ", "YQ", "YQ"]"#,
        ] {
            assert!(pictures(wrong, 2).is_err(), "{wrong}");
        }
    }
}
