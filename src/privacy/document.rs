//! What stands in the document of one person: its parts, and what of each is theirs.
//!
//! Fields have the names of the protos. Nothing here tells of another person: of a referral there is the customer's own
//! side alone, and of an entry nothing that leads to another's account. `docs/schemas/customer-export-1.json` says the
//! same for readers. Another form needs another schema, with the next number.

mod entitlements;
mod entries;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::activities::state::{ActivityRow, Deed};
use crate::book::{Answers, Balance, Detail, Entry, TierDetail};
use crate::customers::model::Dossier;
use crate::customers::state::CustomerRow;
use crate::customers::stored::unknown_of;
use crate::ids::{AccountId, CampaignId, EntryId, ReferralCode, SurveyId, TierId};
use crate::money::Money;
use crate::points::lots::{Hold, Lot};
use crate::programs::model::Program;
use crate::referrals::model::{Code, Referral, ReferralState};
use crate::tiers::standing::Standing;
use entries::own_causes;

pub(super) use entitlements::EntitlementItem;
pub(super) use entries::EntryItem;

/// The schema that the document follows, by its id.
pub(super) const SCHEMA: &str = "urn:goldbook:schema:customer-export:1";

/// Who the customer is and how to reach them.
#[derive(Serialize)]
pub(super) struct DossierPart<'a> {
    #[serde(flatten)]
    dossier: &'a Dossier,
    /// What a newer version wrote of the customer.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    further: serde_json::Map<String, serde_json::Value>,
    create_time: Timestamp,
    update_time: Timestamp,
    etag: String,
}

impl<'a> DossierPart<'a> {
    /// # Errors
    /// If the dossier cannot be serialized, which is a defect.
    pub(super) fn of(row: &'a CustomerRow) -> Result<Self, serde_json::Error> {
        let (create_time, update_time) = (row.created_at, row.updated_at);
        let further = unknown_of(&row.stored, &row.dossier)?;
        Ok(Self { dossier: &row.dossier, further, create_time, update_time, etag: row.revision.to_string() })
    }
}

/// A sum of money, as `google.type.Money` has it.
#[derive(Serialize)]
struct MoneyPart {
    currency_code: &'static str,
    units: i64,
    nanos: i32,
}

impl From<Money> for MoneyPart {
    fn from(money: Money) -> Self {
        let (units, nanos) = money.to_units_and_nanos();
        Self { currency_code: money.currency.code(), units, nanos }
    }
}

/// The tier that the customer holds.
#[derive(Serialize)]
pub(super) struct TierPart<'a> {
    tier_id: &'a TierId,
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden_tier_id: Option<&'a TierId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    since: Timestamp,
    policy_version: i32,
    qualifying_spend: MoneyPart,
    entry_id: EntryId,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cause_entry_ids: Vec<EntryId>,
}

impl<'a> TierPart<'a> {
    pub(super) fn of(standing: &'a Standing, account_id: AccountId, program: &'a Program) -> Self {
        let entry = |account_seq| EntryId { account_id, account_seq };
        let given = standing.giving_seq();
        // A tier that was taken over is its own beginning, and so is one that was set by hand.
        let cause = Some(standing.cause_seq).filter(|cause| given == standing.changed_seq && *cause != given);
        Self {
            tier_id: &standing.tier_id,
            hidden_tier_id: standing.forced.as_ref().map(|forced| &forced.hidden),
            // A program may have a tier no more that is still held.
            display_name: program.tier(&standing.tier_id).map(|tier| tier.display_name.as_str()),
            since: standing.since,
            policy_version: standing.policy_version,
            qualifying_spend: program.money(standing.totals.spend).into(),
            entry_id: entry(given),
            cause_entry_ids: cause.map(entry).into_iter().collect(),
        }
    }
}

/// A change of the customer's tier.
#[derive(Serialize)]
pub(super) struct TierChangeItem<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    from_tier_id: Option<&'a TierId>,
    to_tier_id: &'a TierId,
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden_tier_id: Option<&'a TierId>,
    policy_version: i32,
    effective_at: Timestamp,
    entry_id: EntryId,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cause_entry_ids: Vec<EntryId>,
}

