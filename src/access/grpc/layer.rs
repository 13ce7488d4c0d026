//! The layer before all handlers: it finds out who calls, and lets nobody through who may not call the method at all.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{BoxFuture, Either, ready};
use http::{Request, Response};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::authentication::{Authentication, read_bearer};
use super::caller::Caller;
use super::methods::METHODS;
use super::recognized::{Known, Recognized};
use crate::access::allowance::CallPlace;
use crate::access::key::KEY_BEGIN;
use crate::access::method::Method;
use crate::access::permission::{may_call, refuse};
use crate::error::{Error, Reason};
use crate::listener::PeerNames;
use crate::telemetry::metrics::{self, Credential};

/// Finds out who calls each method of the interface. What is not of it, such as health, is open.
#[derive(Clone, Debug)]
pub(crate) struct AccessLayer {
    authentication: Authentication,
    methods: Arc<HashMap<&'static str, &'static Method>>,
}

impl AccessLayer {
    /// A layer that lets through whom `authentication` knows.
    #[must_use]
    pub(crate) fn new(authentication: Authentication) -> Self {
        Self { authentication, methods: Arc::new(METHODS.iter().map(|method| (method.path, method)).collect()) }
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = AccessService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AccessService { inner, layer: self.clone() }
    }
}

/// What [`AccessLayer`] makes of a service.
#[derive(Clone, Debug)]
pub(crate) struct AccessService<S> {
    inner: S,
    layer: AccessLayer,
}

impl AccessLayer {
    /// Lets a caller through to a method, unless they may not call it at all, or have reached a limit.
    fn let_in(&self, method: &Method, known: Known) -> Result<(Caller, CallPlace), Error> {
        let Known { principal, proof } = known;
        if !may_call(&principal, method) {
            return Err(refuse(method).into());
        }
        let place = self.authentication.allowance_of(&principal).begin(method.kind)?;
        Ok((Caller { principal, proof, authentication: self.authentication.clone(), deadline: None }, place))
    }
}

/// What a request carries to prove who calls.
fn credential_of<B>(request: &Request<B>) -> Credential {
    let has_names = |names: &PeerNames| names.iter().next().is_some();
    match read_bearer(request.headers()) {
        Ok(Some(credential)) if credential.starts_with(KEY_BEGIN) => Credential::ApiKey,
        Ok(Some(_)) | Err(_) => Credential::Token,
        Ok(None) if request.extensions().get().is_some_and(has_names) => Credential::Certificate,
        Ok(None) => Credential::None,
    }
}

/// Counts that nobody proved who calls, if so.
fn count_failure<B>(recognized: &Result<Known, Error>, request: &Request<B>) {
    if let Err(Error::Refused(refusal)) = recognized
        && refusal.reason == Reason::NotAuthenticated
    {
        metrics::count_authentication_failure(credential_of(request));
    }
}

/// Calls a service. The place among the calls under way is held until the answer has ended.
async fn call_in_place<S>(inner: &mut S, request: Request<Body>, place: CallPlace) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    let response = inner.call(request).await?;
    Ok(match place {
        Some(place) => response.map(|body| Body::new(HeldBody { body, _place: place })),
        None => response,
    })
}

/// The body of an answer whose call has a place.
struct HeldBody {
    body: Body,
    _place: OwnedSemaphorePermit,
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

impl<S> Service<Request<Body>> for AccessService<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Error: Send,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<Self::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let Some(method) = self.layer.methods.get(request.uri().path()).copied() else {
            return Either::Left(self.inner.call(request));
        };
        // The service that was found ready is the one to call.
        let take_inner = |own: &mut S| {
            let ready = own.clone();
            std::mem::replace(own, ready)
        };
        match self.layer.authentication.recognize(&request) {
            Recognized::Now(recognized) => {
                count_failure(&recognized, &request);
                match recognized.and_then(|known| self.layer.let_in(method, known)) {
                    Ok((caller, None)) => {
                        request.extensions_mut().insert(caller);
                        Either::Left(self.inner.call(request))
                    }
                    Ok((caller, place)) => {
                        request.extensions_mut().insert(caller);
                        let mut inner = take_inner(&mut self.inner);
                        Either::Right(Box::pin(async move { call_in_place(&mut inner, request, place).await }))
                    }
                    Err(error) => Either::Right(Box::pin(ready(Ok(Status::from(error).into_http())))),
                }
            }
            Recognized::Later(recognizing) => {
                let layer = self.layer.clone();
                let mut inner = take_inner(&mut self.inner);
                Either::Right(Box::pin(async move {
                    let recognized = recognizing.await;
                    count_failure(&recognized, &request);
                    match recognized.and_then(|known| layer.let_in(method, known)) {
                        Ok((caller, place)) => {
                            request.extensions_mut().insert(caller);
                            call_in_place(&mut inner, request, place).await
                        }
                        Err(error) => Ok(Status::from(error).into_http()),
                    }
                }))
            }
        }
    }
}
