//! The calendar of points, by example and against the clocks of many zones.

use jiff::civil::date;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const NEW_YORK: &str = "America/New_York";
const PERIODS: [CalendarPeriod; 6] = [
    CalendarPeriod::Day,
    CalendarPeriod::Week,
    CalendarPeriod::Month,
    CalendarPeriod::Quarter,
    CalendarPeriod::Half,
    CalendarPeriod::Year,
];

/// Zones of every kind: ordinary ones, without midnights, with midnights that come twice, a skipped day, odd offsets.
const ZONES: [&str; 10] = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "America/Sao_Paulo",
    "Africa/Cairo",
    "America/Havana",
    "America/St_Johns",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
];

impl CalendarPeriod {
    /// When the period began that an instant lies in.
    fn start_of(self, instant: Timestamp, time_zone: &TimeZone) -> Timestamp {
        self.begins_at(self.first_day_at(instant, time_zone), time_zone).unwrap_or(instant)
    }
}

fn zone(name: &str) -> TimeZone {
    crate::programs::model::Zone::try_from(name.to_owned()).unwrap().0
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn period(text: &str) -> Period {
    Period::parse(text).unwrap()
}

fn after(text: &str, round_to: Option<CalendarPeriod>) -> ExpiryRule {
    ExpiryRule::After { period: period(text), round_to }
}

/// When points that vest at an instant expire, by clocks in New York.
fn expiry_in_new_york(expiry: &ExpiryRule, vested_at: &str) -> Timestamp {
    expiry.of(at(vested_at), &zone(NEW_YORK)).unwrap()
}

#[test]
fn a_month_from_the_31st_of_january_ends_with_february() {
    for (vested_at, expires_at) in [
        ("2026-01-31T12:00:00-05:00", "2026-03-01T00:00:00-05:00"),
        ("2028-01-31T12:00:00-05:00", "2028-03-01T00:00:00-05:00"),
        // 28 January is the same day of February in every year, and 29 January has one in leap years only.
        ("2028-01-28T23:59:59-05:00", "2028-02-29T00:00:00-05:00"),
        ("2028-01-29T00:00:00-05:00", "2028-03-01T00:00:00-05:00"),
        ("2026-01-29T00:00:00-05:00", "2026-03-01T00:00:00-05:00"),
    ] {
        assert_eq!(expiry_in_new_york(&after("P1M", None), vested_at), at(expires_at), "{vested_at}");
    }
    let leap_day = expiry_in_new_york(&after("P1Y", None), "2028-02-29T08:00:00-05:00");
    assert_eq!(leap_day, at("2029-03-01T00:00:00-05:00"));
}

#[test]
fn the_day_of_expiry_is_the_programs_and_not_that_of_utc() {
    // 01:30 UTC on 1 February is still 31 January in New York.
    assert_eq!(expiry_in_new_york(&after("P1M", None), "2026-02-01T01:30:00Z"), at("2026-03-01T00:00:00-05:00"));
}

#[test]
fn an_expiry_is_rounded_to_the_end_of_its_calendar_period() {
    let vested_at = "2026-02-10T12:00:00-05:00";
    for (round_to, expires_at) in [
        (CalendarPeriod::Day, "2026-05-11T00:00:00-04:00"),
        // 10 May is a Sunday, the last day of its week.
        (CalendarPeriod::Week, "2026-05-11T00:00:00-04:00"),
        (CalendarPeriod::Month, "2026-06-01T00:00:00-04:00"),
        (CalendarPeriod::Quarter, "2026-07-01T00:00:00-04:00"),
        (CalendarPeriod::Year, "2027-01-01T00:00:00-05:00"),
    ] {
        let expiry = after("P3M", Some(round_to));
        assert_eq!(expiry_in_new_york(&expiry, vested_at), at(expires_at), "{round_to:?}");
    }
    let to_the_year = after("PT1H", Some(CalendarPeriod::Year));
    assert_eq!(expiry_in_new_york(&to_the_year, "2026-12-31T22:59:59-05:00"), at("2027-01-01T00:00:00-05:00"));
    assert_eq!(expiry_in_new_york(&to_the_year, "2026-12-31T23:00:00-05:00"), at("2028-01-01T00:00:00-05:00"));
}

#[test]
fn days_keep_the_local_time_when_the_clocks_change_and_hours_do_not() {
    let new_york = zone(NEW_YORK);
    for (from, days, hours, day_length) in [
        ("2026-03-07T12:00:00-05:00", "2026-03-08T12:00:00-04:00", "2026-03-08T13:00:00-04:00", 23),
        ("2026-10-31T12:00:00-04:00", "2026-11-01T12:00:00-05:00", "2026-11-01T11:00:00-05:00", 25),
    ] {
        assert_eq!(period("P1D").after(at(from), &new_york), at(days), "{from}");
        assert_eq!(period("PT24H").after(at(from), &new_york), at(hours), "{from}");
        let day = CalendarPeriod::Day;
        let length = day.end_of(at(days), &new_york).duration_since(day.start_of(at(days), &new_york));
        assert_eq!(length.as_hours(), day_length, "{from}");
    }
    // 02:30 does not exist on 8 March and is read by the clocks before; on 1 November, 01:30 comes twice.
    assert_eq!(period("P1D").after(at("2026-03-07T02:30:00-05:00"), &new_york), at("2026-03-08T03:30:00-04:00"));
    assert_eq!(period("P1D").after(at("2026-10-31T01:30:00-04:00"), &new_york), at("2026-11-01T01:30:00-04:00"));
    let expiry = after("P1M", None);
    assert_eq!(expiry_in_new_york(&expiry, "2026-02-08T02:30:00-05:00"), at("2026-03-09T00:00:00-04:00"));
    assert_eq!(expiry_in_new_york(&expiry, "2026-10-01T01:30:00-04:00"), at("2026-11-02T00:00:00-05:00"));
}

#[test]
fn a_period_of_hours_ends_to_the_instant() {
    let vested_at = "2026-02-10T12:34:56.789012Z";
    assert_eq!(expiry_in_new_york(&after("PT12H", None), vested_at), at("2026-02-11T00:34:56.789012Z"));
    assert_eq!(expiry_in_new_york(&after("P1DT0.000001S", None), vested_at), at("2026-02-11T12:34:56.789013Z"));
    let to_the_day = after("PT12H", Some(CalendarPeriod::Day));
    assert_eq!(expiry_in_new_york(&to_the_day, vested_at), at("2026-02-11T00:00:00-05:00"));
}

#[test]
fn a_day_without_midnight_begins_as_the_clocks_skip_it() {
    for (name, noon, start, end) in [
        ("America/Sao_Paulo", "2018-11-04T12:00:00-02:00", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
        ("Africa/Cairo", "2026-04-24T12:00:00+03:00", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"),
        // From 23:30 to 00:30: the day begins half an hour past the missing midnight.
        ("America/Toronto", "1919-03-31T12:00:00-04:00", "1919-03-31T04:30:00Z", "1919-04-01T04:00:00Z"),
        // Samoa went over the date line, and had no 30 December.
        ("Pacific/Apia", "2011-12-29T12:00:00-10:00", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"),
        ("Pacific/Apia", "2011-12-31T12:00:00+14:00", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"),
    ] {
        let found =
            (CalendarPeriod::Day.start_of(at(noon), &zone(name)), CalendarPeriod::Day.end_of(at(noon), &zone(name)));
        assert_eq!(found, (at(start), at(end)), "{name}");
    }
    let the_day_before = after("P1M", None).of(at("2018-10-03T12:00:00-03:00"), &zone("America/Sao_Paulo"));
    assert_eq!(the_day_before, Some(at("2018-11-04T01:00:00-02:00")));
}

#[test]
fn a_day_begins_at_the_first_of_two_midnights() {
    let havana = |text| CalendarPeriod::Day.start_of(at(text), &zone("America/Havana"));
    assert_eq!(havana("2026-11-01T00:30:00-05:00"), at("2026-11-01T00:00:00-04:00"));
    // In Newfoundland the clocks went back at 00:01, and showed 27 October again after the 28th had begun.
    let st_johns = zone("America/St_Johns");
    let again = at("1990-10-27T23:30:00-03:30");
    assert_eq!(CalendarPeriod::Day.start_of(again, &st_johns), at("1990-10-28T00:00:00-02:30"));
    assert_eq!(CalendarPeriod::Day.end_of(again, &st_johns), at("1990-10-29T00:00:00-03:30"));
}

#[test]
fn weeks_begin_on_monday_and_quarters_with_their_first_month() {
    let utc = TimeZone::UTC;
    for day in 19..=25 {
        let instant = date(2026, 1, day).at(12, 0, 0, 0).to_zoned(utc.clone()).unwrap().timestamp();
        assert_eq!(CalendarPeriod::Week.start_of(instant, &utc), at("2026-01-19T00:00:00Z"));
        assert_eq!(CalendarPeriod::Week.end_of(instant, &utc), at("2026-01-26T00:00:00Z"));
    }
    for month in 1..=12 {
        let instant = date(2026, month, 15).at(12, 0, 0, 0).to_zoned(utc.clone()).unwrap().timestamp();
        let first = date(2026, [1, 4, 7, 10][usize::try_from(month - 1).unwrap() / 3], 1);
        let start = CalendarPeriod::Quarter.start_of(instant, &utc);
        assert_eq!(start.to_zoned(utc.clone()).date(), first);
    }
}

#[test]
fn a_period_is_upper_case_iso_8601_above_zero_and_at_most_a_hundred_years() {
    for good in ["P1Y", "P18M", "P2W", "P90D", "PT12H", "P1Y2M3DT4H5M6.5S", "PT0.000001S", "P100Y", "PT876600H"] {
        assert_eq!(period(good).to_string(), good);
    }
    assert!(Period::parse("P101Y").unwrap_err().contains("at most 100 years"));
    for bad in [
        "",
        "P",
        "PT",
        "P0D",
        "PT0S",
        "P0Y",
        "-P1D",
        "+P1D",
        "P-1D",
        "P1",
        "1D",
        "1 year",
        "P1y",
        "p1Y",
        "P1d",
        "pt1h",
        "P1DT",
        " P1D",
        "P1D ",
        "P 1D",
        "P1D1Y",
        "PD",
        "PT1D",
        "P1.5Y",
        "P1H",
        "PT0.0000001S",
        "PT0.0000010001S",
        "PT0.333333333H",
        "P100Y1D",
        "P100YT0.000001S",
        "P1200M1D",
        "PT876601H",
        "P9999Y",
        "P99999999999999999999Y",
        "P١D",
        "P1D/P1D",
        "garbage",
    ] {
        assert!(Period::parse(bad).is_err(), "{bad:?} is {:?}", Period::parse(bad));
    }
}

#[test]
fn nothing_lasts_beyond_the_end_of_time() {
    assert_eq!(END_OF_TIME, at("9999-01-01T00:00:00Z"));
    let late = at("9998-12-31T12:00:00Z");
    for name in ZONES {
        assert_eq!(period("P100Y").after(late, &zone(name)), END_OF_TIME);
        assert_eq!(after("P1Y", Some(CalendarPeriod::Year)).of(late, &zone(name)), Some(END_OF_TIME));
        for period in PERIODS {
            assert!(period.end_of(late, &zone(name)) <= END_OF_TIME);
        }
    }
}

#[test]
fn reinstatement_is_open_until_before_its_end_and_lasts_whole_days() {
    let new_york = zone(NEW_YORK);
    let reinstatement = Reinstatement { within: period("P30D"), valid_for: period("P14D") };
    let expired_at = at("2026-03-01T00:00:00-05:00");
    assert!(reinstatement.is_open(expired_at, at("2026-03-30T23:59:59-04:00"), &new_york));
    assert!(!reinstatement.is_open(expired_at, at("2026-03-31T00:00:00-04:00"), &new_york));
    let expires_at = reinstatement.expiry_of(at("2026-03-10T09:00:00-04:00"), &new_york);
    assert_eq!(expires_at, at("2026-03-25T00:00:00-04:00"));
}

/// A policy with everything in it.
fn full() -> PointsPolicy {
    PointsPolicy {
        vesting: VestingRule::After(period("P14D")),
        expiry: after("P1Y", Some(CalendarPeriod::Quarter)),
        redemption: RedemptionLimits { minimum: Some(100), step: Some(50), maximum: Some(10_000) },
        earning: EarningLimits {
            per_transaction: Some(5_000),
            per_period: vec![PeriodCap { period: CalendarPeriod::Week, points: 9_000 }],
        },
        reinstatement: Some(Reinstatement { within: period("P30D"), valid_for: period("P90D") }),
        clawback: Clawback::WithinBalance,
        hold_for: Some(period("PT36H")),
        point_value: Some(Rate::parse("0.01").unwrap()),
    }
}

#[test]
fn a_policy_reads_back_from_json_and_one_that_was_never_said_is_the_default() {
    let instant = at("2026-01-01T00:00:00.000001Z");
    let rules = [
        (VestingRule::Immediate, ExpiryRule::Never),
        (VestingRule::At(instant), ExpiryRule::At(instant)),
        (VestingRule::OnEvent(period("P30D")), ExpiryRule::Sliding(period("P18M"))),
        (VestingRule::After(period("PT1.5S")), after("P1Y", None)),
    ];
    let mut policies: Vec<PointsPolicy> =
        rules.into_iter().map(|(vesting, expiry)| PointsPolicy { vesting, expiry, ..full() }).collect();
    policies.push(PointsPolicy::default());
    policies.push(full());
    for policy in policies {
        let json = serde_json::to_value(&policy).unwrap();
        assert_eq!(serde_json::from_value::<PointsPolicy>(json).unwrap(), policy);
    }
    let nothing = serde_json::from_value::<PointsPolicy>(serde_json::json!({})).unwrap();
    assert_eq!(nothing, PointsPolicy::default());
    assert!(serde_json::from_value::<PointsPolicy>(serde_json::json!({ "hold_for": "P0D" })).is_err());
    assert!(serde_json::from_value::<PointsPolicy>(serde_json::json!({ "holding": "P1D" })).is_err());
    period(DEFAULT_HOLD);
}

/// Instants of 1900 to 2100 to the microsecond, many of them near a local midnight or a change of the clocks.
fn instant(name: &'static str) -> impl Strategy<Value = Timestamp> {
    let anywhere = -2_208_988_800_000_000_i64..4_102_444_800_000_000;
    let near = -7_200_000_000_i64..7_200_000_000;
    (anywhere, near, select(&[0, 1, 2][..])).prop_map(move |(micros, near, kind)| {
        let instant = Timestamp::from_microsecond(micros).unwrap();
        let zone = zone(name);
        let anchor = match kind {
            1 => CalendarPeriod::Month.start_of(instant, &zone),
            2 => zone.following(instant).next().map_or(instant, |transition| transition.timestamp()),
            _ => return instant,
        };
        Timestamp::from_microsecond(anchor.as_microsecond() + near).unwrap()
    })
}

fn zone_and_instant() -> impl Strategy<Value = (&'static str, Timestamp)> {
    select(&ZONES[..]).prop_flat_map(|name| (Just(name), instant(name)))
}

proptest! {
    #[test]
    fn every_instant_lies_in_one_period_and_periods_tile(
        (name, instant) in zone_and_instant(), period in select(&PERIODS[..])
    ) {
        let zone = zone(name);
        let (start, end) = (period.start_of(instant, &zone), period.end_of(instant, &zone));
        prop_assert!(start <= instant && instant < end, "{start} <= {instant} < {end}");
        let tick = jiff::SignedDuration::from_micros(1);
        for inside in [start, end - tick] {
            prop_assert_eq!((period.start_of(inside, &zone), period.end_of(inside, &zone)), (start, end));
        }
        prop_assert_eq!(period.start_of(end, &zone), end);
        prop_assert_eq!(period.end_of(start - tick, &zone), start);
    }

    #[test]
    fn longer_periods_hold_shorter_ones((name, instant) in zone_and_instant()) {
        use CalendarPeriod::{Day, Half, Month, Quarter, Week, Year};
        let zone = zone(name);
        for (short, long) in [(Day, Week), (Day, Month), (Month, Quarter), (Quarter, Half), (Half, Year)] {
            prop_assert!(long.start_of(instant, &zone) <= short.start_of(instant, &zone));
            prop_assert!(short.end_of(instant, &zone) <= long.end_of(instant, &zone));
        }
    }

    #[test]
    fn a_day_is_what_the_local_calendar_shows_at_its_noon((name, instant) in zone_and_instant()) {
        let zone = zone(name);
        let (start, end) = (CalendarPeriod::Day.start_of(instant, &zone), CalendarPeriod::Day.end_of(instant, &zone));
        let middle = start + end.duration_since(start) / 2;
        let day = zone.to_datetime(middle).date();
        prop_assert_eq!(zone.to_datetime(start).date(), day);
        prop_assert!(zone.to_datetime(end).date() > day);
    }

    #[test]
    fn a_period_that_was_written_reads_back(
        years in 0..50_u32, months in 0..100_u32, weeks in 0..100_u32, days in 0..100_u32,
        hours in 0..100_u32, minutes in 0..100_u32, micros in 0..100_000_000_u32
    ) {
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        let text = format!("P{years}Y{months}M{weeks}W{days}DT{hours}H{minutes}M{seconds}.{fraction:06}S");
        prop_assume!(years + months + weeks + days + hours + minutes + micros > 0);
        let read = period(&text);
        prop_assert_eq!(&period(&read.to_string()), &read);
        let json = serde_json::to_string(&read).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Period>(&json).unwrap(), &read);
    }

    #[test]
    fn points_expire_after_they_vest((name, instant) in zone_and_instant(), text in select(&["PT1S", "P1D", "P1M", "P1Y"][..])) {
        let zone = zone(name);
        for round_to in [None, Some(CalendarPeriod::Day), Some(CalendarPeriod::Quarter)] {
            let expires_at = after(text, round_to).of(instant, &zone).unwrap();
            prop_assert!(expires_at > instant && expires_at >= period(text).after(instant, &zone));
        }
    }
}
