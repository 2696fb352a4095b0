//! Connections: how many, how slow, how they end.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// What connections may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many are open at the same time; further ones wait to be accepted.
    pub connections: u32,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// For a request's head to arrive, and for a connection to idle.
    pub header_timeout: Duration,
}

/// Accepts and serves connections until `ended` turns true, then lets the requests in flight finish.
pub async fn accept(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut ended: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.connections as usize));
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            _ = ended.changed() => break,
            place = places.clone().acquire_owned() => place,
        };
        let accepted = tokio::select! {
            _ = ended.changed() => break,
            accepted = listener.accept() => accepted,
            // Collects connections that have ended.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serve(stream, router.clone(), limits, ended.clone());
                connections.spawn(async move {
                    let _place = place;
                    connection.await;
                });
            }
            Err(error) => {
                // Out of file handles, most likely: a pause lets connections end, where a loop would only burn.
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    // Connections that the kernel has taken already belong to us: they are served, and then closed.
    let poll = Duration::ZERO;
    while let Ok(Ok((stream, _))) = tokio::time::timeout(poll, listener.accept()).await {
        connections.spawn(serve(stream, router.clone(), limits, ended.clone()));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    mut ended: watch::Receiver<bool>,
) {
    // Answers are small and whole: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let mut connection = pin!(
        http1::Builder::new()
            // Without a timer, hyper silently has no header timeout.
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.header_bytes)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
    );
    let finished = tokio::select! {
        result = connection.as_mut() => Some(result),
        () = turns_true(&mut ended) => None,
    };
    let result = match finished {
        Some(result) => result,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("a connection broke off: {error}");
    }
}

/// Waits until the value is true, or can never be.
async fn turns_true(value: &mut watch::Receiver<bool>) {
    // The borrow that this returns must not be held while anything waits.
    let _ = value.wait_for(|value| *value).await;
}
