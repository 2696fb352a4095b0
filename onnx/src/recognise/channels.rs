//! Channels that are joined, split and shuffled.

use super::attributes::attribute;
use super::{Result, Value, Walk};
use pinhole_kernels::TensorId;
use tract_onnx::pb::NodeProto;

impl<'a> Walk<'a> {
    /// Concat of tensors along their channels.
    pub(super) fn concat(&mut self, node: &'a NodeProto) -> Result<()> {
        self.along_channels(node, 0)?;
        let inputs: Result<Vec<TensorId>> = (0..node.input.len())
            .map(|index| self.tensor(node, index))
            .collect();
        let output = self
            .builder
            .concat(&inputs?)
            .map_err(|error| format!("a Concat: {error}"))?;
        self.set(node, Value::Tensor(output))
    }

    /// Split along the channels, in parts of given sizes or equal ones.
    pub(super) fn split(&mut self, node: &'a NodeProto) -> Result<()> {
        self.along_channels(node, 0)?;
        let input = self.tensor(node, 0)?;
        let channels = self.builder.shape(input).channels;
        let parts: Vec<i64> = match attribute(node, "split") {
            Some(sizes) => sizes.ints.clone(),
            None if node.input.get(1).is_some_and(|name| !name.is_empty()) => {
                self.integers(node, 1)?
            }
            // The last part is smaller where it does not come out even.
            None => {
                let count = node.output.len().max(1);
                let each = channels.div_ceil(count);
                (0..count)
                    .map(|part| each.min(channels.saturating_sub(part * each)) as i64)
                    .collect()
            }
        };
        let mut start = 0;
        for (name, size) in node.output.iter().zip(parts) {
            let end = start + usize::try_from(size).map_err(|_| "a Split of negative size")?;
            let part = self.channels(input, (start..end).collect())?;
            self.values.insert(name, Value::Tensor(part));
            start = end;
        }
        Ok(())
    }

    /// Slice of some channels.
    pub(super) fn slice(&mut self, node: &'a NodeProto) -> Result<()> {
        let input = self.tensor(node, 0)?;
        let list = |input: usize, name: &str| -> Result<Option<Vec<i64>>> {
            if let Some(values) = attribute(node, name) {
                return Ok(Some(values.ints.clone()));
            }
            match node.input.get(input).filter(|name| !name.is_empty()) {
                Some(_) => self.integers(node, input).map(Some),
                None => Ok(None),
            }
        };
        let starts = list(1, "starts")?;
        let ends = list(2, "ends")?;
        let axes = list(3, "axes")?;
        let steps = list(4, "steps")?.unwrap_or_else(|| vec![1]);
        let (Some([start]), Some([end]), Some([1 | -3]), [step]) = (
            starts.as_deref(),
            ends.as_deref(),
            axes.as_deref(),
            &steps[..],
        ) else {
            return Err("a Slice of other than channels".into());
        };
        let channels = self.builder.shape(input).channels as i64;
        let place = |at: i64| if at < 0 { at + channels } else { at }.clamp(0, channels) as usize;
        let step = usize::try_from(*step).ok().filter(|&step| step > 0);
        let step = step.ok_or("a Slice backwards")?;
        let kept = (place(*start)..place(*end)).step_by(step);
        let part = self.channels(input, kept.collect())?;
        self.set(node, Value::Tensor(part))
    }

    /// Reshape to groups of channels: the first step of a shuffle. None if it is something else.
    pub(super) fn in_groups(&mut self, node: &'a NodeProto) -> Option<Value> {
        let input = self.tensor(node, 0).ok()?;
        let shape = self.builder.shape(input);
        let sizes = self.integers(node, 1).ok()?;
        let &[-1..=1, groups, each, height, width] = &sizes[..] else {
            return None;
        };
        let groups = usize::try_from(groups).ok().filter(|&groups| groups > 0)?;
        let fits = |size: i64, is: usize| size == -1 || usize::try_from(size) == Ok(is);
        let fits = shape.channels.is_multiple_of(groups)
            && fits(each, shape.channels / groups)
            && fits(height, shape.height)
            && fits(width, shape.width);
        fits.then_some(Value::Groups(input, groups))
    }

    /// The second step: groups and the channels of each change places.
    pub(super) fn transpose(&mut self, node: &'a NodeProto) -> Result<()> {
        let order = attribute(node, "perm").map_or(&[][..], |order| &order.ints[..]);
        match (self.value(node, 0)?, order) {
            (Value::Groups(input, groups), [0, 2, 1, 3, 4]) => {
                let channels = self.builder.shape(input).channels;
                let each = channels / groups;
                let shuffled =
                    (0..channels).map(|channel| channel % groups * each + channel / groups);
                let output = self.channels(input, shuffled.collect())?;
                self.set(node, Value::Tensor(output))
            }
            _ => Err("a Transpose that is no shuffle of channels".into()),
        }
    }

    fn channels(&mut self, input: TensorId, channels: Vec<usize>) -> Result<TensorId> {
        self.builder
            .channels(input, &channels)
            .map_err(|error| error.to_string())
    }

    fn along_channels(&self, node: &NodeProto, default: i64) -> Result<()> {
        let axis = attribute(node, "axis").map_or(default, |axis| axis.i);
        if axis == 1 || axis == -3 {
            return Ok(());
        }
        Err(format!("a {} along other than channels", node.op_type))
    }
}
