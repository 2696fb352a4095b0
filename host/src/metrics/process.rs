//! What the process uses, from `/proc`. Where there is none, these stay at 0.

use super::Maker;
use prometheus::{Counter, Gauge, IntGauge};
use std::fs;

/// What the process uses, under the names that every Prometheus library gives it.
pub struct Process {
    cpu: Counter,
    resident: IntGauge,
    mapped: IntGauge,
    files: IntGauge,
    files_limit: IntGauge,
    threads: IntGauge,
    start: Gauge,
}

impl Process {
    pub(super) fn new(new: &Maker<'_>) -> prometheus::Result<Self> {
        let process = Self {
            cpu: new.register(Counter::new(
                "process_cpu_seconds_total",
                "Processor time, user and system.",
            )?)?,
            resident: new.gauge("process_resident_memory_bytes", "Memory that is in RAM.")?,
            mapped: new.gauge("process_virtual_memory_bytes", "Memory that is mapped.")?,
            files: new.gauge("process_open_fds", "File descriptors that are open.")?,
            files_limit: new.gauge("process_max_fds", "File descriptors that may be open.")?,
            threads: new.gauge("process_threads", "Threads of the process.")?,
            start: new.float_gauge(
                "process_start_time_seconds",
                "When the process started, since the epoch.",
            )?,
        };
        if let Some(start) = start() {
            process.start.set(start);
        }
        Ok(process)
    }

    /// Reads it all again.
    pub fn read(&self) {
        if let Some(stat) = Stat::read() {
            self.cpu
                .inc_by((stat.cpu_seconds - self.cpu.get()).max(0.0));
            self.threads.set(stat.threads);
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        for (gauge, field) in [(&self.resident, "VmRSS:"), (&self.mapped, "VmSize:")] {
            if let Some(kib) = number_after(&status, field) {
                gauge.set(kib << 10);
            }
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // Less the one that lists them.
            self.files.set(files.count() as i64 - 1);
        }
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        if let Some(limit) = number_after(&limits, "Max open files") {
            self.files_limit.set(limit);
        }
    }
}

/// Linux counts in hundredths of a second wherever user programs look.
const TICKS_A_SECOND: f64 = 100.0;

/// Fields of `/proc/self/stat`.
struct Stat {
    cpu_seconds: f64,
    threads: i64,
    start_ticks: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The second field is the program's name in brackets, and may hold anything: fields are counted from behind it.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        // `man 5 proc` counts from 1, and the name is its number 2.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_A_SECOND,
            threads: field(20)? as i64,
            start_ticks: field(22)?,
        })
    }
}

/// When the process started, in seconds since the epoch.
fn start() -> Option<f64> {
    let boot = number_after(&fs::read_to_string("/proc/stat").ok()?, "btime")?;
    Some(boot as f64 + Stat::read()?.start_ticks / TICKS_A_SECOND)
}

/// The number that follows a line's first words.
fn number_after(text: &str, words: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(words))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_moves_no_field() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 5 0 0 0 250 50 0 0 20 0 3 0 1000 9 9 9";
        let stat = Stat::parse(text).unwrap();
        assert_eq!(stat.cpu_seconds, 3.0);
        assert_eq!(stat.threads, 3);
        assert_eq!(stat.start_ticks, 1000.0);
        assert!(Stat::parse("7 (a").is_none());
    }

    #[test]
    fn lines_are_found_by_their_first_words() {
        let text =
            "VmPeak:\t 9 kB\nVmRSS:\t   128 kB\nMax open files            1024  4096 files\n";
        assert_eq!(number_after(text, "VmRSS:"), Some(128));
        assert_eq!(number_after(text, "Max open files"), Some(1024));
        assert_eq!(number_after(text, "VmSize:"), None);
    }
}
