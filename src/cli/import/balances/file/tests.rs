//! Lines that are good, and every kind that is not.

use super::*;

fn setting() -> Setting {
    Setting {
        currency_code: "USD".to_owned(),
        zone: instant::time_zone("America/New_York").unwrap(),
        tier_ids: ["member", "gold"].map(str::to_owned).into(),
        present: None,
    }
}

fn read(text: &str) -> Result<Vec<Line<Entry>>, String> {
    Ok(Lines::from_reader(text.as_bytes(), |header| Columns::find(header, setting()))?.collect())
}

fn lot(points: i64, vesting: Vesting, expiry: Expiry) -> Opening {
    Opening::Lot { points, vesting, expiry }
}

#[test]
fn a_line_is_a_lot_or_a_tier() {
    let text = "line_id,customer_id,points,vests_at,vest_by,expires_at,tier_id,qualifying_spend_usd\n\
                1,c,5,,,,,\n\
                2,c,5,2026-02-01,,never,,\n\
                3,c,5,,2026-02-01T00:00:00Z,2027-01-01,,\n\
                4,c,,,,,gold,12.50\n\
                5,c,,,,,gold,\n";
    let openings: Vec<Opening> =
        read(text).unwrap().into_iter().map(|(_, line)| line.unwrap().into_balance().unwrap().opening).collect();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let tier = |spend: Option<&str>| Opening::Tier {
        tier_id: "gold".to_owned(),
        qualifying_spend: spend.map(|spend| Amount::parse(spend).unwrap()),
    };
    let expected = [
        lot(5, Vesting::AtOnce, Expiry::ByProgram),
        lot(5, Vesting::At(at("2026-02-01T05:00:00Z")), Expiry::Never),
        lot(5, Vesting::OnEventBy(at("2026-02-01T00:00:00Z")), Expiry::At(at("2027-01-01T05:00:00Z"))),
        tier(Some("12.50")),
        tier(None),
    ];
    assert_eq!(openings, expected);
}

#[test]
fn a_header_must_name_lines_customers_and_points_or_tiers() {
    for (header, missing) in [
        ("customer_id,points", "no column line_id"),
        ("line_id,points", "no column customer_id"),
        ("line_id,customer_id", "no column points or tier_id"),
        ("line_id,customer_id,tier_id,qualifying_spend_eur", "not in the program's currency"),
        ("line_id,customer_id,points,points", "more than one column points"),
    ] {
        let problem = read(&format!("{header}\n")).unwrap_err();
        assert!(problem.contains(missing), "{problem}");
    }
    assert_eq!(read("line_id,customer_id,tier_id\n1,c,gold\n").unwrap().len(), 1);
}

#[test]
fn a_file_is_surveyed_with_every_bad_line() {
    let text = "line_id,customer_id,points,vests_at,vest_by,expires_at,tier_id,qualifying_spend\n\
                1,c,5,,,,,\n\
                2,c,5,,,,gold,\n\
                3,c,,,,,,\n\
                4,c,0,,,,,\n\
                5,c,1.5,,,,,\n\
                6,c,1,2026-01-01,2026-01-01,,,\n\
                7,c,1,soon,,,,\n\
                8,c,1,,,,,3\n\
                9,c,,,,never,gold,\n\
                10,c,,,,,diamond,\n\
                11,c,,,,,gold,-1\n\
                1,d,6,,,,,\n\
                1,c,7,,,,,\n\
                ,c,7,,,,,\n\
                12,c,,,,,gold,1\n";
    let survey = Survey::of(read(text).unwrap().into_iter());
    assert_eq!(survey.count, Count { lines: 15, points: 18 });
    assert_eq!(survey.tiers, BTreeMap::from([("gold".to_owned(), 1)]));
    assert_eq!(survey.bad.count(), 12);
    let list = survey.bad.list();
    for line in [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15] {
        assert!(list.contains(&format!("\n  line {line}: ")), "{line} in {list}");
    }
    assert!(list.contains("line 14: line_id 1 of c is on line 2 already"), "{list}");
    assert!(list.contains("line 6: points is 1.5, not a whole number above zero"), "{list}");
}

