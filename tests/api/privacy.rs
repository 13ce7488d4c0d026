//! What is known of a person stands where docs/privacy.md says, and nowhere else; and it goes when the person goes.

mod caller;
mod dumps;
mod erased;
mod marks;
mod messages;
mod newer;
mod play;
mod races;

use std::collections::{BTreeMap, BTreeSet};

use goldbook::embedded_postgres::SERVICE_ROLE;
use prost_reflect::DynamicMessage;
use serde_json::json;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use self::caller::{Caller, told};
use self::dumps::{dump_each, dump_without, execute, personal_tables};
use self::marks::{Mark, Searcher, find_marks};
use self::messages::{GIVEN, Marks, Text, clear_marked, is_given, leaf, marks_of, text_paths, texts};
use crate::access::by;
use crate::access::issuer::{ISSUER, KeyFile, SigningKey, claims_of_customer, claims_of_role, trusted};
use crate::binary::{Serving, Watched};
use crate::collector::{endpoint, find_spans};
use crate::harness::{Clock, Database, ERASURE_KEY, methods};

/// A service in a process of its own that says all it can, and whoever calls it.
struct Marked {
    database: Database,
    serving: Watched,
    key: SigningKey,
    caller: Caller,
    /// Of the subjects of tokens that wrote something.
    subjects: BTreeSet<Mark>,
    _folder: tempfile::TempDir,
    _keys: KeyFile,
}

impl Marked {
    async fn start() -> Self {
        let database = Database::create().await;
        let key = SigningKey::ed25519("key");
        let keys = KeyFile::of(&[&key]);
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("goldbook.toml");
        let issuers = BTreeMap::from([("issuer", [trusted(ISSUER, keys.source())])]);
        std::fs::write(&config, toml::to_string(&issuers).unwrap()).unwrap();
        let erasure_keys = folder.path().join("erasure-keys");
        std::fs::write(&erasure_keys, ERASURE_KEY).unwrap();
        let environment = [
            ("GOLDBOOK_CONFIG", config.to_str().unwrap()),
            ("GOLDBOOK_ERASURE_KEY_FILE", erasure_keys.to_str().unwrap()),
            // All that there is; but tonic repeats a bad `grpc-timeout` at `trace`.
            ("GOLDBOOK_LOG", "trace,tonic=debug"),
            ("GOLDBOOK_LIABILITY_SECONDS", "1"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint()),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100000"),
        ];
        let serving = Serving::start(&database.options(SERVICE_ROLE), &environment).await.watch();
        let mut marks = Marks::default();
        let subject = marks.next();
        let mut claims = claims_of_role("admin");
        claims["sub"] = json!(subject.text());
        let address = format!("http://{}", serving.address);
        let agent = marks.next().text();
        let channel = Endpoint::from_shared(address).unwrap().user_agent(agent).unwrap().connect().await.unwrap();
        let caller = Caller::new(channel, key.token(&claims), marks);
        Self { database, serving, key, caller, subjects: [subject].into(), _folder: folder, _keys: keys }
    }

    /// Makes a customer the caller, with a marked subject; the token of whoever called before.
    fn become_customer(&mut self, customer_id: &str) -> String {
        let subject = self.caller.marks.next();
        self.subjects.insert(subject);
        let mut claims = claims_of_customer(customer_id);
        claims["sub"] = json!(subject.text());
        std::mem::replace(&mut self.caller.token, self.key.token(&claims))
    }

    /// Every method with every text marked, in forms that no field takes, and that none of them is carried out with.
    async fn send_bad_requests(&mut self) {
        for method in self.caller.methods() {
            for text in [Text::Plain, Text::Control, Text::Long] {
                let mut seen = BTreeSet::new();
                // Each alternative of what has alternatives, and of what is in those.
                for choice in 0..64 {
                    let message = self.caller.make(&method, text, Some(choice));
                    if !seen.insert(texts(&message).into_iter().map(|(path, _)| path).collect::<Vec<_>>()) {
                        continue;
                    }
                    let outcome = self.caller.send(&method, &message).await;
                    let is_marked = !marks_of(&message).is_empty();
                    // Whom nobody knows is listed as unknown.
                    let is_listed = method == "TierService.BatchGetCustomerTiers" && matches!(text, Text::Plain);
                    // They need values that are no texts.
                    let needs_more = [
                        "TierService.SimulateTierPolicy",
                        "SatisfactionService.GetSatisfactionIndex",
                        "ComplaintService.GetComplaintMetrics",
                        "ValueService.GetRetention",
                        "ValueService.GetValueBacktest",
                        "ValueService.GetScoreClasses",
                        "ValueService.GetValueClassification",
                        "ValueService.SimulateValueClasses",
                    ];
                    let is_bad = is_marked && !is_listed || needs_more.contains(&method.as_str());
                    assert_eq!(outcome.is_err(), is_bad, "{method} {text:?}: {message:?}");
                }
            }
        }
    }

