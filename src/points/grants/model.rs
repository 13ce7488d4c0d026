//! What a grant is, when its points vest and expire, and how it becomes a lot.

use jiff::Timestamp;

use super::caps::Capped;
use crate::book::{
    Actor, Decision, DecisionError, Defect, EntryReason, LotPart, LotTerms, NewEntry, Pocket, PocketMove, PointsDetail,
};
use crate::error::{Reason, Refusal};
use crate::ids::{AccountId, EntryId};
use crate::points::amount::Points;
use crate::points::debts::repay;
use crate::programs::model::{Program, ProgramVersion};
use crate::programs::points::{ExpiryRule, VestingRule};

/// A grant to be made.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// How many points.
    pub points: Points,
    /// When they vest; by the program, if absent.
    pub vesting: Option<VestingRule>,
    /// When they expire; by the program, if absent.
    pub expiry: Option<ExpiryRule>,
    /// What the program's caps on earning leave of it, if they apply.
    pub capped: Option<Capped>,
    /// On whose behalf they are granted.
    pub actor: Actor,
    /// Why they are granted.
    pub reason: EntryReason,
    /// The entries that caused it.
    pub causes: Vec<EntryId>,
}

impl Grant {
    /// A grant by a rule of the program, on the program's terms.
    #[must_use]
    pub(crate) const fn by_rule(points: Points, reason: EntryReason, causes: Vec<EntryId>) -> Self {
        Self { points, vesting: None, expiry: None, capped: None, actor: Actor::Rule, reason, causes }
    }
}

/// Posts a grant as a lot of its own, and what its points pay of a debt. None if a period's cap leaves nothing of it.
///
/// # Errors
/// [`DecisionError::NotLoaded`] if the account is not locked.
pub(crate) fn grant(
    decision: &mut Decision<'_>,
    policy: &ProgramVersion,
    account_id: AccountId,
    grant: Grant,
) -> Result<Option<EntryId>, DecisionError> {
    let at = decision.account(account_id)?.time_at(decision.at());
    let program = &policy.program;
    let uncapped = grant.points.get();
    let (points, counted_in) =
        grant.capped.map_or_else(|| (uncapped, Vec::new()), |capped| (capped.points, capped.counted_in));
    if points == 0 {
        return Ok(None);
    }
    let vesting = grant.vesting.as_ref().unwrap_or(&program.points.vesting);
    let expiry = grant.expiry.as_ref().unwrap_or(&program.points.expiry);
    let terms = terms_of(vesting, expiry, at, program)?;
    let detail = PointsDetail::PointsGranted {
        terms: terms.clone(),
        counted_in,
        uncapped: Some(uncapped).filter(|uncapped| *uncapped != points),
    }
    .into();
    let new_entry = NewEntry {
        detail,
        movement: Some(PocketMove { from: Pocket::Issued, to: pocket_of(&terms), points }),
        actor: grant.actor,
        reason: grant.reason,
        policy_version: policy.version,
        causes: grant.causes,
    };
    Ok(Some(open_lot(decision, account_id, new_entry, &terms)?))
}

/// Posts an entry that makes a lot, and what the lot pays of a debt at once.
///
/// # Errors
/// [`DecisionError::NotLoaded`] if the account is not locked.
pub(crate) fn open_lot(
    decision: &mut Decision<'_>,
    account_id: AccountId,
    new_entry: NewEntry,
    terms: &LotTerms,
) -> Result<EntryId, DecisionError> {
    let (points, policy_version) = (new_entry.movement.map_or(0, |movement| movement.points), new_entry.policy_version);
    let owed = decision.balance(account_id)?.owed;
    let entry_id = decision.post(account_id, new_entry)?;
    if let Some(repayment) = repay_by_lot(entry_id, terms, points, owed, policy_version) {
        decision.post(account_id, repayment)?;
    }
    Ok(entry_id)
}

/// What a new lot of so many points pays of a debt at once: nothing where its points are not there yet.
#[must_use]
pub(crate) fn repay_by_lot(
    lot: EntryId,
    terms: &LotTerms,
    points: i64,
    owed: i64,
    policy_version: i32,
) -> Option<NewEntry> {
    let parts = [LotPart { lot: lot.account_seq, points }];
    repay(owed, &parts, policy_version, vec![lot]).filter(|_| pocket_of(terms) == Pocket::Available)
}

/// Where the points of new terms are at first.
#[must_use]
pub(crate) const fn pocket_of(terms: &LotTerms) -> Pocket {
    if terms.vests_at.is_none() && terms.vest_by.is_none() { Pocket::Available } else { Pocket::Pending }
}

/// When points that are granted at an instant vest and expire.
///
/// # Errors
/// [`Defect`] if a rule cannot be written down.
pub(crate) fn terms_of(
    vesting: &VestingRule,
    expiry: &ExpiryRule,
    at: Timestamp,
    program: &Program,
) -> Result<LotTerms, Defect> {
    let time_zone = &program.time_zone.0;
    let slides = matches!(expiry, ExpiryRule::Sliding(_));
    let vests_at = match vesting {
        VestingRule::Immediate => None,
        VestingRule::At(instant) => Some(*instant).filter(|instant| *instant > at),
        VestingRule::After(period) => Some(period.after(at, time_zone)),
        VestingRule::OnEvent(period) => return terms_on_event(period.after(at, time_zone), expiry, program),
    };
    let expires_at = expiry.of(vests_at.unwrap_or(at), time_zone);
    Ok(LotTerms { vests_at, vest_by: None, expires_at, slides, expiry_rule: None })
}

/// The terms of points that wait, until an instant, for what they are granted for. Their expiry is known once it
/// happens.
///
/// # Errors
/// [`Defect`] if the rule cannot be written down.
pub(crate) fn terms_on_event(vest_by: Timestamp, expiry: &ExpiryRule, program: &Program) -> Result<LotTerms, Defect> {
    let rule = serde_json::to_string(expiry).map_err(|error| {
        Defect::new(format!("program {}: an expiry rule cannot be written down: {error}", program.program_id))
    })?;
    let slides = matches!(expiry, ExpiryRule::Sliding(_));
    Ok(LotTerms { vests_at: None, vest_by: Some(vest_by), expires_at: None, slides, expiry_rule: Some(rule) })
}

/// Refuses an instant that is not after another.
///
/// # Errors
/// A refusal that names the field.
pub(crate) fn require_ahead(field: &'static str, instant: Timestamp, after: Timestamp) -> Result<(), Refusal> {
    if instant > after {
        return Ok(());
    }
    let refusal = Refusal::new(Reason::InstantNotAhead, format!("{field} must be later than {after}"));
    Err(refusal.with(field, instant).with("after", after))
}
