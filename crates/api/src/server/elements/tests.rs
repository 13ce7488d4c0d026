use std::collections::BTreeMap;

use prost::bytes::Bytes;
use tonic::Code;

use super::*;
use crate::google::{Money, PostalAddress};
use crate::v1::{
    ApplyProgramRequest, Benefit, Campaign, CreateCustomerRequest, Customer, ImportantDate, ListEntriesRequest,
    Program, Tier, UpdateCustomerRequest,
};

/// A field that has a length.
fn field(number: u32, value: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    prost::encoding::bytes::encode(number, &Bytes::copy_from_slice(value), &mut written);
    if value.is_empty() {
        assert_eq!(written.len(), if number < 16 { 2 } else { 3 });
    }
    written
}

/// How many elements a message has, as the walk counts them.
#[track_caller]
fn count<T: Name>(bytes: &[u8]) -> usize {
    (0..=bytes.len()).find(|bound| !SCHEMA.exceeds(&T::full_name(), bytes, *bound)).unwrap()
}

/// How much is counted of bytes that prost refuses.
#[track_caller]
fn count_refused<T: Name + Default>(bytes: &[u8]) -> usize {
    assert!(T::decode(bytes).is_err(), "prost takes it");
    count::<T>(bytes)
}

#[test]
fn the_schema_has_every_request_and_all_that_is_in_it() {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
    let methods: Vec<_> = files.iter().flat_map(|file| &file.service).flat_map(|service| &service.method).collect();
    assert!(methods.len() > 30);
    for method in methods {
        let name = method.input_type().trim_start_matches('.');
        assert!(SCHEMA.places.contains_key(name), "{name}");
    }
    let messages: Vec<_> = files.iter().flat_map(|file| &file.message_type).collect();
    for field in messages.iter().flat_map(|message| &message.field).filter(|field| field.r#type() == Type::Message) {
        let name = field.type_name().trim_start_matches('.');
        assert!(SCHEMA.places.contains_key(name), "{name}");
    }
    assert_eq!(ApplyProgramRequest::full_name(), "goldbook.v1.ApplyProgramRequest");
}

#[test]
fn messages_and_strings_count_at_every_depth() {
    let benefit =
        Benefit { benefit_id: "b".into(), display_name: "B".into(), description: "d".into(), ..Benefit::default() };
    let threshold = Some(Money { currency_code: "USD".into(), units: 5, nanos: 0 });
    let tier = Tier {
        tier_id: "t".into(),
        display_name: String::new(),
        threshold,
        benefits: vec![benefit, Benefit::default()],
        ..Tier::default()
    };
    let campaigns = vec![Campaign { referrer_points: 7, ..Default::default() }; 3];
    let program = Program { program_id: "p".into(), tiers: vec![tier], campaigns, ..Default::default() };
    let request = ApplyProgramRequest {
        program: Some(program),
        validate_only: true,
        expected_version: Some(3),
        effective_from: None,
    };
    // The program and its id, the tier and its id, the threshold and its currency, two benefits, three strings, campaigns.
    assert_eq!(count::<ApplyProgramRequest>(&request.encode_to_vec()), 2 + 2 + 2 + 2 + 3 + 3);
    assert_eq!(count::<ApplyProgramRequest>(b""), 0);
}

#[test]
fn entries_of_maps_and_lists_of_strings_count_and_numbers_do_not() {
    let attributes = BTreeMap::from([("size".to_owned(), "38".to_owned()), ("shop".to_owned(), "Berlin".to_owned())]);
    let address = Some(PostalAddress { address_lines: vec!["a".into(), String::new()], ..Default::default() });
    let important_dates = vec![ImportantDate::default(); 2];
    let interests = vec![String::new(); 5];
    let customer = Customer { attributes, address, important_dates, interests, ..Default::default() };
    let request = CreateCustomerRequest { customer: Some(customer), ..Default::default() };
    assert_eq!(count::<CreateCustomerRequest>(&request.encode_to_vec()), 1 + 2 * 3 + 3 + 2 + 5);
    let request = ListEntriesRequest { kinds: vec![1; 1_000], ..Default::default() };
    assert_eq!(count::<ListEntriesRequest>(&request.encode_to_vec()), 0);
}