    /// What was carried out, once more: with keys that were used for something else, for customers who are unknown, and by
    /// somebody who may not.
    async fn send_requests_that_are_refused(&mut self) {
        let carried: Vec<(String, DynamicMessage)> =
            self.caller.carried.iter().map(|carried| (carried.method.clone(), carried.message.clone())).collect();
        let before = self.caller.refused;
        let is_id = |name: &str| name.ends_with("customer_id") || name.ends_with("activity_id");
        for (method, message) in &carried {
            for keep in [
                &(|name: &str| is_id(name) || name == "idempotency_key") as &dyn Fn(&str) -> bool,
                &(|name: &str| name == "purchase_activity_id"),
            ] {
                let mut changed = message.clone();
                clear_marked(&mut changed, keep);
                self.caller.marks.fill(&mut changed, Text::Valid, None);
                let _ = self.caller.send(method, &changed).await;
            }
        }
        let stranger = self.caller.marks.next().text();
        let admin = self.become_customer(&stranger);
        for (method, message) in &carried {
            let refused = self.caller.send(method, message).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{method}");
        }
        self.caller.token = self.caller.marks.next().text();
        for (method, message) in &carried {
            let refused = self.caller.send(method, message).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{method}");
        }
        self.caller.token = admin;
        assert!(self.caller.refused - before > 2 * carried.len());
    }

    /// Requests that the database refuses, for whatever reason of its own.
    async fn send_requests_that_break(&mut self) {
        let carried: Vec<(String, DynamicMessage)> =
            self.caller.carried.iter().map(|carried| (carried.method.clone(), carried.message.clone())).collect();
        for (table, broken) in [
            ("customers", "CreateCustomer"),
            ("marketing_consents", "UpdateCustomer"),
            ("entry_notes", "GrantReward"),
            ("activities", "RecordActivity"),
        ] {
            let constraint = format!("ALTER TABLE {table} ADD CONSTRAINT broken CHECK (false) NOT VALID");
            execute(&self.database, &constraint).await;
            let (method, message) = carried.iter().find(|(method, _)| method.ends_with(broken)).unwrap();
            let mut again = message.clone();
            clear_marked(&mut again, &|name| name == "customer_id" && broken != "CreateCustomer");
            self.caller.marks.fill(&mut again, Text::Valid, None);
            let refused = self.caller.send(method, &again).await.unwrap_err();
            assert_eq!(refused.code(), Code::Internal, "{method}: {refused:?}");
            execute(&self.database, &format!("ALTER TABLE {table} DROP CONSTRAINT broken")).await;
        }
    }

