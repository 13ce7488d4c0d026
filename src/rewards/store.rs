//! The SQL of lots, balances and notes, and their state.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

mod projection;
mod reads;
mod rows;
mod writes;

pub use reads::{
    FoundBalance, fetch_balances, find_hold_end, has_lot, list_grants, list_lot_uses, list_lots, read_grant,
};

use super::lots::{Gap, Lots};
use crate::book::store::{find_keys, read_entries};
use crate::book::{Account, Defect, Depth, Detail, Due, DueKind, Earlier, Entry, NewEntry, Projection, Scope, State};
use crate::database::Traced as _;
use crate::ids::{AccountId, EntryId};
use crate::programs::points::Expiry;
use crate::programs::store::ProgramsState;

/// How many dues of an account one batch applies, of each kind.
const MAX_DUES: i64 = 256;

/// What commands need of that which is only loaded on demand.
#[derive(Debug, Default)]
struct Asked {
    /// Points that shall be spent, by account.
    points: BTreeMap<AccountId, i64>,
    lots: BTreeSet<(AccountId, i64)>,
    holds: BTreeSet<(AccountId, i64)>,
    entries: BTreeSet<(AccountId, i64)>,
    keys: BTreeSet<(AccountId, [u8; 32])>,
}

/// The lots of a batch, and what callers wrote beside their entries.
#[derive(Default)]
pub struct PointsState {
    asked: Asked,
    lots: Lots,
    /// Entries that were asked for.
    entries: BTreeMap<EntryId, Entry>,
    /// The entries of commands whose keys were asked for.
    commands: BTreeMap<(AccountId, [u8; 32]), Vec<Entry>>,
    notes: Vec<(EntryId, Note)>,
}

/// What a caller wrote beside an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// Anything.
    pub text: String,
    /// Who did it.
    pub author: String,
}

impl PointsState {
    /// The lots, and what goes with them.
    #[must_use]
    pub const fn lots(&self) -> &Lots {
        &self.lots
    }

    /// An entry that was [asked for](Self::ask_entry).
    #[must_use]
    pub fn entry(&self, entry_id: EntryId) -> Option<&Entry> {
        self.entries.get(&entry_id)
    }

    /// The entries of the command whose key was [asked for](Self::ask_command).
    #[must_use]
    pub fn command(&self, account_id: AccountId, key_hash: [u8; 32]) -> Option<&[Entry]> {
        self.commands.get(&(account_id, key_hash)).map(Vec::as_slice)
    }

    /// Asks for the lots that a spend of so many points takes; of several spends, for all of them.
    pub fn ask_points(&mut self, account_id: AccountId, points: i64) {
        let asked = self.asked.points.entry(account_id).or_insert(0);
        *asked = asked.saturating_add(points);
    }

    /// Asks for a hold and its lots.
    pub fn ask_hold(&mut self, account_id: AccountId, hold: i64) {
        self.asked.holds.insert((account_id, hold));
    }

    /// Asks for an entry, how much of it has been undone, and the lots that it is about.
    pub fn ask_entry(&mut self, entry_id: EntryId) {
        self.asked.entries.insert((entry_id.account_id, entry_id.account_seq));
    }

    /// Asks for the entries of an earlier command by its key, as [`ask_entry`](Self::ask_entry) does for one.
    pub fn ask_command(&mut self, account_id: AccountId, key_hash: [u8; 32]) {
        self.asked.keys.insert((account_id, key_hash));
    }

    /// Keeps a note beside an entry, where it can be erased.
    pub fn add_note(&mut self, entry_id: EntryId, note: Note) {
        if note != Note::default() {
            self.notes.push((entry_id, note));
        }
    }

    /// Reads the entries that were asked for, and notes the lots that they are about.
    async fn load_entries(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.asked.entries.is_empty() {
            let read = read_entries(connection, &self.asked.entries).await?;
            self.entries = read.into_iter().map(|entry| (entry.id, entry)).collect();
        }
        if !self.asked.keys.is_empty() {
            let keys: Vec<_> = self.asked.keys.iter().copied().collect();
            let mut slot = None;
            for entry in find_keys(connection, &keys).await? {
                slot = entry.key.map(|key| (entry.id.account_id, key.hash)).or(slot);
                if let Some(slot) = slot {
                    self.commands.entry(slot).or_default().push(entry);
                }
            }
        }
        for entry in self.entries.values().chain(self.commands.values().flatten()) {
            let account_id = entry.id.account_id;
            self.asked.lots.extend(entry.detail.lots().iter().map(|part| (account_id, part.lot)));
            if makes_lot(&entry.detail) {
                self.asked.lots.insert((account_id, entry.id.account_seq));
            }
        }
        let about = self.entries.keys().copied().chain(self.commands.values().flatten().map(|entry| entry.id));
        let about: BTreeSet<(AccountId, i64)> = about.map(|id| (id.account_id, id.account_seq)).collect();
        if !about.is_empty() {
            self.lots.reversals = rows::read_reversals(connection, &about).await?;
        }
        Ok(())
    }

