//! The lots of a batch with what goes with them, and what callers wrote beside their entries.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::lots::{Earned, Earning, Hold, Lot, Lots, MadeUp};
use crate::book::{
    Account, Cell, CustomerDetail, Defect, Detail, Due, Dues, Entry, NewEntry, PointsDetail, Row, State,
};
use crate::ids::{AccountId, EntryId, ProgramId};

/// What commands ask for. These rows are loaded only on request.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Points that shall be spent, by account.
    pub(super) points: BTreeMap<AccountId, i64>,
    pub(super) lots: BTreeSet<(AccountId, i64)>,
    pub(super) holds: BTreeSet<(AccountId, i64)>,
    pub(super) entries: BTreeSet<(AccountId, i64)>,
    pub(super) keys: BTreeSet<(AccountId, [u8; 32])>,
    /// Entries whose notes are told.
    pub(super) notes: BTreeSet<(AccountId, i64)>,
    /// Accounts that earn points, each with its program and the instants at which it does.
    pub(super) earnings: BTreeMap<AccountId, (ProgramId, BTreeSet<Timestamp>)>,
}

/// The lots of a batch, and what callers wrote beside their entries.
#[derive(Default)]
pub(crate) struct PointsState {
    pub(super) asked: Asked,
    pub(super) lots: Lots,
    /// Entries that were asked for.
    pub(super) entries: BTreeMap<EntryId, Entry>,
    /// The entries of commands whose keys were asked for.
    pub(super) commands: BTreeMap<(AccountId, [u8; 32]), Vec<Entry>>,
    pub(super) notes: Vec<(EntryId, Note)>,
    /// Accounts beside whose entries no note may stay that was written before.
    pub(super) without_notes: BTreeSet<AccountId>,
    /// The texts of stored notes that were asked for.
    pub(super) stored_notes: BTreeMap<EntryId, String>,
}

/// What a caller wrote beside an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    /// The text, which may be anything.
    pub text: String,
    /// Who made the entry, as the caller says.
    pub author: String,
}

impl PointsState {
    /// The lots, and what goes with them.
    #[must_use]
    pub(crate) const fn lots(&self) -> &Lots {
        &self.lots
    }

    /// An entry that was [asked for](Self::ask_entry).
    #[must_use]
    pub(crate) fn entry(&self, entry_id: EntryId) -> Option<&Entry> {
        self.entries.get(&entry_id)
    }

    /// The entries of the command whose key was [asked for](Self::ask_command).
    #[must_use]
    pub(crate) fn command(&self, account_id: AccountId, key_hash: [u8; 32]) -> Option<&[Entry]> {
        self.commands.get(&(account_id, key_hash)).map(Vec::as_slice)
    }

    /// Asks for the lots that a spend of so many points takes; of several spends, for all of them.
    pub(crate) fn ask_points(&mut self, account_id: AccountId, points: i64) {
        let asked = self.asked.points.entry(account_id).or_insert(0);
        *asked = asked.saturating_add(points);
    }

    /// Asks for a hold and its lots; of one that has ended, for the entry that ended it.
    pub(crate) fn ask_hold(&mut self, account_id: AccountId, hold: i64) {
        self.asked.holds.insert((account_id, hold));
    }

    /// Asks for an entry, how much of it has been undone, and the lots that it is about; of a grant whose own lot has
    /// less than is left of it, also for the lots that may make up for it.
    pub(crate) fn ask_entry(&mut self, entry_id: EntryId) {
        self.asked.entries.insert((entry_id.account_id, entry_id.account_seq));
    }

    /// Asks for the note beside an entry.
    pub(crate) fn ask_note(&mut self, entry_id: EntryId) {
        self.asked.notes.insert((entry_id.account_id, entry_id.account_seq));
    }

    /// The text beside an entry whose note was [asked for](Self::ask_note); may be empty.
    #[must_use]
    pub(crate) fn note(&self, entry_id: EntryId) -> &str {
        let new = self.notes.iter().find(|(id, _)| *id == entry_id).map(|(_, note)| &note.text);
        new.or_else(|| self.stored_notes.get(&entry_id)).map_or("", String::as_str)
    }

    /// Asks for the entries of an earlier command by its key, as [`ask_entry`](Self::ask_entry) does for one.
    pub(crate) fn ask_command(&mut self, account_id: AccountId, key_hash: [u8; 32]) {
        self.asked.keys.insert((account_id, key_hash));
    }

    /// Asks for what an account has earned in the capped periods that an instant lies in.
    pub(crate) fn ask_earned(&mut self, account_id: AccountId, program_id: &ProgramId, at: Timestamp) {
        let asked = self.asked.earnings.entry(account_id).or_insert_with(|| (program_id.clone(), BTreeSet::new()));
        asked.1.insert(at);
    }

    /// Keeps a note beside an entry, where it can be erased.
    pub(crate) fn add_note(&mut self, entry_id: EntryId, note: Note) {
        if note != Note::default() {
            self.notes.push((entry_id, note));
        }
    }

    /// Forgets what was written beside the entries of an account.
    fn erase_notes(&mut self, account_id: AccountId) {
        self.without_notes.insert(account_id);
        self.notes.retain(|(id, _)| id.account_id != account_id);
        self.stored_notes.retain(|id, _| id.account_id != account_id);
    }

