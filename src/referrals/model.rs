//! Who may bring whom, what makes a referral convert, and what both sides get for it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use strum::{EnumDiscriminants, EnumString, IntoStaticStr};

use crate::book::{Actor, Decision, DecisionError, EntryReason, NewEntry, ReferralDetail};
use crate::error::{Reason, Refusal};
use crate::ids::{AccountId, CampaignId, CustomerId, EntryId, ReferralCode};
use crate::points::amount::Points;
use crate::points::grants::model::{Grant, grant};
use crate::programs::model::{Campaign, Program, ProgramVersion};
use crate::tiers::model::count_referral;

/// How long the codes are that the service makes.
pub(crate) const CODE_LENGTH: usize = 10;
/// Letters and digits that people do not mistake for each other.
pub(crate) const CODE_ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What a customer shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    /// The campaign it belongs to.
    pub campaign_id: CampaignId,
    /// The text of the code.
    pub code: ReferralCode,
    /// The number of the entry that made it.
    pub account_seq: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One attempt to bring one new customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Referral {
    /// The account of the customer who was brought.
    pub referee: AccountId,
    /// The account of the customer who brought them.
    pub referrer: AccountId,
    /// The campaign it belongs to.
    pub campaign_id: CampaignId,
    /// The program version that decided the present state.
    pub policy_version: i32,
    /// Whether it waits, has converted or has ended.
    pub state: ReferralState,
    /// The number of the entry that created it, on the referee's account.
    pub created_seq: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ends unless it converts first.
    pub expires_at: Option<Timestamp>,
}

/// Where a referral stands. Its word as stored is a [`StateWord`].
#[derive(Clone, Debug, PartialEq, Eq, EnumDiscriminants)]
#[strum_discriminants(name(StateWord), vis(pub(crate)), doc = "The word of a referral's state, as stored.")]
#[strum_discriminants(derive(EnumString, IntoStaticStr), strum(serialize_all = "snake_case"))]
pub(crate) enum ReferralState {
    /// Waiting for what converts it.
    Pending,
    /// It has converted.
    Converted {
        /// The entry's number on the referee's account.
        seq: i64,
        /// When it converted.
        at: Timestamp,
        /// The activity that qualified; none when converted by hand.
        qualifying: Option<EntryId>,
        /// What the referrer was granted.
        referrer_reward: Option<EntryId>,
        /// What the referee was granted.
        referee_reward: Option<EntryId>,
    },
    /// It has ended, since its time passed.
    Expired {
        /// The entry's number on the referee's account; none while the passing is not written yet.
        seq: Option<i64>,
        /// When it ended.
        at: Timestamp,
    },
}

impl ReferralState {
    /// The word as stored.
    #[must_use]
    pub(crate) fn word(&self) -> &'static str {
        StateWord::from(self).into()
    }
}

impl Referral {
    /// The referral as it is at an instant, whether or not its end has been written yet.
    #[must_use]
    pub(crate) fn at_instant(mut self, at: Timestamp) -> Self {
        if let (ReferralState::Pending, Some(expires_at)) = (&self.state, self.expires_at)
            && expires_at <= at
        {
            self.state = ReferralState::Expired { seq: None, at: expires_at };
        }
        self
    }
}

/// A code with the names that callers know.
#[derive(Clone, Debug)]
pub(crate) struct NamedCode {
    /// The customer who shares it.
    pub customer_id: CustomerId,
    /// The entry that made it.
    pub entry_id: EntryId,
    /// The code and its campaign.
    pub code: Code,
    /// When it can no longer be used.
    pub expires_at: Option<Timestamp>,
}

impl NamedCode {
    /// A code of an account's customer, whose campaign is as this version says.
    #[must_use]
    pub(crate) fn new(customer_id: CustomerId, account_id: AccountId, code: Code, version: &ProgramVersion) -> Self {
        let expires_at = version.program.campaign(&code.campaign_id).and_then(|campaign| campaign.ends_at);
        let entry_id = EntryId { account_id, account_seq: code.account_seq };
        Self { customer_id, entry_id, code, expires_at }
    }
}

/// A referral with the names that callers know.
#[derive(Clone, Debug)]
pub(crate) struct NamedReferral {
    /// The referral, by accounts.
    pub referral: Referral,
    /// Who was brought; none if they were forgotten.
    pub referee: Option<CustomerId>,
    /// Who brought them; none if they were forgotten.
    pub referrer: Option<CustomerId>,
    /// The code that was used.
    pub code: Option<ReferralCode>,
}

