//! Groups, pooling, and what works on values or channels, against the plain loops.

use super::{assert_close, run, shape};
use crate::reference::{self, Random};
use crate::{
    Activation, Binary, Conv, Network, NetworkBuilder, Pool, Pooling, Precision, TensorId, Unary,
};

pub(super) fn conv<'a>(weights: &'a [f32], out: usize, kernel: usize, groups: usize) -> Conv<'a> {
    Conv {
        out_channels: out,
        kernel: (kernel, kernel),
        stride: (1, 1),
        padding: (kernel / 2, kernel / 2, kernel / 2, kernel / 2),
        dilation: (1, 1),
        groups,
        weights,
        bias: &[],
        activation: Activation::None,
    }
}

/// A convolution that changes nothing, so that what follows reads planes.
pub(super) fn identity(builder: &mut NetworkBuilder) -> TensorId {
    let input = builder.input();
    let channels = builder.shape(input).channels;
    let mut weights = vec![0.0; channels * channels];
    (0..channels).for_each(|channel| weights[channel * channels + channel] = 1.0);
    builder
        .conv(input, &conv(&weights, channels, 1, 1))
        .unwrap()
}

pub(super) fn built(builder: NetworkBuilder, output: TensorId, precision: Precision) -> Network {
    let network = builder.build(output, precision).unwrap();
    #[cfg(feature = "serde")]
    {
        // What is stored and read back passes its checks, and is what is run from here on.
        let bytes = postcard::to_allocvec(&network).unwrap();
        postcard::from_bytes(&bytes).unwrap()
    }
    #[cfg(not(feature = "serde"))]
    network
}

#[test]
fn groups_and_dilations_match() {
    for (channels, out, groups) in [(8, 8, 2), (16, 32, 4), (6, 9, 3), (10, 20, 10), (12, 4, 2)] {
        for (kernel, dilation) in [(1, 1), (3, 1), (3, 2)] {
            for (precision, tolerance) in [(Precision::Fp32, 1e-5), (Precision::Int8, 0.06)] {
                let mut random = Random(21);
                let input_shape = shape(9, 7, channels);
                let input = random.values(input_shape.len());
                let weights = random.values(out * channels / groups * kernel * kernel);
                let bias = random.values(out);
                let pad = kernel / 2 * dilation;
                let conv = Conv {
                    dilation: (dilation, dilation),
                    padding: (pad, pad, pad, pad),
                    bias: &bias,
                    activation: Activation::Relu,
                    ..conv(&weights, out, kernel, groups)
                };
                let (expected, _) = reference::conv(&input, input_shape, &conv);
                let mut builder = NetworkBuilder::new(9, 7, channels);
                let tensor = identity(&mut builder);
                let tensor = builder.conv(tensor, &conv).unwrap();
                let network = built(builder, tensor, precision);
                let what = format!(
                    "{channels} to {out} in {groups}, {kernel} by {dilation}, {precision:?}"
                );
                assert_close(&run(&network, &input), &expected, tolerance, &what);
            }
        }
    }
}

#[test]
fn poolings_match() {
    let kinds = [
        Pooling::Max,
        Pooling::Average {
            count_padding: true,
        },
        Pooling::Average {
            count_padding: false,
        },
    ];
    for pooling in kinds {
        for (height, width, channels) in [(7, 9, 5), (8, 8, 4), (3, 11, 1), (2, 2, 9)] {
            for (kernel, stride, padding) in [
                ((3, 3), (2, 2), (1, 1, 1, 1)),
                ((2, 2), (2, 2), (0, 0, 0, 0)),
                ((3, 2), (1, 3), (1, 0, 2, 1)),
                ((5, 5), (1, 1), (2, 2, 2, 2)),
            ] {
                for ceil in [false, true] {
                    let pool = Pool {
                        pooling,
                        kernel,
                        stride,
                        padding,
                        ceil,
                    };
                    let mut builder = NetworkBuilder::new(height, width, channels);
                    let tensor = identity(&mut builder);
                    let Ok(tensor) = builder.pool(tensor, &pool) else {
                        assert!(height < kernel.0 || width < kernel.1 + padding.1);
                        continue;
                    };
                    let out = builder.shape(tensor);
                    let input = Random(31).values(height * width * channels);
                    let size = (out.height, out.width);
                    let expected =
                        reference::pool(&input, shape(height, width, channels), &pool, size);
                    let network = built(builder, tensor, Precision::Fp32);
                    assert_close(
                        &run(&network, &input),
                        &expected,
                        1e-6,
                        &format!("{pool:?}"),
                    );
                }
            }
        }
    }
}

#[test]
fn a_last_window_begins_within_the_input() {
    // PyTorch and ONNX Runtime give these sizes.
    for (size, kernel, stride, padding, expected) in [
        (112, 3, 2, 0, 56),
        (5, 2, 2, 1, 3),
        (6, 2, 3, 0, 2),
        (4, 1, 3, 0, 2),
    ] {
        let mut builder = NetworkBuilder::new(size, size, 4);
        let pool = Pool {
            pooling: Pooling::Max,
            kernel: (kernel, kernel),
            stride: (stride, stride),
            padding: (padding, padding, padding, padding),
            ceil: true,
        };
        let tensor = builder.pool(builder.input(), &pool);
        if padding >= kernel {
            assert!(tensor.is_err());
            continue;
        }
        assert_eq!(builder.shape(tensor.unwrap()).height, expected, "{pool:?}");
    }
}

