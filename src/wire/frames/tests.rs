//! Bodies in all kinds of pieces.

use std::io::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MAX_BYTES: usize = 64;

type Compress = fn(&[u8]) -> Vec<u8>;
const COMPRESSIONS: [(Compression, Compress); 2] = [(Compression::Gzip, gzip), (Compression::Zstd, zstd)];

fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(message).unwrap();
    encoder.finish().unwrap()
}

fn zstd(message: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(message, 3).unwrap()
}

/// A message with its prefix.
fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[flag], length.to_be_bytes().as_slice(), message].concat()
}

fn rules(compression: Option<Compression>) -> Rules {
    Rules { is_single: false, compression, max_bytes: MAX_BYTES }
}

/// What goes on of a body that comes in these pieces, and how it ends.
fn follow<'a>(rules: Rules, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Result<(), Breach>) {
    let mut frames = Frames::new(rules);
    let mut passed = Vec::new();
    for piece in pieces {
        let mut data = Bytes::copy_from_slice(piece);
        loop {
            match frames.next(&mut data) {
                Ok(Some(part)) => passed.extend_from_slice(&part),
                Ok(None) => break,
                Err(breach) => return (passed, Err(breach)),
            }
        }
        assert!(data.is_empty());
    }
    (passed, frames.end())
}

/// Whole messages at the front of some bytes, which is what tonic makes of them.
fn whole_messages(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut rest = bytes;
    while let Some((prefix, behind)) = rest.split_at_checked(PREFIX_BYTES) {
        assert_eq!(prefix[0], 0, "everything goes on plain");
        let length = u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize;
        let Some((message, behind)) = behind.split_at_checked(length) else { break };
        messages.push(message.to_owned());
        rest = behind;
    }
    messages
}

/// Bytes cut where `cuts` say.
fn cut<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for cut in cuts {
        let (piece, behind) = rest.split_at((*cut).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    pieces
}

fn messages() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    vec((any::<bool>(), vec(any::<u8>(), 0..MAX_BYTES)), 0..6)
}

proptest! {
    #[test]
    fn messages_go_on_whole_and_plain_however_a_body_is_cut(
        messages in messages(), cuts in vec(0_usize..20, 0..40), is_gzip in any::<bool>(),
    ) {
        let (compression, compress) = COMPRESSIONS[usize::from(is_gzip)];
        // What random bytes are compressed to is longer than they are.
        let rules = Rules { max_bytes: 2 * MAX_BYTES, ..rules(Some(compression)) };
        let written = messages.iter().map(|(is_compressed, message)| {
            if *is_compressed { frame(1, &compress(message)) } else { frame(0, message) }
        });
        let body = written.collect::<Vec<_>>().concat();
        let (passed, end) = follow(rules, cut(&body, &cuts));
        let sent: Vec<_> = messages.into_iter().map(|(_, message)| message).collect();
        prop_assert_eq!((whole_messages(&passed), end), (sent, Ok(())));
    }

    #[test]
    fn a_breach_is_found_however_a_body_is_cut_and_what_is_before_it_goes_on(
        messages in messages(), cuts in vec(0_usize..20, 0..40), which in 0_usize..5,
    ) {
        let too_large = frame(0, &[0; MAX_BYTES + 1]);
        let (bad, breach) = [
            (vec![2, 0, 0, 0, 0], Breach::Flag(2)),
            (frame(1, b"x"), Breach::FlagWithoutEncoding),
            (too_large[..PREFIX_BYTES].to_owned(), Breach::TooLarge { max_bytes: MAX_BYTES }),
            (too_large, Breach::TooLarge { max_bytes: MAX_BYTES }),
            (frame(0, b"half")[..7].to_owned(), Breach::Truncated),
        ][which].clone();
        let sent: Vec<_> = messages.into_iter().map(|(_, message)| message).collect();
        let good = sent.iter().map(|message| frame(0, message)).collect::<Vec<_>>().concat();
        let body = [good.as_slice(), &bad].concat();
        let (passed, end) = follow(rules(None), cut(&body, &cuts));
        prop_assert_eq!((whole_messages(&passed), end), (sent, Err(breach.clone())));
        // tonic would judge a prefix that it sees whole.
        prop_assert!(breach == Breach::Truncated || passed.len() < good.len() + PREFIX_BYTES);
    }
}

