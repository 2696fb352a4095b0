//! What is done to the sums of a matrix product on their way to memory.

use crate::layout::Layout;
use crate::op::Activation;
use crate::simd::F32x4;

/// Pixels a tile has.
pub(crate) const TILE: usize = 4;

/// Channels a panel has.
pub(crate) const PANEL: usize = 8;

/// What is done to sums on their way to memory.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Epilogue {
    /// For each panel, padded with zeros.
    pub(crate) bias: Vec<[[f32; 4]; 2]>,
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Epilogue {
    pub(crate) fn new(bias: &[f32], activation: Activation) -> Self {
        let (low, high) = activation.range();
        Self {
            bias: panels_of(bias),
            low,
            high,
        }
    }

    /// Adds what `residual` holds for the values of a tile, limits them, and writes them.
    #[inline(always)]
    pub(crate) fn store(&self, [a, b, c, d]: [[F32x4; 2]; TILE], at: At, target: &mut Target<'_>) {
        let pixel = at.tile * TILE;
        let plane = at.panel * 2;
        if pixel + TILE > target.pixels || plane + 1 >= target.planes {
            // A copy made here, so that the fast path below leaves the sums in registers.
            let sums = [a, b, c, d];
            self.store_part(&sums, plane, pixel, target);
            return;
        }
        // SAFETY, for all four: `Target::new` checked that each plane has `pixels` pixels from `first` on; these are
        // four of them, and both planes exist.
        self.store_pixel(a, plane, pixel, target);
        self.store_pixel(b, plane, pixel + 1, target);
        self.store_pixel(c, plane, pixel + 2, target);
        self.store_pixel(d, plane, pixel + 3, target);
    }

    #[inline(always)]
    fn store_pixel(
        &self,
        [left, right]: [F32x4; 2],
        plane: usize,
        pixel: usize,
        target: &mut Target<'_>,
    ) {
        let (low, high) = (F32x4::splat(self.low), F32x4::splat(self.high));
        let start = plane * target.stride + (target.first + pixel) * 4;
        #[allow(
            unsafe_code,
            reason = "bounds checks here cost as much as a step of the inner loop"
        )]
        // SAFETY: see the caller.
        unsafe {
            let (mut left, mut right) = (left, right);
            if let Some(residual) = &target.residual {
                let start = plane * residual.stride + (residual.first + pixel) * 4;
                left = left.add(F32x4::load_at(residual.values, start));
                right = right.add(F32x4::load_at(residual.values, start + residual.stride));
            }
            left.clip(low, high).store_at(target.out, start);
            right
                .clip(low, high)
                .store_at(target.out, start + target.stride);
        }
    }

    /// A tile that reaches beyond the last pixel, or the last plane.
    #[inline(never)]
    pub(crate) fn store_part(
        &self,
        tile: &[[F32x4; 2]; TILE],
        plane: usize,
        pixel: usize,
        target: &mut Target<'_>,
    ) {
        let (low, high) = (F32x4::splat(self.low), F32x4::splat(self.high));
        for (pixel, sums) in (pixel..target.pixels).zip(tile) {
            for (plane, &sum) in (plane..target.planes).zip(sums) {
                let mut sum = sum;
                if let Some(residual) = &target.residual {
                    let start = plane * residual.stride + (residual.first + pixel) * 4;
                    sum = sum.add(F32x4::from_slice(&residual.values[start..]));
                }
                let start = plane * target.stride + (target.first + pixel) * 4;
                sum.clip(low, high).to_slice(&mut target.out[start..]);
            }
        }
    }
}

/// Which tile and which panel of channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub(crate) tile: usize,
    pub(crate) panel: usize,
}

/// Where results go: `pixels` from pixel `first` of each plane of `out` on.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) out: &'a mut [f32],
    pub(crate) stride: usize,
    pub(crate) planes: usize,
    pub(crate) first: usize,
    pub(crate) pixels: usize,
    pub(crate) residual: Option<Residual<'a>>,
}

/// What is added before the activation: as many planes and pixels.
#[derive(Debug)]
pub(crate) struct Residual<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) first: usize,
}

impl<'a> Target<'a> {
    pub(crate) fn new(
        out: &'a mut [f32],
        layout: Layout,
        first: usize,
        pixels: usize,
        residual: Option<Residual<'a>>,
    ) -> Self {
        let fits = |len: usize, stride: usize, first: usize| {
            let end = first.checked_add(pixels).and_then(|end| end.checked_mul(4));
            layout.planes.checked_mul(stride) == Some(len) && end.is_some_and(|end| end <= stride)
        };
        assert!(fits(out.len(), layout.stride, first), "size of the output");
        if let Some(residual) = &residual {
            let len = residual.values.len();
            assert!(
                fits(len, residual.stride, residual.first),
                "size of the residual"
            );
        }
        Self {
            out,
            stride: layout.stride,
            planes: layout.planes,
            first,
            pixels,
            residual,
        }
    }

    pub(crate) fn pixels(&self) -> usize {
        self.pixels
    }
}

/// Groups values by panel, the last one padded with zeros.
pub(crate) fn panels_of(values: &[f32]) -> Vec<[[f32; 4]; 2]> {
    values
        .chunks(PANEL)
        .map(|chunk| {
            let mut panel = [[0.0; 4]; 2];
            for (slot, value) in panel.as_flattened_mut().iter_mut().zip(chunk) {
                *slot = *value;
            }
            panel
        })
        .collect()
}
