//! The bytes of a body: base64, frames, decompression, and their bounds.

use std::io::{Read as _, Write as _};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes};
use flate2::read::GzEncoder;
use http_body::Body as _;
use ring::digest::{self, SHA256};

use super::base64::Base64;
use super::body::WireBody;
use super::compression::Compression;
use super::decompression::PREFIX_BYTES;
use super::frames::{Frames, Rules};

/// The largest message here. The service takes larger ones, by the same code.
const MAX_BYTES: usize = 64 * 1024;

/// What a body comes to: a hash of what goes on, its length, and the end.
type Outcome = (Vec<u8>, usize, Option<String>);

/// A letter that says what is expected (`s` one message, `m` many), one for the compression (`-`, `g`, `z`), one for the
/// encoding (`b` bytes, `t` base64), a digit for the size of pieces, and the body.
#[must_use]
pub fn bodies(input: &[u8]) -> bool {
    let Some((&[expected, compression, encoding, piece], body)) = input.split_first_chunk::<4>() else { return false };
    let is_single = match expected {
        b's' => true,
        b'm' => false,
        _ => return false,
    };
    let compression = match compression {
        b'-' => None,
        b'g' => Some(Compression::Gzip),
        b'z' => Some(Compression::Zstd),
        _ => return false,
    };
    let is_text = match encoding {
        b'b' => false,
        b't' => true,
        _ => return false,
    };
    let Some(piece) = char::from(piece).to_digit(10).and_then(|digit| usize::try_from(digit).ok()) else {
        return false;
    };
    let rules = Rules { is_single, compression, max_bytes: MAX_BYTES };
    let whole = read(body, body.len(), rules, is_text);
    let in_pieces = read(body, piece + 1, rules, is_text);
    assert_eq!(whole, in_pieces, "a body in pieces is another one");
    if let Some(compression) = compression
        && body.len() <= MAX_BYTES
    {
        comes_back(body, compression);
    }
    true
}

/// Reads a body to its end, and holds what goes on to the bounds.
fn read(body: &[u8], piece: usize, rules: Rules, is_text: bool) -> Outcome {
    let pieces: Vec<Bytes> = body.chunks(piece.max(1)).map(Bytes::copy_from_slice).collect();
    let base64 = is_text.then(Base64::default);
    let mut body = pin!(WireBody::new(Pieces(pieces.into_iter()), base64, Frames::new(rules)));
    let mut hash = digest::Context::new(&SHA256);
    let mut length = 0;
    let mut plain = Plain::default();
    let end = loop {
        match body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap_or_default();
                assert!(!data.is_empty(), "nothing goes on, and that as data");
                hash.update(&data);
                length += data.len();
                plain.follow(data);
            }
            Poll::Ready(Some(Err(status))) => break Some(status.message().to_owned()),
            Poll::Ready(None) => break None,
            Poll::Pending => unreachable!("nothing of the body is to come"),
        }
    };
    assert!(end.is_some() || plain.is_between(), "a body ends well in the middle of a message");
    assert!(!rules.is_single || plain.begun <= 1, "more than one message went on");
    (hash.finish().as_ref().to_vec(), length, end)
}

/// Follows what goes on, which is plain messages within the limit.
#[derive(Default)]
struct Plain {
    prefix: Vec<u8>,
    left: usize,
    begun: usize,
}

impl Plain {
    fn follow(&mut self, mut data: Bytes) {
        while !data.is_empty() {
            if self.left > 0 {
                let step = self.left.min(data.len());
                data.advance(step);
                self.left -= step;
                continue;
            }
            let step = (PREFIX_BYTES - self.prefix.len()).min(data.len());
            self.begun += usize::from(self.prefix.is_empty());
            self.prefix.extend_from_slice(&data.split_to(step));
            if let [flag, a, b, c, d] = *self.prefix.as_slice() {
                assert_eq!(flag, 0, "a message goes on compressed");
                self.left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                assert!(self.left <= MAX_BYTES, "a message of {} bytes goes on", self.left);
                self.prefix.clear();
            }
        }
    }

    const fn is_between(&self) -> bool {
        self.left == 0 && self.prefix.is_empty()
    }
}

/// A message that a client compresses is what it was.
fn comes_back(message: &[u8], compression: Compression) {
    let compressed = match compression {
        Compression::Gzip => {
            let mut compressed = Vec::new();
            let read = GzEncoder::new(message, flate2::Compression::fast()).read_to_end(&mut compressed);
            read.map(|_| compressed)
        }
        Compression::Zstd => {
            let mut encoder = match zstd::stream::write::Encoder::new(Vec::new(), 1) {
                Ok(encoder) => encoder,
                Err(error) => unreachable!("no encoder: {error}"),
            };
            encoder.write_all(message).and_then(|()| encoder.finish())
        }
    };
    let compressed = compressed.unwrap_or_default();
    let framed = frame(1, &compressed);
    let rules = Rules { is_single: true, compression: Some(compression), max_bytes: MAX_BYTES };
    let plain = Rules { compression: None, ..rules };
    let expected = frame(0, message);
    // What is compressed may be larger than what it was.
    if compressed.len() <= MAX_BYTES {
        let (read, expected) = (read(&framed, 100, rules, false), read(&expected, 100, plain, false));
        assert_eq!(read, expected, "a message is another one once it was compressed");
    }
}

fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[flag], length.to_be_bytes().as_slice(), message].concat()
}

/// A body that comes in pieces.
pub(crate) struct Pieces(pub(crate) std::vec::IntoIter<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, tonic::Status>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(http_body::Frame::data(piece))))
    }
}
