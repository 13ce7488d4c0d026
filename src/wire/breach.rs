//! What can be wrong with the bytes of a call, and what the caller is told.

use http::StatusCode;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use super::compression::Compression;

/// What a call breaks before it is a message: a rule of gRPC, or a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Breach {
    #[error(
        "the content-type must be application/grpc, application/grpc-web or application/grpc-web-text, \
         each with or without +proto"
    )]
    ContentType,
    #[error("gRPC needs HTTP/2; over HTTP/1.1 there is gRPC-Web")]
    HttpVersion,
    #[error("there is no method {0}")]
    Method(String),
    #[error("grpc-timeout must be 1 to 8 digits and one of H, M, S, m, u and n")]
    Timeout,
    #[error("the grpc-encoding {0} is not supported; identity, gzip and zstd are")]
    Encoding(String),
    #[error("one message expected, and the body is empty")]
    NoMessage,
    #[error("one message expected, and the body has another one after it")]
    AnotherMessage,
    #[error("the body ends in the middle of a message")]
    Truncated,
    #[error("the body is not base64, as its content-type says")]
    Base64,
    #[error("the body broke off")]
    BrokenOff,
    #[error("a message has the compression flag {0}; only 0 and 1 are valid")]
    Flag(u8),
    #[error("a message is flagged as compressed, and no grpc-encoding says how")]
    FlagWithoutEncoding,
    #[error("a message is larger than the limit of {max_bytes} bytes")]
    TooLarge { max_bytes: usize },
    #[error("a message is larger than the limit of {max_bytes} bytes when it is decompressed")]
    GrowsTooLarge { max_bytes: usize },
    #[error("a message cannot be decompressed with {0}")]
    Undecodable(Compression),
}

impl Breach {
    /// Never `INTERNAL`, which is what gRPC asks for where a message is flagged as compressed without an encoding: it is
    /// the caller's doing.
    const fn code(&self) -> Code {
        match self {
            Self::ContentType
            | Self::HttpVersion
            | Self::Base64
            | Self::Timeout
            | Self::NoMessage
            | Self::AnotherMessage
            | Self::Truncated
            | Self::BrokenOff
            | Self::Flag(_)
            | Self::FlagWithoutEncoding
            | Self::Undecodable(_) => Code::InvalidArgument,
            Self::Method(_) | Self::Encoding(_) => Code::Unimplemented,
            Self::TooLarge { .. } | Self::GrowsTooLarge { .. } => Code::ResourceExhausted,
        }
    }

    /// The whole answer to a call that is refused for its headers.
    pub(super) fn into_response<B: Default>(self) -> http::Response<B> {
        // Whoever does not speak gRPC reads no status but that of HTTP.
        let http_status = if self == Self::ContentType {
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        } else if self == Self::HttpVersion {
            StatusCode::HTTP_VERSION_NOT_SUPPORTED
        } else {
            StatusCode::OK
        };
        let mut response = Status::from(self).into_http();
        *response.status_mut() = http_status;
        response
    }
}

impl From<Breach> for Status {
    fn from(breach: Breach) -> Self {
        let mut status = Self::new(breach.code(), breach.to_string());
        if matches!(breach, Breach::Encoding(_)) {
            status.metadata_mut().insert("grpc-accept-encoding", MetadataValue::from_static("identity,gzip,zstd"));
        }
        status
    }
}
