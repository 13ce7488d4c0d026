//! `LedgerService` on the wire.

mod actions;
mod parse;

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use goldbook_api::server::{Received, ledger_service_server};
use prost::Message as _;
use tonic::{Request, Response, Status};

use self::parse::{MAX_KINDS, parse_time_range};
use super::Ledger;
use super::statement::StatementLine;
use super::store::{EntryFilter, OwnedEntry, TimeRange};
use crate::access::grpc::admit;
use crate::book::grpc::{write_kind, write_lots, write_move, write_reason, write_stored_kind, write_stored_move};
use crate::book::{Actor, Balance, EntryReason, StoredEntry, quote_wide_numbers};
use crate::error::{Error, Fields};
use crate::ids::{CustomerId, EntryId, ProgramId};
use crate::paging::PageRequest;
use crate::proto;
use crate::proto::fields::write_instant;
use crate::proto::requests::parse_customer_list;
use crate::telemetry;

/// The most entries in one message of an export.
const MAX_CHUNK: usize = 500;
/// How many bytes of entries fill a message of an export, however few entries they are. Clients refuse messages of more
/// than 4 MiB.
const FULL_CHUNK_BYTES: usize = 256 * 1024;

#[tonic::async_trait]
impl ledger_service_server::LedgerService for Ledger {
    async fn list_entries(
        &self,
        request: Request<Received<proto::ListEntriesRequest>>,
    ) -> Result<Response<proto::ListEntriesResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let filter = parse_filter(&mut fields, &request);
        let described = format!("{filter:?}");
        let (customer, page) = parse_customer_list(&mut fields, &request, "entries", &[&described])?;
        let (program_id, customer_id) = fields.finish_with(customer)?;
        telemetry::record_program(program_id.as_str());
        let (entries, next_page_token) = self.list_entries(&program_id, &customer_id, &filter, &page).await?;
        let entries = entries.into_iter().map(|entry| write_entry(entry, Some(&customer_id))).collect();
        Ok(Response::new(proto::ListEntriesResponse { entries, next_page_token }))
    }

    async fn get_entry(
        &self,
        request: Request<Received<proto::GetEntryRequest>>,
    ) -> Result<Response<proto::GetEntryResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
        let entry_id = fields.check("entry_id", request.entry_id.parse::<EntryId>());
        let (program_id, entry_id) = fields.finish_with(program_id.zip(entry_id))?;
        telemetry::record_program(program_id.as_str());
        let (entry, customer_id) = self.get_entry(&program_id, entry_id).await?;
        let entry = Some(write_entry(entry, customer_id.as_ref()));
        Ok(Response::new(proto::GetEntryResponse { entry }))
    }

    type ExportEntriesStream = BoxStream<'static, Result<proto::ExportEntriesResponse, Status>>;

    async fn export_entries(
        &self,
        request: Request<Received<proto::ExportEntriesRequest>>,
    ) -> Result<Response<Self::ExportEntriesStream>, Status> {
        let (request, caller) = admit(request)?;
        let mut fields = Fields::default();
        let range = parse_time_range(
            &mut fields,
            ("start_time", request.start_time.as_ref()),
            ("end_time", request.end_time.as_ref()),
        );
        let described = format!("{:?} {:?}", range.from, range.until);
        let filters = ["export", &request.program_id, &described];
        let place = PageRequest::parse(&mut fields, 0, &request.resume_token, &filters)?;
        let after = place.after_with(|cursor| cursor.parse::<EntryId>().ok())?;
        let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
        let program_id = fields.finish_with(program_id)?;
        telemetry::record_program(program_id.as_str());
        let export = self.export_entries(program_id, range, after, caller.writer().await?).await?;
        let first = proto::ExportEntriesResponse {
            entries_total: export.entries_total,
            as_of: Some(write_instant(export.as_of)),
            entries: Vec::new(),
            resume_token: request.resume_token,
        };
        let answers = stream::iter([Ok(first)]).chain(write_chunks(export.entries, place));
        Ok(Response::new(caller.while_it_counts(answers)))
    }

    async fn get_statement(
        &self,
        request: Request<Received<proto::GetStatementRequest>>,
    ) -> Result<Response<proto::GetStatementResponse>, Status> {
        let (request, caller) = admit(request)?;
        let mut fields = Fields::default();
        let range = parse_time_range(
            &mut fields,
            ("start_time", request.start_time.as_ref()),
            ("end_time", request.end_time.as_ref()),
        );
        let described = format!("{:?} {:?}", range.from, range.until);
        let (customer, page) = parse_customer_list(&mut fields, &request, "statement", &[&described])?;
        let (program_id, customer_id) = fields.finish_with(customer)?;
        telemetry::record_program(program_id.as_str());
        let statement = self.get_statement(&program_id, &customer_id, range, &page).await?;
        Ok(Response::new(proto::GetStatementResponse {
            opening: Some(write_pockets(&statement.opening)),
            closing: Some(write_pockets(&statement.closing)),
            lines: statement.lines.into_iter().map(|line| write_line(line, caller.is_customer())).collect(),
            next_page_token: statement.next_page_token,
        }))
    }

    async fn list_privileged_actions(
        &self,
        request: Request<Received<proto::ListPrivilegedActionsRequest>>,
    ) -> Result<Response<proto::ListPrivilegedActionsResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let filter = actions::parse_filter(&mut fields, &request);
        let described = format!("{filter:?}");
        let filters = ["privileged actions", &request.program_id, &described];
        let page = PageRequest::parse(&mut fields, request.page_size, &request.page_token, &filters)?;
        let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
        let program_id = fields.finish_with(program_id)?;
        telemetry::record_program(program_id.as_str());
        let (found, next_page_token) = self.list_privileged_actions(&program_id, &filter, &page).await?;
        let actions = found.into_iter().map(actions::write_action).collect();
        Ok(Response::new(proto::ListPrivilegedActionsResponse { actions, next_page_token }))
    }
}

