//! The same counts as Triton words them: of each step how often, and how many nanoseconds in all.

use crate::error::Error;
use crate::workers::Served;
use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often a step was taken, and how long it took in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = StepStatistics))]
pub struct Step {
    count: u64,
    ns: u64,
}

/// What was counted since the start. An image, and a tensor, is an inference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = Counted))]
pub struct Statistics {
    /// When the last one was answered or refused, in milliseconds since 1970; 0 before the first.
    last_inference: u64,
    inference_count: u64,
    execution_count: u64,
    inference_stats: Steps,
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "docs", derive(utoipa::ToSchema), schema(as = InferenceStatistics))]
struct Steps {
    success: Step,
    fail: Step,
    queue: Step,
    /// Making the sandbox, decoding and preparing.
    compute_input: Step,
    compute_infer: Step,
    compute_output: Step,
    cache_hit: Step,
    cache_miss: Step,
}

impl Step {
    fn add(&mut self, nanoseconds: u64) {
        self.count += 1;
        self.ns += nanoseconds;
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

/// What is being counted.
#[derive(Default)]
pub struct Counting(Mutex<Statistics>);

impl Counting {
    /// One was answered or refused, after this time. `inference` is the engine's part of it in nanoseconds, where it is
    /// known.
    pub fn add<T>(
        &self,
        result: &Result<Served<T>, Error>,
        total: Duration,
        inference: impl FnOnce(&T) -> Option<u64>,
    ) {
        // A clock before 1970 is wrong, and its time as good as any.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.last_inference = now.unwrap_or_default().as_millis() as u64;
        let steps = &mut counted.inference_stats;
        let total = nanoseconds(total);
        let Ok(served) = result else {
            steps.fail.add(total);
            return;
        };
        steps.success.add(total);
        let queue = nanoseconds(served.queue);
        steps.queue.add(queue);
        let rest = total.saturating_sub(queue);
        let made = nanoseconds(served.answered.instantiate);
        let inference = inference(&served.answered.output)
            .unwrap_or(rest.saturating_sub(made))
            .min(rest);
        steps.compute_infer.add(inference);
        steps.compute_input.add(rest - inference);
        // Part of the engine's time: ranking is nothing beside it.
        steps.compute_output.add(0);
        counted.inference_count += 1;
        counted.execution_count += 1;
    }

    /// What was counted so far.
    pub fn read(&self) -> Statistics {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sandbox::Answered;

    #[test]
    fn steps_add_up_to_the_whole() {
        let counting = Counting::default();
        let served = Ok(Served {
            answered: Answered {
                output: 300,
                instantiate: Duration::from_nanos(50),
            },
            queue: Duration::from_nanos(100),
        });
        counting.add(&served, Duration::from_nanos(1000), |inference| {
            Some(*inference)
        });
        counting.add(&served, Duration::from_nanos(1000), |_| None);
        counting.add::<u64>(&Err(Error::Busy), Duration::from_nanos(7), |_| None);
        let counted = counting.read();
        let steps = counted.inference_stats;
        assert_eq!((counted.inference_count, counted.execution_count), (2, 2));
        assert!(counted.last_inference > 0);
        let step = |count, ns| Step { count, ns };
        assert_eq!(steps.success, step(2, 2000));
        assert_eq!(steps.fail, step(1, 7));
        assert_eq!(steps.queue, step(2, 200));
        assert_eq!(steps.compute_infer, step(2, 300 + 850));
        assert_eq!(steps.compute_input, step(2, 600 + 50));
    }
}
