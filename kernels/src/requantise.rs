//! From sums of integers to 8-bit tensors, rounded as ONNX Runtime rounds where it computes in integers, to the bit.

use std::ops::Range;

use crate::layout::Layout;
use crate::op::Activation;
use crate::simd::F32x4;

/// How the values of a tensor are kept in 8 bits: as whole numbers `q`, for a value of `(q - zero) * size`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps {
    /// What a step is worth.
    pub size: f32,
    /// The step that stands for zero.
    pub zero: f32,
    /// The lowest step: 0, or -128.
    pub low: f32,
    /// The highest step: 255, or 127.
    pub high: f32,
}

impl Steps {
    /// The steps that an activation leaves, counted from the zero point.
    pub(crate) fn limits(self, activation: Activation) -> Limits {
        let (low, high) = activation.range();
        Limits {
            low: (self.low - self.zero).max(low / self.size),
            high: (self.high - self.zero).min(high / self.size),
            rounds: true,
        }
    }
}

/// What becomes of the sums that a layer computes, before another one reads them.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Finish {
    /// What each is multiplied by: one a channel, zeros for lanes that pad.
    pub(crate) scales: Vec<f32>,
    pub(crate) limits: Limits,
    /// What a step is worth to whoever reads the result.
    pub(crate) worth: f32,
}

impl Finish {
    /// `scales` has a value for each channel.
    pub(crate) fn new(scales: &[f32], limits: Limits) -> Self {
        let mut scales = scales.to_vec();
        scales.resize(scales.len().next_multiple_of(4), 0.0);
        Self {
            scales,
            limits,
            worth: 1.0,
        }
    }

    /// Whether it fits a tensor of these channels.
    #[cfg(feature = "serde")]
    pub(crate) fn fits(&self, channels: usize) -> bool {
        self.scales.len() == channels.next_multiple_of(4)
    }

    /// Does it to rows that are contiguous in their ring.
    pub(crate) fn apply(&self, planes: &mut [f32], layout: Layout, rows: Range<usize>) {
        let start = layout.row(rows.start);
        let end = start + rows.len() * layout.width * 4;
        let worth = F32x4::splat(self.worth);
        let planes = planes.chunks_exact_mut(layout.stride);
        for (plane, scales) in planes.zip(self.scales.as_chunks::<4>().0) {
            let scales = F32x4::load(scales);
            self.limits.each(&mut plane[start..end], |value| {
                let steps = self.limits.round(value.mul(scales));
                steps.mul(worth)
            });
        }
    }
}

/// The whole numbers that a tensor can hold.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Limits {
    pub(crate) low: f32,
    pub(crate) high: f32,
    /// Not where only the rest is to be compared.
    pub(crate) rounds: bool,
}

impl Limits {
    pub(crate) fn are_whole(self) -> bool {
        self.rounds && self.low >= -255.0 && self.high <= 255.0
    }

    pub(crate) fn shifted(self, by: f32) -> Self {
        Self {
            low: self.low + by,
            high: self.high + by,
            ..self
        }
    }

    /// Limits values, and rounds them to the nearest whole number, from halves to the even one.
    #[inline(always)]
    fn round(self, value: F32x4) -> F32x4 {
        let limited = value.clip(F32x4::splat(self.low), F32x4::splat(self.high));
        if self.rounds {
            limited.nearest()
        } else {
            limited
        }
    }

    /// Replaces each value: four vectors a turn of the loop.
    #[inline(always)]
    fn each(self, values: &mut [f32], change: impl Fn(F32x4) -> F32x4) {
        let (turns, rest) = values.as_chunks_mut::<16>();
        for turn in turns {
            for value in turn.as_chunks_mut::<4>().0 {
                change(F32x4::load(value)).store(value);
            }
        }
        for value in rest.as_chunks_mut::<4>().0 {
            change(F32x4::load(value)).store(value);
        }
    }
}

/// From values, or other steps, to steps from the zero point.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Quantise {
    /// What the input is to be multiplied by to be values.
    pub(crate) worth: f32,
    pub(crate) step: f32,
    pub(crate) limits: Limits,
}

impl Quantise {
    pub(crate) fn run(&self, values: &[f32], out: &mut [f32]) {
        out.copy_from_slice(values);
        let (worth, step) = (F32x4::splat(self.worth), F32x4::splat(self.step));
        // Divided, not multiplied by the inverse: that would round some values to another step.
        self.limits
            .each(out, |value| self.limits.round(value.mul(worth).div(step)));
    }
}

/// The sum of two tensors, each with steps and a zero point of its own, in those of a third.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct StepSum {
    /// What a step of either is in steps of the result.
    pub(crate) ratios: [f32; 2],
    pub(crate) zeros: [f32; 2],
    pub(crate) zero: f32,
    /// What the three zero points come to.
    pub(crate) fixed: f32,
    /// Zero point included.
    pub(crate) limits: Limits,
}

impl StepSum {
    pub(crate) fn new([a, b]: [Steps; 2], steps: Steps, limits: Limits) -> Self {
        let ratios = [a.size / steps.size, b.size / steps.size];
        // Rounded once, as where a processor multiplies and adds at once.
        let zeros = f64::from(ratios[0]) * f64::from(a.zero) + f64::from(ratios[1] * b.zero);
        Self {
            ratios,
            zeros: [a.zero, b.zero],
            zero: steps.zero,
            fixed: steps.zero - zeros as f32,
            limits: limits.shifted(steps.zero),
        }
    }

    /// Adds `other` to `values`. The order of operations decides what becomes of halves, so it is ONNX Runtime's.
    pub(crate) fn run(&self, values: &mut [f32], other: &[f32]) {
        let [ratio_a, ratio_b] = self.ratios.map(F32x4::splat);
        let [zero_a, zero_b] = self.zeros.map(F32x4::splat);
        let (fixed, zero) = (F32x4::splat(self.fixed), F32x4::splat(self.zero));
        let others = other.as_chunks::<4>().0;
        for (value, other) in values.as_chunks_mut::<4>().0.iter_mut().zip(others) {
            let (a, b) = (F32x4::load(value), F32x4::load(other));
            let sum = b.add(zero_b).mul_add_once(ratio_b, fixed);
            let sum = a.add(zero_a).mul_add_once(ratio_a, sum);
            self.limits.round(sum).sub(zero).store(value);
        }
    }
}
