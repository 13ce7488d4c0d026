//! Complaints: what customers are unhappy about, by when somebody has to do something, and what became of it.

mod commands;
mod goodwill;
pub(crate) mod grpc;
mod model;
mod reading;
pub(crate) mod state;
mod store;
mod tally;

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use crate::book::{BenefitDetail, Book, Command, Detail, Entry, Instants, Writer, Written};
use crate::clock::{FIRST_INSTANT, LAST_INSTANT};
use crate::customers::{find_account, read_customer_ids};
use crate::database::{ExportBounds, ExportPlaces, by_scan};
use crate::error::Error;
use crate::ids::{AccountId, ComplaintCategoryId, CustomerId, EntryId, PrincipalId, ProgramId};
use crate::money::Currency;
use crate::paging::{PageRequest, WINDOW};
use crate::programs::model::program_not_found;
use crate::programs::periods::divide;
use crate::programs::points::CalendarPeriod;
use crate::programs::{read_currency, read_version_at};
use commands::{OpenComplaint, Stands, StepComplaint};
use goodwill::commands::{GrantGoodwill, Left};
use goodwill::state::Given;
use goodwill::store::read_given;
use model::{Complaint, complaint_not_found};
use reading::{Listed, Taken, fold};
use store::{Counted, DueFilter, DueRow, count};
use tally::Tally;

pub(crate) use goodwill::store::goodwill_capability;
pub(crate) use store::capability;

/// The use cases of complaints.
#[derive(Clone)]
pub(crate) struct Complaints {
    book: Book,
    pool: PgPool,
    instants: Instants,
    counts: ExportPlaces,
}

/// A complaint that was written.
pub(crate) struct WrittenComplaint {
    pub stands: Stands,
    /// The currency of what is offered.
    pub currency: Currency,
    /// Whether this was a repetition.
    pub replayed: bool,
}

/// A complaint with its steps.
pub(crate) struct FoundComplaint {
    pub complaint: Complaint,
    pub owner: String,
    pub steps: Vec<Taken>,
    /// What the customer was given for it, by the numbers of the entries, each with why.
    pub given: Vec<(i64, Given, String)>,
    pub currency: Currency,
}

/// Goodwill that was given.
pub(crate) struct WrittenGoodwill {
    pub goodwill_id: EntryId,
    pub given: Given,
    /// The entry of the points or of the entitlement.
    pub effect: Entry,
    /// How much more may be given now; no limit is said, if absent.
    pub left: Option<i64>,
    /// Whether this was a repetition.
    pub replayed: bool,
}

/// Which complaints of a program are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DueQuestion {
    /// Those that are late or have a deadline.
    All,
    /// Those that are late.
    Late,
    /// Those that are not, and will be within so many hours.
    LateSoon { within_hours: i32 },
}

/// For which days it is asked what became of complaints.
#[derive(Clone, Debug)]
pub(crate) struct MetricsQuestion {
    pub program_id: ProgramId,
    pub from: Option<Date>,
    pub until: Option<Date>,
    pub each: Option<CalendarPeriod>,
    pub as_of: Option<Timestamp>,
    pub category_id: Option<ComplaintCategoryId>,
}

impl Complaints {
    /// Complaints written through `book` and read from `pool`. Counts connect to the database themselves.
    #[must_use]
    pub(crate) fn new(book: Book, pool: PgPool, database: &PgConnectOptions, instants: Instants) -> Self {
        Self { book, pool, instants, counts: ExportPlaces::new(by_scan(database), ExportBounds::COUNTS) }
    }

    /// Opens a complaint.
    ///
    /// # Errors
    /// Every refusal that `complaints.proto` lists.
    pub(crate) async fn open_complaint(
        &self,
        command: OpenComplaint,
        writer: Writer,
    ) -> Result<WrittenComplaint, Error> {
        let program_id = command.subject.program_id.clone();
        self.write(command, &program_id, writer).await
    }

