//! What fuzzing begins with: one input at least of each kind that a stranger sends when nothing is wrong.

use std::collections::HashMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use super::calls::frame;
use super::page_tokens::{LISTS, parse};
use crate::access::grpc::METHODS;
use crate::proto::FILE_DESCRIPTOR_SET;

/// A seed: its target, its name, and what it is.
pub(super) type Seed = (&'static str, String, Vec<u8>);

pub(super) fn all() -> Vec<Seed> {
    let mut seeds = requests();
    for (method, filters, request) in LISTS {
        let name = method.rsplit('/').next().unwrap();
        let page = parse("", filters).unwrap();
        for (i, cursor) in ["7", "1.2", "shop", "1.00000000000000000000000000000001"].iter().enumerate() {
            seeds.push(("page_tokens", format!("{name}-{i}"), format!("{method}\n{cursor}").into()));
        }
        let token = page.token("00000000000000000000000000000001.1");
        seeds.push(("page_tokens", format!("{name}-token"), format!("{method}\n{token}").into()));
        let path = format!("/goldbook.v1.{method}");
        let body = frame(&request(page.token("7")));
        seeds.push(("metadata", format!("web-{name}"), head(&path, &["content-type: application/grpc-web"], &body)));
    }
    seeds.extend(metadata());
    seeds.extend(crowds());
    seeds.extend(bodies());
    seeds.extend(values());
    seeds.extend(files());
    seeds.push(("certificates", "names".to_owned(), certificate()));
    seeds
}

/// Requests with every field that they have, and every choice that they leave.
fn requests() -> Vec<Seed> {
    let messages = Messages::read();
    let mut seeds: Vec<Seed> = Vec::new();
    for method in METHODS {
        let input = &messages.inputs[method.path];
        for choice in 0..4 {
            let message = messages.write(input, choice);
            let seed = [method.name.as_bytes(), b"\n", &message].concat();
            if !seeds.iter().any(|(_, _, earlier)| *earlier == seed) {
                seeds.push(("requests", format!("{}-{choice}", method.name), seed));
            }
        }
    }
    seeds
}

/// The messages of the interface, by their full names.
struct Messages {
    types: HashMap<String, DescriptorProto>,
    /// What each method takes, by its path.
    inputs: HashMap<String, String>,
}

impl Messages {
    fn read() -> Self {
        let (mut types, mut inputs) = (HashMap::new(), HashMap::new());
        for file in FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file {
            let package = file.package().to_owned();
            let mut open: Vec<(String, DescriptorProto)> =
                file.message_type.iter().map(|message| (format!(".{package}"), message.clone())).collect();
            while let Some((outer, message)) = open.pop() {
                let name = format!("{outer}.{}", message.name());
                open.extend(message.nested_type.iter().map(|inner| (name.clone(), inner.clone())));
                types.insert(name, message);
            }
            for service in &file.service {
                let path = |method: &str| format!("/{package}.{}/{method}", service.name());
                let methods = service.method.iter();
                inputs.extend(methods.map(|method| (path(method.name()), method.input_type().to_owned())));
            }
        }
        Self { types, inputs }
    }

    /// A message with every field; of alternatives, the one that `choice` says.
    fn write(&self, name: &str, choice: usize) -> Vec<u8> {
        let message = &self.types[name];
        let mut written = Vec::new();
        for field in &message.field {
            let alternatives: Vec<&FieldDescriptorProto> = message
                .field
                .iter()
                .filter(|it| it.oneof_index.is_some() && it.oneof_index == field.oneof_index)
                .collect();
            // A first tier has no condition, a tier that is kept for ever no grace, an extra no period of its quota, a last class
            // no amount that it begins with.
            const FOREIGN: [(&str, &str); 6] = [
                ("Tier", "condition"),
                ("TierPolicy", "grace"),
                ("Program", "extras"),
                ("Program", "segments"),
                ("Program", "value_classes"),
                ("ComplaintDeadlines", "value_class_ids"),
            ];
            if choice == 0 && FOREIGN.contains(&(message.name(), field.name())) {
                continue;
            }
            let is_chosen = alternatives.is_empty() || alternatives[choice % alternatives.len()].number == field.number;
            let count = if field.label() == Label::Repeated { 1 + choice % 2 } else { 1 };
            for i in 0..if is_chosen { count } else { 0 } {
                self.write_field(message.name(), field, choice + i, &mut written);
            }
        }
        written
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "another crate's kinds; all others of the interface are numbers"
    )]
    fn write_field(&self, message: &str, field: &FieldDescriptorProto, choice: usize, written: &mut Vec<u8>) {
        let tag = u32::try_from(field.number()).unwrap();
        match field.r#type() {
            Type::Message => {
                // A period ends after it begins, and what is to be spent is above zero.
                let later = ["effective_until", "end_time", "ends_at", "spend"].contains(&field.name());
                let later = if later { 100 } else { 0 };
                let inner = self.write(field.type_name(), choice + later);
                prost::encoding::bytes::encode(tag, &inner, written);
            }
            Type::String => {
                let text = match (field.name(), choice % 2) {
                    (
                        "tier_id" | "tier_ids" | "benefit_id" | "campaign_id" | "package_id" | "factor_id"
                        | "category_id" | "category_ids",
                        1,
                    ) => "second".to_owned(),
                    // Of two in a list, the first has an odd choice, and begins earlier.
                    (
                        "monday" | "tuesday" | "wednesday" | "thursday" | "friday" | "saturday" | "sunday" | "hours",
                        1,
                    ) => "06:00-08:30".to_owned(),
                    (name, _) => text(name).to_owned(),
                };
                prost::encoding::string::encode(tag, &text, written);
            }
            Type::Double => prost::encoding::double::encode(tag, &0.5, written),
            Type::Bool => prost::encoding::bool::encode(tag, &choice.is_multiple_of(2), written),
            // Purchases and referrals are no callers' to give.
            Type::Enum if field.type_name().ends_with(".GrantReason") => {
                prost::encoding::int32::encode(tag, &i32::try_from(4 + choice % 3).unwrap(), written);
            }
            Type::Enum => prost::encoding::int32::encode(tag, &i32::try_from(1 + choice % 3).unwrap(), written),
            _ => prost::encoding::int64::encode(tag, &number(message, field.name(), choice), written),
        }
    }
}

