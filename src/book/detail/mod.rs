//! What an entry can say: every kind of it, with its results. Each room has an enum of its own kinds here, since the book
//! imports no capability, and each state matches the kinds of its own room one by one.

mod activities;
mod benefits;
mod complaints;
mod customers;
mod goodwill;
mod lifecycle;
mod points;
mod programs;
mod referrals;
mod satisfaction;
mod tiers;
mod value;
mod wide;

use std::borrow::Cow;

pub use activities::{ActivityDetail, Multiplied};
pub use benefits::{BenefitDetail, Occasion, UseCounts};
pub use complaints::{
    ComplaintChange, ComplaintDeadline, ComplaintDetail, ComplaintOutcome, ComplaintPriority, ComplaintState,
    Deadlines, RemedyKind,
};
pub use customers::{CustomerDetail, ErasureReason};
pub use goodwill::{GivenCounts, GoodwillDetail};
pub use lifecycle::{
    Answered, BrandClass, Facts, LifecycleDetail, LoyaltyClass, Position, SatisfactionClass, Silence, Stage,
};
pub use points::{EarningWindow, LotPart, LotTerms, PointsDetail};
pub use programs::{DowngradeTime, ProgramDetail};
pub use referrals::ReferralDetail;
pub use satisfaction::{AcsiAnswers, Answers, DeliveredValue, FactorAnswer, FeedbackChannel};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use strum::VariantNames as _;
pub use tiers::{Counts, Earnings, Outlook, OverrideForce, TierDetail, TierMove};
pub use value::{
    ClassedCount, Classification, Figure, Holdout, PurchaseParameters, RelationshipLevel, SpendParameters, ValueDetail,
    ValueMeasure, ValueModel,
};
pub(crate) use wide::quote_wide_numbers;

/// What happened to an account. Holds no name, no free text and nothing that a caller chose.
///
/// In JSON the room does not appear: `kind` alone tells which enum the rest belongs to. Reading looks at `kind` first,
/// and is no `Deserialize`, since trying one enum after another is slow and tells no cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Detail {
    /// It is about the program.
    Program(ProgramDetail),
    /// It is about the customer.
    Customer(CustomerDetail),
    /// It is about something that the customer did.
    Activity(ActivityDetail),
    /// It is about the customer's points.
    Points(PointsDetail),
    /// It is about the customer's tier.
    Tier(TierDetail),
    /// It is about what the customer is entitled to.
    Benefit(BenefitDetail),
    /// It is about the customer's referral, or the codes that they share.
    Referral(ReferralDetail),
    /// It is about something that the customer complained of.
    Complaint(ComplaintDetail),
    /// It is about what was given as goodwill.
    Goodwill(GoodwillDetail),
    /// It is about where the customer stands in the relationship.
    Lifecycle(LifecycleDetail),
    /// It is about what the customer is worth.
    Value(ValueDetail),
}

