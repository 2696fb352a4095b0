//! WebAssembly SIMD. Each method is one instruction, or a few where it says so.

use std::arch::wasm32::{
    f32x4_add, f32x4_convert_i32x4, f32x4_div, f32x4_extract_lane, f32x4_mul, f32x4_nearest,
    f32x4_pmax, f32x4_pmin, f32x4_relaxed_madd, f32x4_splat, f32x4_sub, i16x8_add,
    i16x8_extend_high_i8x16, i16x8_extend_low_i8x16, i16x8_narrow_i32x4,
    i16x8_relaxed_dot_i8x16_i7x16, i32x4_add, i32x4_dot_i16x8, i32x4_extadd_pairwise_i16x8,
    i32x4_extract_lane, i32x4_relaxed_trunc_f32x4, i32x4_shl, i32x4_shuffle, i32x4_splat,
    u8x16_narrow_i16x8, v128, v128_load, v128_store,
};

#[derive(Clone, Copy)]
pub(crate) struct F32x4(v128);

#[derive(Clone, Copy)]
pub(crate) struct I32x4(v128);

#[derive(Clone, Copy)]
pub(crate) struct I16x8(v128);

#[derive(Clone, Copy)]
pub(crate) struct I8x16(v128);

/// Reads the 16 bytes that the type of `values` guarantees.
#[inline(always)]
fn load<T, const N: usize>(values: &[T; N]) -> v128 {
    const { assert!(size_of::<[T; N]>() == 16) };
    #[allow(unsafe_code, reason = "v128.load takes a pointer")]
    // SAFETY: the assertion above makes 16 bytes readable; v128.load asks for no alignment.
    unsafe {
        v128_load(values.as_ptr().cast())
    }
}

/// Writes the 16 bytes that the type of `values` guarantees.
#[inline(always)]
fn store<T, const N: usize>(vector: v128, values: &mut [T; N]) {
    const { assert!(size_of::<[T; N]>() == 16) };
    #[allow(unsafe_code, reason = "v128.store takes a pointer")]
    // SAFETY: the assertion above makes 16 bytes writable, v128.store asks for no alignment, and every bit pattern is
    // a value of the number types used here.
    unsafe {
        v128_store(values.as_mut_ptr().cast(), vector);
    }
}

#[inline(always)]
fn broadcast<const LANE: usize>(v: v128) -> v128 {
    match LANE {
        0 => i32x4_shuffle::<0, 0, 0, 0>(v, v),
        1 => i32x4_shuffle::<1, 1, 1, 1>(v, v),
        2 => i32x4_shuffle::<2, 2, 2, 2>(v, v),
        _ => i32x4_shuffle::<3, 3, 3, 3>(v, v),
    }
}

/// Eight shuffles.
#[inline(always)]
fn transpose([a, b, c, d]: [v128; 4]) -> [v128; 4] {
    let ab_low = i32x4_shuffle::<0, 4, 1, 5>(a, b);
    let ab_high = i32x4_shuffle::<2, 6, 3, 7>(a, b);
    let cd_low = i32x4_shuffle::<0, 4, 1, 5>(c, d);
    let cd_high = i32x4_shuffle::<2, 6, 3, 7>(c, d);
    [
        i32x4_shuffle::<0, 1, 4, 5>(ab_low, cd_low),
        i32x4_shuffle::<2, 3, 6, 7>(ab_low, cd_low),
        i32x4_shuffle::<0, 1, 4, 5>(ab_high, cd_high),
        i32x4_shuffle::<2, 3, 6, 7>(ab_high, cd_high),
    ]
}

impl F32x4 {
    #[inline(always)]
    pub(crate) fn splat(value: f32) -> Self {
        Self(f32x4_splat(value))
    }

    #[inline(always)]
    pub(crate) fn load(values: &[f32; 4]) -> Self {
        Self(load(values))
    }

    #[inline(always)]
    pub(crate) fn store(self, values: &mut [f32; 4]) {
        store(self.0, values);
    }

    #[inline(always)]
    pub(crate) fn lane<const LANE: usize>(self) -> Self {
        Self(broadcast::<LANE>(self.0))
    }

    #[inline(always)]
    pub(crate) fn add(self, other: Self) -> Self {
        Self(f32x4_add(self.0, other.0))
    }

    #[inline(always)]
    pub(crate) fn sub(self, other: Self) -> Self {
        Self(f32x4_sub(self.0, other.0))
    }

    #[inline(always)]
    pub(crate) fn mul(self, other: Self) -> Self {
        Self(f32x4_mul(self.0, other.0))
    }

    #[inline(always)]
    pub(crate) fn div(self, other: Self) -> Self {
        Self(f32x4_div(self.0, other.0))
    }

