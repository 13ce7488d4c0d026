//! The SQL of goodwill.

use async_trait::async_trait;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::state::{Counted, Given, GoodwillState};
use crate::book::{Capability, Defect, Depth, GivenCounts, Scope, States, Store, Table};
use crate::database::{ReadPart, StoreError, Traced as _, WritePart, selection, sent_as, write_part};
use crate::ids::{AccountId, BenefitId, EntryId};

/// The most that is told of what was given for one complaint.
const MOST_GIVEN: i64 = 100;

/// The tables of goodwill.
const TABLES: &[Table] = &[
    Table::projection("goodwill", "format('goodwill of entry %s', account_seq)"),
    Table::projection("goodwill_counts", "'goodwill counts'"),
];

/// Goodwill as the book knows it.
#[must_use]
pub(crate) fn goodwill_capability() -> Capability {
    Capability::new(GoodwillState::default, GoodwillStore, TABLES)
}

struct GoodwillStore;

#[async_trait]
impl Store for GoodwillStore {
    fn read_parts(&self, states: &States, scope: &Scope) -> Result<Vec<ReadPart<States>>, StoreError> {
        let state: &GoodwillState = states.get()?;
        let is_whole = scope.depth == Depth::Whole;
        let asked: Vec<Uuid> = if is_whole {
            scope.accounts.iter().map(|account| account.0).collect()
        } else {
            state.asked.iter().map(|account| account.0).collect()
        };
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let mut parts = vec![counts_part(asked.clone())];
        if is_whole {
            parts.push(given_part(asked));
        }
        Ok(parts)
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let state: &GoodwillState = states.get()?;
        let counts = state.changed.iter().filter_map(|id| Some(CountsRow::new(*id, *state.counted.get(id)?)));
        let given = state.new.iter().filter_map(|key| Some(GivenRow::new(*key, state.given.get(key)?)));
        Ok(vec![
            write_part!(
                "INSERT INTO goodwill (account_id, account_seq, complaint_seq, given_at, value, benefit_id)
                 SELECT * FROM unnest($1::sent_goodwill[])",
                given.collect::<Vec<GivenRow>>(),
            ),
            write_part!(
                "INSERT INTO goodwill_counts AS c (account_id, last_seq, day, in_day, in_week, in_month, in_quarter, in_half,
                     in_year)
                 SELECT * FROM unnest($1::sent_goodwill_counts[])
                 ON CONFLICT (account_id) DO UPDATE SET
                     last_seq = excluded.last_seq, day = excluded.day, in_day = excluded.in_day, in_week = excluded.in_week,
                     in_month = excluded.in_month, in_quarter = excluded.in_quarter, in_half = excluded.in_half,
                     in_year = excluded.in_year",
                counts.collect::<Vec<CountsRow>>(),
            ),
        ])
    }
}

fn counts_part(accounts: Vec<Uuid>) -> ReadPart<States> {
    let all = selection!(
        "goodwill_counts",
        CountsRow,
        "SELECT account_id, last_seq, day, in_day, in_week, in_month, in_quarter, in_half, in_year
         FROM goodwill_counts WHERE account_id = ANY($1)",
        [accounts],
    );
    all.into_part(|states: &mut States, rows| {
        let state: &mut GoodwillState = states.get_mut()?;
        state.counted.extend(rows.into_iter().map(|row| (AccountId(row.account_id), row.into_counted())));
        Ok(())
    })
}

fn given_part(accounts: Vec<Uuid>) -> ReadPart<States> {
    let all = selection!(
        "goodwill",
        GivenRow,
        "SELECT account_id, account_seq, complaint_seq, given_at, value, benefit_id FROM goodwill WHERE account_id = ANY($1)",
        [accounts],
    );
    all.into_part(|states: &mut States, rows| {
        let state: &mut GoodwillState = states.get_mut()?;
        for row in rows {
            let key = (AccountId(row.account_id), row.account_seq);
            state.given.insert(key, row.into_given()?);
        }
        Ok(())
    })
}

