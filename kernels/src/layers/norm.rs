//! Layer normalisation: the channels of each pixel get a mean of 0 and a deviation of 1, then a factor and a term each.

#[cfg(feature = "serde")]
use crate::check::ensure;
use crate::layout::Layout;
use crate::simd::F32x4;

/// Pixels that are worked on together: a cache line of each plane.
const TILE: usize = 4;

/// A layer normalisation, ready to run.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct LayerNorm {
    /// By plane, the last one padded with zeros.
    factors: Vec<[f32; 4]>,
    terms: Vec<[f32; 4]>,
    epsilon: f32,
    channels: usize,
}

impl LayerNorm {
    pub(crate) fn new(factors: &[f32], terms: &[f32], epsilon: f32) -> Self {
        Self {
            factors: planes_of(factors),
            terms: planes_of(terms),
            epsilon,
            channels: factors.len(),
        }
    }

    /// Whether it fits its layer.
    #[cfg(feature = "serde")]
    pub(crate) fn check(&self, channels: usize) -> Option<()> {
        let planes = channels.div_ceil(4);
        ensure(self.channels == channels)?;
        ensure(self.factors.len() == planes && self.terms.len() == planes)
    }

    pub(crate) fn weights_bytes(&self) -> usize {
        size_of_val(&*self.factors) + size_of_val(&*self.terms)
    }

    /// Normalises the pixels of `input`, which has the layout of `out`.
    pub(crate) fn run(&self, input: &[f32], layout: Layout, out: &mut [f32]) {
        let values = layout.values();
        let mut start = 0;
        while start + TILE * 4 <= values {
            self.pixels::<TILE>(input, layout.stride, start, out);
            start += TILE * 4;
        }
        while start < values {
            self.pixels::<1>(input, layout.stride, start, out);
            start += 4;
        }
    }

    #[inline(always)]
    fn pixels<const P: usize>(&self, input: &[f32], stride: usize, start: usize, out: &mut [f32]) {
        let count = self.channels as f32;
        let planes = || {
            input
                .chunks_exact(stride)
                .map(|plane| plane[start..start + P * 4].as_chunks::<4>().0)
        };
        let whole = self.channels / 4;
        let used = F32x4::load(&std::array::from_fn(|lane| {
            f32::from(u8::from(lane < self.channels % 4))
        }));
        let mut sums = [F32x4::splat(0.0); P];
        for plane in planes().take(whole) {
            for pixel in 0..P {
                sums[pixel] = sums[pixel].add(F32x4::load(&plane[pixel]));
            }
        }
        for plane in planes().skip(whole) {
            for pixel in 0..P {
                sums[pixel] = F32x4::load(&plane[pixel]).mul_add(used, sums[pixel]);
            }
        }
        let means = sums.map(|sum| F32x4::splat(total(sum) / count));
        // About the mean, and not by the mean of squares, which loses what matters where the mean is far from 0.
        let mut squares = [F32x4::splat(0.0); P];
        for plane in planes().take(whole) {
            for pixel in 0..P {
                let off = F32x4::load(&plane[pixel]).sub(means[pixel]);
                squares[pixel] = off.mul_add(off, squares[pixel]);
            }
        }
        for plane in planes().skip(whole) {
            for pixel in 0..P {
                let off = F32x4::load(&plane[pixel]).sub(means[pixel]).mul(used);
                squares[pixel] = off.mul_add(off, squares[pixel]);
            }
        }
        let scales =
            squares.map(|square| F32x4::splat(1.0 / (total(square) / count + self.epsilon).sqrt()));
        let parts = self.factors.iter().zip(&self.terms);
        for ((plane, out), (factor, term)) in planes().zip(out.chunks_exact_mut(stride)).zip(parts)
        {
            let (factor, term) = (F32x4::load(factor), F32x4::load(term));
            let (out, _) = out[start..start + P * 4].as_chunks_mut::<4>();
            for pixel in 0..P {
                let off = F32x4::load(&plane[pixel]).sub(means[pixel]);
                off.mul(scales[pixel])
                    .mul_add(factor, term)
                    .store(&mut out[pixel]);
            }
        }
    }
}

#[inline(always)]
fn total(sum: F32x4) -> f32 {
    let [a, b, c, d] = sum.to_array();
    (a + b) + (c + d)
}

fn planes_of(values: &[f32]) -> Vec<[f32; 4]> {
    let planes = values.chunks(4).map(|chunk| {
        let mut plane = [0.0; 4];
        plane[..chunk.len()].copy_from_slice(chunk);
        plane
    });
    planes.collect()
}