    /// `self * factor + addend`.
    #[inline(always)]
    pub(crate) fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(f32x4_relaxed_madd(self.0, factor.0, addend.0))
    }

    /// The same, rounded once wherever the engine has an instruction for it.
    #[inline(always)]
    pub(crate) fn mul_add_once(self, factor: Self, addend: Self) -> Self {
        self.mul_add(factor, addend)
    }

    /// The nearest whole numbers of values within four million, halves to the even one.
    #[inline(always)]
    pub(crate) fn nearest(self) -> Self {
        Self(f32x4_nearest(self.0))
    }

    /// The larger value; `self` where either is a NaN.
    #[inline(always)]
    pub(crate) fn at_least(self, low: Self) -> Self {
        Self(f32x4_pmax(self.0, low.0))
    }

    /// The smaller value; `self` where either is a NaN.
    #[inline(always)]
    pub(crate) fn at_most(self, high: Self) -> Self {
        Self(f32x4_pmin(self.0, high.0))
    }

    /// Two to the power of whole numbers in `-126.0..=127.0`.
    #[inline(always)]
    pub(crate) fn power_of_two(self) -> Self {
        let exponent = i32x4_add(i32x4_relaxed_trunc_f32x4(self.0), i32x4_splat(127));
        Self(i32x4_shl(exponent, 23))
    }

    /// Drops the fraction of values within the range of `i32`. A NaN becomes zero or the smallest integer.
    #[inline(always)]
    pub(crate) fn truncate(self) -> I32x4 {
        I32x4(i32x4_relaxed_trunc_f32x4(self.0))
    }

    #[inline(always)]
    pub(crate) fn to_array(self) -> [f32; 4] {
        [
            f32x4_extract_lane::<0>(self.0),
            f32x4_extract_lane::<1>(self.0),
            f32x4_extract_lane::<2>(self.0),
            f32x4_extract_lane::<3>(self.0),
        ]
    }

    /// Four rows of four become four columns.
    #[inline(always)]
    pub(crate) fn transpose(rows: [Self; 4]) -> [Self; 4] {
        let [a, b, c, d] = rows;
        let [a, b, c, d] = transpose([a.0, b.0, c.0, d.0]);
        [Self(a), Self(b), Self(c), Self(d)]
    }
}

impl I32x4 {
    #[inline(always)]
    pub(crate) fn splat(value: i32) -> Self {
        Self(i32x4_splat(value))
    }

    #[inline(always)]
    pub(crate) fn load(values: &[i32; 4]) -> Self {
        Self(load(values))
    }

    #[inline(always)]
    pub(crate) fn add(self, other: Self) -> Self {
        Self(i32x4_add(self.0, other.0))
    }

    #[inline(always)]
    pub(crate) fn to_f32(self) -> F32x4 {
        F32x4(f32x4_convert_i32x4(self.0))
    }

    #[inline(always)]
    pub(crate) fn to_array(self) -> [i32; 4] {
        [
            i32x4_extract_lane::<0>(self.0),
            i32x4_extract_lane::<1>(self.0),
            i32x4_extract_lane::<2>(self.0),
            i32x4_extract_lane::<3>(self.0),
        ]
    }

    /// Adds to each lane the sum of the two neighbouring lanes of `pairs`.
    #[inline(always)]
    pub(crate) fn add_pairs(self, pairs: I16x8) -> Self {
        Self(i32x4_add(self.0, i32x4_extadd_pairwise_i16x8(pairs.0)))
    }

    /// Adds the products of neighbouring lanes of `a` and `b`.
    #[inline(always)]
    pub(crate) fn add_dot(self, a: I16x8, b: I16x8) -> Self {
        Self(i32x4_add(self.0, i32x4_dot_i16x8(a.0, b.0)))
    }
}

impl I16x8 {
    #[inline(always)]
    pub(crate) fn load(values: &[i16; 8]) -> Self {
        Self(load(values))
    }

    #[inline(always)]
    pub(crate) fn add(self, other: Self) -> Self {
        Self(i16x8_add(self.0, other.0))
    }

    #[inline(always)]
    pub(crate) fn store(self, values: &mut [i16; 8]) {
        store(self.0, values);
    }

    /// Broadcasts one pair of neighbouring lanes.
    #[inline(always)]
    pub(crate) fn lane<const LANE: usize>(self) -> Self {
        Self(broadcast::<LANE>(self.0))
    }

    /// From four rows of four to their columns in pairs: the first two, and the others. Values beyond 16 bits are limited.
    #[inline(always)]
    pub(crate) fn columns([a, b, c, d]: [I32x4; 4]) -> [Self; 2] {
        let ab = i16x8_narrow_i32x4(a.0, b.0);
        let cd = i16x8_narrow_i32x4(c.0, d.0);
        [
            Self(i32x4_shuffle::<0, 2, 4, 6>(ab, cd)),
            Self(i32x4_shuffle::<1, 3, 5, 7>(ab, cd)),
        ]
    }

    /// The sums of neighbouring lanes.
    #[inline(always)]
    pub(crate) fn pairs(self) -> I32x4 {
        I32x4(i32x4_extadd_pairwise_i16x8(self.0))
    }
}

impl I8x16 {
    #[inline(always)]
    pub(crate) fn load(values: &[i8; 16]) -> Self {
        Self(load(values))
    }

    #[inline(always)]
    pub(crate) fn store(self, values: &mut [i8; 16]) {
        store(self.0, values);
    }

    /// Broadcasts the four bytes of one 32-bit lane.
    #[inline(always)]
    pub(crate) fn lane<const LANE: usize>(self) -> Self {
        Self(broadcast::<LANE>(self.0))
    }

    /// Signed bytes times bytes in `0..=127`, neighbouring products added. The sums must fit 16 bits: they do for
    /// operands within ±127, so the freedoms of the relaxed instruction are never used.
    #[inline(always)]
    pub(crate) fn dot_pairs(self, seven_bit: Self) -> I16x8 {
        I16x8(i16x8_relaxed_dot_i8x16_i7x16(self.0, seven_bit.0))
    }

    /// Sixteen values in `0..=127`, anything negative becoming zero; three instructions.
    #[inline(always)]
    pub(crate) fn narrow([a, b, c, d]: [I32x4; 4]) -> Self {
        Self(u8x16_narrow_i16x8(
            i16x8_narrow_i32x4(a.0, b.0),
            i16x8_narrow_i32x4(c.0, d.0),
        ))
    }

    #[inline(always)]
    pub(crate) fn widen(self) -> (I16x8, I16x8) {
        (
            I16x8(i16x8_extend_low_i8x16(self.0)),
            I16x8(i16x8_extend_high_i8x16(self.0)),
        )
    }
}
