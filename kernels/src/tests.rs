//! Whole networks against the plain loops, on shapes that fit no tile.

mod layers;
mod tokens;

use crate::reference::{self, Random};
use crate::simd::{AVX2, AVX512};
use crate::{Activation, BuildError, Conv, Network, NetworkBuilder, Precision, Shape};

const RELU6: Activation = Activation::Clip { min: 0.0, max: 6.0 };

pub(crate) fn run(network: &Network, input: &[f32]) -> Vec<f32> {
    let mut arena = network.arena();
    let mut output = vec![f32::NAN; network.output_len()];
    network.run(&mut arena, input, &mut output);
    let first = output.clone();
    network.run(&mut arena, input, &mut output);
    let same = first
        .iter()
        .zip(&output)
        .all(|(a, b)| a.to_bits() == b.to_bits());
    assert!(same, "a second run in the same arena differs");
    // Our own int8 would round what differs in the last bit to different steps.
    if network.precision() != Precision::Int8 {
        // Whole numbers are the same whoever adds them up.
        let exact = network.precision() == Precision::Qdq;
        AVX2.set(true);
        for wide in [false, true] {
            AVX512.set(wide);
            let mut natively = vec![f32::NAN; network.output_len()];
            network.run(&mut arena, input, &mut natively);
            let tolerance = if exact { 0.0 } else { 1e-4 };
            assert_close(&natively, &output, tolerance, "natively");
        }
        AVX2.set(false);
    }
    output
}

/// The largest difference allowed is `tolerance` times the largest value.
fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected
        .iter()
        .fold(1e-3f32, |most, value| most.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let same = found == expected || (found.is_nan() && expected.is_nan());
        assert!(
            same || (found - expected).abs() <= tolerance * largest,
            "{what}: value {index} is {found}, not {expected}"
        );
    }
}

fn shape(height: usize, width: usize, channels: usize) -> Shape {
    Shape {
        height,
        width,
        channels,
    }
}

struct Case {
    input: Shape,
    out: usize,
    kernel: (usize, usize),
    stride: (usize, usize),
    padding: (usize, usize, usize, usize),
    groups: usize,
}

fn check_conv(case: &Case, activation: Activation, precision: Precision, tolerance: f32) {
    let mut random = Random(7);
    let taps = case.kernel.0 * case.kernel.1 * case.input.channels / case.groups;
    let weights = random.values(case.out * taps);
    let bias = random.values(case.out);
    let conv = Conv {
        dilation: (1, 1),
        out_channels: case.out,
        kernel: case.kernel,
        stride: case.stride,
        padding: case.padding,
        groups: case.groups,
        weights: &weights,
        bias: &bias,
        activation,
    };
    let input = random.values(case.input.len());
    let (expected, _) = reference::conv(&input, case.input, &conv);
    let mut builder = NetworkBuilder::new(case.input.height, case.input.width, case.input.channels);
    let mut tensor = builder.input();
    if precision != Precision::Fp32 {
        // The first convolution is never quantised: let an identity be the first.
        let channels = case.input.channels;
        let mut identity = vec![0.0; channels * channels];
        (0..channels).for_each(|channel| identity[channel * channels + channel] = 1.0);
        let identity = Conv {
            dilation: (1, 1),
            out_channels: channels,
            kernel: (1, 1),
            stride: (1, 1),
            padding: (0, 0, 0, 0),
            groups: 1,
            weights: &identity,
            bias: &[],
            activation: Activation::None,
        };
        tensor = builder.conv(tensor, &identity).unwrap();
    }
    let tensor = builder.conv(tensor, &conv).unwrap();
    let network = builder.build(tensor, precision).unwrap();
    let what = format!(
        "{:?} -> {} by {:?} stride {:?} padding {:?} groups {}, {precision:?}",
        case.input, case.out, case.kernel, case.stride, case.padding, case.groups
    );
    assert_close(&run(&network, &input), &expected, tolerance, &what);
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (height, width) in [(1, 1), (1, 7), (5, 3), (9, 6)] {
        for (channels, out) in [
            (1, 1),
            (2, 5),
            (3, 8),
            (4, 4),
            (7, 9),
            (13, 17),
            (24, 16),
            (37, 11),
        ] {
            for stride in [(1, 1), (2, 2), (2, 1)] {
                for (kernel, padding) in [
                    ((1, 1), (0, 0, 0, 0)),
                    ((3, 3), (1, 1, 1, 1)),
                    ((3, 3), (0, 0, 2, 2)),
                    ((5, 5), (2, 2, 2, 2)),
                    ((5, 5), (1, 0, 3, 4)),
                    ((7, 7), (3, 3, 3, 3)),
                    ((11, 2), (9, 3, 2, 0)),
                ] {
                    for groups in [1, channels] {
                        cases.push(Case {
                            input: shape(height, width, channels),
                            out: if groups == 1 { out } else { channels },
                            kernel,
                            stride,
                            padding,
                            groups,
                        });
                    }
                }
            }
        }
    }
    cases
}