    /// Keeps an entry of this very batch that somebody asked for, itself or by the hold that it ends.
    fn keep_asked(&mut self, entry: &Entry) {
        let account_id = entry.id.account_id;
        let ended = entry.detail.points().and_then(PointsDetail::ended_hold);
        let ends_asked = ended.is_some_and(|hold| self.asked.holds.contains(&(account_id, hold)));
        if ends_asked || self.asked.entries.contains(&(account_id, entry.id.account_seq)) {
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

impl State for PointsState {
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        self.keep_asked(entry);
        if let Detail::Customer(CustomerDetail::CustomerErased { .. } | CustomerDetail::NotesErased) = entry.detail {
            self.erase_notes(entry.id.account_id);
        }
        self.lots.apply(entry)
    }

    fn dues(&self) -> Option<&dyn Dues> {
        Some(self)
    }

    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let whole = (account_id, i64::MIN)..=(account_id, i64::MAX);
        let earnings = self.lots.earnings.get(&account_id).map(earnings_row);
        let holds = self.lots.holds.range(whole.clone()).map(|((_, seq), hold)| hold_row(*seq, hold));
        let lots = self
            .lots
            .lots
            .range(whole.clone())
            .map(move |((_, seq), lot)| lot_row(*seq, lot, self.lots.uses_of(account_id, *seq)));
        let reversals = self.lots.reversals.range(whole).map(|((_, seq), reversed)| Row {
            noun: "reversal of entry",
            key: (*seq).into(),
            columns: vec![("reversed", reversed.in_all.into()), ("by_refunds", reversed.by_refunds.into())],
        });
        Box::new(earnings.into_iter().chain(holds).chain(lots).chain(reversals))
    }
}

impl Dues for PointsState {
    fn next_due(&self, account_id: AccountId) -> Option<Due> {
        self.lots.next_due(account_id)
    }

    fn decide_due(&self, account: &Account, due: Due) -> Vec<NewEntry> {
        self.lots.decide_due(account, due)
    }
}

fn earnings_row(earning: &Earning) -> Row<'_> {
    let earned: Vec<String> =
        earning.earned.iter().map(|(period, earned)| format!("{period}: {}", earned_words(earned))).collect();
    let lapses: Vec<String> = earning.lapses.iter().map(ToString::to_string).collect();
    Row {
        noun: "earnings",
        key: Cell::Absent,
        columns: vec![
            ("slides_to", earning.slides_to.into()),
            ("lapses", if lapses.is_empty() { Cell::Absent } else { Cell::text(lapses.join(", ")) }),
            ("earned", if earned.is_empty() { Cell::Absent } else { Cell::text(earned.join(", ")) }),
        ],
    }
}

fn earned_words(earned: &Earned) -> String {
    let since = earned.day.map_or_else(|| "an unknown day".to_owned(), |day| day.to_string());
    format!("{} since {since} by version {}", earned.points, earned.policy_version)
}

fn hold_row(seq: i64, hold: &Hold) -> Row<'_> {
    let parts: Vec<String> = hold.parts.iter().map(|part| format!("{} of lot {}", part.points, part.lot)).collect();
    Row {
        noun: "hold",
        key: seq.into(),
        columns: vec![
            ("points", hold.points.into()),
            ("policy_version", hold.policy_version.into()),
            ("ends_at", hold.ends_at.into()),
            ("parts", if parts.is_empty() { Cell::Absent } else { Cell::text(parts.join(", ")) }),
        ],
    }
}

fn made_up_cell(made_up: &MadeUp) -> Cell<'static> {
    if *made_up == MadeUp::default() {
        return Cell::Absent;
    }
    let lots = made_up.lots.iter().map(|part| format!("{} of lot {}", part.points, part.lot));
    let debt = (made_up.debt > 0).then(|| format!("a debt of {}", made_up.debt));
    Cell::text(debt.into_iter().chain(lots).collect::<Vec<_>>().join(", "))
}

fn lot_row(seq: i64, lot: &Lot, uses: impl Iterator<Item = i64>) -> Row<'_> {
    let uses: Vec<String> = uses.map(|seq| seq.to_string()).collect();
    Row {
        noun: "lot",
        key: seq.into(),
        columns: vec![
            ("points", lot.points.into()),
            ("pending", lot.pending.into()),
            ("available", lot.available.into()),
            ("held", lot.held.into()),
            ("redeemed", lot.redeemed.into()),
            ("expired", lot.expired.into()),
            ("cancelled", lot.cancelled.into()),
            ("repaid", lot.repaid.into()),
            ("policy_version", lot.policy_version.into()),
            ("live_since", lot.live_since.into()),
            ("vests_at", lot.terms.vests_at.into()),
            ("vest_by", lot.terms.vest_by.into()),
            ("expires_at", lot.terms.expires_at.into()),
            ("slides", lot.terms.slides.into()),
            ("uses", if uses.is_empty() { Cell::Absent } else { Cell::text(uses.join(", ")) }),
            ("expiry_rule", lot.terms.expiry_rule.as_deref().map(Cell::word).unwrap_or(Cell::Absent)),
            ("made_up", made_up_cell(&lot.made_up)),
        ],
    }
}
