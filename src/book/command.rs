//! A command: one intention to write. It says what it needs, and decides, purely, what becomes of it.

use std::any::TypeId;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::account::{Account, Balance};
use super::detail::Detail;
use super::entry::{Actor, EntryReason, Key, Movement};
use super::lane::Job;
use super::state::{State, States};
use crate::error::{Reason, Refusal};
use crate::ids::{AccountId, CustomerId, EntryId, ProgramId, ReferralCode};

/// The most entries that one command may write to one account: a replay reads back this many.
pub const MAX_ENTRIES_PER_ACCOUNT: usize = 32;

/// A name that is unique beyond an account, and belongs to exactly one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The program within which the name is unique.
    pub program_id: ProgramId,
    /// What kind of name it is.
    pub space: &'static str,
    /// The name itself.
    pub name: String,
}

impl Name {
    /// The program's own name.
    #[must_use]
    pub fn program(program_id: &ProgramId) -> Self {
        Self { program_id: program_id.clone(), space: "program", name: String::new() }
    }

    /// A customer's name.
    #[must_use]
    pub fn customer(program_id: &ProgramId, customer_id: &CustomerId) -> Self {
        Self { program_id: program_id.clone(), space: "customer", name: customer_id.as_str().to_owned() }
    }

    /// A referral code.
    #[must_use]
    pub fn referral_code(program_id: &ProgramId, code: &ReferralCode) -> Self {
        Self { program_id: program_id.clone(), space: "referral_code", name: code.as_str().to_owned() }
    }
}

/// What a command does with a name.
#[derive(Clone, Debug)]
pub enum NameUse {
    /// It must belong to someone already, or the decision will say what is missing.
    Find(Name),
    /// If it is free, a new account is made for it.
    FindOrOpen(Name),
    /// If it is free, the account of the command's first name takes it.
    Take(Name),
}

impl NameUse {
    /// The name itself.
    #[must_use]
    pub const fn name(&self) -> &Name {
        match self {
            Self::Find(name) | Self::FindOrOpen(name) | Self::Take(name) => name,
        }
    }
}

/// The idempotency key of a command, and what its reuse with other content is called.
#[derive(Clone, Copy, Debug)]
pub struct CommandKey {
    /// The key and the command's content, hashed.
    pub key: Key,
    /// The refusal's reason when the key was used for something else.
    pub reused: Reason,
}

/// One intention to write, the same whether it comes alone or among five hundred.
pub trait Command: Send + Sync {
    /// The program it belongs to.
    fn program_id(&self) -> &ProgramId;

    /// The names it resolves. The first is its scope: the account that its idempotency key belongs to.
    fn names(&self) -> Vec<NameUse>;

    /// Its idempotency key, unless it is naturally idempotent.
    fn key(&self) -> Option<CommandKey>;

    /// The states that its decision reads or that its entries change.
    fn states(&self) -> Vec<TypeId>;

    /// Accounts that it touches without a name of theirs.
    fn accounts(&self) -> Vec<AccountId> {
        Vec::new()
    }

    /// Tells states what it needs of that which is only loaded on demand.
    ///
    /// # Errors
    /// [`Defect`] if the house lacks a state.
    fn ask(&self, _asking: &mut Asking<'_>) -> Result<(), Defect> {
        Ok(())
    }

    /// The instant to run at instead of the present, for history.
    fn history_at(&self) -> Option<Timestamp> {
        None
    }

    /// Decides, from what is loaded alone. A decision that is halted leaves no trace.
    ///
    /// # Errors
    /// [`DecisionError`]: a refusal, or something the batch must see to.
    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError>;
}

/// Something that contradicts the book's own rules: a bug or a damaged database, never the caller's doing.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Defect(String);

impl Defect {
    /// A defect, described for whoever mends it.
    pub fn new(description: impl Into<String>) -> Self {
        Self(description.into())
    }
}

/// Why a decision did not come to its end.
#[derive(Debug)]
pub enum DecisionError {
    /// State or rules refuse the command.
    Refused(Refusal),
    /// The command turned out to touch more than this batch locked or read; it waits for the next.
    NotLoaded,
    /// More is due than one batch applies; it waits for the next.
    DuesRemain,
    /// A bug.
    Defect(Defect),
}

impl From<Refusal> for DecisionError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Defect> for DecisionError {
    fn from(defect: Defect) -> Self {
        Self::Defect(defect)
    }
}

/// The refusal of what would make a balance too large to count.
pub(super) fn overflow() -> Refusal {
    Refusal::new(Reason::AmountOverflow, "the balance would pass what the book can count")
}

/// What a decision puts on the ledger, before the book gives it its place there.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// What happened.
    pub detail: Detail,
    /// The points that move.
    pub movement: Option<Movement>,
    /// On whose behalf.
    pub actor: Actor,
    /// Why.
    pub reason: EntryReason,
    /// The program version that decided.
    pub policy_version: i32,
    /// The entries that caused it.
    pub causes: Vec<EntryId>,
}

