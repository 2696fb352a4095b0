//! Places for connections. A few are kept for those who ask whether the service is alive: a probe that waits behind clients who
//! hold all others would have a healthy service killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many are kept.
const KEPT: usize = 16;

/// How long nobody is accepted before a kept place is given: clients that do not take their answers lose theirs in less.
const PATIENCE: Duration = Duration::from_millis(2500);

/// The places that there are.
pub struct Places {
    any: Arc<Semaphore>,
    kept: Arc<Semaphore>,
    closed: AtomicU64,
    patience: Duration,
}

/// A connection's place; free again when this is dropped.
pub enum Place {
    /// For every request.
    Any(#[allow(dead_code, reason = "held")] OwnedSemaphorePermit),
    /// For health and metrics.
    Kept(#[allow(dead_code, reason = "held")] OwnedSemaphorePermit),
}

impl Places {
    /// So many places, and the kept ones.
    pub fn new(connections: u32) -> Self {
        Self {
            any: Arc::new(Semaphore::new(connections as usize)),
            kept: Arc::new(Semaphore::new(KEPT)),
            closed: AtomicU64::new(0),
            patience: PATIENCE,
        }
    }

    /// Whether there is none left but the kept ones.
    pub fn are_taken(&self) -> bool {
        self.any.available_permits() == 0
    }

    /// A connection was closed since its client does not take its answers.
    pub fn count_closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many connections were closed so.
    pub fn closed(&self) -> u64 {
        self.closed.load(Ordering::Relaxed)
    }

    /// A place for the next connection, when there is one.
    pub async fn next(&self) -> Place {
        let kept = async {
            tokio::time::sleep(self.patience).await;
            self.kept.clone().acquire_owned().await
        };
        tokio::select! {
            biased;
            Ok(place) = self.any.clone().acquire_owned() => Place::Any(place),
            Ok(place) = kept => Place::Kept(place),
            // Neither is ever closed.
            else => std::future::pending().await,
        }
    }

    /// The same place, or a better one that has become free since.
    pub fn better(&self, place: Place) -> Place {
        match (place, self.any.clone().try_acquire_owned()) {
            (Place::Kept(_), Ok(any)) => Place::Any(any),
            (place, _) => place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_few_places_are_left_when_all_are_taken() {
        let places = Places {
            patience: Duration::ZERO,
            ..Places::new(2)
        };
        let first = places.next().await;
        let second = places.next().await;
        assert!(matches!((&first, &second), (Place::Any(_), Place::Any(_))));
        assert!(places.are_taken());
        let mut kept = Vec::new();
        for _ in 0..KEPT {
            let place = places.next().await;
            assert!(matches!(place, Place::Kept(_)));
            kept.push(place);
        }
        assert!(places.next().now_or_never().is_none());
        // Who was given a kept place has a better one where there is one by then.
        drop(first);
        let better = places.better(kept.remove(0));
        assert!(matches!(better, Place::Any(_)));
        assert!(matches!(places.next().await, Place::Kept(_)));
    }
}
