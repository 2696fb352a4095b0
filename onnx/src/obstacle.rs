//! What keeps a model from our own kernels, as data: it travels from the reader of the file to whoever bakes it.

use std::fmt;
use tract_onnx::pb::NodeProto;

/// What is in the way, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The node: its name, or that of what it makes. Empty where it is no single node.
    pub node: String,
    /// The node's operator. Empty where it is no single node.
    pub operator: String,
    /// What is wrong with it: the end of a sentence.
    pub reason: String,
}

impl Obstacle {
    /// A reason that is found at one node.
    pub(crate) fn at(node: &NodeProto, reason: String) -> Self {
        let made = || node.output.first().cloned().unwrap_or_default();
        Self {
            node: Some(node.name.clone())
                .filter(|name| !name.is_empty())
                .unwrap_or_else(made),
            operator: node.op_type.clone(),
            reason,
        }
    }
}

impl From<String> for Obstacle {
    fn from(reason: String) -> Self {
        Self {
            node: String::new(),
            operator: String::new(),
            reason,
        }
    }
}

impl From<&str> for Obstacle {
    fn from(reason: &str) -> Self {
        reason.to_string().into()
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.operator.is_empty() {
            return f.write_str(&self.reason);
        }
        write!(
            f,
            "{} (the {} at node `{}`)",
            self.reason, self.operator, self.node
        )
    }
}

impl std::error::Error for Obstacle {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_name_is_called_by_what_it_makes() {
        let mut node = NodeProto {
            op_type: "Sinh".into(),
            output: vec!["hot".into()],
            ..NodeProto::default()
        };
        let said = |node: &NodeProto| Obstacle::at(node, "it is odd".into()).to_string();
        assert_eq!(said(&node), "it is odd (the Sinh at node `hot`)");
        node.name = "/layer/Sinh".into();
        assert_eq!(said(&node), "it is odd (the Sinh at node `/layer/Sinh`)");
        assert_eq!(Obstacle::from("it is odd").to_string(), "it is odd");
    }
}
