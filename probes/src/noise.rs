//! Values without a pattern.

use crate::random::Random;

/// So many values of -2 to 2: the range of a normalised picture's.
pub fn noise(length: usize) -> Vec<f32> {
    let mut random = Random::new(0);
    (0..length).map(|_| random.between(-2.0, 2.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_of_normalised_values_and_repeats() {
        let values = noise(1000);
        assert!(values.iter().all(|value| (-2.0..2.0).contains(value)));
        let mean = values.iter().sum::<f32>() / 1000.0;
        assert!(mean.abs() < 0.2, "{mean}");
        assert_eq!(values, noise(1000));
    }
}
