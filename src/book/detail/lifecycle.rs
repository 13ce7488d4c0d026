//! Entries about where a customer stands in the relationship.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

use super::wide;
use crate::book::words::stored_words;

/// What happened to the relationship with a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum LifecycleDetail {
    /// It was decided where the customer stands from now on.
    LifecycleDecided {
        /// Where they stood before; nothing was decided, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Position>,
        /// Where they stand.
        to: Position,
        /// What is known of them by now, which decided it.
        by: Box<Facts>,
        /// What silence will do to it.
        silence: Silence,
    },
}

/// Where a customer stands in the relationship.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The stage of the lifecycle.
    pub stage: Stage,
    /// By satisfaction and behaviour; none, while it is not known how satisfied they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub satisfaction: Option<SatisfactionClass>,
    /// By attitude and behaviour; none, while their attitude is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loyalty: Option<LoyaltyClass>,
    /// By involvement and brands; none, while these are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brands: Option<BrandClass>,
}

/// A stage of the lifecycle of customers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, EnumString, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Stage {
    /// They have bought nothing yet.
    Prospect,
    /// They have bought.
    FirstTime,
    /// They have bought again.
    Repeat,
    /// They buy as those do who stay.
    Client,
    /// They bring others.
    Advocate,
    /// Something tells that they may leave.
    AtRisk,
    /// They have not bought for so long that they are likely to have left.
    Lapsed,
    /// They have not bought for so long that they have left.
    Lost,
    /// They have bought again after they had lapsed or were lost.
    WonBack,
}

stored_words!(Stage);

/// The quadrants of satisfaction and behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, EnumString, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum SatisfactionClass {
    /// Satisfied, and buys again and again.
    Apostle,
    /// Satisfied, and does not.
    Mercenary,
    /// Not satisfied, and buys again and again.
    Hostage,
    /// Not satisfied, and does not.
    Defector,
}

stored_words!(SatisfactionClass);

/// The quadrants of attitude and behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, EnumString, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum LoyaltyClass {
    /// Would recommend the business, and buys again and again.
    TrueLoyalty,
    /// Would recommend it, and does not.
    LatentLoyalty,
    /// Would not, and buys again and again.
    SpuriousLoyalty,
    /// Neither.
    NoLoyalty,
}

stored_words!(LoyaltyClass);

/// The diamond of involvement and brands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, EnumString, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum BrandClass {
    /// Cares, and buys of few.
    Loyal,
    /// Does not care, and buys of few.
    Habitual,
    /// Cares, and buys of many.
    ManyBrand,
    /// Does not care, and buys of many.
    Switcher,
}

stored_words!(BrandClass);

/// What is known of a customer, as far as it decides where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Purchases above zero that were not refunded as a whole.
    pub purchases: i64,
    /// What was spent less what was refunded, with what was brought along from another system, in minor units.
    #[serde(deserialize_with = "wide::number")]
    pub spend: i64,
    /// Referrals that converted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub referrals: i64,
    /// When they bought last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_purchase_at: Option<Timestamp>,
    /// How satisfied they said last that they are, 1 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub satisfaction: Option<Answered>,
    /// How likely they said last that they would recommend the business, 0 to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommendation: Option<Answered>,
    /// How much they said last that the choice matters to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub involvement: Option<Answered>,
    /// Of how many brands they said last that they buy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brands: Option<Answered>,
    /// Complaints that are not resolved.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open_complaints: i64,
}

/// What a customer answered last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The number.
    pub answer: i32,
    /// When they said it.
    pub at: Timestamp,
}

/// After how many days without a purchase a customer stands elsewhere: each of 24 hours. What is absent silence does not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// They buy no more again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rare: Option<i32>,
    /// They are at risk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_risk: Option<i32>,
    /// They have lapsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lapsed: Option<i32>,
    /// They are lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<i32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it in so")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}
