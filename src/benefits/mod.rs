//! Benefits: what a customer's standing and grants entitle them to, and what they used of it.

mod commands;
pub(crate) mod granting;
mod grants;
pub(crate) mod grpc;
mod model;
mod packages;
mod rights;
pub(crate) mod state;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool};

use crate::book::{Book, Command, Detail, Entry, UseCounts, Writer, Written};
use crate::database::StoreError;
use crate::error::Error;
use crate::ids::{AccountId, BenefitId, CustomerId, EntryId, PackageId, ProgramId};
use crate::money::Currency;
use crate::paging::PageRequest;
use crate::programs::benefits::{Benefit, Quota};
use crate::programs::model::{Program, ProgramVersion};
use crate::tiers::standing::Standing;
use crate::tiers::{CustomerTier, Tiers};
use commands::{ReverseBenefitUse, UseBenefit};
use granting::{GrantEntitlement, RevokeEntitlement};
use model::{Present, begins_tier_period, counts_at, left_of, resets_at, used_in};

pub(crate) use grants::Grant;
pub(crate) use packages::worker::keep_giving_packages;
pub(crate) use store::capability;
pub(crate) use store::grants::FoundGrant;

/// Where the places of grants in a list begin: behind those of the benefits of a tier, of which there are fewer.
const FIRST_GRANT: i64 = 1_000_000;

/// The use cases of benefits.
#[derive(Clone)]
pub(crate) struct Benefits {
    book: Book,
    pool: PgPool,
    tiers: Tiers,
}

/// What a customer is entitled to, with what is left of it.
#[derive(Clone, Debug)]
pub(crate) struct Entitlement {
    /// The benefit.
    pub benefit: Benefit,
    /// The currency of its amounts.
    pub currency: Currency,
    /// By which right they have it.
    pub source: EntitlementSource,
    /// What is left of its quota; none, if it has none.
    pub quota: Option<QuotaLeft>,
    /// How often it was used by a grant; none by a tier, whose uses only a quota counts.
    pub used: i64,
}

/// By which right a customer is entitled to something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntitlementSource {
    /// By the tier that they hold.
    Tier,
    /// By a grant, which is an entry.
    Grant {
        /// The entry.
        entitlement_id: EntryId,
        /// Since when.
        since: Timestamp,
        /// Until when; it has no end, if absent.
        until: Option<Timestamp>,
        /// The package that it was in, if it was in one.
        package_id: Option<PackageId>,
    },
}

/// What was used of a quota, and what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuotaLeft {
    /// How often the benefit was used in the quota's period.
    pub used: i64,
    /// How often it still may be.
    pub left: i64,
    /// When the quota is whole again, if that is known.
    pub resets_at: Option<Timestamp>,
}

/// An entry about a benefit that a caller wrote.
#[derive(Clone, Debug)]
pub(crate) struct BenefitEntry {
    /// The entry.
    pub entry: Entry,
    /// Whether this was a repetition.
    pub replayed: bool,
}

impl Benefits {
    /// Benefits that follow from `tiers`, written through `book` and read from `pool`.
    #[must_use]
    pub(crate) const fn new(book: Book, pool: PgPool, tiers: Tiers) -> Self {
        Self { book, pool, tiers }
    }

    /// A page of what a customer is entitled to: what the tier gives, in the order of the program's document, and then what
    /// was granted, the oldest first. It comes with the standing that entitles them.
    ///
    /// # Errors
    /// If the customer is unknown (then), the instant lies ahead, or the page token is bad.
    pub(crate) async fn list_customer_benefits(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        as_of: Option<Timestamp>,
        page: &PageRequest,
    ) -> Result<(CustomerTier, Vec<Entitlement>, String), Error> {
        let after = page.after_number()?.unwrap_or(0);
        let customer_tier = self.tiers.get_customer_tier(program_id, customer_id, as_of).await?;
        // As benefits are used: by what the version in force says of the tier, which gives nothing where it has it no more.
        let current = customer_tier.policy.program.tier(&customer_tier.standing.tier_id);
        let numbered = (1_i64..).zip(current.into_iter().flat_map(|tier| tier.benefits.iter().cloned()));
        let (numbers, of_tier): (Vec<i64>, Vec<Benefit>) = numbered.filter(|(number, _)| *number > after).unzip();
        let of_tier = self.count_uses(&customer_tier, of_tier).await?;
        let mut rest: Vec<(i64, Entitlement)> = numbers.into_iter().zip(of_tier).collect();
        let behind = after.saturating_sub(FIRST_GRANT).max(0);
        let granted = self.find_granted(&customer_tier, as_of.is_none(), behind, page.limit()).await?;
        let versions = granted.iter().map(|found| found.grant.policy_version).collect();
        let versions = self.tiers.versions(program_id, versions).await?;
        for FoundGrant { granted_seq, grant, used } in granted {
            let entitlement_id = EntryId { account_id: customer_tier.changed.account_id, account_seq: granted_seq };
            let version = versions.get(&grant.policy_version);
            rest.push((FIRST_GRANT + granted_seq, describe_grant(version, entitlement_id, grant, used)?));
        }
        let cursor = |(number, _): &(i64, Entitlement)| number.to_string();
        let (listed, next_page_token) = page.cut_by(rest, cursor, |(_, entitlement)| entitlement.bytes(), None);
        Ok((customer_tier, listed.into_iter().map(|(_, entitlement)| entitlement).collect(), next_page_token))
    }

