//! Bodies in base64, as gRPC-Web has them for clients that can send nothing but text.

use std::mem;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::breach::Breach;

/// How many characters stand for whole bytes.
const GROUP: usize = 4;

/// Among a request's extensions: its body is in base64.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InBase64;

/// Decodes a body as its pieces come.
#[derive(Debug, Default)]
pub(super) struct Base64 {
    /// The beginning of a group whose rest is to come.
    kept: Vec<u8>,
}

impl Base64 {
    /// The bytes of all groups that this piece makes whole.
    pub(super) fn decode(&mut self, piece: &[u8]) -> Result<Bytes, Breach> {
        self.kept.extend_from_slice(piece);
        let rest = self.kept.split_off(self.kept.len() / GROUP * GROUP);
        let text = mem::replace(&mut self.kept, rest);
        let mut decoded = Vec::with_capacity(text.len() / GROUP * 3);
        let mut rest = text.as_slice();
        // A client may encode its body in parts, so padding may stand anywhere in it. What is decoded must not depend on
        // the pieces in which it comes.
        while let Some(padding) = rest.iter().position(|character| *character == b'=') {
            let (part, behind) = rest.split_at_checked((padding / GROUP + 1) * GROUP).ok_or(Breach::Base64)?;
            STANDARD.decode_vec(part, &mut decoded).map_err(|_| Breach::Base64)?;
            rest = behind;
        }
        STANDARD.decode_vec(rest, &mut decoded).map_err(|_| Breach::Base64)?;
        Ok(decoded.into())
    }

    /// Whether the body may end here.
    pub(super) fn end(&self) -> Result<(), Breach> {
        if self.kept.is_empty() { Ok(()) } else { Err(Breach::Truncated) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Result<Vec<u8>, Breach> {
        let mut base64 = Base64::default();
        let mut decoded = Vec::new();
        for piece in pieces {
            decoded.extend(base64.decode(piece)?);
        }
        base64.end().map(|()| decoded)
    }

    #[test]
    fn a_body_is_the_same_in_whatever_pieces_it_comes() {
        // Three parts, each with its own padding, as a client sends them that encodes each write.
        let (text, bytes) = (b"AAEC/w==aGVsbG8=AAAA", b"\x00\x01\x02\xffhello\x00\x00\x00");
        assert_eq!(decode(&[text]).unwrap(), bytes);
        for size in 1..text.len() {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(decode(&pieces).unwrap(), bytes, "in pieces of {size}");
        }
        assert_eq!(decode(&[]).unwrap(), b"");
    }

    #[test]
    fn what_is_not_base64_is_told_and_what_is_cut_short_too() {
        for bad in ["AA*A", "====", "A===", "AA=A", "AA==AA=A", "AAA\n", "AA-_", "AB=="] {
            assert_eq!(decode(&[bad.as_bytes()]), Err(Breach::Base64), "{bad}");
        }
        for cut in ["A", "AA", "AAA", "AAAAA", "AA==A"] {
            assert_eq!(decode(&[cut.as_bytes()]), Err(Breach::Truncated), "{cut}");
        }
    }
}
