//! The integer kernels bit by bit, and whole networks whose bits are the same natively and in WebAssembly.

use crate::fence::Fence;
use crate::gemm_i8::{self, BLOCK, Weights};
use crate::pack::{self, Tile};
use crate::reference::Random;
use crate::tests::{blocks, run};
use crate::{Activation, Precision};

/// What a pixel's values become, and the size and the start of its steps: plain scalar arithmetic.
fn quantise(values: &[f32], signed: bool) -> (Vec<i32>, f32, f32) {
    let least = values.iter().copied().fold(f32::INFINITY, f32::min);
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let low = if signed { least } else { 0.0 };
    let range = (most - low).max(1e-30);
    let factor = 127.0 / range;
    let steps = values.iter().map(|&value| {
        let above = if signed { value - low } else { value };
        (above.mul_add(factor, 0.5) as i32).clamp(0, 127)
    });
    (steps.collect(), range * (1.0 / 127.0), low)
}

#[test]
fn integer_sums_match_exactly() {
    for (k, channels) in [(1, 1), (7, 8), (8, 9), (16, 24), (37, 13), (960, 16)] {
        for signed in [false, true] {
            let mut random = Random(k as u64);
            let weights = random.values(k * channels);
            let packed = Weights::pack(&weights, &vec![0.0; channels], Activation::None);
            let mut pixels: Vec<Vec<f32>> = (0..4).map(|_| random.values(k)).collect();
            if !signed {
                pixels.iter_mut().flatten().for_each(|v| *v = v.max(0.0));
            }
            let blocks = k.div_ceil(BLOCK);
            // What lies beyond `k` is left over from before: as bad as it can be.
            let mut columns = vec![[[127; 16]; 2]; blocks];
            // Four values of each pixel, in turns; the last ones pad.
            let planes: Vec<f32> = (0..k.next_multiple_of(4) * 4)
                .map(|at| pixels[at / 4 % 4][(at / 16 * 4 + at % 4).min(k - 1)])
                .collect();
            let tile = Tile::new(&planes, 16, [0, 4, 8, 12]);
            let scales = if signed {
                pack::pack_i8::<true>(tile, false, &mut columns)
            } else {
                pack::pack_i8::<false>(tile, false, &mut columns)
            };
            for (panel, weights_packed) in packed.panels.chunks_exact(blocks).enumerate() {
                let sums = gemm_i8::tile(&columns, weights_packed, Fence::new());
                for (pixel, sums) in sums.iter().enumerate() {
                    let (steps, scale, low) = quantise(&pixels[pixel], signed);
                    assert_eq!(scales.scale[pixel].to_bits(), scale.to_bits());
                    assert_eq!(scales.offset[pixel].to_bits(), low.to_bits());
                    let found = [sums[0].to_array(), sums[1].to_array()].concat();
                    let rows = weights.chunks_exact(k).skip(panel * 8);
                    for (row, found) in rows.zip(found) {
                        let mut row_steps = vec![0; blocks * BLOCK];
                        gemm_i8::quantise_row(row, &mut row_steps);
                        let products = row_steps.iter().zip(&steps);
                        let sum: i32 = products.map(|(&w, &s)| i32::from(w) * s).sum();
                        assert_eq!(found, sum, "k {k}, {channels} channels, signed {signed}");
                    }
                }
            }
        }
    }
}

/// FNV-1a over the bits of values.
fn hash(values: &[f32]) -> u64 {
    let bytes = values
        .iter()
        .flat_map(|value| value.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Run natively and in WebAssembly, this shows that the two agree to the last bit. A processor without fused
/// multiply-add needs Wasmtime's `-W relaxed-simd-deterministic`.
#[test]
fn bits_are_the_same_on_every_target() {
    let found = [Precision::Fp32, Precision::Int8].map(|precision| {
        let (network, input) = blocks(precision);
        hash(&run(&network, &input))
    });
    let expected = [0x9e37_6b3d_9bdf_3237, 0xc5f0_28b1_938f_b19b];
    assert_eq!(found, expected, "{found:#x?}");
}
