//! What a QuantizeLinear or DequantizeLinear says of its 8-bit steps.

use crate::causes;
use pinhole_kernels::Steps;
use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, NodeProto, tensor_proto::DataType};
use tract_onnx::prelude::TractError;
use tract_onnx::tensor::load_tensor;

/// The scale and the zero point of a node, for a whole tensor. The error is the end of a sentence.
pub(crate) fn steps(onnx: &Onnx, graph: &GraphProto, node: &NodeProto) -> Result<Steps, String> {
    let (size, _) = stored(onnx, graph, node, 1)?.ok_or("steps without a scale")?;
    let (zero, element_type) = match stored(onnx, graph, node, 2)? {
        Some(zero) => zero,
        None if node.attribute.iter().all(|one| one.name != "output_dtype") => {
            (0.0, DataType::Uint8)
        }
        None => return Err("steps without a zero point".into()),
    };
    let (low, high) = match element_type {
        DataType::Uint8 => (0.0, 255.0),
        DataType::Int8 => (-128.0, 127.0),
        _ => return Err("steps of other than 8 bits".into()),
    };
    if !(size.is_finite() && size > 0.0) {
        return Err("a step that is worth nothing".into());
    }
    Ok(Steps {
        size,
        zero,
        low,
        high,
    })
}

/// The one value that an input of a node is stored as, and its type; none if there is no such input.
fn stored(
    onnx: &Onnx,
    graph: &GraphProto,
    node: &NodeProto,
    input: usize,
) -> Result<Option<(f32, DataType)>, String> {
    let Some(name) = node.input.get(input).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let tensor = graph.initializer.iter().find(|tensor| tensor.name == *name);
    let tensor = tensor.ok_or_else(|| format!("`{name}` is no stored constant"))?;
    let element_type =
        DataType::try_from(tensor.data_type).map_err(|_| "steps of an unknown type")?;
    let read = || {
        let values = load_tensor(&*onnx.provider, tensor, None)?;
        let floats = values.cast_to::<f32>()?;
        Ok::<_, TractError>(floats.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    };
    match read().map_err(|error| causes(&error))?[..] {
        [value] => Ok(Some((value, element_type))),
        _ => Err("a tensor whose channels have steps of their own".into()),
    }
}
