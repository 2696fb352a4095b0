//! Answers count in the memory that bodies may take, for as long as a client takes to fetch them.

use super::budget::{Budget, Claim, Peer};
use super::{App, refuse};
use crate::error::Error;
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::{Request, Response};
use axum::middleware::Next;
use bytes::Bytes;
use http_body_util::BodyExt;
use std::sync::Arc;

/// Of shorter answers, in bytes, as many as there may be connections are still nothing. Refusals are shorter.
const SHORT: u64 = 8 << 10;

/// Marks an answer whose bytes are in memory once, whoever asks for them.
#[derive(Clone, Copy)]
pub struct Shared;

/// Passes a request on, and counts its answer. One for which there is no memory is refused.
pub async fn count(
    State(app): State<Arc<App>>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    let uri = request.uri().clone();
    let peer = request.extensions().get::<Peer>().copied();
    let response = next.run(request).await;
    counted(response, &app.bodies, peer)
        .await
        .unwrap_or_else(|error| refuse(&uri, error))
}

async fn counted(
    response: Response<Body>,
    budget: &Budget,
    peer: Option<Peer>,
) -> Result<Response<Body>, Error> {
    let length = response.body().size_hint().lower();
    if length <= SHORT || response.extensions().get::<Shared>().is_some() {
        return Ok(response);
    }
    let mut claim = budget.claim(peer);
    claim.grow(length as usize)?;
    let (head, body) = response.into_parts();
    let Ok(whole) = body.collect().await else {
        // An answer is made in memory: there is nothing in it that could fail.
        return Ok(Response::from_parts(head, Body::empty()));
    };
    // The connection writes these very bytes, and lets go of them when they are written. The body itself it lets go of
    // when it has taken the bytes.
    let bytes = Bytes::from_owner(Counted {
        bytes: whole.to_bytes(),
        _claim: claim,
    });
    Ok(Response::from_parts(head, Body::from(bytes)))
}

struct Counted {
    bytes: Bytes,
    _claim: Claim,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(length: usize, budget: &Budget) -> Result<Bytes, Error> {
        let response = Response::new(Body::from(vec![7; length]));
        let body = counted(response, budget, None).await?.into_body();
        let bytes = body.collect().await.ok().unwrap().to_bytes();
        assert_eq!(bytes, vec![7; length]);
        Ok(bytes)
    }

    #[tokio::test]
    async fn answers_count_until_they_are_written() {
        let budget = Budget::new(1);
        let first = answer(700_000, &budget).await.ok().unwrap();
        let second = answer(700_000, &budget).await;
        assert!(matches!(second, Err(Error::BodiesFull)));
        answer(8 << 10, &budget).await.ok().unwrap();
        let part = first.slice(..1);
        drop(first);
        assert!(answer(700_000, &budget).await.is_err());
        drop(part);
        answer(700_000, &budget).await.ok().unwrap();
    }

    #[tokio::test]
    async fn what_is_there_once_does_not_count() {
        let budget = Budget::new(1);
        let mut response = Response::new(Body::from(Bytes::from_static(&[0; 2 << 20])));
        response.extensions_mut().insert(Shared);
        assert!(counted(response, &budget, None).await.is_ok());
    }
}