#[test]
fn convolutions_match_in_floats() {
    for case in cases() {
        for activation in [Activation::None, Activation::Relu, RELU6] {
            check_conv(&case, activation, Precision::Fp32, 1e-5);
        }
    }
}

#[test]
fn convolutions_match_in_integers() {
    for case in cases() {
        check_conv(&case, Activation::None, Precision::Int8, 0.06);
    }
}

#[test]
fn many_channels_match() {
    for (channels, out) in [(960, 24), (127, 130)] {
        let case = Case {
            input: shape(3, 3, channels),
            out,
            kernel: (1, 1),
            stride: (1, 1),
            padding: (0, 0, 0, 0),
            groups: 1,
        };
        check_conv(&case, Activation::None, Precision::Fp32, 1e-5);
        check_conv(&case, Activation::None, Precision::Int8, 0.06);
    }
}

#[test]
fn nan_and_infinity_pass_through_floats() {
    let weights = [1.0, 0.5, -2.0, 0.25];
    for (index, special) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY]
        .into_iter()
        .enumerate()
    {
        for activation in [Activation::None, Activation::Relu, RELU6] {
            let conv = Conv {
                dilation: (1, 1),
                out_channels: 2,
                kernel: (1, 1),
                stride: (1, 1),
                padding: (0, 0, 0, 0),
                groups: 1,
                weights: &weights,
                bias: &[],
                activation,
            };
            let depthwise = Conv {
                groups: 2,
                weights: &weights[..2],
                ..conv
            };
            for conv in [conv, depthwise] {
                let input_shape = shape(2, 3, 2);
                let mut input = Random(3).values(12);
                input[3 * index] = special;
                let (expected, _) = reference::conv(&input, input_shape, &conv);
                let mut builder = NetworkBuilder::new(2, 3, 2);
                let output = builder.conv(builder.input(), &conv).unwrap();
                let network = builder.build(output, Precision::Fp32).unwrap();
                assert_close(&run(&network, &input), &expected, 1e-6, "special values");
            }
        }
    }
}

#[test]
fn nan_and_infinity_do_not_stop_integers() {
    for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        let (network, mut input) = blocks(Precision::Int8);
        input[100] = special;
        run(&network, &input);
    }
}

/// Runs the same layers in the plain loops and in a network.
struct Both {
    builder: NetworkBuilder,
    tensor: crate::TensorId,
    values: Vec<f32>,
    random: Random,
}

impl Both {
    fn conv(
        &mut self,
        out: usize,
        kernel: usize,
        stride: usize,
        depthwise: bool,
        activation: Activation,
    ) {
        let shape = self.builder.shape(self.tensor);
        let groups = if depthwise { shape.channels } else { 1 };
        let window = kernel * kernel * shape.channels / groups;
        let scale = (3.0 / window as f32).sqrt() * if activation == RELU6 { 2.0 } else { 1.0 };
        let mut weights = self.random.values(out * window);
        weights.iter_mut().for_each(|weight| *weight *= scale);
        let bias = self.random.values(out);
        let conv = Conv {
            dilation: (1, 1),
            out_channels: out,
            kernel: (kernel, kernel),
            stride: (stride, stride),
            padding: (kernel / 2, kernel / 2, kernel / 2, kernel / 2),
            groups,
            weights: &weights,
            bias: &bias,
            activation,
        };
        self.values = reference::conv(&self.values, shape, &conv).0;
        self.tensor = self.builder.conv(self.tensor, &conv).unwrap();
    }

    fn block(&mut self, out: usize, stride: usize) {
        let (before, values) = (self.tensor, self.values.clone());
        let channels = self.builder.shape(before).channels;
        self.conv(channels * 6, 1, 1, false, RELU6);
        self.conv(channels * 6, 3, stride, true, RELU6);
        self.conv(out, 1, 1, false, Activation::None);
        if stride == 1 && out == channels {
            let sum = self.builder.add(before, self.tensor, Activation::None);
            self.tensor = sum.unwrap();
            self.values = reference::add(&values, &self.values, Activation::None);
        }
    }
}

/// A network of a few inverted residual blocks, big enough to run in strips, and its input.
pub(crate) fn blocks(precision: Precision) -> (Network, Vec<f32>) {
    let (both, input) = both();
    (both.builder.build(both.tensor, precision).unwrap(), input)
}

fn both() -> (Both, Vec<f32>) {
    let mut random = Random(11);
    let (height, width) = (97, 75);
    let input = random.values(height * width * 3);
    let builder = NetworkBuilder::new(height, width, 3);
    let mut both = Both {
        tensor: builder.input(),
        builder,
        values: input.clone(),
        random,
    };
    both.conv(13, 3, 2, false, RELU6);
    both.conv(13, 3, 1, true, RELU6);
    both.conv(10, 1, 1, false, Activation::None);
    both.block(14, 2);
    both.block(14, 1);
    both.block(22, 2);
    both.conv(50, 1, 1, false, RELU6);
    let shape = both.builder.shape(both.tensor);
    both.tensor = both.builder.global_average_pool(both.tensor);
    both.values = reference::average(&both.values, shape.channels);
    let (weights, bias) = (both.random.values(50 * 33), both.random.values(33));
    both.tensor = both
        .builder
        .dense(both.tensor, 33, &weights, &bias)
        .unwrap();
    both.values = reference::dense(&both.values, Shape::vector(50), &weights, &bias);
    (both, input)
}

