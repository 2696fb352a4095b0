//! Whether recognised layers compute what the model does: both are run on the same input before ours are believed.

/// How far a score may be from tract's, as a part of the largest: the order of additions differs, nothing else.
const TOLERANCE: f32 = 1e-3;

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
}
