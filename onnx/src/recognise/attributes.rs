//! What the attributes of a node say.

use super::Result;
use pinhole_kernels::{Activation, Conv};
use tract_onnx::pb::{AttributeProto, NodeProto};

/// How a convolution's window moves over an input of this height and width; weights are still missing.
pub(super) fn window(
    node: &NodeProto,
    input: (usize, usize),
    kernel: [usize; 2],
) -> Result<Conv<'static>> {
    let dilation = sizes(node, "dilations", [1, 1])?;
    let stride = sizes(node, "strides", [1, 1])?;
    let groups = attribute(node, "group").map_or(1, |value| value.i);
    Ok(Conv {
        out_channels: 0,
        kernel: (kernel[0], kernel[1]),
        stride: (stride[0], stride[1]),
        padding: padding(node, input, kernel, stride, dilation)?,
        dilation: (dilation[0], dilation[1]),
        groups: usize::try_from(groups).map_err(|_| "negative groups")?,
        weights: &[],
        bias: &[],
        activation: Activation::None,
    })
}

/// Rows and columns around an input of this height and width: top, left, bottom, right; given, or what `auto_pad` makes of it.
pub(super) fn padding(
    node: &NodeProto,
    (height, width): (usize, usize),
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
) -> Result<(usize, usize, usize, usize)> {
    let automatic = attribute(node, "auto_pad").map_or(&b""[..], |value| &value.s[..]);
    let upper = match automatic {
        b"" | b"NOTSET" => {
            let [top, left, bottom, right] = sizes(node, "pads", [0; 4])?;
            return Ok((top, left, bottom, right));
        }
        b"VALID" => return Ok((0, 0, 0, 0)),
        b"SAME_UPPER" => true,
        b"SAME_LOWER" => false,
        _ => return Err("a window with unknown padding".into()),
    };
    let around = |size: usize, axis: usize| -> Result<(usize, usize)> {
        if stride[axis] == 0 || kernel[axis] == 0 {
            return Err("a window without a size".into());
        }
        let places = size.div_ceil(stride[axis]);
        let reach =
            places.saturating_sub(1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1;
        let total = reach.saturating_sub(size);
        let less = total / 2;
        Ok(if upper {
            (less, total - less)
        } else {
            (total - less, less)
        })
    };
    let ((top, bottom), (left, right)) = (around(height, 0)?, around(width, 1)?);
    Ok((top, left, bottom, right))
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
