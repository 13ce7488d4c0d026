//! Where a customer stands in the relationship, by what is known of them. It is pure.

use jiff::{SignedDuration, Timestamp};

use crate::book::{
    ActivityDetail, Answered, BrandClass, ComplaintDetail, Detail, Facts, LoyaltyClass, Position, SatisfactionClass,
    Silence, Stage, TierDetail,
};
use crate::programs::lifecycle::{ClassCuts, LifecyclePolicy, RiskCondition, StageCondition};

const SATISFIED: i32 = 4;
const RECOMMENDS: i32 = 9;
const REPEAT_PURCHASES: i64 = 2;
const INVOLVED: i32 = 4;
const FEW_BRANDS: i32 = 1;

/// Takes in what an entry tells of a customer. Says whether it tells anything that decides where they stand.
pub(crate) fn take_in(facts: &mut Facts, detail: &Detail) -> bool {
    match detail {
        Detail::Activity(ActivityDetail::ActivityAccepted { spend, happened_at, .. }) => {
            facts.spend = facts.spend.saturating_add(*spend);
            if *spend > 0 {
                facts.purchases += 1;
                facts.last_purchase_at = facts.last_purchase_at.max(Some(*happened_at));
            }
        }
        Detail::Activity(ActivityDetail::RefundAccepted { spend, counts, .. }) => {
            facts.spend = facts.spend.saturating_sub(*spend);
            facts.purchases -= i64::from(counts.is_some_and(|counts| counts.whole));
        }
        Detail::Activity(ActivityDetail::FeedbackAccepted { happened_at, answers, .. }) => {
            let at = *happened_at;
            hear(&mut facts.satisfaction, answers.satisfaction.map(i32::from), at);
            hear(&mut facts.recommendation, answers.recommendation.map(i32::from), at);
            hear(&mut facts.involvement, answers.involvement.map(i32::from), at);
            hear(&mut facts.brands, answers.brands, at);
        }
        Detail::Tier(TierDetail::ReferralCounted { .. }) => facts.referrals += 1,
        Detail::Tier(TierDetail::TierImported { qualifying_spend, .. }) => {
            facts.spend = facts.spend.saturating_add(*qualifying_spend);
        }
        Detail::Complaint(ComplaintDetail::ComplaintOpened { .. } | ComplaintDetail::ComplaintReopened { .. }) => {
            facts.open_complaints += 1;
        }
        Detail::Complaint(ComplaintDetail::ComplaintResolved { .. }) => facts.open_complaints -= 1,
        Detail::Tier(_)
        | Detail::Complaint(_)
        | Detail::Program(_)
        | Detail::Customer(_)
        | Detail::Points(_)
        | Detail::Benefit(_)
        | Detail::Referral(_)
        | Detail::Goodwill(_)
        | Detail::Lifecycle(_)
        | Detail::Value(_) => return false,
    }
    true
}

/// Hears an answer, unless a later one was heard.
fn hear(heard: &mut Option<Answered>, answer: Option<i32>, at: Timestamp) {
    if let Some(answer) = answer
        && heard.is_none_or(|heard| heard.at <= at)
    {
        *heard = Some(Answered { answer, at });
    }
}

/// When so many days without a purchase have passed; never, if nobody bought or nothing is said.
fn silent_at(facts: &Facts, days: Option<i32>) -> Option<Timestamp> {
    let last = facts.last_purchase_at.filter(|_| facts.purchases > 0)?;
    last.checked_add(SignedDuration::from_hours(24 * i64::from(days?))).ok()
}

fn is_silent(facts: &Facts, days: Option<i32>, at: Timestamp) -> bool {
    silent_at(facts, days).is_some_and(|silent_at| silent_at <= at)
}

/// What silence does, as a policy says.
pub(super) fn silence_of(policy: &LifecyclePolicy) -> Silence {
    Silence {
        rare: policy.cuts().rare_after_days,
        at_risk: policy.at_risk.and_then(|risk| risk.after_days),
        lapsed: policy.lapsed_after_days,
        lost: policy.lost_after_days,
    }
}