/// The names that callers know of customers and of their codes.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The customers of accounts.
    pub customers: BTreeMap<AccountId, CustomerId>,
    /// The codes of accounts, by campaign.
    pub codes: BTreeMap<(AccountId, CampaignId), ReferralCode>,
}

impl Names {
    /// A referral with its names.
    #[must_use]
    pub(crate) fn name(&self, referral: Referral) -> NamedReferral {
        NamedReferral {
            referee: self.customers.get(&referral.referee).cloned(),
            referrer: self.customers.get(&referral.referrer).cloned(),
            code: self.codes.get(&(referral.referrer, referral.campaign_id.clone())).cloned(),
            referral,
        }
    }
}

/// Whether a purchase of `amount` qualifies in a campaign.
#[must_use]
pub(crate) const fn qualifies(campaign: &Campaign, amount: i64) -> bool {
    amount > 0 && amount >= campaign.minimum_purchase
}

/// Whether a purchase falls into a referral's window. The window begins with the local day on which the code was used,
/// since customers may enter it at the till just after paying. It ends with the referral.
#[must_use]
pub(crate) fn is_in_window(program: &Program, referral: &Referral, happened_at: Timestamp) -> bool {
    let local_day = |instant: Timestamp| instant.to_zoned(program.time_zone.0.clone()).date();
    local_day(happened_at) >= local_day(referral.created_at)
        && referral.expires_at.is_none_or(|expires_at| happened_at < expires_at)
}

/// The entry of a referral whose time has passed.
#[must_use]
pub(crate) fn expire(referral: &Referral) -> NewEntry {
    NewEntry {
        detail: ReferralDetail::ReferralExpired.into(),
        movement: None,
        actor: Actor::Time,
        reason: EntryReason::ReferralWindowPassed,
        policy_version: referral.policy_version,
        causes: vec![EntryId { account_id: referral.referee, account_seq: referral.created_seq }],
    }
}

/// Converts a pending referral and grants both sides what the campaign promises, all in one decision. A side whose
/// balance cannot count so many more points gets none, and the entry says so.
///
/// # Errors
/// [`DecisionError::NotLoaded`] if the referrer's account is not locked.
pub(crate) fn convert(
    decision: &mut Decision<'_>,
    policy: &ProgramVersion,
    campaign: &Campaign,
    referral: &Referral,
    qualifying: Option<EntryId>,
) -> Result<(), DecisionError> {
    let converted = decision.next_entry_id(referral.referee)?;
    let after_converted = EntryId { account_seq: converted.account_seq.saturating_add(1), ..converted };
    let to_referrer = promise(decision, referral.referrer, campaign.referrer_points)?;
    let to_referee = promise(decision, referral.referee, campaign.referee_points)?;
    let referrer_reward = match to_referrer.granted {
        Some(_) => Some(decision.next_entry_id(referral.referrer)?),
        None => None,
    };
    let created = EntryId { account_id: referral.referee, account_seq: referral.created_seq };
    let detail = ReferralDetail::ReferralConverted {
        qualifying,
        referrer_reward,
        referee_reward: to_referee.granted.map(|_| after_converted),
        referrer_withheld: to_referrer.withheld,
        referee_withheld: to_referee.withheld,
    }
    .into();
    let (actor, reason) = match qualifying {
        Some(_) => (Actor::Rule, EntryReason::Purchase),
        None => (Actor::Caller, EntryReason::ManualConversion),
    };
    let causes = std::iter::once(created).chain(qualifying).collect();
    let new_entry = NewEntry { detail, movement: None, actor, reason, policy_version: policy.version, causes };
    let converted = decision.post(referral.referee, new_entry)?;
    let sides = [
        (referral.referee, to_referee.granted, EntryReason::ReferralReferee),
        (referral.referrer, to_referrer.granted, EntryReason::ReferralReferrer),
    ];
    for (account_id, points, of_side) in sides {
        if let Some(points) = points {
            grant(decision, policy, account_id, Grant::by_rule(points, of_side, vec![converted]))?;
        }
    }
    count_referral(decision, policy, referral.referrer, reason, converted)
}

/// What one side gets of what a campaign promises.
struct Promised {
    granted: Option<Points>,
    /// What the balance cannot count any more, or is nobody's since the customer was erased. It must not keep the other side from what is theirs.
    withheld: Option<i64>,
}

