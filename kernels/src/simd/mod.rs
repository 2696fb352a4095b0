//! The few vector operations that the kernels are written in.
//!
//! There are two implementations with one interface: WebAssembly SIMD, and plain arrays for every other target, which
//! is what unit tests of other crates run on. Results agree exactly for integers and within rounding for floats (a
//! relaxed multiply-add may round once or twice; in tests, and in Wasmtime, it rounds once).

#[cfg(all(
    target_arch = "wasm32",
    target_feature = "simd128",
    target_feature = "relaxed-simd"
))]
mod wasm;
#[cfg(all(
    target_arch = "wasm32",
    target_feature = "simd128",
    target_feature = "relaxed-simd"
))]
pub(crate) use wasm::{F32x4, I8x16, I16x8, I32x4};

#[cfg(not(all(
    target_arch = "wasm32",
    target_feature = "simd128",
    target_feature = "relaxed-simd"
)))]
mod portable;
#[cfg(not(all(
    target_arch = "wasm32",
    target_feature = "simd128",
    target_feature = "relaxed-simd"
)))]
pub(crate) use portable::{F32x4, I8x16, I16x8, I32x4};

/// Whether to use AVX2 and fused multiply-add, which some kernels have a faster path for.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn has_avx2() -> bool {
    #[cfg(test)]
    if !AVX2.get() {
        return false;
    }
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// Whether to use AVX-512's registers, where AVX2 is used.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn has_avx512() -> bool {
    #[cfg(test)]
    if !AVX512.get() {
        return false;
    }
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl")
}

#[cfg(test)]
thread_local! {
    /// Tests ask for it: without, bits are those of WebAssembly.
    pub(crate) static AVX2: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    /// The same.
    pub(crate) static AVX512: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

impl F32x4 {
    /// The first four floats of a slice.
    #[inline(always)]
    pub(crate) fn from_slice(values: &[f32]) -> Self {
        match values.first_chunk() {
            Some(chunk) => Self::load(chunk),
            None => unreachable!("callers pass four values or more"),
        }
    }

    /// Four floats of a slice from `index` on.
    ///
    /// # Safety
    /// The slice has them.
    #[inline(always)]
    #[allow(unsafe_code, reason = "a load without a bounds check, for inner loops")]
    pub(crate) unsafe fn load_at(values: &[f32], index: usize) -> Self {
        debug_assert!(index + 4 <= values.len());
        // SAFETY: the caller promises that these four floats are within the slice.
        Self::load(unsafe { &*values.as_ptr().add(index).cast::<[f32; 4]>() })
    }

    /// Writes to four floats of a slice from `index` on.
    ///
    /// # Safety
    /// The slice has them.
    #[inline(always)]
    #[allow(
        unsafe_code,
        reason = "a store without a bounds check, for inner loops"
    )]
    pub(crate) unsafe fn store_at(self, values: &mut [f32], index: usize) {
        debug_assert!(index + 4 <= values.len());
        // SAFETY: the caller promises that these four floats are within the slice.
        self.store(unsafe { &mut *values.as_mut_ptr().add(index).cast::<[f32; 4]>() });
    }

    /// Writes to the first four floats of a slice.
    #[inline(always)]
    pub(crate) fn to_slice(self, values: &mut [f32]) {
        match values.first_chunk_mut() {
            Some(chunk) => self.store(chunk),
            None => unreachable!("callers pass four values or more"),
        }
    }

    /// Up to four floats of a slice, the missing ones replaced by `fill`.
    #[inline(always)]
    pub(crate) fn from_partial(values: &[f32], fill: f32) -> Self {
        let mut lanes = [fill; 4];
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane = *value;
        }
        Self::load(&lanes)
    }

    /// Writes as many lanes as the slice holds, four at most.
    #[inline(always)]
    pub(crate) fn to_partial(self, values: &mut [f32]) {
        let mut lanes = [0.0; 4];
        self.store(&mut lanes);
        for (value, lane) in values.iter_mut().zip(lanes) {
            *value = lane;
        }
    }

    /// Limits every lane to `low..=high`; a NaN stays a NaN.
    #[inline(always)]
    pub(crate) fn clip(self, low: Self, high: Self) -> Self {
        self.at_least(low).at_most(high)
    }
}
