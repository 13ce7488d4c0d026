//! A decision under way: what a command may look at, and what it wants written. It is pure.

use std::any::TypeId;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::account::{Account, Balance};
use super::entry::{NewEntry, Pocket, PocketMove};
use super::name::{Name, NameUse};
use super::state::{State, States};
use crate::error::{Defect, Reason, Refusal};
use crate::ids::{AccountId, EntryId};

/// Why a decision did not come to its end.
#[derive(Debug)]
pub enum DecisionError {
    /// State or rules refuse the command.
    Refused(Refusal),
    /// The command turned out to touch more than this batch locked or read; it waits for the next.
    NotLoaded,
    /// More is due than one batch applies; it waits for the next.
    DuesRemain,
    /// A bug or a damaged database, never the caller's doing.
    Defect(Defect),
}

impl DecisionError {
    /// The same error, but that a refusal is a defect: of what nobody asked for.
    #[must_use]
    pub(super) fn into_defect(self, describe: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Refused(refusal) => Self::Defect(Defect::new(describe(&refusal.message))),
            other @ (Self::NotLoaded | Self::DuesRemain | Self::Defect(_)) => other,
        }
    }
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

/// Adds a source row to a state once the decision is accepted.
pub(super) type Record = Box<dyn FnOnce(&mut States) -> Result<(), Defect> + Send>;

/// What a command may ask states for, before they are loaded.
pub struct Asking<'a> {
    pub(super) names: &'a BTreeMap<Name, AccountId>,
    pub(super) accounts: &'a BTreeMap<AccountId, Account>,
    /// The instant that the command runs at.
    pub(super) at: Timestamp,
    pub(super) states: &'a mut States,
    /// The states that the command listed.
    pub(super) wanted_states: &'a [TypeId],
}

/// Refuses a state that the command did not list: whether it is loaded depends on the rest of the batch.
fn require_listed<S: State>(wanted_states: &[TypeId]) -> Result<(), Defect> {
    if wanted_states.contains(&TypeId::of::<S>()) {
        return Ok(());
    }
    let state = std::any::type_name::<S>();
    Err(Defect::new(format!("a command reads {state}, and its `states` do not name it")))
}

impl Asking<'_> {
    /// The account a name belongs to.
    #[must_use]
    pub fn find(&self, name: &Name) -> Option<AccountId> {
        self.names.get(name).copied()
    }

    /// The instant that the command runs at.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// The instant that the command has on an account, unless another command of the batch takes it further before. None
    /// if the account is not locked, or has no entries.
    #[must_use]
    pub fn time_of(&self, account_id: AccountId) -> Option<Timestamp> {
        self.accounts.get(&account_id).filter(|account| account.head > 0).map(|account| account.time_at(self.at))
    }

    /// A capability's state, to ask for rows.
    ///
    /// # Errors
    /// [`Defect`] if no capability has such a state, or the command did not list it.
    pub fn state<S: State>(&mut self) -> Result<&mut S, Defect> {
        require_listed::<S>(self.wanted_states)?;
        self.states.get_mut()
    }
}

/// What is loaded, for a decision to look at.
pub struct View<'a> {
    pub(super) names: &'a BTreeMap<Name, AccountId>,
    pub(super) accounts: &'a BTreeMap<AccountId, Account>,
    pub(super) states: &'a States,
    /// Which of the states the command asked for. What is in others depends on the rest of the batch.
    pub(super) wanted_states: &'a [TypeId],
}

/// A decision under way: it looks at what is loaded and collects what shall be written.
pub struct Decision<'a> {
    view: View<'a>,
    names: &'a [NameUse],
    at: Timestamp,
    now: Timestamp,
    decided: Decided,
}

/// What a decision wants written, once it has come to its end.
pub(super) struct Decided {
    /// The entries, with the ids that they get.
    pub(super) new_entries: Vec<(EntryId, NewEntry)>,
    /// The rows of sources of record.
    pub(super) records: Vec<Record>,
    /// The claimed names that the command wants.
    pub(super) wanted_names: Vec<Name>,
}

