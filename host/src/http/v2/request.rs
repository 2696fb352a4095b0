//! What an inference request asks for: JSON, and perhaps binary tensors behind it.

use super::{OUTPUT, binary, datatype, values};
use crate::bindings::exports::pinhole::vision::classify::ModelInfo;
use crate::error::Error;
use bytes::Bytes;
use pinhole_report::{cut, echo};
use pinhole_request::json;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// A request that was understood.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// The client's own name for it, to be given back: at most `ECHO` characters of it.
    pub id: Option<String>,
    /// What is to be classified.
    pub input: Input,
    /// What is wanted of each.
    pub wanted: Wanted,
    /// Whether the answer's tensor comes as bytes.
    pub binary: bool,
}

/// What is to be classified.
#[derive(Debug, PartialEq)]
pub enum Input {
    /// Encoded images.
    Images(Vec<Bytes>),
    /// Tensors of the model's own shape.
    Tensors(Vec<Vec<f32>>),
}

/// What is wanted of each image or tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wanted {
    /// One score a class, in order of class.
    Scores,
    /// The best so many classes with their labels, best first.
    Labels(u32),
}

/// The JSON of a request.
#[derive(Deserialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = InferenceRequest))]
pub struct Body<'a> {
    /// Given back in the answer.
    id: Option<String>,
    #[serde(default)]
    parameters: Parameters,
    /// The model's one input.
    #[serde(borrow)]
    #[cfg_attr(feature = "docs", schema(min_items = 1, max_items = 1))]
    inputs: Vec<Tensor<'a>>,
    /// The model's one output, to say how it is wanted.
    #[serde(default)]
    #[cfg_attr(feature = "docs", schema(max_items = 1))]
    outputs: Vec<Output>,
}

/// A tensor, or encoded images.
#[derive(Deserialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = InputTensor))]
struct Tensor<'a> {
    /// As the model's metadata names it.
    name: String,
    /// The model's own with the number of tensors before it, or `[n]` for images.
    shape: Vec<u64>,
    /// The model's own, or `BYTES` for images.
    datatype: String,
    #[serde(default)]
    parameters: Parameters,
    /// Numbers, flat or nested; or images in base64, each alone or as `{"b64": "..."}`. Missing where they are binary.
    #[serde(borrow)]
    #[cfg_attr(feature = "docs", schema(value_type = Option<Vec<serde_json::Value>>, nullable = false))]
    data: Option<&'a RawValue>,
}

/// How an output is wanted.
#[derive(Deserialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = WantedOutput))]
struct Output {
    /// `scores`.
    name: String,
    #[serde(default)]
    parameters: Parameters,
}

/// Those parameters that mean something here. Others are for other servers.
#[derive(Default, Deserialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = RequestParameters))]
struct Parameters {
    /// Of an input: its length behind the JSON, in bytes.
    binary_data_size: Option<u64>,
    /// Of a request: the answer's tensor is wanted as bytes behind the JSON.
    binary_data_output: Option<bool>,
    /// Of an output: the same, for this one.
    binary_data: Option<bool>,
    /// Of an output: the best so many classes are wanted, as `score:class:label`.
    classification: Option<u32>,
    #[cfg_attr(feature = "docs", schema(ignore))]
    shared_memory_region: Option<IgnoredAny>,
}

/// Reads a body. `json` is the length of its JSON where a header says so: the rest is binary. A length of 0 stands for no
/// JSON at all, and a body that is one image. At most `batch` images or tensors are taken.
pub fn parse(
    body: Bytes,
    json: Option<usize>,
    model: &ModelInfo,
    batch: usize,
) -> Result<Request, Error> {
    if json == Some(0) {
        return Ok(Request {
            id: None,
            input: Input::Images(vec![body]),
            wanted: Wanted::Scores,
            binary: true,
        });
    }
    let mut body = body;
    let mut rest = Bytes::new();
    if let Some(json) = json {
        if json > body.len() {
            return bad(format!(
                "Inference-Header-Content-Length is {json}, and the body only {} bytes.",
                body.len()
            ));
        }
        rest = body.split_off(json);
    }
    let request: Body<'_> = json::read(&body)
        .or_else(|reason| bad(format!("The request is not understood: {reason}.")))?;
    let inputs = request.inputs.len();
    let [tensor] = <[Tensor<'_>; 1]>::try_from(request.inputs).or_else(|_| {
        bad(format!(
            "The model has one input, and the request {inputs}."
        ))
    })?;
    let input = input(tensor, rest, model, batch)?;
    let (wanted, binary) = output(&request.outputs, &request.parameters)?;
    Ok(Request {
        id: request.id.map(|id| cut(&id).into_owned()),
        input,
        wanted,
        binary,
    })
}

fn bad<T>(sentence: String) -> Result<T, Error> {
    Err(Error::BadRequest(sentence))
}

