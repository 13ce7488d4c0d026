//! One lot, one hold, and what concerns all lots of an account together.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::parts::{first_points, slice_from_end, sum};
use crate::book::{Defect, Due, DueKind, EarningWindow, Entry, LotPart, LotTerms, Pocket, PocketMove};

/// The points of one grant: `points` = all the others together, none below zero.
/// The counts are the pockets of their names, described at `Pocket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lot {
    /// How many were granted.
    pub points: i64,
    pub pending: i64,
    pub available: i64,
    pub held: i64,
    pub redeemed: i64,
    pub expired: i64,
    pub cancelled: i64,
    /// How many paid a debt.
    pub repaid: i64,
    /// The program version that granted them.
    pub policy_version: i32,
    /// Since when they have been available.
    pub live_since: Option<Timestamp>,
    /// When they vest and expire.
    pub terms: LotTerms,
    /// The last entries that moved its points, by their numbers, in order; those before them are in older ones.
    pub uses: Vec<i64>,
    /// What was taken elsewhere when they were clawed back.
    pub made_up: MadeUp,
}

/// What makes up for points of a lot that were spent, held or taken already when they were clawed back. If they come
/// back expired, it is given back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MadeUp {
    /// How many points became a debt.
    pub debt: i64,
    /// Which other lots points were taken from, in this order.
    pub lots: Vec<LotPart>,
}

impl MadeUp {
    /// How many points it is in all.
    #[must_use]
    pub(crate) fn points(&self) -> i64 {
        self.debt.saturating_add(sum(&self.lots))
    }

    /// Takes as many points off as they are together: the parts of lots that were added last.
    pub(crate) fn remove_last(&mut self, points: i64) -> Vec<LotPart> {
        let removed = slice_from_end(&self.lots, 0, points);
        self.lots = first_points(&self.lots, sum(&self.lots).saturating_sub(sum(&removed)));
        removed
    }

    /// Takes points of one lot off, those that were added last.
    pub(super) fn remove(&mut self, part: LotPart) -> Option<()> {
        let mut left = part.points;
        for taken in self.lots.iter_mut().rev().filter(|taken| taken.lot == part.lot) {
            let removed = taken.points.min(left);
            (taken.points, left) = (taken.points - removed, left - removed);
        }
        self.lots.retain(|taken| taken.points > 0);
        (left == 0).then_some(())
    }
}

/// How much of an entry has been undone: points, or of a purchase minor units of money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reversed {
    /// By whatever undid it.
    pub in_all: i64,
    /// Of that, by refunds.
    pub by_refunds: i64,
}

/// How many uses a lot's own row has at most.
pub(crate) const MAX_OWN_USES: usize = 16;

impl Lot {
    pub(super) fn new(points: i64, pocket: Pocket, entry: &Entry, terms: &LotTerms) -> Result<Self, Defect> {
        let mut lot = Self {
            points,
            pending: 0,
            available: 0,
            held: 0,
            redeemed: 0,
            expired: 0,
            cancelled: 0,
            repaid: 0,
            policy_version: entry.policy_version,
            live_since: (pocket == Pocket::Available).then_some(entry.effective_at),
            terms: terms.clone(),
            uses: Vec::new(),
            made_up: MadeUp::default(),
        };
        *lot.pocket(pocket).ok_or_else(|| Defect::new(format!("entry {}: no pocket of a lot", entry.id)))? = points;
        Ok(lot)
    }

    pub(super) const fn pocket(&mut self, pocket: Pocket) -> Option<&mut i64> {
        match pocket {
            Pocket::Issued => None,
            // Points that leave a lot to pay a debt.
            Pocket::Owed => Some(&mut self.repaid),
            Pocket::Pending => Some(&mut self.pending),
            Pocket::Available => Some(&mut self.available),
            Pocket::Held => Some(&mut self.held),
            Pocket::Redeemed => Some(&mut self.redeemed),
            Pocket::Expired => Some(&mut self.expired),
            Pocket::Cancelled => Some(&mut self.cancelled),
        }
    }