fn promise(decision: &Decision<'_>, account_id: AccountId, points: i64) -> Result<Promised, DecisionError> {
    let is_erased = decision.account(account_id)?.erased_at.is_some();
    let is_possible = points > 0 && !is_erased && decision.can_be_issued(account_id, points)?;
    let granted = Points::new(points).filter(|_| is_possible);
    Ok(Promised { granted, withheld: Some(points).filter(|points| *points > 0 && granted.is_none()) })
}

/// A code of random characters: so many that nobody guesses one, and that two are hardly ever the same.
pub(crate) fn make_code(mut random_index: impl FnMut(usize) -> usize) -> String {
    (0..CODE_LENGTH)
        .filter_map(|_| CODE_ALPHABET.get(random_index(CODE_ALPHABET.len())))
        .map(|byte| char::from(*byte))
        .collect()
}

/// The refusal for a code that nobody has.
#[must_use]
pub(super) fn code_not_found(code: &ReferralCode) -> Refusal {
    Refusal::new(Reason::ReferralCodeNotFound, format!("there is no referral code {code}")).with("code", code)
}

/// The refusal for a customer who was never referred.
#[must_use]
pub(super) fn referral_not_found(referee: &CustomerId) -> Refusal {
    Refusal::new(Reason::ReferralNotFound, format!("customer {referee} was not referred")).with("customer_id", referee)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::model::tests::program;

    /// Variants may change their names. The words that rows hold must stay.
    #[test]
    fn the_words_of_states_stay_as_they_are() {
        let at: Timestamp = "2026-03-01T12:00:00-05:00".parse().unwrap();
        let converted =
            ReferralState::Converted { seq: 1, at, qualifying: None, referrer_reward: None, referee_reward: None };
        let states = [ReferralState::Pending, converted, ReferralState::Expired { seq: None, at }];
        assert_eq!(states.each_ref().map(ReferralState::word), ["pending", "converted", "expired"]);
        for state in &states {
            assert_eq!(state.word().parse(), Ok(StateWord::from(state)));
        }
    }

    fn referral(expires_at: Option<&str>) -> Referral {
        Referral {
            referee: AccountId::generate(),
            referrer: AccountId::generate(),
            campaign_id: "friends".try_into().unwrap(),
            policy_version: 1,
            state: ReferralState::Pending,
            created_seq: 3,
            created_at: "2026-03-01T12:00:00-05:00".parse().unwrap(),
            expires_at: expires_at.map(|instant| instant.parse().unwrap()),
        }
    }

    #[test]
    fn a_purchase_qualifies_from_the_minimum_on_and_never_for_nothing() {
        let mut campaign = program().campaigns[0].clone();
        assert_eq!([999, 1_000, 1_001].map(|amount| qualifies(&campaign, amount)), [false, true, true]);
        campaign.minimum_purchase = 0;
        assert_eq!([0, 1].map(|amount| qualifies(&campaign, amount)), [false, true]);
    }

    #[test]
    fn the_window_opens_on_the_local_day_and_closes_before_the_end() {
        let referral = referral(Some("2026-03-10T00:00:00-04:00"));
        let in_window = |instant: &str| is_in_window(&program(), &referral, instant.parse().unwrap());
        assert!(!in_window("2026-02-28T23:59:59-05:00"));
        assert!(in_window("2026-03-01T00:00:00-05:00"));
        assert!(in_window("2026-03-09T23:59:59-04:00"));
        assert!(!in_window("2026-03-10T00:00:00-04:00"));
    }

    #[test]
    fn a_referral_whose_time_passed_reads_as_expired_before_it_is_written() {
        let expires_at: Timestamp = "2026-03-10T00:00:00Z".parse().unwrap();
        let open = referral(Some("2026-03-10T00:00:00Z"));
        assert_eq!(open.clone().at_instant("2026-03-09T23:59:59Z".parse().unwrap()).state, ReferralState::Pending);
        assert_eq!(open.at_instant(expires_at).state, ReferralState::Expired { seq: None, at: expires_at });
        assert_eq!(referral(None).at_instant(Timestamp::MAX).state, ReferralState::Pending);
    }

    #[test]
    fn a_code_has_its_length_and_only_clear_characters() {
        let mut next = 0;
        let code = make_code(|len| {
            next += 7;
            next % len
        });
        assert_eq!(code.len(), CODE_LENGTH);
        assert!(code.bytes().all(|byte| CODE_ALPHABET.contains(&byte)));
        assert!(!code.contains(['I', 'L', 'O', 'U']));
    }
}
