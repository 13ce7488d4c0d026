//! Everything that can go wrong with a request, by kind. [`crate::status`] alone turns it into a gRPC status.

use std::fmt;

/// What a caller is told when a request is not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The request is bad on its face; every violation is listed.
    #[error("the request has {} bad field(s)", .0.len())]
    Invalid(Vec<Violation>),
    /// The body is no message of the method, which it says.
    #[error("the body is no message of this method: {0}")]
    Unreadable(String),
    /// State or rules refuse it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too much is waiting already; trying again later may work.
    #[error("too much is waiting")]
    Overloaded,
    /// A bound of the service was reached, which it says; trying again later, or going on from where it stopped, may work.
    #[error("{0}")]
    Exhausted(String),
    /// The caller did that too often, or has too much under way; trying again later will work.
    #[error("too many {what}")]
    Limited {
        /// What there is too much of.
        what: &'static str,
        /// When to try again.
        retry_after: std::time::Duration,
    },
    /// The database is away; trying again later may work.
    #[error("the database is not available")]
    Unavailable,
    /// The keys of the issuer of a token were never received; trying again later may work.
    #[error("the keys of the token's issuer are not known yet")]
    IssuerAway,
    /// It is about something stored that this version does not know, such as a newer one's, which it says; a service of the
    /// newer version may do it.
    #[error("written by a newer version: {0}")]
    Newer(String),
    /// Writes that began before this instant are still under way; trying again later may work.
    #[error("writes that began before {0} are still under way")]
    InstantOpen(jiff::Timestamp),
    /// The caller's deadline passed before the work began; nothing was written.
    #[error("the deadline passed before the work began")]
    DeadlineExceeded,
    /// A defect or a failure that the caller can do nothing about.
    #[error("internal error: {0}")]
    Internal(String),
    /// The same, where it is logged already: this says what failed, and the log says why.
    #[error("internal error: {0}; its failure is in the log")]
    InternalLogged(String),
}

impl Error {
    /// Whether the moment is to blame, so that the same may well succeed later.
    #[must_use]
    pub(crate) const fn is_of_the_moment(&self) -> bool {
        match self {
            Self::Overloaded
            | Self::Exhausted(_)
            | Self::Limited { .. }
            | Self::Unavailable
            | Self::IssuerAway
            | Self::InstantOpen(_)
            | Self::DeadlineExceeded => true,
            // It may be long until no older version runs, or the newer one again.
            Self::Newer(_)
            | Self::Invalid(_)
            | Self::Unreadable(_)
            | Self::Refused(_)
            | Self::Internal(_)
            | Self::InternalLogged(_) => false,
        }
    }
}

/// An error with its causes on one line, for the log. The outer error often says no more than that something failed.
#[must_use]
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Many errors tell their cause themselves.
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}

/// Something that contradicts the book's own rules: a bug or a damaged database, never the caller's doing. It names the
/// ids that it is about.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{description}")]
pub struct Defect {
    description: String,
    is_unknown: bool,
}

impl Defect {
    /// A defect, described for whoever mends it.
    pub fn new(description: impl Into<String>) -> Self {
        Self { description: description.into(), is_unknown: false }
    }

    /// Something stored that this version does not know, such as a word that a newer one added. Nobody can tell that from
    /// damage here; an audit by the newest version can.
    pub fn unknown(description: impl Into<String>) -> Self {
        Self { description: description.into(), is_unknown: true }
    }

    /// Something stored as JSON that cannot be read: what it is, and why.
    pub(crate) fn unread(what: impl fmt::Display, error: &serde_json::Error) -> Self {
        let description = format!("{what}: {error}");
        // Serde tells these in words alone: a field, a word, or a form of a choice that this version does not have.
        let unknown = ["unknown field `", "unknown variant `", "invalid value: map, expected map with a single key"];
        let is_unknown = unknown.iter().any(|begin| error.to_string().starts_with(begin));
        Self { description, is_unknown }
    }

    /// Whether a newer version may understand it.
    #[must_use]
    pub(crate) const fn is_unknown(&self) -> bool {
        self.is_unknown
    }
}

