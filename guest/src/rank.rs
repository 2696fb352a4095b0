//! Scores to the best classes.

/// One class and its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// Index of the class.
    pub class: usize,
    /// From 0 to 1.
    pub probability: f32,
}

/// Softmax, stable for scores of any size: the largest is taken off first, and sums are kept in 64 bits.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits
        .iter()
        .map(|&logit| f64::from(logit - largest).exp())
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| (weight / sum) as f32).collect()
}

/// Probabilities of a model's scores. One score is that of one class or its opposite: a softmax of it would always be 1.
pub fn probabilities(logits: &[f32]) -> Vec<f32> {
    match logits {
        &[logit] => vec![(1.0 / (1.0 + (-f64::from(logit)).exp())) as f32],
        logits => softmax(logits),
    }
}

/// The `k` best classes, best first, ties in order of class.
pub fn top_k(probabilities: &[f32], k: usize) -> Vec<Ranked> {
    let mut ranked: Vec<Ranked> = probabilities
        .iter()
        .enumerate()
        .map(|(class, &probability)| Ranked { class, probability })
        .collect();
    ranked.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    ranked.truncate(k);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_agrees_with_its_definition() {
        let probabilities = softmax(&[0.0, 1.0, 2.0]);
        let expected = [0.090_030_57, 0.244_728_47, 0.665_240_96];
        for (got, want) in probabilities.iter().zip(expected) {
            assert!((got - want).abs() < 1e-6);
        }
    }

    #[test]
    fn softmax_survives_huge_scores() {
        assert_eq!(softmax(&[3e38, -3e38]), [1.0, 0.0]);
        assert_eq!(softmax(&[-1e30, -1e30]), [0.5, 0.5]);
    }

    #[test]
    fn one_score_is_a_yes_or_a_no() {
        assert_eq!(probabilities(&[0.0]), [0.5]);
        assert!((probabilities(&[2.0])[0] - 0.880_797_1).abs() < 1e-6);
        assert_eq!(probabilities(&[-200.0]), [0.0]);
        assert_eq!(probabilities(&[1.0, 1.0]), [0.5, 0.5]);
    }

    #[test]
    fn ties_keep_their_order_and_k_may_exceed() {
        let classes = |k| -> Vec<usize> {
            top_k(&[0.2, 0.4, 0.2, 0.2], k)
                .iter()
                .map(|ranked| ranked.class)
                .collect()
        };
        assert_eq!(classes(2), [1, 0]);
        assert_eq!(classes(9), [1, 0, 2, 3]);
    }
}
