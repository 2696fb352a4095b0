//! ONNX files, as far as the guest, which runs models in its sandbox, and the host, which may run them natively, read
//! them alike. tract parses them; `recognise` finds the layers that our own kernels run instead of tract.

mod agree;
mod head;
mod obstacle;
mod quantised;
mod recognise;
mod smooth;
mod steps;

pub use agree::agree;
pub use head::{ends_in_probabilities, is_float};
pub use obstacle::Obstacle;
pub use quantised::{is_quantised, not_run_quantised};
pub use recognise::{Recognised, recognise};
pub use smooth::without_rounding;

use std::collections::HashSet;
use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, ValueInfoProto, tensor_proto, tensor_shape_proto, type_proto};
use tract_onnx::prelude::{DatumType, TractError};

/// The framework, with the settings that real exporters' files need: shapes noted inside a file carry a symbolic batch,
/// which would contradict the batch of 1 that we fix.
pub fn framework() -> Onnx {
    tract_onnx::onnx()
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true)
}

/// What a graph takes, weights left out: old files list these among the inputs.
pub fn inputs(graph: &GraphProto) -> Vec<&ValueInfoProto> {
    let weights: HashSet<&str> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    graph
        .input
        .iter()
        .filter(|input| !weights.contains(input.name.as_str()))
        .collect()
}

/// What an input or an output is, as far as its file says.
pub struct Held {
    /// Type of its elements, where the file knows one.
    pub kind: Option<tensor_proto::DataType>,
    /// The same for an input that can be taken; none if that is neither 32-bit nor 16-bit floats nor bytes.
    pub element_type: Option<DatumType>,
    /// Its dimensions; none where one is left open.
    pub dims: Vec<Option<usize>>,
}

/// What an input or an output is; none if it is no tensor.
pub fn held(input: &ValueInfoProto) -> Option<Held> {
    let Some(type_proto::Value::TensorType(tensor)) =
        input.r#type.as_ref().and_then(|kind| kind.value.as_ref())
    else {
        return None;
    };
    let kind = tensor_proto::DataType::try_from(tensor.elem_type)
        .ok()
        .filter(|kind| *kind != tensor_proto::DataType::Undefined);
    let element_type = match kind {
        Some(tensor_proto::DataType::Float) => Some(DatumType::F32),
        Some(tensor_proto::DataType::Float16) => Some(DatumType::F16),
        Some(tensor_proto::DataType::Uint8) => Some(DatumType::U8),
        _ => None,
    };
    let dims = tensor
        .shape
        .iter()
        .flat_map(|shape| &shape.dim)
        .map(|dim| match dim.value {
            Some(tensor_shape_proto::dimension::Value::DimValue(size)) => {
                usize::try_from(size).ok().filter(|size| *size > 0)
            }
            _ => None,
        })
        .collect();
    Some(Held {
        kind,
        element_type,
        dims,
    })
}

/// An error of tract with its causes, in one line and without a full stop.
pub fn causes(error: &TractError) -> String {
    let causes: Vec<String> = error
        .chain()
        .map(|cause| cause.to_string().replace('\n', " "))
        .collect();
    causes.join(": ").trim_end_matches('.').to_string()
}
