//! Fences: what keeps Cranelift's code for long loop bodies in registers.
//!
//! A loop's head is where running code may be interrupted. The check there calls the host in the rare case, a call keeps
//! no vector register, and so Cranelift keeps everything that lives across the head on the stack. A loop is therefore
//! quick only if a turn does much, and carries little that the next turn waits for.
//!
//! But Cranelift gathers the arithmetic of a block behind all of the block's loads, and a turn that does much has more
//! loads than there are registers. A fence ends the block: a branch that is never taken, behind which the values might be
//! others, so that they must be computed before it. It costs one compare-and-branch.

use crate::simd::{F32x4, I32x4};
use std::hint::black_box;

/// The fences of a function; see the top of this file.
#[derive(Clone, Copy)]
pub(crate) struct Fence {
    /// Zero, which no compiler knows.
    number: u32,
    /// All zeros, which no compiler knows either.
    zeros: &'static Zeros,
}

pub(crate) struct Zeros {
    floats: [f32; 4],
    integers: [i32; 4],
}

static ZEROS: Zeros = Zeros {
    floats: [0.0; 4],
    integers: [0; 4],
};

/// What a fence can hold back.
pub(crate) trait Value: Copy {
    fn plus(self, zeros: &Zeros) -> Self;
}

impl Value for F32x4 {
    #[inline(always)]
    fn plus(self, zeros: &Zeros) -> Self {
        self.add(Self::load(&zeros.floats))
    }
}

impl Value for I32x4 {
    #[inline(always)]
    fn plus(self, zeros: &Zeros) -> Self {
        self.add(Self::load(&zeros.integers))
    }
}

impl Fence {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self {
            number: black_box(0),
            zeros: black_box(&ZEROS),
        }
    }

    /// Has these values computed before anything that follows. Each fence of a function has a number of its own, a
    /// constant and not 0, so that no two are taken for one.
    #[inline(always)]
    #[allow(
        clippy::needless_range_loop,
        reason = "iterators keep the values in memory"
    )]
    pub(crate) fn hold<V: Value, const N: usize, const M: usize>(
        self,
        number: u32,
        values: &mut [[V; N]; M],
    ) {
        if self.number == number {
            for row in 0..M {
                for column in 0..N {
                    values[row][column] = values[row][column].plus(self.zeros);
                }
            }
        }
    }
}
