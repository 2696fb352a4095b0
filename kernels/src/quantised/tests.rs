//! Quantised layers against the definition, one value at a time: equal to the bit.

use super::*;
use crate::reference::{self, Random};
use crate::tests::run;
use crate::{Conv, Network, Precision};

const BYTES: Steps = Steps {
    size: 0.021,
    zero: 0.0,
    low: 0.0,
    high: 255.0,
};

/// What a layer's sums become, one value at a time.
fn rounded(sums: &[f32], units: &[f32], steps: Steps) -> Vec<f32> {
    let each = sums.iter().enumerate().map(|(index, sum)| {
        let scaled = sum * (units[index % units.len()] / steps.size);
        (scaled.round_ties_even() + steps.zero).clamp(steps.low, steps.high) - steps.zero
    });
    each.collect()
}

/// The same layers in the plain loops and in a network; tensors hold whole numbers.
struct Both {
    builder: NetworkBuilder,
    tensor: TensorId,
    values: Vec<f32>,
    random: Random,
}

impl Both {
    /// Whole numbers of at most `most`.
    fn whole(&mut self, count: usize, most: f32) -> Vec<f32> {
        let values = self.random.values(count).into_iter();
        values.map(|value| (value * most).round()).collect()
    }

    /// A convolution, whose output channels have units of their own, and its rounding.
    fn conv(&mut self, out: usize, kernel: usize, depthwise: bool, steps: Steps) {
        let shape = self.builder.shape(self.tensor);
        let groups = if depthwise { shape.channels } else { 1 };
        let window = kernel * kernel * shape.channels / groups;
        let weights = self.whole(out * window, 150.0);
        let bias = self.whole(out, 9000.0);
        let conv = Conv {
            dilation: (1, 1),
            out_channels: out,
            kernel: (kernel, kernel),
            stride: (1 + usize::from(kernel == 3 && !depthwise), 1),
            padding: (kernel / 2, kernel / 2, kernel / 2, kernel / 2),
            groups,
            weights: &weights,
            bias: &bias,
            activation: Activation::None,
        };
        let sums = reference::conv(&self.values, shape, &conv).0;
        assert!(sums.iter().all(|sum| sum.abs() < (1 << 24) as f32));
        let spread = steps.size * 200.0 / 4000.0 / (window as f32).sqrt();
        let units = self.random.values(out).into_iter();
        let units: Vec<f32> = units.map(|unit| spread * (1.1 + unit)).collect();
        self.values = rounded(&sums, &units, steps);
        self.tensor = self.builder.conv(self.tensor, &conv).unwrap();
        let tensor = self.tensor;
        self.builder
            .round(tensor, &units, steps, Activation::None)
            .unwrap();
    }
}

/// Every kind of layer of a quantised network, its input, and what comes out.
fn example() -> (Both, Vec<f32>, Vec<f32>) {
    let mut random = Random(21);
    let input = random.values(43 * 37 * 3);
    let builder = NetworkBuilder::new(43, 37, 3);
    let tensor = builder.input();
    let mut both = Both {
        builder,
        tensor,
        values: Vec::new(),
        random,
    };
    let pixels = Steps {
        size: 0.0078,
        zero: 114.0,
        ..BYTES
    };
    let signed = |zero, size| Steps {
        size,
        zero,
        low: -128.0,
        high: 127.0,
    };
    both.values = rounded(&input, &[1.0], pixels);
    both.tensor = both.builder.quantise(both.tensor, pixels);
    both.conv(13, 3, false, BYTES);
    both.conv(13, 3, true, BYTES);
    let (a, b, sum) = (signed(4.0, 0.05), signed(-9.0, 0.03), signed(1.0, 0.07));
    both.conv(10, 1, false, a);
    let (tensor, values) = (both.tensor, both.values.clone());
    both.conv(60, 1, false, BYTES);
    let wider = signed(-100.0, 0.09);
    both.tensor = both.builder.requantise(
        (both.tensor, BYTES),
        wider,
        Activation::Clip { min: 0.5, max: 4.0 },
    );
    for step in &mut both.values {
        let value = (*step * BYTES.size).clamp(0.5, 4.0);
        *step = (value / wider.size).round_ties_even();
    }
    both.conv(10, 1, false, b);
    both.tensor = both
        .builder
        .add_steps((tensor, a), (both.tensor, b), sum, Activation::None)
        .unwrap();
    both.values = values
        .iter()
        .zip(&both.values)
        .map(|(one, other)| {
            let value = f64::from(one * a.size) + f64::from(other * b.size);
            let step = (value / f64::from(sum.size)).round_ties_even() as f32;
            (step + sum.zero).clamp(sum.low, sum.high) - sum.zero
        })
        .collect();
    let shape = both.builder.shape(both.tensor);
    let pixels = (shape.height * shape.width) as f32;
    let sums: Vec<f32> = reference::average(&both.values, 10)
        .iter()
        .map(|mean| (mean * pixels).round())
        .collect();
    let mean = signed(0.0, 0.01);
    both.values = rounded(&sums, &[sum.size / pixels], mean);
    both.tensor = both.builder.global_sum_pool(both.tensor);
    let pooled = both.tensor;
    both.builder
        .round(pooled, &[sum.size / pixels], mean, Activation::None)
        .unwrap();
    let (weights, bias) = (both.whole(10 * 33, 127.0), both.whole(33, 500.0));
    let sums = reference::dense(&both.values, Shape::vector(10), &weights, &bias);
    let logits = Steps {
        size: 0.13,
        zero: 73.0,
        ..BYTES
    };
    both.tensor = both
        .builder
        .dense(both.tensor, 33, &weights, &bias)
        .unwrap();
    let scores = both.tensor;
    both.builder
        .round(scores, &[0.0004], logits, Activation::None)
        .unwrap();
    assert!(both.builder.dequantise(scores, logits.size));
    let steps = rounded(&sums, &[0.0004], logits);
    let expected = steps.iter().map(|step| step * logits.size).collect();
    (both, input, expected)
}

