//! Callers who abuse HTTP/2: they hurt themselves, and nobody else. Frames are made by hand, since no client sends such.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{ask_balance, start_with_keys};
use crate::harness::{Database, Service};
use crate::wait::within;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header that no table has, as HPACK writes it.
fn header(name: &str, value: &str) -> Vec<u8> {
    // Lengths below 127 take one byte.
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// The headers of a call, whose method and scheme HPACK has a byte for.
fn call() -> Vec<u8> {
    let path = "/goldbook.v1.RewardService/GetBalance";
    let begin = [&[0x83, 0x86, 0x04, u8::try_from(path.len()).unwrap()], path.as_bytes()].concat();
    [begin, header("content-type", "application/grpc"), header("te", "trailers")].concat()
}

/// A caller who has greeted, with these settings.
async fn greet(service: &Service, settings: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()).await.unwrap();
    stream
}

/// Reads whatever the service sends, until it closes.
async fn read_to_end(mut stream: TcpStream) {
    // It may also be reset under what is still being sent.
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

/// The kind of the next frame that the service sends.
async fn next_kind(stream: &mut TcpStream) -> u8 {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).await.unwrap();
    head[3]
}

/// A service with the program and Anna, and whether it still answers.
async fn start() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service
}

async fn assert_answers(service: &Service) {
    assert_eq!(within("an answer to another caller", ask_balance(service, "none", "anna")).await.unwrap(), 0);
}

#[tokio::test]
async fn a_caller_who_takes_back_calls_as_fast_as_it_makes_them_is_cut_off() {
    let service = start().await;
    let (reader, mut writer) = greet(&service, &[]).await.into_split();
    let reading = tokio::spawn(async move {
        let mut reader = reader;
        let _ = reader.read_to_end(&mut Vec::new()).await;
    });
    let mut sent = 0;
    for batch in 0..200_u32 {
        let calls: Vec<u8> = (0..100)
            .flat_map(|place| {
                let stream = 2 * (batch * 100 + place) + 1;
                [frame(HEADERS, END_HEADERS, stream, &call()), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())]
            })
            .flatten()
            .collect();
        if writer.write_all(&calls).await.is_err() {
            break;
        }
        sent += 100;
    }
    assert!(sent < 20_000, "all were taken");
    within("the end of the connection", reading).await.unwrap();
    assert_answers(&service).await;
}

#[tokio::test]
async fn a_caller_who_is_refused_before_its_messages_come_keeps_its_connection() {
    let (service, _) = start_with_keys().await;
    let mut stream = greet(&service, &[]).await;
    // The service remembers a few calls of each second, so these have to be quick.
    stream.set_nodelay(true).unwrap();
    for place in 0..600_u32 {
        let call_id = 2 * place + 1;
        stream.write_all(&frame(HEADERS, END_HEADERS, call_id, &call())).await.unwrap();
        let refused = async {
            loop {
                match next_kind(&mut stream).await {
                    HEADERS => return,
                    kind => assert!(![RST_STREAM, GOAWAY].contains(&kind), "frame {kind} in call {place}"),
                }
            }
        };
        within("a refusal", refused).await;
        // As clients do that send headers as soon as they have them.
        stream.write_all(&frame(DATA, END_STREAM, call_id, &[0; 5])).await.unwrap();
    }
}

#[tokio::test]
async fn headers_that_never_end_are_cut_off_and_large_ones_are_refused() {
    let service = start().await;
    let mut stream = greet(&service, &[]).await;
    let part = header("x-flood", &"x".repeat(100)).repeat(100);
    let mut sent = 0;
    let first = frame(HEADERS, 0, 1, &call());
    let mut outcome = stream.write_all(&first).await;
    while outcome.is_ok() && sent < 64 * 1024 * 1024 {
        let next = frame(CONTINUATION, 0, 1, &part);
        sent += next.len();
        outcome = stream.write_all(&next).await;
    }
    assert!(sent < 16 * 1024 * 1024, "{sent} bytes of headers were read");
    within("the end of the connection", read_to_end(stream)).await;
    // Headers that end, but are too large together, fail their call alone.
    let mut stream = greet(&service, &[]).await;
    let large = [frame(HEADERS, 0, 1, &call()), frame(CONTINUATION, 0, 1, &part), frame(CONTINUATION, 0, 1, &part)];
    stream.write_all(&[large.concat(), frame(CONTINUATION, END_HEADERS, 1, &part)].concat()).await.unwrap();
    let refused = async {
        loop {
            let kind = next_kind(&mut stream).await;
            if [HEADERS, RST_STREAM, GOAWAY].contains(&kind) {
                return kind;
            }
        }
    };
    assert_ne!(within("a refusal", refused).await, GOAWAY);
    assert_answers(&service).await;
}

#[tokio::test]
async fn a_caller_who_never_reads_has_a_bounded_number_of_calls_under_way() {
    let service = start().await;
    // No answer may be sent: the window of each stream is empty.
    let mut stream = greet(&service, &[0, 4, 0, 0, 0, 0]).await;
    let mut refused = 0;
    for place in 0..400_u32 {
        // The body never comes, so each call stays open.
        stream.write_all(&frame(HEADERS, END_HEADERS, 2 * place + 1, &call())).await.unwrap();
    }
    let count = async {
        while refused < 400 - 256 {
            refused += usize::from(next_kind(&mut stream).await == RST_STREAM);
        }
    };
    within("the refusal of what is too much", count).await;
    assert_answers(&service).await;
}

#[tokio::test]
async fn connections_that_say_nothing_are_closed_and_make_room() {
    let service = Service::start_configured(Database::create().await, |settings| {
        settings.connections.most = 20;
        settings.connections.first_bytes = Duration::from_millis(300);
        settings.connections.silence = Duration::from_millis(600);
    })
    .await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(service.address).await.unwrap());
    }
    // A caller who comes after all of them has its turn.
    let late = Service::at(service.address, service.database.clone()).await;
    assert_answers(&late).await;
    for mut stream in silent {
        let mut bytes = Vec::new();
        let _ = within("the end of a silent connection", stream.read_to_end(&mut bytes)).await;
    }
    // One who greets, and then neither calls nor answers, is closed as well.
    let stream = greet(&service, &[]).await;
    within("the end of a connection that went silent", read_to_end(stream)).await;
    assert_answers(&service).await;
}
