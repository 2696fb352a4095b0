//! Connections: how many, how slow, how they end.

use super::budget::Peer;
use super::drain::{self, Drained};
use super::places::{Place, Places};
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What connections may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// For a request's head to arrive, and for a connection to idle.
    pub header_timeout: Duration,
    /// How slowly answers may be taken.
    pub answers: drain::Limits,
}

/// What answers on connections.
#[derive(Clone)]
pub struct Routers {
    /// Everything.
    pub all: Router,
    /// On the places that are kept: health and metrics.
    pub kept: Router,
}

/// Accepts and serves connections until `ended` turns true, then lets the requests in flight finish.
pub async fn accept(
    listener: TcpListener,
    routers: Routers,
    limits: Limits,
    places: Arc<Places>,
    mut ended: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            _ = ended.changed() => break,
            place = places.next() => place,
            // Collects connections that have ended.
            Some(_) = connections.join_next() => continue,
        };
        let accepted = tokio::select! {
            _ = ended.changed() => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, address)) => {
                let place = places.better(place);
                let router = match place {
                    Place::Any(_) => routers.all.clone(),
                    Place::Kept(_) => routers.kept.clone(),
                };
                let answering = Answering::new(router, address);
                let connection = serve(stream, answering, limits, places.clone(), ended.clone());
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
    while let Ok(Ok((stream, address))) = tokio::time::timeout(poll, listener.accept()).await {
        let answering = Answering::new(routers.all.clone(), address);
        connections.spawn(serve(
            stream,
            answering,
            limits,
            places.clone(),
            ended.clone(),
        ));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Answers the requests of one connection, and has them say where they come from.
struct Answering {
    router: TowerToHyperService<Router>,
    peer: Peer,
}

impl Answering {
    fn new(router: Router, address: SocketAddr) -> Self {
        Self {
            router: TowerToHyperService::new(router),
            peer: Peer::of(address),
        }
    }
}

impl Service<Request<Incoming>> for Answering {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        self.router.call(request)
    }
}

async fn serve(
    stream: TcpStream,
    answering: Answering,
    limits: Limits,
    places: Arc<Places>,
    mut ended: watch::Receiver<bool>,
) {
    // Answers are small and whole: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let stream = Drained::new(stream, limits.answers, places);
    let mut connection = pin!(
        http1::Builder::new()
            // Without a timer, hyper silently has no header timeout.
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.header_bytes)
            .serve_connection(stream, answering)
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
