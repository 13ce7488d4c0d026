//! Single values that come as text: each is the same when it is written and read again.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use goldbook_api::{google, zones};
use jiff::Timestamp;

use super::calls::split_line;
use crate::book::Detail;
use crate::clock::{END_OF_TIME, PartialDate};
use crate::error::Fields;
use crate::ids::{CustomerId, EntryId, ProgramId, ReferralCode};
use crate::money::{Currency, Money, Rate};
use crate::programs::model::Zone;
use crate::programs::points::Period;
use crate::proto::fields::{parse_date, parse_instant, parse_money, write_date, write_instant, write_money};
use crate::web::Origin;
use crate::wire::parse_timeout;

/// The kind of a value on a line, and the value.
#[must_use]
pub fn values(input: &[u8]) -> bool {
    let Some((kind, bytes)) = split_line(input) else { return false };
    let Ok(text) = str::from_utf8(bytes) else { return false };
    match kind {
        "code" => same(text, ReferralCode::parse),
        "currency" => same_by(text, Currency::parse, |currency| currency.code().to_owned()),
        "customer" => same(text, |text| CustomerId::try_from(text)),
        "date" => date(text),
        "detail" => detail(text),
        "entry" => same(text, EntryId::from_str),
        "instant" => instant(text),
        "money" => money(text),
        "origin" => same(text, Origin::from_str),
        "period" => period(text),
        "program" => same(text, |text| ProgramId::try_from(text)),
        "rate" => rate(text),
        "timeout" => drop(parse_timeout(bytes)),
        "zone" => same(text, |text| Zone::try_from(text.to_owned())),
        _ => return false,
    }
    true
}

/// A value that parses is the same once it was written and read again.
fn same<T: Debug + PartialEq + Display, E: Debug>(text: &str, parse: impl Fn(&str) -> Result<T, E>) {
    same_by(text, parse, ToString::to_string);
}

fn same_by<T: Debug + PartialEq, E: Debug>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, E>,
    write: impl Fn(&T) -> String,
) {
    let Ok(value) = parse(text) else { return };
    let written = write(&value);
    assert_eq!(parse(&written).ok(), Some(value), "{text:?} is written as {written:?}");
}

/// Numbers between spaces.
fn numbers<const N: usize>(text: &str) -> Option<[i64; N]> {
    let numbers: Option<Vec<i64>> = text.split(' ').map(|number| number.parse().ok()).collect();
    numbers?.try_into().ok()
}

fn instant(text: &str) {
    let Some([seconds, nanos]) = numbers(text) else { return };
    let Ok(nanos) = i32::try_from(nanos) else { return };
    let parse = |wire: &prost_types::Timestamp| {
        let mut fields = Fields::default();
        let parsed = parse_instant(&mut fields, "at", Some(wire));
        assert_eq!(parsed.is_some(), fields.is_clean(), "what is bad is told");
        parsed
    };
    if let Some(parsed) = parse(&prost_types::Timestamp { seconds, nanos }) {
        assert_eq!(parse(&write_instant(parsed)), Some(parsed));
    }
}

fn date(text: &str) {
    let Some([year, month, day]) = numbers(text) else { return };
    let (Ok(year), Ok(month), Ok(day)) = (i32::try_from(year), i32::try_from(month), i32::try_from(day)) else {
        return;
    };
    let parse = |wire: google::Date| -> Option<PartialDate> { parse_date(&mut Fields::default(), "date", wire) };
    if let Some(parsed) = parse(google::Date { year, month, day }) {
        assert_eq!(parse(write_date(parsed)), Some(parsed));
    }
}

/// A currency and an amount in units and nanos.
fn money(text: &str) {
    let Some((code, amount)) = text.split_once(' ') else { return };
    let Some([units, nanos]) = numbers(amount) else { return };
    let Ok(nanos) = i32::try_from(nanos) else { return };
    let parse = |wire: &google::Money| -> Option<Money> { parse_money(&mut Fields::default(), "money", Some(wire)) };
    let wire = google::Money { currency_code: code.to_owned(), units, nanos };
    if let Some(parsed) = parse(&wire) {
        assert_eq!(write_money(parsed), wire, "an amount is exact");
    }
}

fn period(text: &str) {
    same(text, Period::parse);
    let (Ok(period), Some(zone)) = (Period::parse(text), zones::find("America/New_York")) else { return };
    for begin in [Timestamp::UNIX_EPOCH, END_OF_TIME] {
        let end = period.after(begin, &zone);
        assert!(end >= begin && end <= END_OF_TIME, "{text} after {begin} is {end}");
    }
}

fn rate(text: &str) {
    same(text, Rate::parse);
    let (Ok(rate), Ok(currency)) = (Rate::parse(text), Currency::parse("KWD")) else { return };
    let most = rate.points_for(Money { currency, minor: i64::MAX });
    assert!(most.is_none_or(|points| points >= 0));
    assert!(rate.times(i128::from(i64::MAX), currency).is_none_or(|worth| worth >= 0));
}

fn detail(json: &str) {
    let Ok(detail) = Detail::from_json(json) else { return };
    for written in [detail.to_json(), detail.to_wire_json()] {
        let again = written.and_then(|written| Detail::from_json(&written));
        assert_eq!(again.ok().as_ref(), Some(&detail), "a detail is another one once it was written");
    }
}
