//! What must hold of an account's entries, and of the rows that are kept for them.

use std::collections::HashSet;

use jiff::Timestamp;
use uuid::Uuid;

use super::compare::{compare_heads, compare_rows};
use super::mentions::{Accepted, Mentions};
use crate::book::entry::HASH_VERSION;
use crate::book::{
    Account, AccountKind, ActivityDetail, Detail, Entry, ProgramDetail, ReferralDetail, States, StoredEntry,
};
use crate::error::Defect;
use crate::ids::{AccountId, EntryId, ProgramId};

/// How many keys of an account are remembered. For an account with more, the database is asked.
const MAX_KEYS: usize = 100_000;

/// Which kind of row is damaged. The kind says what can be done about the damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// An entry of the ledger. Nothing else tells what it was, so it cannot be repaired.
    Ledger,
    /// A row of another source of record, or a row that points at one. It cannot be repaired either.
    Source,
    /// A row that follows from the entries. It can be built anew.
    Projection,
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The account that the damaged row belongs to.
    pub account_id: AccountId,
    /// Which kind of row is damaged.
    pub kind: DifferenceKind,
    /// What differs, where and by how much, for people.
    pub what: String,
}

/// Is called with each difference that is found.
pub(super) type Found<'a> = dyn FnMut(Difference) + Send + 'a;

/// The check of one account, entry by entry.
pub(super) struct Check {
    account_id: AccountId,
    /// The number of the last entry that was checked.
    last_seq: i64,
    /// When the last entry took effect.
    last_effective_at: Option<Timestamp>,
    /// The program of the first entry.
    program_id: Option<ProgramId>,
    /// The command of the last entry, and that command's key.
    command: Option<(Uuid, Option<[u8; 32]>)>,
    keys: HashSet<[u8; 32]>,
    /// The account's head as the entries say it is. None before the first entry.
    account: Option<Account>,
    /// The account's rows as the entries say they are.
    states: States,
    /// Whether every entry up to here could be applied. After one that could not, no further one is.
    can_apply: bool,
    /// Whether no entry up to here is damaged, or a newer version's.
    is_sound: bool,
    /// What a newer version wrote, the first of it.
    newer: Option<String>,
}

impl Check {
    /// Begins before the first entry; `states` hold nothing.
    pub(super) fn new(account_id: AccountId, states: States) -> Self {
        Self {
            account_id,
            last_seq: 0,
            last_effective_at: None,
            program_id: None,
            command: None,
            keys: HashSet::new(),
            account: None,
            states,
            can_apply: true,
            is_sound: true,
            newer: None,
        }
    }

    /// The account that is checked.
    pub(super) const fn account_id(&self) -> AccountId {
        self.account_id
    }

    /// The number of the last entry that was checked.
    pub(super) const fn last_seq(&self) -> i64 {
        self.last_seq
    }

    /// Tells that the ledger is damaged.
    fn tell_damage(&mut self, found: &mut Found<'_>, what: String) {
        self.is_sound = false;
        found(Difference { account_id: self.account_id, kind: DifferenceKind::Ledger, what });
    }

    /// Tells that the entries of these numbers are missing.
    fn tell_missing(&mut self, found: &mut Found<'_>, from: i64, to: i64) {
        let account = self.account_id.0;
        let what = if from == to {
            format!("entry {from} of account {account} is missing")
        } else {
            format!("entries {from} to {to} of account {account} are missing")
        };
        self.tell_damage(found, what);
    }

    /// Checks the account's next entry and applies it. What must be looked up elsewhere is added to `mentions`.
    pub(super) fn check_entry(&mut self, row: StoredEntry, mentions: &mut Mentions, found: &mut Found<'_>) {
        let id = row.id;
        if id.account_seq != self.last_seq.saturating_add(1) {
            self.tell_missing(found, self.last_seq.saturating_add(1), id.account_seq.saturating_sub(1));
            self.can_apply = false;
        }
        self.last_seq = id.account_seq;
        let is_proven = self.check_hash(&row, found);
        let entry = match row.entry {
            Ok(entry) => entry,
            Err(defect) => {
                self.can_apply = false;
                if is_proven && defect.is_unknown() {
                    return self.note_newer(id, &defect, mentions);
                }
                return self.tell_damage(found, defect.to_string());
            }
        };
        if row.kind != entry.detail.kind() {
            let what = format!("entry {id}: the kind is {} by its detail, {} as stored", entry.detail.kind(), row.kind);
            self.tell_damage(found, what);
        }
        self.check_program_and_time(&entry, found);
        self.check_key(&entry, mentions, found);
        self.note_references(&entry, mentions, found);
        if self.can_apply {
            self.apply(&entry, found);
        }
    }