#[test]
fn every_reason_of_a_bad_line_is_told() {
    let text = "line_id,customer_id,points,vests_at,vest_by,expires_at,tier_id,qualifying_spend\n\
                1,c,5,,,,,\n\
                1,c,0,soon,2026-01-01,2025-01-01,diamond,-1\n\
                ,,,,2026-01-01,,,3\n\
                2,c,x,2026-02-01,,2026-01-01,,\n\
                2,c,1\n";
    let present = "2026-01-01T05:00:00Z".parse().unwrap();
    let lines = Lines::from_reader(text.as_bytes(), |header| Columns::find(header, setting().at(present))).unwrap();
    let expected = "
  line 3: points is 0, not a whole number above zero; has vests_at and vest_by, which exclude each other; \
                    vests_at is soon, not a day such as 1997-01-18 or an instant; vest_by is 2026-01-01T05:00:00Z, \
                    which has passed; expires_at is 2025-01-01T05:00:00Z, which has passed; the program has no tier \
                    diamond; qualifying_spend is -1, below zero; has both points and a tier_id: give each a line of \
                    its own; line_id 1 of c is on line 2 already
  line 4: line_id is empty; customer_id is empty; has a qualifying_spend without a tier_id; has terms of points \
                    without points; has neither points nor a tier_id
  line 5: points is x, not a whole number above zero; expires_at is 2026-01-01T05:00:00Z, which must be later than \
                    vests_at, 2026-02-01T05:00:00Z; expires_at is 2026-01-01T05:00:00Z, which has passed
  line 6: has no tier_id: the line is too short; line_id 2 of c is on line 5 already";
    assert_eq!(Survey::of(lines).bad.list(), expected);
}

#[test]
fn what_cannot_be_read_of_a_line_is_told_once_and_judged_with_nothing_else() {
    let bytes = b"line_id,customer_id,points,expires_at\n1,c\n2\n3,c,\xff,never\n";
    let lines = Lines::from_reader(&bytes[..], |header| Columns::find(header, setting())).unwrap();
    let expected = "
  line 2: has no points: the line is too short
  line 3: has no customer_id: the line is too short
  line 4: points is not UTF-8";
    assert_eq!(Survey::of(lines).bad.list(), expected);
}

#[test]
fn what_the_service_would_refuse_is_told_before_it_is_sent() {
    let header = "line_id,customer_id,points,vests_at,vest_by,expires_at,tier_id,qualifying_spend\n";
    let told = |line: &str, setting: Setting| {
        let text = format!("{header}1,c,{line}\n");
        let mut lines = Lines::from_reader(text.as_bytes(), |header| Columns::find(header, setting)).unwrap();
        lines.next().unwrap().1.and_then(Entry::into_balance).err().unwrap_or_default()
    };
    for (line, why) in [
        ("1000000000000,,,,,", ""),
        ("1000000000001,,,,,", "more than the most of one lot, 1000000000000"),
        ("9223372036854775808,,,,,", "more than the most of one lot, 1000000000000"),
        ("1,,,9999-12-31,,", "expires_at is 9999-12-31, later than 9999-01-01T00:00:00Z"),
        ("1,,,9999-06-01,,", "of points that do not expire it is never"),
        ("1,,9999-12-31,,,", "vest_by is 9999-12-31, later than 9999-01-01T00:00:00Z, the last instant allowed"),
        ("1,2026-02-01,,2026-02-02,,", ""),
        ("1,2026-02-01,,2026-02-01,,", "must be later than vests_at, 2026-02-01T05:00:00Z"),
        (",,,,gold,1.50", ""),
        (",,,,gold,1.500", ""),
        (",,,,gold,1.005", "qualifying_spend is 1.005, but must be exact in the currency's minor unit"),
        (",,,,gold,92233720368547758.08", "but is larger than can be counted"),
    ] {
        let problem = told(line, setting());
        assert!(problem.contains(why) && problem.is_empty() == why.is_empty(), "{line}: {problem}");
    }
    let present: Timestamp = "2026-02-01T05:00:00Z".parse().unwrap();
    for (line, name) in [("1,,2026-02-01,,,", "vest_by"), ("1,,,2026-02-01,,", "expires_at")] {
        assert_eq!(told(line, setting()), "");
        assert_eq!(told(line, setting().at(present)), format!("{name} is {present}, which has passed"));
        assert_eq!(told(&line.replace("01,", "02,"), setting().at(present)), "");
    }
}