    /// Calls whose headers and paths are marked.
    async fn send_marked_headers(&mut self) {
        let channel = Endpoint::from_shared(format!("http://{}", self.serving.address)).unwrap().connect_lazy();
        let (mark, of_path) = (self.caller.marks.next().text(), self.caller.marks.next().text());
        let token = self.caller.token.clone();
        let mut claims = claims_of_role("admin");
        claims["sub"] = json!(mark);
        claims["aud"] = json!(mark);
        let elsewhere = self.key.token(&claims);
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (name, value) in [
            ("x-note", mark.clone()),
            ("cookie", format!("session={mark}")),
            ("referer", format!("https://shop.example.com/{mark}")),
            ("origin", format!("https://{mark}.example.com")),
            ("baggage", format!("user={mark}")),
            ("tracestate", format!("shop={mark}")),
            ("traceparent", format!("00-{mark}-01")),
            ("traceparent", format!("00-{trace}-{mark}")),
            ("grpc-timeout", mark.clone()),
            ("content-type", format!("application/{mark}")),
            ("authorization", mark.clone()),
            ("authorization", format!("Basic {mark}")),
            ("authorization", format!("Bearer {mark}")),
            ("authorization", format!("Bearer {mark}.{mark}.{mark}")),
            ("authorization", format!("Bearer {elsewhere}")),
        ] {
            for path in
                ["goldbook.v1.RewardService/GetBalance".to_owned(), format!("goldbook.v1.RewardService/{of_path}")]
            {
                let mut request = by(&token, Vec::new());
                request.metadata_mut().insert(name, value.parse().unwrap());
                if name == "tracestate" {
                    request.metadata_mut().insert("traceparent", format!("00-{trace}").parse().unwrap());
                }
                self.assert_tells_nothing(&channel, request, &path).await;
            }
        }
        for path in ["{mark}/{mark}", "{mark}/GetBalance", "grpc.health.v1.Health/{mark}"] {
            let path = path.replace("{mark}", &of_path);
            self.assert_tells_nothing(&channel, by(&token, Vec::new()), &path).await;
        }
    }

    async fn assert_tells_nothing(&self, channel: &Channel, request: Request<Vec<u8>>, path: &str) {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let headers = request.metadata().clone();
        let path: http::uri::PathAndQuery = format!("/{path}").parse().unwrap();
        let refused = client.unary(request, path.clone(), crate::harness::Bytes).await.unwrap_err();
        // Only the path is told that was asked for.
        let told = find_marks(&told(&refused));
        assert!(told.is_subset(&find_marks(path.as_str().as_bytes())), "{headers:?}: {refused:?}");
    }

    /// What was carried out is kept in the personal tables, but for what nobody needs again, and for who is gone.
    async fn assert_kept(&self, gone: &str) {
        let dumps = dump_each(&self.database, &personal_tables()).await.into_iter();
        let kept: BTreeMap<String, BTreeSet<Mark>> = dumps.map(|(table, dump)| (table, find_marks(&dump))).collect();
        for (table, marks) in &kept {
            assert!(!marks.is_empty(), "{table} holds nothing of a person");
        }
        let (expected, unexpected) = self.split_marks(gone);
        for (mark, path) in expected {
            for table in tables_of(&path) {
                assert!(kept[*table].contains(&mark), "{path} is not kept in {table}");
            }
        }
        for (mark, path) in unexpected {
            assert!(!kept.values().any(|marks| marks.contains(&mark)), "{path} is kept");
        }
    }

    /// The marks of what was carried out, with where they stand: those that are kept, and those that are not.
    fn split_marks(&self, gone: &str) -> (BTreeMap<Mark, String>, BTreeMap<Mark, String>) {
        let of_gone = find_marks(gone.as_bytes());
        let marked = self.caller.carried.iter().flat_map(|carried| {
            marks_of(&carried.message).into_iter().map(|(mark, path)| (mark, format!("{}.{path}", carried.method)))
        });
        let subjects = self.subjects.iter().map(|mark| (*mark, "token.sub".to_owned()));
        marked.chain(subjects).partition(|(mark, path)| {
            let is_lost = ["idempotency_key", "item_id"].contains(&leaf(path)) || LOST.contains(&path.as_str());
            !is_lost && !of_gone.contains(mark)
        })
    }
}

/// Texts that nobody needs again: who dealt with a complaint before somebody else did, and of whom a list is.
const LOST: [&str; 2] = ["ComplaintService.OpenComplaint.owner", "ComplaintService.ListDueComplaints.owner"];

/// Where a text is kept.
fn tables_of(path: &str) -> &'static [&'static str] {
    match leaf(path) {
        "note" | "author" | "place" | "text" => &["entry_notes"],
        "source" => &["marketing_consents"],
        "owner" => &["complaint_owners"],
        "activity_id" | "purchase_activity_id" | "survey_id" => &["activities"],
        "sub" => &["principals"],
        "customer_id" | "referee_customer_id" | "referrer_customer_id" => &["customers", "names"],
        _ => &["customers"],
    }
}