fn input(tensor: Tensor<'_>, rest: Bytes, model: &ModelInfo, batch: usize) -> Result<Input, Error> {
    let own = &model.input;
    if tensor.name != own.name {
        return bad(format!(
            "The model has no input `{}`: it has `{}`.",
            echo(&tensor.name),
            own.name
        ));
    }
    no_shared_memory(&tensor.parameters)?;
    let data = match (tensor.parameters.binary_data_size, tensor.data) {
        (Some(size), None) if size == rest.len() as u64 => Data::Binary(rest),
        (Some(size), None) => {
            return bad(format!(
                "binary_data_size is {size}, and behind the JSON are {} bytes: Inference-Header-Content-Length is the length of the JSON.",
                rest.len()
            ));
        }
        (None, Some(json)) if rest.is_empty() => Data::Json(json),
        (None, Some(_)) => {
            return bad(format!(
                "Behind the JSON are {} bytes that belong to no input.",
                rest.len()
            ));
        }
        _ => {
            return bad("The input needs either `data` or the parameter binary_data_size.".into());
        }
    };
    let malformed = |error: serde_json::Error| {
        let reason = json::reason(&error);
        Error::BadRequest(format!("The input's data is not understood: {reason}."))
    };

    if tensor.datatype == "BYTES" {
        let count = match tensor.shape.as_slice() {
            [count] | [count, 1] => count_of(*count, batch)?,
            shape => {
                return bad(format!(
                    "Images have the shape [n] or [n, 1], not {}.",
                    echo(&format!("{shape:?}"))
                ));
            }
        };
        let images = match data {
            Data::Json(json) => values::pictures(json.get(), count).map_err(malformed)?,
            Data::Binary(section) => binary::pictures(section, count).map_err(Error::BadRequest)?,
        };
        if images.len() != count {
            return bad(format!(
                "The shape says {count} images, and the data holds {}.",
                images.len()
            ));
        }
        return Ok(Input::Images(images));
    }

    if tensor.datatype != datatype(model) {
        return bad(format!(
            "The model takes {}, or encoded images as BYTES, not `{}`.",
            datatype(model),
            echo(&tensor.datatype)
        ));
    }
    let one = own.shape.get(1..).unwrap_or_default();
    let count = match tensor.shape.split_first() {
        Some((count, sides))
            if sides.iter().eq(one
                .iter()
                .map(|side| u64::from(*side))
                .collect::<Vec<_>>()
                .iter()) =>
        {
            count_of(*count, batch)?
        }
        _ => {
            let sides: String = one.iter().map(|side| format!(", {side}")).collect();
            return bad(format!(
                "The model takes the shape [n{sides}], not {}.",
                echo(&format!("{:?}", tensor.shape))
            ));
        }
    };
    let elements = one.iter().map(|side| *side as usize).product::<usize>();
    let values = match data {
        Data::Json(json) => values::numbers(json.get(), count * elements).map_err(malformed)?,
        Data::Binary(section) => {
            if section.len() != count * elements * binary::width(own.element_type) {
                return bad(format!(
                    "The shape needs {} bytes of {}, and binary_data_size is {}.",
                    count * elements * binary::width(own.element_type),
                    tensor.datatype,
                    section.len()
                ));
            }
            binary::numbers(&section, own.element_type)
        }
    };
    if values.len() != count * elements {
        return bad(format!(
            "The shape needs {} elements, and the data has {}.",
            count * elements,
            values.len()
        ));
    }
    Ok(Input::Tensors(
        values.chunks_exact(elements).map(<[f32]>::to_vec).collect(),
    ))
}

/// Where a tensor's elements are.
enum Data<'a> {
    Json(&'a RawValue),
    Binary(Bytes),
}

fn count_of(count: u64, batch: usize) -> Result<usize, Error> {
    match usize::try_from(count) {
        Ok(0) => bad("The input is empty: its shape begins with 0.".into()),
        Ok(count) if count <= batch => Ok(count),
        _ => Err(Error::TooMany { limit: batch }),
    }
}

fn output(outputs: &[Output], all: &Parameters) -> Result<(Wanted, bool), Error> {
    let binary = all.binary_data_output.unwrap_or(false);
    let parameters = match outputs {
        [] => return Ok((Wanted::Scores, binary)),
        [output] if output.name == OUTPUT => &output.parameters,
        [other] => {
            return bad(format!(
                "The model has no output `{}`: it has `{OUTPUT}`.",
                echo(&other.name)
            ));
        }
        _ => {
            return bad(format!(
                "The model has one output, `{OUTPUT}`, and the request asks for {}.",
                outputs.len()
            ));
        }
    };
    no_shared_memory(parameters)?;
    let wanted = match parameters.classification {
        None | Some(0) => Wanted::Scores,
        Some(classes) => Wanted::Labels(classes),
    };
    Ok((wanted, parameters.binary_data.unwrap_or(binary)))
}

fn no_shared_memory(parameters: &Parameters) -> Result<(), Error> {
    match parameters.shared_memory_region {
        None => Ok(()),
        Some(_) => bad("There is no shared memory here: send tensors in the body.".into()),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