    /// The grants that were in force at the instant of a standing, the oldest first, with what time gives that is not written
    /// yet.
    async fn find_granted(
        &self,
        customer_tier: &CustomerTier,
        is_now: bool,
        behind: i64,
        limit: i64,
    ) -> Result<Vec<FoundGrant>, Error> {
        let (account_id, at) = (customer_tier.changed.account_id, customer_tier.as_of);
        let mut connection = self.pool.acquire().await?;
        // It is told what is due where a standing is: packages may be owed of one that is not.
        let is_owed = is_now
            && customer_tier.dues.is_empty()
            && packages::store::is_owed(&mut connection, account_id, at).await?;
        let owed = if is_owed { self.tiers.find_dues(&mut connection, account_id).await? } else { Vec::new() };
        let due = customer_tier.dues.iter().chain(&owed).filter_map(|entry| {
            let grant = Grant::of_entry(entry).filter(|it| it.granted_at <= at && it.ended_by(at).is_none())?;
            Some((entry.id.account_seq, FoundGrant { granted_seq: entry.id.account_seq, grant, used: 0 }))
        });
        let mut found: BTreeMap<i64, FoundGrant> = due.filter(|(seq, _)| *seq > behind).collect();
        // What has been written meanwhile is there as it is.
        let written = store::grants::list_in_force(&mut connection, account_id, at, behind, limit).await?;
        found.extend(written.into_iter().map(|it| (it.granted_seq, it)));
        Ok(found.into_values().collect())
    }

    /// What was used of benefits, as far as they have quotas.
    async fn count_uses(&self, tier: &CustomerTier, benefits: Vec<Benefit>) -> Result<Vec<Entitlement>, Error> {
        let limited = benefits.iter().filter(|benefit| benefit.quota.is_some());
        let limited: Vec<BenefitId> = limited.map(|benefit| benefit.benefit_id.clone()).collect();
        let (mut last, mut tier_period) = (BTreeMap::new(), 0);
        if !limited.is_empty() {
            let account_id = tier.changed.account_id;
            let mut connection = self.pool.acquire().await?;
            let uses = store::read_last_uses(&mut connection, account_id, &limited, tier.as_of).await?;
            last = uses.into_iter().map(|it| (it.benefit_id, it.counts)).collect();
            tier_period = store::periods::read_tier_period(&mut connection, account_id, tier.as_of).await?;
            // What time has done since is not written yet.
            tier_period = tier.dues.iter().filter_map(begun_by).fold(tier_period, i64::max);
        }
        let program = &tier.policy.program;
        let present = Present { day: program.day_of(tier.as_of), tier_period };
        let entitlements = benefits.into_iter().map(|benefit| {
            let counts = counts_at(last.get(&benefit.benefit_id), present);
            let quota = benefit.quota.map(|quota| quota_left(quota, &counts, program, &tier.standing, tier.as_of));
            Entitlement { benefit, currency: program.currency, source: EntitlementSource::Tier, quota, used: 0 }
        });
        Ok(entitlements.collect())
    }

