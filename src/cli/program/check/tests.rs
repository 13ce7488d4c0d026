//! Documents with mistakes of every kind, and what is told of them.

use proptest::prelude::*;

use super::super::document::Document;
use super::*;

/// Sound documents, each in a style of its own.
const SOUND: [&str; 4] = [
    include_str!("../../../../examples/cdnow/program.toml"),
    include_str!("../../../../examples/programs/airline.toml"),
    include_str!("../../../../examples/programs/cafe.toml"),
    include_str!("../../../../examples/programs/shop.toml"),
];

fn mistakes(text: &str) -> Vec<String> {
    Checked::of(text.to_owned()).mistakes("shop.toml".as_ref())
}

/// A document with mistakes of every kind.
const MISTAKEN: &str = include_str!("mistaken.toml");

#[test]
#[expect(clippy::too_many_lines, reason = "each mistake is a line of its own")]
fn every_mistake_is_told_at_once_with_its_line_in_the_documents_words() {
    let expected = [
        r#"1:14: program_id must be 1 to 63 characters of a-z, 0-9 and '-', and must not begin with '-'"#,
        r#"3:12: currency must be the three-letter ISO 4217 code of a currency, such as EUR"#,
        r#"4:13: time_zone must be an IANA time zone, such as Europe/Berlin"#,
        r#"5:19: points_per_unit must be a decimal in quotes, such as "1" or "0.125""#,
        "6:1: unknown key \"colour\"; known are program_id, display_name, currency, time_zone, points_per_unit, points, \
         retention, tier_policy, tiers, campaigns, extras, packages, satisfaction, complaints, goodwill, lifecycle, \
         value_classes, segments",
        "9:12: points.hold_for must be an ISO 8601 period above zero, in whole microseconds and of at most 100 years, \
         such as P1Y, P90D or PT12H",
        r#"10:27: points.expiry: unknown key "round"; did you mean "round_to"?"#,
        r#"10:35: points.expiry.round_to must be "day", "week", "month", "quarter", "half" or "year""#,
        r#"17:10: points.earning.per_period[2].period must be unique among the caps"#,
        "22:11: tier_policy.upgrade can be at the end of a period only if the window is a calendar period or the \
         enrolment year",
        "23:8: tier_policy.kept must be \"always\", \"while_condition_holds\", \"until_end_of_period\", \
         \"until_end_of_next_period\" or { for = \"P1Y\" }",
        r#"32:1: tiers[2] "gold": unknown key "treshold"; did you mean "threshold"?"#,
        r#"34:1: tiers[3] "silver": display_name is missing"#,
        r#"36:13: tiers[3] "silver": threshold must be above the threshold of tier gold, which comes before it"#,
        r#"39:11: tiers[4] "gold": tier_id must be unique within the program"#,
        "41:72: tiers[4] \"gold\": condition.any_of[3]: unknown key \"visits\"; known are spend, margin, points, \
         purchases, active_days, referrals, all_of, any_of",
        r#"46:13: tiers[5] "daily": condition can never be met: the window has at most 366 days"#,
        r#"50:16: tiers[5] "daily": benefits[1] "lounge": display_name must be set"#,
        r#"56:11: campaigns[1] "friends": ends_at must be later than starts_at"#,
        r#"57:14: campaigns[1] "friends": conversion must be "first_purchase" or "manual""#,
        r#"58:20: campaigns[1] "friends": minimum_purchase must be a decimal in quotes, such as "10.00""#,
        r#"59:1: campaigns[1] "friends": unknown key "refere_points"; did you mean "referee_points"?"#,
        r#"59:17: campaigns[1] "friends": referee_points must be from 0 to 1,000,000,000,000"#,
        r#"62:15: campaigns[2] "friends": campaign_id must be unique within the program"#,
        r#"69:9: extras[1] "pass": quota must be for a lifetime: a grant is used up once and for all"#,
        r#"72:14: extras[2] "pass": benefit_id must be unique among the extras"#,
        r#"74:33: extras[2] "pass": kind.earn_rate_multiplier must be of a tier: purchases earn by the tier alone"#,
        r#"79:1: packages[1] "box": unknown key "ocasion"; did you mean "occasion"?"#,
        r#"80:21: packages[1] "box": tier_ids[2] must be a tier of the program; there is none with the id golt"#,
        r#"81:10: packages[1] "box": points must be a whole number"#,
        r#"84:14: packages[2] "box": package_id must be unique within the program"#,
        r#"86:12: packages[2] "box": occasion must be "tier_reached", "birthday" or "enrolment_anniversary""#,
        r#"87:47: packages[2] "box": benefits[1] "cake": quantity must be from 1 to 1,000,000"#,
        "87:62: packages[2] \"box\": benefits[1] \"cake\": valid_for must be an ISO 8601 period above zero, in whole \
         microseconds and of at most 100 years, such as P1Y, P90D or PT12H",
        "93:12: packages[3] \"bag\": tier_ids must have no tier in common with the package box, which is for the same \
         occasion",
        "94:28: packages[3] \"bag\": benefits[1] \"pass\": benefit_id must be a benefit of the tier daily; there is none \
         with the id pass",
        "97:19: satisfaction.minimum_answers must be a whole number",
        "98:46: satisfaction.acsi_weights.ideal must be a decimal in quotes, such as \"1\" or \"0.125\"",
        "99:1: satisfaction: unknown key \"weight\"; known are factors, minimum_answers, acsi_weights",
        "101:1: satisfaction.factors[1] \"price\": display_name is missing",
        "105:13: satisfaction.factors[2] \"price\": factor_id must be unique within the program",
        "109:36: complaints.hours.monday[2] must not begin before the hours in front of it have ended",
        "109:51: complaints.hours.monday[3] must be hours of a day, such as 09:00-17:30; the last may end at 24:00",
        "109:71: complaints.hours.tuesday must be a list",
        r#"109:86: complaints.hours: unknown key "fryday"; did you mean "friday"?"#,
        "110:49: complaints.special_days[2].date must be unique among the special days",
        "110:72: complaints.special_days[2].hours[1] must be hours of a day, such as 09:00-17:30; the last may \
         end at 24:00",
        "110:92: complaints.special_days[3].date must be a date, such as 2026-12-25",
        "110:107: complaints.special_days[4].date is missing",
        r#"110:109: complaints.special_days[4]: unknown key "hour"; did you mean "hours"?"#,
        r#"112:1: complaints.categories[1] "delivery": display_name is missing"#,
        r#"116:15: complaints.categories[2] "delivery": category_id must be unique within the program"#,
        "120:29: complaints.deadlines[1].category_ids[2] must be unique within the deadlines",
        "120:41: complaints.deadlines[1].category_ids[3] must be a category of the program; there is none with \
         the id tickets",
        r#"121:23: complaints.deadlines[1].priorities[2] must be "low", "normal" or "high""#,
        "121:33: complaints.deadlines[1].priorities[3] must be unique within the deadlines",
        "122:21: complaints.deadlines[1].acknowledgement: unknown key \"hours\"; known are business_hours, \
         business_days, days, weeks",
        "123:28: complaints.deadlines[1].answer.business_days must be from 1 to 3,653",
        "124:23: complaints.deadlines[1].extended_resolution must not be set without resolution",
        "124:33: complaints.deadlines[1].extended_resolution.weeks must be from 1 to 521",
        "126:1: complaints.deadlines[2] must have an acknowledgement, an answer or a resolution",
        "130:16: goodwill.most_at_once must be from 1 to 1,000,000,000,000; absent for no limit",
        "133:6: goodwill.limits[1].of must be \"person\" or \"customer\"",
        "134:10: goodwill.limits[1].period must be \"day\", \"week\", \"month\", \"quarter\", \"half\" or \"year\"",
        "135:10: goodwill.limits[1].points must be from 1 to 1,000,000,000,000",
        "144:10: goodwill.limits[3].period must be unique among the limits of one party",
        "148:14: goodwill.benefits[1] \"yacht\": benefit_id must be a benefit of the program; there is none with the id yacht",
        "152:12: lifecycle.client: unknown key \"purchase\"; did you mean \"purchases\"?",
        "152:34: lifecycle.client.spend must be above zero",
        "153:26: lifecycle.at_risk.after_days must be a whole number",
        "153:55: lifecycle.at_risk.satisfaction_at_most must be from 1 to 5",
        "155:19: lifecycle.lost_after_days must be more than lapsed_after_days, which is 200",
        "156:27: lifecycle.cuts.satisfied_from must be from 1 to 5",
        "159:20: complaints.deadlines[3].value_class_ids[1] must be a value class of the program; there is none with \
         the id gold",
        "159:36: complaints.deadlines[3].value_class_ids[3] must be unique within the deadlines",
        r#"163:11: value_classes.measure must be "spend", "margin" or "expected_value""#,
        r#"164:8: value_classes.each must be "month", "quarter" or "year""#,
        "165:11: value_classes.periods must be from 1 to 60",
        "166:15: value_classes.falls_after must be from 1 to 12",
        "167:50: value_classes.levels.few_customers must be less than many_customers, which is 100",
        "167:91: value_classes.levels.low_margin must be no more than high_margin",
        r#"173:20: value_classes.classes[1] "best": keep_top_percent must be more than top_percent, which is 20"#,
        "174:9: value_classes.classes[1] \"best\": level must be \"basic\", \"reactive\", \"accountable\", \"proactive\" \
         or \"partner\"",
        r#"177:12: value_classes.classes[2] "best": class_id must be unique within the program"#,
        r#"179:9: value_classes.classes[2] "best": least must not be set where the class above has top_percent"#,
        r#"180:20: value_classes.classes[2] "best": keep_top_percent must not be set beside least"#,
        r#"182:1: value_classes.classes[3] "more": must have least or top_percent, as all classes but the last"#,
        r#"186:1: value_classes.classes[4] "some": display_name is missing"#,
        r#"188:15: value_classes.classes[4] "some": top_percent must not be set beside least"#,
        "194:15: value_classes.classes[5] \"rest\": top_percent must not be set: the last class is that of everybody else",
        r#"195:1: value_classes.classes[5] "rest": unknown key "keep_leest"; did you mean "keep_least"?"#,
        "195:14: value_classes.classes[5] \"rest\": keep_least must not be set: the last class is that of everybody else",
        "202:22: segments[1] \"quiet\": clauses[1].stages[2] must be \"prospect\", \"first_time\", \"repeat\", \"client\", \
         \"advocate\", \"at_risk\", \"lapsed\", \"lost\" or \"won_back\"",
        r#"202:30: segments[1] "quiet": clauses[1].stages[3] must be unique within the clause"#,
        "205:18: segments[1] \"quiet\": clauses[2].tiers[2] must be a tier of the program; there is none with the id golt",
        r#"206:10: segments[1] "quiet": clauses[2].levels must not be set beside tiers"#,
        r#"207:12: segments[1] "quiet": clauses[2].at_least must not be set beside tiers"#,
        r#"211:12: segments[1] "quiet": clauses[3].at_least must be from 1 to 5"#,
        "212:8: segments[1] \"quiet\": clauses[3].days must be absent of open complaints, satisfaction and recommendation",
        r#"217:11: segments[1] "quiet": clauses[4].at_most must be no less than at_least"#,
        r#"221:1: segments[1] "quiet": clauses[5]: unknown key "at_least_day"; did you mean "at_least_days"?"#,
        r#"222:16: segments[1] "quiet": clauses[5].at_most_days must be from 0 to 36,500"#,
        r#"224:1: segments[1] "quiet": clauses[6].within_days is missing"#,
        r#"225:10: segments[1] "quiet": clauses[6].coming must be "birthday""#,
        "227:1: segments[1] \"quiet\": clauses[7] must have one of tiers, value_classes, levels, stages, attribute, \
         languages, region_codes, interests, amount, count, since, coming, important_date, consents",
        r#"230:1: segments[1] "quiet": clauses[8] must have at_least_days or at_most_days"#,
        r#"233:1: segments[2] "quiet": display_name is missing"#,
        r#"234:14: segments[2] "quiet": segment_id must be unique within the program"#,
        r#"235:30: segments[2] "quiet": clauses[1].region_codes[1] must be two upper-case letters, such as DE"#,
        r#"235:57: segments[2] "quiet": clauses[2].value_classes must have 1 to 10 items"#,
        "235:73: segments[2] \"quiet\": clauses[3].count must be \"purchases\", \"active_days\", \"points\", \
         \"referrals\", \"open_complaints\", \"satisfaction\" or \"recommendation\"",
        r#"235:94: segments[2] "quiet": clauses[3].at_least must be a whole number"#,
        r#"235:103: segments[2] "quiet": clauses[4]: unknown key "tier"; did you mean "tiers"?"#,
        r#"235:110: segments[2] "quiet": clauses[4].tiers must be a list"#,
        r#"240:44: segments[3] "golfers": clauses[1].values must have 1 to 100 items, or be left out for any value"#,
        "240:65: segments[3] \"golfers\": clauses[2].languages[1] must be a BCP 47 language tag, such as de or pt-BR",
        r#"240:118: segments[3] "golfers": clauses[3].days must be from 1 to 1,826"#,
    ];
    let told: Vec<String> = mistakes(MISTAKEN);
    assert_eq!(told, expected.map(|line| format!("shop.toml:{line}")));
}

