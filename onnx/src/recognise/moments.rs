//! Layer normalisation and GELU, as one node or as exporters spell them out, and means.

use super::attributes::attribute;
use super::view::{Of, View};
use super::{Result, Value, Walk};
use pinhole_kernels::{Binary, Unary};
use tract_onnx::pb::NodeProto;

/// How far a layer normalisation that is spelled out has come.
#[derive(Clone)]
pub(super) enum Moment {
    /// The mean of a view's channels.
    Mean(View),
    /// The view less that.
    Centred(View),
    /// The squares of it.
    Squares(View),
    /// Their mean, and what is added to it.
    Variance(View, f32),
    /// The root of the sum.
    Deviation(View, f32),
}

/// An error function on its way to a GELU.
#[derive(Clone)]
pub(super) struct Erf {
    /// Of this, divided by the root of two.
    of: View,
    /// Whether one is added.
    plus_one: bool,
    factor: f32,
}

impl<'a> Walk<'a> {
    pub(super) fn layer_norm(&mut self, node: &'a NodeProto) -> Result<()> {
        let view = self.normalised_view(node)?;
        let axis = attribute(node, "axis").map_or(-1, |axis| axis.i);
        if view.axis(axis) != Some(view.axes.len() - 1) {
            return Err("a layer normalisation of other than channels".into());
        }
        let (factors, _) = self.constant(node, 1)?;
        let terms = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(_) => self.constant(node, 2)?.0,
            None => vec![0.0; factors.len()],
        };
        let epsilon = attribute(node, "epsilon").map_or(1e-5, |value| value.f);
        let view = self.normalised(view, &factors, &terms, epsilon)?;
        self.set_view(node, view)
    }

    /// What a normalisation reads: of one pixel, nobody knows the dimensions, and channels are the last one.
    fn normalised_view(&mut self, node: &NodeProto) -> Result<View> {
        if let Value::Tensor(tensor) = self.value(node, 0)? {
            let shape = self.builder.shape(tensor);
            if (shape.height, shape.width) == (1, 1) {
                return Ok(View::vector(tensor, shape));
            }
        }
        self.view(node, 0)
    }

    fn normalised(
        &mut self,
        view: View,
        factors: &[f32],
        terms: &[f32],
        epsilon: f32,
    ) -> Result<View> {
        let view = self.with_channels_last(view)?;
        let output = self
            .builder
            .layer_norm(view.tensor, factors, terms, epsilon)
            .map_err(|error| error.to_string())?;
        Ok(view.of(output))
    }

    fn axes(&self, node: &NodeProto) -> Result<Vec<i64>> {
        match attribute(node, "axes") {
            Some(axes) => Ok(axes.ints.clone()),
            None => self.integers(node, 1),
        }
    }

    /// Whether a mean of an image is over its channels.
    pub(super) fn is_over_channels(&self, node: &NodeProto) -> bool {
        let is_image = matches!(self.value(node, 0), Ok(Value::Tensor(_)));
        is_image
            && self
                .axes(node)
                .is_ok_and(|axes| axes == [1] || axes == [-3])
    }

    /// A mean over channels, which begins a normalisation, or over all pixels.
    pub(super) fn mean(&mut self, node: &'a NodeProto) -> Result<()> {
        let keeps = attribute(node, "keepdims").is_none_or(|value| value.i != 0);
        if let Value::Moment(Moment::Squares(view)) = self.value(node, 0)? {
            return self.set(node, Value::Moment(Moment::Variance(view, 0.0)));
        }
        let view = self.view(node, 0)?;
        let axes: Option<Vec<usize>> = self.axes(node)?.iter().map(|&at| view.axis(at)).collect();
        let axes = axes.ok_or("a mean over no dimension")?;
        let over = |of: Of| {
            let runs = view.axes.iter().enumerate();
            let mut of = runs.filter(|(_, runs)| runs.iter().any(|run| run.of == of));
            of.all(|(axis, _)| axes.contains(&axis))
        };
        let mixed = |axis: &usize, other: Of| view.axes[*axis].iter().any(|run| run.of == other);
        if over(Of::Channels) && !axes.iter().any(|axis| mixed(axis, Of::Pixels)) && keeps {
            return self.set(node, Value::Moment(Moment::Mean(view)));
        }
        if !over(Of::Pixels) || axes.iter().any(|axis| mixed(axis, Of::Channels)) {
            return Err("a mean over other than all pixels".into());
        }
        let view = self.settled(view)?;
        let mean = self.builder.global_average_pool(view.tensor);
        let mut view = view.of(mean);
        for &axis in &axes {
            view.axes[axis].clear();
        }
        if !keeps {
            let mut at = 0;
            view.axes.retain(|_| {
                at += 1;
                !axes.contains(&(at - 1))
            });
        }
        self.set_view(node, view)
    }

    /// A power or a root on the way to a normalisation.
    pub(super) fn moment(&mut self, node: &'a NodeProto) -> Result<()> {
        let value = match (self.value(node, 0)?, node.op_type.as_str()) {
            (Value::Moment(Moment::Centred(view)), "Pow")
                if self.later_constant(node, 1)?.0 == [2.0] =>
            {
                Moment::Squares(view)
            }
            (Value::Moment(Moment::Variance(view, epsilon)), "Sqrt") => {
                Moment::Deviation(view, epsilon)
            }
            _ => {
                return Err(format!(
                    "a {} that is part of no normalisation",
                    node.op_type
                ));
            }
        };
        self.set(node, Value::Moment(value))
    }

    pub(super) fn erf(&mut self, node: &'a NodeProto) -> Result<()> {
        let view = self.view(node, 0)?;
        if (view.factor - std::f32::consts::FRAC_1_SQRT_2).abs() > 1e-5 {
            return Err("an Erf that is part of no GELU".into());
        }
        let of = View {
            factor: 1.0,
            ..view
        };
        let erf = Erf {
            of,
            plus_one: false,
            factor: 1.0,
        };
        self.set(node, Value::Erf(erf))
    }

    /// Arithmetic of what is on its way to something whole.
    pub(super) fn arithmetic_of_states(
        &mut self,
        node: &'a NodeProto,
        operator: Binary,
    ) -> Result<()> {
        let values = [self.value(node, 0), self.value(node, 1)];
        let constant = |input: usize| match self.later_constant(node, input) {
            Ok((values, _)) if values.len() == 1 => values.first().copied(),
            _ => None,
        };
        let constants = [constant(0), constant(1)];
        let odd = || format!("a {} on the way to no layer that is known", node.op_type);
        let other = |input: usize| constants[1 - input].ok_or_else(odd);
        for (input, value) in values.iter().enumerate() {
            let commutes = matches!(operator, Binary::Add | Binary::Mul);
            if input == 1 && !commutes {
                break;
            }
            let value = match (value, operator) {
                (Ok(Value::Scores(scores)), Binary::Mul) => {
                    Value::Scores(scores.scaled(other(input)?))
                }
                (Ok(Value::Scores(scores)), Binary::Div) => {
                    Value::Scores(scores.scaled(1.0 / other(input)?))
                }
                (Ok(Value::Moment(Moment::Variance(view, epsilon))), Binary::Add) => {
                    Value::Moment(Moment::Variance(view.clone(), epsilon + other(input)?))
                }
                (Ok(Value::Erf(erf)), Binary::Add)
                    if constants[1 - input] == Some(erf.factor) && !erf.plus_one =>
                {
                    Value::Erf(Erf {
                        plus_one: true,
                        ..erf.clone()
                    })
                }
                (Ok(Value::Erf(erf)), Binary::Mul) => match constants[1 - input] {
                    Some(factor) => Value::Erf(Erf {
                        factor: erf.factor * factor,
                        ..erf.clone()
                    }),
                    None => return self.gelu(node, erf, 1 - input),
                },
                _ => continue,
            };
            return self.set(node, value);
        }
        match (&values[0], operator, &values[1]) {
            (
                Ok(Value::View(_) | Value::Tensor(_)),
                Binary::Sub,
                Ok(Value::Moment(Moment::Mean(of))),
            ) if self.view(node, 0)? == *of => {
                self.set(node, Value::Moment(Moment::Centred(of.clone())))
            }
            (
                Ok(Value::Moment(Moment::Centred(a))),
                Binary::Mul,
                Ok(Value::Moment(Moment::Centred(b))),
            ) if a == b => self.set(node, Value::Moment(Moment::Squares(a.clone()))),
            (
                Ok(Value::Moment(Moment::Centred(a))),
                Binary::Div,
                Ok(Value::Moment(Moment::Deviation(b, epsilon))),
            ) if a == b => self.spelled_out_norm(node, a.clone(), *epsilon),
            _ => Err(odd()),
        }
    }

    fn spelled_out_norm(&mut self, node: &'a NodeProto, view: View, epsilon: f32) -> Result<()> {
        let shape = self.builder.shape(view.tensor);
        let last = view.axes.len() as i64 - 1;
        // Channels may be the second dimension here, where a normalisation that is one node has them last.
        let order: Vec<i64> = (0..=last)
            .filter(|&at| {
                view.axes[at as usize]
                    .iter()
                    .all(|run| run.of == Of::Pixels)
            })
            .collect();
        let channels = (0..=last).filter(|at| !order.contains(at));
        let order: Vec<i64> = order.iter().copied().chain(channels).collect();
        let turned = view.transposed(&order).ok_or("an odd normalisation")?;
        let (ones, zeros) = (vec![1.0; shape.channels], vec![0.0; shape.channels]);
        let normalised = self.normalised(turned, &ones, &zeros, epsilon)?;
        // What follows sees the order that it was in.
        self.set_view(node, view.of(normalised.tensor))
    }

    /// An error function plus one, times what it is of.
    fn gelu(&mut self, node: &'a NodeProto, erf: &Erf, input: usize) -> Result<()> {
        let view = self.view(node, input)?;
        let factor = view.factor;
        let same = View {
            factor: 1.0,
            ..view
        };
        if !erf.plus_one || same != erf.of {
            return Err("an Erf that is part of no GELU".into());
        }
        let output = self.builder.unary(same.tensor, Unary::Gelu);
        let view = View {
            factor: factor * erf.factor * 2.0,
            ..same.of(output)
        };
        self.set_view(node, view)
    }
}