    /// Takes a step of a complaint.
    ///
    /// # Errors
    /// Every refusal that `complaints.proto` lists.
    pub(crate) async fn step_complaint(
        &self,
        command: StepComplaint,
        writer: Writer,
    ) -> Result<WrittenComplaint, Error> {
        let program_id = command.subject.program_id.clone();
        self.write(command, &program_id, writer).await
    }

    /// Gives a customer something at once.
    ///
    /// # Errors
    /// Every refusal that `complaints.proto` lists.
    pub(crate) async fn grant_goodwill(
        &self,
        command: GrantGoodwill,
        writer: Writer,
    ) -> Result<WrittenGoodwill, Error> {
        let mut written = self.book.submit(command, writer).await?;
        let Left(left) = written.take_told()?;
        let Written { entries, replayed, .. } = written;
        let is_effect = |entry: &&Entry| match &entry.detail {
            Detail::Points(detail) => detail.lot_terms().is_some(),
            Detail::Benefit(BenefitDetail::EntitlementGranted { .. }) => true,
            Detail::Benefit(_)
            | Detail::Program(_)
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Tier(_)
            | Detail::Referral(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_) => false,
        };
        let given = entries.iter().find_map(|entry| Some((entry, Given::of_entry(entry)?)));
        let effect = entries.iter().find(is_effect);
        let ((entry, given), effect) =
            given.zip(effect).ok_or_else(|| Error::Internal("goodwill came to no entry".to_owned()))?;
        Ok(WrittenGoodwill { goodwill_id: entry.id, given, effect: effect.clone(), left, replayed })
    }

    async fn write(
        &self,
        command: impl Command + 'static,
        program_id: &ProgramId,
        writer: Writer,
    ) -> Result<WrittenComplaint, Error> {
        let mut written: Written = self.book.submit(command, writer).await?;
        let stands: Stands = written.take_told()?;
        let currency = read_currency(&mut *self.pool.acquire().await?, program_id).await?;
        Ok(WrittenComplaint { stands, currency, replayed: written.replayed })
    }

    /// A complaint with its steps, now or as it was at an instant.
    ///
    /// # Errors
    /// If the customer or the complaint is unknown (then), or the instant lies ahead.
    pub(crate) async fn get_complaint(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        complaint_id: EntryId,
        as_of: Option<Timestamp>,
    ) -> Result<FoundComplaint, Error> {
        let is_past = as_of.is_some();
        let as_of = self.instants.close("as_of", as_of).await?;
        // Now, all that was written counts, also where the clock went back since.
        let by = if is_past { as_of } else { LAST_INSTANT };
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        if complaint_id.account_id != account_id {
            return Err(complaint_not_found(complaint_id).into());
        }
        let steps = store::read_steps(&mut connection, complaint_id, by).await?;
        let found = fold(complaint_id, steps, as_of).ok_or_else(|| complaint_not_found(complaint_id))?;
        let (complaint, steps) = found;
        let owner = store::read_owner(&mut connection, complaint_id).await?;
        let currency = read_currency(&mut connection, program_id).await?;
        let given = read_given(&mut connection, complaint_id, by).await?;
        Ok(FoundComplaint { complaint, owner, steps, given, currency })
    }

    /// A page of a customer's complaints, the one opened last first, with the currency of what is offered.
    ///
    /// # Errors
    /// If the customer is unknown, or the page token is bad.
    pub(crate) async fn list_complaints(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        page: &PageRequest,
    ) -> Result<(Currency, Vec<Listed>, String), Error> {
        let before = page.after_number()?.unwrap_or(i64::MAX);
        let now = self.instants.close("as_of", None).await?;
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let listed = store::list_complaints(&mut connection, account_id, before, page.limit()).await?;
        let currency = read_currency(&mut connection, program_id).await?;
        let cursor = |it: &Listed| it.complaint_id.account_seq.to_string();
        let (listed, next_page_token) = page.cut_by(listed, cursor, bytes, None);
        let listed = listed.into_iter().map(|it| it.at(now)).collect();
        Ok((currency, listed, next_page_token))
    }

