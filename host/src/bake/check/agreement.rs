//! What rounding costs: answers in reduced precision beside those in full precision, to the same pictures.

use std::fmt::{self, Display, Formatter};

/// Where the second best class is as near as this, another one may come first, and nothing is wrong.
const NEAR_TIE: f32 = 0.1;

/// How far the probability of the best class may move on average.
const FAR: f32 = 0.1;

/// How two components agree.
#[derive(Debug, Default)]
pub struct Agreement {
    pictures: usize,
    same_class: usize,
    near_ties: usize,
    /// Of the probability of full precision's best class.
    mean_difference: f32,
    largest_difference: f32,
    generated: bool,
}

impl Agreement {
    /// Compares answers in full with those in reduced precision.
    pub fn of(full: &[Option<Vec<f32>>], reduced: &[Option<Vec<f32>>], generated: bool) -> Self {
        let mut agreement = Self {
            generated,
            ..Self::default()
        };
        let mut sum = 0.0;
        for (full, reduced) in full.iter().zip(reduced) {
            let (Some(full), Some(reduced)) = (full, reduced) else {
                continue;
            };
            let (Some(best), Some(other)) = (best(full), best(reduced)) else {
                continue;
            };
            agreement.pictures += 1;
            if best == other {
                agreement.same_class += 1;
            } else if full[best] - full[other] <= NEAR_TIE {
                agreement.near_ties += 1;
            }
            let difference = (full[best] - reduced[best]).abs();
            sum += difference;
            agreement.largest_difference = agreement.largest_difference.max(difference);
        }
        agreement.mean_difference = sum / agreement.pictures.max(1) as f32;
        agreement
    }

    /// Whether more than one picture in ten changes its class, near ties left out, or probabilities move far.
    pub fn is_poor(&self) -> bool {
        let changed = self.pictures - self.same_class - self.near_ties;
        changed * 10 > self.pictures || self.mean_difference > FAR
    }
}

impl Display for Agreement {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let kind = if self.generated { "generated " } else { "" };
        write!(
            to,
            "the class of fp32 on {} of {} {kind}pictures",
            self.same_class, self.pictures
        )?;
        if self.near_ties > 0 {
            write!(to, " (and changes {} near ties)", self.near_ties)?;
        }
        write!(
            to,
            ", its probability within {:.3} on average and {:.3} at most",
            self.mean_difference, self.largest_difference
        )
    }
}

/// The class of the largest probability.
fn best(probabilities: &[f32]) -> Option<usize> {
    let classes = probabilities.iter().enumerate();
    let best = classes.max_by(|(_, one), (_, other)| one.total_cmp(other));
    best.map(|(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(full: &[&[f32]], reduced: &[&[f32]]) -> Agreement {
        let answers = |all: &[&[f32]]| all.iter().map(|one| Some(one.to_vec())).collect::<Vec<_>>();
        Agreement::of(&answers(full), &answers(reduced), true)
    }

    #[test]
    fn near_ties_may_change_and_clear_answers_may_not() {
        let tie = [&[0.40, 0.35, 0.25][..]; 5];
        let turned = [&[0.36, 0.38, 0.26][..]; 5];
        let agreement = of(&tie, &turned);
        assert!(!agreement.is_poor(), "{agreement}");
        assert_eq!((agreement.same_class, agreement.near_ties), (0, 5));
        assert!(
            agreement
                .to_string()
                .contains("0 of 5 generated pictures (and changes 5 near ties)")
        );

        let clear = [&[0.50, 0.35, 0.15][..]; 5];
        assert!(of(&clear, &turned).is_poor());
        // The same class everywhere, and nothing like the same certainty.
        assert!(of(&[&[0.95, 0.05]], &[&[0.6, 0.4]]).is_poor());
        assert!(!of(&[&[0.95, 0.05]], &[&[0.9, 0.1]]).is_poor());
    }

    #[test]
    fn what_is_no_picture_does_not_count() {
        let agreement = Agreement::of(
            &[None, Some(vec![1.0, 0.0])],
            &[None, Some(vec![1.0, 0.0])],
            false,
        );
        assert_eq!(agreement.pictures, 1);
        assert!(
            agreement
                .to_string()
                .starts_with("the class of fp32 on 1 of 1 pictures")
        );
    }
}
