//! What time does to standings.

use super::StandingsState;
use crate::book::{Account, Actor, Due, DueKind, Dues, EntryReason, NewEntry, TierDetail, TierMove};
use crate::ids::{AccountId, EntryId};
use crate::tiers::deciding::{Deciding, Trigger};
use crate::tiers::overriding::{Moved, moved, release};

impl Dues for StandingsState {
    fn next_due(&self, account_id: AccountId) -> Option<Due> {
        self.rows.get(&account_id)?.next_due()
    }

    fn decide_due(&self, account: &Account, due: Due) -> Vec<NewEntry> {
        let account_id = account.account_id;
        let Some(standing) = self.rows.get(&account_id) else { return Vec::new() };
        let Some(version) = self.version_at(&account.program_id, due.at) else { return Vec::new() };
        if due.kind == DueKind::EndOverride {
            return release(
                version,
                account_id,
                standing,
                (Actor::Time, EntryReason::TimeReached),
                account.time_at(due.at),
            )
            .into_iter()
            .collect();
        }
        let history = self.history(account_id);
        let deciding = Deciding { version, standing, history: &history };
        let Ok(verdict) = deciding.decide(due.at, Trigger::Other) else { return Vec::new() };
        let Ok(present_spend) = deciding.present_spend(due.at) else { return Vec::new() };
        let (change, earned, spend, to, cause) = match verdict.change {
            Some(change) => (change.kind, change.earned, change.spend, change.to, change.cause),
            // Another version has changed what was to be decided. What earned the tier is told already.
            None => (Some(TierMove::Redecided), None, present_spend, standing.own_tier_id().clone(), None),
        };
        let Moved { from, to, hidden } = moved(&version.program, standing, to);
        let package_id = version.package_on_reaching(Some(&from), &to, account.time_at(due.at));
        let detail = TierDetail::TierChanged {
            from: Some(from),
            to,
            hidden,
            qualifying_spend: spend,
            change,
            enrolled_on: None,
            former_ends_at: standing.outlook.ends_at.filter(|_| change.is_none()),
            earned,
            package_id,
            outlook: verdict.outlook,
        };
        let reason = if change.is_none() { EntryReason::ThresholdReached } else { EntryReason::TimeReached };
        vec![NewEntry {
            detail: detail.into(),
            movement: None,
            actor: Actor::Time,
            reason,
            policy_version: version.version,
            causes: vec![EntryId { account_id, account_seq: cause.unwrap_or(standing.changed_seq) }],
        }]
    }
}