/// Adds a source row to a state once the decision is accepted.
pub(super) type Record = Box<dyn FnOnce(&mut States) -> Result<(), Defect> + Send>;

/// What a command may ask states for, before they are loaded.
pub struct Asking<'a> {
    pub(super) names: &'a BTreeMap<Name, AccountId>,
    pub(super) states: &'a mut States,
}

impl Asking<'_> {
    /// The account a name belongs to.
    #[must_use]
    pub fn find(&self, name: &Name) -> Option<AccountId> {
        self.names.get(name).copied()
    }

    /// A capability's state, to ask for rows.
    ///
    /// # Errors
    /// [`Defect`] if the house has no such state.
    pub fn state<S: State>(&mut self) -> Result<&mut S, Defect> {
        self.states.get_mut()
    }
}

/// What is loaded, for a decision to look at.
pub struct View<'a> {
    pub(super) names: &'a BTreeMap<Name, AccountId>,
    pub(super) accounts: &'a BTreeMap<AccountId, Account>,
    pub(super) states: &'a States,
}

/// A decision under way: it looks at what is loaded and collects what shall be written.
pub struct Decision<'a> {
    view: View<'a>,
    job: &'a Job,
    at: Timestamp,
    now: Timestamp,
    pub(super) new_entries: Vec<(EntryId, NewEntry)>,
    pub(super) records: Vec<Record>,
    pub(super) taken: Vec<Name>,
}

impl<'a> Decision<'a> {
    pub(super) const fn new(view: View<'a>, job: &'a Job, at: Timestamp, now: Timestamp) -> Self {
        Self { view, job, at, now, new_entries: Vec::new(), records: Vec::new(), taken: Vec::new() }
    }

    /// The instant the command runs at: the present, or history's.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// The present instant.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The account a name belongs to. One without entries is shown only to a command that would open it: its
    /// neighbours in the batch do not see what may never be.
    ///
    /// # Errors
    /// [`DecisionError::NotLoaded`] if it belongs to an account that is not locked.
    pub fn find(&self, name: &Name) -> Result<Option<&'a Account>, DecisionError> {
        let Some(account_id) = self.view.names.get(name) else { return Ok(None) };
        let account = self.account(*account_id)?;
        let opens = |name_use: &NameUse| matches!(name_use, NameUse::FindOrOpen(opened) if opened == name);
        Ok(Some(account).filter(|account| account.head > 0 || self.job.names.iter().any(opens)))
    }

    /// A locked account, as it is before this decision's own entries.
    ///
    /// # Errors
    /// [`DecisionError::NotLoaded`] if it is not locked.
    pub fn account(&self, account_id: AccountId) -> Result<&'a Account, DecisionError> {
        self.view.accounts.get(&account_id).ok_or(DecisionError::NotLoaded)
    }

    /// Where an account's points are, this decision's own entries included.
    ///
    /// # Errors
    /// [`DecisionError::NotLoaded`] if the account is not locked; a refusal if it cannot count so many.
    pub fn balance(&self, account_id: AccountId) -> Result<Balance, DecisionError> {
        let mut balance = self.account(account_id)?.balance;
        let own = self.new_entries.iter().filter(|(id, _)| id.account_id == account_id);
        for movement in own.filter_map(|(_, new_entry)| new_entry.movement) {
            balance.make(movement).map_err(|_| overflow())?;
        }
        Ok(balance)
    }

    /// A capability's rows.
    ///
    /// # Errors
    /// [`DecisionError::Defect`] if the house has no such state.
    pub fn state<S: State>(&self) -> Result<&'a S, DecisionError> {
        Ok(self.view.states.get()?)
    }

    /// The id that the next entry of an account will get, so that entries may point at each other.
    ///
    /// # Errors
    /// [`DecisionError::NotLoaded`] if the account is not locked.
    pub fn next_entry_id(&self, account_id: AccountId) -> Result<EntryId, DecisionError> {
        let mut id = self.account(account_id)?.next_entry_id();
        if let Some((last, _)) = self.new_entries.iter().rev().find(|(posted, _)| posted.account_id == account_id) {
            id.account_seq = last.account_seq.saturating_add(1);
        }
        Ok(id)
    }

    /// Puts an entry on an account.
    ///
    /// # Errors
    /// [`DecisionError::NotLoaded`] if the account is not locked.
    pub fn post(&mut self, account_id: AccountId, new_entry: NewEntry) -> Result<EntryId, DecisionError> {
        let id = self.next_entry_id(account_id)?;
        self.new_entries.push((id, new_entry));
        Ok(id)
    }

    /// Adds a row of a source of record, such as a dossier, together with the entries.
    pub fn keep<S: State>(&mut self, record: impl FnOnce(&mut S) + Send + 'static) {
        self.records.push(Box::new(move |states| {
            record(states.get_mut()?);
            Ok(())
        }));
    }

    /// Keeps a name that the command asked to [`Take`](NameUse::Take); one that is not kept is free again.
    pub fn take_name(&mut self, name: Name) {
        self.taken.push(name);
    }
}