fn text(field: &str) -> &'static str {
    match field {
        "program_id" => "shop",
        "tier_id" | "tier_ids" => "gold",
        "benefit_id" => "news",
        "campaign_id" => "friends",
        "package_id" => "box",
        "factor_id" => "price",
        "category_id" | "category_ids" => "delivery",
        "monday" | "tuesday" | "wednesday" | "thursday" | "friday" | "saturday" | "sunday" | "hours" => "09:00-17:30",
        "satisfaction" | "expectation" | "ideal" => "0.5",
        "page_token" | "resume_token" => "",
        "entry_id" | "lot_id" | "hold_entry_id" | "reward_entry_id" | "hold_id" | "reward_id" | "use_id"
        | "reevaluation_id" | "entitlement_id" | "complaint_id" => "00000000000000000000000000000001.1",
        "currency_code" => "USD",
        "time_zone" => "America/New_York",
        "points_per_unit" | "point_value" | "percentage_off" | "earn_rate_multiplier" => "1.5",
        "after" | "period" | "within" | "valid_for" | "hold_for" | "sliding" | "on_event_within" | "rolling"
        | "for" | "grace" | "early_access" => "P1Y",
        "email" => "anna@shop.example",
        "phone" => "+49 30 123456",
        "locale" => "de-DE",
        "language" | "language_code" => "de",
        "region_code" => "DE",
        "paths" => "email",
        "etag" => "1",
        "code" => "AB12S",
        _ => "anna",
    }
}

fn number(message: &str, field: &str, choice: usize) -> i64 {
    match (message, field) {
        (_, "nanos" | "revision") => 0,
        ("Money", "units") if choice == 0 => 0,
        ("Timestamp", "seconds") => 1_800_000_000 + i64::try_from(choice).unwrap(),
        ("Date", "year") => 2_000,
        ("Date", "month") => 2,
        // No two in a row are equal.
        ("Date", "day") => 29 - i64::try_from(choice % 2).unwrap(),
        // Each lasts longer than the one before.
        (_, "lapsed_after_days") => 2,
        (_, "lost_after_days") => 3,
        (_, "page_size") => 50,
        (_, "classes") => 3,
        _ => 1,
    }
}

