//! Reading a request's body: as long as allowed, as slowly as allowed, within what all bodies together may take.

use super::Limits;
use super::budget::{Budget, Claim, Peer};
use crate::error::Error;
use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A body is not called slow before this much time: a slow start is no attack.
const FIRST: Duration = Duration::from_secs(1);

/// Where memory for bodies is short, a body must arrive so many times as fast.
const IN_NEED: u64 = 64;

/// So many times the limit is read on after a refusal, and then the connection breaks.
const ENDLESS: usize = 4;

/// A body that was read whole. Its memory counts for as long as this lives.
pub struct Held {
    /// The body.
    pub bytes: Bytes,
    _claim: Claim,
}

/// Reads a body whole, which comes from there.
pub async fn read(
    mut body: Body,
    limits: &Limits,
    budget: &Budget,
    peer: Option<Peer>,
) -> Result<Held, Error> {
    let too_large = || Error::BodyTooLarge {
        limit: limits.body_bytes,
    };
    let hint = body.size_hint();
    // A declared length is refused before a byte of it is read; but what is only declared takes no memory from anybody.
    if hint.lower() > limits.body_bytes as u64 {
        return Err(too_large());
    }
    let mut claim = budget.claim(peer);
    let mut bytes = BytesMut::new();
    let mut pace = Pace::start(limits);
    loop {
        // Where memory is short, who is slow holds it for too long.
        pace.in_need = budget.is_short();
        let frame = match timeout_at(pace.latest(), body.frame()).await {
            Err(_) => return Err(Error::SlowBody),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Error::BrokenBody),
            Ok(Some(Ok(frame))) => frame,
        };
        pace.received(&frame);
        // Trailers are of no interest.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > limits.body_bytes {
            return Err(too_large());
        }
        let held = claim.bytes();
        if bytes.len() + data.len() > held {
            // In steps that double, so that the budget is asked rarely, up to what was declared.
            let needed = bytes.len() + data.len();
            let declared = usize::try_from(hint.upper().unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
            let whole = (held * 2).min(declared).max(needed);
            claim.grow(whole - held)?;
            bytes.reserve(whole - bytes.len());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Held {
        bytes: bytes.freeze(),
        _claim: claim,
    })
}

/// A piece of a body.
pub type Frame = hyper::body::Frame<Bytes>;

/// How long a body takes, and how much it is.
#[derive(Clone, Copy)]
pub struct Pace {
    start: Instant,
    received: usize,
    limits: Limits,
    /// Whether memory for bodies is short.
    in_need: bool,
}

impl Pace {
    /// The body begins now.
    pub fn start(limits: &Limits) -> Self {
        Self {
            start: Instant::now(),
            received: 0,
            limits: *limits,
            in_need: false,
        }
    }

    /// Counts what has come.
    pub fn received(&mut self, frame: &Frame) {
        self.received += frame.data_ref().map_or(0, Bytes::len);
    }

    /// Whether so much more has come than a body may have that nobody needs to listen any longer.
    pub fn is_endless(&self) -> bool {
        self.received / ENDLESS > self.limits.body_bytes
    }

    /// When the next bytes must have come: before the body's end time, and before the average falls under the least
    /// rate.
    pub fn latest(&self) -> Instant {
        let end = self.start + self.limits.body_timeout;
        let need = if self.in_need { IN_NEED } else { 1 };
        let rate = self.limits.min_body_rate.saturating_mul(need);
        match (self.received as u64 * 1000).checked_div(rate) {
            Some(earned) => end.min(self.start + FIRST + Duration::from_millis(earned)),
            None => end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            body_bytes: 10_000,
            bodies_mib: 1,
            body_timeout: Duration::from_secs(30),
            min_body_rate: 1000,
            batch: 32,
        }
    }

    #[test]
    fn a_slow_body_runs_out_of_time() {
        let after = |received, limits: &Limits| {
            let pace = Pace {
                received,
                ..Pace::start(limits)
            };
            pace.latest() - pace.start
        };
        assert_eq!(after(0, &limits()), FIRST);
        assert_eq!(after(5000, &limits()), FIRST + Duration::from_secs(5));
        assert_eq!(after(900_000, &limits()), limits().body_timeout);
        let pace = Pace {
            received: 5000,
            in_need: true,
            ..Pace::start(&limits())
        };
        let earned = Duration::from_millis(5000 / IN_NEED);
        assert_eq!(pace.latest() - pace.start, FIRST + earned);
        let any = Limits {
            min_body_rate: 0,
            ..limits()
        };
        assert_eq!(after(0, &any), any.body_timeout);
    }

    #[tokio::test]
    async fn a_body_is_bounded_with_and_without_a_declared_length() {
        let budget = Budget::new(1);
        let limits = limits();
        let read = |body| read(body, &limits, &budget, None);
        assert_eq!(
            read(Body::from(vec![7; 10_000]))
                .await
                .ok()
                .unwrap()
                .bytes
                .len(),
            10_000
        );
        assert!(matches!(
            read(Body::from(vec![7; 10_001])).await,
            Err(Error::BodyTooLarge { .. })
        ));
        assert_eq!(
            read(undeclared(10_000)).await.ok().unwrap().bytes.len(),
            10_000
        );
        assert!(matches!(
            read(undeclared(10_001)).await,
            Err(Error::BodyTooLarge { .. })
        ));
    }

    #[tokio::test]
    async fn all_bodies_together_are_bounded() {
        let budget = Budget::new(1);
        let limits = Limits {
            body_bytes: 1 << 20,
            ..limits()
        };
        let first = read(undeclared(700_000), &limits, &budget, None)
            .await
            .ok()
            .unwrap();
        assert!(matches!(
            read(Body::from(vec![7; 700_000]), &limits, &budget, None).await,
            Err(Error::BodiesFull)
        ));
        assert!(matches!(
            read(undeclared(700_000), &limits, &budget, None).await,
            Err(Error::BodiesFull)
        ));
        drop(first);
        assert!(
            read(Body::from(vec![7; 700_000]), &limits, &budget, None)
                .await
                .is_ok()
        );
    }

    /// A body whose length is not known beforehand, as a chunked one's.
    fn undeclared(length: usize) -> Body {
        struct Chunks(usize);
        impl HttpBody for Chunks {
            type Data = Bytes;
            type Error = std::convert::Infallible;
            fn poll_frame(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>>
            {
                let chunk = self.0.min(1000);
                self.0 -= chunk;
                std::task::Poll::Ready(
                    (chunk > 0).then(|| Ok(hyper::body::Frame::data(Bytes::from(vec![1; chunk])))),
                )
            }
        }
        Body::new(Chunks(length))
    }
}
