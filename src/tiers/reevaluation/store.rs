//! The SQL of re-evaluations.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::state::{Order, Progress, ReevaluationsState, Tally};
use crate::book::{Capability, Defect, DowngradeTime, Scope, States, Store, Table, TableRights};
use crate::clock::Clock;
use crate::database::{ReadPart, Selection, StoreError, Traced as _, WritePart, selection, sent_as, write_part};
use crate::ids::{AccountId, CustomerId, EntryId, ProgramId};

/// The tables of re-evaluations.
const TABLES: &[Table] = &[Table::source("tier_reevaluations", TableRights::AppendAndChange)];

/// The orders as the book knows them.
#[must_use]
pub(crate) fn reevaluations_capability() -> Capability {
    Capability::new(ReevaluationsState::default, ReevaluationsStore, TABLES)
}

struct ReevaluationsStore;

impl Store for ReevaluationsStore {
    fn read_parts(&self, _states: &States, scope: &Scope) -> Result<Vec<ReadPart<States>>, StoreError> {
        let programs = scope.programs.iter().map(|program_id| program_id.as_str().to_owned()).collect();
        Ok(vec![open_of(programs).into_part(take_open)])
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let rows: Vec<OrderRow> = states.get::<ReevaluationsState>()?.new.iter().map(OrderRow::from).collect();
        Ok(vec![write_part!(
            "INSERT INTO tier_reevaluations (account_id, account_seq, program_id, version, downgrades, ordered_at)
             SELECT * FROM unnest($1::sent_tier_reevaluation[])",
            rows,
        )])
    }
}

/// An order as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
struct OrderRow {
    account_id: Uuid,
    account_seq: i64,
    program_id: String,
    version: i32,
    downgrades: String,
    ordered_at: jiff_sqlx::Timestamp,
}

sent_as!(OrderRow, "sent_tier_reevaluation");

impl From<&Order> for OrderRow {
    fn from(order: &Order) -> Self {
        Self {
            account_id: order.entry_id.account_id.0,
            account_seq: order.entry_id.account_seq,
            program_id: order.program_id.as_str().to_owned(),
            version: order.version,
            downgrades: order.downgrades.as_str().to_owned(),
            ordered_at: order.ordered_at.to_sqlx(),
        }
    }
}

impl TryFrom<OrderRow> for Order {
    type Error = Defect;

    fn try_from(row: OrderRow) -> Result<Self, Defect> {
        let entry_id = EntryId { account_id: AccountId(row.account_id), account_seq: row.account_seq };
        let defect = |what: &str| Defect::new(format!("re-evaluation {entry_id}: {what}"));
        Ok(Self {
            entry_id,
            program_id: ProgramId::try_from(row.program_id).map_err(|_| defect("the program has no such id"))?,
            version: row.version,
            downgrades: DowngradeTime::from_stored(&row.downgrades)
                .ok_or_else(|| defect("the time of downgrades is unknown"))?,
            ordered_at: row.ordered_at.to_jiff(),
        })
    }
}

fn open_of(programs: Vec<String>) -> Selection<OrderRow> {
    selection!(
        "tier_reevaluations",
        OrderRow,
        "SELECT account_id, account_seq, program_id, version, downgrades, ordered_at FROM tier_reevaluations
         WHERE program_id = ANY($1) AND ended_at IS NULL",
        [programs],
    )
}

fn take_open(states: &mut States, rows: Vec<OrderRow>) -> Result<(), StoreError> {
    let state: &mut ReevaluationsState = states.get_mut()?;
    for row in rows {
        let order = Order::try_from(row)?;
        state.open.push((order.program_id, order.version, order.entry_id));
    }
    Ok(())
}

/// An order, and how far it has come.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_progress(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    entry_id: EntryId,
) -> Result<Option<Progress>, StoreError> {
    let row = sqlx::query!(
        "SELECT account_id, account_seq, program_id, version, downgrades, ordered_at, customers_done, raised, lowered,
                redecided, left_out, ended_at, superseded
         FROM tier_reevaluations WHERE account_id = $1 AND account_seq = $2 AND program_id = $3",
        entry_id.account_id.0,
        entry_id.account_seq,
        program_id.as_str(),
    )
    .fetch_optional(connection)
    .traced("SELECT tier_reevaluations")
    .await?;
    let Some(row) = row else { return Ok(None) };
    let order = OrderRow {
        account_id: row.account_id,
        account_seq: row.account_seq,
        program_id: row.program_id,
        version: row.version,
        downgrades: row.downgrades,
        ordered_at: row.ordered_at,
    };
    Ok(Some(Progress {
        order: order.try_into()?,
        tally: Tally {
            customers_done: row.customers_done,
            raised: row.raised,
            lowered: row.lowered,
            redecided: row.redecided,
            left_out: row.left_out,
        },
        ended_at: row.ended_at.map(jiff_sqlx::Timestamp::to_jiff),
        superseded: row.superseded,
    }))
}