#[test]
fn unknown_fields_do_not_count_whatever_they_are() {
    let known = field(1, &field(1, b"shop"));
    // A number, eight bytes, a message that looks like many campaigns, groups in groups, four bytes.
    let unknown: [&[u8]; 5] = [
        b"\xf8\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xf9\x01aaaaaaaa",
        &field(31, &field(7, b"").repeat(50)),
        b"\xfb\x01\x0a\x00\x0a\x00\x0b\x0a\x03abc\x08\x05\x0c\x0d1234\xfc\x01",
        b"\xfd\x01aaaa",
    ];
    let bytes = [unknown.concat(), known.clone(), unknown.concat(), known].concat();
    assert!(ApplyProgramRequest::decode(bytes.as_slice()).is_ok());
    assert_eq!(count::<ApplyProgramRequest>(&bytes), 4);
}

#[test]
fn what_prost_reads_before_it_refuses_counts() {
    let whole = field(1, &field(7, b"").repeat(10));
    for end in 2..whole.len() {
        // Its length goes beyond all bytes, so that nothing of the program is read.
        assert_eq!(count_refused::<ApplyProgramRequest>(&whole[..end]), 0, "{end}");
    }
    // The program ends in the middle of its tier, whose benefits are read nevertheless.
    let tier = field(6, &field(4, b"").repeat(10));
    let bytes = [&b"\x0a\x02"[..], &tier].concat();
    assert_eq!(count_refused::<ApplyProgramRequest>(&bytes), 12);
    // The same for one whose end is in an unknown field or group.
    for unknown in [field(31, b"abc"), b"\xfb\x01\x08\x05\xfc\x01".to_vec()] {
        let bytes = [&b"\x0a\x03"[..], &unknown, &field(1, b"")].concat();
        assert_eq!(count_refused::<ApplyProgramRequest>(&bytes), 1);
    }
    let elements = field(1, b"").repeat(10);
    for bad in [&b"\x0f"[..], b"\x0c", b"\x08", b"\x0a", b"\x0d123", b"\x09", b"\xff", &[0xff; 11], b"\xfb\x01\x0a\x00"]
    {
        let bytes = [&elements, bad].concat();
        assert_eq!(count_refused::<ApplyProgramRequest>(&bytes), 10, "{bad:?}");
    }
}

#[test]
fn the_walk_goes_as_deep_as_prost_and_no_deeper() {
    let file = prost_types::FileDescriptorProto {
        message_type: vec![DescriptorProto {
            name: Some("Deep".to_owned()),
            field: vec![FieldDescriptorProto {
                number: Some(1),
                r#type: Some(Type::Message.into()),
                type_name: Some(".Deep".to_owned()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let schema = Schema::read(&FileDescriptorSet { file: vec![file] }.encode_to_vec());
    let nested = |depth: usize| (0..depth).fold(Vec::new(), |inner, _| field(1, &inner));
    assert!(schema.exceeds("Deep", &nested(MAX_DEPTH), MAX_DEPTH - 1));
    assert!(!schema.exceeds("Deep", &nested(MAX_DEPTH), MAX_DEPTH));
    assert!(!schema.exceeds("Deep", &nested(10_000), 2 * MAX_DEPTH));
}

#[test]
fn exactly_the_bound_passes_and_one_more_does_not() {
    // The program is one.
    let request = |campaigns: usize| field(1, &field(7, b"").repeat(campaigns));
    assert!(check::<ApplyProgramRequest>(&request(MAX_ELEMENTS - 1)).is_ok());
    let status = check::<ApplyProgramRequest>(&request(MAX_ELEMENTS)).unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("the limit of 24000"), "{}", status.message());
    // The paths of a mask are in a message of another package.
    let mask = |paths: usize| field(3, &field(1, b"").repeat(paths));
    assert!(check::<UpdateCustomerRequest>(&mask(MAX_ELEMENTS - 1)).is_ok());
    assert!(check::<UpdateCustomerRequest>(&mask(MAX_ELEMENTS)).is_err());
}
