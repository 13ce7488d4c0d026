use jiff::civil::date;

use super::*;
use crate::programs::model::tests::program;

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn months_are_those_of_the_programs_time_zone() {
    let zone = program().time_zone.0;
    // It is still March in New York.
    let months = Months::until(instant("2026-04-01T03:59:59.999999Z"), 3, &zone);
    assert_eq!(months.first_days, [date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)]);
    let places =
        ["2026-01-01T04:59:59Z", "2026-01-01T05:00:00Z", "2026-03-01T04:59:59.999999Z", "2026-03-01T05:00:00Z"];
    let places = places.map(|text| months.place_of(instant(text)));
    assert_eq!(places, [None, Some(0), Some(1), Some(2)]);
    assert_eq!(Months::until(instant("2026-04-01T04:00:00Z"), 1, &zone).first_days, [date(2026, 4, 1)]);
}

#[test]
fn tiers_that_the_program_has_no_more_stand_behind_the_others() {
    let (program, at) = (program(), instant("2026-04-01T04:00:00Z"));
    let months = Months::until(at, 1, &program.time_zone.0);
    let version = ProgramVersion { program, version: 1, applied_at: at, effective_from: at };
    let survey = Survey { version, at, horizon: at, months };
    let mut tally = Tally::default();
    for tier_id in ["gold", "bronze", "gold", "member"] {
        tally.add(&Standing::new(tier_id.try_into().unwrap(), at, 1, None), None);
    }
    let told: Vec<(String, i64)> =
        tally.tiers(&survey).into_iter().map(|(tier_id, count)| (tier_id.to_string(), count.customers)).collect();
    let expected = [("member", 1), ("silver", 0), ("gold", 2), ("bronze", 1)];
    assert_eq!(told, expected.map(|(tier_id, count)| (tier_id.to_owned(), count)));
}
