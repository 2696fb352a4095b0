//! Whose time the cores' time was. Somebody else's work during a measurement spoils it, and here is where that shows.

use crate::machine::Cores;
use crate::memory::descendants;
use anyhow::{Context, Result};

/// Counts from its start.
pub struct Meter {
    cores: Cores,
    ours: Vec<u32>,
    start: Counts,
}

/// Shares of the cores' time, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// Other processes of this machine.
    pub others: f64,
    /// Other virtual machines, as far as the hypervisor tells.
    pub stolen: f64,
}

/// The kernel's ticks so far.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    busy: f64,
    stolen: f64,
    all: f64,
    ours: f64,
}

impl Meter {
    /// Watches these cores; the time of these processes and of their descendants is ours.
    pub fn start(cores: &Cores, ours: &[u32]) -> Result<Self> {
        Ok(Self {
            cores: cores.clone(),
            ours: ours.to_vec(),
            start: Counts::now(cores, ours)?,
        })
    }

    /// Since the start.
    pub fn shares(&self) -> Result<Shares> {
        Ok(Shares::between(
            self.start,
            Counts::now(&self.cores, &self.ours)?,
        ))
    }
}

impl Shares {
    fn between(then: Counts, now: Counts) -> Self {
        let percent = |ticks: f64| 100.0 * ticks.max(0.0) / (now.all - then.all).max(1.0);
        Self {
            others: percent(now.busy - then.busy - (now.ours - then.ours)),
            stolen: percent(now.stolen - then.stolen),
        }
    }
}

impl Counts {
    fn now(cores: &Cores, ours: &[u32]) -> Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat").context("/proc/stat cannot be read")?;
        let mut counts = Self::of_cores(&stat, cores);
        let mut seen = Vec::new();
        for pid in ours {
            for pid in descendants(*pid)? {
                // A service is a child of this process, and is named beside it.
                if seen.contains(&pid) {
                    continue;
                }
                seen.push(pid);
                // One that has ended since is counted by its parent.
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
                counts.ours += stat.ok().and_then(|stat| used(&stat)).unwrap_or_default();
            }
        }
        Ok(counts)
    }

    /// Lines `cpu0 user nice system idle iowait irq softirq steal ...`.
    fn of_cores(stat: &str, cores: &Cores) -> Self {
        let mut counts = Self::default();
        for line in stat.lines() {
            let mut words = line.split_whitespace();
            let core = words
                .next()
                .and_then(|name| name.strip_prefix("cpu")?.parse().ok());
            if !core.is_some_and(|core| cores.contains(core)) {
                continue;
            }
            let ticks: Vec<f64> = words.filter_map(|word| word.parse().ok()).take(8).collect();
            // Interrupts belong to whoever is served, which nobody tells.
            counts.busy += ticks.iter().take(3).sum::<f64>();
            counts.stolen += ticks.get(7).copied().unwrap_or_default();
            counts.all += ticks.iter().sum::<f64>();
        }
        counts
    }
}

/// A process's own ticks and those of its children that have ended, in a line of `/proc/PID/stat`.
fn used(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks: Vec<f64> = rest
        .split_whitespace()
        .skip(11)
        .take(4)
        .filter_map(|word| word.parse().ok())
        .collect();
    (ticks.len() == 4).then(|| ticks.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_cores_count() {
        let stat = "cpu 9 9 9 9 9 9 9 9\ncpu0 1 2 3 100 0 5 5 4 7 7\ncpu1 1 1 1 100 0 0 0 0\ncpu10 9 9 9 9\nintr 5\n";
        let counts = Counts::of_cores(stat, &Cores::of(&[0, 1]));
        assert_eq!((counts.busy, counts.stolen, counts.all), (9.0, 4.0, 223.0));
    }

    #[test]
    fn what_is_not_ours_is_others() {
        let now = Counts {
            busy: 90.0,
            stolen: 5.0,
            all: 200.0,
            ours: 70.0,
        };
        let shares = Shares::between(Counts::default(), now);
        assert_eq!((shares.others, shares.stolen), (10.0, 2.5));
    }

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0";
        assert_eq!(used(stat), Some(100.0));
        assert_eq!(used("7 (a) S 1"), None);
    }
}
