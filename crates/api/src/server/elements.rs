//! How many elements a message has, told by its bytes before it is decoded.
//!
//! Two bytes can be an element, such as an empty campaign, that takes hundreds of bytes once it is decoded. So a message
//! within the limit of bytes could take more than a hundred times as much memory, whoever sent it: nobody is asked who
//! calls before. The walk goes through the bytes as prost does, and makes nothing of them.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::{Message as _, Name};
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use tonic::Status;

use crate::FILE_DESCRIPTOR_SET;

/// The most elements that a message may have: messages, strings and byte strings, at every depth, with the entries of maps.
///
/// The largest one that can be right is a program with 32 tiers of 100 benefits, each of which is a message with three
/// strings, with 100 campaigns, and with 500 clauses of segments that have two amounts each: about 17,000 elements.
pub const MAX_ELEMENTS: usize = 24_000;

/// The fewest bytes that an element takes: one for its key and one for its length.
const LEAST_BYTES: usize = 2;
/// How deep prost reads messages in messages.
const MAX_DEPTH: usize = 100;
/// The most bytes of a number of variable length.
const MAX_VARINT_BYTES: u32 = 10;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::read(FILE_DESCRIPTOR_SET));

/// Refuses a message with too many elements. What is no message is left for prost to refuse.
pub(super) fn check<T: Name>(message: &[u8]) -> Result<(), Status> {
    // All but a few messages are too short to have so many.
    if message.len() / LEAST_BYTES <= MAX_ELEMENTS || !SCHEMA.exceeds(&T::full_name(), message, MAX_ELEMENTS) {
        return Ok(());
    }
    let told = "each message, string and byte string in it counts";
    let message = format!("a message has more elements than the limit of {MAX_ELEMENTS}; {told}");
    Err(Status::resource_exhausted(message))
}

/// What an element is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A string or a byte string.
    Text,
    /// A message, by its place in the schema.
    Message(usize),
}

/// Which fields of which messages are elements.
#[derive(Debug, Default)]
struct Schema {
    /// The places of messages, by their full names.
    places: HashMap<String, usize>,
    /// The elements of each message, sorted by the numbers of their fields.
    elements: Vec<Vec<(u64, Kind)>>,
}

/// A message that the walk is in.
#[derive(Clone, Copy, Debug)]
struct Open {
    place: usize,
    /// How many bytes come behind its end.
    behind: usize,
}

impl Schema {
    fn read(descriptors: &[u8]) -> Self {
        // The descriptors are our own; a test holds that all requests are in them.
        let files = FileDescriptorSet::decode(descriptors).unwrap_or_default().file;
        let mut messages: Vec<(String, &DescriptorProto)> = files
            .iter()
            .flat_map(|file| file.message_type.iter().map(|message| (join(file.package(), message.name()), message)))
            .collect();
        let mut next = 0;
        while let Some((outer, message)) = messages.get(next).cloned() {
            messages.extend(message.nested_type.iter().map(|inner| (join(&outer, inner.name()), inner)));
            next += 1;
        }
        let places = messages.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
        let elements = messages.iter().map(|(_, message)| list_elements(message, &places)).collect();
        Self { places, elements }
    }

    /// Whether the message of this name that prost would make of these bytes has more elements than `bound`. Where prost
    /// gives up, the walk does as well: at a length that goes beyond all bytes, and not at one that only goes beyond the
    /// message around it, since prost reads on to its end before it looks.
    fn exceeds(&self, name: &str, mut rest: &[u8], bound: usize) -> bool {
        let Some(place) = self.places.get(name).copied() else { return false };
        let mut open = vec![Open { place, behind: 0 }];
        let mut count = 0;
        while let Some(Open { place, behind }) = open.last().copied() {
            if rest.len() <= behind {
                if rest.len() < behind {
                    return false;
                }
                open.pop();
                continue;
            }
            let Some((number, length)) = read_field(&mut rest) else { return false };
            let Some(length) = length else { continue };
            let kind = self.find(place, number);
            count += usize::from(kind.is_some());
            if count > bound {
                return true;
            }
            if let Some(Kind::Message(place)) = kind {
                if open.len() > MAX_DEPTH {
                    return false;
                }
                open.push(Open { place, behind: rest.len() - length });
            } else {
                // It was looked at that there are so many.
                let _ = skip(&mut rest, length);
            }
        }
        false
    }

    /// What a field with a length is, if it is an element.
    fn find(&self, place: usize, number: u64) -> Option<Kind> {
        let elements = self.elements.get(place)?;
        let found = elements.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        elements.get(found).map(|(_, kind)| *kind)
    }
}

fn join(outer: &str, name: &str) -> String {
    if outer.is_empty() { name.to_owned() } else { format!("{outer}.{name}") }
}

/// The fields of a message that are elements, sorted by number. Numbers in one field take up to four times their bytes
/// once they are decoded, which the limit of bytes is enough for.
fn list_elements(message: &DescriptorProto, places: &HashMap<String, usize>) -> Vec<(u64, Kind)> {
    let kind = |field: &FieldDescriptorProto| {
        if matches!(field.r#type(), Type::String | Type::Bytes) {
            return Some(Kind::Text);
        }
        // Types are named with a dot before the package; enums are in no place.
        places.get(field.type_name().trim_start_matches('.')).map(|place| Kind::Message(*place))
    };
    let element = |field: &FieldDescriptorProto| Some((u64::try_from(field.number()).ok()?, kind(field)?));
    let mut elements: Vec<(u64, Kind)> = message.field.iter().filter_map(element).collect();
    elements.sort_by_key(|(number, _)| *number);
    elements
}

/// Reads a field: its number, and its length if it has one. What has a length is still to come, and nothing else of the
/// field is. A group, which only an unknown field can be, is skipped as a whole.
fn read_field(rest: &mut &[u8]) -> Option<(u64, Option<usize>)> {
    let mut groups: usize = 0;
    loop {
        let key = read_varint(rest)?;
        match key & 7 {
            0 => {
                read_varint(rest)?;
            }
            1 => skip(rest, 8)?,
            2 => {
                let length = usize::try_from(read_varint(rest)?).ok().filter(|length| *length <= rest.len())?;
                if groups == 0 {
                    return Some((key >> 3, Some(length)));
                }
                skip(rest, length)?;
            }
            3 => groups += 1,
            4 => groups = groups.checked_sub(1)?,
            5 => skip(rest, 4)?,
            _ => return None,
        }
        if groups == 0 {
            return Some((key >> 3, None));
        }
    }
}

/// Reads a number of variable length. One that is too large, which prost refuses, loses its upper bits.
fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for i in 0..MAX_VARINT_BYTES {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn skip(rest: &mut &[u8], length: usize) -> Option<()> {
    *rest = rest.get(length..)?;
    Some(())
}

#[cfg(test)]
mod tests;
