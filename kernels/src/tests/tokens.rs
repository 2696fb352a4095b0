//! What transformers are made of, against the plain loops.

use super::layers::{built, conv, identity};
use super::{assert_close, run, shape};
use crate::reference::{self, Random};
use crate::{Activation, Attention, BuildError, Conv, NetworkBuilder, Precision};

#[test]
fn layer_norms_match() {
    for (height, width, channels) in [(1, 1, 1), (1, 7, 5), (3, 5, 16), (2, 9, 23), (1, 50, 192)] {
        let mut random = Random(3);
        // Far from 0, where the squares of values say little of their deviation.
        let input: Vec<f32> = random.values(height * width * channels);
        let input: Vec<f32> = input.iter().map(|value| value + 20.0).collect();
        let (factors, terms) = (random.values(channels), random.values(channels));
        let expected = reference::layer_norm(&input, &factors, &terms, 1e-3);
        let mut builder = NetworkBuilder::new(height, width, channels);
        let tensor = identity(&mut builder);
        let tensor = builder.layer_norm(tensor, &factors, &terms, 1e-3).unwrap();
        let network = built(builder, tensor, Precision::Fp32);
        let what = format!("{height} by {width}, {channels} channels");
        assert_close(&run(&network, &input), &expected, 2e-4, &what);
    }
}

#[test]
fn attentions_match() {
    for (pixels, heads, dim) in [(1, 1, 4), (5, 2, 8), (13, 3, 12), (50, 4, 16), (197, 2, 64)] {
        let width = heads * dim;
        let mut random = Random(5);
        let input: Vec<f32> = random.values(pixels * 3 * width);
        // Some scores are far above the others.
        let input: Vec<f32> = input.iter().map(|value| value * 3.0).collect();
        let part = |part: usize| -> Vec<f32> {
            let pixels = input.chunks_exact(3 * width);
            let parts = pixels.flat_map(|pixel| &pixel[part * width..(part + 1) * width]);
            parts.copied().collect()
        };
        let [queries, keys, values] = [part(0), part(1), part(2)];
        let scale = 1.0 / (dim as f32).sqrt();
        let read = [&queries[..], &keys, &values];
        let expected = reference::attention(read, heads, dim, f64::from(scale));
        let mut builder = NetworkBuilder::new(1, pixels, 3 * width);
        let tensor = identity(&mut builder);
        let attention = Attention {
            queries: (tensor, 0),
            keys: (tensor, width),
            values: (tensor, 2 * width),
            heads,
            dim,
            scale,
        };
        let tensor = builder.attention(&attention).unwrap();
        let network = built(builder, tensor, Precision::Fp32);
        let what = format!("{pixels} pixels, {heads} heads of {dim}");
        assert_close(&run(&network, &input), &expected, 2e-5, &what);
    }
}

#[test]
fn few_queries_may_ask_many_keys() {
    let (pixels, width) = (11, 8);
    let mut random = Random(6);
    let input = random.values(pixels * width);
    let queries = &input[2 * width..5 * width];
    let expected = reference::attention([queries, &input, &input], 2, 4, 1.0);
    let mut builder = NetworkBuilder::new(1, pixels, width);
    let tensor = identity(&mut builder);
    let few = builder.pixels(&[(tensor, 2, 3)]).unwrap();
    let attention = Attention {
        queries: (few, 0),
        keys: (tensor, 0),
        values: (tensor, 0),
        heads: 2,
        dim: 4,
        scale: 1.0,
    };
    let tensor = builder.attention(&attention).unwrap();
    let network = built(builder, tensor, Precision::Fp32);
    assert_close(&run(&network, &input), &expected, 2e-5, "few queries");
}