#[test]
fn what_is_no_toml_hides_nothing_else() {
    let text = MISTAKEN
        .replace("display_name = \"Shop\"\n", "display_name = Shop\n")
        .replace("currency = \"USS\"", "currency = \"USS")
        .replace("threshold = \"200.00\"", "threshold = 200,00");
    let told = mistakes(&text);
    let without_toml: Vec<&String> = told.iter().filter(|line| line.contains(": no TOML: ")).collect();
    let lines: Vec<&str> = without_toml.iter().filter_map(|line| line.split(':').nth(1)).collect();
    assert_eq!(lines, ["2", "3", "36"], "{told:?}");
    for other in [
        "shop.toml:4:13: time_zone",
        "shop.toml:23:8: tier_policy.kept",
        "shop.toml:32:1: tiers[2] \"gold\": unknown key \"treshold\"",
        "shop.toml:39:11: tiers[4] \"gold\": tier_id must be unique",
        "shop.toml:46:13: tiers[5] \"daily\": condition can never be met",
        "shop.toml:62:15: campaigns[2] \"friends\": campaign_id",
    ] {
        assert!(told.iter().any(|line| line.starts_with(other)), "{other} in {told:?}");
    }
    // What the lines that are no TOML may have said is not called missing.
    assert!(!told.iter().any(|line| line.contains("is missing") || line.contains("currency must")), "{told:?}");
}

