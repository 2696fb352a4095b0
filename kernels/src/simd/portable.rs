//! Vectors as plain arrays: the reference, and what native builds use.

#[derive(Clone, Copy)]
pub(crate) struct F32x4([f32; 4]);

#[derive(Clone, Copy)]
pub(crate) struct I32x4([i32; 4]);

#[derive(Clone, Copy)]
pub(crate) struct I16x8([i16; 8]);

#[derive(Clone, Copy)]
pub(crate) struct I8x16([i8; 16]);

impl F32x4 {
    #[inline(always)]
    pub(crate) fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    pub(crate) fn load(values: &[f32; 4]) -> Self {
        Self(*values)
    }

    #[inline(always)]
    pub(crate) fn store(self, values: &mut [f32; 4]) {
        *values = self.0;
    }

    #[inline(always)]
    pub(crate) fn lane<const LANE: usize>(self) -> Self {
        Self([self.0[LANE]; 4])
    }

    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }

    #[inline(always)]
    pub(crate) fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    pub(crate) fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    pub(crate) fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    pub(crate) fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }

    /// `self * factor + addend`.
    #[inline(always)]
    pub(crate) fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|i| {
            // One rounding, as Wasmtime has it, is a slow function call: only tests that compare bits need it.
            if cfg!(test) {
                self.0[i].mul_add(factor.0[i], addend.0[i])
            } else {
                self.0[i] * factor.0[i] + addend.0[i]
            }
        }))
    }

    /// The same, rounded once: 64 bits hold the product of two floats.
    #[inline(always)]
    pub(crate) fn mul_add_once(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|i| {
            (f64::from(self.0[i]) * f64::from(factor.0[i]) + f64::from(addend.0[i])) as f32
        }))
    }

    /// The nearest whole numbers of values within four million, halves to the even one.
    #[inline(always)]
    pub(crate) fn nearest(self) -> Self {
        // Floats around this one have no fraction, so the addition rounds. `round_ties_even` is a function call here.
        const WHOLE: f32 = 1.5 * (1 << 23) as f32;
        Self(self.0.map(|value| value + WHOLE - WHOLE))
    }

    /// The larger value; `self` where either is a NaN.
    #[inline(always)]
    pub(crate) fn at_least(self, low: Self) -> Self {
        self.zip(low, |a, b| if a < b { b } else { a })
    }

    /// The smaller value; `self` where either is a NaN.
    #[inline(always)]
    pub(crate) fn at_most(self, high: Self) -> Self {
        self.zip(high, |a, b| if b < a { b } else { a })
    }

    /// Two to the power of whole numbers in `-126.0..=127.0`.
    #[inline(always)]
    pub(crate) fn power_of_two(self) -> Self {
        Self(
            self.0
                .map(|value| f32::from_bits(((value as i32).wrapping_add(127) as u32) << 23)),
        )
    }

    /// Drops the fraction of values within the range of `i32`. A NaN becomes zero or the smallest integer.
    #[inline(always)]
    pub(crate) fn truncate(self) -> I32x4 {
        I32x4(self.0.map(|value| value as i32))
    }

    #[inline(always)]
    pub(crate) fn to_array(self) -> [f32; 4] {
        self.0
    }

    /// Four rows of four become four columns.
    #[inline(always)]
    pub(crate) fn transpose(rows: [Self; 4]) -> [Self; 4] {
        std::array::from_fn(|column| Self(std::array::from_fn(|row| rows[row].0[column])))
    }
}

impl I32x4 {
    #[inline(always)]
    pub(crate) fn splat(value: i32) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    pub(crate) fn load(values: &[i32; 4]) -> Self {
        Self(*values)
    }

