//! Times a network of MobileNetV2's shape (224 x 224, 1000 classes) with random weights.
//!
//! `bench [fp32|int8] [layers] [deit]`: with `layers`, each layer's time is printed, too; with `deit`, the network has the shape of
//! DeiT-Tiny.
//! Natively this times the portable path; run it under Wasmtime for the figures that count.

use std::time::Instant;

use pinhole_kernels::{
    Activation, Attention, Conv, Network, NetworkBuilder, Precision, Shape, TensorId, Unary,
};

const RELU6: Activation = Activation::Clip { min: 0.0, max: 6.0 };

/// Pseudo-random values, uniform in -1.0..1.0.
struct Random(u64);

impl Random {
    fn values(&mut self, len: usize, scale: f32) -> Vec<f32> {
        let mut value = || {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale
        };
        (0..len).map(|_| value()).collect()
    }
}

struct Maker {
    builder: NetworkBuilder,
    random: Random,
}

impl Maker {
    fn conv(
        &mut self,
        input: TensorId,
        out: usize,
        (kernel, stride): (usize, usize),
        depthwise: bool,
        activation: Activation,
    ) -> TensorId {
        let channels = self.builder.shape(input).channels;
        let groups = if depthwise { channels } else { 1 };
        let window = kernel * kernel * channels / groups;
        let weights = self
            .random
            .values(out * window, (6.0 / window as f32).sqrt());
        let bias = self.random.values(out, 0.5);
        let pad = kernel / 2;
        let conv = Conv {
            dilation: (1, 1),
            out_channels: out,
            kernel: (kernel, kernel),
            stride: (stride, stride),
            padding: (pad, pad, pad, pad),
            groups,
            weights: &weights,
            bias: &bias,
            activation,
        };
        self.builder.conv(input, &conv).expect("the shapes fit")
    }
}

fn mobilenet_v2(precision: Precision) -> Network {
    let mut maker = Maker {
        builder: NetworkBuilder::new(224, 224, 3),
        random: Random(1),
    };
    let mut x = maker.builder.input();
    x = maker.conv(x, 32, (3, 2), false, RELU6);
    let blocks = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ];
    for (expand, out, repeat, first_stride) in blocks {
        for index in 0..repeat {
            let stride = if index == 0 { first_stride } else { 1 };
            let before = x;
            let channels = maker.builder.shape(x).channels;
            if expand > 1 {
                x = maker.conv(x, channels * expand, (1, 1), false, RELU6);
            }
            x = maker.conv(x, channels * expand, (3, stride), true, RELU6);
            x = maker.conv(x, out, (1, 1), false, Activation::None);
            if stride == 1 && channels == out {
                let sum = maker.builder.add(before, x, Activation::None);
                x = sum.expect("the shapes agree");
            }
        }
    }
    x = maker.conv(x, 1280, (1, 1), false, RELU6);
    x = maker.builder.global_average_pool(x);
    let weights = maker.random.values(1280 * 1000, 0.05);
    let bias = maker.random.values(1000, 0.1);
    let output = maker.builder.dense(x, 1000, &weights, &bias);
    let output = output.expect("the shapes fit");
    maker
        .builder
        .build(output, precision)
        .expect("the weights are finite")
}

