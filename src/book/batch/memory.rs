//! What a batch holds in memory: what it has loaded, and what it has decided so far.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use crate::book::account::Account;
use crate::book::entry::Entry;
use crate::book::job::Job;
use crate::book::name::Name;
use crate::book::state::States;
use crate::error::Defect;
use crate::ids::{AccountId, EntryId, ProgramId};

/// The most dues that one batch applies, of all accounts and kinds together.
pub(super) const MAX_DUES: usize = 1_024;

/// Everything that a batch has loaded and decided.
pub(super) struct Batch<'a> {
    pub(super) jobs: &'a [Job],
    /// The instant of the batch: what the database's clock told once the locks were held. Before that there is none.
    pub(super) now: Timestamp,
    /// What the database's clock told after the last lock so far.
    pub(super) told: Option<Timestamp>,
    /// The last entry of each program's own account, as it was when the accounts were locked.
    pub(super) programs: BTreeMap<ProgramId, EntryId>,
    /// The keys of commands that were used before, by the account of their scope.
    pub(super) used_keys: BTreeSet<(AccountId, [u8; 32])>,
    /// Whose each name is. A name that belongs to nobody is left out.
    pub(super) names: BTreeMap<Name, AccountId>,
    /// The names that this batch claimed for new accounts. They are given back where no entry is put on the account.
    pub(super) opened_names: BTreeSet<Name>,
    /// The names that this batch claimed because a command may want them. They are given back unless it does.
    pub(super) claimed_names: BTreeSet<Name>,
    /// The names that decisions want.
    pub(super) wanted_names: BTreeSet<Name>,
    /// The accounts that are locked, and the new ones.
    pub(super) accounts: BTreeMap<AccountId, Account>,
    /// The accounts that were not locked, since somebody else holds them.
    pub(super) held: BTreeSet<AccountId>,
    /// The accounts whose heads cannot be understood, such as one of a kind that a newer version added.
    pub(super) unreadable: BTreeMap<AccountId, Defect>,
    /// The new ones among the accounts.
    pub(super) opened: BTreeSet<AccountId>,
    /// The accounts whose head must be written.
    pub(super) changed: BTreeSet<AccountId>,
    /// The names of commands that may touch what is related to the names' owners.
    pub(super) names_with_related: BTreeSet<&'a Name>,
    /// Pairs of an account that commands name and one that they may touch because of it.
    pub(super) related: BTreeSet<(AccountId, AccountId)>,
    /// The accounts that had something due when states were loaded. What is due was read for these alone.
    pub(super) accounts_with_dues: BTreeSet<AccountId>,
    /// How many more dues the batch applies.
    pub(super) dues_left: usize,
    pub(super) states: States,
    /// What commands wrote, in this batch or before, by the account of their scope and the hash of their key.
    pub(super) entries_by_key: HashMap<(AccountId, [u8; 32]), Vec<Entry>>,
    /// The entries to write, in order.
    pub(super) entries: Vec<Entry>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(jobs: &'a [Job], states: States) -> Self {
        Self {
            jobs,
            now: Timestamp::MIN,
            told: None,
            programs: BTreeMap::new(),
            used_keys: BTreeSet::new(),
            names: BTreeMap::new(),
            opened_names: BTreeSet::new(),
            claimed_names: BTreeSet::new(),
            wanted_names: BTreeSet::new(),
            accounts: BTreeMap::new(),
            held: BTreeSet::new(),
            unreadable: BTreeMap::new(),
            opened: BTreeSet::new(),
            changed: BTreeSet::new(),
            names_with_related: BTreeSet::new(),
            related: BTreeSet::new(),
            accounts_with_dues: BTreeSet::new(),
            dues_left: MAX_DUES,
            states,
            entries_by_key: HashMap::new(),
            entries: Vec::new(),
        }
    }

    /// The states that commands of this batch read or change.
    pub(super) fn wanted_states(&self) -> BTreeSet<TypeId> {
        self.jobs.iter().flat_map(|job| &job.states).copied().collect()
    }

    /// The programs of the commands.
    pub(super) fn program_ids(&self) -> BTreeSet<&'a ProgramId> {
        self.jobs.iter().map(|job| job.command.program_id()).collect()
    }

    /// The accounts that are locked: all but the new ones. Sorted.
    pub(super) fn locked_accounts(&self) -> Vec<AccountId> {
        self.accounts.keys().filter(|account_id| !self.opened.contains(account_id)).copied().collect()
    }

    /// The account of the command's first name, which its idempotency key belongs to.
    pub(super) fn scope_of(&self, job: &Job) -> Option<AccountId> {
        let first = job.names.first()?;
        self.names.get(first.name()).copied()
    }

    /// The instant that a command runs at: history's, if it is past, or the present.
    pub(super) fn instant_of(&self, job: &Job) -> Timestamp {
        job.command.history_at().map_or(self.now, |history_at| history_at.min(self.now))
    }

    /// The accounts that a command cannot do without: those that it names, and those that it touches without a name.
    pub(super) fn own_accounts_of(&self, job: &Job) -> impl Iterator<Item = AccountId> {
        let named = job.names.iter().filter_map(|name_use| self.names.get(name_use.name()).copied());
        named.chain(job.command.accounts())
    }

    /// The accounts that a command names, those related to them, and those that it touches without a name.
    pub(super) fn accounts_of(&self, job: &Job) -> BTreeSet<AccountId> {
        let named: BTreeSet<AccountId> = job.own_names().filter_map(|name| self.names.get(name).copied()).collect();
        let mut accounts = named.clone();
        for (from, related) in &self.related {
            if named.contains(from) {
                accounts.insert(*related);
            }
        }
        accounts.extend(job.command.accounts());
        accounts
    }

    /// Whether time alone does something to an account by the instant that it has reached at `at`.
    pub(super) fn is_due(&self, account_id: AccountId, at: Timestamp) -> bool {
        self.accounts.get(&account_id).is_some_and(|account| account.is_due(at))
    }

    /// Whether the account that a name belongs to has entries.
    pub(super) fn has_entries(&self, name: &Name) -> bool {
        let Some(account_id) = self.names.get(name) else { return false };
        self.accounts.get(account_id).is_some_and(|account| account.head > 0)
    }
}