    /// Reads holds: those asked for, and those that end by themselves.
    async fn load_holds(&mut self, connection: &mut PgConnection, scope: &Scope) -> Result<(), sqlx::Error> {
        if self.asked.holds.is_empty() && scope.due.is_empty() && scope.depth != Depth::Whole {
            return Ok(());
        }
        let mut dues: BTreeMap<AccountId, i64> = BTreeMap::new();
        for (key, hold, is_due) in rows::read_holds(connection, &self.asked.holds, scope, limit_of(scope)).await? {
            self.asked.lots.extend(hold.parts.iter().map(|part| (key.0, part.lot)));
            if is_due {
                let count = dues.entry(key.0).or_insert(0);
                *count += 1;
                if *count > MAX_DUES && scope.depth == Depth::Asked {
                    self.note_gap(key.0, Due { at: hold.ends_at, kind: DueKind::ReleaseHold });
                    continue;
                }
            }
            self.lots.put_hold(key, hold);
        }
        Ok(())
    }

    /// Reads lots: those asked for, those due, those that slide if that is due, and those that a spend takes.
    async fn load_lots(&mut self, connection: &mut PgConnection, scope: &Scope) -> Result<(), sqlx::Error> {
        let is_idle = self.asked.lots.is_empty() && self.asked.points.is_empty() && scope.due.is_empty();
        if is_idle && scope.depth != Depth::Whole {
            return Ok(());
        }
        let is_read = |id: &AccountId| scope.depth == Depth::Due || self.is_sliding_due(*id, scope.latest);
        let sliding: Vec<AccountId> = scope.due.iter().copied().filter(is_read).collect();
        let limit = limit_of(scope);
        let read = rows::read_lots(connection, &self.asked.lots, &self.asked.points, scope, &sliding, limit).await?;
        let (mut due, mut slid): (BTreeMap<AccountId, i64>, BTreeMap<AccountId, i64>) = Default::default();
        let mut covered: BTreeMap<AccountId, i64> = BTreeMap::new();
        for rows::FoundLot { key, lot, why } in read {
            let account_id = key.0;
            let count = |counts: &mut BTreeMap<AccountId, i64>, by: i64| {
                let count = counts.entry(account_id).or_insert(0);
                *count = count.saturating_add(by);
                *count
            };
            match why {
                rows::Why::Asked => {}
                // One more than a batch applies is only there to know when it is due.
                rows::Why::Due if count(&mut due, 1) == limit => {
                    if let Some(at) = lot.due() {
                        self.note_gap(account_id, at);
                    }
                    continue;
                }
                rows::Why::Slides if count(&mut slid, 1) == limit => continue,
                rows::Why::Due | rows::Why::Slides => {}
                rows::Why::Spends => {
                    count(&mut covered, lot.available);
                    let expiry = self.lots.expiry_of(account_id, &lot).unwrap_or(Timestamp::MAX);
                    if let Some(gap) = self.lots.gaps.get_mut(&account_id) {
                        gap.spendable_to = gap.spendable_to.max(Some((expiry, key.1)));
                    }
                }
            }
            self.lots.put_lot(key, lot);
        }
        for account_id in &sliding {
            let is_whole = slid.get(account_id).is_none_or(|count| *count < limit);
            if let Some(gap) = self.lots.gaps.get_mut(account_id) {
                gap.has_sliding = is_whole;
            }
        }
        for (account_id, asked) in &self.asked.points {
            // There are no more lots than these.
            let is_whole = covered.get(account_id).is_none_or(|points| points < asked);
            if let Some(gap) = self.lots.gaps.get_mut(account_id).filter(|_| is_whole) {
                gap.spendable_to = Some((Timestamp::MAX, i64::MAX));
            }
        }
        Ok(())
    }

    fn is_sliding_due(&self, account_id: AccountId, latest: Timestamp) -> bool {
        let slides_to = self.lots.earning(account_id).and_then(|earning| earning.slides_to);
        slides_to.is_some_and(|slides_to| slides_to <= latest)
    }

