//! What a request asks for: rows in `instances`, or columns in `inputs`.

use super::super::scores::Input;
use super::super::{base64, values};
use super::metadata::SIGNATURE;
use crate::bindings::exports::pinhole::vision::classify::ModelInfo;
use crate::error::Error;
use bytes::Bytes;
use pinhole_report::echo;
use pinhole_request::json;
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// What clients call a picture, where they do not call it as the model's input is named.
const PICTURE: [&str; 5] = ["b64", "image_bytes", "image", "input", "data"];

/// A request that was understood.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// What is to be classified.
    pub input: Input,
    /// How it was written, and its answer is.
    pub form: Form,
}

/// How a request, and its answer, is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// One element a tensor or image.
    Rows,
    /// One element an input, which holds all of them.
    Columns,
}

/// The JSON of a prediction. Other fields are for other servers.
#[derive(Deserialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
pub struct Predict<'a> {
    /// `serving_default`, or nothing.
    signature_name: Option<String>,
    /// A tensor or image each.
    #[serde(borrow)]
    #[cfg_attr(feature = "docs", schema(value_type = Option<Vec<serde_json::Value>>))]
    instances: Option<&'a RawValue>,
    /// All of them, alone or as the one field of an object, named as the model's input is.
    #[serde(borrow)]
    #[cfg_attr(feature = "docs", schema(value_type = Option<serde_json::Value>))]
    inputs: Option<&'a RawValue>,
}

/// The JSON of a classification. Other fields are for other servers.
#[derive(Deserialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema))]
pub struct Classify<'a> {
    /// `serving_default`, or nothing.
    signature_name: Option<String>,
    /// A tensor or image each.
    #[serde(borrow)]
    #[cfg_attr(feature = "docs", schema(value_type = Vec<serde_json::Value>))]
    examples: &'a RawValue,
}

/// Reads the body of `:predict`. At most `batch` images or tensors are taken.
pub fn predict(body: &Bytes, model: &ModelInfo, batch: usize) -> Result<Request, Error> {
    let request: Predict<'_> = json::read(body).map_err(|reason| values::refusal(body, &reason))?;
    check(request.signature_name.as_deref())?;
    match (request.instances, request.inputs) {
        (Some(instances), None) => Ok(Request {
            input: rows(instances.get(), model, batch)?,
            form: Form::Rows,
        }),
        (None, Some(inputs)) => Ok(Request {
            input: columns(inputs.get(), model, batch)?,
            form: Form::Columns,
        }),
        (None, None) => bad("The request needs a field `instances`, or `inputs`.".into()),
        (Some(_), Some(_)) => bad("The request has both `instances` and `inputs`.".into()),
    }
}

/// Reads the body of `:classify`.
pub fn classify(body: &Bytes, model: &ModelInfo, batch: usize) -> Result<Request, Error> {
    let request: Classify<'_> =
        json::read(body).map_err(|reason| values::refusal(body, &reason))?;
    check(request.signature_name.as_deref())?;
    Ok(Request {
        input: rows(request.examples.get(), model, batch)?,
        form: Form::Rows,
    })
}

fn check(signature: Option<&str>) -> Result<(), Error> {
    match signature {
        None | Some("" | SIGNATURE) => Ok(()),
        Some(other) => bad(format!(
            "The model has no signature `{}`: it has `{SIGNATURE}`.",
            echo(other)
        )),
    }
}

fn bad<T>(sentence: String) -> Result<T, Error> {
    Err(Error::BadRequest(sentence))
}

fn not_understood(error: &serde_json::Error) -> Error {
    let reason = json::reason(error);
    Error::BadRequest(format!("The request is not understood: {reason}."))
}

/// A list of tensors or images.
fn rows(json: &str, model: &ModelInfo, batch: usize) -> Result<Input, Error> {
    let list = List { limit: batch };
    let found = list
        .deserialize(&mut serde_json::Deserializer::from_str(json))
        .map_err(|error| not_understood(&error))?;
    if found.is_longer {
        return Err(Error::TooMany { limit: batch });
    }
    let mut rows = found.elements.into_iter();
    let Some(first) = rows.next() else {
        return bad("The request is empty: it holds no tensor and no image.".into());
    };
    let mixed = || bad("One request holds either images or tensors.".into());
    match row(first.get(), model)? {
        Row::Image(image) => {
            let mut images = vec![image];
            for next in rows {
                match row(next.get(), model)? {
                    Row::Image(image) => images.push(image),
                    Row::Tensor(_) => return mixed(),
                }
            }
            Ok(Input::Images(images))
        }
        Row::Tensor(tensor) => {
            let mut tensors = vec![tensor];
            for next in rows {
                match row(next.get(), model)? {
                    Row::Tensor(tensor) => tensors.push(tensor),
                    Row::Image(_) => return mixed(),
                }
            }
            Ok(Input::Tensors(tensors))
        }
    }
}

