//! What a person sees while it lasts.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Says on standard error what happens next.
pub fn say(what: &str) {
    eprintln!("xtask: {what}");
}

/// A number of bytes for a person.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// A line that is drawn over and over, on a terminal only: a log gets nothing of it.
pub struct Progress {
    terminal: bool,
    drawn: Option<Instant>,
}

impl Progress {
    /// Nothing is drawn yet.
    pub fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            drawn: None,
        }
    }

    /// Draws the line anew, unless it was drawn a moment ago.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        let recent = |drawn: Instant| drawn.elapsed() < Duration::from_millis(100);
        if self.terminal && !self.drawn.is_some_and(recent) {
            self.draw(&line());
            self.drawn = Some(Instant::now());
        }
    }

    fn draw(&self, line: &str) {
        let mut terminal = std::io::stderr().lock();
        // A terminal that has gone is no reason to stop.
        let _ = write!(terminal, "\r{line}\x1b[K").and_then(|()| terminal.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            self.draw("");
        }
    }
}
