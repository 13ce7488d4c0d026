//! What is unsound across the parts of a document. Each rule looks at as much as could be read: a mistake in one part
//! hides none in another.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::benefits::{BenefitOutline, find_benefit_faults, find_faults_of_extras};
use super::model::{Campaign, Tier};
use super::tier_policy::{Condition, Metric, TierWindow};
use crate::error::Violation;
use crate::ids::{CampaignId, TierId};

/// As much of a tier as could be read. What could not is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TierOutline {
    /// Its name within the program.
    pub tier_id: Option<TierId>,
    /// The spend that reaches it, in minor units; zero, if the document says none.
    pub threshold: Option<i64>,
    /// What it takes beside a threshold; none inside, if the document says none.
    pub condition: Option<Option<Condition>>,
    /// What it entitles to.
    pub benefits: Vec<BenefitOutline>,
}

/// As much of a campaign as could be read. What could not is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CampaignOutline {
    /// Its name within the program.
    pub campaign_id: Option<CampaignId>,
    /// When it begins.
    pub starts_at: Option<Timestamp>,
    /// When it has ended.
    pub ends_at: Option<Timestamp>,
}

impl TierOutline {
    /// What it takes to reach the tier, if that could be read.
    fn takes(&self) -> Option<Condition> {
        match self.condition.as_ref()? {
            Some(condition) => Some(condition.clone()),
            None => self.threshold.map(|threshold| Condition::AtLeast(Metric::Spend, threshold)),
        }
    }

    fn has_condition(&self) -> bool {
        self.condition != Some(None)
    }
}

impl From<&Tier> for TierOutline {
    fn from(tier: &Tier) -> Self {
        Self {
            tier_id: Some(tier.tier_id.clone()),
            threshold: Some(tier.threshold),
            condition: Some(tier.condition.clone()),
            benefits: tier.benefits.iter().map(Into::into).collect(),
        }
    }
}

impl From<&Campaign> for CampaignOutline {
    fn from(campaign: &Campaign) -> Self {
        let Campaign { campaign_id, starts_at, ends_at, .. } = campaign;
        Self { campaign_id: Some(campaign_id.clone()), starts_at: *starts_at, ends_at: *ends_at }
    }
}

/// Notes what is unsound across the benefits of a document that no tier gives by itself.
#[must_use]
pub fn find_extra_faults(extras: &[BenefitOutline]) -> Vec<Violation> {
    let to_violation = |(field, description): (String, &str)| Violation {
        field: format!("program.extras{field}"),
        description: description.to_owned(),
    };
    find_faults_of_extras(extras).into_iter().map(to_violation).collect()
}

/// Notes what is unsound across the tiers of a document, whose activities count in a window if that could be read.
#[must_use]
pub fn find_tier_faults(tiers: &[TierOutline], window: Option<&TierWindow>) -> Vec<Violation> {
    let mut faults = Vec::new();
    let mut fault = |field: String, description: String| faults.push(Violation { field, description });
    let is_first = |tier: &TierOutline| !tier.has_condition() && tier.threshold.is_none_or(|threshold| threshold == 0);
    if !tiers.first().is_some_and(is_first) {
        fault("program.tiers".to_owned(), "must begin with a tier whose threshold is zero".to_owned());
    }
    let most_days = window.and_then(TierWindow::most_days);
    let mut tier_ids = BTreeSet::new();
    for (i, tier) in tiers.iter().enumerate() {
        if tier.tier_id.as_ref().is_some_and(|tier_id| !tier_ids.insert(tier_id)) {
            fault(format!("program.tiers[{i}].tier_id"), "must be unique within the program".to_owned());
        }
        if let Some((field, description)) = find_fall(tiers.get(..i).unwrap_or_default(), tier) {
            fault(format!("program.tiers[{i}].{field}"), description);
        }
        let too_many = |days: &i64| tier.takes().is_some_and(|takes| !takes.fits_in(*days));
        if let Some(days) = most_days.filter(too_many) {
            let description = format!("can never be met: the window has at most {days} days");
            fault(format!("program.tiers[{i}].condition"), description);
        }
        for (field, description) in find_benefit_faults(&tier.benefits) {
            fault(format!("program.tiers[{i}].benefits{field}"), description.to_owned());
        }
    }
    faults
}

/// What is wrong with a tier that is reached whenever one below it is: nobody would ever hold that one. The tier before it
/// may ask for something else, and one below that for more.
fn find_fall(lower: &[TierOutline], tier: &TierOutline) -> Option<(&'static str, String)> {
    let takes = tier.takes()?;
    let leads_past = |below: &&TierOutline| below.takes().is_some_and(|below| below.leads_past(&takes));
    let below = lower.iter().rev().find(leads_past)?;
    let name = below.tier_id.as_ref().map_or_else(|| "a tier".to_owned(), |tier_id| format!("tier {tier_id}"));
    let field = if tier.has_condition() { "condition" } else { "threshold" };
    let description = if tier.has_condition() || below.has_condition() {
        format!("must ask for more than {name} before it: a way to meet the condition of that one meets this one, too")
    } else {
        format!("must be above the threshold of {name}, which comes before it")
    };
    Some((field, description))
}

