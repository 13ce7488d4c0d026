//! What counts for tiers, what it changes, and the standing that a customer brings along.

use jiff::Timestamp;
use jiff::civil::Date;

use super::counting::{DayCount, History, NotRead};
use super::deciding::{Change, Deciding, Trigger, Verdict};
use super::overriding::{Moved, moved};
use super::standing::Standing;
use super::state::StandingsState;
use crate::book::{Account, Actor, Decision, DecisionError, Defect, EntryReason, NewEntry, Outlook, TierDetail};
use crate::error::{Reason, Refusal};
use crate::ids::{AccountId, EntryId, TierId};
use crate::money::Money;
use crate::programs::model::ProgramVersion;

impl From<NotRead> for DecisionError {
    fn from(NotRead: NotRead) -> Self {
        Self::NotLoaded
    }
}

/// Decides a standing by what was counted.
#[must_use]
pub(crate) const fn deciding<'a>(
    version: &'a ProgramVersion,
    standing: &'a Standing,
    history: &'a History,
) -> Deciding<'a> {
    Deciding { version, standing, history }
}

/// What was counted for an account's tier, and how it stands.
///
/// # Errors
/// A defect if the account has no standing.
pub(crate) fn standing_of(
    decision: &Decision<'_>,
    account_id: AccountId,
) -> Result<(Standing, History), DecisionError> {
    let state = decision.state::<StandingsState>()?;
    let standing = state.get(account_id).cloned();
    let standing =
        standing.ok_or_else(|| Defect::new(format!("the customer of account {} has no standing", account_id.0)))?;
    let history = state.history(account_id);
    Ok((standing, history))
}

/// Where the customer of an account stands, who may join in this very command: then no state has their entries yet.
///
/// # Errors
/// As [`standing_of`]; a defect if the program has no tiers.
pub(crate) fn standing_or_first(
    decision: &Decision<'_>,
    policy: &ProgramVersion,
    account: &Account,
) -> Result<(Standing, History), DecisionError> {
    if account.head > 0 {
        standing_of(decision, account.account_id)
    } else {
        first_standing(policy, account.time_at(decision.at()))
    }
}

fn first_standing(policy: &ProgramVersion, joined_at: Timestamp) -> Result<(Standing, History), DecisionError> {
    let program = &policy.program;
    let first = program.tiers.first();
    let first = first.ok_or_else(|| Defect::new(format!("program {} has no tiers", program.program_id)))?;
    let joined_on = program.day_of(joined_at);
    let standing = Standing::new(first.tier_id.clone(), joined_at, policy.version, Some(joined_on));
    Ok((standing, History::empty()))
}

/// What something comes to that counts on a day: the change of the standing, if it brings one, and what time will do.
///
/// # Errors
/// A refusal if it is more than can be counted; [`DecisionError::NotLoaded`] if days were not read.
pub(crate) fn weigh(
    policy: &ProgramVersion,
    (standing, history): &(Standing, History),
    at: Timestamp,
    (day, more): (Date, &DayCount),
    is_refund: bool,
) -> Result<Verdict, DecisionError> {
    let overflow = || Refusal::new(Reason::AmountOverflow, "the activity is more than the book can count");
    let after = history.with(day, more).ok_or_else(overflow)?;
    let trigger = if is_refund { Trigger::Refund { day, before: history } } else { Trigger::Other };
    Ok(deciding(policy, standing, &after).decide(at, trigger)?)
}

/// Counts a referral that converted for whoever brought the referee.
///
/// # Errors
/// [`DecisionError`] if the account is not locked, or days were not read.
pub(crate) fn count_referral(
    decision: &mut Decision<'_>,
    policy: &ProgramVersion,
    account_id: AccountId,
    reason: EntryReason,
    cause: EntryId,
) -> Result<(), DecisionError> {
    let account = decision.account(account_id)?;
    if account.erased_at.is_some() {
        return Ok(());
    }
    let standing = standing_of(decision, account_id)?;
    let at = account.time_at(decision.at());
    let day = policy.program.day_of(decision.at());
    let more = DayCount { referrals: 1, ..DayCount::default() };
    let verdict = weigh(policy, &standing, at, (day, &more), false)?;
    let counted = NewEntry {
        detail: TierDetail::ReferralCounted { day, outlook: verdict.outlook }.into(),
        movement: None,
        actor: Actor::Rule,
        reason,
        policy_version: policy.version,
        causes: vec![cause],
    };
    let counted = decision.post(account_id, counted)?;
    if let Some(change) = verdict.change {
        let by = (Actor::Rule, EntryReason::ThresholdReached);
        decision.post(account_id, into_entry(policy, &standing.0, change, verdict.outlook, by, counted, at))?;
    }
    Ok(())
}

/// The entry by which a standing changes at an instant, for a reason and because of an entry.
#[must_use]
pub(crate) fn into_entry(
    policy: &ProgramVersion,
    standing: &Standing,
    change: Change,
    outlook: Outlook,
    (actor, reason): (Actor, EntryReason),
    cause: EntryId,
    at: Timestamp,
) -> NewEntry {
    let Moved { from, to, hidden } = moved(&policy.program, standing, change.to);
    let package_id = policy.package_on_reaching(Some(&from), &to, at);
    NewEntry {
        detail: TierDetail::TierChanged {
            from: Some(from),
            to,
            hidden,
            qualifying_spend: change.spend,
            change: change.kind,
            enrolled_on: None,
            former_ends_at: standing.outlook.ends_at.filter(|_| change.kind.is_none()),
            earned: change.earned,
            package_id,
            outlook,
        }
        .into(),
        movement: None,
        actor,
        reason,
        policy_version: policy.version,
        causes: vec![cause],
    }
}

