//! Sizes that a file computes from the shapes of its tensors, which are known here.

use super::attributes::attribute;
use super::{Result, Value, Walk};
use pinhole_kernels::Binary;
use tract_onnx::pb::NodeProto;

impl<'a> Walk<'a> {
    /// The shape of a tensor of an image; where it is one pixel, nobody knows how many dimensions it is written with.
    pub(super) fn shape_of(&self, node: &NodeProto) -> Value {
        if let Ok(Value::View(view)) = self.value(node, 0) {
            let sizes = view.dims().iter().map(|&size| size as i64).collect();
            return shape_part(node, sizes);
        }
        let Ok(tensor) = self.tensor(node, 0) else {
            return Value::Shape(None);
        };
        let shape = self.builder.shape(tensor);
        if (shape.height, shape.width) == (1, 1) {
            return Value::Shape(None);
        }
        let sizes = [1, shape.channels, shape.height, shape.width];
        shape_part(node, sizes.iter().map(|&size| size as i64).collect())
    }

    /// The root of a number.
    pub(super) fn root(&self, node: &NodeProto) -> Result<Value> {
        let number = match self.value(node, 0)? {
            Value::Number(number) => Some(number),
            Value::Constant(values, _) if values.len() == 1 => values.first().copied(),
            Value::Shape(Some(sizes)) if sizes.len() == 1 => sizes.first().map(|&size| size as f32),
            _ => None,
        };
        let number = number.ok_or("the operator Sqrt of tensors is none of the kernels'")?;
        Ok(Value::Number(number.sqrt()))
    }

    /// A matrix of constants, rows for columns.
    pub(super) fn turned(&self, node: &NodeProto) -> Result<Value> {
        let (values, dims) = self.constant(node, 0)?;
        let order = attribute(node, "perm").map_or(&[1, 0][..], |order| &order.ints[..]);
        let (&[rows, columns], [1, 0]) = (&dims[..], order) else {
            return Err("a Transpose of constants that are no matrix".into());
        };
        let turned =
            (0..columns).flat_map(|column| values[column..].iter().step_by(columns).copied());
        Ok(Value::Constant(turned.collect(), vec![columns, rows]))
    }

    /// Arithmetic of numbers; none where sizes are whole, or tensors meet.
    fn number(&self, node: &NodeProto, operator: Binary) -> Option<f32> {
        let is_number = |index: usize| matches!(self.value(node, index), Ok(Value::Number(_)));
        if !is_number(0) && !is_number(1) {
            return None;
        }
        let one = |index: usize| match &self.later_constant(node, index).ok()?.0[..] {
            &[value] => Some(value),
            _ => None,
        };
        let (a, b) = (one(0)?, one(1)?);
        Some(match operator {
            Binary::Add => a + b,
            Binary::Sub => a - b,
            Binary::Mul => a * b,
            Binary::Div => a / b,
        })
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
            "Mod" => {
                let (a, b) = (known(0)?, known(1)?);
                let pairs = a.into_iter().zip(b);
                pairs.map(|(a, b)| a.checked_rem_euclid(b)).collect()
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
        if let Some(number) = self.number(node, operator) {
            return self.set(node, Value::Number(number));
        }
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

/// The part of a shape that a Shape node asks for.
fn shape_part(node: &NodeProto, mut sizes: Vec<i64>) -> Value {
    let rank = sizes.len() as i64;
    let place = |name: &str, default: i64| {
        let at = attribute(node, name).map_or(default, |value| value.i);
        if at < 0 { at + rank } else { at }.clamp(0, rank) as usize
    };
    let (start, end) = (place("start", 0), place("end", rank));
    sizes.truncate(end);
    Value::Shape(Some(sizes.split_off(start.min(end))))
}