#[test]
fn a_mistake_is_told_with_its_place_and_what_is_expected() {
    let sound = r#"program_id = "shop"
display_name = "Shop"
currency = "USD"
time_zone = "UTC"
points_per_unit = "1"
tiers = [{ tier_id = "member", display_name = "Member" }, { tier_id = "gold", display_name = "Gold", threshold = "9" }]
"#;
    assert_eq!(mistakes(sound), [""; 0]);
    for (right, wrong, expected) in [
        ("\"9\"", "9", "6:114: tiers[2] \"gold\": threshold must be a decimal in quotes, such as \"10.00\""),
        ("\"9\"", "\"9.001\"", "6:114: tiers[2] \"gold\": threshold must be exact in the currency's minor unit"),
        ("\"9\"", "\"9.0000000001\"", "6:114: tiers[2] \"gold\": threshold must be a decimal with at most 9 decimals"),
        ("\"9\"", "\"-9\"", "6:114: tiers[2] \"gold\": threshold must"),
        ("\"9\"", "\"0\"", "6:114: tiers[2] \"gold\": threshold must be above the threshold of tier member"),
        ("tier_id = \"gold\", ", "", "6:59: tiers[2]: tier_id is missing"),
        ("{ tier_id = \"member\", display_name = \"Member\" }", "7", "6:10: tiers[1] must be a table"),
        ("time_zone = \"UTC\"\n", "", "1:1: time_zone is missing"),
        ("points_per_unit = \"1\"", "points_per_unit = \"-1\"", "5:19: points_per_unit must be a decimal from 0 to"),
        ("tiers = [", "tiers = [] # [", "6:9: tiers must begin with a tier whose threshold is zero"),
        ("\"UTC\"", "[\"UTC\"]", "4:13: time_zone must be text in quotes"),
        ("\"UTC\"\n", "\"UTC\"\nretention = { notes_days = 0 }\n", "5:28: retention.notes_days must be from 1"),
        ("\"UTC\"\n", "\"UTC\"\nretention = { notes_days = 9999999999 }\n", "5:28: retention.notes_days is too large"),
        ("\"UTC\"\n", "\"UTC\"\ntime_zone = \"UTC\"\n", "5:1: no TOML: duplicate key time_zone"),
        ("\"UTC\"\n", "\"UTC\"\ncampaigns = \"none\"\n", "5:13: campaigns must be a list"),
    ] {
        let told = mistakes(&sound.replace(right, wrong));
        assert_eq!(told.len(), 1, "{wrong}: {told:?}");
        assert!(told[0].starts_with(&format!("shop.toml:{expected}")), "{wrong}: {told:?}");
    }
}

