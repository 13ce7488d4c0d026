//! Reads opening lots and opening tiers from a CSV file, and counts what the file holds as a whole.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use csv::ByteRecord;
use goldbook_api::v1::Program;
use goldbook_api::values::{END_OF_TIME, MAX_POINTS, check_name, to_minor_units};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::lines::{Form, Header, Line, Lines, field, required};
use super::super::refusals::Refusals;
use crate::cli::amount::{Amount, decimals_of};
use crate::cli::error::CliError;
use crate::cli::instant;
use crate::cli::instant::Unreadable;

/// How many bad lines are told one by one.
const TOLD_LINES: usize = 20;

/// What the program says that a file of balances needs.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    currency_code: String,
    zone: TimeZone,
    tier_ids: BTreeSet<String>,
    /// If it is set, terms that have passed are bad. If not, the service judges them: they may have been ahead when the
    /// line was imported for the first time.
    present: Option<Timestamp>,
}

impl Setting {
    pub(super) fn of(program: &Program) -> Result<Self, CliError> {
        Ok(Self {
            currency_code: program.currency_code.clone(),
            zone: instant::time_zone(&program.time_zone)?,
            tier_ids: program.tiers.iter().map(|tier| tier.tier_id.clone()).collect(),
            present: None,
        })
    }

    /// The same for lines that were not imported before.
    pub(super) fn at(self, present: Timestamp) -> Self {
        Self { present: Some(present), ..self }
    }
}

/// What one line brings to a customer.
#[derive(Debug, PartialEq)]
pub(super) struct Balance {
    pub(super) line_id: String,
    pub(super) customer_id: String,
    pub(super) opening: Opening,
}

/// An opening lot or an opening tier.
#[derive(Debug, PartialEq)]
pub(super) enum Opening {
    Lot { points: i64, vesting: Vesting, expiry: Expiry },
    Tier { tier_id: String, qualifying_spend: Option<Amount> },
}

/// When points become available.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Vesting {
    AtOnce,
    At(Timestamp),
    OnEventBy(Timestamp),
}

/// When points expire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Expiry {
    ByProgram,
    Never,
    At(Timestamp),
}

impl Balance {
    /// How many points the line brings.
    pub(super) const fn points(&self) -> i64 {
        match self.opening {
            Opening::Lot { points, .. } => points,
            Opening::Tier { .. } => 0,
        }
    }

    /// The tier that the line brings, if it brings one.
    pub(super) fn tier_id(&self) -> Option<&str> {
        match &self.opening {
            Opening::Lot { .. } => None,
            Opening::Tier { tier_id, .. } => Some(tier_id),
        }
    }
}

/// A file of balances that is being read.
pub(super) type Balances<R> = Lines<R, Columns>;

/// Opens a file of balances and reads its header.
///
/// # Errors
/// If it cannot be read, or its header lacks a column.
pub(super) fn open(path: &Path, setting: Setting) -> Result<Balances<File>, CliError> {
    Lines::open(path, |header| Columns::find(header, setting))
}

/// The positions of the columns that are read. Others are ignored.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    line_id: usize,
    customer_id: usize,
    points: Option<usize>,
    vests_at: Option<usize>,
    vest_by: Option<usize>,
    expires_at: Option<usize>,
    tier_id: Option<usize>,
    qualifying_spend: Option<usize>,
    setting: Setting,
}

impl Columns {
    pub(super) fn find(header: &Header, setting: Setting) -> Result<Self, String> {
        let optional = |name| header.find_optional(&[name]);
        let (points, tier_id) = (optional("points")?, optional("tier_id")?);
        if points.is_none() && tier_id.is_none() {
            header.find(&["points", "tier_id"])?;
        }
        Ok(Self {
            line_id: header.find(&["line_id"])?,
            customer_id: header.find(&["customer_id"])?,
            points,
            vests_at: optional("vests_at")?,
            vest_by: optional("vest_by")?,
            expires_at: optional("expires_at")?,
            tier_id,
            qualifying_spend: header.find_amount("qualifying_spend", &setting.currency_code)?,
            setting,
        })
    }

    fn parse_lot(&self, points: &str, terms: [Option<&str>; 3]) -> Result<Opening, String> {
        let [vests_at, vest_by, expires_at] = terms;
        let points = parse_points(points)?;
        let vesting = match (vests_at, vest_by) {
            (None, None) => Vesting::AtOnce,
            (Some(text), None) => Vesting::At(self.parse_instant("vests_at", text)?),
            (None, Some(text)) => Vesting::OnEventBy(self.parse_instant("vest_by", text)?),
            (Some(_), Some(_)) => return Err("has vests_at and vest_by, which exclude each other".to_owned()),
        };
        let expiry = match expires_at {
            None => Expiry::ByProgram,
            Some("never") => Expiry::Never,
            Some(text) => Expiry::At(self.parse_instant("expires_at", text)?),
        };
        self.check_terms(vesting, expiry)?;
        Ok(Opening::Lot { points, vesting, expiry })
    }

    /// Parses an instant that the service accepts.
    fn parse_instant(&self, name: &str, text: &str) -> Result<Timestamp, String> {
        let parsed = instant::parse(text, &self.setting.zone);
        match parsed.and_then(|at| if at <= END_OF_TIME { Ok(at) } else { Err(Unreadable::TooLate) }) {
            Ok(at) => Ok(at),
            Err(Unreadable::Malformed) => Err(format!("{name} is {text}, not a day such as 1997-01-18 or an instant")),
            Err(Unreadable::TooLate) => {
                // In other systems such dates stand for never.
                let hint = if name == "expires_at" { "; of points that do not expire it is never" } else { "" };
                Err(format!("{name} is {text}, later than {END_OF_TIME}, the last instant allowed{hint}"))
            }
        }
    }

