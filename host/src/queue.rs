//! The queue before the workers: by time, of which some count as having come later than they did.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Jobs by the time that they count as having come at, and the order that they came in.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

struct State<T> {
    jobs: BTreeMap<(Instant, u64), T>,
    count: u64,
    closed: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                jobs: BTreeMap::new(),
                count: 0,
                closed: false,
            }),
            filled: Condvar::new(),
        }
    }
}

impl<T> Queue<T> {
    /// Adds a job.
    pub fn push(&self, time: Instant, job: T) {
        let mut state = self.lock();
        state.count += 1;
        let count = state.count;
        state.jobs.insert((time, count), job);
        drop(state);
        self.filled.notify_one();
    }

    /// Takes the first job, waiting for one where there is none; none once the queue is closed.
    pub fn next(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some((_, job)) = state.jobs.pop_first() {
                return Some(job);
            }
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Has everybody who waits for a job stop waiting.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    /// What another thread's panic left behind is as good as before: every change is one step.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn jobs_come_out_by_time_and_then_in_order() {
        let queue = Queue::default();
        let now = Instant::now();
        let later = now + Duration::from_millis(25);
        for (time, job) in [(now, 1), (later, 2), (now, 3), (later, 4), (now, 5)] {
            queue.push(time, job);
        }
        let jobs: Vec<i32> = (0..5).filter_map(|_| queue.next()).collect();
        assert_eq!(jobs, [1, 3, 5, 2, 4]);
    }

    #[test]
    fn closing_ends_the_waiting() {
        let queue: Queue<()> = Queue::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.next());
            queue.close();
            assert_eq!(waiting.join().unwrap(), None);
        });
    }
}
