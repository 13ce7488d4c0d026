//! Where the customers of a batch stand, and what each entry and time do to that.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::model::{after_silence, next_move, take_in};
use crate::book::{
    Account, Actor, Answered, Cell, CustomerDetail, Defect, Detail, Due, DueKind, Dues, Entry, EntryReason, Facts,
    LifecycleDetail, NewEntry, Position, Row, Silence, State,
};
use crate::ids::{AccountId, EntryId, ProgramId};

/// Where a customer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lifecycle {
    pub program_id: ProgramId,
    pub position: Position,
    /// Since when they are in the stage.
    pub since: Timestamp,
    /// The entry that decided it last.
    pub decided_seq: i64,
    /// The version that it was decided by.
    pub policy_version: i32,
    /// What is known of them.
    pub facts: Facts,
    pub silence: Silence,
    /// When the customer was erased: time does nothing any more.
    pub ended_at: Option<Timestamp>,
}

/// Where the customers of a batch stand.
#[derive(Default)]
pub(crate) struct LifecycleState {
    pub(super) rows: BTreeMap<AccountId, Lifecycle>,
    pub(super) changed: BTreeSet<AccountId>,
    /// Since when customers were in their stage, by account and the entry that decided.
    pub(super) decided: BTreeMap<(AccountId, i64), Timestamp>,
    pub(super) new: BTreeSet<(AccountId, i64)>,
    /// What is known of customers about whom nothing was decided.
    pub(super) known: BTreeMap<AccountId, Facts>,
    /// Accounts without a loaded row whose customers are erased, and when.
    pub(super) ended: BTreeMap<AccountId, Timestamp>,
}

impl LifecycleState {
    /// Where a customer stands; nothing was decided, if absent.
    #[must_use]
    pub(crate) fn get(&self, account_id: AccountId) -> Option<&Lifecycle> {
        self.rows.get(&account_id)
    }

    /// What is known of a customer, who may have joined in this batch.
    #[must_use]
    pub(super) fn facts(&self, account_id: AccountId) -> Facts {
        let row = self.rows.get(&account_id).map(|row| row.facts);
        row.or_else(|| self.known.get(&account_id).copied()).unwrap_or_default()
    }

    fn decide(&mut self, entry: &Entry, to: Position, by: Facts, silence: Silence) {
        let (account_id, decided_at) = (entry.id.account_id, entry.effective_at);
        let before = self.rows.get(&account_id).filter(|row| row.position.stage == to.stage);
        let since = before.map_or(decided_at, |row| row.since);
        let key = (account_id, entry.id.account_seq);
        self.decided.insert(key, since);
        self.new.insert(key);
        let row = Lifecycle {
            program_id: entry.program_id.clone(),
            position: to,
            since,
            decided_seq: entry.id.account_seq,
            policy_version: entry.policy_version,
            facts: by,
            silence,
            ended_at: None,
        };
        self.rows.insert(account_id, row);
        self.changed.insert(account_id);
    }

    fn end(&mut self, account_id: AccountId, at: Timestamp) {
        match self.rows.get_mut(&account_id) {
            Some(row) => {
                row.ended_at = Some(at);
                self.changed.insert(account_id);
            }
            // What was not read is written unseen.
            None => drop(self.ended.insert(account_id, at)),
        }
    }
}

impl State for LifecycleState {
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        let account_id = entry.id.account_id;
        match &entry.detail {
            Detail::Lifecycle(LifecycleDetail::LifecycleDecided { to, by, silence, before: _ }) => {
                self.decide(entry, *to, **by, *silence);
            }
            Detail::Customer(CustomerDetail::CustomerErased { .. }) => self.end(account_id, entry.effective_at),
            Detail::Customer(_)
            | Detail::Program(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Tier(_)
            | Detail::Benefit(_)
            | Detail::Referral(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Value(_) => {
                if let Some(row) = self.rows.get_mut(&account_id)
                    && take_in(&mut row.facts, &entry.detail)
                {
                    self.changed.insert(account_id);
                }
            }
        }
        Ok(())
    }

    fn dues(&self) -> Option<&dyn Dues> {
        Some(self)
    }

    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let own = self.rows.get(&account_id).into_iter().map(lifecycle_row);
        let decided = self.decided.range((account_id, i64::MIN)..=(account_id, i64::MAX));
        Box::new(own.chain(decided.map(|((_, seq), since)| decided_row(*seq, *since))))
    }
}

impl Dues for LifecycleState {
    fn next_due(&self, account_id: AccountId) -> Option<Due> {
        let row = self.rows.get(&account_id).filter(|row| row.ended_at.is_none())?;
        let at = next_move(&row.position, &row.facts, &row.silence)?;
        Some(Due { at, kind: DueKind::MoveInLifecycle })
    }

    fn decide_due(&self, account: &Account, due: Due) -> Vec<NewEntry> {
        let account_id = account.account_id;
        let Some(row) = self.rows.get(&account_id) else { return Vec::new() };
        vec![NewEntry {
            detail: LifecycleDetail::LifecycleDecided {
                before: Some(row.position),
                to: after_silence(&row.position, &row.facts, &row.silence, due.at),
                by: Box::new(row.facts),
                silence: row.silence,
            }
            .into(),
            movement: None,
            actor: Actor::Time,
            reason: EntryReason::TimeReached,
            policy_version: row.policy_version,
            causes: vec![EntryId { account_id, account_seq: row.decided_seq }],
        }]
    }
}

fn lifecycle_row(row: &Lifecycle) -> Row<'_> {
    let answer = |it: Option<Answered>| it.map(|it| i64::from(it.answer)).into();
    let at = |it: Option<Answered>| it.map(|it| it.at).into();
    let days = |days: Option<i32>| days.map(i64::from).into();
    let (facts, silence) = (&row.facts, &row.silence);
    let word = |word: Option<&'static str>| word.map_or(Cell::Absent, Cell::word);
    let Position { stage, satisfaction, loyalty, brands } = row.position;
    let columns = vec![
        ("program_id", Cell::word(row.program_id.as_str())),
        ("stage", Cell::word(stage.as_str())),
        ("satisfaction_class", word(satisfaction.map(|class| class.as_str()))),
        ("loyalty_class", word(loyalty.map(|class| class.as_str()))),
        ("brand_class", word(brands.map(|class| class.as_str()))),
        ("since", row.since.into()),
        ("decided_seq", row.decided_seq.into()),
        ("policy_version", row.policy_version.into()),
        ("purchases", facts.purchases.into()),
        ("spend", facts.spend.into()),
        ("referrals", facts.referrals.into()),
        ("last_purchase_at", facts.last_purchase_at.into()),
        ("satisfaction", answer(facts.satisfaction)),
        ("satisfaction_at", at(facts.satisfaction)),
        ("recommendation", answer(facts.recommendation)),
        ("recommendation_at", at(facts.recommendation)),
        ("involvement", answer(facts.involvement)),
        ("involvement_at", at(facts.involvement)),
        ("brands", answer(facts.brands)),
        ("brands_at", at(facts.brands)),
        ("open_complaints", facts.open_complaints.into()),
        ("rare_after", days(silence.rare)),
        ("at_risk_after", days(silence.at_risk)),
        ("lapsed_after", days(silence.lapsed)),
        ("lost_after", days(silence.lost)),
        ("ended_at", row.ended_at.into()),
    ];
    Row { noun: "lifecycle", key: Cell::Absent, columns }
}

fn decided_row(seq: i64, since: Timestamp) -> Row<'static> {
    Row { noun: "lifecycle decided by entry", key: seq.into(), columns: vec![("since", since.into())] }
}