#[test]
fn what_cannot_be_read_is_judged_with_nothing_else() {
    let head = "program_id = \"shop\"\ndisplay_name = \"Shop\"\ncurrency = \"USD\"\ntime_zone = \"UTC\"\n\
                points_per_unit = \"1\"\n";
    let tiers = "[[tiers]]\ntier_id = \"a\"\ndisplay_name = \"A\"\n";
    let policy = |policy: &str| format!("{head}[tier_policy]\n{policy}\n{tiers}");
    for text in [
        policy("window = \"years\"\nkept = \"until_end_of_period\"\nupgrade = \"at_period_end\""),
        policy("window = { calender = \"year\" }\nkept = \"until_end_of_period\"\nupgrade = \"at_period_end\""),
        policy("kept = 5\nat_end = \"one_step\"\ngrace = \"P30D\""),
        format!("{head}{tiers}[[tiers]]\ntier_id = \"b\"\ndisplay_name = \"B\"\ncondition = {{ spending = \"1\" }}\n"),
        format!("{head}{tiers}[[tiers]]\ntier_id = \"b\"\ndisplay_name = \"B\"\nthreshold = 10\n"),
        format!("{head}[points]\nredemption = {{ minimum = \"7\", step = 5 }}\n{tiers}"),
    ] {
        assert_eq!(mistakes(&text).len(), 1, "{text}\n{:?}", mistakes(&text));
    }
}

