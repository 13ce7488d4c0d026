//! The body of a request that goes on only as far as its frames are right.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use tonic::{Code, Status};

use super::base64::Base64;
use super::breach::Breach;
use super::frames::Frames;

pin_project! {
    /// The body of a request. Its error is the status that the caller is told, which tonic hands on as it is.
    #[derive(Debug)]
    pub struct WireBody<B> {
        #[pin]
        inner: B,
        base64: Option<Base64>,
        frames: Frames,
        data: Bytes,
        is_done: bool,
    }
}

impl<B> WireBody<B> {
    /// A body whose bytes are in base64, if there is one, and whose messages are looked at by `frames`.
    pub(super) fn new(inner: B, base64: Option<Base64>, frames: Frames) -> Self {
        Self { inner, base64, frames, data: Bytes::new(), is_done: false }
    }
}

/// Whether a body may end here.
fn end(base64: Option<&Base64>, frames: &Frames) -> Result<(), Breach> {
    base64.map_or(Ok(()), Base64::end)?;
    frames.end()
}

impl<B: Body<Data = Bytes, Error = Status>> Body for WireBody<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let fail = |breach: Breach, is_done: &mut bool| {
            *is_done = true;
            Poll::Ready(Some(Err(breach.into())))
        };
        while !*this.is_done {
            match this.frames.next(this.data) {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => {}
                Err(breach) => return fail(breach, this.is_done),
            }
            if !this.data.is_empty() {
                continue;
            }
            if let Some(Err(breach)) = this.base64.as_ref().map(Base64::check) {
                return fail(breach, this.is_done);
            }
            let Some(frame) = ready!(this.inner.as_mut().poll_frame(cx)) else {
                if let Err(breach) = end(this.base64.as_ref(), this.frames) {
                    return fail(breach, this.is_done);
                }
                *this.is_done = true;
                break;
            };
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => {
                    *this.data = match this.base64 {
                        None => data,
                        Some(base64) => base64.decode(&data),
                    };
                }
                // Trailers end a body, too. tonic does not look whether a message is whole then.
                Ok(Err(trailers)) => match end(this.base64.as_ref(), this.frames) {
                    Ok(()) => return Poll::Ready(Some(Ok(trailers))),
                    Err(breach) => return fail(breach, this.is_done),
                },
                // The caller went away, and the server drops a call that waits then. tonic would take this for the end of
                // the body, and the missing message for a failure of ours.
                Err(status) if status.code() == Code::Cancelled && this.frames.is_single() => return Poll::Pending,
                Err(_) => return fail(Breach::BrokenOff, this.is_done),
            }
        }
        Poll::Ready(None)
    }

    /// A body that ends where it may not is told to have more: the error.
    fn is_end_stream(&self) -> bool {
        let may_end = || end(self.base64.as_ref(), &self.frames).is_ok();
        self.is_done || self.data.is_empty() && self.inner.is_end_stream() && may_end()
    }
}
