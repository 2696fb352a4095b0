//! What an inference request asks for: JSON, and perhaps binary tensors behind it.

use super::super::scores::Input;
use super::super::values;
use super::{OUTPUT, binary, datatype};
use crate::bindings::exports::pinhole::vision::classify::ModelInfo;
use crate::error::Error;
use bytes::Bytes;
use pinhole_report::echo;
use pinhole_request::json;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// What a client may call its request, in bytes: it is given back.
const ID_BYTES: usize = 1024;

/// A request that was understood.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// The client's own name for it, to be given back as it is.
    pub id: Option<String>,
    /// What is to be classified.
    pub input: Input,
    /// What is wanted of each.
    pub wanted: Wanted,
    /// Whether the answer's tensor comes as bytes.
    pub binary: bool,
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
    /// Given back in the answer. At most 1024 bytes.
    #[cfg_attr(feature = "docs", schema(max_length = 1024))]
    id: Option<String>,
    parameters: Option<Parameters>,
    /// The model's one input.
    #[serde(borrow)]
    #[cfg_attr(feature = "docs", schema(min_items = 1, max_items = 1))]
    inputs: Vec<Tensor<'a>>,
    /// The model's one output, to say how it is wanted.
    #[cfg_attr(feature = "docs", schema(max_items = 1))]
    outputs: Option<Vec<Output>>,
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
    parameters: Option<Parameters>,
    /// Numbers, flat or nested; or images in base64, each alone or as `{"b64": "..."}`. Missing where they are binary.
    #[serde(borrow)]
    #[cfg_attr(feature = "docs", schema(value_type = Option<Vec<serde_json::Value>>))]
    data: Option<&'a RawValue>,
}

/// How an output is wanted.
#[derive(Deserialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = WantedOutput))]
struct Output {
    /// `scores`.
    name: String,
    parameters: Option<Parameters>,
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
    let request: Body<'_> = json::read(&body).map_err(|reason| values::refusal(&body, &reason))?;
    if request.id.as_ref().is_some_and(|id| id.len() > ID_BYTES) {
        return bad(format!("The id is longer than {ID_BYTES} bytes."));
    }
    let inputs = request.inputs.len();
    let [tensor] = <[Tensor<'_>; 1]>::try_from(request.inputs).or_else(|_| {
        bad(format!(
            "The model has one input, and the request {inputs}."
        ))
    })?;
    let input = input(tensor, rest, model, batch)?;
    let outputs = request.outputs.unwrap_or_default();
    let (wanted, binary) = output(&outputs, &request.parameters.unwrap_or_default())?;
    Ok(Request {
        id: request.id,
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
    let parameters = tensor.parameters.unwrap_or_default();
    no_shared_memory(&parameters)?;
    let data = match (parameters.binary_data_size, tensor.data) {
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
            Data::Json(json) => values::pictures(json.get(), count)?,
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
    let needs = count * elements;
    let values = match data {
        Data::Json(json) => {
            let numbers = values::numbers(json.get(), needs, own.element_type)?;
            if numbers.values.len() != needs {
                return bad(format!(
                    "The shape needs {needs} elements, and the data has {}.",
                    numbers.values.len()
                ));
            }
            let shape: Vec<usize> = tensor.shape.iter().map(|side| *side as usize).collect();
            if !numbers.fits(&shape) {
                return bad(format!(
                    "The data's lists are nested as {}, which is not the shape {shape:?}.",
                    echo(&format!("{:?}", numbers.nesting))
                ));
            }
            numbers.values
        }
        Data::Binary(section) => {
            let bytes = needs * binary::width(own.element_type);
            if section.len() != bytes {
                return bad(format!(
                    "The shape needs {bytes} bytes of {}, and binary_data_size is {}.",
                    tensor.datatype,
                    section.len()
                ));
            }
            let values = binary::numbers(&section, own.element_type);
            if !values.iter().all(|value| value.is_finite()) {
                return bad(values::NOT_FINITE.into());
            }
            values
        }
    };
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
    let asked = match outputs {
        [] => return Ok((Wanted::Scores, binary)),
        [output] if output.name == OUTPUT => output.parameters.as_ref(),
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
    let Some(parameters) = asked else {
        return Ok((Wanted::Scores, binary));
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
