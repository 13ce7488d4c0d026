//! Segments: the customers of whom all clauses hold that a program names, found as they are asked for.

pub(crate) mod grpc;
mod model;
mod reading;
mod store;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::book::{Capabilities, Instants, begin_snapshot};
use crate::customers::model::customer_not_found;
use crate::customers::{find_account, find_entries_by};
use crate::database::{ExportBounds, ExportPlaces, StoreError, by_key};
use crate::error::{Error, Reason, Refusal};
use crate::ids::{AccountId, CustomerId, PrincipalId, ProgramId, SegmentId};
use crate::paging::PageRequest;
use crate::programs::model::{Program, ProgramVersion, program_not_found};
use crate::programs::next::Tried;
use crate::programs::segments::Segment;
use crate::programs::{SegmentFinder, read_tried, read_version_at};
use crate::value::counted_within as within;
use reading::{Asked, Crowd};

/// How many customers a page of members looks at, at most.
const LOOKED_AT: usize = 10_240;
/// How many it reads at a time, at least.
const LEAST_READ: usize = 32;
/// Of how many customers a segment may be whose customers alone are counted: about 60 bytes are kept of each meanwhile.
const MAX_COUNTED: usize = 2_000_000;

/// How many list members at a time: each looks at many customers.
const LISTS: ExportBounds = ExportBounds { at_a_time: 4, of_one: 2, ..ExportBounds::COUNTS };

/// The use cases of segments.
#[derive(Clone)]
pub(crate) struct Segments {
    pool: PgPool,
    instants: Instants,
    capabilities: Capabilities,
    counts: ExportPlaces,
    lists: ExportPlaces,
}

/// A segment of a program, by a version or a document of it.
#[derive(Clone, Debug)]
pub(crate) struct SegmentQuestion {
    pub program_id: ProgramId,
    pub segment_id: SegmentId,
    pub as_of: Option<Timestamp>,
    /// The version in force at the instant, if nothing is tried.
    pub tried: Option<Tried>,
}

/// A page of a segment's customers.
pub(crate) struct Members {
    pub as_of: Timestamp,
    pub customers: Vec<CustomerId>,
    pub next_page_token: String,
    pub left_out: i64,
}

/// How many customers are in a segment.
pub(crate) struct SegmentSize {
    pub as_of: Timestamp,
    pub members: i64,
    pub customers: i64,
    pub left_out: i64,
}

/// The segments that a customer is in.
pub(crate) struct OwnSegments {
    pub as_of: Timestamp,
    pub version: i32,
    pub segments: Vec<Segment>,
}

impl Segments {
    /// Segments of a customer read from `pool`. Whoever looks at many customers connects to the database itself.
    #[must_use]
    pub(crate) fn new(
        pool: PgPool,
        database: &PgConnectOptions,
        instants: Instants,
        capabilities: Capabilities,
    ) -> Self {
        let counts = ExportPlaces::new(by_key(database), ExportBounds::COUNTS);
        let lists = ExportPlaces::new(by_key(database), LISTS);
        Self { pool, instants, capabilities, counts, lists }
    }

    /// A page of the customers of a segment.
    ///
    /// # Errors
    /// If the program, its version or the segment is unknown, or the instant lies ahead.
    pub(crate) async fn list_segment_members(
        &self,
        question: SegmentQuestion,
        page: &PageRequest,
        principal_id: PrincipalId,
    ) -> Result<Members, Error> {
        let behind = page.after_with(parse_place)?;
        let mut place = self.lists.take(principal_id).await?;
        // All pages are of the instant of the first.
        let as_of = self.instants.close("as_of", behind.map(|(as_of, _)| as_of).or(question.as_of)).await?;
        place.begin_snapshot().await?;
        let (policy, segment) = find_segment(&mut place.connection, question, as_of).await?;
        let asked = Asked::new(&policy.program, std::slice::from_ref(&segment), as_of);
        let after = behind.map_or(AccountId(Uuid::nil()), |(_, after)| after);
        let mut crowd = Crowd::behind(&asked, &self.capabilities, after);
        let looked = within(look(&mut crowd, &mut place.connection, page.limit())).await?;
        let Looked { members, left_out, end } = looked;
        let has_more = i64::try_from(members.len()).is_ok_and(|found| found == page.limit());
        let cursor = |account_id: AccountId| format!("{} {}", as_of.as_microsecond(), account_id.0);
        let (members, next_page_token) =
            page.cut_by(members, |(account_id, _)| cursor(*account_id), |_| 1, end.map(cursor));
        // Those behind the last member are looked at again, where there are more members than fit.
        let last = members.last().map(|(account_id, _)| *account_id).filter(|_| has_more);
        let left_out = left_out.iter().filter(|account_id| last.is_none_or(|last| **account_id < last)).count();
        let customers = members.into_iter().map(|(_, customer_id)| customer_id).collect();
        Ok(Members { as_of, customers, next_page_token, left_out: i64::try_from(left_out).unwrap_or(i64::MAX) })
    }

    /// How many customers are in a segment.
    ///
    /// # Errors
    /// If the program, its version or the segment is unknown, the instant lies ahead, or they are not counted in time.
    pub(crate) async fn count_segment(
        &self,
        question: SegmentQuestion,
        principal_id: PrincipalId,
    ) -> Result<SegmentSize, Error> {
        let mut place = self.counts.take(principal_id).await?;
        let as_of = self.instants.close("as_of", question.as_of).await?;
        place.begin_snapshot().await?;
        let (policy, segment) = find_segment(&mut place.connection, question, as_of).await?;
        let asked = Asked::new(&policy.program, std::slice::from_ref(&segment), as_of);
        let mut crowd = Crowd::behind(&asked, &self.capabilities, AccountId(Uuid::nil()));
        let (members, customers) = within(crowd.count(&mut place.connection)).await?;
        Ok(SegmentSize { as_of, members, customers, left_out: crowd.left_out() })
    }

