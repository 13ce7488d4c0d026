//! Benefits on the wire.

use super::{Benefit, BenefitKind, BenefitOutline, Quota, QuotaPeriod};
use crate::error::Fields;
use crate::ids::BenefitId;
use crate::money::{Currency, Money, Rate};
use crate::programs::points::grpc::{parse_calendar_period, parse_period, write_calendar_period};
use crate::programs::points::{CalendarPeriod, Period};
use crate::proto;
use crate::proto::benefit::Kind;
use crate::proto::benefit_quota::Per;
use crate::proto::fields::{parse_money, parse_text, write_money};

pub(in crate::programs) const MAX_DESCRIPTION: usize = 2_000;
/// The most uses of a benefit within one period.
pub(in crate::programs) const MAX_LIMIT: i64 = 1_000_000;
/// The bounds of percentages and multipliers.
const MAX_FACTOR: i64 = 100;
const MAX_DECIMALS: u32 = 4;

/// As much of a benefit as could be read, and the benefit if that is all of it. The caller parses its name for people, which
/// it does as for all things.
pub(in crate::programs) fn parse_benefit(
    fields: &mut Fields,
    path: &str,
    benefit: proto::Benefit,
    display_name: Option<String>,
    currency: Option<Currency>,
) -> (BenefitOutline, Option<Benefit>) {
    let benefit_id = fields.check(format!("{path}.benefit_id"), BenefitId::try_from(benefit.benefit_id));
    let description = parse_text(fields, &format!("{path}.description"), &benefit.description, MAX_DESCRIPTION);
    let kind = parse_kind(fields, path, benefit.kind.as_ref(), currency);
    let quota = benefit.quota.map(|quota| parse_quota(fields, &format!("{path}.quota"), quota));
    let quota_per = quota.flatten().map(|quota| quota.per);
    let outline =
        BenefitOutline { benefit_id: benefit_id.clone(), kind: kind.clone(), has_quota: quota.is_some(), quota_per };
    let whole = || {
        Some(Benefit {
            benefit_id: benefit_id?,
            display_name: display_name?,
            description: description?,
            kind: kind?,
            quota: quota.map_or(Some(None), |quota| quota.map(Some))?,
        })
    };
    (outline, whole())
}

fn parse_kind(fields: &mut Fields, path: &str, kind: Option<&Kind>, currency: Option<Currency>) -> Option<BenefitKind> {
    match kind {
        None | Some(Kind::Custom(())) => Some(BenefitKind::Custom),
        Some(Kind::PercentageOff(text)) => {
            parse_factor(fields, &format!("{path}.percentage_off"), text).map(BenefitKind::PercentageOff)
        }
        Some(Kind::AmountOff(amount)) => {
            parse_amount(fields, &format!("{path}.amount_off"), Some(amount), currency).map(BenefitKind::AmountOff)
        }
        Some(Kind::FreeShipping(())) => Some(BenefitKind::FreeShipping),
        Some(Kind::Pass(pass)) => parse_pass(fields, &format!("{path}.pass"), *pass),
        Some(Kind::Gift(())) => Some(BenefitKind::Gift),
        Some(Kind::Badge(badge)) => parse_badge(fields, &format!("{path}.badge"), *badge),
        Some(Kind::HigherCreditLimit(limit)) => {
            let path = format!("{path}.higher_credit_limit");
            let by = parse_amount(fields, &format!("{path}.by"), limit.by.as_ref(), currency);
            let valid_for = parse_period(fields, &format!("{path}.valid_for"), &limit.valid_for);
            Some(BenefitKind::HigherCreditLimit { by: by?, valid_for: valid_for? })
        }
        Some(Kind::PriorityService(())) => Some(BenefitKind::PriorityService),
        Some(Kind::EarlyAccess(period)) => {
            parse_period(fields, &format!("{path}.early_access"), period).map(BenefitKind::EarlyAccess)
        }
        Some(Kind::EarnRateMultiplier(text)) => {
            parse_factor(fields, &format!("{path}.earn_rate_multiplier"), text).map(BenefitKind::EarnRateMultiplier)
        }
    }
}

fn parse_pass(fields: &mut Fields, path: &str, pass: i32) -> Option<BenefitKind> {
    match proto::PassKind::try_from(pass) {
        Ok(proto::PassKind::Lounge) => Some(BenefitKind::LoungePass),
        Ok(proto::PassKind::Event) => Some(BenefitKind::EventPass),
        Ok(proto::PassKind::Unspecified) | Err(_) => fields.check(path, Err("must be one of the named values")),
    }
}

fn parse_badge(fields: &mut Fields, path: &str, badge: i32) -> Option<BenefitKind> {
    match proto::BadgeKind::try_from(badge) {
        Ok(proto::BadgeKind::Badge) => Some(BenefitKind::Badge),
        Ok(proto::BadgeKind::Certificate) => Some(BenefitKind::Certificate),
        Ok(proto::BadgeKind::Unspecified) | Err(_) => fields.check(path, Err("must be one of the named values")),
    }
}