    fn note_gap(&mut self, account_id: AccountId, due: Due) {
        if let Some(gap) = self.lots.gaps.get_mut(&account_id) {
            gap.due = gap.due.into_iter().chain([due]).min();
        }
    }

    /// Keeps an entry of this very batch that somebody asked for.
    fn keep_asked(&mut self, entry: &Entry) {
        let account_id = entry.id.account_id;
        if self.asked.entries.contains(&(account_id, entry.id.account_seq)) {
            self.entries.insert(entry.id, entry.clone());
        }
        if let Some(slot) = entry.key.map(|key| (account_id, key.hash)).filter(|slot| self.asked.keys.contains(slot)) {
            self.commands.insert(slot, vec![entry.clone()]);
        } else if let Some(begun) = self.commands.values_mut().find(|entries| {
            entries
                .first()
                .is_some_and(|first| first.command_id == entry.command_id && first.id.account_id == account_id)
        }) {
            begun.push(entry.clone());
        }
    }
}

/// Whether an entry makes a lot.
const fn makes_lot(detail: &Detail) -> bool {
    matches!(
        detail,
        Detail::PointsGranted { .. } | Detail::PointsImported { .. } | Detail::PointsAdjusted { terms: Some(_), .. }
    )
}

/// How many dues of an account are read, of each kind: one more than are applied, to know when that one is due.
fn limit_of(scope: &Scope) -> i64 {
    if scope.depth == Depth::Asked { MAX_DUES + 1 } else { i64::MAX }
}

/// Whether any of the scope's programs keeps what concerns all lots of an account together.
fn keeps_earnings(scope: &Scope, programs: &ProgramsState) -> bool {
    let policies = scope.programs.iter().filter_map(|program_id| programs.current(program_id));
    policies.into_iter().any(|current| {
        let points = &current.policy.program.points;
        matches!(points.expiry, Expiry::Sliding(_)) || !points.earning.per_period.is_empty()
    })
}

impl State for PointsState {
    fn load<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        scope: &'a Scope,
        earlier: Earlier<'a>,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            if scope.accounts.is_empty() {
                return Ok(());
            }
            if scope.depth != Depth::Whole {
                let gap = Gap { due: None, spendable_to: None, has_sliding: false };
                self.lots.gaps = scope.accounts.iter().map(|account_id| (*account_id, gap)).collect();
            }
            self.load_entries(connection).await?;
            let is_asked = !self.asked.points.is_empty() || !self.asked.lots.is_empty() || !self.asked.holds.is_empty();
            let is_due = !scope.due.is_empty() || scope.depth == Depth::Whole;
            if is_asked || is_due || keeps_earnings(scope, earlier.get()?) {
                self.lots.earnings = rows::read_earnings(connection, &scope.accounts).await?;
            }
            self.load_holds(connection, scope).await?;
            self.load_lots(connection, scope).await?;
            if scope.depth == Depth::Whole {
                self.lots.reversals = rows::read_all_reversals(connection, &scope.accounts).await?;
            }
            Ok(())
        })
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        self.keep_asked(entry);
        self.lots.apply(entry)
    }

    fn next_due(&self, account_id: AccountId) -> Option<Due> {
        self.lots.next_due(account_id)
    }

    fn decide_due(&self, account: &Account, due: Due) -> Vec<NewEntry> {
        self.lots.decide_due(account, due)
    }

    fn write<'a>(&'a mut self, connection: &'a mut PgConnection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            writes::write(connection, &self.lots).await?;
            if !self.notes.is_empty() {
                insert_notes(connection, &self.notes).await?;
            }
            Ok(())
        })
    }

    fn projection(&self) -> Option<&dyn Projection> {
        Some(self)
    }
}

async fn insert_notes(connection: &mut PgConnection, notes: &[(EntryId, Note)]) -> Result<(), sqlx::Error> {
    let accounts: Vec<Uuid> = notes.iter().map(|(id, _)| id.account_id.0).collect();
    let seqs: Vec<i64> = notes.iter().map(|(id, _)| id.account_seq).collect();
    let texts: Vec<&str> = notes.iter().map(|(_, note)| note.text.as_str()).collect();
    let authors: Vec<&str> = notes.iter().map(|(_, note)| note.author.as_str()).collect();
    sqlx::query!(
        "INSERT INTO entry_notes (account_id, account_seq, note, author)
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[])",
        &accounts,
        &seqs,
        &texts as _,
        &authors as _,
    )
    .execute(connection)
    .traced("INSERT entry_notes")
    .await?;
    Ok(())
}