#[test]
fn pixels_and_constants_are_joined() {
    for channels in [3, 4, 10] {
        let mut random = Random(9);
        let input = random.values(6 * channels);
        let token = random.values(2 * channels);
        let mut builder = NetworkBuilder::new(2, 3, channels);
        let image = identity(&mut builder);
        let constant = builder.constant(shape(1, 2, channels), &token).unwrap();
        let parts = [(constant, 1, 1), (image, 0, 6), (image, 4, 2)];
        let joined = builder.pixels(&parts).unwrap();
        assert_eq!(builder.shape(joined), shape(1, 9, channels));
        let network = built(builder, joined, Precision::Fp32);
        let expected = [&token[channels..], &input, &input[4 * channels..]].concat();
        assert_close(&run(&network, &input), &expected, 0.0, "pixels");
    }
}

/// Factors behind a layer become part of it, and what is computed stays the same.
#[test]
fn factors_are_folded_into_the_layer_before() {
    let channels = 6;
    let mut random = Random(12);
    let input = random.values(20 * channels);
    let weights = random.values(channels * channels);
    let deep = random.values(channels * 9);
    let (factors, terms) = (random.values(channels), random.values(channels));
    let affine = Conv {
        bias: &terms,
        ..conv(&factors, channels, 1, channels)
    };
    for case in 0..3 {
        let mut builder = NetworkBuilder::new(4, 5, channels);
        let tensor = identity(&mut builder);
        let (made, before) = match case {
            0 => {
                let conv = conv(&weights, channels, 1, 1);
                let before = reference::conv(&input, shape(4, 5, channels), &conv).0;
                (builder.conv(tensor, &conv).unwrap(), before)
            }
            1 => {
                let conv = conv(&deep, channels, 3, channels);
                let before = reference::conv(&input, shape(4, 5, channels), &conv).0;
                (builder.conv(tensor, &conv).unwrap(), before)
            }
            _ => {
                let before = reference::layer_norm(&input, &terms, &factors, 1e-5);
                let norm = builder.layer_norm(tensor, &terms, &factors, 1e-5);
                (norm.unwrap(), before)
            }
        };
        let tensor = builder.conv(made, &affine).unwrap();
        let expected = reference::conv(&before, shape(4, 5, channels), &affine).0;
        let network = built(builder, tensor, Precision::Fp32);
        assert_eq!(network.steps.len(), 2, "{case}");
        assert_close(
            &run(&network, &input),
            &expected,
            1e-5,
            &format!("case {case}"),
        );
    }
    // An activation between the two keeps them apart.
    let mut builder = NetworkBuilder::new(4, 5, channels);
    let tensor = identity(&mut builder);
    let relu = Conv {
        activation: Activation::Relu,
        ..conv(&weights, channels, 1, 1)
    };
    let tensor = builder.conv(tensor, &relu).unwrap();
    let tensor = builder.conv(tensor, &affine).unwrap();
    assert_eq!(built(builder, tensor, Precision::Fp32).steps.len(), 3);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut builder = NetworkBuilder::new(1, 5, 16);
    let input = builder.input();
    assert!(
        builder
            .layer_norm(input, &[1.0; 15], &[0.0; 16], 0.0)
            .is_err()
    );
    assert!(builder.constant(shape(1, 2, 3), &[0.0; 5]).is_err());
    assert!(builder.pixels(&[]).is_err());
    assert!(builder.pixels(&[(input, 4, 2)]).is_err());
    let attention = |heads, dim, first, scale| Attention {
        queries: (input, 0),
        keys: (input, 0),
        values: (input, first),
        heads,
        dim,
        scale,
    };
    for (heads, dim, first, scale) in [
        (2, 6, 0, 1.0),
        (3, 8, 0, 1.0),
        (2, 8, 4, 1.0),
        (1, 8, 2, 1.0),
        (0, 8, 0, 1.0),
        (1, 8, 0, f32::NAN),
        (1, 8, 0, -1.0),
    ] {
        let refused: Result<_, BuildError> =
            builder.attention(&attention(heads, dim, first, scale));
        assert!(refused.is_err(), "{heads} {dim} {first} {scale}");
    }
}
