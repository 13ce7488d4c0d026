//! Referrals: who brought whom, by which code, and what came of it.

mod commands;
pub(crate) mod grpc;
pub(crate) mod model;
pub(crate) mod purchases;
pub(crate) mod state;
mod store;

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool};

use crate::book::{Book, Detail, ReferralDetail, Writer};
use crate::clock::Clock;
use crate::customers::model::customer_not_found;
use crate::customers::{find_account, read_customer_ids};
use crate::database::{StoreError, leave_out_unreadable};
use crate::error::Error;
use crate::ids::{AccountId, CampaignId, CustomerId, ProgramId, ReferralCode};
use crate::paging::{PageRequest, parse_number};
use crate::programs::model::Which;
use crate::programs::model::program_not_found;
use crate::programs::read_version;
use commands::{ConvertReferral, CreateReferralCode};
use model::{Code, NamedCode, NamedReferral, Referral, ReferralState, code_not_found, make_code, referral_not_found};

pub(crate) use commands::CreateReferral;
pub(crate) use store::{capability, purchases_capability};

/// The use cases of referrals.
#[derive(Clone)]
pub(crate) struct Referrals {
    book: Book,
    pool: PgPool,
    clock: Clock,
}

impl Referrals {
    /// Referrals written through `book` and read from `pool`.
    #[must_use]
    pub(crate) const fn new(book: Book, pool: PgPool, clock: Clock) -> Self {
        Self { book, pool, clock }
    }

    /// The customer's code in a campaign, made if they have none. Says whether it was made.
    ///
    /// # Errors
    /// If the program, the customer or the campaign is unknown, or the campaign does not run.
    pub(crate) async fn create_referral_code(
        &self,
        program_id: ProgramId,
        customer_id: CustomerId,
        campaign_id: CampaignId,
        writer: Writer,
    ) -> Result<(NamedCode, bool), Error> {
        let code = ReferralCode::parse(&make_code(|len| rand::random_range(0..len)));
        let code =
            code.map_err(|error| Error::Internal(format!("a random referral code of program {program_id}: {error}")))?;
        let command = CreateReferralCode { program_id, customer_id, campaign_id, code };
        let mut written = self.book.submit(command, writer).await?;
        Ok((written.take_told()?, !written.entries.is_empty()))
    }

    /// Finds a code and the customer who shares it.
    ///
    /// # Errors
    /// If the program or the code is unknown.
    pub(crate) async fn get_referral_code(
        &self,
        program_id: &ProgramId,
        code: &ReferralCode,
    ) -> Result<NamedCode, Error> {
        let mut connection = self.pool.acquire().await?;
        let Some((account_id, found)) = store::find_code(&mut connection, program_id, code).await? else {
            let version = read_version(&mut connection, program_id, Which::Latest).await?;
            version.ok_or_else(|| program_not_found(program_id))?;
            return Err(code_not_found(code).into());
        };
        name_code(&mut connection, &self.clock, program_id, account_id, found).await
    }

    /// Attaches a new customer to whoever shared the code, once for ever. Says whether it is a repetition.
    ///
    /// # Errors
    /// Every refusal that `referrals.proto` lists.
    pub(crate) async fn create_referral(
        &self,
        create: CreateReferral,
        writer: Writer,
    ) -> Result<(NamedReferral, bool), Error> {
        let program_id = create.program_id.clone();
        let mut written = self.book.submit(create, writer).await?;
        let named: NamedReferral = written.take_told()?;
        let created = written.entries.into_iter().find_map(|entry| match entry.detail {
            Detail::Referral(ReferralDetail::ReferralCreated { campaign_id, referrer, expires_at }) => Some(Referral {
                referee: entry.id.account_id,
                referrer,
                campaign_id,
                policy_version: entry.policy_version,
                state: ReferralState::Pending,
                created_seq: entry.id.account_seq,
                created_at: entry.effective_at,
                expires_at,
            }),
            Detail::Referral(
                ReferralDetail::ReferralCodeCreated { .. }
                | ReferralDetail::ReferralConverted { .. }
                | ReferralDetail::ReferralExpired,
            )
            | Detail::Program(_)
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Tier(_)
            | Detail::Benefit(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_) => None,
        });
        let created = created.ok_or_else(|| {
            Error::Internal(format!("program {program_id}: a new referral wrote no entry of its own"))
        })?;
        // A repetition is answered as the call that it repeats, whatever became of the referral.
        Ok((NamedReferral { referral: created, ..named }, written.replayed))
    }