/// Where a customer stands at an instant. `has_bought` tells whether they just did, later than ever before.
pub(super) fn decide(
    policy: &LifecyclePolicy,
    before: Option<&Position>,
    facts: &Facts,
    has_bought: bool,
    at: Timestamp,
) -> Position {
    let cuts = policy.cuts();
    let buys =
        facts.purchases >= cuts.purchases.unwrap_or(REPEAT_PURCHASES) && !is_silent(facts, cuts.rare_after_days, at);
    let answered = |answered: Option<Answered>| answered.map(|it| it.answer);
    Position {
        stage: stage(policy, before.map(|before| before.stage), facts, has_bought, at),
        satisfaction: answered(facts.satisfaction)
            .map(|score| satisfaction_class(score >= cuts.satisfied_from.unwrap_or(SATISFIED), buys)),
        loyalty: answered(facts.recommendation)
            .map(|score| loyalty_class(score >= cuts.recommends_from.unwrap_or(RECOMMENDS), buys)),
        brands: answered(facts.involvement).zip(answered(facts.brands)).map(|said| brand_class(cuts, said)),
    }
}

const fn satisfaction_class(is_satisfied: bool, buys: bool) -> SatisfactionClass {
    match (is_satisfied, buys) {
        (true, true) => SatisfactionClass::Apostle,
        (true, false) => SatisfactionClass::Mercenary,
        (false, true) => SatisfactionClass::Hostage,
        (false, false) => SatisfactionClass::Defector,
    }
}

const fn loyalty_class(recommends: bool, buys: bool) -> LoyaltyClass {
    match (recommends, buys) {
        (true, true) => LoyaltyClass::TrueLoyalty,
        (true, false) => LoyaltyClass::LatentLoyalty,
        (false, true) => LoyaltyClass::SpuriousLoyalty,
        (false, false) => LoyaltyClass::NoLoyalty,
    }
}

fn brand_class(cuts: ClassCuts, (involvement, brands): (i32, i32)) -> BrandClass {
    let cares = involvement >= cuts.involved_from.unwrap_or(INVOLVED);
    match (cares, brands <= cuts.few_brands.unwrap_or(FEW_BRANDS)) {
        (true, true) => BrandClass::Loyal,
        (false, true) => BrandClass::Habitual,
        (true, false) => BrandClass::ManyBrand,
        (false, false) => BrandClass::Switcher,
    }
}

fn stage(policy: &LifecyclePolicy, before: Option<Stage>, facts: &Facts, has_bought: bool, at: Timestamp) -> Stage {
    if facts.purchases <= 0 {
        return Stage::Prospect;
    }
    if is_silent(facts, policy.lost_after_days, at) {
        return Stage::Lost;
    }
    if is_silent(facts, policy.lapsed_after_days, at) {
        return Stage::Lapsed;
    }
    if policy.at_risk.is_some_and(|risk| is_at_risk(risk, facts, at)) {
        return Stage::AtRisk;
    }
    let was_away = matches!(before, Some(Stage::Lapsed | Stage::Lost));
    // Who came back is won back until they buy once more.
    if was_away && has_bought || before == Some(Stage::WonBack) && !has_bought {
        return Stage::WonBack;
    }
    let meets = |condition: Option<StageCondition>| condition.is_some_and(|condition| is_met(condition, facts));
    if meets(policy.advocate) {
        Stage::Advocate
    } else if meets(policy.client) {
        Stage::Client
    } else if meets(Some(policy.repeat())) {
        Stage::Repeat
    } else {
        Stage::FirstTime
    }
}

fn is_at_risk(risk: RiskCondition, facts: &Facts, at: Timestamp) -> bool {
    let is_unhappy = |most: i32| facts.satisfaction.is_some_and(|it| it.answer <= most);
    is_silent(facts, risk.after_days, at)
        || risk.satisfaction_at_most.is_some_and(is_unhappy)
        || risk.open_complaints.is_some_and(|least| facts.open_complaints >= least)
}

