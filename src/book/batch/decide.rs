//! The phase that decides: each command in order, against what is in memory. It is pure.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::accept::Origin;
use super::memory::Batch;
use crate::book::command::{CommandKey, KeyKind, MAX_ENTRIES_PER_ACCOUNT, Told, Written};
use crate::book::decision::{Decided, Decision, DecisionError, View};
use crate::book::entry::Entry;
use crate::book::job::Job;
use crate::book::name::Name;
use crate::book::outcome::CommandOutcome;
use crate::error::{Defect, Refusal};
use crate::ids::AccountId;

impl Batch<'_> {
    /// Decides every command in order. One that shares a name with a command that must wait waits, too: so their order
    /// is kept. A defect comes with the place of its command; the batch must then be rolled back.
    pub(super) fn decide_all(&mut self) -> Result<Vec<CommandOutcome>, (usize, Defect)> {
        let mut outcomes = Vec::with_capacity(self.jobs.len());
        // The names of commands for the next batch, and of those that wait apart.
        let (mut next, mut apart): (BTreeSet<&Name>, BTreeSet<&Name>) = (BTreeSet::new(), BTreeSet::new());
        for (place, job) in self.jobs.iter().enumerate() {
            let follows = |waiting: &BTreeSet<&Name>| job.names.iter().any(|it| waiting.contains(it.name()));
            let outcome = if follows(&next) {
                CommandOutcome::Behind
            } else if follows(&apart) {
                CommandOutcome::BehindHeld
            } else {
                self.decide_job(job).map_err(|defect| (place, defect))?
            };
            match outcome.for_followers() {
                Some(CommandOutcome::BehindHeld) => apart.extend(job.own_names()),
                Some(_) => next.extend(job.own_names()),
                None => {}
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    fn decide_job(&mut self, job: &Job) -> Result<CommandOutcome, Defect> {
        if let Some(defect) = self.own_accounts_of(job).find_map(|account_id| self.unreadable.get(&account_id)) {
            return Ok(CommandOutcome::Failed(defect.clone()));
        }
        if self.own_accounts_of(job).any(|account_id| self.held.contains(&account_id)) {
            return Ok(CommandOutcome::Held);
        }
        match self.decide(job) {
            Ok(written) => Ok(CommandOutcome::Written(written)),
            Err(DecisionError::Refused(refusal)) => Ok(CommandOutcome::Refused(refusal)),
            Err(DecisionError::NotLoaded) => Ok(self.outcome_without(job)),
            Err(DecisionError::DuesRemain) => Ok(CommandOutcome::DuesRemain),
            Err(DecisionError::Defect(defect)) => Err(defect),
        }
    }

    /// The outcome of a command that needs what is not there: it may be an account of somebody else's, such as the
    /// referrer's.
    fn outcome_without(&self, job: &Job) -> CommandOutcome {
        let accounts = self.accounts_of(job);
        if let Some(defect) = accounts.iter().find_map(|account_id| self.unreadable.get(account_id)) {
            return CommandOutcome::Failed(defect.clone());
        }
        if accounts.iter().any(|account_id| self.held.contains(account_id)) {
            return CommandOutcome::Held;
        }
        CommandOutcome::Postponed
    }

    fn decide(&mut self, job: &Job) -> Result<Written, DecisionError> {
        let mut written = self.carry_out(job)?;
        written.told = self.tell(job, &written.entries)?;
        Ok(written)
    }

    /// Answers a command whose key was used. Otherwise applies dues, decides, and accepts the new entries.
    fn carry_out(&mut self, job: &Job) -> Result<Written, DecisionError> {
        let scope = self.scope_of(job);
        // Its customer was erased by this very batch. The next one finds no such name.
        let is_erased = |scope| self.accounts.get(&scope).is_some_and(|account| account.erased_at.is_some());
        if job.has_key && scope.is_some_and(is_erased) {
            return Err(DecisionError::NotLoaded);
        }
        if let Some(scope) = scope
            && let Some(earlier) = self.entries_by_key.get(&(scope, job.key.key.hash))
        {
            return Ok(replay(job, earlier)?);
        }
        let at = self.instant_of(job);
        self.apply_dues(&self.accounts_of(job), job, at)?;
        let decided = self.decide_after_dues(job, at)?;
        let accepted = self.accept(decided.new_entries, Origin::of_command(job, scope, at))?;
        for record in decided.records {
            record(&mut self.states)?;
        }
        self.wanted_names.extend(decided.wanted_names);
        let Some(scope) = scope else { return answer(job, Vec::new()) };
        let entries: Vec<Entry> = accepted.into_iter().filter(|entry| entry.id.account_id == scope).collect();
        if !entries.is_empty() {
            self.entries_by_key.insert((scope, job.key.key.hash), entries.clone());
        }
        answer(job, entries)
    }

    /// What a command tells its caller, now that its entries are in the states or were before.
    fn tell(&self, job: &Job, entries: &[Entry]) -> Result<Option<Told>, Defect> {
        let decision = Decision::new(self.view_of(job), &job.names, self.instant_of(job), self.now);
        job.command.tell(&decision, entries).map_err(|error| match error {
            DecisionError::Defect(defect) => defect,
            DecisionError::Refused(_) | DecisionError::NotLoaded | DecisionError::DuesRemain => {
                Defect::new(format!("{} cannot tell what became of it: {error:?}", job.describe()))
            }
        })
    }

    fn view_of<'b>(&'b self, job: &'b Job) -> View<'b> {
        View { names: &self.names, accounts: &self.accounts, states: &self.states, wanted_states: &job.states }
    }

    /// Decides a command. Where only the decision named an account with dues, those are applied and the command is
    /// decided again. Ends when no touched account has dues.
    fn decide_after_dues(&mut self, job: &Job, at: Timestamp) -> Result<Decided, DecisionError> {
        loop {
            let mut decision = Decision::new(self.view_of(job), &job.names, at, self.now);
            job.command.decide(&mut decision)?;
            let decided = decision.finish();
            let touched: BTreeSet<AccountId> = decided.new_entries.iter().map(|(id, _)| id.account_id).collect();
            if !touched.iter().any(|account_id| self.is_due(*account_id, at)) {
                return Ok(decided);
            }
            self.apply_dues(&touched, job, at)?;
        }
    }
}

/// The answer to a command by the entries that it wrote on its scope: a repetition must find them again.
fn answer(job: &Job, entries: Vec<Entry>) -> Result<Written, DecisionError> {
    let is_lost = job.has_key && job.key.kind != KeyKind::Once && entries.is_empty();
    if is_lost || entries.len() > MAX_ENTRIES_PER_ACCOUNT {
        let (what, count) = (job.describe(), entries.len());
        let most = MAX_ENTRIES_PER_ACCOUNT;
        return Err(Defect::new(format!("{what} wrote {count} entries on its scope, and may write 1 to {most}")).into());
    }
    Ok(Written { entries, replayed: false, told: None })
}

/// Answers a command whose key was used before: the same way, or not at all.
fn replay(job: &Job, earlier: &[Entry]) -> Result<Written, Refusal> {
    let CommandKey { key, kind } = job.key;
    let first = earlier.first();
    if first.and_then(|entry| entry.key).is_some_and(|used| used.fingerprint == key.fingerprint) {
        // If this command's first attempt was committed and its acknowledgement lost, its answer is not a replay.
        let replayed = first.is_none_or(|entry| entry.command_id != job.command_id);
        return Ok(Written { entries: earlier.to_vec(), replayed, told: None });
    }
    let refusal = kind.refuse_reuse();
    Err(match first {
        Some(entry) => refusal.with("entry_id", entry.id),
        None => refusal,
    })
}