fn head(path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    [format!("POST {path} 2\n{}\n\n", headers.join("\n")).as_bytes(), body].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    flate2::read::GzEncoder::new(bytes, flate2::Compression::best()).read_to_end(&mut compressed).unwrap();
    compressed
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

/// A message behind its flag and length, compressed.
fn packed(message: &[u8], pack: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut framed = frame(&pack(message));
    framed[0] = 1;
    framed
}

fn metadata() -> Vec<Seed> {
    let path = "/goldbook.v1.TierService/GetCustomerTier";
    let stream = "/goldbook.v1.RewardService/BatchGrantRewards";
    let request = b"\x0a\x04shop\x12\x04anna";
    let plain = frame(request);
    let twice = [plain.clone(), plain.clone()].concat();
    let text = STANDARD.encode(&plain);
    let grpc = "content-type: application/grpc";
    let seed = |name: &str, input: Vec<u8>| ("metadata", name.to_owned(), input);
    vec![
        seed("grpc", head(path, &[grpc, "te: trailers", "grpc-timeout: 10S", "x-piece: 3"], &plain)),
        seed("proto", head(path, &["content-type: application/grpc+proto; charset=utf-8"], &plain)),
        seed("gzip", head(path, &[grpc, "grpc-encoding: gzip", "x-piece: 7"], &packed(request, gzip))),
        seed("zstd", head(path, &[grpc, "grpc-encoding: zstd"], &packed(request, zstd))),
        seed("identity", head(path, &[grpc, "grpc-encoding: identity", "grpc-accept-encoding: gzip,zstd"], &plain)),
        seed("stream", head(stream, &[grpc, "x-piece: 2"], &twice)),
        seed("text", head(path, &["content-type: application/grpc-web-text", "x-piece: 5"], text.as_bytes())),
        seed(
            "page",
            head(
                path,
                &[
                    "content-type: application/grpc-web+proto",
                    "origin: https://shop.example",
                    "x-grpc-web: 1",
                    "accept: application/grpc-web-text",
                ],
                &plain,
            ),
        ),
        seed(
            "other-page",
            head(path, &["content-type: application/grpc-web", "origin: https://other.example"], &plain),
        ),
        seed(
            "trace",
            head(
                path,
                &[grpc, "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate: a=b"],
                &plain,
            ),
        ),
        seed("cut", head(path, &[grpc], &plain[..7])),
        seed("two", head(path, &[grpc], &twice)),
        seed("unknown", head("/goldbook.v1.TierService/None", &[grpc], &plain)),
        seed("json", head(path, &["content-type: application/json"], b"{}")),
        seed(
            "reflection",
            head("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &[grpc], &frame(b"\x3a\x00")),
        ),
        seed(
            "asked",
            format!(
                "OPTIONS {path} 1.1\norigin: https://shop.example\naccess-control-request-method: POST\n\
                 access-control-request-headers: content-type,x-grpc-web\n\n"
            )
            .into(),
        ),
        seed("http1", [format!("POST {path} 1.1\ncontent-type: application/grpc-web\n\n").as_bytes(), &plain].concat()),
    ]
}

/// Small bodies of messages that would become large once they are decoded: nearly 4 MiB of empty elements at the end of a
/// path of fields, compressed.
fn crowds() -> Vec<Seed> {
    let crowd = |fields: &[u32]| {
        let mut crowd = Vec::new();
        for (depth, field) in fields.iter().rev().enumerate() {
            let mut outer = Vec::new();
            prost::encoding::bytes::encode(*field, &crowd, &mut outer);
            crowd = if depth == 0 { outer.repeat(2_097_000) } else { outer };
        }
        crowd
    };
    let seed = |name: &str, method: &str, fields: &[u32]| {
        let headers = ["content-type: application/grpc", "grpc-encoding: gzip", "x-piece: 999"];
        let input = head(&format!("/goldbook.v1.{method}"), &headers, &packed(&crowd(fields), gzip));
        ("metadata", format!("crowd-{name}"), input)
    };
    vec![
        seed("campaigns", "ProgramService/ApplyProgram", &[1, 7]),
        seed("benefits", "ProgramService/ApplyProgram", &[1, 6, 4]),
        seed("important-dates", "CustomerService/CreateCustomer", &[2, 11]),
        seed("attributes", "CustomerService/CreateCustomer", &[2, 14]),
        seed("mask", "CustomerService/UpdateCustomer", &[3, 1]),
        seed("items", "RewardService/BatchGrantRewards", &[1]),
    ]
}

fn bodies() -> Vec<Seed> {
    let message = b"\x0a\x04shop\x12\x04annaannaannaannaannaanna";
    let (plain, gzipped, zipped) = (frame(message), packed(message, gzip), packed(message, zstd));
    let large = vec![0; 64 * 1024];
    let seed = |name: &str, begin: &str, body: &[u8]| ("bodies", name.to_owned(), [begin.as_bytes(), body].concat());
    let members = [gzip(b"shop"), gzip(b""), gzip(b"anna")].concat();
    let frames = [zstd(b"shop"), zstd(b""), zstd(b"anna")].concat();
    let packed_as_is = |bytes: &[u8]| packed(bytes, <[u8]>::to_vec);
    vec![
        seed("one", "s-b1", &plain),
        seed("many", "m-b3", &[plain.clone(), frame(b""), plain.clone()].concat()),
        seed("gzip", "sgb2", &gzipped),
        seed("zstd", "szb2", &zipped),
        seed("mixed-gzip", "mgb4", &[plain.clone(), gzipped.clone(), plain.clone()].concat()),
        seed("mixed-zstd", "mzb4", &[zipped.clone(), plain.clone(), zipped].concat()),
        seed("members", "sgb9", &packed_as_is(&members)),
        seed("frames", "szb9", &packed_as_is(&frames)),
        seed("large-gzip", "sgb9", &packed(&large, gzip)),
        seed("large-zstd", "szb9", &packed(&large, zstd)),
        seed("text", "s-t0", STANDARD.encode(&plain).as_bytes()),
        seed("text-in-parts", "mgt2", [&plain, &gzipped].map(|part| STANDARD.encode(part)).concat().as_bytes()),
    ]
}

fn values() -> Vec<Seed> {
    let lines = [
        ("code", "ab12s"),
        ("currency", "KWD"),
        ("customer", "C0001"),
        ("date", "2000 2 29"),
        ("date", "0 12 31"),
        ("detail", r#"{"kind":"customer_enrolled"}"#),
        ("detail", r#"{"kind":"points_granted","uncapped":"9007199254740993"}"#),
        ("detail", r#"{"kind":"program_applied","version":1}"#),
        ("entry", "00000000-0000-0000-0000-000000000001.17"),
        ("entry", "00000000000000000000000000000001.17"),
        ("instant", "253402207200 999"),
        ("instant", "-62135596800 0"),
        ("money", "USD 29 330000000"),
        ("origin", "https://shop.example:8443"),
        ("origin", "http://[::1]:8080"),
        ("period", "P1Y2M3W4DT5H6M7.5S"),
        ("program", "cdnow-1"),
        ("rate", "1.125"),
        ("timeout", "99999999H"),
        ("zone", "Europe/Berlin"),
    ];
    let seed =
        |(i, (kind, text)): (usize, &(&str, &str))| ("values", format!("{kind}-{i}"), format!("{kind}\n{text}").into());
    lines.iter().enumerate().map(seed).collect()
}

/// Documents, files to import, and credentials that were not made by somebody else.
fn files() -> Vec<Seed> {
    let seed = |target: &'static str, name: &str, text: &str| (target, name.to_owned(), text.as_bytes().to_vec());
    let example = include_str!("../../examples/cdnow/program.toml");
    let purchases: Vec<&str> = include_str!("../../examples/cdnow/purchases.csv").lines().take(5).collect();
    let points = "program_id = \"p\"\ndisplay_name = \"P\"\ncurrency = \"USD\"\ntime_zone = \"UTC\"\n\
                  points_per_unit = \"0.5\"\n[points]\npoint_value = \"0.01\"\nhold_for = \"P3D\"\n\
                  clawback = \"within_balance\"\nvesting = { after = \"P14D\" }\n\
                  expiry = { after = \"P1Y\", round_to = \"quarter\" }\n[points.redemption]\nminimum = 100\nstep = 50\n\
                  maximum = 1000\n[points.earning]\nper_transaction = 500\n[[points.earning.per_period]]\n\
                  period = \"month\"\npoints = 1000\n[points.reinstatement]\nwithin = \"P30D\"\nvalid_for = \"P90D\"\n\
                  [[tiers]]\ntier_id = \"t\"\ndisplay_name = \"T\"\n[[campaigns]]\ncampaign_id = \"c\"\n\
                  display_name = \"C\"\nstarts_at = 2026-03-01T00:00:00-05:00\nends_at = \"2027-01-01T00:00:00Z\"\n\
                  conversion = \"first_purchase\"\nminimum_purchase = \"10.00\"\n";
    let tiers = "[tier_policy]\nupgrade = \"at_period_end\"\nat_end = \"one_step\"\ngrace = \"P30D\"\n\
                 on_refund = \"at_period_end\"\nwindow = { calendar = \"half\" }\nkept = { for = \"P1Y\" }\n[[tiers]]\n\
                 tier_id = \"s\"\ndisplay_name = \"S\"\nnever_lost = true\n[tiers.condition]\nany_of = [{ spend = \"5.00\" }, \
                 { all_of = [{ active_days = 3 }, { points = 9 }, { margin = \"1.50\" }] }, { referrals = 2 }]\n[[tiers]]";
    let benefits = "[[tiers.benefits]]\nbenefit_id = \"b\"\ndisplay_name = \"B\"\nkind = { higher_credit_limit = \
                    { by = \"500.00\", valid_for = \"P30D\" } }\nquota = { limit = 4, per = \"tier_period\", \
                    counts_companions = true }\n[[tiers.benefits]]\nbenefit_id = \"c\"\ndisplay_name = \"C\"\nkind = \
                    { earn_rate_multiplier = \"1.5\" }\n[[tiers.benefits]]\nbenefit_id = \"d\"\n\
                    display_name = \"D\"\nkind = \"gift\"\nquota = { limit = 1, per = \"half\" }\n[[campaigns]]";
    let balances = "line_id,customer_id,points,vests_at,vest_by,expires_at,tier_id,qualifying_spend_usd\n\
                    1,c,5,,,,,\n2,c,5,2026-02-01,,never,,\n3,c,5,,2026-02-01T00:00:00Z,2027-01-01,,\n\
                    \"4\n\",c,,,,,gold,12.50\n5,\"c,d\",,,,,gold,\n6,c,5,,,9999-12-31,,\n";
    let claims = "{\"iss\":\"https://id.example\",\"aud\":[\"goldbook\",\"other\"],\"sub\":\"anna\",\
                  \"exp\":253402300799,\"access\":{\"roles\":[\"support\"]},\"programs\":\"shop\",\"customer\":\"anna\"}";
    vec![
        seed("program_documents", "cdnow", example),
        seed("program_documents", "points", points),
        seed("program_documents", "tiers", &points.replace("[[tiers]]", tiers)),
        seed("program_documents", "benefits", &points.replace("[[campaigns]]", benefits)),
        seed("program_documents", "event", &points.replace("after = \"P14D\"", "on_event_within = \"P14D\"")),
        seed("program_documents", "never", &points.replace("{ after = \"P1Y\", round_to = \"quarter\" }", "\"never\"")),
        seed(
            "program_documents",
            "sliding",
            &points.replace("after = \"P1Y\", round_to = \"quarter\"", "sliding = \"P1Y\""),
        ),
        seed("import_files", "purchases", &(purchases.join("\n") + "\n")),
        seed("import_files", "balances", balances),
        seed("tokens", "signed", &format!("{{\"alg\":\"EdDSA\",\"kid\":\"ed\"}}\n{claims}")),
        seed(
            "tokens",
            "twice",
            &format!("{{\"alg\":\"EdDSA\",\"kid\":\"ed\"}}\n{}", claims.replace("{\"iss", "{\"exp\":1,\"iss")),
        ),
        seed("tokens", "own-key", &format!("{{\"alg\":\"EdDSA\",\"kid\":\"ed\",\"jwk\":{{}}}}\n{claims}")),
        seed("tokens", "api-key", &format!("Bearer gbk_live_{}", "z".repeat(43))),
        seed(
            "tokens",
            "keys",
            include_str!("../access/grpc/fuzzing/keys.json").trim_start_matches(char::is_whitespace),
        ),
    ]
}

fn certificate() -> Vec<u8> {
    use rcgen::{CertificateParams, KeyPair, SanType};
    let mut params = CertificateParams::new(vec!["Checkout.shop.example".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI("spiffe://shop/checkout".try_into().unwrap()));
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}
