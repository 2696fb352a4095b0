//! Clients that do not take their answers.
//!
//! What a client does not read stays in buffers, and its connection in the place that it has. A connection whose answer waits to
//! be taken for too long, or is taken too slowly, is closed; sooner where others wait for a place.

use super::bare;
use super::places::Places;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// An answer is not called slow before this much time: a stalled network is no attack.
const FIRST: Duration = Duration::from_secs(5);

/// The same where others wait for a place.
const FIRST_IN_NEED: Duration = Duration::from_secs(1);

/// How slowly answers may be taken.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long an answer may wait in full buffers.
    pub timeout: Duration,
    /// Bytes a second, on average, after the first seconds. 0: any.
    pub min_rate: u64,
}

/// A client's stream that is closed when what is written to it is not taken.
pub struct Drained {
    stream: TokioIo<TcpStream>,
    limits: Limits,
    places: Arc<Places>,
    /// What is to be written in the place of something shorter.
    instead: VecDeque<u8>,
    /// None while nothing waits to be taken.
    blocked: Option<Blocked>,
}

/// Something waits to be taken.
struct Blocked {
    since: Instant,
    /// Bytes that were taken since.
    taken: u64,
    timer: Pin<Box<Sleep>>,
}

impl Drained {
    /// Watches a client's stream.
    pub fn new(stream: TcpStream, limits: Limits, places: Arc<Places>) -> Self {
        Self {
            stream: TokioIo::new(stream),
            limits,
            places,
            instead: VecDeque::new(),
            blocked: None,
        }
    }

    /// When the connection is to be closed unless more is taken.
    fn latest(&self, since: Instant, taken: u64) -> Instant {
        let first = if self.places.are_taken() {
            FIRST_IN_NEED
        } else {
            FIRST
        };
        let end = since + self.limits.timeout;
        match taken.saturating_mul(1000).checked_div(self.limits.min_rate) {
            Some(earned) => end.min(since + first + Duration::from_millis(earned)),
            None => end,
        }
    }

    /// Keeps the time of a write that came to this.
    fn note(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<Result<usize>>,
    ) -> Poll<Result<usize>> {
        match result {
            Poll::Ready(Ok(taken)) => {
                if let Some(blocked) = &mut self.blocked {
                    blocked.taken += taken as u64;
                }
                result
            }
            Poll::Ready(Err(_)) => result,
            Poll::Pending => self.wait(context).map(Err),
        }
    }

    /// Writes what is to be written in the place of something shorter.
    fn write_instead(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.instead.is_empty() {
            let (bytes, _) = self.instead.as_slices();
            let result = Pin::new(&mut self.stream).poll_write(context, bytes);
            match ready!(self.note(context, result))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                written => drop(self.instead.drain(..written)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits, with an end.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        let now = Instant::now();
        let (since, taken) = self
            .blocked
            .as_ref()
            .map_or((now, 0), |blocked| (blocked.since, blocked.taken));
        let latest = self.latest(since, taken);
        if latest <= now {
            self.places.count_closed();
            return Poll::Ready(Error::new(
                ErrorKind::TimedOut,
                "the client does not take its answer",
            ));
        }
        // Looked at again soon: others may come to wait for a place.
        let next = latest.min(now + FIRST_IN_NEED);
        let blocked = self.blocked.get_or_insert_with(|| Blocked {
            since,
            taken,
            timer: Box::pin(sleep_until(next)),
        });
        blocked.timer.as_mut().reset(next);
        match blocked.timer.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl Read for Drained {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Drained {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        ready!(self.write_instead(context))?;
        if let Some(instead) = bare::with_body(bytes) {
            self.instead = instead.into();
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        ready!(self.write_instead(context))?;
        if let [only] = parts
            && let Some(instead) = bare::with_body(only)
        {
            self.instead = instead.into();
            return Poll::Ready(Ok(only.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.note(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.write_instead(context))?;
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        // All that there was to write is on its way.
        self.blocked = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.write_instead(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
