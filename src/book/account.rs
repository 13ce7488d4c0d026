//! The head of an account: where its points are, how many entries it has, and what time will do to it next.

use jiff::Timestamp;

use super::account_kind::AccountKind;
use super::detail::{CustomerDetail, Detail};
use super::entry::{Entry, Pocket, PocketMove};
use crate::ids::{AccountId, EntryId, ProgramId};

/// An account as the book holds it while it writes: locked, or new and known to no one else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its identity on the ledger.
    pub account_id: AccountId,
    /// The program it belongs to.
    pub program_id: ProgramId,
    /// Whose account it is.
    pub kind: AccountKind,
    /// The number of its last entry; 0 for an account that has none yet.
    pub head: i64,
    /// The instant of its last entry.
    pub effective_at: Option<Timestamp>,
    /// No later than the next instant at which time alone does something to it.
    pub next_due_at: Option<Timestamp>,
    /// When its customer was erased, if they were.
    pub erased_at: Option<Timestamp>,
    /// Where its points are.
    pub balance: Balance,
    /// Where they were after every 64th entry, by the entry's number: of the entries that were applied to this value.
    pub balances: Vec<(i64, Balance)>,
}

/// After how many entries a balance is kept: so that one at any instant is found from no more entries than these.
pub const BALANCE_EVERY: i64 = 64;

/// Points by pocket. Every count is zero or more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the pocket of its name, described at `Pocket`")]
pub struct Balance {
    pub issued: i64,
    pub owed: i64,
    pub pending: i64,
    pub available: i64,
    pub held: i64,
    pub redeemed: i64,
    pub expired: i64,
    pub cancelled: i64,
}

/// A move that a balance cannot make: a pocket would fall below zero or pass what it can count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {} pocket cannot take this move", .0.as_str())]
pub struct ImpossibleMove(pub Pocket);

impl Balance {
    fn pocket(&mut self, pocket: Pocket) -> &mut i64 {
        match pocket {
            Pocket::Issued => &mut self.issued,
            Pocket::Owed => &mut self.owed,
            Pocket::Pending => &mut self.pending,
            Pocket::Available => &mut self.available,
            Pocket::Held => &mut self.held,
            Pocket::Redeemed => &mut self.redeemed,
            Pocket::Expired => &mut self.expired,
            Pocket::Cancelled => &mut self.cancelled,
        }
    }

    /// The counts in the order in which pockets are declared, and stored.
    #[must_use]
    pub const fn counts(self) -> [i64; 8] {
        let Self { issued, owed, pending, available, held, redeemed, expired, cancelled } = self;
        [issued, owed, pending, available, held, redeemed, expired, cancelled]
    }

    /// Makes a move. A source counts up when points leave it; every other pocket counts down.
    ///
    /// # Errors
    /// [`ImpossibleMove`]; the balance must then be thrown away.
    pub fn make(&mut self, movement: PocketMove) -> Result<(), ImpossibleMove> {
        let PocketMove { from, to, points } = movement;
        let is_source = |pocket| matches!(pocket, Pocket::Issued | Pocket::Owed);
        let change = |slot: &mut i64, up: bool, pocket| {
            let changed = if up { slot.checked_add(points) } else { slot.checked_sub(points) };
            *slot = changed.filter(|value| *value >= 0).ok_or(ImpossibleMove(pocket))?;
            Ok(())
        };
        change(self.pocket(from), is_source(from), from)?;
        // Points that enter a source pay it back.
        change(self.pocket(to), !is_source(to), to)?;
        // All points together can be counted: so no pocket overflows, however they move.
        self.issued.checked_add(self.owed).map(|_| ()).ok_or(ImpossibleMove(from))
    }

    /// Rule 2 of the book: what came equals where it is and where it went.
    #[must_use]
    pub fn is_conserved(&self) -> bool {
        let Self { issued, owed, pending, available, held, redeemed, expired, cancelled } = *self;
        let sum = |parts: &[i64]| parts.iter().map(|part| i128::from(*part)).sum::<i128>();
        sum(&[issued, owed]) == sum(&[pending, available, held, redeemed, expired, cancelled])
    }
}

