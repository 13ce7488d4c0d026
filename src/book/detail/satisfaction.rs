//! What a customer said, as entries tell it: numbers and names of the program's document.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::wide;
use crate::book::words::stored_words;
use crate::ids::FactorId;

/// What a customer said. What was not asked or not answered is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// How satisfied they are, 1 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub satisfaction: Option<i16>,
    /// How likely it is that they would recommend the business, 0 to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommendation: Option<i16>,
    /// The three questions of the American Customer Satisfaction Index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acsi: Option<AcsiAnswers>,
    /// What they think of single factors, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub factors: Vec<FactorAnswer>,
    /// What they received, and what it cost them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<DeliveredValue>,
    /// How it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<FeedbackChannel>,
    /// How much the choice matters to them, 1 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub involvement: Option<i16>,
    /// How many brands they buy from; 1 or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brands: Option<i32>,
}

/// Answers to the three questions of the American Customer Satisfaction Index, each 1 to 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcsiAnswers {
    /// How satisfied they are in all.
    pub satisfaction: i16,
    /// How well expectations were met.
    pub expectation: i16,
    /// How close it comes to an ideal.
    pub ideal: i16,
}

/// What a customer thinks of one factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactorAnswer {
    /// The factor.
    pub factor_id: FactorId,
    /// How satisfied they are with it, 1 to 5.
    pub score: i16,
    /// How important it is to them, 1 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance: Option<i16>,
}

/// What a customer received and what it cost them, in minor units of the program's currency; each zero or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveredValue {
    /// What they received, all together.
    #[serde(deserialize_with = "wide::number")]
    pub received: i64,
    /// What they paid.
    #[serde(deserialize_with = "wide::number")]
    pub money: i64,
    /// What the time is worth to them.
    #[serde(deserialize_with = "wide::number")]
    pub time: i64,
    /// What the effort is worth to them.
    #[serde(deserialize_with = "wide::number")]
    pub effort: i64,
    /// What the nerves are worth to them.
    #[serde(deserialize_with = "wide::number")]
    pub nerves: i64,
}

impl DeliveredValue {
    /// What was delivered: what they received less all that it cost. None if that is more than can be counted.
    #[must_use]
    pub fn delivered(&self) -> Option<i64> {
        let costs = [self.money, self.time, self.effort, self.nerves];
        costs.into_iter().try_fold(self.received, i64::checked_sub)
    }
}

/// How feedback came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, EnumString, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FeedbackChannel {
    /// By a mobile app.
    App,
    /// By a page on the web.
    Web,
    /// By e-mail.
    Email,
    /// By text message.
    Sms,
    /// By telephone.
    Phone,
    /// By letter.
    Post,
    /// Face to face.
    InPerson,
}

stored_words!(FeedbackChannel);
