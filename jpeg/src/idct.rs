//! The inverse cosine transform, with the rounding of libjpeg's accurate integer method: the algorithm of Loeffler, Ligtenberg and
//! Moschytz (1989) in 13-bit fixed point, columns first, two bits more precise between the two passes.

use crate::scan::Block;

/// Bits behind the point of the factors.
pub const FACTOR: u32 = 13;

/// Bits that are kept between the passes.
pub const BETWEEN: u32 = 2;

/// Eight values that are treated alike.
type Lanes = [i32; 8];

/// Transforms a block whose last coefficient that is not 0 is there in zigzag order, and writes its samples.
#[inline]
pub fn transform(block: &Block, steps: &[u16; 64], last: usize, to: &mut [u8], stride: usize) {
    if last == 0 {
        let sample = mean(block, steps);
        for row in 0..8 {
            to[row * stride..row * stride + 8].fill(sample);
        }
        return;
    }
    let mut rows = [[0; 8]; 8];
    for (row, lanes) in rows.iter_mut().enumerate() {
        for (column, lane) in lanes.iter_mut().enumerate() {
            let place = row * 8 + column;
            *lane = i32::from(block[place]) * i32::from(steps[place]);
        }
    }
    // The first ten coefficients of the zigzag lie in the first four rows and columns.
    let samples = if last < 10 {
        let columns = transposed(pass::<{ FACTOR - BETWEEN }, true>(rows));
        pass::<{ FACTOR + BETWEEN + 3 }, true>(columns)
    } else {
        let columns = transposed(pass::<{ FACTOR - BETWEEN }, false>(rows));
        pass::<{ FACTOR + BETWEEN + 3 }, false>(columns)
    };
    for (row, lanes) in transposed(samples).iter().enumerate() {
        let to = &mut to[row * stride..row * stride + 8];
        for (to, &lane) in to.iter_mut().zip(lanes) {
            *to = sample(lane);
        }
    }
}

/// The block's mean.
#[inline(always)]
pub fn mean(block: &Block, steps: &[u16; 64]) -> u8 {
    sample((i32::from(block[0]) * i32::from(steps[0]) + 4) >> 3)
}

/// The sample that a value around zero stands for.
#[inline(always)]
pub fn sample(value: i32) -> u8 {
    (value + 128).clamp(0, 255) as u8
}

#[inline(always)]
fn transposed(rows: [Lanes; 8]) -> [Lanes; 8] {
    let mut columns = [[0; 8]; 8];
    for row in 0..8 {
        for column in 0..8 {
            columns[column][row] = rows[row][column];
        }
    }
    columns
}

/// Transforms eight columns, and takes off so many bits. Of `SPARSE` ones the lower half is 0.
#[inline(always)]
fn pass<const BITS: u32, const SPARSE: bool>(rows: [Lanes; 8]) -> [Lanes; 8] {
    let mut to = [[0; 8]; 8];
    for lane in 0..8 {
        let row = |index: usize| {
            if SPARSE && index >= 4 {
                0
            } else {
                rows[index][lane]
            }
        };
        // Even part.
        let turned = (row(2) + row(6)) * 4433;
        let two = turned - row(6) * 15137;
        let three = turned + row(2) * 6270;
        let zero = (row(0) + row(4)) << FACTOR;
        let one = (row(0) - row(4)) << FACTOR;
        let even = [zero + three, one + two, one - two, zero - three];
        // Odd part.
        let [a, b, c, d] = [row(7), row(5), row(3), row(1)];
        let both = (a + c + b + d) * 9633;
        let ad = (a + d) * -7373;
        let bc = (b + c) * -20995;
        let ac = (a + c) * -16069 + both;
        let bd = (b + d) * -3196 + both;
        let odd = [
            d * 12299 + ad + bd,
            c * 25172 + bc + ac,
            b * 16819 + bc + bd,
            a * 2446 + ad + ac,
        ];
        for index in 0..4 {
            let half = 1 << (BITS - 1);
            to[index][lane] = (even[index] + odd[index] + half) >> BITS;
            to[7 - index][lane] = (even[index] - odd[index] + half) >> BITS;
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    /// The transform as it is defined (T.81, A.3.3), in floating point.
    fn exact(coefficients: &[i32; 64]) -> [f64; 64] {
        std::array::from_fn(|place| {
            let (y, x) = (place / 8, place % 8);
            let mut sum = 0.0;
            for v in 0..8 {
                for u in 0..8 {
                    let scale = |index: usize| if index == 0 { 0.5f64.sqrt() } else { 1.0 };
                    let wave = |at: usize, index: usize| {
                        ((2 * at + 1) as f64 * index as f64 * PI / 16.0).cos()
                    };
                    sum += scale(u)
                        * scale(v)
                        * f64::from(coefficients[v * 8 + u])
                        * wave(x, u)
                        * wave(y, v);
                }
            }
            sum / 4.0 + 128.0
        })
    }

    #[test]
    fn samples_are_those_of_the_definition() {
        let mut state = 1u32;
        let mut random = |range: i32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i32 % (2 * range + 1) - range
        };
        for filled in [0, 3, 9, 10, 30, 63] {
            for _ in 0..50 {
                let (mut block, mut steps) = ([0i16; 64], [1u16; 64]);
                for &place in &crate::header::ZIGZAG[..=filled] {
                    block[usize::from(place)] = random(40) as i16;
                    steps[usize::from(place)] = (random(5) + 6) as u16;
                }
                let mut got = [0u8; 64];
                transform(&block, &steps, filled, &mut got, 8);
                let products =
                    std::array::from_fn(|place| i32::from(block[place]) * i32::from(steps[place]));
                for (got, want) in got.iter().zip(exact(&products)) {
                    let want = want.clamp(0.0, 255.0);
                    assert!((f64::from(*got) - want).abs() < 1.0, "{got} {want}");
                }
            }
        }
    }
}