/// Notes what is unsound across the campaigns of a document.
#[must_use]
pub fn find_campaign_faults(campaigns: &[CampaignOutline]) -> Vec<Violation> {
    let mut faults = Vec::new();
    let mut fault = |field: String, description: &str| {
        faults.push(Violation { field, description: description.to_owned() });
    };
    let mut campaign_ids = BTreeSet::new();
    for (i, campaign) in campaigns.iter().enumerate() {
        if campaign.campaign_id.as_ref().is_some_and(|campaign_id| !campaign_ids.insert(campaign_id)) {
            fault(format!("program.campaigns[{i}].campaign_id"), "must be unique within the program");
        }
        if campaign.starts_at.zip(campaign.ends_at).is_some_and(|(starts_at, ends_at)| ends_at <= starts_at) {
            fault(format!("program.campaigns[{i}].ends_at"), "must be later than starts_at");
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::super::model::Program;
    use super::super::model::tests::program;
    use super::super::points::{CalendarPeriod, Period};
    use super::*;

    fn outlines(program: &Program) -> (Vec<TierOutline>, Vec<CampaignOutline>) {
        let tiers = program.tiers.iter().map(TierOutline::from).collect();
        (tiers, program.campaigns.iter().map(CampaignOutline::from).collect())
    }

    fn fields(tiers: &[TierOutline], campaigns: &[CampaignOutline]) -> Vec<String> {
        let faults = find_tier_faults(tiers, None).into_iter().chain(find_campaign_faults(campaigns));
        faults.map(|fault| fault.field).collect()
    }

    #[test]
    fn a_sound_document_has_no_faults() {
        let (tiers, campaigns) = outlines(&program());
        assert_eq!(fields(&tiers, &campaigns), [""; 0]);
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let mut bad = program();
        bad.tiers[0].threshold = 1;
        bad.tiers[2].threshold = 20_000;
        bad.tiers[2].tier_id = bad.tiers[1].tier_id.clone();
        bad.campaigns[1].campaign_id = bad.campaigns[0].campaign_id.clone();
        bad.campaigns[1].starts_at = Some(Timestamp::UNIX_EPOCH);
        bad.campaigns[1].ends_at = Some(Timestamp::UNIX_EPOCH);
        let (tiers, campaigns) = outlines(&bad);
        assert_eq!(
            fields(&tiers, &campaigns),
            [
                "program.tiers",
                "program.tiers[2].tier_id",
                "program.tiers[2].threshold",
                "program.campaigns[1].campaign_id",
                "program.campaigns[1].ends_at"
            ]
        );
    }

    #[test]
    fn what_could_not_be_read_hides_no_fault_of_the_rest() {
        let mut bad = program();
        bad.tiers[2].threshold = 20_000;
        bad.campaigns[1].campaign_id = bad.campaigns[0].campaign_id.clone();
        let (mut tiers, campaigns) = outlines(&bad);
        (tiers[2].tier_id, tiers[1].tier_id) = (None, None);
        tiers.insert(2, TierOutline { threshold: None, ..tiers[1].clone() });
        tiers.insert(2, TierOutline { condition: None, ..tiers[1].clone() });
        assert_eq!(fields(&tiers, &campaigns), ["program.tiers[4].threshold", "program.campaigns[1].campaign_id"]);
        tiers[0].threshold = None;
        assert_eq!(fields(&tiers, &[]), ["program.tiers[4].threshold"]);
    }

    #[test]
    fn no_tier_is_reached_whenever_one_anywhere_below_it_is() {
        let (mut tiers, _) = outlines(&program());
        tiers[1].condition = Some(Some(Condition::AtLeast(Metric::Points, 10)));
        tiers[1].threshold = Some(0);
        assert_eq!(fields(&tiers, &[]), [""; 0]);
        // Whoever has ten points has eight: nobody would ever hold the tier that asks for ten.
        let eight = Some(Some(Condition::AtLeast(Metric::Points, 8)));
        tiers.push(TierOutline { condition: eight, threshold: Some(0), ..TierOutline::default() });
        assert_eq!(fields(&tiers, &[]), ["program.tiers[3].condition"]);
    }

    #[test]
    fn no_tier_asks_for_more_days_than_its_window_has() {
        let (mut tiers, _) = outlines(&program());
        let days = |days| Condition::AtLeast(Metric::ActiveDays, days);
        let mut found = |condition: Condition, window: TierWindow| {
            tiers[2].condition = Some(Some(condition));
            let faults = find_tier_faults(&tiers, Some(&window));
            faults.into_iter().map(|fault| format!("{} {}", fault.field, fault.description)).collect::<Vec<_>>()
        };
        let month = TierWindow::Calendar(CalendarPeriod::Month);
        assert_eq!(found(days(31), month.clone()), [""; 0]);
        let expected = ["program.tiers[2].condition can never be met: the window has at most 31 days"];
        assert_eq!(found(days(32), month.clone()), expected);
        assert_eq!(found(Condition::AllOf(vec![days(32), days(1)]), month.clone()), expected);
        let either = Condition::AnyOf(vec![days(32), Condition::AtLeast(Metric::Points, 1)]);
        assert_eq!(found(either, month), [""; 0]);
        for (window, most) in [
            (TierWindow::Rolling(Period::parse("P3M").unwrap()), 92),
            (TierWindow::Rolling(Period::parse("P5Y").unwrap()), 1_827),
            (TierWindow::Rolling(Period::parse("P30D").unwrap()), 30),
            (TierWindow::Calendar(CalendarPeriod::Quarter), 92),
            (TierWindow::Calendar(CalendarPeriod::Half), 184),
            (TierWindow::EnrolmentYear, 366),
        ] {
            assert_eq!(found(days(most), window.clone()), [""; 0], "{window:?}");
            assert_eq!(found(days(most + 1), window.clone()).len(), 1, "{window:?}");
        }
        assert_eq!(found(days(100_000), TierWindow::Lifetime), [""; 0]);
    }
}
