//! Documents come back from the wire as they were written.

use super::super::check::read_sound;
use super::*;

const DOCUMENT: &str = r#"program_id = "shop"
display_name = "Shop"
currency = "USD"
time_zone = "America/New_York"
points_per_unit = "1.5"

[retention]
notes_days = 365
dossier_days = 1095

[satisfaction]
minimum_answers = 12

[satisfaction.acsi_weights]
satisfaction = "0.5"
expectation = "0.25"
ideal = "0.25"

[[satisfaction.factors]]
factor_id = "delivery"
display_name = "Delivery"

[complaints.hours]
monday = ["09:00-12:00", "13:00-17:30"]
saturday = ["20:00-24:00"]

[[complaints.special_days]]
date = "2026-12-25"

[[complaints.special_days]]
date = "2026-12-24"
hours = ["09:00-12:00"]

[[complaints.categories]]
category_id = "delivery"
display_name = "Delivery"

[[complaints.deadlines]]
category_ids = ["delivery"]
priorities = ["low", "high"]
value_class_ids = ["best"]

[complaints.deadlines.acknowledgement]
business_hours = 4

[complaints.deadlines.answer]
business_days = 5

[[complaints.deadlines]]

[complaints.deadlines.resolution]
weeks = 8

[complaints.deadlines.extended_resolution]
days = 90

[goodwill]
most_at_once = 2000

[[goodwill.limits]]
of = "person"
period = "day"
points = 10000

[[goodwill.limits]]
of = "customer"
period = "year"
points = 5000

[[goodwill.benefits]]
benefit_id = "day-pass"
quantity = 2
valid_for = "P90D"
points = 1500

[lifecycle]
lapsed_after_days = 120
lost_after_days = 365

[lifecycle.client]
purchases = 5
spend = "500.00"

[lifecycle.advocate]
referrals = 1
satisfaction = 4

[lifecycle.at_risk]
after_days = 60
satisfaction_at_most = 2
open_complaints = 1

[lifecycle.cuts]
recommends_from = 8
rare_after_days = 90

[value_classes]
measure = "spend"
each = "month"
periods = 6
falls_after = 2

[value_classes.levels]
many_customers = 1000
few_customers = 50
high_margin = "100.00"
low_margin = "10.00"

[[value_classes.classes]]
class_id = "best"
display_name = "Best"
least = "500.00"
keep_least = "400.00"
level = "partner"

[[value_classes.classes]]
class_id = "rest"
display_name = "Rest"

[[segments]]
segment_id = "everything"
display_name = "Everything at once"

[[segments.clauses]]
tiers = ["silver"]
negated = true

[[segments.clauses]]
value_classes = ["best", "rest"]

[[segments.clauses]]
levels = ["basic", "partner"]

[[segments.clauses]]
stages = ["at_risk", "won_back"]

[[segments.clauses]]
attribute = "sport"
values = ["golf", "tennis"]

[[segments.clauses]]
attribute = "shoe size"

[[segments.clauses]]
languages = ["de", "pt-BR"]

[[segments.clauses]]
region_codes = ["DE"]

[[segments.clauses]]
interests = ["chess"]

[[segments.clauses]]
amount = "spend"
at_least = "500.00"
at_most = "2000.00"
days = 365

[[segments.clauses]]
amount = "margin"
at_most = "-1.50"

[[segments.clauses]]
count = "purchases"
at_least = 3
days = 90

[[segments.clauses]]
count = "satisfaction"
at_most = 2

[[segments.clauses]]
since = "last_purchase"
at_least_days = 60
at_most_days = 180

[[segments.clauses]]
coming = "birthday"
within_days = 14

[[segments.clauses]]
important_date = "wedding"
within_days = 1

[[segments.clauses]]
consents = ["email", "push"]

[[tiers]]
tier_id = "member"
display_name = "Member"
threshold = "0.00"

[[tiers.benefits]]
benefit_id = "news"
display_name = "News"
description = "Told first."

[[tiers]]
tier_id = "silver"
display_name = "Silver"
threshold = "200.00"

[[campaigns]]
campaign_id = "friends"
display_name = "Friends"
starts_at = "2026-03-01T05:00:00Z"
conversion = "first_purchase"
minimum_purchase = "10.00"
convert_within_days = 90
referrer_points = 500
referee_points = 250

[[campaigns]]
campaign_id = "partners"
display_name = "Partners"
conversion = "manual"

[[extras]]
benefit_id = "day-pass"
display_name = "A day in the lounge"
description = "For one who waited."

[extras.kind]
pass = "lounge"

[extras.quota]
limit = 1
per = "lifetime"

[[packages]]
package_id = "box"
display_name = "Box"
description = "For those who come far."
occasion = "tier_reached"
tier_ids = ["silver"]
points = 50

[[packages.benefits]]
benefit_id = "news"
tier_id = "member"
quantity = 2
valid_for = "P90D"

[[packages]]
package_id = "day"
display_name = "Day"
occasion = "birthday"

[[packages.benefits]]
benefit_id = "day-pass"
"#;

fn written(program: Program) -> String {
    Document::from_proto(program).unwrap().to_toml().unwrap()
}

#[test]
fn a_document_comes_back_from_the_wire_as_it_was_written() {
    let program = read_sound(DOCUMENT).unwrap();
    assert_eq!(program.tiers[1].threshold.as_ref().unwrap().units, 200);
    assert_eq!(program.campaigns[0].starts_at.unwrap().seconds, 1_772_341_200);
    assert_eq!(program.campaigns[1].conversion(), Conversion::Manual);
    assert_eq!(program.retention.unwrap().dossier_days, Some(1_095));
    assert_eq!(written(program), DOCUMENT);
}

#[test]
fn every_example_is_a_document_that_survives_the_wire() {
    let examples = [
        include_str!("../../../../examples/cdnow/program.toml"),
        include_str!("../../../../examples/programs/airline.toml"),
        include_str!("../../../../examples/programs/cafe.toml"),
        include_str!("../../../../examples/programs/shop.toml"),
    ];
    for example in examples {
        let program = read_sound(example).unwrap();
        let again = read_sound(&written(program.clone())).unwrap();
        assert_eq!(written(again), written(program));
    }
}

#[test]
fn instants_may_be_written_with_and_without_quotes() {
    for form in ["\"2026-03-01T00:00:00-05:00\"", "2026-03-01T00:00:00-05:00", "2026-03-01T05:00:00Z"] {
        let text = DOCUMENT.replace("\"2026-03-01T05:00:00Z\"", form);
        assert_eq!(read_sound(&text), read_sound(DOCUMENT), "{form}");
    }
}