    /// Carries out what a caller does about a benefit.
    async fn write(&self, command: impl Command + 'static, writer: Writer) -> Result<BenefitEntry, Error> {
        let Written { entries, replayed, .. } = self.book.submit(command, writer).await?;
        let entry = entries.into_iter().find(|entry| matches!(entry.detail, Detail::Benefit(_)));
        let entry =
            entry.ok_or_else(|| Error::Internal("a command about a benefit wrote no entry of it".to_owned()))?;
        Ok(BenefitEntry { entry, replayed })
    }

    /// Uses a benefit.
    ///
    /// # Errors
    /// Every refusal that `benefits.proto` lists.
    pub(crate) async fn use_benefit(&self, command: UseBenefit, writer: Writer) -> Result<BenefitEntry, Error> {
        self.write(command, writer).await
    }

    /// Undoes a use.
    ///
    /// # Errors
    /// Every refusal that `benefits.proto` lists.
    pub(crate) async fn reverse_benefit_use(
        &self,
        command: ReverseBenefitUse,
        writer: Writer,
    ) -> Result<BenefitEntry, Error> {
        self.write(command, writer).await
    }

    /// Entitles a customer to a benefit by hand, and tells what they have of it right after.
    ///
    /// # Errors
    /// Every refusal that `benefits.proto` lists.
    pub(crate) async fn grant_entitlement(
        &self,
        command: GrantEntitlement,
        writer: Writer,
    ) -> Result<(Entitlement, BenefitEntry), Error> {
        let written = self.write(command, writer).await?;
        let entry = &written.entry;
        let grant = Grant::of_entry(entry)
            .ok_or_else(|| Error::Internal("a grant of an entitlement wrote another entry".to_owned()))?;
        let version = self.tiers.version(&entry.program_id, grant.policy_version).await?;
        let entitlement = describe_grant(Some(&version), entry.id, grant, 0)?;
        Ok((entitlement, written))
    }

    /// Ends an entitlement by hand.
    ///
    /// # Errors
    /// Every refusal that `benefits.proto` lists.
    pub(crate) async fn revoke_entitlement(
        &self,
        command: RevokeEntitlement,
        writer: Writer,
    ) -> Result<BenefitEntry, Error> {
        self.write(command, writer).await
    }
}

/// A grant as its customer is told of it, by the version of the program that describes it.
fn describe_grant(
    version: Option<&Arc<ProgramVersion>>,
    entitlement_id: EntryId,
    grant: Grant,
    used: i64,
) -> Result<Entitlement, Error> {
    let found = version.and_then(|version| Some((grant.describe(&version.program)?, version.program.currency)));
    let (benefit, currency) = found
        .ok_or_else(|| Error::Internal(format!("the version of entitlement {entitlement_id} does not know it")))?;
    let left = |limit: i64| limit.saturating_sub(used).max(0);
    let Grant { granted_at: since, ends_at: until, package_id, limit, .. } = grant;
    Ok(Entitlement {
        benefit,
        currency,
        source: EntitlementSource::Grant { entitlement_id, since, until, package_id },
        quota: limit.map(|limit| QuotaLeft { used, left: left(limit), resets_at: None }),
        used,
    })
}

impl Entitlement {
    /// About how many bytes it takes in a page: most of them for people.
    fn bytes(&self) -> usize {
        300 + self.benefit.display_name.len() + self.benefit.description.len()
    }
}

/// A page of all that was ever granted to an account, the oldest first, with how often each grant was used.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_grants(
    connection: &mut PgConnection,
    account_id: AccountId,
    after: i64,
    limit: i64,
) -> Result<Vec<FoundGrant>, StoreError> {
    store::grants::list_all(connection, account_id, after, limit).await
}

/// The tier period that an entry begins, by its number.
fn begun_by(entry: &Entry) -> Option<i64> {
    match &entry.detail {
        Detail::Tier(detail) => begins_tier_period(entry, detail).then_some(entry.id.account_seq),
        Detail::Program(_)
        | Detail::Customer(_)
        | Detail::Activity(_)
        | Detail::Points(_)
        | Detail::Benefit(_)
        | Detail::Referral(_)
        | Detail::Complaint(_)
        | Detail::Goodwill(_)
        | Detail::Lifecycle(_)
        | Detail::Value(_) => None,
    }
}

fn quota_left(quota: Quota, counts: &UseCounts, program: &Program, standing: &Standing, at: Timestamp) -> QuotaLeft {
    QuotaLeft {
        used: used_in(counts, quota.per),
        left: left_of(quota, counts),
        resets_at: resets_at(quota, at, standing, &program.time_zone.0),
    }
}
