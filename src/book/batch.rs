//! One batch on one connection: load, apply dues, decide, write. Nothing here knows what any command is about.

mod names;

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::account::Account;
use super::capability::Capabilities;
use super::command::{CommandKey, MAX_ENTRIES_PER_ACCOUNT, Written};
use super::decision::{Asking, Decision, DecisionError, View, overflow};
use super::entry::{Entry, Key, NewEntry};
use super::job::Job;
use super::name::{Name, NameUse};
use super::state::{Depth, NextDue, Scope, States};
use super::store;
use crate::clock::Clock;
use crate::database::{StoreError, Traced as _};
use crate::error::{Defect, Error, Reason, Refusal};
use crate::ids::{AccountId, EntryId, ProgramId};

/// What became of one job of a committed batch.
pub(super) enum Verdict {
    /// Carried out, now or before.
    Written(Written),
    /// Refused; nothing was written for it.
    Refused(Error),
    /// It touches more than this batch locked or read.
    Postponed,
    /// More is due on its accounts than one batch applies; a part of it is applied now.
    DuesRemain,
}

/// Why a whole batch was rolled back.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Defect(#[from] Defect),
}

/// Everything that a batch has loaded and decided.
struct Batch<'a> {
    jobs: &'a [Job],
    capabilities: &'a Capabilities,
    now: Timestamp,
    names: BTreeMap<Name, AccountId>,
    /// Names that this batch opened accounts for; given back if no entry was put on them.
    opening: BTreeSet<Name>,
    /// Names that this batch took for accounts; given back unless a decision kept them.
    taking: BTreeSet<Name>,
    kept: BTreeSet<Name>,
    accounts: BTreeMap<AccountId, Account>,
    opened: BTreeSet<AccountId>,
    changed: BTreeSet<AccountId>,
    related: Vec<(AccountId, AccountId)>,
    /// The accounts of which everything that is due was read.
    due: BTreeSet<AccountId>,
    states: States,
    keys: HashMap<(AccountId, [u8; 32]), Vec<Entry>>,
    entries: Vec<Entry>,
}

/// Carries out a batch in one transaction.
pub(super) async fn carry_out(
    connection: &mut PgConnection,
    jobs: &[Job],
    capabilities: &Capabilities,
    clock: &Clock,
) -> Result<Vec<Verdict>, Failure> {
    let mut transaction = connection.begin().traced("BEGIN").await?;
    let mut batch = Batch {
        jobs,
        capabilities,
        now: clock.now(),
        names: BTreeMap::new(),
        opening: BTreeSet::new(),
        taking: BTreeSet::new(),
        kept: BTreeSet::new(),
        accounts: BTreeMap::new(),
        opened: BTreeSet::new(),
        changed: BTreeSet::new(),
        related: Vec::new(),
        due: BTreeSet::new(),
        states: capabilities.new_states(),
        keys: HashMap::new(),
        entries: Vec::new(),
    };
    match batch.run(&mut transaction, clock).await {
        Ok(verdicts) => {
            transaction.commit().traced("COMMIT").await?;
            Ok(verdicts)
        }
        Err(failure) => {
            // Dropped alone, the transaction would keep its locks until the connection is used again.
            let _ = transaction.rollback().traced("ROLLBACK").await;
            Err(failure)
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) => Self::Database(error),
            StoreError::Defect(defect) => Self::Defect(defect),
        }
    }
}