    /// An entry that its hash proves, and that only a newer version understands.
    fn note_newer(&mut self, id: EntryId, defect: &Defect, mentions: &mut Mentions) {
        self.is_sound = false;
        self.newer.get_or_insert_with(|| defect.to_string());
        mentions.newer.insert(id);
    }

    /// What a newer version wrote on the account, if it did: the rows are not compared then.
    pub(super) fn newer(&self) -> Option<&str> {
        self.newer.as_deref()
    }

    /// Whether the hash is that of the columns, as they are stored.
    fn check_hash(&mut self, row: &StoredEntry, found: &mut Found<'_>) -> bool {
        let id = row.id;
        if row.hash_version != HASH_VERSION {
            let what = format!("entry {id}: its hash is of the unknown version {}", row.hash_version);
            self.tell_damage(found, what);
            return false;
        }
        let hash = row.hash();
        let is_proven = hash.as_slice() == row.content_hash.as_slice();
        if !is_proven {
            let stored = hex(&row.content_hash);
            let what = format!("entry {id}: the content hash is {} by its columns, {stored} as stored", hex(&hash));
            self.tell_damage(found, what);
        }
        is_proven
    }

    /// An entry is of its account's program, and does not take effect before the entry before it.
    fn check_program_and_time(&mut self, entry: &Entry, found: &mut Found<'_>) {
        let id = entry.id;
        match &self.program_id {
            Some(program_id) if *program_id != entry.program_id => {
                let what = format!("entry {id}: it is of program {}, the account of {program_id}", entry.program_id);
                self.tell_damage(found, what);
            }
            Some(_) => {}
            None => self.program_id = Some(entry.program_id.clone()),
        }
        if let Some(latest) = self.last_effective_at.filter(|latest| *latest > entry.effective_at) {
            let back = latest.duration_since(entry.effective_at);
            self.tell_damage(found, format!("entry {id}: its effective_at goes back by {back:#}"));
        }
        self.last_effective_at = Some(entry.effective_at);
    }

    /// A key stands on the first entry of its command, and is used once.
    fn check_key(&mut self, entry: &Entry, mentions: &mut Mentions, found: &mut Found<'_>) {
        let id = entry.id;
        let is_first = self.command.is_none_or(|(command_id, _)| command_id != entry.command_id);
        let key = entry.key.map(|key| key.hash);
        if is_first {
            self.command = Some((entry.command_id, key));
        } else if key.is_some() {
            self.tell_damage(found, format!("entry {id}: it has a key and is not its command's first"));
        }
        let Some(key) = key else { return };
        if self.keys.len() < MAX_KEYS {
            if !self.keys.insert(key) {
                self.tell_damage(found, format!("entry {id}: its idempotency key was used before"));
            }
            if self.keys.len() == MAX_KEYS {
                mentions.crowded.push(self.account_id);
            }
        }
    }