#[test]
fn channels_are_joined_split_and_shuffled() {
    let (height, width) = (3, 5);
    for (first, second) in [(4, 8), (3, 5), (6, 4), (1, 1)] {
        let channels = first + second;
        let input = Random(41).values(height * width * channels);
        let mut builder = NetworkBuilder::new(height, width, channels);
        let whole = identity(&mut builder);
        let split = |from: usize, to: usize| (from..to).collect::<Vec<usize>>();
        let a = builder.channels(whole, &split(0, first)).unwrap();
        let b = builder.channels(whole, &split(first, channels)).unwrap();
        let swapped = builder.concat(&[b, a, b]).unwrap();
        let reversed: Vec<usize> = (0..channels + second).rev().collect();
        let output = builder.channels(swapped, &reversed).unwrap();
        let expected: Vec<f32> = input
            .chunks_exact(channels)
            .flat_map(|pixel| {
                let (a, b) = pixel.split_at(first);
                let mut swapped = [b, a, b].concat();
                swapped.reverse();
                swapped
            })
            .collect();
        let network = built(builder, output, Precision::Fp32);
        assert_eq!(run(&network, &input), expected, "{first} and {second}");
    }
}

#[test]
fn arithmetic_of_tensors_matches() {
    for operator in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div] {
        for one_pixel in [false, true] {
            let (height, width, channels) = (4, 6, 7);
            let input = Random(51).values(height * width * channels);
            let mut builder = NetworkBuilder::new(height, width, channels);
            let tensor = identity(&mut builder);
            let mut other = builder.unary(tensor, Unary::Sigmoid);
            if one_pixel {
                other = builder.global_average_pool(other);
            }
            let output = builder.binary(operator, tensor, other).unwrap();
            // A convolution that reads the result meets its padding, too.
            let weights = Random(52).values(channels * 3);
            let conv = conv(&weights, 3, 1, 1);
            let output = builder.conv(output, &conv).unwrap();

            let sigmoid = |x: &f32| 1.0 / (1.0 + (-x).exp());
            let mut others: Vec<f32> = input.iter().map(sigmoid).collect();
            if one_pixel {
                others = reference::average(&others, channels);
            }
            let results = input.iter().zip(others.iter().cycle());
            let results: Vec<f32> = results
                .map(|(a, b)| match operator {
                    Binary::Add => a + b,
                    Binary::Sub => a - b,
                    Binary::Mul => a * b,
                    Binary::Div => a / b,
                })
                .collect();
            let (expected, _) = reference::conv(&results, shape(height, width, channels), &conv);
            let network = built(builder, output, Precision::Fp32);
            let what = format!("{operator:?}, one pixel: {one_pixel}");
            assert_close(&run(&network, &input), &expected, 1e-5, &what);
        }
    }
    let mut builder = NetworkBuilder::new(2, 2, 4);
    let input = builder.input();
    let pooled = builder.global_average_pool(input);
    assert!(builder.binary(Binary::Mul, pooled, input).is_err());
}

/// Squeeze and excitation behind a convolution in strips, a function that is read twice, and a pooling in the same strips.
#[test]
fn functions_and_poolings_in_strips_match() {
    let (height, width, channels) = (61, 83, 3);
    for (precision, tolerance) in [(Precision::Fp32, 1e-4), (Precision::Int8, 0.05)] {
        let mut random = Random(61);
        let input = random.values(height * width * channels);
        let mut builder = NetworkBuilder::new(height, width, channels);
        let first = random.values(24 * 27);
        let second = random.values(24 * 9);
        let stem = conv(&first, 24, 3, 1);
        let depthwise = Conv {
            stride: (2, 2),
            ..conv(&second, 24, 3, 24)
        };
        let pool = Pool {
            pooling: Pooling::Max,
            kernel: (3, 3),
            stride: (1, 1),
            padding: (1, 1, 1, 1),
            ceil: false,
        };
        let mut x = builder.conv(builder.input(), &stem).unwrap();
        x = builder.unary(x, Unary::HardSwish);
        x = builder.pool(x, &pool).unwrap();
        x = builder.conv(x, &depthwise).unwrap();
        x = builder.unary(x, Unary::Silu);
        let mut scale = builder.global_average_pool(x);
        scale = builder.unary(
            scale,
            Unary::HardSigmoid {
                alpha: 0.2,
                beta: 0.5,
            },
        );
        x = builder.binary(Binary::Mul, x, scale).unwrap();
        x = builder.unary(
            x,
            Unary::Clip {
                min: -0.1,
                max: 2.0,
            },
        );

        let hard_swish = |x: f32| x * (x / 6.0 + 0.5).clamp(0.0, 1.0);
        let (values, out) = reference::conv(&input, shape(height, width, channels), &stem);
        let values: Vec<f32> = values.into_iter().map(hard_swish).collect();
        let values = reference::pool(&values, out, &pool, (out.height, out.width));
        let (values, _) = reference::conv(&values, out, &depthwise);
        let values: Vec<f32> = values.into_iter().map(|x| x / (1.0 + (-x).exp())).collect();
        let scales = reference::average(&values, 24);
        let scales: Vec<f32> = scales
            .iter()
            .map(|x| (x * 0.2 + 0.5).clamp(0.0, 1.0))
            .collect();
        let expected = values.iter().zip(scales.iter().cycle());
        let expected: Vec<f32> = expected
            .map(|(x, scale)| (x * scale).clamp(-0.1, 2.0))
            .collect();

        let network = built(builder, x, precision);
        assert!(
            network
                .segments
                .iter()
                .any(|segment| segment.steps.len() > 2)
        );
        assert_close(&run(&network, &input), &expected, tolerance, "in strips");
    }
}
