//! Requests that are answered before they are read.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;

/// How much of a request is read although nobody wants it: over HTTP/1.1 as much as a page may send, over HTTP/2 what is on its
/// way already.
pub(super) const MOST_OVER_HTTP1: usize = 16 * 1024 * 1024;
pub(super) const MOST_OVER_HTTP2: usize = 256 * 1024;
/// For how long it is read.
const MAX_TIME: Duration = Duration::from_secs(3);

/// The body of a request. What is left of it when nobody reads it any more is read and thrown away.
///
/// A refusal may come while the caller still sends. Over HTTP/1.1 the server would close the connection under it then, and
/// a browser reports that its request failed, instead of the answer. Over HTTP/2 the stream would be reset and soon be
/// forgotten, and a message that comes later counts as a breach: callers send it apart from its headers, so an honest one
/// that is refused often would lose its connection with all calls on it.
#[derive(Debug)]
pub(super) struct Lingering(Option<Body>, usize);

impl Lingering {
    /// A body of which so many bytes are read away at most.
    pub(super) const fn new(body: Body, most: usize) -> Self {
        Self(Some(body), most)
    }
}

impl http_body::Body for Lingering {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        // There is none only where no server is.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(read_away(body, self.1));
        }
    }
}

async fn read_away(mut body: Body, most: usize) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
            && read < most
        {
            read += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Whether it came to its end makes no difference: the connection is closed then.
    let _ = timeout(MAX_TIME, reading).await;
}
