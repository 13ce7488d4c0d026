//! Benefits: what a customer's standing entitles them to, and what they used of it.

mod commands;
pub(crate) mod grpc;
mod model;
mod state;
mod store;

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::PgPool;

use crate::book::{Book, Detail, Entry, UseCounts, Writer, Written};
use crate::error::Error;
use crate::ids::{BenefitId, CustomerId, ProgramId};
use crate::paging::PageRequest;
use crate::programs::benefits::{Benefit, Quota};
use crate::programs::model::Program;
use crate::tiers::standing::Standing;
use crate::tiers::{CustomerTier, Tiers};
use commands::{ReverseBenefitUse, UseBenefit};
use model::{Present, begins_tier_period, counts_at, left_of, resets_at, used_in};

pub(crate) use store::capability;

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
    /// What is left of its quota; none, if it has none.
    pub quota: Option<QuotaLeft>,
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

/// An entry of a use, or of the reversal of one.
#[derive(Clone, Debug)]
pub(crate) struct UseEntry {
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

    /// A page of what a customer is entitled to, in the order of the program's document. It comes with the standing
    /// that entitles them.
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
        let numbered = (1_i64..).zip(customer_tier.tier.benefits.iter().cloned());
        let rest = numbered.filter(|(number, _)| *number > after).collect();
        let (benefits, next_page_token) = page.cut(rest, |(number, _)| number.to_string());
        let benefits = benefits.into_iter().map(|(_, benefit)| benefit).collect();
        let entitlements = self.count_uses(&customer_tier, benefits).await?;
        Ok((customer_tier, entitlements, next_page_token))
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
            tier_period = store::read_tier_period(&mut connection, account_id, tier.as_of).await?;
            // What time has done since is not written yet.
            tier_period = tier.dues.iter().filter_map(begun_by).fold(tier_period, i64::max);
        }
        let program = &tier.policy.program;
        let present = Present { day: program.day_of(tier.as_of), tier_period };
        let entitlements = benefits.into_iter().map(|benefit| {
            let counts = counts_at(last.get(&benefit.benefit_id), present);
            let quota = benefit.quota.map(|quota| quota_left(quota, &counts, program, &tier.standing, tier.as_of));
            Entitlement { benefit, quota }
        });
        Ok(entitlements.collect())
    }

    /// Uses a benefit.
    ///
    /// # Errors
    /// Every refusal that `benefits.proto` lists.
    pub(crate) async fn use_benefit(&self, command: UseBenefit, writer: Writer) -> Result<UseEntry, Error> {
        into_use_entry(self.book.submit(command, writer).await?)
    }

    /// Undoes a use.
    ///
    /// # Errors
    /// Every refusal that `benefits.proto` lists.
    pub(crate) async fn reverse_benefit_use(
        &self,
        command: ReverseBenefitUse,
        writer: Writer,
    ) -> Result<UseEntry, Error> {
        into_use_entry(self.book.submit(command, writer).await?)
    }
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
        | Detail::Referral(_) => None,
    }
}

fn quota_left(quota: Quota, counts: &UseCounts, program: &Program, standing: &Standing, at: Timestamp) -> QuotaLeft {
    QuotaLeft {
        used: used_in(counts, quota.per),
        left: left_of(quota, counts),
        resets_at: resets_at(quota, at, standing, &program.time_zone.0),
    }
}

fn into_use_entry(written: Written) -> Result<UseEntry, Error> {
    let Written { entries, replayed, .. } = written;
    let entry = entries.into_iter().find(|entry| matches!(entry.detail, Detail::Benefit(_)));
    let entry = entry.ok_or_else(|| Error::Internal("a use of a benefit wrote no entry of its own".to_owned()))?;
    Ok(UseEntry { entry, replayed })
}