/// The standing that a customer brings along from another system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpeningTier {
    /// The tier that the other system gave.
    pub tier_id: TierId,
    /// Lifetime spend, added to what the customer has.
    pub qualifying_spend: Option<Money>,
}

/// Takes over a standing: but for an override, the customer holds the highest of the tier they held, the one they bring, and the one that
/// they then earn. A tier that is brought is kept as if it had been earned just now.
///
/// # Errors
/// A refusal if the program has no such tier, or counts in another currency, or the spend is more than can be counted;
/// [`DecisionError::NotLoaded`] if days were not read.
pub(crate) fn import_tier(
    policy: &ProgramVersion,
    standing: &Standing,
    history: &History,
    opening: &OpeningTier,
    at: Timestamp,
) -> Result<NewEntry, DecisionError> {
    let program = &policy.program;
    let rank = |tier_id: &TierId| program.tiers.iter().position(|tier| tier.tier_id == *tier_id);
    let Some(brought) = rank(&opening.tier_id) else {
        let refusal = Refusal::new(Reason::TierNotFound, format!("the program has no tier {}", opening.tier_id));
        return Err(refusal.with("tier_id", &opening.tier_id).into());
    };
    if let Some(spend) = opening.qualifying_spend {
        program.require_currency(spend.currency)?;
    }
    let qualifying_spend = opening.qualifying_spend.map_or(0, |spend| spend.minor);
    let spent =
        history.totals.spend.checked_add(qualifying_spend).ok_or_else(|| {
            Refusal::new(Reason::AmountOverflow, "the lifetime spend is more than the book can count")
        })?;
    let mut history = history.clone();
    history.totals.spend = spent;
    let own = standing.own_tier_id();
    let held = rank(own);
    let verdict = deciding(policy, standing, &history).decide(at, Trigger::Other)?;
    let earned = verdict.change.as_ref().map(|change| &change.to);
    let (to, outlook) = if earned.and_then(rank).or(held) >= Some(brought) {
        (earned.unwrap_or(own), verdict.outlook)
    } else {
        (&opening.tier_id, deciding(policy, standing, &history).outlook_of_brought(at, brought)?)
    };
    let Moved { from, to, hidden } = moved(program, standing, to.clone());
    Ok(NewEntry {
        detail: TierDetail::TierImported { from, to, hidden, qualifying_spend, outlook }.into(),
        movement: None,
        actor: Actor::Caller,
        reason: EntryReason::Migration,
        policy_version: policy.version,
        causes: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Detail;
    use crate::programs::model::tests::program;

    fn tier_after_import(held: Option<(&str, i64)>, brought: &str, spend: i64) -> Result<(String, String), Reason> {
        let policy = ProgramVersion {
            program: program(),
            version: 1,
            applied_at: Timestamp::UNIX_EPOCH,
            effective_from: Timestamp::UNIX_EPOCH,
        };
        let at = Timestamp::UNIX_EPOCH;
        let (mut standing, mut history) = first_standing(&policy, at).unwrap();
        if let Some((held, spend)) = held {
            standing.tier_id = held.try_into().unwrap();
            history.totals.spend = spend;
        }
        let qualifying_spend = Some(policy.program.money(spend)).filter(|spend| spend.minor > 0);
        let opening = OpeningTier { tier_id: brought.try_into().unwrap(), qualifying_spend };
        match import_tier(&policy, &standing, &history, &opening, at) {
            Ok(NewEntry {
                detail: Detail::Tier(TierDetail::TierImported { from, to, qualifying_spend, .. }), ..
            }) => {
                assert_eq!(qualifying_spend, spend);
                Ok((from.to_string(), to.to_string()))
            }
            Err(DecisionError::Refused(refusal)) => Err(refusal.reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_highest_of_what_is_held_brought_and_reached_is_held() {
        let moved = |from: &str, to: &str| Ok((from.to_owned(), to.to_owned()));
        assert_eq!(tier_after_import(None, "silver", 0), moved("member", "silver"));
        assert_eq!(tier_after_import(None, "member", 0), moved("member", "member"));
        assert_eq!(tier_after_import(Some(("gold", 60_000)), "silver", 5), moved("gold", "gold"));
        assert_eq!(tier_after_import(Some(("member", 10_000)), "member", 10_000), moved("member", "silver"));
        assert_eq!(tier_after_import(Some(("silver", 10_000)), "silver", 40_000), moved("silver", "gold"));
        assert_eq!(tier_after_import(Some(("bronze", 0)), "member", 0), moved("bronze", "member"));
        assert_eq!(tier_after_import(None, "bronze", 0), Err(Reason::TierNotFound));
        assert_eq!(tier_after_import(Some(("member", i64::MAX)), "silver", 1), Err(Reason::AmountOverflow));
    }
}
