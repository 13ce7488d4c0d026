//! What each call does to a customer, and what it answers.

use goldbook::proto::{Clawback, EntryKind, Pocket};
use jiff::Timestamp;

use super::{Expire, Outcome, Part, Purchase, Purse, Vest, first, last, later, rest};

impl Purse {
    pub(crate) fn grant(
        &mut self,
        points: i64,
        vest: Option<Vest>,
        expire: Option<Expire>,
        clock: Timestamp,
    ) -> Outcome {
        self.apply_dues(clock);
        let at = self.time(clock);
        let vest = vest.unwrap_or(self.rules.vest);
        let expire = expire.unwrap_or(self.rules.expire);
        let vests = match vest {
            Vest::At(instant) => instant.max(at),
            Vest::After(period) => later(at, period),
            Vest::Now | Vest::Event(_) => at,
        };
        if matches!(expire, Expire::At(expires) if expires <= vests) {
            return Err("INSTANT_NOT_AHEAD");
        }
        let granted = self.cap(points, at)?;
        if granted == 0 {
            return Err("EARNING_CAP_EXCEEDED");
        }
        let uncapped = if granted == points { 0 } else { points };
        let lot = self.open(EntryKind::PointsGranted, granted, vest, expire, at);
        Ok(vec![lot, granted, uncapped])
    }

    pub(crate) fn vest_reward(&mut self, seq: i64, clock: Timestamp) -> Outcome {
        self.apply_dues(clock);
        let at = self.time(clock);
        let lot = self.lot(seq).clone();
        if lot.by.is_some() && lot.live {
            return Ok(vec![1]);
        }
        if lot.by.is_none() || lot.count(Pocket::Pending) == 0 {
            return Err("REWARD_NOT_PENDING");
        }
        self.vest(seq, lot.expire.of(at), at);
        Ok(vec![0])
    }