    /// The segments that a customer is in, now or at an instant.
    ///
    /// # Errors
    /// If the customer is unknown (then), or the instant lies ahead.
    pub(crate) async fn list_customer_segments(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        as_of: Option<Timestamp>,
    ) -> Result<OwnSegments, Error> {
        let as_of = self.instants.close("as_of", as_of).await?;
        let mut connection = self.pool.acquire().await?;
        let mut snapshot = begin_snapshot(&mut connection).await?;
        let account_id = find_account(&mut snapshot, program_id, customer_id).await?;
        find_entries_by(&mut snapshot, (account_id, customer_id), Some(as_of)).await?;
        let policy = read_version_at(&mut snapshot, program_id, as_of).await?;
        let policy = policy.ok_or_else(|| program_not_found(program_id))?;
        let asked = Asked::new(&policy.program, &policy.program.segments, as_of);
        let mut crowd = Crowd::behind(&asked, &self.capabilities, account_id);
        let found = crowd.read_one(&mut snapshot, account_id, customer_id).await?;
        snapshot.commit().await?;
        let found = found.ok_or_else(|| customer_not_found(customer_id))?;
        let is_in = |place: usize| policy.program.segments.get(place).cloned();
        let segments = found.segments.into_iter().filter_map(is_in).collect();
        Ok(OwnSegments { as_of, version: policy.version, segments })
    }
}

/// Finds the customers of segments, for whoever counts these alone.
pub(crate) struct MemberFinder {
    capabilities: Capabilities,
}

impl MemberFinder {
    /// One that reads what these keep.
    #[must_use]
    pub(crate) const fn new(capabilities: Capabilities) -> Self {
        Self { capabilities }
    }
}

#[async_trait]
impl SegmentFinder for MemberFinder {
    async fn find_members(
        &self,
        snapshot: &mut PgConnection,
        policy: &ProgramVersion,
        segment_id: &SegmentId,
        as_of: Timestamp,
    ) -> Result<Vec<AccountId>, Error> {
        let segment = segment_in(&policy.program, segment_id, as_of)?;
        let asked = Asked::new(&policy.program, std::slice::from_ref(segment), as_of);
        let mut crowd = Crowd::behind(&asked, &self.capabilities, AccountId(Uuid::nil()));
        let members = async {
            let mut members = Vec::new();
            while let Some(page) = crowd.next_page(snapshot, usize::MAX).await? {
                members.extend(page.found.iter().filter(|it| !it.segments.is_empty()).map(|it| it.account_id));
                if members.len() > MAX_COUNTED {
                    let too_many = format!("more than {MAX_COUNTED} customers are in the segment");
                    return Err(Error::Exhausted(too_many));
                }
            }
            Ok(members)
        };
        within(members).await
    }
}

/// What a page of members has come to.
struct Looked {
    members: Vec<(AccountId, CustomerId)>,
    left_out: Vec<AccountId>,
    /// The last customer who was looked at; none, if that was the last of all.
    end: Option<AccountId>,
}

/// Looks for so many members among the next customers.
async fn look(crowd: &mut Crowd<'_>, connection: &mut PgConnection, wanted: i64) -> Result<Looked, StoreError> {
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let mut looked = Looked { members: Vec::new(), left_out: Vec::new(), end: None };
    let mut looked_at = 0;
    while looked.members.len() < wanted && looked_at < LOOKED_AT {
        // Where few are wanted, few are read at first.
        let limit = (wanted - looked.members.len()).max(looked_at).max(LEAST_READ);
        let Some(page) = crowd.next_page(connection, limit).await? else {
            looked.end = None;
            return Ok(looked);
        };
        looked_at += page.looked_at;
        looked.end = Some(crowd.after());
        looked.left_out.extend(page.left_out);
        let members = page.found.into_iter().filter(|found| !found.segments.is_empty());
        looked.members.extend(members.map(|found| (found.account_id, found.customer_id)));
    }
    looked.members.truncate(wanted);
    Ok(looked)
}

/// The version that is asked about, and its segment.
async fn find_segment(
    connection: &mut PgConnection,
    question: SegmentQuestion,
    as_of: Timestamp,
) -> Result<(ProgramVersion, Segment), Error> {
    let SegmentQuestion { program_id, segment_id, as_of: _, tried } = question;
    let policy = read_version_at(connection, &program_id, as_of).await?;
    let policy = policy.ok_or_else(|| program_not_found(&program_id))?;
    let policy = match tried {
        None => policy,
        Some(tried) => read_tried(connection, (&policy, as_of), tried).await?,
    };
    let segment = segment_in(&policy.program, &segment_id, as_of)?.clone();
    Ok((policy, segment))
}

fn segment_in<'a>(program: &'a Program, segment_id: &SegmentId, as_of: Timestamp) -> Result<&'a Segment, Refusal> {
    let segment = program.segments.iter().find(|segment| segment.segment_id == *segment_id);
    segment.ok_or_else(|| {
        let message = format!("the program has no segment {segment_id} at {as_of}");
        Refusal::new(Reason::SegmentNotFound, message).with("segment_id", segment_id)
    })
}

/// An instant and an account, as a page token tells them.
fn parse_place(cursor: &str) -> Option<(Timestamp, AccountId)> {
    let (micros, account_id) = cursor.split_once(' ')?;
    let as_of = Timestamp::from_microsecond(micros.parse().ok()?).ok()?;
    Some((as_of, AccountId(Uuid::try_parse(account_id).ok()?)))
}
