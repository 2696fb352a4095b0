//! Whether answers look like those of a classifier, as far as that can be seen without knowing what is on the pictures.

use super::Tried;

/// What serving gives a sandbox by itself, in MiB.
const USUAL_MIB: usize = 512;

impl Tried {
    /// Sentences about what is odd.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let answers = || {
            self.answers
                .iter()
                .flatten()
                .filter(|answer| answer.len() > 1)
        };
        let flat = answers().filter(|answer| is_flat(answer)).count();
        if flat > 0 && flat == answers().count() {
            warnings.push(format!(
                "on all of {flat} pictures the likeliest class has less than twice the probability of the least likely one: look at the preprocessing, and at whether the model's scores are what `softmax` in the configuration says."
            ));
        }
        let needed = self.memory_bytes.div_ceil(1 << 20);
        if needed > USUAL_MIB {
            // Room for a large picture beside it.
            let asked = (needed + 256).next_multiple_of(128).min(4096);
            warnings.push(format!(
                "the model takes {needed} MiB of a sandbox, and by itself one has {USUAL_MIB}: serve it with --memory-mib {asked}."
            ));
        }
        warnings
    }
}

/// Whether nothing stands out.
fn is_flat(probabilities: &[f32]) -> bool {
    let largest = probabilities.iter().copied().fold(f32::MIN, f32::max);
    let smallest = probabilities.iter().copied().fold(f32::MAX, f32::min);
    largest < 2.0 * smallest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(answers: &[&[f32]], memory_mib: usize) -> Vec<String> {
        Tried {
            engine: "tract".into(),
            answers: answers.iter().map(|one| Some(one.to_vec())).collect(),
            memory_bytes: memory_mib << 20,
        }
        .warnings()
    }

    #[test]
    fn only_what_is_odd_throughout_is_told() {
        assert!(warnings(&[&[0.2, 0.8], &[0.5, 0.5]], 100).is_empty());
        let flat = warnings(&[&[0.4, 0.6], &[0.5, 0.5]], 100);
        assert!(
            flat.len() == 1 && flat[0].contains("all of 2 pictures"),
            "{flat:?}"
        );
        // One class has nothing to stand out from.
        assert!(warnings(&[&[0.5]], 512).is_empty());
    }

    #[test]
    fn memory_beyond_the_usual_is_told_with_room_to_spare() {
        let needed = warnings(&[&[0.2, 0.8]], 934);
        assert!(
            needed[0].contains("934 MiB") && needed[0].contains("--memory-mib 1280"),
            "{needed:?}"
        );
    }
}
