//! Compressed messages made whole, up to a limit.

use std::io::{self, Read as _};

use bytes::Bytes;
use flate2::bufread::GzDecoder;

use super::breach::Breach;
use super::compression::Compression;

/// The flag and the length before each message.
pub(super) const PREFIX_BYTES: usize = 5;
/// How far back a message compressed with zstd may refer: 2^23 bytes, which RFC 9659 lets HTTP count on. The window is
/// taken before the first byte is read, so a few bytes could ask for 128 MiB otherwise.
const MAX_WINDOW_LOG: u32 = 23;
/// How many members of gzip or frames of zstd one message may have; clients send one.
const MAX_PARTS: usize = 16;
/// How each frame of zstd begins (RFC 8878).
const ZSTD_MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

/// Decompresses a message and puts the prefix of a plain one before it. It stops where the message passes `max_bytes`.
pub(super) fn decompress(compression: Compression, compressed: &[u8], max_bytes: usize) -> Result<Bytes, Breach> {
    let mut framed = Vec::with_capacity(PREFIX_BYTES + max_bytes.min(compressed.len().saturating_mul(2)));
    framed.resize(PREFIX_BYTES, 0);
    let decompressed = match compression {
        Compression::Gzip => read_gzip(max_bytes, compressed, &mut framed),
        Compression::Zstd => read_zstd(max_bytes, compressed, &mut framed),
    };
    let Ok(length) = decompressed else { return Err(Breach::Undecodable(compression)) };
    match (u32::try_from(length), framed.get_mut(1..PREFIX_BYTES)) {
        (Ok(told), Some(prefix)) if length <= max_bytes => prefix.copy_from_slice(&told.to_be_bytes()),
        _ => return Err(Breach::GrowsTooLarge { max_bytes }),
    }
    Ok(framed.into())
}

/// Reads a message of one or more members of gzip, of which each takes work even if it is empty.
fn read_gzip(max_bytes: usize, compressed: &[u8], message: &mut Vec<u8>) -> io::Result<usize> {
    let (mut rest, mut length) = (compressed, 0);
    for _ in 0..MAX_PARTS {
        let mut decoder = GzDecoder::new(rest);
        length += read_up_to(max_bytes - length, &mut decoder, message)?;
        rest = decoder.into_inner();
        if rest.is_empty() || length > max_bytes {
            return Ok(length);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// Reads a message of one or more frames of zstd, of which each takes work even if it is empty. They are taken one by one, since the decoder would also read formats of
/// before 2016, whatever their windows.
fn read_zstd(max_bytes: usize, compressed: &[u8], message: &mut Vec<u8>) -> io::Result<usize> {
    let (mut rest, mut length) = (compressed, 0);
    for _ in 0..MAX_PARTS {
        if !rest.starts_with(&ZSTD_MAGIC) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut decoder = zstd::stream::read::Decoder::with_buffer(rest)?.single_frame();
        decoder.window_log_max(MAX_WINDOW_LOG)?;
        length += read_up_to(max_bytes - length, decoder.by_ref(), message)?;
        rest = decoder.finish();
        if rest.is_empty() || length > max_bytes {
            return Ok(length);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// Reads a message, or its beginning with one byte more than it may have.
fn read_up_to(max_bytes: usize, reader: impl io::Read, message: &mut Vec<u8>) -> io::Result<usize> {
    let most = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(most).read_to_end(message)
}
