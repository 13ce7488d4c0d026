//! One customer's standing and points as JSON: the numbers that the screen shows as words and bars.

use goldbook_api::v1::{Balance, CustomerTier, PointsDue, TierCondition, TierForecast, TierProgress, tier_condition};
use serde_json::{Value, json};

use crate::cli::amount::write_money;
use crate::cli::instant;
use crate::cli::output::words;

/// The tier, how far the ways to keep it and to the next one are, what becomes of it, and the balance.
pub(super) fn write_standing(program_id: &str, account_id: &str, tier: &CustomerTier, balance: &Balance) -> Value {
    let next = tier.next.as_ref().map(|next| {
        json!({"tier_id": next.tier_id, "display_name": next.display_name, "progress": write_way(&next.progress)})
    });
    let keeping = tier.keeping.as_ref();
    let keeping = keeping.map(|it| json!({"met": it.met, "progress": write_way(&it.progress)}));
    let set_by_hand = tier.r#override.as_ref().map(|it| {
        json!({"kind": words(it.kind().as_str_name(), "TIER_OVERRIDE_KIND_"), "tier_id": it.tier_id,
               "until": instant::write(it.ends_at.as_ref()), "tier_id_without": tier.hidden_tier_id})
    });
    json!({
        "program_id": program_id,
        "customer_id": tier.customer_id,
        "account_id": account_id,
        "as_of": instant::write(tier.as_of.as_ref()),
        "tier": {
            "tier_id": tier.tier_id,
            "display_name": tier.display_name,
            "since": instant::write(tier.since.as_ref()),
            "valid_until": instant::write(tier.valid_until.as_ref()),
            "policy_version": tier.policy_version,
            "counted_from": tier.counted.as_ref().and_then(|counted| counted.from).map(|day| {
                format!("{:04}-{:02}-{:02}", day.year, day.month, day.day)
            }),
            "entry_id": tier.entry_id,
            "cause_entry_ids": tier.cause_entry_ids,
            "qualifying_spend": tier.qualifying_spend.as_ref().map(write_money),
            "set_by_hand": set_by_hand,
            "keeping": keeping,
            "next": next,
            "forecast": tier.forecast.iter().map(write_forecast).collect::<Vec<_>>(),
        },
        "balance": {
            "available": balance.available,
            "pending": balance.pending,
            "held": balance.held,
            "owed": balance.owed,
            "redeemed": balance.redeemed,
            "expired": balance.expired,
            "cancelled": balance.cancelled,
            "next_vesting": balance.next_vesting.as_ref().map(write_due),
            "next_expiry": balance.next_expiry.as_ref().map(write_due),
        },
    })
}

fn write_due(due: &PointsDue) -> Value {
    json!({"points": due.points, "is_at_least": due.is_at_least, "at": instant::write(due.due_at.as_ref())})
}

fn write_forecast(it: &TierForecast) -> Value {
    json!({"tier_id": it.tier_id, "change": words(it.change().as_str_name(), "TIER_CHANGE_KIND_"),
           "at": instant::write(it.at.as_ref())})
}

/// Each criterion with what it asks for and what is missing. One that is newer than this program is left out.
fn write_way(progress: &[TierProgress]) -> Vec<Value> {
    let criteria = progress.iter().filter_map(|it| {
        let (metric, least) = measure(it.criterion.as_ref()?)?;
        let missing = it.missing.as_ref().and_then(measure).map(|(_, missing)| missing);
        Some(json!({"metric": metric, "least": least, "missing": missing}))
    });
    criteria.collect()
}

/// A metric, and how much of it.
fn measure(criterion: &TierCondition) -> Option<(&'static str, Value)> {
    use tier_condition::Condition;

    Some(match criterion.condition.as_ref()? {
        Condition::Spend(money) => ("spend", write_money(money)),
        Condition::Margin(money) => ("margin", write_money(money)),
        Condition::Points(least) => ("points", json!(least)),
        Condition::Purchases(least) => ("purchases", json!(least)),
        Condition::ActiveDays(least) => ("active_days", json!(least)),
        Condition::Referrals(least) => ("referrals", json!(least)),
        Condition::AllOf(_) | Condition::AnyOf(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use goldbook_api::google::Money;
    use goldbook_api::v1::{NextTier, TierChangeKind, TierKeeping};
    use goldbook_api::values::write_instant;

    use super::*;

    #[test]
    fn a_standing_is_told_with_the_way_to_keep_it_and_to_the_next_tier() {
        use tier_condition::Condition;

        let of = |condition| Some(TierCondition { condition: Some(condition) });
        let usd = |units| Money { currency_code: "USD".to_owned(), units, nanos: 500_000_000 };
        let plain = |amount: &str| json!({"amount": amount, "currency_code": "USD"});
        let instant = |text: &str| Some(write_instant(text.parse().unwrap()));
        let spend =
            TierProgress { criterion: of(Condition::Spend(usd(2_000))), missing: of(Condition::Spend(usd(99))) };
        let days = TierProgress { criterion: of(Condition::ActiveDays(3)), missing: None };
        let tier = CustomerTier {
            customer_id: "C1".to_owned(),
            tier_id: "silver".to_owned(),
            valid_until: instant("2027-01-01T05:00:00Z"),
            keeping: Some(TierKeeping { met: false, progress: vec![spend.clone()], ..TierKeeping::default() }),
            next: Some(NextTier { tier_id: "gold".to_owned(), progress: vec![spend, days], ..NextTier::default() }),
            forecast: vec![TierForecast {
                tier_id: "member".to_owned(),
                change: TierChangeKind::Downgraded.into(),
                at: instant("2027-01-01T05:00:00Z"),
            }],
            ..CustomerTier::default()
        };
        let due = PointsDue { points: 5, due_at: instant("2026-12-01T05:00:00Z"), ..PointsDue::default() };
        let balance = Balance { available: 12, next_expiry: Some(due), ..Balance::default() };
        let told = write_standing("shop", "7", &tier, &balance);
        let due = json!({"points": 5, "is_at_least": false, "at": "2026-12-01T05:00:00Z"});
        assert_eq!([&told["balance"]["next_expiry"], &told["balance"]["next_vesting"]], [&due, &Value::Null]);
        assert_eq!([&told["program_id"], &told["customer_id"], &told["account_id"]], ["shop", "C1", "7"]);
        assert_eq!(told["tier"]["valid_until"], json!("2027-01-01T05:00:00Z"));
        let spend = json!({"metric": "spend", "least": plain("2000.50"), "missing": plain("99.50")});
        assert_eq!(told["tier"]["keeping"], json!({"met": false, "progress": [spend]}));
        let days = json!({"metric": "active_days", "least": 3, "missing": null});
        assert_eq!(told["tier"]["next"]["progress"], json!([spend, days]));
        let falls = json!({"tier_id": "member", "change": "downgraded", "at": "2027-01-01T05:00:00Z"});
        assert_eq!(told["tier"]["forecast"], json!([falls]));
        assert_eq!(told["balance"]["available"], json!(12));
        assert_eq!(told["tier"]["set_by_hand"], Value::Null);
    }
}