#[test]
fn plain_messages_go_on_without_a_copy() {
    let body = Bytes::from([frame(0, b"one"), frame(0, b"two")].concat());
    let mut data = body.clone();
    let passed = Frames::new(rules(Some(Compression::Gzip))).next(&mut data).unwrap().unwrap();
    assert_eq!((passed.as_ptr(), passed.len()), (body.as_ptr(), body.len()));
}

#[test]
fn one_message_is_one_and_not_none_and_not_two() {
    let single = Rules { is_single: true, ..rules(None) };
    assert_eq!(follow(single, []), (vec![], Err(Breach::NoMessage)));
    let one = frame(0, b"");
    assert_eq!(follow(single, [one.as_slice()]), (one.clone(), Ok(())));
    let two = [one.as_slice(), &one].concat();
    assert_eq!(follow(single, [two.as_slice()]), (one.clone(), Err(Breach::AnotherMessage)));
    assert_eq!(follow(single, [one.as_slice(), &[0]]), (one, Err(Breach::AnotherMessage)));
}

#[test]
fn what_cannot_be_decompressed_is_told_from_what_grows_too_large() {
    for (compression, compress) in COMPRESSIONS {
        let end = |message: &[u8]| follow(rules(Some(compression)), [frame(1, message).as_slice()]).1;
        let whole = compress(&[b'x'; MAX_BYTES]);
        assert_eq!(end(&whole), Ok(()));
        assert_eq!(end(&compress(&[b'x'; MAX_BYTES + 1])), Err(Breach::GrowsTooLarge { max_bytes: MAX_BYTES }));
        let undecodable = Err(Breach::Undecodable(compression));
        assert_eq!(end(b"neither of them"), undecodable);
        assert_eq!(end(&whole[..whole.len() - 1]), undecodable, "cut short");
        assert_eq!(end(&[whole.as_slice(), b"garbage"].concat()), undecodable, "with something behind it");
        // Both formats may come in several parts.
        let parts = [compress(b"one "), compress(b"two")].concat();
        let (passed, end) = follow(Rules { max_bytes: 99, ..rules(Some(compression)) }, [frame(1, &parts).as_slice()]);
        assert_eq!((passed, end), (frame(0, b"one two"), Ok(())));
    }
}

#[test]
fn formats_of_zstd_from_before_its_standard_are_not_read() {
    // As version 0.7 wrote it: one block of five bytes as they are, and the end.
    let old = [0x27, 0xb5, 0x2f, 0xfd, 0x20, 5, 0x40, 0, 5, b'h', b'e', b'l', b'l', b'o', 0xc0, 0, 0];
    let behind = [zstd(b"new").as_slice(), &old].concat();
    for message in [old.as_slice(), &behind, b""] {
        let (_, end) = follow(rules(Some(Compression::Zstd)), [frame(1, message).as_slice()]);
        assert_eq!(end, Err(Breach::Undecodable(Compression::Zstd)));
    }
}

#[test]
fn a_window_beyond_eight_mebibytes_is_not_taken() {
    let sized = |window: u32| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window).unwrap();
        encoder.write_all(b"small").unwrap();
        frame(1, &encoder.finish().unwrap())
    };
    let end = |window| follow(rules(Some(Compression::Zstd)), [sized(window).as_slice()]).1;
    assert_eq!(end(23), Ok(()));
    assert_eq!(end(24), Err(Breach::Undecodable(Compression::Zstd)));
}
