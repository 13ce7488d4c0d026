//! The layer that looks at a call before it is taken for one.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response, Version};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::base64::{Base64, InBase64};
use super::body::WireBody;
use super::breach::Breach;
use super::frames::{Frames, Rules};
use super::headers::{check_timeout, is_grpc, shorten, take_compression};
use super::methods::Methods;

/// Refuses calls whose bytes break the rules of gRPC or a limit, and tells why.
#[derive(Clone, Debug)]
pub struct WireLayer {
    methods: Methods,
    max_bytes: usize,
}

impl WireLayer {
    /// A layer that knows these methods, and takes messages of up to `max_bytes`, decompressed or not.
    #[must_use]
    pub const fn new(methods: Methods, max_bytes: usize) -> Self {
        Self { methods, max_bytes }
    }

    /// What holds for the body of this call, if it is to be read at all.
    fn admit(&self, head: &mut Parts) -> Result<Rules, Breach> {
        if !is_grpc(&head.headers) {
            return Err(Breach::ContentType);
        }
        if head.version < Version::HTTP_2 {
            return Err(Breach::HttpVersion);
        }
        let path = head.uri.path();
        let Some(method) = self.methods.find(path) else { return Err(Breach::Method(shorten(path.as_bytes()))) };
        check_timeout(&head.headers)?;
        let compression = take_compression(&mut head.headers)?;
        Ok(Rules { is_single: !method.takes_stream, compression, max_bytes: self.max_bytes })
    }
}

impl<S> Layer<S> for WireLayer {
    type Service = WireService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WireService { inner, layer: self.clone() }
    }
}

/// What [`WireLayer`] makes of a service.
#[derive(Clone, Debug)]
pub struct WireService<S> {
    inner: S,
    layer: WireLayer,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for WireService<S>
where
    S: Service<Request<WireBody<RequestBody>>, Response = Response<ResponseBody>>,
    ResponseBody: Default,
{
    type Response = Response<ResponseBody>;
    type Error = S::Error;
    type Future = WireFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        match self.layer.admit(&mut head) {
            Ok(rules) => {
                let base64 = head.extensions.remove::<InBase64>().map(|InBase64| Base64::default());
                let request = Request::from_parts(head, WireBody::new(body, base64, Frames::new(rules)));
                WireFuture { inner: Some(self.inner.call(request)), breach: None }
            }
            Err(breach) => WireFuture { inner: None, breach: Some(breach) },
        }
    }
}

pin_project! {
    /// The answer to come: the service's, or the refusal.
    pub struct WireFuture<F> {
        #[pin]
        inner: Option<F>,
        breach: Option<Breach>,
    }
}

impl<F, B, E> Future for WireFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(inner) = this.inner.as_pin_mut() {
            return inner.poll(cx);
        }
        match this.breach.take() {
            Some(breach) => Poll::Ready(Ok(breach.into_response())),
            // Only if somebody polls again after the answer.
            None => Poll::Pending,
        }
    }
}
