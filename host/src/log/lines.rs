//! Lines on their way to standard error. Whoever reads them may stall, and must not stall the service: a thread of its own writes,
//! and what does not fit before it is lost, and counted.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be written.
const WAITING: usize = 4096;

/// How long the process waits at its end for its last lines to be read.
const PATIENCE: Duration = Duration::from_millis(500);

/// Lines that were lost since the start.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many lines were lost since nobody read them.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

enum Message {
    Line(Vec<u8>),
    /// To be answered when everything before it is written.
    End(SyncSender<()>),
}

/// Where lines go.
#[derive(Clone)]
pub struct Lines(SyncSender<Message>);

impl Lines {
    /// Starts the thread that writes.
    pub fn start() -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write(&receiver, &mut std::io::stderr()))?;
        Ok(Self(sender))
    }

    /// Waits until what was logged is written, but not for long.
    pub fn finish(&self) {
        let (done, written) = sync_channel(1);
        let end = Instant::now() + PATIENCE;
        let mut message = Message::End(done);
        while let Err(TrySendError::Full(back)) = self.0.try_send(message) {
            if Instant::now() >= end {
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(5));
        }
        // Nobody is waited for who does not read.
        let _ = written.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

fn write(messages: &Receiver<Message>, out: &mut impl Write) {
    let mut told = 0;
    while let Ok(message) = messages.recv() {
        match message {
            // A log that is closed is no reason to stop.
            Message::Line(line) => drop(out.write_all(&line)),
            Message::End(done) => drop(done.send(())),
        }
        let lost = lost();
        if lost > told {
            tracing::warn!(
                lines = lost - told,
                "lines of this log were lost: whoever reads it was too slow"
            );
            told = lost;
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line {
            bytes: Vec::new(),
            lines: self,
        }
    }
}

/// A line that is being made. It is sent when it is dropped.
pub struct Line<'a> {
    bytes: Vec<u8>,
    lines: &'a Lines,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.bytes);
        if !line.is_empty() && self.lines.0.try_send(Message::Line(line)).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_nobody_writes_are_lost_and_counted() {
        let (sender, receiver) = sync_channel(2);
        let lines = Lines(sender);
        let before = lost();
        for number in 0..5 {
            write!(lines.make_writer(), "line {number}").unwrap();
        }
        assert_eq!(lost() - before, 3);
        // At the end nobody waits for ever.
        lines.finish();
        drop(lines);
        let mut out = Vec::new();
        super::write(&receiver, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "line 0line 1");
    }
}