    /// Notes what the entry says of rows elsewhere. What it says of earlier entries of its own account is checked here.
    fn note_references(&mut self, entry: &Entry, mentions: &mut Mentions, found: &mut Found<'_>) {
        let id = entry.id;
        for cause in &entry.causes {
            if cause.account_id != self.account_id {
                mentions.references.push((*cause, id));
            } else if cause.account_seq >= id.account_seq {
                self.tell_damage(found, format!("entry {id}: its cause {cause} does not stand before it"));
            }
        }
        let mut accept = |purchase, amount, happened_at| {
            let key_hash = self.command.and_then(|(_, key)| key);
            mentions.accepted.push(Accepted {
                id,
                purchase,
                amount,
                happened_at,
                recorded_at: entry.recorded_at,
                key_hash,
            });
        };
        match &entry.detail {
            Detail::Program(ProgramDetail::ProgramApplied { version, .. }) => {
                mentions.versions.push((id, entry.program_id.clone(), *version));
            }
            Detail::Activity(ActivityDetail::ActivityAccepted { spend, happened_at, .. }) => {
                accept(None, Some(*spend), *happened_at);
            }
            Detail::Activity(ActivityDetail::FeedbackAccepted { happened_at, .. }) => accept(None, None, *happened_at),
            Detail::Activity(ActivityDetail::RefundAccepted { purchase, spend, happened_at, .. }) => {
                accept(Some(*purchase), Some(*spend), *happened_at);
            }
            Detail::Referral(ReferralDetail::ReferralCreated { referrer, .. }) => {
                mentions.references.push((EntryId { account_id: *referrer, account_seq: 1 }, id));
            }
            Detail::Referral(ReferralDetail::ReferralConverted {
                qualifying, referrer_reward, referee_reward, ..
            }) => {
                let named = [qualifying, referrer_reward, referee_reward].into_iter().flatten();
                mentions.references.extend(named.map(|named| (*named, id)));
            }
            // These name entries of their own account alone. Applying them looks those up.
            Detail::Program(
                ProgramDetail::EntriesExported { .. }
                | ProgramDetail::ReevaluationOrdered { .. }
                | ProgramDetail::ValueModelFitted { .. }
                | ProgramDetail::CustomersClassed { .. },
            )
            | Detail::Referral(ReferralDetail::ReferralCodeCreated { .. } | ReferralDetail::ReferralExpired)
            | Detail::Customer(_)
            | Detail::Points(_)
            | Detail::Tier(_)
            | Detail::Benefit(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_) => {}
        }
    }

    /// Applies the entry to head and rows, with the code that did so when it was written.
    fn apply(&mut self, entry: &Entry, found: &mut Found<'_>) {
        if let Err(what) = self.try_apply(entry) {
            self.can_apply = false;
            let what = format!("{what}; what follows on the account is not applied, and its rows not compared");
            self.tell_damage(found, what);
        }
    }

    fn try_apply(&mut self, entry: &Entry) -> Result<(), String> {
        let account = self.account.get_or_insert_with(|| {
            Account::empty(entry.id.account_id, entry.program_id.clone(), AccountKind::of(&entry.detail))
        });
        account.apply(entry).map_err(|error| format!("entry {}: {error}", entry.id))?;
        let is_conserved = account.balance.is_conserved();
        self.states.apply(entry).map_err(|defect| defect.to_string())?;
        if is_conserved { Ok(()) } else { Err(format!("entry {}: points are not conserved", entry.id)) }
    }

    /// After the last entry: compares what the entries say with what is stored of the account. Returns whether they
    /// differ.
    pub(super) fn finish(mut self, head: Option<&Account>, stored: &States, found: &mut Found<'_>) -> bool {
        let account_id = self.account_id;
        if let Some(head) = head.filter(|head| head.head > self.last_seq) {
            self.tell_missing(found, self.last_seq.saturating_add(1), head.head);
        }
        let mut differs = false;
        if self.can_apply {
            let mut projection = |what| {
                differs = true;
                found(Difference { account_id, kind: DifferenceKind::Projection, what });
            };
            if let Some(account) = &mut self.account {
                account.next_due_at = self.states.next_due(account_id);
            }
            compare_heads(account_id, self.account.as_ref(), head, &mut projection);
            // Rows are read by heads. Rows of an account without a head are looked for at the end of the audit.
            if head.is_some() {
                compare_rows(account_id, &self.states, stored, &mut projection);
            }
        }
        differs
    }

    /// After the last entry: the account and its rows, if no entry is missing or damaged.
    pub(super) fn into_folded(mut self) -> Option<(Option<Account>, States)> {
        if let Some(account) = &mut self.account {
            account.next_due_at = self.states.next_due(self.account_id);
        }
        (self.can_apply && self.is_sound).then_some((self.account, self.states))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