impl From<Defect> for Error {
    fn from(defect: Defect) -> Self {
        if defect.is_unknown { Self::Newer(defect.description) } else { Self::Internal(defect.description) }
    }
}

/// One field that is bad on its face.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field's path in the request, such as `customer.email`.
    pub field: String,
    /// What it must be.
    pub description: String,
}

/// Why a request was refused, with what a program needs to react to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Why the request was refused, by a name that never changes.
    pub reason: Reason,
    /// The same for people.
    pub message: String,
    /// The facts behind it, such as the id that was not found.
    pub metadata: Vec<(&'static str, String)>,
}

impl Refusal {
    /// A refusal without metadata.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), metadata: Vec::new() }
    }

    /// Adds a fact that a program can read.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }
}

/// Lists the reasons once, with their wire names.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// The stable reasons of business refusals, `ErrorInfo.reason` on the wire. `docs/errors.md` lists the same.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire, in `UPPER_SNAKE_CASE`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// No program has this id.
    ProgramNotFound => "PROGRAM_NOT_FOUND",
    /// The program's currency or time zone cannot change once it has been applied.
    ProgramFieldImmutable => "PROGRAM_FIELD_IMMUTABLE",
    /// The program has no customer of this id (at that instant).
    CustomerNotFound => "CUSTOMER_NOT_FOUND",
    /// The program already has a customer of this id.
    CustomerAlreadyExists => "CUSTOMER_ALREADY_EXISTS",
    /// The customer was erased, and this request does not say that they come back.
    CustomerErased => "CUSTOMER_ERASED",
    /// Points of the customer are held for spends that are under way.
    PointsHeld => "POINTS_HELD",
    /// The service has no key to erase customers with.
    ErasureKeyMissing => "ERASURE_KEY_MISSING",
    /// The dossier changed since the etag was read.
    EtagMismatch => "ETAG_MISMATCH",
    /// The idempotency key was used with another request.
    IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
    /// The activity id was used with other content.
    ActivityIdReused => "ACTIVITY_ID_REUSED",
    /// The instant lies in the future.
    InstantInFuture => "INSTANT_IN_FUTURE",
    /// The first version of a program cannot begin later, and no more may be scheduled than are.
    VersionNotScheduled => "VERSION_NOT_SCHEDULED",
    /// Another version of the program is the latest than the request expects.
    ProgramVersionMismatch => "PROGRAM_VERSION_MISMATCH",
    /// The amount is not in the program's currency.
    CurrencyMismatch => "CURRENCY_MISMATCH",
    /// A balance or a sum would pass what the book can count.
    AmountOverflow => "AMOUNT_OVERFLOW",
    /// The program has no tier of this id.
    TierNotFound => "TIER_NOT_FOUND",
    /// Another version of the program is in force than the request names.
    ProgramVersionNotInForce => "PROGRAM_VERSION_NOT_IN_FORCE",
    /// A re-evaluation by this version has not ended.
    ReevaluationUnderWay => "REEVALUATION_UNDER_WAY",
    /// The program has no re-evaluation of this id.
    ReevaluationNotFound => "REEVALUATION_NOT_FOUND",
    /// No override of the customer's tier is in force.
    TierNotOverridden => "TIER_NOT_OVERRIDDEN",
    /// The program has no campaign of this id.
    CampaignNotFound => "CAMPAIGN_NOT_FOUND",
    /// The campaign has not begun, has ended, or was taken out of the program.
    CampaignNotActive => "CAMPAIGN_NOT_ACTIVE",
    /// No customer of the program has this referral code.
    ReferralCodeNotFound => "REFERRAL_CODE_NOT_FOUND",
    /// The campaign of this referral code has ended.
    ReferralCodeExpired => "REFERRAL_CODE_EXPIRED",
    /// A customer cannot refer themselves.
    OwnReferralCode => "OWN_REFERRAL_CODE",
    /// The referee was already referred, once and for all.
    AlreadyReferred => "ALREADY_REFERRED",
    /// The referee has purchased before, or was erased, and is not new.
    NotANewCustomer => "NOT_A_NEW_CUSTOMER",
    /// The customer was never referred.
    ReferralNotFound => "REFERRAL_NOT_FOUND",
    /// The time to convert the referral has passed.
    ReferralExpired => "REFERRAL_EXPIRED",
    /// The referee has made no purchase that qualifies.
    NotQualified => "NOT_QUALIFIED",
    /// No entry has this id in this program.
    EntryNotFound => "ENTRY_NOT_FOUND",
    /// The customer was granted no reward of this id.
    RewardNotFound => "REWARD_NOT_FOUND",
    /// The reward's points do not wait for an event.
    RewardNotPending => "REWARD_NOT_PENDING",
    /// The customer has no hold of this id.
    HoldNotFound => "HOLD_NOT_FOUND",
    /// The hold was captured, released, or has ended.
    HoldEnded => "HOLD_ENDED",
    /// Fewer points are available, or held, than the request asks for.
    InsufficientPoints => "INSUFFICIENT_POINTS",
    /// The program allows no redemption of so many points.
    RedemptionOutsideLimits => "REDEMPTION_OUTSIDE_LIMITS",
    /// One transaction may not bring so many points, or the period's cap leaves none.
    EarningCapExceeded => "EARNING_CAP_EXCEEDED",
    /// The instant does not lie ahead.
    InstantNotAhead => "INSTANT_NOT_AHEAD",
    /// Entries of this kind cannot be reversed; a reversal cannot be reversed.
    EntryNotReversible => "ENTRY_NOT_REVERSIBLE",
    /// The entry was reversed whole before.
    EntryAlreadyReversed => "ENTRY_ALREADY_REVERSED",
    /// More would be reversed than the entry has left.
    ReversalExceedsOriginal => "REVERSAL_EXCEEDS_ORIGINAL",
    /// Nothing of the grant is there to be taken.
    NothingToReverse => "NOTHING_TO_REVERSE",
    /// The time to reinstate expired points has passed, or the program has none.
    ReinstatementClosed => "REINSTATEMENT_CLOSED",
    /// The program has no factor of this id.
    FactorNotFound => "FACTOR_NOT_FOUND",
    /// The customer answered this survey before.
    SurveyAnswered => "SURVEY_ANSWERED",
    /// The program has no category of complaints of this id.
    ComplaintCategoryNotFound => "COMPLAINT_CATEGORY_NOT_FOUND",
    /// The customer has no complaint of this id.
    ComplaintNotFound => "COMPLAINT_NOT_FOUND",
    /// The program has no such model of value, or none yet.
    ValueModelNotFound => "VALUE_MODEL_NOT_FOUND",
    /// What customers bought tells too little to fit a model to, or too much.
    ValueModelNotFitted => "VALUE_MODEL_NOT_FITTED",
    /// No customers of the program were classed at this end.
    ValueClassificationNotFound => "VALUE_CLASSIFICATION_NOT_FOUND",
    /// The program has no segment of this id.
    SegmentNotFound => "SEGMENT_NOT_FOUND",
    /// What is tried says nothing of value classes.
    ValueClassesNotSet => "VALUE_CLASSES_NOT_SET",
    /// The step does not fit where the complaint stands.
    ComplaintState => "COMPLAINT_STATE",
    /// The customer has as many open complaints as one may have.
    TooManyComplaints => "TOO_MANY_COMPLAINTS",
    /// The complaint has as many steps as one may have.
    TooManyComplaintSteps => "TOO_MANY_COMPLAINT_STEPS",
    /// The program lets nothing such be given as goodwill.
    GoodwillNotOffered => "GOODWILL_NOT_OFFERED",
    /// It is more goodwill than a limit leaves.
    GoodwillLimitExceeded => "GOODWILL_LIMIT_EXCEEDED",
    /// The customer has no purchase of this activity id yet.
    PurchaseUnknown => "PURCHASE_UNKNOWN",
    /// More would be refunded than was paid.
    RefundExceedsPurchase => "REFUND_EXCEEDS_PURCHASE",
    /// The program does not know this benefit.
    BenefitNotFound => "BENEFIT_NOT_FOUND",
    /// The customer has no right to this benefit.
    BenefitNotEntitled => "BENEFIT_NOT_ENTITLED",
    /// The book itself applies this benefit.
    BenefitNotUsable => "BENEFIT_NOT_USABLE",
    /// The use counts as more than is left of the benefit's quota.
    BenefitQuotaExhausted => "BENEFIT_QUOTA_EXHAUSTED",
    /// The customer has no use of a benefit of this id.
    BenefitUseNotFound => "BENEFIT_USE_NOT_FOUND",
    /// The customer was never granted this entitlement.
    EntitlementNotFound => "ENTITLEMENT_NOT_FOUND",
    /// The entitlement has ended, or was revoked.
    EntitlementEnded => "ENTITLEMENT_ENDED",
    /// The customer has as many grants as one may have at a time.
    TooManyEntitlements => "TOO_MANY_ENTITLEMENTS",
    /// One command would touch more lots than it may.
    TooManyLots => "TOO_MANY_LOTS",
    /// Nothing was summed up by that instant yet.
    LiabilityUnknown => "LIABILITY_UNKNOWN",
    /// Nobody proved who calls, or not in a way that counts here.
    NotAuthenticated => "NOT_AUTHENTICATED",
    /// The caller may not send this request.
    NotPermitted => "NOT_PERMITTED",
    /// A newer version of the service wrote something that this one does not know.
    WrittenByNewerVersion => "WRITTEN_BY_NEWER_VERSION",
    /// The page token is not one that this method returned for these filters.
    PageTokenInvalid => "PAGE_TOKEN_INVALID",
}

