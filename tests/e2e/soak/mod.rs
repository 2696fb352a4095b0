//! The service under pressure. Short here: what must hold, holds, and figures are printed. Long by `cargo xtask soak`, which
//! says in `PINHOLE_SOAK_SECONDS` how long each scenario lasts: then the figures must hold as well.

mod attacks;
mod hostility;
mod lifecycle;
mod overload;
mod replicas;
mod slow;
mod traffic;

use std::time::Duration;

/// How long a scenario presses, in seconds, where only correctness counts.
const SHORT: u64 = 3;

/// Whether figures are asserted: the machine is then ours alone.
fn is_long() -> bool {
    asked_for().is_some()
}

/// How long a scenario presses.
fn length() -> Duration {
    Duration::from_secs(asked_for().unwrap_or(SHORT))
}

fn asked_for() -> Option<u64> {
    let seconds = std::env::var("PINHOLE_SOAK_SECONDS").ok()?;
    Some(seconds.parse().expect("PINHOLE_SOAK_SECONDS is a number"))
}

/// One count for a quick look, another for a soak.
fn short_or_long<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// The value that this share of all values does not exceed; zero where there is none. Sorts them.
fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    let place = (times.len() as f64 * share) as usize;
    times
        .get(place.min(times.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}
