//! The servers of all services, put together as one set of routes, and what becomes of a request before a service sees
//! it.

mod elements;

use std::marker::PhantomData;

use prost::bytes::Buf as _;
use prost::{Message, Name};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, CompressionEncoding, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

pub use elements::MAX_ELEMENTS;

/// What holds for the messages of every service.
#[derive(Clone, Copy, Debug)]
pub struct MessageRules {
    /// The largest message that is taken, in bytes.
    pub max_bytes: usize,
    /// The compressions that answers are sent in, where the caller takes them. Requests come to the servers decompressed.
    pub compressions: &'static [CompressionEncoding],
}

/// A request as it came. It may not be a message of its type, and nobody has asked yet whether the caller may send it.
#[derive(Clone, Debug)]
pub struct Received<T>(Result<T, prost::DecodeError>);

impl<T> Received<T> {
    /// Looks at the message, if it is one, before it is read.
    pub fn peek(&self) -> Option<&T> {
        self.0.as_ref().ok()
    }

    /// Reads the message.
    ///
    /// # Errors
    /// Why the bytes that came are no message of this type.
    pub fn read(self) -> Result<T, prost::DecodeError> {
        self.0
    }
}

/// The codec of the servers: prost's, but that bytes which are no message are an item of a stream like any other, so that
/// they do not end it.
#[derive(Debug)]
pub struct ServerCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for ServerCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for ServerCodec<T, Received<U>>
where
    T: Message + Send + 'static,
    U: Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = Received<U>;
    type Encoder = ProstEncoder<T>;
    type Decoder = RequestDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        RequestDecoder(PhantomData)
    }
}

/// Decodes requests of up to [`MAX_ELEMENTS`] elements. A larger one fails the call or the stream, as one of too many
/// bytes does.
#[derive(Debug)]
pub struct RequestDecoder<T>(PhantomData<T>);

impl<T: Name + Default> Decoder for RequestDecoder<T> {
    type Item = Received<T>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        // All of it is taken: the rest of bytes that are no message must not be taken for the beginning of the next one.
        let message = buffer.copy_to_bytes(buffer.remaining());
        elements::check::<T>(&message)?;
        Ok(Some(Received(T::decode(message))))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

/// The generated servers: for each service, a trait with its methods.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, clippy::restriction)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/servers.rs"));
}

pub use generated::*;

include!(concat!(env!("OUT_DIR"), "/implementations.rs"));