/// What an account counts, as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
struct CountsRow {
    account_id: Uuid,
    last_seq: i64,
    day: jiff_sqlx::Date,
    in_day: i64,
    in_week: i64,
    in_month: i64,
    in_quarter: i64,
    in_half: i64,
    in_year: i64,
}

sent_as!(CountsRow, "sent_goodwill_counts");

impl CountsRow {
    fn new(account_id: AccountId, counted: Counted) -> Self {
        let GivenCounts { day, in_day, in_week, in_month, in_quarter, in_half, in_year } = counted.counts;
        let (day, last_seq) = (day.to_sqlx(), counted.last_seq);
        Self { account_id: account_id.0, last_seq, day, in_day, in_week, in_month, in_quarter, in_half, in_year }
    }

    fn into_counted(self) -> Counted {
        let Self { last_seq, day, in_day, in_week, in_month, in_quarter, in_half, in_year, account_id: _ } = self;
        let day = day.to_jiff();
        Counted { counts: GivenCounts { day, in_day, in_week, in_month, in_quarter, in_half, in_year }, last_seq }
    }
}

/// What was given, as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
struct GivenRow {
    account_id: Uuid,
    account_seq: i64,
    complaint_seq: Option<i64>,
    given_at: jiff_sqlx::Timestamp,
    value: i64,
    benefit_id: Option<String>,
}

sent_as!(GivenRow, "sent_goodwill");

impl GivenRow {
    fn new((account_id, account_seq): (AccountId, i64), given: &Given) -> Self {
        Self {
            account_id: account_id.0,
            account_seq,
            complaint_seq: given.complaint,
            given_at: given.given_at.to_sqlx(),
            value: given.value,
            benefit_id: given.benefit_id.as_ref().map(ToString::to_string),
        }
    }

    fn into_given(self) -> Result<Given, Defect> {
        let (account_id, seq) = (self.account_id, self.account_seq);
        let benefit_id = self.benefit_id.map(BenefitId::try_from).transpose();
        let bad = |error: &str| Defect::new(format!("the goodwill of entry {seq} of account {account_id}: {error}"));
        Ok(Given {
            complaint: self.complaint_seq,
            given_at: self.given_at.to_jiff(),
            value: self.value,
            benefit_id: benefit_id.map_err(bad)?,
        })
    }
}

/// What was given for a complaint by an instant, by the numbers of the entries, each with why: the last, in order, where it was
/// much.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::complaints) async fn read_given(
    connection: &mut PgConnection,
    complaint_id: EntryId,
    by: Timestamp,
) -> Result<Vec<(i64, Given, String)>, StoreError> {
    let rows = sqlx::query_as!(
        NotedRow,
        r#"SELECT g.account_seq, g.given_at, g.value, g.benefit_id, n.note AS "note?"
           FROM (
               SELECT account_id, account_seq, given_at, value, benefit_id
               FROM goodwill WHERE account_id = $1 AND complaint_seq = $2 AND given_at <= $3
               ORDER BY given_at DESC, account_seq DESC LIMIT $4
           ) g
           LEFT JOIN entry_notes n ON n.account_id = g.account_id AND n.account_seq = g.account_seq
           ORDER BY g.account_seq"#,
        complaint_id.account_id.0,
        complaint_id.account_seq,
        by.to_sqlx() as _,
        MOST_GIVEN,
    )
    .fetch_all(connection)
    .traced("SELECT goodwill")
    .await?;
    let given = rows.into_iter().map(|row| {
        let (account_seq, note) = (row.account_seq, row.note.unwrap_or_default());
        let of = GivenRow {
            account_id: complaint_id.account_id.0,
            account_seq,
            complaint_seq: Some(complaint_id.account_seq),
            given_at: row.given_at,
            value: row.value,
            benefit_id: row.benefit_id,
        };
        Ok((account_seq, of.into_given()?, note))
    });
    given.collect()
}

/// What was given for a complaint, with what was said of it.
struct NotedRow {
    account_seq: i64,
    given_at: jiff_sqlx::Timestamp,
    value: i64,
    benefit_id: Option<String>,
    note: Option<String>,
}