    /// Finds the referral by which a customer was brought.
    ///
    /// # Errors
    /// If the program or the customer is unknown, or the customer was never referred.
    pub(crate) async fn get_referral(
        &self,
        program_id: &ProgramId,
        referee: &CustomerId,
    ) -> Result<NamedReferral, Error> {
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, referee).await?;
        let (referrals, told) = store::read_referrals(&mut connection, &[account_id]).await?;
        let referral = referrals.into_iter().next().ok_or_else(|| referral_not_found(referee))?;
        let referral = referral.at_instant(self.clock.present(told));
        let named = name_referrals(&mut connection, vec![referral]).await?.pop();
        named.ok_or_else(|| Error::Internal(format!("the referral of account {} has no names", account_id.0)))
    }

    /// A page of the referrals that a customer made, the newest first.
    ///
    /// # Errors
    /// If the program or the customer is unknown, or the page token is bad.
    pub(crate) async fn list_referrals(
        &self,
        program_id: &ProgramId,
        referrer: &CustomerId,
        page: &PageRequest,
    ) -> Result<(Vec<NamedReferral>, String), Error> {
        let before = page.after_with(parse_cursor)?;
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, referrer).await?;
        let (referrals, told) = store::list_referrals(&mut connection, account_id, before, page.limit()).await?;
        let (referrals, next_page_token) = page.cut(referrals, |row| row.cursor.clone());
        let now = self.clock.present(told);
        let referrals_as_of =
            leave_out_unreadable(referrals).into_iter().map(|referral| referral.at_instant(now)).collect();
        Ok((name_referrals(&mut connection, referrals_as_of).await?, next_page_token))
    }

    /// Converts a referral by hand, or confirms that it has converted. Says whether it had.
    ///
    /// # Errors
    /// If there is no referral, its time passed, its campaign is gone, or nothing qualifies.
    pub(crate) async fn convert_referral(
        &self,
        program_id: ProgramId,
        referee: CustomerId,
        writer: Writer,
    ) -> Result<(NamedReferral, bool), Error> {
        let mut written = self.book.submit(ConvertReferral { program_id, referee }, writer).await?;
        Ok((written.take_told()?, written.entries.is_empty()))
    }
}

/// The codes that an account shares: one for each campaign at most.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_codes(connection: &mut PgConnection, account_id: AccountId) -> Result<Vec<Code>, StoreError> {
    store::read_codes(connection, account_id).await
}

/// The referral by which an account was brought, as it is at an instant.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_referral_of(
    connection: &mut PgConnection,
    referee: AccountId,
    at: Timestamp,
) -> Result<Option<Referral>, StoreError> {
    let (mut referrals, _) = store::read_referrals(connection, &[referee]).await?;
    Ok(referrals.pop().map(|referral| referral.at_instant(at)))
}

/// The referrals that an account made before one of them, the newest first, as they are at an instant; at most `limit`.
///
/// # Errors
/// If the database cannot be read, or one cannot be understood.
pub(crate) async fn read_referrals_by(
    connection: &mut PgConnection,
    referrer: AccountId,
    before: Option<(Timestamp, AccountId)>,
    at: Timestamp,
    limit: i64,
) -> Result<Vec<Referral>, StoreError> {
    let (listed, _) = store::list_referrals(connection, referrer, before, limit).await?;
    listed.into_iter().map(|row| Ok(row.item?.at_instant(at))).collect()
}

async fn name_code(
    connection: &mut PgConnection,
    clock: &Clock,
    program_id: &ProgramId,
    account_id: AccountId,
    code: Code,
) -> Result<NamedCode, Error> {
    let owner = read_customer_ids(connection, &[account_id]).await?.pop();
    let (_, customer_id) = owner.ok_or_else(|| code_not_found(&code.code))?;
    let version = read_version(connection, program_id, Which::InForce(clock.shown())).await?;
    let version = version.ok_or_else(|| customer_not_found(&customer_id))?;
    Ok(NamedCode::new(customer_id, account_id, code, &version))
}

/// Finds the names of everyone in some referrals, in one statement for each kind.
async fn name_referrals(connection: &mut PgConnection, referrals: Vec<Referral>) -> Result<Vec<NamedReferral>, Error> {
    let customers: Vec<AccountId> =
        referrals.iter().flat_map(|referral| [referral.referee, referral.referrer]).collect();
    let referrers: BTreeSet<AccountId> = referrals.iter().map(|referral| referral.referrer).collect();
    let names = store::read_names(connection, &customers, &referrers.into_iter().collect::<Vec<_>>()).await?;
    Ok(referrals.into_iter().map(|referral| names.name(referral)).collect())
}

fn parse_cursor(cursor: &str) -> Option<(Timestamp, AccountId)> {
    let (micros, account) = cursor.split_once('.')?;
    let at = Timestamp::from_microsecond(parse_number(micros)?).ok()?;
    Some((at, AccountId(account.parse().ok()?)))
}
