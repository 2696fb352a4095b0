//! A quantised model without its rounding, for comparing the rest of it.
//!
//! Rounding makes much of little: where two computations differ in a last bit, one tensor is a step apart, the next ones by a
//! few, and the scores have nothing in common. Values that are limited, but not rounded, stay as near as in other models.

use crate::steps::steps;
use std::collections::HashSet;
use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto::DataType};

/// The model with each QuantizeLinear replaced by the limits of its steps, and each DequantizeLinear of those by nothing.
/// Weights stay rounded. The error is the end of a sentence.
pub fn without_rounding(onnx: &Onnx, model: &ModelProto) -> Result<ModelProto, String> {
    let mut model = model.clone();
    let graph = model.graph.as_mut().ok_or("there is no graph")?;
    let mut rounded: HashSet<String> = HashSet::new();
    for mut node in std::mem::take(&mut graph.node) {
        let input = node.input.first().cloned().unwrap_or_default();
        match node.op_type.as_str() {
            "QuantizeLinear" => {
                rounded.extend(node.output.first().cloned());
                limit(onnx, graph, &node)?;
            }
            "DequantizeLinear" if rounded.contains(&input) => {
                node.op_type = "Identity".into();
                node.input.truncate(1);
                node.attribute.clear();
                graph.node.push(node);
            }
            _ => graph.node.push(node),
        }
    }
    Ok(model)
}

/// Adds the two nodes that limit values to what the steps of a QuantizeLinear can say.
fn limit(onnx: &Onnx, graph: &mut GraphProto, node: &NodeProto) -> Result<(), String> {
    let steps = steps(onnx, graph, node)?;
    let output = node.output.first().cloned().unwrap_or_default();
    let mut last = node.input.first().cloned().unwrap_or_default();
    for (operator, step, result) in [
        ("Max", steps.low, format!("{output} from below")),
        ("Min", steps.high, output.clone()),
    ] {
        let bound = format!("{output} {operator}");
        graph.initializer.push(TensorProto {
            name: bound.clone(),
            data_type: DataType::Float as i32,
            float_data: vec![(step - steps.zero) * steps.size],
            ..TensorProto::default()
        });
        graph.node.push(NodeProto {
            op_type: operator.into(),
            input: vec![last, bound],
            output: vec![result.clone()],
            ..NodeProto::default()
        });
        last = result;
    }
    Ok(())
}
