//! The inverse cosine transform to fewer samples: those of the picture at a half, a quarter or an eighth of its size, of the lower
//! frequencies alone, with libjpeg's rounding.

use crate::idct::{BETWEEN, FACTOR, sample};
use crate::scan::Block;

/// A picture's size, as a part of the file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// All of it.
    Whole,
    /// A half.
    Half,
    /// A quarter.
    Quarter,
    /// An eighth.
    Eighth,
}

impl Scale {
    /// Samples that become of eight.
    pub fn samples(self) -> usize {
        match self {
            Self::Whole => 8,
            Self::Half => 4,
            Self::Quarter => 2,
            Self::Eighth => 1,
        }
    }

    /// How long a side of so many pixels is then.
    pub fn of(self, side: usize) -> usize {
        (side * self.samples()).div_ceil(8)
    }
}

/// Four samples of eight coefficients, and so many bits taken off.
#[inline(always)]
fn four<const BITS: u32>(from: [i32; 8]) -> [i32; 4] {
    let zero = from[0] << (FACTOR + 1);
    let two = from[2] * 15137 - from[6] * 6270;
    let inner = from[1] * 8697 - from[3] * 17799 + from[5] * 11893 - from[7] * 1730;
    let outer = from[1] * 20995 + from[3] * 7373 - from[5] * 4926 - from[7] * 4176;
    [
        zero + two + outer,
        zero - two + inner,
        zero - two - inner,
        zero + two - outer,
    ]
    .map(|sum| (sum + (1 << (BITS - 1))) >> BITS)
}

/// The same for two.
#[inline(always)]
fn two<const BITS: u32>(from: [i32; 8]) -> [i32; 2] {
    let zero = from[0] << (FACTOR + 2);
    let odd = from[1] * 29692 - from[3] * 10426 + from[5] * 6967 - from[7] * 5906;
    [zero + odd, zero - odd].map(|sum| (sum + (1 << (BITS - 1))) >> BITS)
}

fn column(block: &Block, steps: &[u16; 64], index: usize) -> [i32; 8] {
    std::array::from_fn(|row| {
        let place = row * 8 + index;
        i32::from(block[place]) * i32::from(steps[place])
    })
}

/// Transforms a block to four samples a side.
pub fn to_four(block: &Block, steps: &[u16; 64], to: &mut [u8], stride: usize) {
    let columns: [[i32; 4]; 8] =
        std::array::from_fn(|index| four::<{ FACTOR - BETWEEN + 1 }>(column(block, steps, index)));
    for row in 0..4 {
        let row_of = columns.map(|column| column[row]);
        let samples = four::<{ FACTOR + BETWEEN + 3 + 1 }>(row_of).map(sample);
        to[row * stride..row * stride + 4].copy_from_slice(&samples);
    }
}

/// Transforms a block to two samples a side.
pub fn to_two(block: &Block, steps: &[u16; 64], to: &mut [u8], stride: usize) {
    let columns: [[i32; 2]; 8] =
        std::array::from_fn(|index| two::<{ FACTOR - BETWEEN + 2 }>(column(block, steps, index)));
    for row in 0..2 {
        let row_of = columns.map(|column| column[row]);
        let samples = two::<{ FACTOR + BETWEEN + 3 + 2 }>(row_of).map(sample);
        to[row * stride..row * stride + 2].copy_from_slice(&samples);
    }
}
