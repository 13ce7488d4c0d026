//! What must hold of an account's entries, and of the rows that are kept for them.

use std::collections::HashSet;

use jiff::Timestamp;
use uuid::Uuid;

use super::compare::compare_rows;
use crate::book::entry::HASH_VERSION;
use crate::book::store::scan::ScannedEntry;
use crate::book::{Account, AccountKind, Detail, Entry, States};
use crate::ids::{AccountId, EntryId, ProgramId};

/// How many keys of an account are remembered; of one with more, the database is asked.
const MAX_KEYS: usize = 100_000;

/// What is damaged, which says what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// The ledger itself: nothing else could tell what it was.
    Ledger,
    /// Another source of record, or what points at one.
    Source,
    /// Rows that the entries decide: they can be built anew.
    Projection,
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Whose.
    pub account_id: AccountId,
    /// What is damaged.
    pub nature: Nature,
    /// What, where and by how much, for people.
    pub what: String,
}

/// Takes differences as they are found.
pub type Found<'a> = dyn FnMut(Difference) + Send + 'a;

/// An accepted activity, as its entry tells it.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// The entry.
    pub id: EntryId,
    /// Of a refund: the number of the purchase's entry.
    pub purchase: Option<i64>,
    /// Money in minor units.
    pub amount: i64,
    /// When it happened.
    pub happened_at: Timestamp,
    /// When it was accepted.
    pub recorded_at: Timestamp,
    /// The key of its command.
    pub key_hash: Option<[u8; 32]>,
}

/// What entries say of other rows, to be looked up for many entries at once.
#[derive(Debug, Default)]
pub struct Notes {
    /// Entries that others name: which, and by which.
    pub references: Vec<(EntryId, EntryId)>,
    /// Activities.
    pub accepted: Vec<Accepted>,
    /// Versions of programs, and the entries that put them in force.
    pub versions: Vec<(EntryId, ProgramId, i32)>,
    /// Accounts with more keys than are remembered.
    pub crowded: Vec<AccountId>,
}

impl Notes {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.references.clear();
        self.accepted.clear();
        self.versions.clear();
        self.crowded.clear();
    }
}

/// An account under examination, entry by entry.
pub struct Check {
    account_id: AccountId,
    /// The number of the last entry seen.
    last: i64,
    latest: Option<Timestamp>,
    program_id: Option<ProgramId>,
    /// The command of the last entry, and its key.
    command: Option<(Uuid, Option<[u8; 32]>)>,
    keys: HashSet<[u8; 32]>,
    /// The account as the entries say it is; none before the first, or once they contradict each other.
    account: Option<Account>,
    states: States,
    folds: bool,
    is_sound: bool,
}

impl Check {
    /// Begins with nothing, into empty states.
    #[must_use]
    pub fn new(account_id: AccountId, states: States) -> Self {
        Self {
            account_id,
            last: 0,
            latest: None,
            program_id: None,
            command: None,
            keys: HashSet::new(),
            account: None,
            states,
            folds: true,
            is_sound: true,
        }
    }

    /// Whose account it is.
    #[must_use]
    pub const fn account_id(&self) -> AccountId {
        self.account_id
    }

    fn damage(&mut self, found: &mut Found<'_>, what: String) {
        self.is_sound = false;
        found(Difference { account_id: self.account_id, nature: Nature::Ledger, what });
    }

    fn miss(&mut self, found: &mut Found<'_>, from: i64, to: i64) {
        let account = self.account_id.0;
        self.damage(
            found,
            if from == to {
                format!("entry {from} of account {account} is missing")
            } else {
                format!("entries {from} to {to} of account {account} are missing")
            },
        );
    }