impl<'a> TierChangeItem<'a> {
    /// The change that an entry tells of; none for any other entry.
    pub(super) fn of(entry: &'a Entry) -> Option<Self> {
        let (from_tier_id, to_tier_id, hidden_tier_id) = match &entry.detail {
            Detail::Tier(TierDetail::TierChanged { from, to, hidden, .. }) => (from.as_ref(), to, hidden.as_ref()),
            Detail::Tier(TierDetail::TierImported { from, to, hidden, .. }) => (Some(from), to, hidden.as_ref()),
            Detail::Tier(TierDetail::TierOverridden { from, to, hidden, .. }) => (Some(from), to, Some(hidden)),
            Detail::Tier(TierDetail::TierReleased { from, to, .. }) => (Some(from), to, None),
            Detail::Tier(TierDetail::ReferralCounted { .. })
            | Detail::Program(_)
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Benefit(_)
            | Detail::Referral(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_) => return None,
        };
        Some(Self {
            from_tier_id,
            to_tier_id,
            hidden_tier_id,
            policy_version: entry.policy_version,
            effective_at: entry.effective_at,
            entry_id: entry.id,
            cause_entry_ids: own_causes(entry),
        })
    }
}

/// Where the customer's points are.
#[derive(Serialize)]
pub(super) struct PocketsPart {
    issued: i64,
    owed: i64,
    pending: i64,
    available: i64,
    held: i64,
    redeemed: i64,
    expired: i64,
    cancelled: i64,
}

impl PocketsPart {
    pub(super) const fn of(balance: &Balance) -> Self {
        let Balance { issued, owed, pending, available, held, redeemed, expired, cancelled } = *balance;
        Self { issued, owed, pending, available, held, redeemed, expired, cancelled }
    }
}

/// The points of one grant and where they are.
#[derive(Serialize)]
pub(super) struct LotItem {
    lot_id: EntryId,
    points: i64,
    pending: i64,
    available: i64,
    held: i64,
    redeemed: i64,
    expired: i64,
    cancelled: i64,
    repaid: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    vests_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vest_by: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

impl LotItem {
    pub(super) fn of(lot_id: EntryId, lot: &Lot, expires_at: Option<Timestamp>) -> Self {
        let is_pending = lot.pending > 0;
        Self {
            lot_id,
            points: lot.points,
            pending: lot.pending,
            available: lot.available,
            held: lot.held,
            redeemed: lot.redeemed,
            expired: lot.expired,
            cancelled: lot.cancelled,
            repaid: lot.repaid,
            vests_at: lot.terms.vests_at.filter(|_| is_pending),
            vest_by: lot.terms.vest_by.filter(|_| is_pending),
            expires_at,
        }
    }
}

/// Points that were set aside for a spend.
#[derive(Serialize)]
pub(super) struct HoldItem {
    hold_id: EntryId,
    points: i64,
    held: i64,
    held_at: Timestamp,
    ends_at: Timestamp,
}

impl HoldItem {
    pub(super) fn of(hold_id: EntryId, hold: &Hold, held_at: Timestamp) -> Self {
        Self { hold_id, points: hold.points, held: hold.remaining(), held_at, ends_at: hold.ends_at }
    }
}

/// Something that the customer did.
#[derive(Serialize)]
pub(super) struct ActivityItem<'a> {
    activity_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    purchase: Option<PurchasePart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund: Option<RefundPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    feedback: Option<FeedbackPart<'a>>,
    happened_at: Timestamp,
    recorded_at: Timestamp,
    entry_id: EntryId,
}

#[derive(Serialize)]
struct PurchasePart {
    amount: MoneyPart,
}

#[derive(Serialize)]
struct RefundPart<'a> {
    purchase_activity_id: &'a str,
    amount: MoneyPart,
}

#[derive(Serialize)]
struct FeedbackPart<'a> {
    #[serde(flatten)]
    answers: &'a Answers,
    #[serde(skip_serializing_if = "Option::is_none")]
    survey_id: Option<&'a SurveyId>,
    #[serde(skip_serializing_if = "str::is_empty")]
    text: &'a str,
}