/// A percentage or a multiplier.
fn parse_factor(fields: &mut Fields, path: &str, text: &str) -> Option<Rate> {
    const EXPECTED: &str = "must be a decimal above 0 and at most 100 with at most 4 decimals, such as 1.5";
    let is_fit = |rate: &Rate| !rate.is_zero() && rate.is_within(MAX_FACTOR, MAX_DECIMALS);
    fields.check(path, Rate::parse(text).ok().filter(is_fit).ok_or(EXPECTED))
}

/// An amount above zero in the program's own currency, in minor units.
fn parse_amount(
    fields: &mut Fields,
    path: &str,
    amount: Option<&proto::google::Money>,
    currency: Option<Currency>,
) -> Option<i64> {
    let money = parse_money(fields, path, amount)?;
    if currency.is_some_and(|currency| currency != money.currency) {
        return fields.check(format!("{path}.currency_code"), Err("must be the program's currency"));
    }
    fields.check(path, if money.minor > 0 { Ok(money.minor) } else { Err("must be above zero") })
}

fn parse_quota(fields: &mut Fields, path: &str, quota: proto::BenefitQuota) -> Option<Quota> {
    let is_within = (1..=MAX_LIMIT).contains(&quota.limit);
    let limit = fields
        .check(format!("{path}.limit"), if is_within { Ok(quota.limit) } else { Err("must be from 1 to 1,000,000") });
    let per = match quota.per {
        Some(Per::TierPeriod(())) => Some(QuotaPeriod::TierPeriod),
        Some(Per::Lifetime(())) => Some(QuotaPeriod::Lifetime),
        Some(Per::Calendar(period)) => {
            let path = format!("{path}.calendar");
            match parse_calendar_period(fields, &path, period)? {
                Some(period) if is_month_or_longer(period) => Some(QuotaPeriod::Calendar(period)),
                Some(_) | None => fields.check(path, Err("must be a month, a quarter, a half or a year")),
            }
        }
        // Perhaps a period that only a newer caller knows.
        None => fields.check(path, Err("must have one of tier_period, calendar and lifetime")),
    };
    Some(Quota { limit: limit?, per: per?, counts_companions: quota.counts_companions })
}

const fn is_month_or_longer(period: CalendarPeriod) -> bool {
    match period {
        CalendarPeriod::Month | CalendarPeriod::Quarter | CalendarPeriod::Half | CalendarPeriod::Year => true,
        CalendarPeriod::Day | CalendarPeriod::Week => false,
    }
}

/// A benefit on the wire, of a program with this currency.
#[must_use]
pub(crate) fn write_benefit(benefit: &Benefit, currency: Currency) -> proto::Benefit {
    proto::Benefit {
        benefit_id: benefit.benefit_id.to_string(),
        display_name: benefit.display_name.clone(),
        description: benefit.description.clone(),
        kind: write_kind(&benefit.kind, currency),
        quota: benefit.quota.map(write_quota),
    }
}

fn write_kind(kind: &BenefitKind, currency: Currency) -> Option<Kind> {
    let money = |minor| write_money(Money { currency, minor });
    Some(match kind {
        BenefitKind::Custom => return None,
        BenefitKind::PercentageOff(percentage) => Kind::PercentageOff(percentage.to_string()),
        BenefitKind::AmountOff(minor) => Kind::AmountOff(money(*minor)),
        BenefitKind::FreeShipping => Kind::FreeShipping(()),
        BenefitKind::LoungePass => Kind::Pass(proto::PassKind::Lounge.into()),
        BenefitKind::EventPass => Kind::Pass(proto::PassKind::Event.into()),
        BenefitKind::Gift => Kind::Gift(()),
        BenefitKind::Badge => Kind::Badge(proto::BadgeKind::Badge.into()),
        BenefitKind::Certificate => Kind::Badge(proto::BadgeKind::Certificate.into()),
        BenefitKind::HigherCreditLimit { by, valid_for } => Kind::HigherCreditLimit(proto::HigherCreditLimit {
            by: Some(money(*by)),
            valid_for: Period::to_string(valid_for),
        }),
        BenefitKind::PriorityService => Kind::PriorityService(()),
        BenefitKind::EarlyAccess(period) => Kind::EarlyAccess(period.to_string()),
        BenefitKind::EarnRateMultiplier(multiplier) => Kind::EarnRateMultiplier(multiplier.to_string()),
    })
}

fn write_quota(quota: Quota) -> proto::BenefitQuota {
    let per = match quota.per {
        QuotaPeriod::TierPeriod => Per::TierPeriod(()),
        QuotaPeriod::Calendar(period) => Per::Calendar(write_calendar_period(period).into()),
        QuotaPeriod::Lifetime => Per::Lifetime(()),
    };
    proto::BenefitQuota { limit: quota.limit, per: Some(per), counts_companions: quota.counts_companions }
}