impl Batch<'_> {
    async fn run(&mut self, connection: &mut PgConnection, clock: &Clock) -> Result<Vec<Verdict>, Failure> {
        self.load(connection, clock).await?;
        let verdicts = self.decide_all()?;
        self.write(connection).await?;
        Ok(verdicts)
    }

    async fn load(&mut self, connection: &mut PgConnection, clock: &Clock) -> Result<(), Failure> {
        self.resolve(connection).await?;
        let wanted: BTreeSet<TypeId> = self.jobs.iter().flat_map(|job| job.command.states()).collect();
        let named: Vec<AccountId> =
            self.names.values().copied().filter(|account| !self.opened.contains(account)).collect();
        self.related = self.capabilities.find_related(connection, &wanted, &named).await?;
        let mut to_lock: BTreeSet<AccountId> = named.into_iter().collect();
        to_lock.extend(self.jobs.iter().flat_map(|job| job.command.accounts()));
        to_lock.extend(self.related.iter().map(|(_, related)| *related));
        let to_lock: Vec<AccountId> = to_lock.into_iter().collect();
        let locked = store::accounts::lock_accounts(connection, &to_lock).await?;
        if locked.len() != to_lock.len() {
            return Err(Defect::new("a name belongs to an account that does not exist").into());
        }
        self.accounts.extend(locked.into_iter().map(|account| (account.account_id, account)));
        // The present begins once the locks are held, if only the table's: whoever locks it whole knows that nothing of
        // before is still to come.
        self.now = clock.now();
        // Statements from here on see what the locks waited for.
        self.load_keys(connection).await?;
        let programs: BTreeSet<ProgramId> = self.jobs.iter().map(|job| job.command.program_id().clone()).collect();
        let latest = self.jobs.iter().map(|job| self.instant_of(job)).max().unwrap_or(self.now);
        self.due = self.accounts.keys().copied().filter(|account_id| self.is_due(*account_id, latest)).collect();
        // An account's time never goes back, not even for what is told of the past.
        let times = self.due.iter().filter_map(|account_id| Some(self.accounts.get(account_id)?.time_at(latest)));
        let latest = times.max().unwrap_or(latest);
        for job in self.jobs {
            job.command.ask(&mut Asking { names: &self.names, states: &mut self.states })?;
        }
        let scope = Scope {
            accounts: to_lock,
            programs: programs.into_iter().collect(),
            due: self.due.iter().copied().collect(),
            latest,
            depth: Depth::Asked,
        };
        // Whatever is due may concern any state.
        let wanted = Some(&wanted).filter(|_| self.due.is_empty());
        self.capabilities.load(&mut self.states, wanted, &scope, connection).await?;
        Ok(())
    }

    async fn load_keys(&mut self, connection: &mut PgConnection) -> Result<(), Failure> {
        // Each key once, however many commands carry it: its entries are read as often as it is asked for.
        let wanted: BTreeSet<(AccountId, [u8; 32])> = self
            .jobs
            .iter()
            .filter_map(|job| Some((self.scope_of(job)?, job.key.key.hash)))
            .filter(|(account_id, _)| !self.opened.contains(account_id))
            .collect();
        let wanted: Vec<(AccountId, [u8; 32])> = wanted.into_iter().collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut slot = None;
        for entry in store::find_keys(connection, &wanted).await? {
            if let Some(key) = entry.key {
                slot = Some((entry.id.account_id, key.hash));
            }
            if let Some(slot) = slot {
                self.keys.entry(slot).or_default().push(entry);
            }
        }
        Ok(())
    }

    /// The account of the command's first name.
    fn scope_of(&self, job: &Job) -> Option<AccountId> {
        self.names.get(job.names.first()?.name()).copied()
    }

    /// The instant a command runs at: history's, if it is past, or the present.
    fn instant_of(&self, job: &Job) -> Timestamp {
        job.command.history_at().map_or(self.now, |history_at| history_at.min(self.now))
    }

    /// Decides every job in order. Once one is postponed, so are those behind it that share a name, to keep their order.
    fn decide_all(&mut self) -> Result<Vec<Verdict>, Failure> {
        let mut verdicts = Vec::with_capacity(self.jobs.len());
        let mut postponed: BTreeSet<&Name> = BTreeSet::new();
        for job in self.jobs {
            let mut names = job.names.iter().map(NameUse::name);
            let verdict = if names.any(|name| postponed.contains(name)) {
                Verdict::Postponed
            } else {
                match self.decide(job) {
                    Ok(written) => Verdict::Written(written),
                    Err(DecisionError::Refused(refusal)) => Verdict::Refused(Error::Refused(refusal)),
                    Err(DecisionError::NotLoaded) => Verdict::Postponed,
                    Err(DecisionError::DuesRemain) => Verdict::DuesRemain,
                    Err(DecisionError::Defect(defect)) => return Err(defect.into()),
                }
            };
            if matches!(verdict, Verdict::Postponed | Verdict::DuesRemain) {
                postponed.extend(job.names.iter().map(NameUse::name));
            }
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }

    fn decide(&mut self, job: &Job) -> Result<Written, DecisionError> {
        let scope = self.scope_of(job);
        let CommandKey { key, reused } = job.key;
        if let Some(scope) = scope
            && let Some(earlier) = self.keys.get(&(scope, key.hash))
        {
            return replay(job.command_id, earlier, &key, reused).map_err(DecisionError::from);
        }
        let at = self.instant_of(job);
        self.apply_dues(self.touched_by(job), job, at)?;
        let (new_entries, records, claimed) = loop {
            let view = View { names: &self.names, accounts: &self.accounts, states: &self.states };
            let mut decision = Decision::new(view, &job.names, at, self.now);
            job.command.decide(&mut decision)?;
            let Decision { new_entries, records, claimed, .. } = decision;
            // A decision may reach an account that was not foreseen: what is due there comes first, too.
            let with_dues: BTreeSet<AccountId> = new_entries
                .iter()
                .map(|(id, _)| id.account_id)
                .filter(|account_id| self.is_due(*account_id, at))
                .collect();
            if with_dues.is_empty() {
                break (new_entries, records, claimed);
            }
            self.apply_dues(with_dues, job, at)?;
        };
        let entries =
            self.accept(new_entries, Author { job, command_id: job.command_id, at, scope, key: Some(key) })?;
        for record in records {
            record(&mut self.states)?;
        }
        self.kept.extend(claimed);
        let entries: Vec<Entry> = entries.into_iter().filter(|entry| Some(entry.id.account_id) == scope).collect();
        if entries.len() > MAX_ENTRIES_PER_ACCOUNT || (entries.is_empty() && job.has_key) {
            return Err(Defect::new("a command with a key must write 1 to 32 entries on its scope").into());
        }
        if let (Some(scope), false) = (scope, entries.is_empty()) {
            self.keys.insert((scope, key.hash), entries.clone());
        }
        Ok(Written { entries, replayed: false })
    }

    /// The accounts that a command names, and those that it may touch beyond them.
    fn touched_by(&self, job: &Job) -> BTreeSet<AccountId> {
        let named: BTreeSet<AccountId> =
            job.names.iter().filter_map(|name_use| self.names.get(name_use.name()).copied()).collect();
        let related = self.related.iter().filter(|(from, _)| named.contains(from)).map(|(_, related)| *related);
        related.chain(named.iter().copied()).chain(job.command.accounts()).collect()
    }

    /// Whether time alone does something to an account by the instant it has reached at `at`.
    fn is_due(&self, account_id: AccountId, at: Timestamp) -> bool {
        let account = self.accounts.get(&account_id);
        account.is_some_and(|account| account.next_due_at.is_some_and(|due_at| due_at <= account.time_at(at)))
    }

    /// Turns whatever fell due on accounts by an instant into entries, in due order.
    fn apply_dues(&mut self, accounts: BTreeSet<AccountId>, job: &Job, at: Timestamp) -> Result<(), DecisionError> {
        for account_id in accounts {
            while self.is_due(account_id, at) {
                // Whatever is due may concern any state; what became due in this very batch waits for the next.
                let account = self.accounts.get(&account_id).filter(|_| self.due.contains(&account_id));
                let account = account.ok_or(DecisionError::NotLoaded)?;
                match self.states.decide_next_due(account, account.time_at(at)) {
                    NextDue::Entries(due_at, new_entries) => {
                        let mut id = account.next_entry_id();
                        let place = |new_entry| {
                            let placed = (id, new_entry);
                            id.account_seq = id.account_seq.saturating_add(1);
                            placed
                        };
                        let new_entries = new_entries.into_iter().map(place).collect();
                        let author = Author { job, command_id: Uuid::now_v7(), at: due_at, scope: None, key: None };
                        self.accept(new_entries, author)?;
                    }
                    // Whatever is due first is read: each batch applies some of it, or does other work.
                    NextDue::NotLoaded if self.changed.contains(&account_id) => return Err(DecisionError::DuesRemain),
                    NextDue::NotLoaded => {
                        return Err(Defect::new(format!("account {}: what is due was not read", account_id.0)).into());
                    }
                    NextDue::Nothing => {}
                }
                // The note on the account may have been early: with everything loaded it can be put right.
                let next_due_at = self.states.next_due(account_id);
                if let Some(account) = self.accounts.get_mut(&account_id) {
                    account.next_due_at = next_due_at;
                    self.changed.insert(account_id);
                }
            }
        }
        Ok(())
    }

    /// Gives new_entries their place on the ledger and takes them into the state, all or none.
    fn accept(
        &mut self,
        new_entries: Vec<(EntryId, NewEntry)>,
        author: Author<'_>,
    ) -> Result<Vec<Entry>, DecisionError> {
        let mut trial: BTreeMap<AccountId, Account> = BTreeMap::new();
        let mut entries = Vec::with_capacity(new_entries.len());
        let mut key = author.key;
        for (id, new_entry) in new_entries {
            let account = match trial.entry(id.account_id) {
                std::collections::btree_map::Entry::Occupied(slot) => slot.into_mut(),
                std::collections::btree_map::Entry::Vacant(slot) => {
                    slot.insert(self.accounts.get(&id.account_id).ok_or(DecisionError::NotLoaded)?.clone())
                }
            };
            let entry = Entry {
                id,
                program_id: account.program_id.clone(),
                detail: new_entry.detail,
                movement: new_entry.movement,
                command_id: author.command_id,
                key: if author.scope == Some(id.account_id) { key.take() } else { None },
                actor: new_entry.actor,
                reason: new_entry.reason,
                policy_version: new_entry.policy_version,
                causes: new_entry.causes,
                trace_id: author.job.trace_id,
                effective_at: account.time_at(author.at),
                recorded_at: self.now,
            };
            account.apply(&entry).map_err(|_| overflow())?;
            entries.push(entry);
        }
        for entry in &entries {
            self.states.apply(entry)?;
        }
        for (account_id, mut account) in trial {
            let due_at = self.states.next_due(account_id);
            account.next_due_at = account.next_due_at.into_iter().chain(due_at).min();
            self.accounts.insert(account_id, account);
            self.changed.insert(account_id);
        }
        self.entries.extend(entries.iter().cloned());
        Ok(entries)
    }

    async fn write(&mut self, connection: &mut PgConnection) -> Result<(), Failure> {
        let is_empty = |name: &&Name| {
            let account = self.names.get(*name).and_then(|account_id| self.accounts.get(account_id));
            account.is_none_or(|account| account.head == 0)
        };
        let empty = self.opening.iter().filter(is_empty);
        let unused: Vec<Name> = empty.chain(self.taking.difference(&self.kept)).cloned().collect();
        if !unused.is_empty() {
            store::free_names(connection, &unused).await?;
        }
        if !self.entries.is_empty() {
            store::insert_entries(connection, &self.entries).await?;
        }
        let changed = || self.changed.iter().filter_map(|account_id| self.accounts.get(account_id));
        if changed().any(|account| self.opened.contains(&account.account_id)) {
            let opened = changed().filter(|account| self.opened.contains(&account.account_id));
            store::accounts::insert_accounts(connection, opened).await?;
        }
        if changed().any(|account| !self.opened.contains(&account.account_id)) {
            let locked = changed().filter(|account| !self.opened.contains(&account.account_id));
            store::accounts::update_accounts(connection, locked).await?;
        }
        self.capabilities.write(&self.states, connection).await?;
        Ok(())
    }
}

/// On whose behalf entries are accepted.
struct Author<'a> {
    job: &'a Job,
    command_id: Uuid,
    at: Timestamp,
    scope: Option<AccountId>,
    key: Option<Key>,
}

/// Answers a command whose key was used before: the same way, or not at all.
fn replay(command_id: Uuid, earlier: &[Entry], key: &Key, reused: Reason) -> Result<Written, Refusal> {
    let first = earlier.first();
    if first.and_then(|entry| entry.key).is_some_and(|used| used.fingerprint == key.fingerprint) {
        // Its own earlier attempt, committed although the acknowledgement was lost, is no replay.
        let replayed = first.is_none_or(|entry| entry.command_id != command_id);
        return Ok(Written { entries: earlier.to_vec(), replayed });
    }
    let (what, field) = match reused {
        Reason::ActivityIdReused => ("this activity id was used for an activity with other content", "entry_id"),
        _ => ("this idempotency key was used for another request", "entry_id"),
    };
    let refusal = Refusal::new(reused, what);
    Err(match first {
        Some(entry) => refusal.with(field, entry.id),
        None => refusal,
    })
}