/// Collects every bad field of a request, so that the caller hears of all of them at once.
#[derive(Debug, Default)]
pub struct Fields(Vec<Violation>);

impl Fields {
    /// Notes that `field` is bad.
    pub fn refuse(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation { field: field.into(), description: description.into() });
    }

    /// Keeps what parsed, and notes what did not.
    pub fn check<T, E: fmt::Display>(&mut self, field: impl Into<String>, parsed: Result<T, E>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(description) => {
                self.refuse(field, description.to_string());
                None
            }
        }
    }

    /// Whether nothing was noted so far.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    #[must_use]
    pub fn into_violations(self) -> Vec<Violation> {
        self.0
    }

    /// The error that lists all of them.
    #[must_use]
    pub fn into_error(self) -> Error {
        Error::Invalid(self.0)
    }

    /// Ends parsing with what was parsed: none if a part of it is missing, which was noted then.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every violation, if there is one.
    pub fn finish_with<T>(self, parsed: Option<T>) -> Result<T, Error> {
        match parsed {
            Some(parsed) if self.is_clean() => Ok(parsed),
            _ => Err(self.into_error()),
        }
    }

    /// Ends parsing.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every violation, if there is one.
    pub fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into_error()) }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Choice {
        Never,
        After(#[expect(dead_code, reason = "what is read is not looked at")] i32),
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Rule {
        #[expect(dead_code, reason = "what is read is not looked at")]
        choice: Choice,
    }

    /// Serde tells them apart in words alone, which a new version of it might change.
    #[test]
    fn what_a_newer_version_adds_is_told_from_damage() {
        let is_unknown = |json: serde_json::Value| {
            let defect = Defect::unread("a rule", &serde_json::from_value::<Rule>(json).unwrap_err());
            assert!(defect.to_string().starts_with("a rule: "));
            defect.is_unknown()
        };
        for newer in [
            serde_json::json!({"choice": "never", "households": true}),
            serde_json::json!({"choice": "sometimes"}),
            serde_json::json!({"choice": {"sometimes": 1}}),
            serde_json::json!({"choice": {"after": 1, "sometimes": 1}}),
        ] {
            assert!(is_unknown(newer.clone()), "{newer}");
        }
        for damaged in [
            serde_json::json!({}),
            serde_json::json!({"choice": 1}),
            serde_json::json!({"choice": {"after": "noon"}}),
            serde_json::json!(null),
        ] {
            assert!(!is_unknown(damaged.clone()), "{damaged}");
        }
    }
}