/// Packs entries into messages. Each message is sent as soon as it is full.
fn write_chunks(
    entries: BoxStream<'static, Result<OwnedEntry, Error>>,
    place: PageRequest,
) -> impl Stream<Item = Result<proto::ExportEntriesResponse, Status>> {
    stream::try_unfold((entries, place), async |(mut entries, place)| {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while chunk.len() < MAX_CHUNK
            && bytes < FULL_CHUNK_BYTES
            && let Some((entry, customer_id)) = entries.try_next().await?
        {
            let entry = write_entry(entry, customer_id.as_ref());
            bytes += entry.encoded_len();
            chunk.push(entry);
        }
        let resume_token = chunk.last().map(|last: &proto::Entry| place.token(&last.entry_id)).unwrap_or_default();
        let message = proto::ExportEntriesResponse { entries: chunk, resume_token, ..Default::default() };
        Ok((!message.entries.is_empty()).then_some((message, (entries, place))))
    })
}

fn parse_filter(fields: &mut Fields, request: &proto::ListEntriesRequest) -> EntryFilter {
    if request.kinds.len() > MAX_KINDS {
        fields.refuse("kinds", format!("must have at most {MAX_KINDS} items"));
    }
    let mut kinds = Vec::new();
    for (i, kind) in request.kinds.iter().take(MAX_KINDS).enumerate() {
        // A kind's stored word is its name on the wire.
        let name = proto::EntryKind::try_from(*kind).ok().filter(|kind| *kind != proto::EntryKind::Unspecified);
        match name.and_then(|kind| kind.as_str_name().strip_prefix("ENTRY_KIND_")) {
            Some(name) => kinds.push(name.to_lowercase()),
            None => fields.refuse(format!("kinds[{i}]"), "must be one of the named values"),
        }
    }
    let TimeRange { from, until } = parse_time_range(
        fields,
        ("effective_from", request.effective_from.as_ref()),
        ("effective_until", request.effective_until.as_ref()),
    );
    EntryFilter { kinds, from, until, newest_first: request.newest_first }
}

/// An entry as it is stored. Words of a newer version are left unspecified: the detail's JSON has its kind.
fn write_entry(stored: StoredEntry, customer_id: Option<&CustomerId>) -> proto::Entry {
    let StoredEntry { id, movement, .. } = stored;
    proto::Entry {
        entry_id: id.to_string(),
        account_id: id.account_id.0.to_string(),
        account_seq: id.account_seq,
        program_id: stored.program_id,
        customer_id: customer_id.map(ToString::to_string).unwrap_or_default(),
        kind: write_stored_kind(&stored.kind).into(),
        r#move: movement.map(|(from, to, points)| write_stored_move(&from, &to, points)),
        lots: stored.entry.as_ref().map(write_lots).unwrap_or_default(),
        detail_json: quote_wide_numbers(&stored.detail),
        principal_id: stored.principal_id.to_string(),
        actor: write_actor(&stored.actor).into(),
        reason: EntryReason::from_stored(&stored.reason).map_or(proto::EntryReason::Unspecified, write_reason).into(),
        policy_version: stored.policy_version,
        cause_entry_ids: stored.causes.iter().map(ToString::to_string).collect(),
        command_id: stored.command_id.to_string(),
        trace_id: stored.trace_id.try_into().map(|id| telemetry::TraceId(id).to_string()).unwrap_or_default(),
        effective_at: Some(write_instant(stored.effective_at)),
        recorded_at: Some(write_instant(stored.recorded_at)),
        content_hash: stored.content_hash,
    }
}

fn write_actor(word: &str) -> proto::Actor {
    match Actor::from_stored(word) {
        Some(Actor::Caller) => proto::Actor::Caller,
        Some(Actor::Rule) => proto::Actor::Rule,
        Some(Actor::Time) => proto::Actor::Time,
        None => proto::Actor::Unspecified,
    }
}

const fn write_pockets(balance: &Balance) -> proto::PocketBalances {
    let Balance { issued, owed, pending, available, held, redeemed, expired, cancelled } = *balance;
    proto::PocketBalances { issued, owed, pending, available, held, redeemed, expired, cancelled }
}

/// A line of a statement. For a customer it has nothing that others wrote for each other, or that leads to
/// another's account.
fn write_line(line: StatementLine, is_for_customer: bool) -> proto::StatementLine {
    let StatementLine { entry, is_written, activity_id, note, author } = line;
    let of_colleagues = |text: String| if is_for_customer { String::new() } else { text };
    let is_told = |cause: &&EntryId| !is_for_customer || cause.account_id == entry.id.account_id;
    proto::StatementLine {
        entry_id: entry.id.to_string(),
        kind: write_kind(&entry.detail).into(),
        reason: write_reason(entry.reason).into(),
        r#move: entry.movement.map(write_move),
        lots: write_lots(&entry),
        effective_at: Some(write_instant(entry.effective_at)),
        cause_entry_ids: entry.causes.iter().filter(is_told).map(ToString::to_string).collect(),
        activity_id: activity_id.map(String::from).unwrap_or_default(),
        note: of_colleagues(note),
        author: of_colleagues(author),
        // A trace may be of somebody else's call, and tie them together.
        trace_id: of_colleagues(if is_written {
            telemetry::TraceId(entry.trace_id).to_string()
        } else {
            String::new()
        }),
    }
}
