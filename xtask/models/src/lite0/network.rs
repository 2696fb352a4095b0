//! EfficientNet-Lite0 as a graph: MobileNetV2's blocks without squeeze-and-excitation, ReLU6, TensorFlow's padding.

use super::onnx::{Attribute, Graph};
use super::state::StateDict;
use anyhow::Result;

/// Side of the input, in pixels.
const SIDE: usize = 224;

/// Classes of ImageNet.
const CLASSES: usize = 1000;

/// What TensorFlow's batch normalisation adds to variances.
const EPSILON: f64 = 1e-3;

/// Blocks of a kind: how many, kernel, stride of the first, expansion, channels taken and made.
const STAGES: [(usize, usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
];

/// A feature map.
#[derive(Clone)]
struct Map {
    name: String,
    channels: usize,
    side: usize,
}

/// A convolution, and the batch normalisation behind it.
struct Conv<'a> {
    weights: &'a str,
    norm: &'a str,
    name: &'a str,
    channels: usize,
    kernel: usize,
    stride: usize,
    is_depthwise: bool,
    is_activated: bool,
}

/// Writes the network with these weights.
pub fn write(state: &StateDict) -> Result<Vec<u8>> {
    let mut graph = Graph::default();
    graph.constant("zero", &[], &[0.0]);
    graph.constant("six", &[], &[6.0]);
    let image = Map {
        name: "input".into(),
        channels: 3,
        side: SIDE,
    };
    let stem = Conv {
        weights: "_conv_stem.weight",
        norm: "_bn0",
        name: "stem",
        channels: 32,
        kernel: 3,
        stride: 2,
        is_depthwise: false,
        is_activated: true,
    };
    let mut map = conv(&mut graph, state, &image, &stem)?;
    let mut index = 0;
    for (count, kernel, stride, expansion, _, channels) in STAGES {
        for turn in 0..count {
            let stride = if turn == 0 { stride } else { 1 };
            map = block(
                &mut graph,
                state,
                &map,
                index,
                (kernel, stride, expansion, channels),
            )?;
            index += 1;
        }
    }
    let head = Conv {
        weights: "_conv_head.weight",
        norm: "_bn1",
        name: "head",
        channels: 1280,
        kernel: 1,
        stride: 1,
        is_depthwise: false,
        is_activated: true,
    };
    let map = conv(&mut graph, state, &map, &head)?;
    graph.node("GlobalAveragePool", &[&map.name], "pooled", &[]);
    graph.node(
        "Flatten",
        &["pooled"],
        "flat",
        &[("axis", Attribute::Number(1))],
    );
    let weights = [CLASSES, map.channels];
    graph.constant(
        "dense.weights",
        &weights,
        state.get("_fc.weight", &weights)?,
    );
    graph.constant("dense.bias", &[CLASSES], state.get("_fc.bias", &[CLASSES])?);
    let inputs = ["flat", "dense.weights", "dense.bias"];
    graph.node(
        "Gemm",
        &inputs,
        "logits",
        &[("transB", Attribute::Number(1))],
    );
    Ok(graph.file(
        "efficientnet_lite0",
        ("input", &[1, 3, SIDE, SIDE]),
        ("logits", &[1, CLASSES]),
    ))
}

/// An inverted residual block.
fn block(
    graph: &mut Graph,
    state: &StateDict,
    input: &Map,
    index: usize,
    (kernel, stride, expansion, channels): (usize, usize, usize, usize),
) -> Result<Map> {
    let of = |part: &str| format!("_blocks.{index}.{part}");
    let named = |part: &str| format!("block{index}.{part}");
    let wide = input.channels * expansion;
    let mut map = input.clone();
    if expansion != 1 {
        let expand = Conv {
            weights: &of("_expand_conv.weight"),
            norm: &of("_bn0"),
            name: &named("expand"),
            channels: wide,
            kernel: 1,
            stride: 1,
            is_depthwise: false,
            is_activated: true,
        };
        map = conv(graph, state, &map, &expand)?;
    }
    let depthwise = Conv {
        weights: &of("_depthwise_conv.weight"),
        norm: &of("_bn1"),
        name: &named("depthwise"),
        channels: wide,
        kernel,
        stride,
        is_depthwise: true,
        is_activated: true,
    };
    let map = conv(graph, state, &map, &depthwise)?;
    let project = Conv {
        weights: &of("_project_conv.weight"),
        norm: &of("_bn2"),
        name: &named("project"),
        channels,
        kernel: 1,
        stride: 1,
        is_depthwise: false,
        is_activated: false,
    };
    let map = conv(graph, state, &map, &project)?;
    if stride != 1 || input.channels != channels {
        return Ok(map);
    }
    let name = named("sum");
    graph.node("Add", &[&map.name, &input.name], &name, &[]);
    Ok(Map { name, ..map })
}

/// A convolution with its batch normalisation folded into it, and ReLU6 where there is one.
fn conv(graph: &mut Graph, state: &StateDict, input: &Map, conv: &Conv<'_>) -> Result<Map> {
    let group = if conv.is_depthwise { input.channels } else { 1 };
    let size = [
        conv.channels,
        input.channels / group,
        conv.kernel,
        conv.kernel,
    ];
    let weights = state.get(conv.weights, &size)?;
    let of_norm = |part: &str| state.get(&format!("{}.{part}", conv.norm), &[conv.channels]);
    let (scale, shift) = (of_norm("weight")?, of_norm("bias")?);
    let (mean, variance) = (of_norm("running_mean")?, of_norm("running_var")?);
    let factors: Vec<f64> = scale
        .iter()
        .zip(variance)
        .map(|(&scale, &variance)| f64::from(scale) / (f64::from(variance) + EPSILON).sqrt())
        .collect();
    let folded: Vec<f32> = weights
        .chunks_exact(weights.len() / conv.channels)
        .zip(&factors)
        .flat_map(|(row, factor)| {
            row.iter()
                .map(move |&weight| (f64::from(weight) * factor) as f32)
        })
        .collect();
    let bias: Vec<f32> = shift
        .iter()
        .zip(mean)
        .zip(&factors)
        .map(|((&shift, &mean), factor)| (f64::from(shift) - f64::from(mean) * factor) as f32)
        .collect();
    let (weights, biases) = (
        format!("{}.weights", conv.name),
        format!("{}.bias", conv.name),
    );
    graph.constant(&weights, &size, &folded);
    graph.constant(&biases, &[conv.channels], &bias);

    let side = input.side.div_ceil(conv.stride);
    // TensorFlow's "SAME": what is odd goes to the right and below.
    let padding = ((side - 1) * conv.stride + conv.kernel).saturating_sub(input.side);
    let (before, after) = (padding / 2, padding - padding / 2);
    graph.node(
        "Conv",
        &[&input.name, &weights, &biases],
        conv.name,
        &[
            ("kernel_shape", Attribute::Numbers(&[conv.kernel; 2])),
            ("strides", Attribute::Numbers(&[conv.stride; 2])),
            ("pads", Attribute::Numbers(&[before, before, after, after])),
            ("group", Attribute::Number(group as u64)),
        ],
    );
    let mut map = Map {
        name: conv.name.into(),
        channels: conv.channels,
        side,
    };
    if conv.is_activated {
        map.name = format!("{}.relu6", conv.name);
        graph.node("Clip", &[conv.name, "zero", "six"], &map.name, &[]);
    }
    Ok(map)
}