impl Detail {
    /// Reads a detail from text.
    ///
    /// # Errors
    /// If the text is no JSON, there is no such kind, or a field of the kind is missing or of another type.
    pub fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        /// The kind alone: whatever else there is, is passed over.
        #[derive(Deserialize)]
        struct Tag<'a> {
            #[serde(borrow)]
            kind: Cow<'a, str>,
        }
        let Tag { kind } = serde_json::from_str(json)?;
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let detail = Self::read(&kind, &mut deserializer)?;
        deserializer.end()?;
        Ok(detail)
    }

    /// Reads a detail of a known kind.
    fn read<'de, D: Deserializer<'de>>(kind: &str, json: D) -> Result<Self, D::Error> {
        if ProgramDetail::VARIANTS.contains(&kind) {
            ProgramDetail::deserialize(json).map(Self::Program)
        } else if CustomerDetail::VARIANTS.contains(&kind) {
            CustomerDetail::deserialize(json).map(Self::Customer)
        } else if ActivityDetail::VARIANTS.contains(&kind) {
            ActivityDetail::deserialize(json).map(Self::Activity)
        } else if PointsDetail::VARIANTS.contains(&kind) {
            PointsDetail::deserialize(json).map(Self::Points)
        } else if TierDetail::VARIANTS.contains(&kind) {
            TierDetail::deserialize(json).map(Self::Tier)
        } else if BenefitDetail::VARIANTS.contains(&kind) {
            BenefitDetail::deserialize(json).map(Self::Benefit)
        } else if ReferralDetail::VARIANTS.contains(&kind) {
            ReferralDetail::deserialize(json).map(Self::Referral)
        } else if ComplaintDetail::VARIANTS.contains(&kind) {
            ComplaintDetail::deserialize(json).map(Self::Complaint)
        } else if GoodwillDetail::VARIANTS.contains(&kind) {
            GoodwillDetail::deserialize(json).map(Self::Goodwill)
        } else if LifecycleDetail::VARIANTS.contains(&kind) {
            LifecycleDetail::deserialize(json).map(Self::Lifecycle)
        } else if ValueDetail::VARIANTS.contains(&kind) {
            ValueDetail::deserialize(json).map(Self::Value)
        } else {
            Err(D::Error::custom(format_args!("unknown variant `{kind}`: no entry has this kind")))
        }
    }

    /// The kind's name in the `kind` column.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Program(detail) => detail.into(),
            Self::Customer(detail) => detail.into(),
            Self::Activity(detail) => detail.into(),
            Self::Points(detail) => detail.into(),
            Self::Tier(detail) => detail.into(),
            Self::Benefit(detail) => detail.into(),
            Self::Referral(detail) => detail.into(),
            Self::Complaint(detail) => detail.into(),
            Self::Goodwill(detail) => detail.into(),
            Self::Lifecycle(detail) => detail.into(),
            Self::Value(detail) => detail.into(),
        }
    }

    /// What the entry says about points, if it is about points.
    #[must_use]
    pub const fn points(&self) -> Option<&PointsDetail> {
        match self {
            Self::Points(detail) => Some(detail),
            Self::Program(_)
            | Self::Customer(_)
            | Self::Activity(_)
            | Self::Tier(_)
            | Self::Benefit(_)
            | Self::Referral(_)
            | Self::Complaint(_)
            | Self::Goodwill(_)
            | Self::Lifecycle(_)
            | Self::Value(_) => None,
        }
    }

    /// The lots that the entry took points from or gave points to, and how many; not the lot that it made.
    #[must_use]
    pub fn lots(&self) -> &[LotPart] {
        self.points().map_or(&[], PointsDetail::lots)
    }

    /// How many points it would have been without a cap, where one cut what was earned.
    #[must_use]
    pub const fn uncapped(&self) -> Option<i64> {
        match self {
            Self::Activity(detail) => detail.uncapped(),
            Self::Points(detail) => detail.uncapped(),
            Self::Program(_)
            | Self::Customer(_)
            | Self::Tier(_)
            | Self::Benefit(_)
            | Self::Referral(_)
            | Self::Complaint(_)
            | Self::Goodwill(_)
            | Self::Lifecycle(_)
            | Self::Value(_) => None,
        }
    }

    /// Whether the entry makes a lot.
    #[must_use]
    pub fn makes_lot(&self) -> bool {
        self.points().is_some_and(|detail| detail.lot_terms().is_some())
    }

    /// The detail as JSON: the text that is hashed and stored.
    ///
    /// # Errors
    /// If serialization fails, which for these types is a defect.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// The detail as JSON for others: as [`to_json`](Self::to_json), with integers beyond 2^53 as strings.
    /// [`from_json`](Self::from_json) reads it back.
    ///
    /// # Errors
    /// As there.
    pub fn to_wire_json(&self) -> Result<String, serde_json::Error> {
        Ok(quote_wide_numbers(&self.to_json()?))
    }
}

impl From<ActivityDetail> for Detail {
    fn from(detail: ActivityDetail) -> Self {
        Self::Activity(detail)
    }
}

impl From<BenefitDetail> for Detail {
    fn from(detail: BenefitDetail) -> Self {
        Self::Benefit(detail)
    }
}

impl From<ComplaintDetail> for Detail {
    fn from(detail: ComplaintDetail) -> Self {
        Self::Complaint(detail)
    }
}

impl From<CustomerDetail> for Detail {
    fn from(detail: CustomerDetail) -> Self {
        Self::Customer(detail)
    }
}

impl From<GoodwillDetail> for Detail {
    fn from(detail: GoodwillDetail) -> Self {
        Self::Goodwill(detail)
    }
}

impl From<LifecycleDetail> for Detail {
    fn from(detail: LifecycleDetail) -> Self {
        Self::Lifecycle(detail)
    }
}

impl From<PointsDetail> for Detail {
    fn from(detail: PointsDetail) -> Self {
        Self::Points(detail)
    }
}

impl From<ProgramDetail> for Detail {
    fn from(detail: ProgramDetail) -> Self {
        Self::Program(detail)
    }
}

impl From<ReferralDetail> for Detail {
    fn from(detail: ReferralDetail) -> Self {
        Self::Referral(detail)
    }
}

impl From<TierDetail> for Detail {
    fn from(detail: TierDetail) -> Self {
        Self::Tier(detail)
    }
}

impl From<ValueDetail> for Detail {
    fn from(detail: ValueDetail) -> Self {
        Self::Value(detail)
    }
}

#[cfg(test)]
mod tests;