/// Customers of an order who are to be gone through next.
pub(super) struct Page {
    /// The entry of the order.
    pub(super) entry_id: EntryId,
    /// One that only a newer version understands waits for that.
    pub(super) order: Result<Order, Defect>,
    pub(super) customers: Vec<(AccountId, Result<CustomerId, Defect>)>,
}

/// For how long the database waits for the service while a page is carried out.
const PAGE_LIMIT: &str = "120s";

/// Locks an order that has not ended and that nobody is at, the oldest first, with its next customers; none, if there is
/// none but those to leave alone. The lock lasts as long as the transaction.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn lock_page(
    transaction: &mut Transaction<'_, Postgres>,
    except: &[EntryId],
    limit: i64,
) -> Result<Option<Page>, StoreError> {
    let (accounts, seqs): (Vec<Uuid>, Vec<i64>) = except.iter().map(|id| (id.account_id.0, id.account_seq)).unzip();
    let row = sqlx::query!(
        r#"SELECT account_id, account_seq, program_id, version, downgrades, ordered_at, after_account_id,
                  set_config('idle_in_transaction_session_timeout', $3, TRUE) AS "limit"
           FROM tier_reevaluations
           WHERE ended_at IS NULL AND (account_id, account_seq) NOT IN (SELECT * FROM unnest($1::uuid[], $2::bigint[]))
           ORDER BY ordered_at, account_id, account_seq LIMIT 1 FOR UPDATE SKIP LOCKED"#,
        &accounts,
        &seqs,
        PAGE_LIMIT,
    )
    .fetch_optional(&mut **transaction)
    .traced("SELECT tier_reevaluations")
    .await?;
    let Some(row) = row else { return Ok(None) };
    let customers = sqlx::query!(
        "SELECT account_id, customer_id FROM customers WHERE program_id = $1 AND account_id > $2
         ORDER BY account_id LIMIT $3",
        row.program_id,
        row.after_account_id.unwrap_or(Uuid::nil()),
        limit,
    )
    .fetch_all(&mut **transaction)
    .traced("SELECT customers")
    .await?;
    let read = |account_id, customer_id| {
        let defect = |_| Defect::new(format!("the customer of account {account_id} has no such id"));
        (AccountId(account_id), CustomerId::try_from(customer_id).map_err(defect))
    };
    let customers = customers.into_iter().map(|customer| read(customer.account_id, customer.customer_id)).collect();
    let order = OrderRow {
        account_id: row.account_id,
        account_seq: row.account_seq,
        program_id: row.program_id,
        version: row.version,
        downgrades: row.downgrades,
        ordered_at: row.ordered_at,
    };
    let entry_id = EntryId { account_id: AccountId(row.account_id), account_seq: row.account_seq };
    Ok(Some(Page { entry_id, order: order.try_into(), customers }))
}

/// How a page ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageEnd {
    /// There are more customers.
    GoesOn,
    /// All customers were gone through.
    Ended,
    /// Another version came into force.
    Superseded,
}

/// Counts customers who were gone through, up to a last one.
///
/// # Errors
/// If the statement fails.
pub(super) async fn count_page(
    transaction: &mut Transaction<'_, Postgres>,
    entry_id: EntryId,
    last: Option<AccountId>,
    (tally, end): (Tally, PageEnd),
    clock: &Clock,
) -> Result<(), StoreError> {
    let shown: Option<Timestamp> = clock.shown();
    sqlx::query!(
        "UPDATE tier_reevaluations SET after_account_id = coalesce($3, after_account_id),
             customers_done = customers_done + $4, raised = raised + $5, lowered = lowered + $6,
             redecided = redecided + $7, left_out = left_out + $8,
             ended_at = CASE WHEN $9 THEN coalesce($10, clock_timestamp()) END, superseded = $11
         WHERE account_id = $1 AND account_seq = $2",
        entry_id.account_id.0,
        entry_id.account_seq,
        last.map(|account_id| account_id.0),
        tally.customers_done,
        tally.raised,
        tally.lowered,
        tally.redecided,
        tally.left_out,
        end != PageEnd::GoesOn,
        shown.map(|shown| shown.to_sqlx()) as _,
        end == PageEnd::Superseded,
    )
    .execute(&mut **transaction)
    .traced("UPDATE tier_reevaluations")
    .await?;
    Ok(())
}
