//! Attention: two products of views with a softmax between them.

use super::attributes::attribute;
use super::view::{Of, Run, View};
use super::{Result, Value, Walk};
use pinhole_kernels::{Attention, TensorId};
use tract_onnx::pb::NodeProto;

/// Products of queries and keys.
#[derive(Clone)]
pub(super) struct Scores {
    queries: View,
    /// With tokens last.
    keys: View,
    scale: f32,
    softmax: bool,
}

impl Scores {
    pub(super) fn scaled(&self, factor: f32) -> Self {
        // What comes behind the softmax is no scale any more: a scale of nothing is refused.
        let scale = if self.softmax {
            0.0
        } else {
            self.scale * factor
        };
        Self {
            scale,
            ..self.clone()
        }
    }
}

impl<'a> Walk<'a> {
    /// Queries by keys, or what a softmax made of that by values.
    pub(super) fn product_of_views(&mut self, node: &'a NodeProto) -> Result<()> {
        if let Value::Scores(scores) = self.value(node, 0)? {
            let values = self.view(node, 1)?;
            return self.attention(node, &scores, values);
        }
        let (queries, keys) = (self.view(node, 0)?, self.view(node, 1)?);
        let scores = Scores {
            scale: queries.factor * keys.factor,
            queries,
            keys,
            softmax: false,
        };
        self.set(node, Value::Scores(scores))
    }

    pub(super) fn softmax(&mut self, node: &'a NodeProto) -> Result<()> {
        let Value::Scores(scores) = self.value(node, 0)? else {
            return Err("a Softmax that is part of no attention".into());
        };
        let last = scores.queries.axes.len() as i64 - 1;
        let axis = attribute(node, "axis").map_or(-1, |axis| axis.i);
        if scores.softmax || (axis != -1 && axis != last) {
            return Err("a Softmax over other than keys".into());
        }
        let scores = Scores {
            softmax: true,
            ..scores
        };
        self.set(node, Value::Scores(scores))
    }

    fn attention(&mut self, node: &'a NodeProto, scores: &Scores, values: View) -> Result<()> {
        let rank = scores.keys.axes.len() as i64;
        if rank < 2 || !scores.softmax {
            return Err("a product of tensors that is no attention".into());
        }
        let mut order: Vec<i64> = (0..rank).collect();
        order.swap(rank as usize - 2, rank as usize - 1);
        let keys = scores.keys.transposed(&order);
        let keys = keys.ok_or("an attention of odd keys")?;
        let values = self.settled(values)?;
        let (queries, heads, dim) = self.heads(scores.queries.clone())?;
        let others = [self.heads(keys)?, self.heads(values)?];
        if others
            .iter()
            .any(|other| (other.1, other.2) != (heads, dim))
        {
            return Err("an attention whose heads differ".into());
        }
        let [(keys, ..), (values, ..)] = others;
        let attention = Attention {
            queries,
            keys,
            values,
            heads,
            dim,
            scale: scores.scale,
        };
        let output = self
            .builder
            .attention(&attention)
            .map_err(|error| format!("an attention: {error}"))?;
        let mut view = scores.queries.renumbered(output);
        view.factor = 1.0;
        self.set_view(node, view)
    }

    /// Where the heads of a view begin, how many there are, and their channels: its dimensions are heads, tokens, channels.
    fn heads(&mut self, view: View) -> Result<((TensorId, usize), usize, usize)> {
        let odd = || "an attention of other than heads of tokens".to_string();
        let shape = self.builder.shape(view.tensor);
        let (leading, inner) = (view.leading(2), view.leading(0));
        let count = view.axes.len();
        if count < 2 {
            return Err(odd());
        }
        let (tokens, channels) = (&view.axes[count - 2], &view.axes[count - 1]);
        let all = View::tokens(view.tensor, shape).axes[1].clone();
        let only = |runs: &[Run]| runs.iter().all(|run| run.of == Of::Channels);
        if *tokens != all || !only(&leading) || !only(channels) || inner.is_empty() {
            return Err(odd());
        }
        let size = |runs: &[Run]| runs.iter().map(|run| run.size).product::<usize>();
        let (heads, dim) = (size(&leading), size(channels));
        // Channels of a head one behind the other, and heads behind each other, too.
        let numbers = view.channels();
        let in_order = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let first = numbers.first().copied().ok_or_else(odd)?;
        if in_order && first.is_multiple_of(4) {
            return Ok(((view.tensor, first), heads, dim));
        }
        let picked = self.picked(view)?;
        Ok(((picked.tensor, 0), heads, dim))
    }
}
