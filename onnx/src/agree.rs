//! Whether recognised layers compute what the model does: both are run on the same input before ours are believed.

/// How far a score may be from tract's, as a part of the largest: the order of additions differs, nothing else.
const TOLERANCE: f32 = 1e-3;

/// Values of -2 to 2 without a pattern: what a normalised picture may hold, the same on every machine.
pub fn probe(length: usize) -> Vec<f32> {
    let mut state = 0x2545_f491_u32;
    (0..length)
        .map(|_| {
            // A linear congruential generator: its upper bits are random enough for this.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as f32 / 16_384.0 - 2.0
        })
        .collect()
}

/// Whether our own scores are those that are expected.
pub fn agree(own: &[f32], expected: &[f32]) -> bool {
    let largest = expected
        .iter()
        .fold(1.0_f32, |largest, score| largest.max(score.abs()));
    let near = |(own, expected): (&f32, &f32)| (own - expected).abs() <= TOLERANCE * largest;
    own.len() == expected.len() && own.iter().zip(expected).all(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_agree_within_a_part_of_the_largest() {
        let expected = [100.0, -3.0];
        assert!(agree(&[100.09, -3.09], &expected));
        assert!(!agree(&[100.0, -3.11], &expected));
        assert!(!agree(&[100.0], &expected));
        assert!(!agree(&[100.0, f32::NAN], &expected));
    }

    #[test]
    fn a_probe_is_of_normalised_values() {
        let probe = probe(1000);
        assert!(probe.iter().all(|value| (-2.0..2.0).contains(value)));
        let mean = probe.iter().sum::<f32>() / 1000.0;
        assert!(mean.abs() < 0.2, "{mean}");
    }
}
