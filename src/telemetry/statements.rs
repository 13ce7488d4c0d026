//! Client spans of SQL statements: what a statement does, to which tables of which database, and how it failed.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use opentelemetry::trace::{Status, TraceContextExt as _};
use opentelemetry::{KeyValue, StringValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::spans::{is_current_unrecorded, is_recorded};
use super::targets::SQL;

/// The one database of this process, once it is known.
static DATABASE: OnceLock<Database> = OnceLock::new();

/// Where the statements of a process go, as their spans tell it. What is in them is shared, not copied, by each span.
struct Database {
    namespace: StringValue,
    address: StringValue,
    /// None of a Unix socket.
    port: Option<i64>,
}

/// Tells all later spans of statements which database they are for. A process has one: what is told of a second is left
/// out.
pub fn name_database(name: &str, host: &str, socket: Option<&Path>, port: u16) {
    let directory = socket.map(|socket| socket.to_string_lossy()).or(host.starts_with('/').then(|| host.into()));
    let port = directory.is_none().then(|| i64::from(port));
    let shared = |text: &str| StringValue::from(Arc::<str>::from(text));
    let address = shared(directory.as_deref().unwrap_or(host));
    let _ = DATABASE.set(Database { namespace: shared(name), address, port });
}

/// The client span of one SQL statement, named by what it does to which tables: `INSERT ledger_entries`, `SELECT
/// referrals, standings`. None where nobody would get to see it.
///
/// The summary is all that it tells: parameters are people's data.
#[must_use]
pub fn statement(summary: impl Into<Cow<'static, str>>) -> Span {
    if is_current_unrecorded() {
        return Span::none();
    }
    let span = tracing::info_span!(target: SQL, "sql", otel.kind = "client");
    if span.is_disabled() {
        return span;
    }
    // Static strings go to the span directly: as fields of the macro, each would be copied to the heap.
    let context = span.context();
    let sql = context.span();
    if is_recorded(&sql) {
        let summary: Cow<'static, str> = summary.into();
        let (operation, tables) = summary.split_once(' ').unwrap_or((&summary, ""));
        sql.set_attribute(KeyValue::new("db.operation.name", operation.to_owned()));
        // Of several tables none is the one.
        if !tables.is_empty() && !tables.contains(',') {
            sql.set_attribute(KeyValue::new("db.collection.name", tables.to_owned()));
        }
        sql.set_attributes([
            KeyValue::new("db.system.name", "postgresql"),
            KeyValue::new("db.query.summary", summary.clone()),
        ]);
        if let Some(Database { namespace, address, port }) = DATABASE.get() {
            sql.set_attributes([
                KeyValue::new("db.namespace", namespace.clone()),
                KeyValue::new("server.address", address.clone()),
            ]);
            sql.set_attributes(port.map(|port| KeyValue::new("server.port", port)));
        }
        sql.update_name(summary);
    }
    span
}

/// Marks a statement's span as failed, with Postgres's error code or another short, fixed name of the failure.
pub fn fail_statement(span: &Span, code: &str) {
    if span.is_disabled() {
        return;
    }
    let context = span.context();
    let sql = context.span();
    if is_recorded(&sql) {
        let code = StringValue::from(code.to_owned());
        sql.set_attributes([KeyValue::new("db.response.status_code", code.clone()), KeyValue::new("error.type", code)]);
        sql.set_status(Status::error(""));
    }
}
