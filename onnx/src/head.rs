//! How a graph ends: whether what it gives are probabilities already.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto};

/// Operators that give what they are given, in another form.
const FORMS: [&str; 7] = [
    "Identity",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Dropout",
    "Transpose",
];

/// The node that makes the scores that an output holds, whatever gives them another form then; none where the output holds
/// whole numbers, which are no scores any more.
pub fn head<'g>(graph: &'g GraphProto, output: &str) -> Option<&'g NodeProto> {
    let mut name = output;
    let mut is_dequantised = false;
    // A graph has no circles, but a file may.
    for _ in 0..graph.node.len() {
        let node = maker(graph, name)?;
        match node.op_type.as_str() {
            "DequantizeLinear" => is_dequantised = true,
            "QuantizeLinear" if is_dequantised => is_dequantised = false,
            "Cast" if is_to_floats(node) => {}
            form if FORMS.contains(&form) => {}
            _ => return Some(node),
        }
        name = node.input.first()?;
    }
    None
}

/// Whether a Cast is to floats.
pub(crate) fn is_to_floats(cast: &NodeProto) -> bool {
    let to = cast
        .attribute
        .iter()
        .find(|attribute| attribute.name == "to");
    to.and_then(|to| DataType::try_from(i32::try_from(to.i).ok()?).ok())
        .is_some_and(is_float)
}

/// Whether elements of this type can be scores.
pub fn is_float(element: DataType) -> bool {
    matches!(
        element,
        DataType::Float | DataType::Float16 | DataType::Double | DataType::Bfloat16
    )
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

/// What a softmax at the end of a graph is of, be it one node or spelled out, with or without the largest taken off first.
pub(crate) fn softmax_of<'g>(graph: &'g GraphProto, output: &str) -> Option<&'g str> {
    let node = head(graph, output)?;
    let first = |node: &'g NodeProto| node.input.first().map(String::as_str);
    if node.op_type == "Softmax" {
        return first(node);
    }
    if node.op_type != "Div" || !is_spelled_out(graph, node) {
        return None;
    }
    let powers = maker(graph, first(node)?)?;
    let scores = first(powers)?;
    let shifted = maker(graph, scores).filter(|node| node.op_type == "Sub");
    let largest = shifted.and_then(|node| maker(graph, node.input.get(1)?));
    let of_largest = largest.filter(|node| node.op_type == "ReduceMax");
    match (shifted.and_then(first), of_largest.and_then(first)) {
        (Some(all), Some(of)) if all == of => Some(all),
        _ => Some(scores),
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
    use tract_onnx::pb::AttributeProto;

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
        // Bytes, and no probabilities any more.
        assert!(!ends(&[
            ("Softmax", &["x"], "a"),
            ("QuantizeLinear", &["a", "scale"], "y")
        ]));
        // A circle, which no tool writes.
        assert!(!ends(&[("Identity", &["y"], "y")]));
    }

    #[test]
    fn a_softmax_is_found_however_it_is_written() {
        let of = |nodes: &[(&str, &[&str], &str)]| {
            softmax_of(&graph(nodes), "y").map(ToString::to_string)
        };
        let scores = Some("x".to_string());
        assert_eq!(
            of(&[("Softmax", &["x"], "a"), ("Identity", &["a"], "y")]),
            scores
        );
        let plain: &[(&str, &[&str], &str)] = &[
            ("Exp", &["x"], "e"),
            ("ReduceSum", &["e", "axes"], "s"),
            ("Div", &["e", "s"], "y"),
        ];
        assert_eq!(of(plain), scores);
        let shifted: &[(&str, &[&str], &str)] = &[
            ("ReduceMax", &["x"], "m"),
            ("Sub", &["x", "m"], "d"),
            ("Exp", &["d"], "e"),
            ("ReduceSum", &["e", "axes"], "s"),
            ("Div", &["e", "s"], "y"),
        ];
        assert_eq!(of(shifted), scores);
        // Something else is taken off: what is left are the scores.
        let mut other = shifted.to_vec();
        other[0] = ("ReduceMax", &["z"], "m");
        assert_eq!(of(&other), Some("d".into()));
        assert_eq!(of(&[("Sigmoid", &["x"], "y")]), None);
        assert_eq!(of(&[("Div", &["x", "temperature"], "y")]), None);
    }

    #[test]
    fn a_cast_to_floats_keeps_probabilities_and_one_to_integers_does_not() {
        for (to, keeps) in [
            (DataType::Float, true),
            (DataType::Float16, true),
            (DataType::Int64, false),
        ] {
            let mut graph = graph(&[("Softmax", &["x"], "a"), ("Cast", &["a"], "y")]);
            graph.node[1].attribute.push(AttributeProto {
                name: "to".into(),
                i: to as i64,
                ..AttributeProto::default()
            });
            assert_eq!(ends_in_probabilities(&graph, "y"), keeps, "{to:?}");
        }
    }
}
