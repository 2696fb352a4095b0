//! Sizes that a file computes from the shapes of its tensors, which are known here.

use super::attributes::attribute;
use super::{Result, Value, Walk};
use pinhole_kernels::Binary;
use tract_onnx::pb::NodeProto;

impl<'a> Walk<'a> {
    /// The shape of a tensor of an image; where it is one pixel, nobody knows how many dimensions it is written with.
    pub(super) fn shape_of(&self, node: &NodeProto) -> Value {
        let Ok(tensor) = self.tensor(node, 0) else {
            return Value::Shape(None);
        };
        let shape = self.builder.shape(tensor);
        if (shape.height, shape.width) == (1, 1) {
            return Value::Shape(None);
        }
        let sizes = [1, shape.channels, shape.height, shape.width];
        let mut sizes: Vec<i64> = sizes.iter().map(|&size| size as i64).collect();
        let place = |name: &str, default: i64| {
            let at = attribute(node, name).map_or(default, |value| value.i);
            if at < 0 { at + 4 } else { at }.clamp(0, 4) as usize
        };
        let (start, end) = (place("start", 0), place("end", 4));
        sizes.truncate(end);
        Value::Shape(Some(sizes.split_off(start.min(end))))
    }

    /// What a node computes of sizes: none where it cannot be told.
    pub(super) fn sizes(&self, node: &NodeProto) -> Value {
        let known = |index: usize| self.integers(node, index).ok();
        let sizes = || match node.op_type.as_str() {
            "Unsqueeze" | "Squeeze" | "Cast" | "Identity" | "Floor" | "Reshape" => known(0),
            "Concat" => {
                let parts = (0..node.input.len()).map(known);
                Some(parts.collect::<Option<Vec<_>>>()?.concat())
            }
            "Gather" => {
                let from = known(0)?;
                let picked = known(1)?.into_iter().map(|at| {
                    let at = if at < 0 { at + from.len() as i64 } else { at };
                    from.get(usize::try_from(at).ok()?).copied()
                });
                picked.collect()
            }
            "Slice" => {
                let from = known(0)?;
                let place = |index: usize| -> Option<usize> {
                    let at = *known(index)?.first()?;
                    let at = if at < 0 { at + from.len() as i64 } else { at };
                    Some(at.clamp(0, from.len() as i64) as usize)
                };
                from.get(place(1)?..place(2)?).map(<[i64]>::to_vec)
            }
            _ => None,
        };
        Value::Shape(sizes())
    }

    /// Arithmetic of sizes.
    pub(super) fn shape_arithmetic(
        &mut self,
        node: &'a NodeProto,
        operator: Binary,
        a: &Value,
        b: &Value,
    ) -> Result<()> {
        let is_known = |value: &Value| matches!(value, Value::Shape(_) | Value::Constant(..));
        if !(is_known(a) && is_known(b)) {
            return Err(format!("a {} of such operands", node.op_type));
        }
        let compute = || {
            let (a, b) = (self.integers(node, 0).ok()?, self.integers(node, 1).ok()?);
            let len = a.len().max(b.len());
            let at = |list: &[i64], index: usize| match list {
                &[only] => Some(only),
                list => list.get(index).copied(),
            };
            let each = (0..len).map(|index| {
                let (a, b) = (at(&a, index)?, at(&b, index)?);
                match operator {
                    Binary::Add => a.checked_add(b),
                    Binary::Sub => a.checked_sub(b),
                    Binary::Mul => a.checked_mul(b),
                    Binary::Div => a.checked_div(b),
                }
            });
            each.collect()
        };
        let sizes = compute();
        self.set(node, Value::Shape(sizes))
    }

    /// Whole numbers that are constants, or computed of shapes.
    pub(super) fn integers(&self, node: &NodeProto, input: usize) -> Result<Vec<i64>> {
        match self.value(node, input) {
            Ok(Value::Shape(Some(sizes))) => Ok(sizes),
            _ => {
                let (values, _) = self.later_constant(node, input)?;
                Ok(values.iter().map(|value| *value as i64).collect())
            }
        }
    }
}
