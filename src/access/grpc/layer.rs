//! The layer before all handlers: it finds out who calls, and lets nobody through who may not call the method at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, Either, ready};
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::authentication::Authentication;
use super::caller::Caller;
use super::methods::METHODS;
use super::recognized::Recognized;
use crate::access::method::Method;
use crate::access::permission::{may_call, refuse};
use crate::access::principal::Principal;
use crate::error::Error;

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
    /// Lets a principal through to a method, unless they may not call it at all.
    fn let_in(&self, method: &Method, principal: Arc<Principal>) -> Result<Caller, Error> {
        if !may_call(&principal, method) {
            return Err(refuse(method).into());
        }
        let allowance = self.authentication.allowance_of(&principal);
        let place = allowance.begin(method.kind)?;
        Ok(Caller { principal, authentication: self.authentication.clone(), deadline: None, _place: place })
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
        match self.layer.authentication.recognize(&request) {
            Recognized::Now(recognized) => {
                match recognized.and_then(|principal| self.layer.let_in(method, principal)) {
                    Ok(caller) => {
                        request.extensions_mut().insert(caller);
                        Either::Left(self.inner.call(request))
                    }
                    Err(error) => Either::Right(Box::pin(ready(Ok(Status::from(error).into_http())))),
                }
            }
            Recognized::Later(recognizing) => {
                let layer = self.layer.clone();
                // The service that was found ready is the one to call.
                let ready = self.inner.clone();
                let mut inner = std::mem::replace(&mut self.inner, ready);
                Either::Right(Box::pin(async move {
                    match recognizing.await.and_then(|principal| layer.let_in(method, principal)) {
                        Ok(caller) => {
                            request.extensions_mut().insert(caller);
                            inner.call(request).await
                        }
                        Err(error) => Ok(Status::from(error).into_http()),
                    }
                }))
            }
        }
    }
}
