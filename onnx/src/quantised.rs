//! Quantised (QDQ) files. Between QuantizeLinear and DequantizeLinear tract answers something else than ONNX Runtime does: what our
//! own kernels cannot run of them is not run at all.

use crate::Obstacle;
use tract_onnx::pb::GraphProto;

/// Whether tensors are rounded to 8 bits on the way.
pub fn is_quantised(graph: &GraphProto) -> bool {
    graph
        .node
        .iter()
        .any(|node| node.op_type == "QuantizeLinear")
}

/// The end of a sentence about a quantised model that our own kernels cannot run.
pub fn not_run_quantised(why: &Obstacle) -> String {
    format!(
        "it is quantised (QDQ) in a form that cannot be run here ({why}); take the model that it was made of, which --precision int8 makes as small"
    )
}