    /// Refuses what the service would refuse in any case.
    fn check_terms(&self, vesting: Vesting, expiry: Expiry) -> Result<(), String> {
        if let (Vesting::At(vests_at), Expiry::At(expires_at)) = (vesting, expiry)
            && expires_at <= vests_at
        {
            return Err(format!("expires_at is {expires_at}, which must be later than vests_at, {vests_at}"));
        }
        let passed = |name: &str, at: Timestamp| match self.setting.present {
            Some(present) if at <= present => Err(format!("{name} is {at}, which has passed")),
            _ => Ok(()),
        };
        if let Vesting::OnEventBy(vest_by) = vesting {
            passed("vest_by", vest_by)?;
        }
        if let Expiry::At(expires_at) = expiry { passed("expires_at", expires_at) } else { Ok(()) }
    }

    fn parse_tier(&self, tier_id: &str, qualifying_spend: Option<&str>) -> Result<Opening, String> {
        if !self.setting.tier_ids.contains(tier_id) {
            return Err(format!("the program has no tier {tier_id}"));
        }
        let parse = |text: &str| {
            let parsed =
                Amount::parse(text).map_err(|expected| format!("qualifying_spend is {text}, but {expected}"))?;
            if text.starts_with('-') {
                return Err(format!("qualifying_spend is {text}, below zero"));
            }
            // A newer service may know currencies that this program does not.
            if let Some(decimals) = decimals_of(&self.setting.currency_code) {
                let money = parsed.to_money(&self.setting.currency_code);
                to_minor_units(money.units, money.nanos, decimals)
                    .map_err(|expected| format!("qualifying_spend is {text}, but {expected}"))?;
            }
            Ok(parsed)
        };
        Ok(Opening::Tier { tier_id: tier_id.to_owned(), qualifying_spend: qualifying_spend.map(parse).transpose()? })
    }
}

fn parse_points(text: &str) -> Result<i64, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) || text.bytes().all(|byte| byte == b'0') {
        return Err(format!("points is {text}, not a whole number above zero"));
    }
    // What is too long for a number is too much.
    let points = text.parse().ok().filter(|points| *points <= MAX_POINTS);
    points.ok_or_else(|| format!("points is {text}, more than the most of one lot, {MAX_POINTS}"))
}

impl Form for Columns {
    type Row = Balance;

    fn parse(&self, record: &ByteRecord) -> Result<Balance, String> {
        let text = |place: Option<usize>, name: &str| -> Result<Option<&str>, String> {
            let text = place.map(|place| field(record, place, name)).transpose()?;
            Ok(text.filter(|text| !text.is_empty()))
        };
        let line_id = required(record, self.line_id, "line_id")?.to_owned();
        check_name(&line_id).map_err(|expected| format!("line_id {expected}"))?;
        let customer_id = required(record, self.customer_id, "customer_id")?.to_owned();
        check_name(&customer_id).map_err(|expected| format!("customer_id {expected}"))?;
        let terms =
            [text(self.vests_at, "vests_at")?, text(self.vest_by, "vest_by")?, text(self.expires_at, "expires_at")?];
        let spend = text(self.qualifying_spend, "qualifying_spend")?;
        let opening = match (text(self.points, "points")?, text(self.tier_id, "tier_id")?) {
            (Some(_), Some(_)) => Err("has both points and a tier_id: give each a line of its own".to_owned()),
            (None, None) => Err("has neither points nor a tier_id".to_owned()),
            (Some(_), None) if spend.is_some() => Err("has a qualifying_spend without a tier_id".to_owned()),
            (None, Some(_)) if terms != [None; 3] => Err("has terms of points without points".to_owned()),
            (Some(points), None) => self.parse_lot(points, terms),
            (None, Some(tier_id)) => self.parse_tier(tier_id, spend),
        };
        Ok(Balance { line_id, customer_id, opening: opening? })
    }
}

/// How many lines there are, and how many points they have together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) lines: u64,
    pub(super) points: i128,
}

impl Count {
    pub(super) const fn add(&mut self, points: i64) {
        self.lines += 1;
        self.points += points as i128;
    }
}

/// What a file holds as a whole.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) count: Count,
    /// Opening tiers, by tier.
    pub(super) tiers: BTreeMap<String, u64>,
    /// Lines that cannot be imported.
    pub(super) bad: Refusals,
}

impl Survey {
    /// Reads a file to its end.
    pub(super) fn of(balances: impl Iterator<Item = Line<Balance>>) -> Self {
        let mut survey = Self { count: Count::default(), tiers: BTreeMap::new(), bad: Refusals::none(TOLD_LINES) };
        // The first line of each customer's line id. The ids are hashed, since they may not fit in memory themselves.
        // Two hashes together are long enough that no two ids share them.
        let mut places: HashMap<(u64, u64), u64> = HashMap::new();
        for (line, balance) in balances {
            match balance {
                Ok(balance) => {
                    survey.count.add(balance.points());
                    if let Some(tier_id) = balance.tier_id() {
                        *survey.tiers.entry(tier_id.to_owned()).or_default() += 1;
                    }
                    let first = *places.entry(fingerprint(&balance)).or_insert(line);
                    if first != line {
                        let Balance { line_id, customer_id, .. } = balance;
                        survey.bad.add(line, format!("line_id {line_id} of {customer_id} is on line {first} already"));
                    }
                }
                Err(why) => {
                    survey.count.add(0);
                    survey.bad.add(line, why);
                }
            }
        }
        survey
    }
}

fn fingerprint(balance: &Balance) -> (u64, u64) {
    let hash = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, &balance.customer_id, &balance.line_id).hash(&mut hasher);
        hasher.finish()
    };
    (hash(1), hash(2))
}