impl<'a> Decision<'a> {
    pub(super) const fn new(view: View<'a>, names: &'a [NameUse], at: Timestamp, now: Timestamp) -> Self {
        let decided = Decided { new_entries: Vec::new(), records: Vec::new(), wanted_names: Vec::new() };
        Self { view, names, at, now, decided }
    }

    /// What the command has decided.
    pub(super) fn finish(self) -> Decided {
        self.decided
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

    /// The account a name belongs to. An account without entries is shown only to a command that would open it. Other
    /// commands of the batch do not see it, since it may never be written.
    ///
    /// # Errors
    /// [`DecisionError::NotLoaded`] if it belongs to an account that is not locked, or that is no longer the customer's
    /// while the command would open another.
    pub fn find(&self, name: &Name) -> Result<Option<&'a Account>, DecisionError> {
        let Some(account_id) = self.view.names.get(name) else { return Ok(None) };
        let account = self.account(*account_id)?;
        let would_open = |name_use: &NameUse| matches!(name_use, NameUse::FindOrOpen(opened) if opened == name);
        let would_open = self.names.iter().any(would_open);
        // Erased by this very batch, which takes the name away: whoever would open an account for it waits until it is free.
        if account.erased_at.is_some() {
            return if would_open { Err(DecisionError::NotLoaded) } else { Ok(None) };
        }
        Ok((account.head > 0 || would_open).then_some(account))
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
        let own = self.decided.new_entries.iter().filter(|(id, _)| id.account_id == account_id);
        for movement in own.filter_map(|(_, new_entry)| new_entry.movement) {
            balance.make(movement).map_err(|_| overflow())?;
        }
        Ok(balance)
    }

    /// Whether an account can count so many more points, this decision's own entries included.
    ///
    /// # Errors
    /// As [`balance`](Self::balance).
    pub fn can_be_issued(&self, account_id: AccountId, points: i64) -> Result<bool, DecisionError> {
        let mut balance = self.balance(account_id)?;
        Ok(balance.make(PocketMove { from: Pocket::Issued, to: Pocket::Available, points }).is_ok())
    }

    /// A capability's rows.
    ///
    /// # Errors
    /// [`DecisionError::Defect`] if no capability has such a state, or the command did not ask for it: then it may be
    /// loaded or not.
    pub fn state<S: State>(&self) -> Result<&'a S, DecisionError> {
        require_listed::<S>(self.view.wanted_states)?;
        Ok(self.view.states.get()?)
    }

    /// The id that the next entry of an account will get, so that entries may point at each other.
    ///
    /// # Errors
    /// [`DecisionError::NotLoaded`] if the account is not locked.
    pub fn next_entry_id(&self, account_id: AccountId) -> Result<EntryId, DecisionError> {
        let mut id = self.account(account_id)?.next_entry_id();
        if let Some((last, _)) = self.decided.new_entries.iter().rev().find(|(own, _)| own.account_id == account_id) {
            id.account_seq = last.account_seq.saturating_add(1);
        }
        Ok(id)
    }

    /// What this decision has put on accounts, in order.
    pub fn posted(&self) -> impl Iterator<Item = (EntryId, &NewEntry)> {
        self.decided.new_entries.iter().map(|(id, new_entry)| (*id, new_entry))
    }

    /// Puts an entry on an account.
    ///
    /// # Errors
    /// [`DecisionError::NotLoaded`] if the account is not locked.
    pub fn post(&mut self, account_id: AccountId, new_entry: NewEntry) -> Result<EntryId, DecisionError> {
        let id = self.next_entry_id(account_id)?;
        self.decided.new_entries.push((id, new_entry));
        Ok(id)
    }

    /// Adds a row of a source of record, such as a dossier, together with the entries.
    pub fn keep<S: State>(&mut self, record: impl FnOnce(&mut S) + Send + 'static) {
        self.decided.records.push(Box::new(move |states| {
            record(states.get_mut()?);
            Ok(())
        }));
    }

    /// Keeps a name that the command asked to [`Claim`](NameUse::Claim); one that is not kept is free again.
    pub fn claim_name(&mut self, name: Name) {
        self.decided.wanted_names.push(name);
    }
}