fn deit_tiny(precision: Precision) -> Network {
    const WIDTH: usize = 192;
    let mut maker = Maker {
        builder: NetworkBuilder::new(224, 224, 3),
        random: Random(1),
    };
    let input = maker.builder.input();
    let weights = maker.random.values(WIDTH * 16 * 16 * 3, 0.05);
    let patches = Conv {
        out_channels: WIDTH,
        kernel: (16, 16),
        stride: (16, 16),
        padding: (0, 0, 0, 0),
        dilation: (1, 1),
        groups: 1,
        weights: &weights,
        bias: &[],
        activation: Activation::None,
    };
    let built = "the shapes fit";
    let patches = maker.builder.conv(input, &patches).expect(built);
    let token = maker.random.values(WIDTH, 1.0);
    let shape = Shape {
        height: 1,
        width: 1,
        channels: WIDTH,
    };
    let token = maker.builder.constant(shape, &token).expect(built);
    let parts = [(token, 0, 1), (patches, 0, 196)];
    let mut x = maker.builder.pixels(&parts).expect(built);
    let norm = |maker: &mut Maker, x| {
        let layer = maker
            .builder
            .layer_norm(x, &[1.0; WIDTH], &[0.0; WIDTH], 1e-6);
        layer.expect(built)
    };
    let dense = |maker: &mut Maker, x, out| maker.conv(x, out, (1, 1), false, Activation::None);
    for _ in 0..12 {
        let before = norm(&mut maker, x);
        let qkv = dense(&mut maker, before, 3 * WIDTH);
        let attention = Attention {
            queries: (qkv, 0),
            keys: (qkv, WIDTH),
            values: (qkv, 2 * WIDTH),
            heads: 3,
            dim: 64,
            scale: 0.125,
        };
        let mixed = maker.builder.attention(&attention).expect(built);
        let mixed = dense(&mut maker, mixed, WIDTH);
        x = maker.builder.add(mixed, x, Activation::None).expect(built);
        let before = norm(&mut maker, x);
        let wide = dense(&mut maker, before, 4 * WIDTH);
        let wide = maker.builder.unary(wide, Unary::Gelu);
        let narrow = dense(&mut maker, wide, WIDTH);
        x = maker.builder.add(narrow, x, Activation::None).expect(built);
    }
    let x = maker.builder.pixels(&[(x, 0, 1)]).expect(built);
    let x = norm(&mut maker, x);
    let weights = maker.random.values(WIDTH * 1000, 0.05);
    let output = maker.builder.dense(x, 1000, &weights, &[]).expect(built);
    let network = maker.builder.build(output, precision);
    network.expect("the weights are finite")
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = |name: &str| arguments.iter().any(|argument| argument == name);
    let precisions = [("fp32", Precision::Fp32), ("int8", Precision::Int8)];
    let any = !precisions.iter().any(|(name, _)| asked(name));
    let mut networks: Vec<_> = precisions
        .into_iter()
        .filter(|(name, _)| any || asked(name))
        .map(|(name, precision)| {
            let network = match asked("deit") {
                true => deit_tiny(precision),
                false => mobilenet_v2(precision),
            };
            let arena = network.arena();
            (name, network, arena, Vec::new())
        })
        .collect();
    let input = Random(2).values(224 * 224 * 3, 2.0);
    let mut output = vec![0.0; 1000];
    // Interleaved, so that whatever disturbs one disturbs the others.
    for _ in 0..30 {
        for (_, network, arena, times) in &mut networks {
            let start = Instant::now();
            network.run(arena, &input, &mut output);
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    for (name, network, arena, times) in &mut networks {
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        println!(
            "{name}: best {:.2} ms, median {median:.2} ms, {:.1} GFLOPS, weights {} KiB, arena {} KiB",
            times[0],
            network.macs() as f64 * 2e-6 / median,
            network.weights_bytes() / 1024,
            arena.bytes() / 1024
        );
        if asked("layers") {
            print_layers(network, arena, &input, &mut output);
        }
    }
}

fn print_layers(
    network: &Network,
    arena: &mut pinhole_kernels::Arena,
    input: &[f32],
    output: &mut [f32],
) {
    let origin = Instant::now();
    let mut clock = || origin.elapsed().as_nanos() as u64;
    let mut best = network.profile(arena, input, output, &mut clock);
    for _ in 0..20 {
        let times = network.profile(arena, input, output, &mut clock);
        for (best, time) in best.iter_mut().zip(times) {
            best.elapsed = best.elapsed.min(time.elapsed);
        }
    }
    let mut kinds: Vec<(&str, u64, u64)> = Vec::new();
    for time in &best {
        println!(
            "  {:>8.1} us {:>6.1} GFLOPS  {:<15} {:>3}x{:<3} {:>4} -> {:>3}x{:<3} {:>4}",
            time.elapsed as f64 / 1e3,
            time.macs as f64 * 2.0 / time.elapsed.max(1) as f64,
            time.layer,
            time.input.height,
            time.input.width,
            time.input.channels,
            time.output.height,
            time.output.width,
            time.output.channels
        );
        match kinds.iter_mut().find(|kind| kind.0 == time.layer) {
            Some(kind) => {
                kind.1 += time.elapsed;
                kind.2 += time.macs;
            }
            None => kinds.push((time.layer, time.elapsed, time.macs)),
        }
    }
    for (layer, elapsed, macs) in kinds {
        println!(
            "  {:>8.1} us {:>6.1} GFLOPS  all {layer}",
            elapsed as f64 / 1e3,
            macs as f64 * 2.0 / elapsed.max(1) as f64
        );
    }
}
