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
    /// Whether what came after the bytes that were decoded last is no base64.
    is_broken: bool,
}

impl Base64 {
    /// The bytes of all groups that this piece makes whole, up to the first that is wrong: what came before it goes on, as
    /// it would have if the piece had ended there. [`check`](Self::check) tells.
    pub(super) fn decode(&mut self, piece: &[u8]) -> Bytes {
        self.kept.extend_from_slice(piece);
        let rest = self.kept.split_off(self.kept.len() / GROUP * GROUP);
        let text = mem::replace(&mut self.kept, rest);
        decode_parts(&text).unwrap_or_else(|| {
            self.is_broken = true;
            decode_groups(&text)
        })
    }

    /// Whether all was base64 so far.
    pub(super) const fn check(&self) -> Result<(), Breach> {
        if self.is_broken { Err(Breach::Base64) } else { Ok(()) }
    }

    /// Whether the body may end here.
    pub(super) fn end(&self) -> Result<(), Breach> {
        self.check()?;
        if self.kept.is_empty() { Ok(()) } else { Err(Breach::Truncated) }
    }
}

/// Decodes whole groups. A client may encode its body in parts, so padding may stand anywhere in it: what is decoded must
/// not depend on the pieces in which it comes.
fn decode_parts(text: &[u8]) -> Option<Bytes> {
    let mut decoded = Vec::with_capacity(text.len() / GROUP * 3);
    let mut rest = text;
    while let Some(padding) = rest.iter().position(|character| *character == b'=') {
        let (part, behind) = rest.split_at_checked((padding / GROUP + 1) * GROUP)?;
        STANDARD.decode_vec(part, &mut decoded).ok()?;
        rest = behind;
    }
    STANDARD.decode_vec(rest, &mut decoded).ok()?;
    Some(decoded.into())
}

/// Decodes the groups before the first that is wrong.
fn decode_groups(text: &[u8]) -> Bytes {
    let groups = text.chunks(GROUP).map(|group| STANDARD.decode(group));
    groups.map_while(Result::ok).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Result<Vec<u8>, Breach> {
        let mut base64 = Base64::default();
        let mut decoded = Vec::new();
        for piece in pieces {
            decoded.extend(base64.decode(piece));
            base64.check()?;
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
    fn what_comes_before_a_bad_group_goes_on_in_whatever_pieces_it_comes() {
        let text = b"AAEC/w==aGVsbG8=AA*AAAAA";
        for size in 1..=text.len() {
            let mut base64 = Base64::default();
            let pieces = text.chunks(size).map_while(|piece| base64.check().is_ok().then(|| base64.decode(piece)));
            let decoded: Vec<u8> = pieces.flatten().collect();
            assert_eq!(
                (decoded.as_slice(), base64.check()),
                (b"\x00\x01\x02\xffhello".as_slice(), Err(Breach::Base64))
            );
        }
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
