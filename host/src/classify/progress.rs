//! How far it is: one line on standard error that writes over itself, where somebody looks at it.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// The line.
pub struct Progress {
    total: usize,
    done: usize,
    refused: usize,
    start: Instant,
    /// Whether there is somebody to see it, and more than one file to wait for.
    wanted: bool,
    shown: bool,
}

impl Progress {
    /// Of so many files.
    pub fn new(total: usize) -> Self {
        Self {
            total,
            done: 0,
            refused: 0,
            start: Instant::now(),
            wanted: total > 1 && std::io::stderr().is_terminal(),
            shown: false,
        }
    }

    /// One file more is done.
    pub fn count(&mut self, refused: bool) {
        self.done += 1;
        self.refused += usize::from(refused);
    }

    /// Writes the line.
    pub fn show(&mut self) {
        if self.wanted {
            self.write(&format!("\r\x1b[2K{}", self.line(self.start.elapsed())));
            self.shown = true;
        }
    }

    /// Makes room for an answer, or for the shell.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            self.write("\r\x1b[2K");
        }
    }

    fn write(&self, text: &str) {
        // A terminal that is gone is no reason to stop.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    fn line(&self, elapsed: Duration) -> String {
        let rate = self.done as f64 / elapsed.as_secs_f64().max(1e-3);
        let refused = match self.refused {
            0 => String::new(),
            refused => format!(", {refused} refused"),
        };
        format!(
            "{} of {}, {rate:.1} a second{refused}",
            self.done, self.total
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_how_fast_and_how_well() {
        let mut progress = Progress::new(59);
        progress.count(false);
        progress.count(false);
        let second = Duration::from_secs(1);
        assert_eq!(progress.line(second), "2 of 59, 2.0 a second");
        progress.count(true);
        assert_eq!(
            progress.line(2 * second),
            "3 of 59, 1.5 a second, 1 refused"
        );
    }
}