    /// Takes the account's next entry.
    pub fn take(&mut self, row: ScannedEntry, notes: &mut Notes, found: &mut Found<'_>) {
        let id = row.id;
        if id.account_seq != self.last.saturating_add(1) {
            self.miss(found, self.last.saturating_add(1), id.account_seq.saturating_sub(1));
            self.folds = false;
        }
        self.last = id.account_seq;
        let entry = match row.entry {
            Ok(entry) => entry,
            Err(defect) => {
                self.folds = false;
                return self.damage(found, format!("{defect}; its hash cannot be computed"));
            }
        };
        if row.kind != entry.detail.kind() {
            let what = format!("entry {id}: the kind is {} by its detail, {} as stored", entry.detail.kind(), row.kind);
            self.damage(found, what);
        }
        self.check_seal(&entry, row.hash_version, &row.content_hash, found);
        self.check_place(&entry, found);
        self.check_key(&entry, notes, found);
        self.note(&entry, notes, found);
        if self.folds {
            self.fold(&entry, found);
        }
    }

    fn check_seal(&mut self, entry: &Entry, version: i16, stored: &[u8], found: &mut Found<'_>) {
        let id = entry.id;
        if version != HASH_VERSION {
            return self.damage(found, format!("entry {id}: its hash is of the unknown version {version}"));
        }
        match entry.hash() {
            Ok(hash) if hash == stored => {}
            Ok(hash) => {
                let what =
                    format!("entry {id}: the content hash is {} by its columns, {} as stored", hex(&hash), hex(stored));
                self.damage(found, what);
            }
            Err(error) => self.damage(found, format!("entry {id}: {error}; its hash cannot be computed")),
        }
    }

    /// The program is the account's, and its time does not go back.
    fn check_place(&mut self, entry: &Entry, found: &mut Found<'_>) {
        let id = entry.id;
        match &self.program_id {
            Some(program_id) if *program_id != entry.program_id => {
                let what = format!("entry {id}: it is of program {}, the account of {program_id}", entry.program_id);
                self.damage(found, what);
            }
            Some(_) => {}
            None => self.program_id = Some(entry.program_id.clone()),
        }
        if let Some(latest) = self.latest.filter(|latest| *latest > entry.effective_at) {
            let back = latest.duration_since(entry.effective_at);
            self.damage(found, format!("entry {id}: its effective_at goes back by {back:#}"));
        }
        self.latest = Some(entry.effective_at);
    }

    /// A key stands on its command's first entry, and is used once.
    fn check_key(&mut self, entry: &Entry, notes: &mut Notes, found: &mut Found<'_>) {
        let id = entry.id;
        let is_first = self.command.is_none_or(|(command_id, _)| command_id != entry.command_id);
        let key = entry.key.map(|key| key.hash);
        if is_first {
            self.command = Some((entry.command_id, key));
        } else if key.is_some() {
            self.damage(found, format!("entry {id}: it has a key and is not its command's first"));
        }
        let Some(key) = key else { return };
        if self.keys.len() < MAX_KEYS {
            if !self.keys.insert(key) {
                self.damage(found, format!("entry {id}: its idempotency key was used before"));
            }
            if self.keys.len() == MAX_KEYS {
                notes.crowded.push(self.account_id);
            }
        }
    }

    /// Notes what the entry says of other rows; what it says of earlier ones of its own account is judged here.
    fn note(&mut self, entry: &Entry, notes: &mut Notes, found: &mut Found<'_>) {
        let id = entry.id;
        for cause in &entry.causes {
            if cause.account_id != self.account_id {
                notes.references.push((*cause, id));
            } else if cause.account_seq >= id.account_seq {
                self.damage(found, format!("entry {id}: its cause {cause} does not stand before it"));
            }
        }
        let mut accept = |purchase, amount, happened_at| {
            let key_hash = self.command.and_then(|(_, key)| key);
            notes.accepted.push(Accepted {
                id,
                purchase,
                amount,
                happened_at,
                recorded_at: entry.recorded_at,
                key_hash,
            });
        };
        match &entry.detail {
            Detail::ActivityAccepted { spend, happened_at, .. } => accept(None, *spend, *happened_at),
            Detail::RefundAccepted { purchase, spend, happened_at, .. } => {
                accept(Some(*purchase), *spend, *happened_at);
            }
            Detail::ProgramApplied { version } => notes.versions.push((id, entry.program_id.clone(), *version)),
            Detail::ReferralCreated { referrer, .. } => {
                notes.references.push((EntryId { account_id: *referrer, account_seq: 1 }, id));
            }
            Detail::ReferralConverted { qualifying, referrer_reward, referee_reward } => {
                let named = [qualifying, referrer_reward, referee_reward].into_iter().flatten();
                notes.references.extend(named.map(|named| (*named, id)));
            }
            // Everything else names entries of its own account alone, which applying it looks up.
            _ => {}
        }
    }