#[test]
fn two_mistakes_of_one_place_are_both_told() {
    let text = SOUND[2].replace("purchases = 8 }", "active_days = 40 }");
    let next = "[[tiers]]\ntier_id = \"friend\"\ndisplay_name = \"Friend\"\ncondition = { active_days = 35 }\n";
    let told = mistakes(&format!("{text}\n{next}"));
    let of_friend: Vec<&String> = told.iter().filter(|line| line.contains("tiers[3] \"friend\": condition")).collect();
    assert_eq!(of_friend.len(), 2, "{told:?}");
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn what_is_printed_of_a_sound_document_is_sound() {
    for text in SOUND {
        assert_eq!(mistakes(text), [""; 0]);
        let printed = Document::from_proto(read_sound(text).unwrap()).unwrap().to_toml().unwrap();
        assert_eq!(mistakes(&printed), [""; 0], "{printed}");
    }
}

/// A sound document, and one tier's benefits behind it.
fn with_benefits(benefits: &[String]) -> String {
    format!("{}benefits = [\n{}\n]\n", SOUND[2].split_once("benefits = [").unwrap().0, benefits.join(",\n"))
}

#[test]
fn every_kind_and_every_quota_of_a_benefit_is_read_and_printed() {
    let kinds = [
        "{ percentage_off = \"12.5\" }",
        "{ amount_off = \"10.00\" }",
        "\"free_shipping\"",
        "{ pass = \"lounge\" }",
        "{ pass = \"event\" }",
        "\"gift\"",
        "\"badge\"",
        "\"certificate\"",
        "{ higher_credit_limit = { by = \"500.00\", valid_for = \"P30D\" } }",
        "\"priority_service\"",
        "{ early_access = \"P2D\" }",
        "{ earn_rate_multiplier = \"1.5\" }",
    ];
    let named = |rest: &str, i: usize| format!("{{ benefit_id = \"b{i}\", display_name = \"B\", {rest} }}");
    let periods = ["tier_period", "month", "quarter", "half", "year", "lifetime"];
    let kinds = kinds.iter().map(|kind| format!("kind = {kind}"));
    let quotas = periods.map(|per| format!("kind = \"gift\", quota = {{ limit = 2, per = \"{per}\" }}"));
    let benefits: Vec<String> = kinds.chain(quotas).enumerate().map(|(i, rest)| named(&rest, i)).collect();
    let text = with_benefits(&benefits);
    assert_eq!(mistakes(&text), [""; 0]);
    let program = read_sound(&text).unwrap();
    let printed = Document::from_proto(program.clone()).unwrap().to_toml().unwrap();
    assert_eq!(read_sound(&printed).unwrap(), program);
    let read = &program.tiers.last().unwrap().benefits;
    assert_eq!((read.len(), read.iter().filter(|it| it.kind.is_some()).count()), (18, 18));
    assert_eq!(read.iter().filter(|it| it.quota.as_ref().is_some_and(|quota| quota.per.is_some())).count(), 6);
}

#[test]
fn mistakes_of_benefits_are_told_where_they_stand() {
    let benefit = |rest: &str| format!("    {{ benefit_id = \"b\", display_name = \"B\", {rest} }}");
    let table = [
        ("kind = { earn_rate_multiplier = 1.5 }", "kind.earn_rate_multiplier must be a decimal in quotes"),
        ("kind = { earn_rate_multiplier = \"0\" }", "kind.earn_rate_multiplier must be a decimal above 0"),
        ("kind = \"shipping\"", "kind must be one of \"free_shipping\""),
        ("kind = { passs = \"lounge\" }", "unknown key \"passs\"; did you mean \"pass\"?"),
        ("kind = { amount_off = \"0.00\" }", "kind.amount_off must be above zero"),
        ("kind = \"gift\", quota = { limit = 2, per = \"week\" }", "quota.per must be "),
        ("kind = \"gift\", quota = { limit = 2 }", "quota.per is missing"),
        ("kind = \"gift\", quota = { limit = 0, per = \"year\" }", "quota.limit must be from 1 to 1,000,000"),
        (
            "kind = { earn_rate_multiplier = \"2\" }, quota = { limit = 1, per = \"year\" }",
            "quota must be absent beside",
        ),
    ];
    for (rest, expected) in table {
        let told = mistakes(&with_benefits(&[benefit(rest)]));
        assert!(told.len() == 1 && told[0].contains(expected), "{rest}: {told:?}");
        assert!(told[0].contains("tiers[2] \"regular\": benefits[1] \"b\": "), "{told:?}");
    }
    // One mistake hides no other of the same benefit.
    let two = mistakes(&with_benefits(&[benefit("kind = \"shipping\", quota = { limit = 0, per = \"year\" }")]));
    assert_eq!(two.len(), 2, "{two:?}");
}

#[test]
fn a_field_that_a_service_refuses_is_found_in_the_document() {
    let checked = Checked::of(SOUND[3].to_owned());
    let name = |field: &str| checked.name("shop.toml".as_ref(), field).unwrap();
    assert!(name("program.currency_code").ends_with(": currency"), "{}", name("program.currency_code"));
    let field = "program.tiers[2].condition.any_of.conditions[1].all_of.conditions[0].spend.currency_code";
    assert!(name(field).ends_with(": tiers[3] \"patron\": condition.any_of[2].all_of[1].spend"), "{}", name(field));
    assert!(name("program.points.expiry.after.period").ends_with(": points.expiry.after"));
    assert!(name("program.tiers[1].benefits[0]").ends_with(": tiers[2] \"regular\": benefits[1] \"birthday\""));
    for other in ["expected_version", "program.expected_version", "program"] {
        assert_eq!(checked.name("shop.toml".as_ref(), other), None);
    }
}

/// A document in which some pieces were changed, doubled or lost.
fn damaged() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(String::new()),
        "[\\[\\]{}=\"',.#a-z0-9\n -]{1,6}",
        "\\PC{1,3}",
        Just("\n[[tiers]]\n".to_owned()),
        Just("\ncondition = { any_of = [{ points = 1 }] }\n".to_owned()),
    ];
    let change = (any::<prop::sample::Index>(), 0_usize..20, piece);
    (0..SOUND.len(), prop::collection::vec(change, 0..6)).prop_map(|(which, changes)| {
        let mut letters: Vec<char> = SOUND[which].chars().collect();
        for (place, lost, piece) in changes {
            let begin = place.index(letters.len() + 1);
            let end = (begin + lost).min(letters.len());
            letters.splice(begin..end, piece.chars());
        }
        letters.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn whatever_a_document_holds_it_is_checked(text in damaged()) {
        let told = mistakes(&text);
        let lines = text.matches('\n').count() + 1;
        for mistake in &told {
            let line: usize = mistake.split(':').nth(1).unwrap().parse().unwrap();
            prop_assert!((1..=lines).contains(&line), "{}", mistake);
        }
        // What has no mistakes is what the service takes, and is sound when it is printed.
        let read = read_sound(&text);
        let is_sound = read.as_ref().is_ok_and(|program| find_faults(program.clone()).is_empty());
        prop_assert_eq!(told.is_empty(), is_sound, "{:?}", told);
        if let Ok(program) = read {
            let printed = Document::from_proto(program).unwrap().to_toml().unwrap();
            prop_assert_eq!(mistakes(&printed).is_empty(), is_sound, "{}", printed);
        }
    }
}