    #[inline(always)]
    pub(crate) fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].wrapping_add(other.0[i])))
    }

    #[inline(always)]
    pub(crate) fn to_f32(self) -> F32x4 {
        F32x4(self.0.map(|value| value as f32))
    }

    #[inline(always)]
    pub(crate) fn to_array(self) -> [i32; 4] {
        self.0
    }

    /// Adds to each lane the sum of the two neighbouring lanes of `pairs`.
    #[inline(always)]
    pub(crate) fn add_pairs(self, pairs: I16x8) -> Self {
        Self(std::array::from_fn(|i| {
            self.0[i] + i32::from(pairs.0[2 * i]) + i32::from(pairs.0[2 * i + 1])
        }))
    }

    /// Adds the products of neighbouring lanes of `a` and `b`.
    #[inline(always)]
    pub(crate) fn add_dot(self, a: I16x8, b: I16x8) -> Self {
        Self(std::array::from_fn(|i| {
            let product = |lane: usize| i32::from(a.0[lane]) * i32::from(b.0[lane]);
            self.0[i] + product(2 * i) + product(2 * i + 1)
        }))
    }
}

impl I16x8 {
    #[inline(always)]
    pub(crate) fn load(values: &[i16; 8]) -> Self {
        Self(*values)
    }

    #[inline(always)]
    pub(crate) fn store(self, values: &mut [i16; 8]) {
        *values = self.0;
    }

    /// Broadcasts one pair of neighbouring lanes.
    #[inline(always)]
    pub(crate) fn lane<const LANE: usize>(self) -> Self {
        Self(std::array::from_fn(|i| self.0[2 * LANE + i % 2]))
    }

    /// From four rows of four to their columns in pairs: the first two, and the others. Values beyond 16 bits are limited.
    #[inline(always)]
    pub(crate) fn columns(rows: [I32x4; 4]) -> [Self; 2] {
        let value = |row: usize, column: usize| {
            let (least, most) = (i32::from(i16::MIN), i32::from(i16::MAX));
            rows[row].0[column].clamp(least, most) as i16
        };
        [0, 2].map(|first| Self(std::array::from_fn(|i| value(i / 2, first + i % 2))))
    }

    /// The sums of neighbouring lanes.
    #[inline(always)]
    pub(crate) fn pairs(self) -> I32x4 {
        I32x4::splat(0).add_pairs(self)
    }

    #[inline(always)]
    pub(crate) fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].wrapping_add(other.0[i])))
    }
}

impl I8x16 {
    #[inline(always)]
    pub(crate) fn load(values: &[i8; 16]) -> Self {
        Self(*values)
    }

    #[inline(always)]
    pub(crate) fn store(self, values: &mut [i8; 16]) {
        *values = self.0;
    }

    /// Broadcasts the four bytes of one 32-bit lane.
    #[inline(always)]
    pub(crate) fn lane<const LANE: usize>(self) -> Self {
        Self(std::array::from_fn(|i| self.0[4 * LANE + i % 4]))
    }

    /// Signed bytes times bytes in `0..=127`, neighbouring products added. The sums must fit 16 bits: they do for
    /// operands within ±127.
    #[inline(always)]
    pub(crate) fn dot_pairs(self, seven_bit: Self) -> I16x8 {
        I16x8(std::array::from_fn(|i| {
            let product = |lane: usize| i32::from(self.0[lane]) * i32::from(seven_bit.0[lane]);
            (product(2 * i) + product(2 * i + 1)) as i16
        }))
    }

    /// Sixteen values in `0..=127`, anything negative becoming zero.
    #[inline(always)]
    pub(crate) fn narrow(parts: [I32x4; 4]) -> Self {
        Self(std::array::from_fn(|i| {
            parts[i / 4].0[i % 4].clamp(0, 127) as i8
        }))
    }

    #[inline(always)]
    pub(crate) fn widen(self) -> (I16x8, I16x8) {
        (
            I16x8(std::array::from_fn(|i| i16::from(self.0[i]))),
            I16x8(std::array::from_fn(|i| i16::from(self.0[8 + i]))),
        )
    }
}