    fn check_spend(&self, points: i64) -> Result<(), &'static str> {
        match self.rules.limits {
            Some((minimum, step, maximum)) if points < minimum || points > maximum || points % step != 0 => {
                Err("REDEMPTION_OUTSIDE_LIMITS")
            }
            _ if points > self.sum(Pocket::Available) => Err("INSUFFICIENT_POINTS"),
            _ => Ok(()),
        }
    }

    pub(crate) fn redeem(&mut self, points: i64, clock: Timestamp) -> Outcome {
        self.apply_dues(clock);
        self.check_spend(points)?;
        let parts = self.choose(points, 0);
        let at = self.time(clock);
        self.shift(EntryKind::PointsRedeemed, Pocket::Available, Pocket::Redeemed, parts, at);
        Ok(vec![self.head(), points])
    }

    pub(crate) fn hold(&mut self, points: i64, lasts: Option<&str>, clock: Timestamp) -> Outcome {
        self.apply_dues(clock);
        self.check_spend(points)?;
        let at = self.time(clock);
        let parts = self.choose(points, 0);
        self.shift(EntryKind::PointsHeld, Pocket::Available, Pocket::Held, parts.clone(), at);
        let ends = later(at, lasts.unwrap_or(self.rules.hold_for));
        self.holds.push(super::Hold { seq: self.head(), ends, parts });
        Ok(vec![self.head(), points])
    }

    /// Captures so many points of a hold, or all; `None` releases it.
    pub(crate) fn end_hold(&mut self, seq: i64, capture: Option<i64>, clock: Timestamp) -> Outcome {
        self.apply_dues(clock);
        let at = self.time(clock);
        let Some(hold) = self.holds.iter_mut().find(|hold| hold.seq == seq) else { return Err("HOLD_NOT_FOUND") };
        let held: i64 = hold.parts.iter().map(|(_, points)| points).sum();
        if held == 0 {
            return Err("HOLD_ENDED");
        }
        let spent = match capture {
            Some(0) => held,
            Some(points) if points > held => return Err("INSUFFICIENT_POINTS"),
            Some(points) => points,
            None => 0,
        };
        let parts = first(&hold.parts, spent);
        hold.parts = rest(&hold.parts, spent);
        self.shift(EntryKind::PointsRedeemed, Pocket::Held, Pocket::Redeemed, parts, at);
        let (released, expired) = self.release(seq, at);
        Ok(if capture.is_some() { vec![spent, released, expired] } else { vec![released, expired] })
    }

    pub(crate) fn adjust(&mut self, points: i64, expire: Option<Expire>, clock: Timestamp) -> Outcome {
        self.apply_dues(clock);
        let at = self.time(clock);
        if points > 0 {
            let expire = expire.unwrap_or(self.rules.expire);
            if matches!(expire, Expire::At(expires) if expires <= at) {
                return Err("INSTANT_NOT_AHEAD");
            }
            let owed = self.owed;
            let lot = self.open(EntryKind::PointsAdjusted, points, Vest::Now, expire, at);
            return Ok(vec![lot, points, owed - self.owed]);
        }
        if -points > self.sum(Pocket::Available) {
            return Err("INSUFFICIENT_POINTS");
        }
        let parts = self.choose(-points, 0);
        self.shift(EntryKind::PointsAdjusted, Pocket::Available, Pocket::Cancelled, parts, at);
        Ok(vec![self.head(), -points, 0])
    }

    /// Undoes so many points of an entry; 0 is all that is left.
    pub(crate) fn reverse(
        &mut self,
        seq: i64,
        points: i64,
        clawback: Option<Clawback>,
        expires: Option<Timestamp>,
        clock: Timestamp,
    ) -> Outcome {
        self.apply_dues(clock);
        let at = self.time(clock);
        let original = self.entries[usize::try_from(seq - 1).unwrap()].clone();
        let left = original.points - original.reversed;
        let is_up = original.from == Pocket::Issued;
        match original.kind {
            EntryKind::PointsGranted
            | EntryKind::PointsAdjusted
            | EntryKind::PointsRedeemed
            | EntryKind::PointsExpired => {}
            _ => return Err("ENTRY_NOT_REVERSIBLE"),
        }
        if left == 0 {
            return Err("ENTRY_ALREADY_REVERSED");
        }
        if points > left {
            return Err("REVERSAL_EXCEEDS_ORIGINAL");
        }
        let is_whole = points == 0;
        let points = if is_whole { left } else { points };
        let undone = if is_up {
            self.claw_back(seq, points, clawback.unwrap_or(self.rules.clawback), at)
        } else if original.kind == EntryKind::PointsExpired {
            self.reinstate(seq, points, is_whole, expires, at)?
        } else {
            self.give_back(seq, points, expires, at)?
        };
        if undone[0] == 0 { Err("NOTHING_TO_REVERSE") } else { Ok(undone) }
    }

    fn undo(&mut self, seq: i64, from: Pocket, to: Pocket, parts: Vec<Part>, at: Timestamp) {
        let points: i64 = parts.iter().map(|(_, points)| points).sum();
        self.entries[usize::try_from(seq - 1).unwrap()].reversed += points;
        self.shift(EntryKind::EntryReversed, from, to, parts, at);
    }

    /// Answers how many points were undone, returned, returned as expired, and are owed now.
    fn claw_back(&mut self, seq: i64, points: i64, clawback: Clawback, at: Timestamp) -> Vec<i64> {
        let lot = self.lot(seq).clone();
        let is_unspent_only = clawback == Clawback::UnspentOnly;
        let mut left = points;
        let mut count_off = |there: i64| {
            let taken = there.min(left);
            left -= taken;
            taken
        };
        let pending = count_off(lot.count(Pocket::Pending));
        let available = count_off(lot.count(Pocket::Available));
        let expired = count_off(if is_unspent_only { 0 } else { lot.count(Pocket::Expired) });
        // Points that never became available were never spent: nothing has to make up for them.
        let may_reach_others = !is_unspent_only && lot.live;
        let others =
            count_off(if may_reach_others { self.sum(Pocket::Available) - lot.count(Pocket::Available) } else { 0 });
        let owed = count_off(if may_reach_others && clawback == Clawback::AllowDebt { i64::MAX } else { 0 });
        let mut parts = first(&[(seq, available)], available);
        let taken = self.choose(others, seq);
        parts.extend(&taken);
        self.lot_mut(seq).taken.extend(taken);
        self.lot_mut(seq).debt += owed;
        self.undo(seq, Pocket::Pending, Pocket::Cancelled, first(&[(seq, pending)], pending), at);
        self.undo(seq, Pocket::Available, Pocket::Cancelled, parts, at);
        self.undo(seq, Pocket::Expired, Pocket::Cancelled, first(&[(seq, expired)], expired), at);
        if owed > 0 {
            self.write_entry(EntryKind::DebtIncurred, Pocket::Owed, Pocket::Cancelled, owed, Vec::new(), at);
            self.entries[usize::try_from(seq - 1).unwrap()].reversed += owed;
            self.owed += owed;
            self.debts += owed;
        }
        vec![points - left, 0, 0, owed]
    }

    /// The parts that are next to come back: those taken last first, after what came back before.
    fn coming(&self, seq: i64, points: i64) -> Vec<Part> {
        let original = &self.entries[usize::try_from(seq - 1).unwrap()];
        let backwards: Vec<Part> = original.parts.iter().rev().copied().collect();
        first(&rest(&backwards, original.reversed), points)
    }

    fn new_expiry(&self, expires: Option<Timestamp>, at: Timestamp) -> Result<Timestamp, &'static str> {
        let by_rule =
            self.rules.reinstate.map(|(_, lasts)| last(at, lasts, goldbook::proto::CalendarPeriod::Unspecified));
        expires.or(by_rule).filter(|expires| *expires > at).ok_or("INSTANT_NOT_AHEAD")
    }

    fn may_reinstate(&self, expired: Timestamp, at: Timestamp) -> bool {
        self.rules.reinstate.is_some_and(|(within, _)| at < later(expired, within))
    }

    fn give_back(
        &mut self,
        seq: i64,
        points: i64,
        expires: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<Vec<i64>, &'static str> {
        let from = self.entries[usize::try_from(seq - 1).unwrap()].to;
        let (mut live, mut revived, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for part in self.coming(seq, points) {
            let lot = self.lot(part.0);
            match self.expiry(lot).filter(|expiry| *expiry <= at) {
                None => live.push(part),
                Some(expired) if self.may_reinstate(expired, at) => revived.push(part),
                Some(_) => gone.push(part),
            }
        }
        let sum = |parts: &[Part]| parts.iter().map(|(_, points)| points).sum::<i64>();
        let answer = vec![points, sum(&live) + sum(&revived), sum(&gone), 0];
        let new_expiry = if revived.is_empty() { None } else { Some(self.new_expiry(expires, at)?) };
        self.undo(seq, from, Pocket::Available, live.clone(), at);
        self.revive(seq, from, &revived, new_expiry, at);
        self.undo(seq, from, Pocket::Expired, gone.clone(), at);
        let returned = self.settle(&gone, at);
        self.repay(&[live, revived, returned].concat(), at);
        Ok(answer)
    }

    fn reinstate(
        &mut self,
        seq: i64,
        points: i64,
        is_whole: bool,
        expires: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<Vec<i64>, &'static str> {
        if !self.may_reinstate(self.entries[usize::try_from(seq - 1).unwrap()].at, at) {
            return Err("REINSTATEMENT_CLOSED");
        }
        let parts = self.coming(seq, points);
        // A reversal of the grant may have cancelled what had expired.
        let there = |(lot, points): &Part| (*lot, self.lot(*lot).count(Pocket::Expired).min(*points));
        let left: Vec<Part> = parts.iter().map(there).filter(|(_, points)| *points > 0).collect();
        if left != parts && !is_whole {
            return Err("REVERSAL_EXCEEDS_ORIGINAL");
        }
        let new_expiry = self.new_expiry(expires, at)?;
        self.revive(seq, Pocket::Expired, &left, Some(new_expiry), at);
        self.repay(&left, at);
        let undone: i64 = left.iter().map(|(_, points)| points).sum();
        if undone > 0 {
            // What a reversal has cancelled will not come back.
            self.entries[usize::try_from(seq - 1).unwrap()].reversed += points - undone;
        }
        Ok(vec![undone, undone, 0, 0])
    }

    fn revive(&mut self, seq: i64, from: Pocket, parts: &[Part], expires: Option<Timestamp>, at: Timestamp) {
        for (lot, _) in parts {
            let lot = self.lot_mut(*lot);
            let kept = lot.expires.filter(|_| lot.count(Pocket::Available) > 0);
            (lot.slides, lot.expires) = (false, kept.max(expires));
        }
        self.undo(seq, from, Pocket::Available, parts.to_vec(), at);
    }

    pub(crate) fn purchase(&mut self, id: &str, cents: i64, clock: Timestamp) -> Outcome {
        self.apply_dues(clock);
        let at = self.time(clock);
        let points = cents / 100;
        let granted = self.cap(points, at)?;
        self.note(EntryKind::ActivityAccepted, at);
        self.slide(at);
        let (vest, expire) = (self.rules.vest, self.rules.expire);
        let lot = (granted > 0).then(|| self.open(EntryKind::PointsGranted, granted, vest, expire, at));
        self.purchases.insert(id.to_owned(), Purchase { cents, refunded: 0, taken: 0, lot });
        Ok(vec![granted, if granted == points { 0 } else { points }])
    }

    pub(crate) fn refund(&mut self, id: &str, cents: i64, clawback: Option<Clawback>, clock: Timestamp) -> Outcome {
        self.apply_dues(clock);
        let at = self.time(clock);
        let Some(bought) = self.purchases.get_mut(id) else { return Err("PURCHASE_UNKNOWN") };
        if cents > bought.cents - bought.refunded {
            return Err("REFUND_EXCEEDS_PURCHASE");
        }
        bought.refunded += cents;
        let (paid, refunded, taken, lot) = (bought.cents, bought.refunded, bought.taken, bought.lot);
        self.note(EntryKind::RefundAccepted, at);
        self.slide(at);
        let Some(seq) = lot else { return Ok(vec![0, 0]) };
        let points = self.lot(seq).points;
        // All refunds together take the share of all that was refunded.
        let share = points * refunded / paid - taken;
        let left = points - self.entries[usize::try_from(seq - 1).unwrap()].reversed;
        let undone = self.claw_back(seq, share.min(left), clawback.unwrap_or(self.rules.clawback), at);
        self.purchases.get_mut(id).unwrap().taken += undone[0];
        Ok(vec![undone[0] - undone[3], undone[3]])
    }

    pub(crate) fn spend(&self) -> i64 {
        self.purchases.values().map(|bought| bought.cents - bought.refunded).sum()
    }
}
