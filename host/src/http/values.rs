//! Tensors as JSON: flat or nested lists of numbers, or of pictures in base64.

use super::base64;
use crate::bindings::exports::pinhole::vision::classify::ElementType;
use crate::error::Error;
use bytes::Bytes;
use pinhole_request::json;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use std::fmt;

/// What is said of numbers that are none, however they came.
pub const NOT_FINITE: &str =
    "A tensor's elements must be finite numbers of its type: NaN and infinities are not taken.";

/// 16-bit floats end below: this and more is rounded to infinity.
const HALF_END: f64 = 65520.0;

/// Elements in order, and how their lists were nested, outermost first.
#[derive(Debug, PartialEq)]
pub struct Numbers {
    /// Every one finite.
    pub values: Vec<f32>,
    /// How many lists, or elements, each list of this depth has.
    pub nesting: Vec<usize>,
}

impl Numbers {
    /// Whether lists are nested as this shape says, where neighbouring dimensions may be one: flat is always right. Lists
    /// nested otherwise are of another tensor, such as one with its channels last.
    pub fn fits(&self, shape: &[usize]) -> bool {
        let mut sides = shape.iter().copied();
        let fits = self.nesting.iter().all(|length| {
            let mut product = 1;
            while product < *length {
                let Some(side) = sides.next() else {
                    return false;
                };
                product *= side;
            }
            product == *length
        });
        fits && sides.all(|side| side == 1)
    }
}

/// Reads a list of numbers for elements of this type, flat or nested, of at most `limit` elements.
pub fn numbers(json: &str, limit: usize, element_type: ElementType) -> Result<Numbers, Error> {
    let convert = |found: Found<'_>| match found {
        Found::Number(value) => number(value, element_type).map_err(String::from),
        Found::Text(_) => Err("a text stands where a number is wanted".into()),
    };
    let (values, nesting) = read(json, limit, convert).map_err(|error| {
        if is_not_finite(json.as_bytes(), &error) {
            return Error::BadRequest(NOT_FINITE.into());
        }
        malformed(&error)
    })?;
    if values.iter().all(|value| value.is_finite()) {
        Ok(Numbers { values, nesting })
    } else {
        Err(Error::BadRequest(NOT_FINITE.into()))
    }
}

/// A number as the model's input will hold it; an infinity where it cannot.
fn number(value: f64, element_type: ElementType) -> Result<f32, &'static str> {
    match element_type {
        ElementType::Float32 => Ok(value as f32),
        ElementType::Float16 if value.abs() < HALF_END => Ok(value as f32),
        ElementType::Float16 => Ok(f32::INFINITY),
        ElementType::Uint8 if value.fract() == 0.0 && (0.0..=255.0).contains(&value) => {
            Ok(value as f32)
        }
        ElementType::Uint8 => Err("a number is not a whole one from 0 to 255"),
    }
}

/// Reads a list of pictures, each in base64, alone or as `{"b64": "..."}`, of at most `limit` elements.
pub fn pictures(json: &str, limit: usize) -> Result<Vec<Bytes>, Error> {
    let convert = |found: Found<'_>| match found {
        Found::Text(text) => base64::decode(text),
        Found::Number(_) => Err("a number stands where a picture in base64 is wanted".into()),
    };
    let (pictures, _) = read(json, limit, convert).map_err(|error| malformed(&error))?;
    Ok(pictures)
}

fn malformed(error: &serde_json::Error) -> Error {
    let reason = json::reason(error);
    Error::BadRequest(format!("The input's data is not understood: {reason}."))
}

/// What a body is refused with that was not read for this reason: it may hold numbers that JSON has no words for.
pub fn refusal(body: &[u8], reason: &str) -> Error {
    let sentence = match serde_json::from_slice::<IgnoredAny>(body) {
        Err(error) if is_not_finite(body, &error) => NOT_FINITE.into(),
        _ => format!("The request is not understood: {reason}."),
    };
    Error::BadRequest(sentence)
}

/// Whether JSON was not understood where it has a number beyond all types, or what JavaScript, Python and C call those that
/// JSON has no words for.
fn is_not_finite(json: &[u8], error: &serde_json::Error) -> bool {
    if error.to_string().starts_with("number out of range") {
        return true;
    }
    if !error.is_syntax() {
        return false;
    }
    let lines = json.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines.take(error.line() - 1).map(<[u8]>::len).sum();
    let place = (before + error.column()).min(json.len());
    // The parser stops at the word's first letter, or behind it.
    let (start, end) = (place.saturating_sub(2), (place + 8).min(json.len()));
    let near = String::from_utf8_lossy(&json[start..end]).to_ascii_lowercase();
    let near = near.trim_start_matches([',', '[', ':', ' ', '-', '+']);
    near.starts_with("nan") || near.starts_with("inf")
}

enum Found<'a> {
    Number(f64),
    Text(&'a str),
}

fn read<T, F>(
    json: &str,
    limit: usize,
    convert: F,
) -> Result<(Vec<T>, Vec<usize>), serde_json::Error>
where
    F: FnMut(Found<'_>) -> Result<T, String>,
{
    let mut into = Into {
        values: Vec::new(),
        nesting: Vec::new(),
        depth: None,
        limit,
        convert,
    };
    let mut reader = serde_json::Deserializer::from_str(json);
    Level(&mut into, 0).deserialize(&mut reader)?;
    reader.end()?;
    let nesting = into.nesting.into_iter().map(Option::unwrap_or_default);
    Ok((into.values, nesting.collect()))
}

/// Where elements go.
struct Into<T, F> {
    values: Vec<T>,
    /// Of each depth, none before a list of it has ended.
    nesting: Vec<Option<usize>>,
    /// How deep elements are.
    depth: Option<usize>,
    limit: usize,
    convert: F,
}

const RAGGED: &str = "its lists are not all of one length and depth";

impl<T, F: FnMut(Found<'_>) -> Result<T, String>> Into<T, F> {
    fn add<E: serde::de::Error>(&mut self, found: Found<'_>, depth: usize) -> Result<(), E> {
        if self.values.len() == self.limit {
            return Err(E::custom(format_args!(
                "there are more than {} elements",
                self.limit
            )));
        }
        if *self.depth.get_or_insert(depth) != depth {
            return Err(E::custom(RAGGED));
        }
        self.values.push((self.convert)(found).map_err(E::custom)?);
        Ok(())
    }
}

/// One level of nesting: a list of levels, or an element. The parser bounds how deep they go.
struct Level<'a, T, F>(&'a mut Into<T, F>, usize);

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
        let Self(into, depth) = self;
        if into.nesting.len() == depth {
            into.nesting.push(None);
        }
        let mut length = 0;
        while list
            .next_element_seed(Level(&mut *into, depth + 1))?
            .is_some()
        {
            length += 1;
        }
        match into.nesting[depth].replace(length) {
            Some(other) if other != length => Err(A::Error::custom(RAGGED)),
            _ => Ok(()),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match map.next_key::<String>()?.as_deref() {
            Some("b64") => map.next_value_seed(Level(&mut *self.0, self.1))?,
            _ => return Err(A::Error::custom("an object needs one field, `b64`")),
        }
        match map.next_key::<IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(A::Error::custom("an object needs one field, `b64`")),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.0.add(Found::Number(value), self.1)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.0.add(Found::Number(value as f64), self.1)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.0.add(Found::Number(value as f64), self.1)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.0.add(Found::Text(text), self.1)
    }
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
