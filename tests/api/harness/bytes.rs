//! Messages as bytes, and calls with them, for requests that are made of descriptors.

use futures_util::StreamExt as _;
use goldbook::proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

/// Sends and gets messages as bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = bytes::Buf::remaining(buffer);
        Ok(Some(bytes::Buf::copy_to_bytes(buffer, length).to_vec()))
    }
}

/// The methods of the interface.
pub(crate) fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let ours = pool.services().filter(|service| service.package_name() == "goldbook.v1");
    ours.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// Sends bytes as the request of a method; the answer, of a stream its first one.
pub(crate) async fn call_method(
    channel: &Channel,
    method: &MethodDescriptor,
    request: Request<Vec<u8>>,
) -> Result<Vec<u8>, Status> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name()).parse().unwrap();
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    if method.is_client_streaming() {
        let request = request.map(tokio_stream::once);
        let answer = client.streaming(request, path, Bytes).await?.into_inner().message().await?;
        let answer = answer.expect("an answer to the item");
        return item_error(&answer).map_or(Ok(answer), Err);
    }
    if method.is_server_streaming() {
        let mut answers = client.server_streaming(request, path, Bytes).await?.into_inner();
        let first = answers.message().await?.unwrap_or_default();
        while answers.next().await.transpose()?.is_some() {}
        return Ok(first);
    }
    client.unary(request, path, Bytes).await.map(tonic::Response::into_inner)
}

/// The error in the answer to an item: the field 3 of all such answers is a `google.rpc.Status`.
fn item_error(answer: &[u8]) -> Option<Status> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Answer {
        #[prost(message, optional, tag = "3")]
        error: Option<goldbook::proto::google::Status>,
    }
    let error = Answer::decode(answer).unwrap().error?;
    Some(Status::with_details(error.code.into(), error.message.clone(), error.encode_to_vec().into()))
}
