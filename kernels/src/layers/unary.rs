//! Functions of single values, four at a time.

use crate::op::Unary;
use crate::simd::F32x4;

/// Replaces each value by the function's. Exponentials are off by at most three units in the last place, the error function by
/// `2e-7`.
pub(crate) fn apply(function: Unary, values: &mut [f32]) {
    let splat = F32x4::splat;
    let (zero, one, half) = (splat(0.0), splat(1.0), splat(0.5));
    match function {
        Unary::Clip { min, max } => {
            let (min, max) = (splat(min), splat(max));
            each(values, |x| x.clip(min, max));
        }
        Unary::LeakyRelu { alpha } => {
            let alpha = splat(alpha);
            each(values, |x| x.at_most(zero).mul_add(alpha, x.at_least(zero)));
        }
        Unary::Elu { alpha } => {
            let alpha = splat(alpha);
            each(values, |x| {
                let below = exp(x.at_most(zero)).sub(one);
                below.mul_add(alpha, x.at_least(zero))
            });
        }
        Unary::HardSigmoid { alpha, beta } => {
            let (alpha, beta) = (splat(alpha), splat(beta));
            each(values, |x| x.mul_add(alpha, beta).clip(zero, one));
        }
        Unary::HardSwish => {
            let sixth = splat(1.0 / 6.0);
            each(values, |x| x.mul(x.mul_add(sixth, half).clip(zero, one)));
        }
        Unary::Sigmoid => each(values, sigmoid),
        Unary::Silu => each(values, |x| x.mul(sigmoid(x))),
        Unary::Tanh => each(values, |x| {
            sigmoid(x.add(x)).mul_add(splat(2.0), splat(-1.0))
        }),
        Unary::Gelu => each(values, |x| {
            let part = erf(x.mul(splat(std::f32::consts::FRAC_1_SQRT_2)));
            x.mul(half).mul(part.add(one))
        }),
        // tanh(log(1 + e)) is (e² + 2e) / (e² + 2e + 2); beyond 20 it is one to the last bit.
        Unary::Mish => each(values, |x| {
            let e = exp(x.at_most(splat(20.0)));
            let part = e.mul_add(e, e.add(e));
            x.mul(part.div(part.add(splat(2.0))))
        }),
    }
}

#[inline(always)]
fn each(values: &mut [f32], function: impl Fn(F32x4) -> F32x4) {
    let (quads, rest) = values.as_chunks_mut::<4>();
    for value in quads {
        function(F32x4::load(value)).store(value);
    }
    if !rest.is_empty() {
        function(F32x4::from_partial(rest, 0.0)).to_partial(rest);
    }
}

#[inline(always)]
fn sigmoid(x: F32x4) -> F32x4 {
    let one = F32x4::splat(1.0);
    one.div(exp(F32x4::splat(0.0).sub(x)).add(one))
}

/// Beyond these, what is computed stays finite and above zero.
const LARGEST_EXPONENT: f32 = 88.0;
const SMALLEST_EXPONENT: f32 = -87.0;

/// The exponential: two to a whole power, times that of the rest by its series. A NaN stays one.
#[inline(always)]
pub(crate) fn exp(x: F32x4) -> F32x4 {
    let splat = F32x4::splat;
    let x = x.clip(splat(SMALLEST_EXPONENT), splat(LARGEST_EXPONENT));
    let whole = x.mul(splat(std::f32::consts::LOG2_E)).nearest();
    // ln 2 in two parts: the product with the first one, which has few bits, is exact.
    let rest = whole.mul_add(splat(-0.693_359_4), x);
    let rest = whole.mul_add(splat(2.121_944_4e-4), rest);
    let mut sum = splat(1.0 / 5040.0);
    sum = sum.mul_add(rest, splat(1.0 / 720.0));
    sum = sum.mul_add(rest, splat(1.0 / 120.0));
    sum = sum.mul_add(rest, splat(1.0 / 24.0));
    sum = sum.mul_add(rest, splat(1.0 / 6.0));
    sum = sum.mul_add(rest, splat(0.5));
    sum = sum.mul_add(rest, splat(1.0));
    sum = sum.mul_add(rest, splat(1.0));
    // A NaN's power means nothing, but times a NaN it is one.
    sum.mul(whole.power_of_two())
}

/// The error function, by formula 7.1.26 of Abramowitz and Stegun's handbook.
#[inline(always)]
fn erf(x: F32x4) -> F32x4 {
    let splat = F32x4::splat;
    let one = splat(1.0);
    let size = x.at_least(splat(0.0).sub(x));
    let t = one.div(size.mul_add(splat(0.327_591_1), one));
    let mut sum = splat(1.061_405_4);
    sum = sum.mul_add(t, splat(-1.453_152_1));
    sum = sum.mul_add(t, splat(1.421_413_8));
    sum = sum.mul_add(t, splat(-0.284_496_74));
    sum = sum.mul_add(t, splat(0.254_829_6));
    let tail = sum.mul(t).mul(exp(splat(0.0).sub(size.mul(size))));
    let value = one.sub(tail);
    // The sign of x: one of the two is x itself, the other zero.
    let sign = x
        .at_least(splat(-f32::MIN_POSITIVE))
        .at_most(splat(f32::MIN_POSITIVE))
        .div(splat(f32::MIN_POSITIVE));
    value.mul(sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The functions in 64 bits; the error function by its series.
    fn expected(function: Unary, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match function {
            Unary::Clip { min, max } => x.max(f64::from(min)).min(f64::from(max)),
            Unary::LeakyRelu { alpha } => x.max(0.0) + f64::from(alpha) * x.min(0.0),
            Unary::Elu { alpha } => x.max(0.0) + f64::from(alpha) * (x.min(0.0).exp() - 1.0),
            Unary::HardSigmoid { alpha, beta } => {
                (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
            }
            Unary::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Unary::Sigmoid => sigmoid(x),
            Unary::Silu => x * sigmoid(x),
            Unary::Tanh => x.tanh(),
            Unary::Gelu => x * 0.5 * (1.0 + erf_series(x / 2f64.sqrt())),
            Unary::Mish => x * x.exp().ln_1p().tanh(),
        }
    }

    fn erf_series(x: f64) -> f64 {
        if x.abs() > 5.0 {
            return x.signum();
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    const ALL: [Unary; 10] = [
        Unary::Clip {
            min: -1.0,
            max: 6.0,
        },
        Unary::LeakyRelu { alpha: 0.1 },
        Unary::Elu { alpha: 0.7 },
        Unary::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
        Unary::HardSwish,
        Unary::Sigmoid,
        Unary::Silu,
        Unary::Gelu,
        Unary::Tanh,
        Unary::Mish,
    ];

    #[test]
    fn functions_are_what_their_definitions_say() {
        for function in ALL {
            for step in -4000..=4000 {
                let x = step as f32 / 37.0;
                let mut values = [x; 5];
                apply(function, &mut values);
                let right = expected(function, f64::from(x));
                for value in values {
                    let error = (f64::from(value) - right).abs();
                    assert!(
                        error <= 4e-7 * f64::from(x.abs()).max(1.0),
                        "{function:?}({x}) is {right}, not {value}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_none_and_no_result_is_made_one() {
        for function in ALL {
            let mut values = [f32::NAN, f32::MAX, f32::MIN, 1e-40];
            apply(function, &mut values);
            assert!(values[0].is_nan(), "{function:?}");
            assert!(
                values[1..].iter().all(|value| !value.is_nan()),
                "{function:?} {values:?}"
            );
        }
    }
}