impl<'a> ActivityItem<'a> {
    pub(super) fn of(row: &'a ActivityRow, program: &Program) -> Self {
        let money = |amount: i64| program.money(amount).into();
        let (mut purchase, mut refund, mut feedback) = (None, None, None);
        match &row.what {
            Deed::Purchase { amount } => purchase = Some(PurchasePart { amount: money(*amount) }),
            Deed::Refund { purchase: (_, bought), amount } => {
                refund = Some(RefundPart { purchase_activity_id: bought.as_str(), amount: money(*amount) });
            }
            Deed::Feedback { survey_id, answers, text } => {
                feedback = Some(FeedbackPart { answers, survey_id: survey_id.as_ref(), text });
            }
        }
        Self {
            activity_id: row.activity_id.as_str(),
            purchase,
            refund,
            feedback,
            happened_at: row.happened_at,
            recorded_at: row.recorded_at,
            entry_id: row.entry_id,
        }
    }
}

/// A code that the customer shares.
#[derive(Serialize)]
pub(super) struct CodeItem<'a> {
    code: &'a ReferralCode,
    campaign_id: &'a CampaignId,
    create_time: Timestamp,
    entry_id: EntryId,
}

impl<'a> CodeItem<'a> {
    pub(super) fn of(code: &'a Code, account_id: AccountId) -> Self {
        let entry_id = EntryId { account_id, account_seq: code.account_seq };
        Self { code: &code.code, campaign_id: &code.campaign_id, create_time: code.created_at, entry_id }
    }
}

/// What both sides of a referral may know of it.
#[derive(Serialize)]
struct ReferralFacts<'a> {
    campaign_id: &'a CampaignId,
    state: &'static str,
    create_time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    convert_time: Option<Timestamp>,
    policy_version: i32,
}

impl<'a> ReferralFacts<'a> {
    fn of(referral: &'a Referral) -> Self {
        let convert_time = match referral.state {
            ReferralState::Converted { at, .. } => Some(at),
            ReferralState::Pending | ReferralState::Expired { .. } => None,
        };
        Self {
            campaign_id: &referral.campaign_id,
            state: referral.state.word(),
            create_time: referral.created_at,
            expire_time: referral.expires_at,
            convert_time,
            policy_version: referral.policy_version,
        }
    }
}

/// The referral by which the customer was brought. The code that they used is the referrer's, and would name them.
#[derive(Serialize)]
pub(super) struct OwnReferral<'a> {
    #[serde(flatten)]
    facts: ReferralFacts<'a>,
    entry_id: EntryId,
    #[serde(skip_serializing_if = "Option::is_none")]
    qualifying_entry_id: Option<EntryId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referee_reward_entry_id: Option<EntryId>,
}

impl<'a> OwnReferral<'a> {
    pub(super) fn of(referral: &'a Referral) -> Self {
        let (qualifying_entry_id, referee_reward_entry_id) = match referral.state {
            ReferralState::Converted { qualifying, referee_reward, .. } => (qualifying, referee_reward),
            ReferralState::Pending | ReferralState::Expired { .. } => (None, None),
        };
        let entry_id = EntryId { account_id: referral.referee, account_seq: referral.created_seq };
        Self { facts: ReferralFacts::of(referral), entry_id, qualifying_entry_id, referee_reward_entry_id }
    }
}

/// A referral by which the customer brought another.
#[derive(Serialize)]
pub(super) struct ReferralItem<'a> {
    #[serde(flatten)]
    facts: ReferralFacts<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a ReferralCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referrer_reward_entry_id: Option<EntryId>,
}

impl<'a> ReferralItem<'a> {
    /// The referral, with the customer's own code among `codes`.
    pub(super) fn of(referral: &'a Referral, codes: &'a [Code]) -> Self {
        let referrer_reward_entry_id = match referral.state {
            ReferralState::Converted { referrer_reward, .. } => referrer_reward,
            ReferralState::Pending | ReferralState::Expired { .. } => None,
        };
        let code = codes.iter().find(|code| code.campaign_id == referral.campaign_id).map(|code| &code.code);
        Self { facts: ReferralFacts::of(referral), code, referrer_reward_entry_id }
    }
}

/// Who called as the customer, as far as they proved it.
#[derive(Serialize)]
pub(super) struct OwnPrincipal {
    /// What entries name them by.
    pub(super) principal_id: Uuid,
    /// How they proved who they are.
    pub(super) kind: String,
    /// Who vouches for them; empty where it is the service itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) issuer: String,
    /// Their name to whoever vouches.
    pub(super) subject: String,
    /// When the service saw them first.
    pub(super) first_seen: Timestamp,
}