/// Every text of every request is marked in one that is carried out, or it is none that a caller chooses; and those, too, are
/// marked in requests that are refused.
fn assert_all_are_marked(caller: &Caller) {
    let carried: BTreeSet<(String, String)> = caller
        .carried
        .iter()
        .flat_map(|carried| marks_of(&carried.message).into_iter().map(|(_, path)| (carried.method.clone(), path)))
        .collect();
    let mut used = BTreeSet::new();
    for method in methods() {
        let name = format!("{}.{}", method.parent_service().name(), method.name());
        assert!(caller.carried.iter().any(|carried| carried.method == name), "{name} is not carried out");
        for path in text_paths(&method.input()) {
            let place = (name.clone(), path.clone());
            let is_of_program = path.starts_with("program.");
            used.extend(is_given(leaf(&path)).then(|| leaf(&path).to_owned()));
            assert!(
                carried.contains(&place) || is_given(leaf(&path)) || is_of_program,
                "{place:?} has no mark in a request that is carried out"
            );
            let is_marked = caller.marked.contains(&place) || leaf(&path) == "program_id";
            assert!(is_marked, "{place:?} has no mark in any request");
        }
    }
    let known: BTreeSet<String> = GIVEN.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(used, known, "what is listed as no caller's choice, and what of it there is");
}

/// Nothing of a person is in spans; the program is, so they are the right ones.
async fn assert_spans_tell_nothing(since: jiff::Timestamp) {
    let since = u64::try_from(since.as_nanosecond()).unwrap();
    let searcher = Searcher::for_marks();
    let (count, found) = find_spans("spans", |spans| {
        let ours: Vec<_> = spans.iter().filter(|span| span.start_time_unix_nano >= since).collect();
        let told: Vec<String> = ours
            .iter()
            .filter(|span| !searcher.search(&prost::Message::encode_to_vec(**span)).is_empty())
            .map(|span| format!("{span:?}"))
            .collect();
        ours.iter()
            .any(|span| span.attributes.iter().any(|it| it.key == "goldbook.program.id"))
            .then_some((ours.len(), told))
    })
    .await;
    assert!(count > 500, "{count} spans");
    assert!(found.is_empty(), "{} spans tell of a person, such as {}", found.len(), found[0]);
}

#[tokio::test]
async fn what_a_caller_writes_of_a_person_stands_in_the_personal_tables_and_nowhere_else() {
    let since = Clock::database().now();
    let mut marked = Marked::start().await;
    marked.caller.play().await;
    let gone = marked.caller.play_erasure().await;
    let customer_id = marked.caller.enrol_plainly().await;
    let admin = marked.become_customer(&customer_id);
    marked.caller.play_as_customer(&customer_id).await;
    marked.caller.token = admin;
    marked.assert_kept(&gone).await;
    marked.send_bad_requests().await;
    marked.send_requests_that_are_refused().await;
    marked.send_requests_that_break().await;
    marked.send_marked_headers().await;
    assert_all_are_marked(&marked.caller);

    let (searcher, tables) = (Searcher::for_marks(), personal_tables());
    let found = searcher.search(&dump_without(&marked.database, &tables).await);
    assert!(found.is_empty(), "elsewhere: {found:#?}");

    let log = marked.serving.stop().await;
    let of_failures = log.iter().filter(|line| line.contains("violates check constraint")).count();
    assert!(log.len() > 500 && of_failures >= 4, "{} lines, {of_failures} of failures", log.len());
    let found = searcher.search(log.join("\n").as_bytes());
    assert!(found.is_empty(), "in the log: {found:#?}");
    assert!(log.iter().any(|line| line.contains(r#""spans_dropped":0"#)), "{:?}", log.last());
    let log = Database::read_log();
    let of_failures = String::from_utf8_lossy(&log).matches("violates check constraint \"broken\"").count();
    assert!(of_failures >= 4, "{of_failures} failures in the log of Postgres");
    let found = searcher.search(&log);
    assert!(found.is_empty(), "in the log of Postgres: {found:#?}");
    assert_spans_tell_nothing(since).await;
    // The service has ended, so that it does not remove what is planted.
    let plant =
        "INSERT INTO stuck_dues SELECT gen_random_uuid(), now(), 'of ' || customer_id, 1, now(), now() FROM customers";
    execute(&marked.database, plant).await;
    assert!(!searcher.search(&dump_without(&marked.database, &tables).await).is_empty(), "what is planted is found");
}