    /// Moves points from one pocket to another; none if they are not there.
    pub(super) fn shift(&mut self, movement: PocketMove) -> Option<()> {
        let from = self.pocket(movement.from)?;
        *from = from.checked_sub(movement.points).filter(|left| *left >= 0)?;
        let to = self.pocket(movement.to)?;
        *to = to.checked_add(movement.points)?;
        Some(())
    }

    /// Notes that an entry moved its points. Returns the uses that its own row has no more room for.
    pub(super) fn note_use(&mut self, entry: i64) -> Option<Vec<i64>> {
        if self.uses.last() == Some(&entry) {
            return None;
        }
        let older = if self.uses.len() >= MAX_OWN_USES { Some(std::mem::take(&mut self.uses)) } else { None };
        self.uses.push(entry);
        older
    }

    /// Whether points of it are pending, available or held.
    #[must_use]
    pub(crate) const fn is_open(&self) -> bool {
        self.pending > 0 || self.available > 0 || self.held > 0
    }

    /// What time will do to the lot by its own terms.
    #[must_use]
    pub(crate) fn due(&self) -> Option<Due> {
        if self.pending > 0 {
            return self.terms.vests_at.or(self.terms.vest_by).map(|at| Due { at, kind: DueKind::Vest });
        }
        let expires_at = self.terms.expires_at.filter(|_| self.available > 0 && !self.terms.slides);
        expires_at.map(|at| Due { at, kind: DueKind::Expire })
    }
}

/// Points set aside for a spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    /// How many there were.
    pub points: i64,
    /// The program version it was made under.
    pub policy_version: i32,
    /// When it ends by itself.
    pub ends_at: Timestamp,
    /// What is still held, in spending order; nothing once the hold has ended.
    pub parts: Vec<LotPart>,
    /// The number of the first entry that ended it.
    pub ended_seq: Option<i64>,
}

impl Hold {
    /// How many are still held.
    #[must_use]
    pub(crate) fn remaining(&self) -> i64 {
        self.parts.iter().map(|part| part.points).sum()
    }

    /// Removes parts, as an entry captured, released or expired them.
    pub(super) fn remove_parts(&mut self, entry: i64, parts: &[LotPart]) -> Option<()> {
        for part in parts {
            let held = self.parts.iter_mut().find(|held| held.lot == part.lot)?;
            held.points = held.points.checked_sub(part.points).filter(|left| *left >= 0)?;
        }
        self.parts.retain(|part| part.points > 0);
        self.ended_seq.get_or_insert(entry);
        Some(())
    }
}

/// What concerns all lots of an account together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Earning {
    /// Until when its sliding points last.
    pub slides_to: Option<Timestamp>,
    /// When they expired all together, each time.
    pub lapses: Vec<Timestamp>,
    /// What was earned in the last capped period of each kind, by the word for the kind.
    pub earned: BTreeMap<String, Earned>,
}

impl Earning {
    pub(super) fn slide(&mut self, at: Timestamp, to: Timestamp) {
        self.lapses.extend(self.slides_to.filter(|passed| *passed <= at));
        self.slides_to = Some(self.slides_to.map_or(to, |known| known.max(to)));
    }

    /// Begins to slide for points that become available now, unless others slide already. At the instant when the
    /// others expire, points that vest by time expire with them. Points of a command do not.
    pub(super) fn begin(&mut self, at: Timestamp, to: Timestamp, is_by_time: bool) {
        if self.slides_to.is_none_or(|passed| passed < at || (passed == at && !is_by_time)) {
            self.slide(at, to);
        }
    }

    /// Counts points in capped periods, under a version of the program.
    pub(super) fn count(&mut self, windows: &[EarningWindow], points: i64, policy_version: i32) {
        for window in windows {
            let earned = self.earned.entry(window.period.clone()).or_default();
            if earned.day != window.day {
                *earned = Earned { day: window.day, ..Earned::default() };
            }
            earned.points = window.earned.unwrap_or(earned.points).saturating_add(points);
            earned.policy_version = policy_version;
        }
    }
}

/// What was earned in a calendar period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Earned {
    /// The period's first day where the program is. None where the entries do not tell it.
    pub day: Option<Date>,
    /// How many points.
    pub points: i64,
    /// The program version under which points were counted last. What was earned under another version may not have been
    /// counted, since that had no such cap.
    pub policy_version: i32,
}
