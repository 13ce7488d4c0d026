//! Follows the messages of a body through its bytes, in whatever pieces they come.
//!
//! Before each message stand five bytes: a flag that says whether it is compressed, and its length. Plain messages go on
//! as they are, without a copy. Compressed ones are kept until they are whole, and go on decompressed.

use std::mem;

use bytes::{Buf as _, Bytes, BytesMut};

use super::breach::Breach;
use super::compression::Compression;
use super::decompression::{PREFIX_BYTES, decompress};

/// What holds for the messages of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Whether there is exactly one message.
    pub is_single: bool,
    /// What messages flagged as compressed are compressed with.
    pub compression: Option<Compression>,
    /// The largest message, decompressed or not.
    pub max_bytes: usize,
}

/// Where in a body the next byte belongs.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Between two messages.
    Boundary,
    /// In the prefix of a message, of which `read` bytes were read. They make up `length` from behind.
    Prefix { read: usize, length: u32, how: Option<Compression> },
    /// In a message, of which `left` bytes are to come.
    Message { left: usize, how: Option<Compression> },
}

/// How far a body has come.
#[derive(Debug)]
pub(super) struct Frames {
    rules: Rules,
    place: Place,
    has_message: bool,
    /// What there is of a compressed message.
    kept: BytesMut,
    /// What is wrong behind the bytes that were last let go on.
    breach: Option<Breach>,
}

impl Frames {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, place: Place::Boundary, has_message: false, kept: BytesMut::new(), breach: None }
    }

    /// Whether the body has exactly one message.
    pub(super) const fn is_single(&self) -> bool {
        self.rules.is_single
    }

    /// Takes what can go on from the front of `data`. Once all of `data` is taken in, nothing can until there is more.
    ///
    /// What comes before a breach goes on first, so that the earlier messages of a stream are carried out.
    pub(super) fn next(&mut self, data: &mut Bytes) -> Result<Option<Bytes>, Breach> {
        let passing = self.pass(data);
        if passing > 0 {
            return Ok(Some(data.split_to(passing)));
        }
        if let Some(breach) = self.breach.take() {
            return Err(breach);
        }
        self.keep(data)
    }

    /// Whether a body may end here.
    pub(super) fn end(&self) -> Result<(), Breach> {
        match (self.place, &self.breach) {
            (_, Some(breach)) => Err(breach.clone()),
            (Place::Prefix { .. } | Place::Message { .. }, None) => Err(Breach::Truncated),
            (Place::Boundary, None) if self.rules.is_single && !self.has_message => Err(Breach::NoMessage),
            (Place::Boundary, None) => Ok(()),
        }
    }

    /// How many bytes go on as they are: all up to a compressed message or a breach.
    fn pass(&mut self, data: &[u8]) -> usize {
        let mut passing = 0;
        while let Some(rest) = data.get(passing..)
            && let Some(next) = rest.first()
            && self.breach.is_none()
        {
            match self.place {
                Place::Boundary => self.breach = self.begin_message(*next).err(),
                Place::Prefix { how: Some(_), .. } | Place::Message { how: Some(_), .. } => break,
                // The byte that completes a bad prefix does not go on: nobody behind is to judge it.
                Place::Prefix { .. } => match self.read_prefix(*next) {
                    Ok(()) => passing += 1,
                    Err(breach) => self.breach = Some(breach),
                },
                Place::Message { left, how } => {
                    let step = left.min(rest.len());
                    passing += step;
                    self.place = if step < left { Place::Message { left: left - step, how } } else { Place::Boundary };
                }
            }
        }
        passing
    }

    /// Takes in what belongs to a compressed message. Returns it once it is whole.
    fn keep(&mut self, data: &mut Bytes) -> Result<Option<Bytes>, Breach> {
        while let Place::Prefix { how: Some(_), .. } = self.place
            && let Some(next) = data.first().copied()
        {
            self.read_prefix(next)?;
            data.advance(1);
        }
        let Place::Message { left, how: Some(compression) } = self.place else { return Ok(None) };
        let part = data.split_to(left.min(data.len()));
        if part.len() < left {
            self.kept.extend_from_slice(&part);
            self.place = Place::Message { left: left - part.len(), how: Some(compression) };
            return Ok(None);
        }
        self.place = Place::Boundary;
        if self.kept.is_empty() {
            return decompress(compression, &part, self.rules.max_bytes).map(Some);
        }
        self.kept.extend_from_slice(&part);
        decompress(compression, &mem::take(&mut self.kept), self.rules.max_bytes).map(Some)
    }

    /// Looks at the flag that a message begins with, before it is taken.
    fn begin_message(&mut self, flag: u8) -> Result<(), Breach> {
        if self.rules.is_single && self.has_message {
            return Err(Breach::AnotherMessage);
        }
        let how = match flag {
            0 => None,
            1 => Some(self.rules.compression.ok_or(Breach::FlagWithoutEncoding)?),
            flag => return Err(Breach::Flag(flag)),
        };
        self.has_message = true;
        self.place = Place::Prefix { read: 0, length: 0, how };
        Ok(())
    }

    /// Takes a byte of a message's prefix.
    fn read_prefix(&mut self, byte: u8) -> Result<(), Breach> {
        let Place::Prefix { read, length, how } = self.place else { return Ok(()) };
        // The flag came first, and is pushed out by the four bytes of the length.
        let (read, length) = (read + 1, (length << 8) | u32::from(byte));
        if read < PREFIX_BYTES {
            self.place = Place::Prefix { read, length, how };
            return Ok(());
        }
        let max_bytes = self.rules.max_bytes;
        let left = usize::try_from(length).unwrap_or(usize::MAX);
        if left > max_bytes {
            return Err(Breach::TooLarge { max_bytes });
        }
        let is_over = left == 0 && how.is_none();
        self.place = if is_over { Place::Boundary } else { Place::Message { left, how } };
        Ok(())
    }
}

#[cfg(test)]
mod tests;
