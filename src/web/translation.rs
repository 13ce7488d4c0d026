//! gRPC-Web as the gRPC that it stands for.

use std::mem;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::TryFutureExt as _;
use futures_util::future::{Either, MapOk};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use tonic::body::Body;
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer as _, Service};

use crate::wire::{InBase64, media_type};

/// How the bytes of gRPC-Web are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As they are.
    Binary,
    /// In base64.
    Text,
}

impl Form {
    /// The form that a media type says, if it is one of gRPC-Web with protobuf.
    fn of(value: &[u8]) -> Option<Self> {
        match media_type(value).to_ascii_lowercase().as_slice() {
            b"application/grpc-web" | b"application/grpc-web+proto" => Some(Self::Binary),
            b"application/grpc-web-text" | b"application/grpc-web-text+proto" => Some(Self::Text),
            _ => None,
        }
    }

    /// The form of the answer: what the caller asks for, else that of its own bytes.
    fn of_answer(self, headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(ACCEPT).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        accepted.into_iter().find_map(Self::of).unwrap_or(self)
    }

    const fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Binary => "application/grpc-web+proto",
            Self::Text => "application/grpc-web-text+proto",
        })
    }
}

/// Turns calls of gRPC-Web into gRPC, and their answers back. Other calls pass.
#[derive(Clone, Debug)]
pub(crate) struct Translation<S>(pub(super) S);

impl<S, B> Service<Request<Body>> for Translation<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    B: http_body::Body<Data = Bytes, Error = tonic::Status> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<tonic_web::ResponseFuture<S::Future>, MapOk<S::Future, fn(Response<B>) -> Response<Body>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let content_type = request.headers().get(CONTENT_TYPE);
        let Some(form) = content_type.and_then(|value| Form::of(value.as_bytes())) else {
            return Either::Right(self.0.call(request).map_ok(|answer| answer.map(Body::new)));
        };
        let answer_form = form.of_answer(request.headers());
        // tonic-web knows these types in one spelling. It decodes base64 as well, but calls what is wrong with it an
        // internal error, so the bytes pass it as they are, and the wire decodes them.
        request.headers_mut().insert(CONTENT_TYPE, Form::Binary.media_type());
        request.headers_mut().insert(ACCEPT, answer_form.media_type());
        if form == Form::Text {
            request.extensions_mut().insert(InBase64);
        }
        // What gRPC needs HTTP/2 for, the trailers of the answer, is in its body here.
        *request.version_mut() = Version::HTTP_2;
        // The service that was found ready is the one to call.
        let next = self.0.clone();
        let mut web: GrpcWebService<S> = GrpcWebLayer::new().layer(mem::replace(&mut self.0, next));
        Either::Left(web.call(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_an_answer_is_what_the_caller_accepts_else_its_own() {
        let answer = |form: Form, accept: &'static str| {
            form.of_answer(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]))
        };
        for form in [Form::Binary, Form::Text] {
            assert_eq!(form.of_answer(&HeaderMap::new()), form);
            assert_eq!(answer(form, "*/*"), form);
            assert_eq!(answer(form, "application/grpc-web-text"), Form::Text);
            assert_eq!(answer(form, "text/html, Application/gRPC-Web+proto;q=0.9, */*"), Form::Binary);
        }
    }

    #[test]
    fn only_what_the_essence_of_a_content_type_says_is_grpc_web() {
        assert_eq!(Form::of(b"application/grpc-web; charset=utf-8"), Some(Form::Binary));
        assert_eq!(Form::of(b"Application/gRPC-Web-Text+Proto"), Some(Form::Text));
        // A page may send the first of these without asking whether it may.
        for other in ["text/plain; application/grpc-web", "application/grpc-web+json", "application/grpc", ""] {
            assert_eq!(Form::of(other.as_bytes()), None, "{other}");
        }
    }
}