/// All tensors or images, alone or named; or one image.
fn columns(json: &str, model: &ModelInfo, batch: usize) -> Result<Input, Error> {
    match json.as_bytes().first() {
        Some(b'{') => {
            let (name, value) = field(json, model)?;
            if name == "b64" {
                return Ok(Input::Images(vec![image(value.get())?]));
            }
            match value.get().as_bytes().first() {
                Some(b'[') => rows(value.get(), model, batch),
                _ => one(value.get(), model),
            }
        }
        Some(b'[') => rows(json, model, batch),
        _ => one(json, model),
    }
}

fn one(json: &str, model: &ModelInfo) -> Result<Input, Error> {
    Ok(match row(json, model)? {
        Row::Image(image) => Input::Images(vec![image]),
        Row::Tensor(tensor) => Input::Tensors(vec![tensor]),
    })
}

enum Row {
    Image(Bytes),
    Tensor(Vec<f32>),
}

/// One image, or one tensor; alone, or as the one field of an object.
fn row(json: &str, model: &ModelInfo) -> Result<Row, Error> {
    if !json.starts_with('{') {
        return alone(json, model);
    }
    let (name, value) = field(json, model)?;
    let json = value.get();
    if name != "b64" && json.starts_with('{') {
        let (name, value) = field(json, model)?;
        if name != "b64" {
            return bad("An image in a field is its base64, or {\"b64\": \"...\"}.".into());
        }
        return image(value.get()).map(Row::Image);
    }
    alone(json, model)
}

fn alone(json: &str, model: &ModelInfo) -> Result<Row, Error> {
    match json.as_bytes().first() {
        Some(b'"') => image(json).map(Row::Image),
        Some(b'[') => tensor(json, model).map(Row::Tensor),
        _ => bad(format!(
            "`{}` stands where a tensor or an image in base64 is wanted.",
            echo(json)
        )),
    }
}

fn image(json: &str) -> Result<Bytes, Error> {
    /// Borrowed, where nothing in it is escaped: it may be long.
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    let text: Text<'_> = serde_json::from_str(json).map_err(|error| not_understood(&error))?;
    base64::decode(&text.0)
        .map_err(|reason| Error::BadRequest(format!("An image cannot be read: {reason}.")))
}

fn tensor(json: &str, model: &ModelInfo) -> Result<Vec<f32>, Error> {
    let shape = model.input.shape.iter().skip(1);
    let shape: Vec<usize> = shape.map(|side| *side as usize).collect();
    let needs = shape.iter().product();
    let found = values::numbers(json, needs, model.input.element_type)?;
    if found.values.len() != needs || !found.fits(&shape) {
        return bad(format!(
            "Each tensor has the shape {shape:?}, and this one is {}.",
            echo(&format!("{:?}", found.nesting))
        ));
    }
    Ok(found.values)
}

/// An object's one field that is set.
fn field<'a>(json: &'a str, model: &ModelInfo) -> Result<(Cow<'a, str>, &'a RawValue), Error> {
    let (name, value) = One
        .deserialize(&mut serde_json::Deserializer::from_str(json))
        .map_err(|error| not_understood(&error))?;
    if name != model.input.name.as_str() && !PICTURE.contains(&&*name) {
        return bad(format!(
            "The model has no input `{}`: it has `{}`.",
            echo(&name),
            model.input.name
        ));
    }
    Ok((name, value))
}

/// Reads a list whose elements are read later: at most so many.
struct List {
    limit: usize,
}

struct Elements<'a> {
    elements: Vec<&'a RawValue>,
    is_longer: bool,
}

impl<'de> DeserializeSeed<'de> for List {
    type Value = Elements<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List {
    type Value = Elements<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of tensors or images")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < self.limit {
            match list.next_element()? {
                Some(element) => elements.push(element),
                None => break,
            }
        }
        let mut is_longer = false;
        while list.next_element::<IgnoredAny>()?.is_some() {
            is_longer = true;
        }
        Ok(Elements {
            elements,
            is_longer,
        })
    }
}

/// Reads an object of one field; others may be null.
struct One;

impl<'de> DeserializeSeed<'de> for One {
    type Value = (Cow<'de, str>, &'de RawValue);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for One {
    type Value = (Cow<'de, str>, &'de RawValue);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of one field")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some((name, value)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
            if value.get() == "null" {
                continue;
            }
            if found.replace((name, value)).is_some() {
                return Err(A::Error::custom(
                    "a tensor or image is one field, not several",
                ));
            }
        }
        found.ok_or_else(|| A::Error::custom("an object has no field that is set"))
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
