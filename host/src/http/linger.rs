//! Refusing early without breaking off.
//!
//! A refusal that needs no body is sent before the body was read. Were the connection closed then, the kernel would
//! answer the rest of the body with a reset, and many a client would report a broken pipe and never see the refusal. So
//! what a handler leaves unread is read on and thrown away: no longer and no slower than a wanted body may be, and up to
//! some times its size.

use super::App;
use super::body::{Frame, Pace};
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::Request;
use axum::http::header::EXPECT;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Gives the handler a body that is read to its end, whoever drops it.
pub async fn read_on(
    State(app): State<Arc<App>>,
    mut request: Request<Body>,
    next: Next,
) -> Response {
    // A client that waits to be asked for its body has not sent it: it need only not be asked.
    if !request.headers().contains_key(EXPECT) && !request.body().is_end_stream() {
        request = request.map(|body| {
            Body::new(Lingering {
                body: Some(body),
                pace: Pace::start(app.limits()),
            })
        });
    }
    next.run(request).await
}

/// A body that is read on when it is dropped.
struct Lingering {
    /// None once there is nothing more to come.
    body: Option<Body>,
    pace: Pace,
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(context);
        match &polled {
            Poll::Ready(None | Some(Err(_))) => self.body = None,
            Poll::Ready(Some(Ok(frame))) => self.pace.received(frame),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body
            .as_ref()
            .map_or_else(Default::default, HttpBody::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        let mut pace = self.pace;
        // Outside of the runtime, at the process' end, nobody reads on.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            while let Ok(Some(Ok(frame))) =
                tokio::time::timeout_at(pace.latest(), body.frame()).await
            {
                pace.received(&frame);
                if pace.is_endless() {
                    return;
                }
            }
        });
    }
}
