//! The commands of `src/cli/` that are clients know what any other client can know: the crate `goldbook-api`, and each
//! other. Only the commands for operators know the service.

use crate::reader::{Breach, Exception, Named, Source};
use crate::{SOURCE, hold};

/// The commands for operators, which know the service and its database; and what tells which service it is.
const OPERATORS_COMMANDS: &[&str] = &[
    "cli/serve/*",
    "cli/migrate/*",
    "cli/audit/*",
    "cli/key/*",
    "cli/principal/*",
    "cli/trace/*",
    "cli/telemetry_args/*",
    "cli/config/*",
    "cli/config_file/*",
    "cli/database_args/*",
    "cli/database_url/*",
    "cli/erasure_keys/*",
    "cli/version/*",
];

const EXCEPTIONS: &[Exception] = &[
    Exception {
        file: "cli/bench/child.rs",
        path: "crate::embedded_postgres",
        why: "starts a service and measures its database too, by the names that the service gives it",
    },
    Exception {
        file: "cli/program/check.rs",
        path: "crate::programs::grpc::find_faults",
        why: "checks documents without a service, by the service's own rules and no copies of them",
    },
];

fn views_behind_the_interface(sources: &[Source]) -> Vec<Breach> {
    let is_inside = |named: &Named| match named.segments.as_slice() {
        [top, room, ..] => top == "crate" && room != "cli",
        _ => false,
    };
    let clients = sources.iter().filter(|source| source.is_in(&["cli/*"]) && !source.is_in(OPERATORS_COMMANDS));
    clients.flat_map(|source| source.breaches(is_inside, EXCEPTIONS)).collect()
}

#[test]
fn client_commands_know_only_the_interface() {
    let bad = [
        ("cli/demo.rs", "use crate::money::Money;"),
        ("cli/customer.rs", "use super::super::ids::CustomerId;"),
        ("cli/import/balances/file.rs", "let last = crate::clock::END_OF_TIME;"),
        ("cli/program/mod.rs", "use crate::{cli::CliError, proto};"),
        ("cli/bench/child.rs", "use crate::database;"),
        ("cli/mod.rs", "use crate::server;"),
    ];
    let good = [
        ("cli/serve.rs", "use crate::server;"),
        ("cli/demo.rs", "use crate::cli::CliError; use super::client; use goldbook_api::v1::Program;"),
        ("tiers/mod.rs", "use crate::book::Book;"),
    ];
    hold("client commands know goldbook-api only", views_behind_the_interface, &SOURCE, &bad, &good);
}

#[test]
fn every_exception_of_client_commands_is_still_needed() {
    for exception in EXCEPTIONS {
        let is_used = |source: &Source| source.named.iter().any(|named| source.excepts(exception, named));
        let Exception { file, path, why } = exception;
        assert!(SOURCE.iter().any(is_used), "{file} no longer names {path} ({why}): take it off the list");
    }
}
