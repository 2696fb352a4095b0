//! What the attributes of a node say.

use super::Result;
use pinhole_kernels::{Activation, Conv};
use tract_onnx::pb::{AttributeProto, NodeProto};

/// How a convolution's window moves; weights are still missing.
pub(super) fn window(node: &NodeProto) -> Result<Conv<'static>> {
    if attribute(node, "auto_pad")
        .is_some_and(|value| !matches!(value.s.as_slice(), b"" | b"NOTSET"))
    {
        return Err("a convolution with automatic padding".into());
    }
    if sizes(node, "dilations", [1, 1])? != [1, 1] {
        return Err("a dilated convolution".into());
    }
    let stride = sizes(node, "strides", [1, 1])?;
    let [top, left, bottom, right] = sizes(node, "pads", [0; 4])?;
    let groups = attribute(node, "group").map_or(1, |value| value.i);
    Ok(Conv {
        out_channels: 0,
        kernel: (0, 0),
        stride: (stride[0], stride[1]),
        padding: (top, left, bottom, right),
        groups: usize::try_from(groups).map_err(|_| "negative groups")?,
        weights: &[],
        bias: &[],
        activation: Activation::None,
    })
}

/// An attribute of a node, if it has it.
pub(super) fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute
        .iter()
        .find(|attribute| attribute.name == name)
}

/// An attribute that lists sizes.
pub(super) fn sizes<const N: usize>(
    node: &NodeProto,
    name: &str,
    default: [usize; N],
) -> Result<[usize; N]> {
    let Some(attribute) = attribute(node, name) else {
        return Ok(default);
    };
    let sizes: Option<Vec<usize>> = attribute
        .ints
        .iter()
        .map(|size| usize::try_from(*size).ok())
        .collect();
    sizes
        .and_then(|sizes| <[usize; N]>::try_from(sizes).ok())
        .ok_or_else(|| format!("a {} with odd {name}", node.op_type))
}