fn is_met(condition: StageCondition, facts: &Facts) -> bool {
    let StageCondition { purchases, spend, referrals, satisfaction } = condition;
    let is_satisfied = |least: i32| facts.satisfaction.is_some_and(|it| it.answer >= least);
    purchases.is_none_or(|least| facts.purchases >= least)
        && spend.is_none_or(|least| facts.spend >= least)
        && referrals.is_none_or(|least| facts.referrals >= least)
        && satisfaction.is_none_or(is_satisfied)
}

/// When silence next moves a customer who stands somewhere, if they do not buy; never, if it does no more.
pub(super) fn next_move(position: &Position, facts: &Facts, silence: &Silence) -> Option<Timestamp> {
    let Silence { rare, at_risk, lapsed, lost } = *silence;
    let buys = matches!(position.satisfaction, Some(SatisfactionClass::Apostle | SatisfactionClass::Hostage))
        || matches!(position.loyalty, Some(LoyaltyClass::TrueLoyalty | LoyaltyClass::SpuriousLoyalty));
    let (is_at_risk, is_lapsed, is_lost) = match position.stage {
        Stage::Prospect | Stage::FirstTime | Stage::Repeat | Stage::Client | Stage::Advocate | Stage::WonBack => {
            (false, false, false)
        }
        Stage::AtRisk => (true, false, false),
        Stage::Lapsed => (true, true, false),
        Stage::Lost => (true, true, true),
    };
    let due = |days: Option<i32>, is_done: bool| silent_at(facts, days).filter(|_| !is_done);
    [due(rare, !buys), due(at_risk, is_at_risk), due(lapsed, is_lapsed), due(lost, is_lost)].into_iter().flatten().min()
}

/// Where silence alone has moved a customer by an instant.
pub(super) fn after_silence(position: &Position, facts: &Facts, silence: &Silence, at: Timestamp) -> Position {
    let is_rare = is_silent(facts, silence.rare, at);
    let stage = if is_silent(facts, silence.lost, at) {
        Stage::Lost
    } else if is_silent(facts, silence.lapsed, at) {
        Stage::Lapsed
    } else if is_silent(facts, silence.at_risk, at) {
        Stage::AtRisk
    } else {
        position.stage
    };
    Position {
        stage,
        satisfaction: position.satisfaction.map(|class| match class {
            SatisfactionClass::Apostle if is_rare => SatisfactionClass::Mercenary,
            SatisfactionClass::Hostage if is_rare => SatisfactionClass::Defector,
            SatisfactionClass::Apostle
            | SatisfactionClass::Mercenary
            | SatisfactionClass::Hostage
            | SatisfactionClass::Defector => class,
        }),
        loyalty: position.loyalty.map(|class| match class {
            LoyaltyClass::TrueLoyalty if is_rare => LoyaltyClass::LatentLoyalty,
            LoyaltyClass::SpuriousLoyalty if is_rare => LoyaltyClass::NoLoyalty,
            LoyaltyClass::TrueLoyalty
            | LoyaltyClass::LatentLoyalty
            | LoyaltyClass::SpuriousLoyalty
            | LoyaltyClass::NoLoyalty => class,
        }),
        brands: position.brands,
    }
}

/// A move that silence will make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Foretold {
    pub at: Timestamp,
    pub to: Position,
}

/// What silence will do to a customer, if nothing else happens: at most one move for each that it can make.
pub(super) fn foretell(position: &Position, facts: &Facts, silence: &Silence) -> Vec<Foretold> {
    let (mut position, mut forecast) = (*position, Vec::new());
    while let Some(at) = next_move(&position, facts, silence) {
        let to = after_silence(&position, facts, silence, at);
        if to == position {
            break;
        }
        forecast.push(Foretold { at, to });
        position = to;
    }
    forecast
}
