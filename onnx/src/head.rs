//! How a graph ends: whether what it gives are probabilities already.

use tract_onnx::pb::{GraphProto, NodeProto};

/// Operators that give what they are given, in another form.
const FORMS: [&str; 10] = [
    "Identity",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Cast",
    "Dropout",
    "QuantizeLinear",
    "DequantizeLinear",
    "Transpose",
];

/// The node that makes the scores that an output holds, whatever gives them another form then.
pub fn head<'g>(graph: &'g GraphProto, output: &str) -> Option<&'g NodeProto> {
    let mut name = output;
    // A graph has no circles, but a file may.
    for _ in 0..graph.node.len() {
        let node = maker(graph, name)?;
        if !FORMS.contains(&node.op_type.as_str()) {
            return Some(node);
        }
        name = node.input.first()?;
    }
    None
}

/// Whether an output holds probabilities: a softmax or sigmoid makes them, or what a softmax is spelled out as.
pub fn ends_in_probabilities(graph: &GraphProto, output: &str) -> bool {
    let Some(node) = head(graph, output) else {
        return false;
    };
    match node.op_type.as_str() {
        "Softmax" | "Sigmoid" => true,
        "Div" => is_spelled_out(graph, node),
        _ => false,
    }
}

/// Exponentials, divided by their sum.
fn is_spelled_out(graph: &GraphProto, division: &NodeProto) -> bool {
    let (Some(above), Some(below)) = (division.input.first(), division.input.get(1)) else {
        return false;
    };
    let is = |node: Option<&NodeProto>, operator: &str| {
        node.is_some_and(|node| node.op_type == operator)
    };
    let sum = maker(graph, below);
    is(maker(graph, above), "Exp")
        && is(sum, "ReduceSum")
        && sum.is_some_and(|sum| sum.input.first() == Some(above))
}

fn maker<'g>(graph: &'g GraphProto, name: &str) -> Option<&'g NodeProto> {
    graph
        .node
        .iter()
        .find(|node| node.output.iter().any(|output| output == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: &[(&str, &[&str], &str)]) -> GraphProto {
        GraphProto {
            node: nodes
                .iter()
                .map(|(operator, inputs, output)| NodeProto {
                    op_type: (*operator).into(),
                    input: inputs.iter().map(ToString::to_string).collect(),
                    output: vec![(*output).into()],
                    ..NodeProto::default()
                })
                .collect(),
            ..GraphProto::default()
        }
    }

    #[test]
    fn probabilities_are_known_by_what_makes_them() {
        let ends = |nodes: &[(&str, &[&str], &str)]| ends_in_probabilities(&graph(nodes), "y");
        assert!(ends(&[("Softmax", &["x"], "y")]));
        assert!(ends(&[
            ("Sigmoid", &["x"], "a"),
            ("Reshape", &["a", "shape"], "b"),
            ("Identity", &["b"], "y")
        ]));
        assert!(ends(&[
            ("Exp", &["x"], "e"),
            ("ReduceSum", &["e", "axes"], "s"),
            ("Div", &["e", "s"], "y")
        ]));
        assert!(ends(&[
            ("Softmax", &["x"], "a"),
            ("QuantizeLinear", &["a", "scale"], "b"),
            ("DequantizeLinear", &["b", "scale"], "y")
        ]));
        assert!(!ends(&[("Gemm", &["x", "w"], "y")]));
        assert!(!ends(&[
            ("Softmax", &["x"], "a"),
            ("Gemm", &["a", "w"], "y")
        ]));
        assert!(!ends(&[("Div", &["x", "temperature"], "y")]));
        // A circle, which no tool writes.
        assert!(!ends(&[("Identity", &["y"], "y")]));
    }
}