    /// Takes the entry into head and rows, in the same code as when it was written.
    fn fold(&mut self, entry: &Entry, found: &mut Found<'_>) {
        let account = self.account.get_or_insert_with(|| {
            let kind = match entry.detail {
                Detail::ProgramApplied { .. } => AccountKind::Program,
                _ => AccountKind::Customer,
            };
            Account::empty(entry.id.account_id, entry.program_id.clone(), kind)
        });
        let outcome = account.apply(entry).map_err(|error| format!("entry {}: {error}", entry.id));
        let is_conserved = account.balance.is_conserved();
        let outcome = outcome.and_then(|()| self.states.apply(entry).map_err(|defect| defect.to_string()));
        let outcome = outcome.and_then(|()| {
            let broken = || format!("entry {}: points are not conserved", entry.id);
            if is_conserved { Ok(()) } else { Err(broken()) }
        });
        if let Err(what) = outcome {
            self.folds = false;
            self.damage(
                found,
                format!("{what}; what follows on the account is not applied, and its rows not compared"),
            );
        }
    }

    /// After the last entry: compares with what is stored of the account; whether rows differ from what the entries say.
    pub fn finish(mut self, head: Option<&Account>, stored: &States, found: &mut Found<'_>) -> bool {
        let account_id = self.account_id;
        if let Some(head) = head.filter(|head| head.head > self.last) {
            self.miss(found, self.last.saturating_add(1), head.head);
        }
        let mut differs = false;
        if self.folds {
            let mut projection = |what| {
                differs = true;
                found(Difference { account_id, nature: Nature::Projection, what });
            };
            if let Some(account) = &mut self.account {
                account.next_due_at = self.states.next_due(account_id);
            }
            compare_heads(account_id, self.account.as_ref(), head, &mut projection);
            // Rows are read by heads; those of an account without one are strays.
            if head.is_some() {
                compare_rows(account_id, &self.states, stored, &mut projection);
            }
        }
        differs
    }

    /// After the last entry: the account and its rows, if the entries are whole and as they were written.
    #[must_use]
    pub fn into_folded(mut self) -> Option<(Option<Account>, States)> {
        if let Some(account) = &mut self.account {
            account.next_due_at = self.states.next_due(self.account_id);
        }
        (self.folds && self.is_sound).then_some((self.account, self.states))
    }
}

fn compare_heads(
    account_id: AccountId,
    folded: Option<&Account>,
    stored: Option<&Account>,
    differ: &mut dyn FnMut(String),
) {
    let (Some(folded), Some(stored)) = (folded, stored) else {
        if let Some(folded) = folded {
            differ(format!("account {} has {} entries and no head", account_id.0, folded.head));
        }
        return;
    };
    super::compare::compare_columns(account_id, &folded.row(), &stored.row(), differ);
    // May be early, since whatever comes of looking too soon is to look again; never late.
    let Some(due_at) = folded.next_due_at else { return };
    let account = account_id.0;
    match stored.next_due_at {
        Some(noted) if noted <= due_at => {}
        Some(noted) => differ(format!(
            "account {account}: next_due_at is {due_at} by the entries, {noted} as stored (late by {:#})",
            noted.duration_since(due_at)
        )),
        None => differ(format!("account {account}: next_due_at is {due_at} by the entries, none as stored")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