    /// A page of a program's complaints that press, the most urgent first, each with its customer.
    ///
    /// # Errors
    /// If the program is unknown, or the page token is bad.
    pub(crate) async fn list_due_complaints(
        &self,
        program_id: &ProgramId,
        question: DueQuestion,
        owner: &str,
        page: &PageRequest,
    ) -> Result<(Currency, Vec<(CustomerId, Listed)>, String), Error> {
        let behind = page.after_with(parse_place)?;
        let now = self.instants.close("as_of", None).await?;
        let filter = match question {
            DueQuestion::All => DueFilter { after: FIRST_INSTANT, by: LAST_INSTANT },
            DueQuestion::Late => DueFilter { after: FIRST_INSTANT, by: now },
            DueQuestion::LateSoon { within_hours } => {
                let within = SignedDuration::from_hours(within_hours.into());
                DueFilter { after: now, by: now.saturating_add(within).unwrap_or(LAST_INSTANT) }
            }
        };
        let mut connection = self.pool.acquire().await?;
        let currency = read_currency(&mut connection, program_id).await?;
        // An owner may have few of very many.
        let limit = if owner.is_empty() { page.limit() } else { WINDOW };
        let mut listed = store::list_due(&mut connection, program_id, filter, behind, limit).await?;
        let is_full = !owner.is_empty() && i64::try_from(listed.len()).is_ok_and(|count| count == WINDOW);
        let window_end = listed.last().filter(|_| is_full).map(write_place);
        listed.retain(|it| owner.is_empty() || it.owner == owner);
        let (listed, next_page_token) = page.cut_by(listed, write_place, bytes, window_end);
        let accounts: Vec<_> = listed.iter().map(|it| it.complaint_id.account_id).collect();
        let names: BTreeMap<AccountId, CustomerId> =
            read_customer_ids(&mut connection, &accounts).await?.into_iter().collect();
        let named =
            listed.into_iter().filter_map(|it| Some((names.get(&it.complaint_id.account_id)?.clone(), it.at(now))));
        Ok((currency, named.collect(), next_page_token))
    }

    /// What became of a program's complaints in a period, part by part.
    ///
    /// # Errors
    /// If the program is unknown, the instant lies ahead, the period has no days or too many parts, or too many count already.
    pub(crate) async fn get_complaint_metrics(
        &self,
        question: MetricsQuestion,
        principal_id: PrincipalId,
    ) -> Result<(Timestamp, Vec<((Date, Date), Tally)>), Error> {
        let MetricsQuestion { program_id, from, until, each, as_of, category_id } = question;
        let mut place = self.counts.take(principal_id).await?;
        let as_of = self.instants.close("as_of", as_of).await?;
        place.begin_snapshot().await?;
        let policy = read_version_at(&mut place.connection, &program_id, as_of).await?;
        let program = policy.ok_or_else(|| program_not_found(&program_id))?.program;
        let days = divide(program.day_of(as_of), (from, until), each);
        let days = days.map_err(|violation| Error::Invalid(vec![violation]))?;
        let begin = |day: Date| CalendarPeriod::begin_of_day(Some(day), &program.time_zone.0);
        let begins: Vec<Timestamp> = days.iter().map(|(first, _)| begin(*first)).collect();
        let until = days.last().map_or(FIRST_INSTANT, |(_, until)| begin(*until));
        let counted =
            Counted { program_id: &program_id, begins: &begins, until, as_of, category_id: category_id.as_ref() };
        let tallies = count(&mut place.connection, &counted).await?;
        Ok((as_of, days.into_iter().zip(tallies).collect()))
    }
}

/// About how many bytes a complaint takes in a page.
fn bytes(listed: &Listed) -> usize {
    600 + listed.text.len() + listed.owner.len()
}

/// The place of a complaint among those that press, as a cursor.
fn write_place(listed: &Listed) -> String {
    let at = listed.urgent_at().unwrap_or(LAST_INSTANT);
    format!("{} {}", at.as_microsecond(), listed.complaint_id)
}

fn parse_place(cursor: &str) -> Option<DueRow> {
    let (at, complaint_id) = cursor.split_once(' ')?;
    Some((Timestamp::from_microsecond(at.parse().ok()?).ok()?, complaint_id.parse().ok()?))
}