#[test]
fn blocks_match_in_floats() {
    let (both, input) = both();
    let network = both.builder.build(both.tensor, Precision::Fp32).unwrap();
    assert!(network.segments.iter().any(|segment| segment.strip < 20));
    assert_close(&run(&network, &input), &both.values, 1e-4, "blocks");
}

#[test]
fn blocks_match_in_integers() {
    let (both, input) = both();
    let network = both.builder.build(both.tensor, Precision::Int8).unwrap();
    assert_close(&run(&network, &input), &both.values, 0.05, "blocks");
}

#[test]
fn dense_layers_flatten_as_onnx_does() {
    for precision in [Precision::Fp32, Precision::Int8] {
        let mut random = Random(5);
        let input_shape = shape(3, 2, 5);
        let input = random.values(30);
        let (weights, bias) = (random.values(30 * 7), random.values(7));
        let expected = reference::dense(&input, input_shape, &weights, &bias);
        let mut builder = NetworkBuilder::new(3, 2, 5);
        let output = builder.dense(builder.input(), 7, &weights, &bias).unwrap();
        let network = builder.build(output, precision).unwrap();
        assert_close(&run(&network, &input), &expected, 0.01, "dense");
    }
}

#[test]
fn additions_that_cannot_be_fused_match() {
    let mut builder = NetworkBuilder::new(3, 3, 5);
    let input = builder.input();
    let doubled = builder.add(input, input, Activation::Relu).unwrap();
    let output = builder.add(doubled, input, RELU6).unwrap();
    let network = builder.build(output, Precision::Fp32).unwrap();
    let values = Random(9).values(45);
    let doubled = reference::add(&values, &values, Activation::Relu);
    let expected = reference::add(&doubled, &values, RELU6);
    assert_close(&run(&network, &values), &expected, 1e-6, "additions");
}

#[test]
fn a_network_may_be_empty_or_partly_unused() {
    let mut builder = NetworkBuilder::new(2, 2, 1);
    let input = builder.input();
    builder.global_average_pool(input);
    let network = builder.build(input, Precision::Int8).unwrap();
    assert_eq!(run(&network, &[1.0, 2.0, 3.0, 4.0]), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn layers_that_do_not_fit_are_refused() {
    let mut builder = NetworkBuilder::new(4, 4, 6);
    let input = builder.input();
    let conv = Conv {
        dilation: (1, 1),
        out_channels: 6,
        kernel: (3, 3),
        stride: (1, 1),
        padding: (0, 0, 0, 0),
        groups: 1,
        weights: &[0.0; 324],
        bias: &[],
        activation: Activation::None,
    };
    assert!(builder.conv(input, &conv).is_ok());
    let mut refused = |conv: Conv<'_>| builder.conv(input, &conv).unwrap_err();
    assert_eq!(
        refused(Conv { groups: 4, ..conv }),
        BuildError::UnsupportedGroups(4)
    );
    assert!(matches!(
        refused(Conv {
            weights: &[0.0; 3],
            ..conv
        }),
        BuildError::WrongLength {
            expected: 324,
            found: 3,
            ..
        }
    ));
    assert!(matches!(
        refused(Conv {
            kernel: (5, 3),
            ..conv
        }),
        BuildError::InvalidShape(_)
    ));
    assert!(matches!(
        refused(Conv {
            stride: (0, 1),
            ..conv
        }),
        BuildError::InvalidShape(_)
    ));
    let pooled = builder.global_average_pool(input);
    assert_eq!(
        builder.add(pooled, input, RELU6),
        Err(BuildError::ShapeMismatch)
    );
    let infinite = [f32::INFINITY; 6];
    let output = builder.dense(pooled, 1, &infinite, &[]).unwrap();
    assert_eq!(
        builder.build(output, Precision::Int8).unwrap_err(),
        BuildError::NotFinite
    );
}

#[test]
fn a_profile_covers_every_layer() {
    let (network, input) = blocks(Precision::Int8);
    let mut arena = network.arena();
    let mut output = vec![0.0; network.output_len()];
    let mut ticks = 0;
    let times = network.profile(&mut arena, &input, &mut output, &mut || {
        ticks += 1;
        ticks
    });
    assert_eq!(output, run(&network, &input));
    assert!(times.iter().all(|time| time.elapsed > 0));
    assert_eq!(
        times.iter().map(|time| time.macs).sum::<u64>(),
        network.macs()
    );
}