impl Account {
    /// An account without entries.
    #[must_use]
    pub const fn empty(account_id: AccountId, program_id: ProgramId, kind: AccountKind) -> Self {
        let balance =
            Balance { issued: 0, owed: 0, pending: 0, available: 0, held: 0, redeemed: 0, expired: 0, cancelled: 0 };
        Self {
            account_id,
            program_id,
            kind,
            head: 0,
            effective_at: None,
            next_due_at: None,
            erased_at: None,
            balance,
            balances: Vec::new(),
        }
    }

    /// The name of the account's next entry.
    #[must_use]
    pub const fn next_entry_id(&self) -> EntryId {
        EntryId { account_id: self.account_id, account_seq: self.head.saturating_add(1) }
    }

    /// The later of `instant` and the account's last entry: its time never goes back.
    #[must_use]
    pub fn time_at(&self, instant: Timestamp) -> Timestamp {
        self.effective_at.map_or(instant, |last| last.max(instant))
    }

    /// Whether time alone does something to the account by the instant that it has reached at `instant`.
    #[must_use]
    pub(super) fn is_due(&self, instant: Timestamp) -> bool {
        self.next_due_at.is_some_and(|due_at| due_at <= self.time_at(instant))
    }

    /// Applies an entry to the head and the balance; the same when writing, when folding and when rebuilding.
    ///
    /// # Errors
    /// [`ImpossibleMove`]; the account must then be thrown away.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), ImpossibleMove> {
        if let Some(movement) = entry.movement {
            self.balance.make(movement)?;
        }
        self.head = entry.id.account_seq;
        self.effective_at = Some(entry.effective_at);
        if matches!(entry.detail, Detail::Customer(CustomerDetail::CustomerErased { .. })) {
            self.erased_at = Some(entry.effective_at);
        }
        if self.head % BALANCE_EVERY == 0 {
            self.balances.push((self.head, self.balance));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn movement(from: Pocket, to: Pocket, points: i64) -> PocketMove {
        PocketMove { from, to, points }
    }

    #[test]
    fn a_grant_beyond_what_can_be_counted_is_impossible() {
        let mut balance = Balance::default();
        balance.make(movement(Pocket::Issued, Pocket::Available, i64::MAX)).unwrap();
        let error = balance.make(movement(Pocket::Issued, Pocket::Available, 1)).unwrap_err();
        assert_eq!(error, ImpossibleMove(Pocket::Issued));
    }

    #[test]
    fn a_debt_is_paid_back_from_available() {
        let mut balance = Balance::default();
        balance.make(movement(Pocket::Owed, Pocket::Cancelled, 30)).unwrap();
        balance.make(movement(Pocket::Issued, Pocket::Available, 100)).unwrap();
        balance.make(movement(Pocket::Available, Pocket::Owed, 30)).unwrap();
        assert_eq!((balance.owed, balance.available, balance.cancelled), (0, 70, 30));
        assert!(balance.is_conserved());
    }

    proptest! {
        #[test]
        fn any_possible_moves_conserve_points_and_leave_no_pocket_negative(
            moves in prop::collection::vec((0..8_usize, 0..8_usize, 1..1_000_i64), 0..60)
        ) {
            let mut balance = Balance::default();
            for (from, to, points) in moves {
                let mut trial = balance;
                if from != to && trial.make(movement(Pocket::ALL[from], Pocket::ALL[to], points)).is_ok() {
                    // A source never feeds a source: nothing would have moved.
                    if matches!((from, to), (0 | 1, 0 | 1)) { continue; }
                    balance = trial;
                }
                prop_assert!(balance.is_conserved());
                prop_assert!(Pocket::ALL.iter().all(|pocket| *balance.pocket(*pocket) >= 0));
            }
        }
    }
}
