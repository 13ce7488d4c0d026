//! What a tier asks for, criterion by criterion, and how far each is met.

use goldbook_api::google::Money;
use goldbook_api::v1::{TierCondition, TierProgress, tier_condition};

use super::amount::show_money;
use super::bars::bar;
use super::output::grouped;

/// How wide the bar of a criterion is.
const BAR_CELLS: usize = 20;

/// So much of one metric; nothing of what this program does not know.
pub(super) fn show_criterion(criterion: &TierCondition) -> Option<String> {
    use tier_condition::Condition;

    let count = |least: &i64, noun: &str| format!("{} {noun}{}", grouped(*least), if *least == 1 { "" } else { "s" });
    Some(match criterion.condition.as_ref()? {
        Condition::Spend(money) => show_money(money),
        Condition::Margin(money) => format!("{} of margin", show_money(money)),
        Condition::Points(least) => count(least, "earned point"),
        Condition::Purchases(least) => count(least, "purchase"),
        Condition::ActiveDays(least) => count(least, "active day"),
        Condition::Referrals(least) => count(least, "referral"),
        Condition::AllOf(_) | Condition::AnyOf(_) => return None,
    })
}

/// How much it is, where two of one metric are compared.
fn measure(criterion: &TierCondition) -> Option<i128> {
    use tier_condition::Condition;

    let nanos = |money: &Money| i128::from(money.units) * 1_000_000_000 + i128::from(money.nanos);
    Some(match criterion.condition.as_ref()? {
        Condition::Spend(money) | Condition::Margin(money) => nanos(money),
        Condition::Points(least)
        | Condition::Purchases(least)
        | Condition::ActiveDays(least)
        | Condition::Referrals(least) => i128::from(*least),
        Condition::AllOf(_) | Condition::AnyOf(_) => return None,
    })
}

/// A bar for each criterion, with what is missing. Empty if nothing is asked for.
pub(super) fn show_way(progress: &[TierProgress]) -> String {
    let lines = progress.iter().filter_map(|it| {
        let criterion = it.criterion.as_ref()?;
        let (least, asked) = (measure(criterion)?, show_criterion(criterion)?);
        let missing = it.missing.as_ref();
        let reached = least.saturating_sub(missing.and_then(measure).unwrap_or(0));
        // What is empty shows, too: a table takes away spaces before a line.
        let bar = bar(reached, least, BAR_CELLS).replace(' ', "░");
        let lacks = missing.and_then(show_criterion).map(|missing| format!(", {missing} missing"));
        Some(format!("{bar} {asked}{}", lacks.unwrap_or_default()))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::tier_condition::Condition;
    use super::*;

    fn of(condition: Condition) -> Option<TierCondition> {
        Some(TierCondition { condition: Some(condition) })
    }

    #[test]
    fn each_criterion_has_a_bar_and_tells_what_is_missing() {
        let usd = |units| Money { currency_code: "USD".to_owned(), units, nanos: 0 };
        let progress = [
            TierProgress { criterion: of(Condition::Spend(usd(500))), missing: of(Condition::Spend(usd(125))) },
            TierProgress { criterion: of(Condition::Referrals(1)), missing: None },
            TierProgress::default(),
        ];
        let expected = format!("{}░░░░░ 500.00 USD, 125.00 USD missing\n{} 1 referral", "█".repeat(15), "█".repeat(20));
        assert_eq!(show_way(&progress), expected);
        assert_eq!(show_way(&[]), "");
    }
}