fn network(precision: Precision) -> (Network, Vec<f32>) {
    let (both, input, _) = example();
    let network = both.builder.build(both.tensor, precision).unwrap();
    (network, input)
}

#[test]
fn steps_are_exactly_those_of_the_definition() {
    let (_, _, expected) = example();
    let levels: std::collections::BTreeSet<u32> =
        expected.iter().map(|score| score.to_bits()).collect();
    assert!(levels.len() > 10, "{expected:?}");
    for precision in [Precision::Fp32, Precision::Int8] {
        let (network, input) = network(precision);
        assert_eq!(network.precision(), Precision::Qdq);
        assert_eq!(run(&network, &input), expected);
    }
}

#[test]
fn integers_take_half_the_place() {
    let [floats, integers] = [Precision::Fp32, Precision::Int8]
        .map(|precision| network(precision).0.weights_bytes() as f64);
    assert!(integers < 0.6 * floats, "{integers} of {floats}");
}

#[test]
fn weights_that_are_no_whole_numbers_stay_floats() {
    let mut builder = NetworkBuilder::new(1, 2, 1);
    let steps = Steps { size: 1.0, ..BYTES };
    let tensor = builder.quantise(builder.input(), steps);
    let output = builder.dense(tensor, 1, &[0.5, 300.0], &[0.25]).unwrap();
    let network = builder.build(output, Precision::Int8).unwrap();
    assert_eq!(run(&network, &[3.2, 0.9]), [301.75]);
}

#[cfg(feature = "serde")]
#[test]
fn a_stored_network_computes_the_same() {
    let (mut network, input) = network(Precision::Int8);
    let bytes = postcard::to_allocvec(&network).unwrap();
    let read: Network = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(run(&read, &input), run(&network, &input));
    let finish = network.steps[1].finish.as_mut().unwrap();
    finish.scales.truncate(4);
    let bytes = postcard::to_allocvec(&network).unwrap();
    assert!(postcard::from_bytes::<Network>(&bytes).is_err());
}

#[test]
fn without_rounding_the_same_values_come_out_nearly() {
    let (both, input, expected) = example();
    let smooth = both.builder.without_rounding();
    let smooth = smooth.build(both.tensor, Precision::Fp32).unwrap();
    let mut found = vec![f32::NAN; smooth.output_len()];
    smooth.run(&mut smooth.arena(), &input, &mut found);
    assert_ne!(found, expected);
    let largest = expected
        .iter()
        .fold(0.0f32, |most, one| most.max(one.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        assert!(
            (found - expected).abs() < 0.1 * largest,
            "{found} {expected}"
        );
    }
}

#[test]
fn an_activation_comes_before_the_rounding() {
    let halves = [-3.0, -0.5, 0.5, 1.5, 2.5, 9.0];
    for (activation, expected) in [
        (Activation::None, [-3.0, 0.0, 0.0, 2.0, 2.0, 9.0]),
        (Activation::Relu, [0.0, 0.0, 0.0, 2.0, 2.0, 9.0]),
        (
            Activation::Clip {
                min: -1.0,
                max: 2.6,
            },
            [-1.0, 0.0, 0.0, 2.0, 2.0, 3.0],
        ),
    ] {
        let mut builder = NetworkBuilder::new(1, 1, 6);
        let tensor = builder.global_sum_pool(builder.input());
        let steps = Steps {
            size: 1.0,
            zero: 100.0,
            ..BYTES
        };
        builder.round(tensor, &[1.0], steps, activation).unwrap();
        let network = builder.build(tensor, Precision::Fp32).unwrap();
        assert_eq!(run(&network, &halves), expected);
    }
}

#[test]
fn other_numbers_of_units_than_of_channels_are_refused() {
    let mut builder = NetworkBuilder::new(1, 1, 3);
    let pooled = builder.global_sum_pool(builder.input());
    let refused = builder.round(pooled, &[1.0; 2], BYTES, Activation::None);
    assert!(matches!(refused, Err(BuildError::WrongLength { .. })));
    let mut wide = NetworkBuilder::new(2, 1, 3);
    let (input, pooled) = (wide.input(), wide.global_sum_pool(wide.input()));
    let sum = wide.add_steps((input, BYTES), (pooled, BYTES), BYTES, Activation::None);
    assert_eq!(sum, Err(BuildError::ShapeMismatch));
}
