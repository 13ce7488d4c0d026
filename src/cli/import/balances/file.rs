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

    /// Parses a lot, and notes every reason why it is none.
    fn parse_lot(&self, reasons: &mut Reasons, points: &str, terms: [Option<&str>; 3]) -> Option<Opening> {
        let [vests_at, vest_by, expires_at] = terms;
        let points = reasons.check(parse_points(points));
        if vests_at.is_some() && vest_by.is_some() {
            reasons.add("has vests_at and vest_by, which exclude each other");
        }
        let vests_at = vests_at.map(|text| reasons.check(self.parse_instant("vests_at", text)));
        let vest_by = vest_by.map(|text| reasons.check(self.parse_instant("vest_by", text)));
        let expiry = match expires_at {
            None => Some(Expiry::ByProgram),
            Some("never") => Some(Expiry::Never),
            Some(text) => reasons.check(self.parse_instant("expires_at", text)).map(Expiry::At),
        };
        let vesting = match (vests_at, vest_by) {
            (None, None) => Some(Vesting::AtOnce),
            (Some(at), None) => at.map(Vesting::At),
            (None, Some(by)) => by.map(Vesting::OnEventBy),
            // Refused above; what both of them say is checked all the same.
            (Some(_), Some(_)) => None,
        };
        self.check_terms(reasons, vests_at.flatten(), vest_by.flatten(), expiry);
        Some(Opening::Lot { points: points?, vesting: vesting?, expiry: expiry? })
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

    /// Notes what the service would refuse in any case.
    fn check_terms(
        &self,
        reasons: &mut Reasons,
        vests_at: Option<Timestamp>,
        vest_by: Option<Timestamp>,
        expiry: Option<Expiry>,
    ) {
        let expires_at = match expiry {
            Some(Expiry::At(expires_at)) => Some(expires_at),
            Some(Expiry::ByProgram | Expiry::Never) | None => None,
        };
        if let Some((vests_at, expires_at)) = vests_at.zip(expires_at).filter(|(vests, expires)| expires <= vests) {
            reasons.add(format!("expires_at is {expires_at}, which must be later than vests_at, {vests_at}"));
        }
        let Some(present) = self.setting.present else { return };
        for (name, at) in [("vest_by", vest_by), ("expires_at", expires_at)] {
            if let Some(at) = at.filter(|at| *at <= present) {
                reasons.add(format!("{name} is {at}, which has passed"));
            }
        }
    }

    /// Parses a tier, and notes every reason why it is none.
    fn parse_tier(&self, reasons: &mut Reasons, tier_id: &str, qualifying_spend: Option<&str>) -> Option<Opening> {
        if !self.setting.tier_ids.contains(tier_id) {
            reasons.add(format!("the program has no tier {tier_id}"));
        }
        let qualifying_spend = match qualifying_spend {
            Some(text) => Some(reasons.check(self.parse_spend(text))?),
            None => None,
        };
        Some(Opening::Tier { tier_id: tier_id.to_owned(), qualifying_spend })
    }

    fn parse_spend(&self, text: &str) -> Result<Amount, String> {
        let parsed = Amount::parse(text).map_err(|expected| format!("qualifying_spend is {text}, but {expected}"))?;
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
    type Row = Entry;

    fn parse(&self, record: &ByteRecord) -> Result<Entry, String> {
        let mut reasons = Reasons::default();
        let mut name = |place: usize, name: &str| {
            if place >= record.len() && std::mem::replace(&mut reasons.is_short, true) {
                return None;
            }
            let text = reasons.check(required(record, place, name))?;
            reasons.check(check_name(text).map_err(|expected| format!("{name} {expected}"))).map(|()| text.to_owned())
        };
        let (line_id, customer_id) = (name(self.line_id, "line_id"), name(self.customer_id, "customer_id"));
        // Which columns the line says something in, also where that cannot be read.
        let mut text = |place: Option<usize>, name: &str| {
            let place = place.filter(|place| *place < record.len() || !reasons.is_short)?;
            let text = field(record, place, name);
            reasons.is_short |= place >= record.len();
            reasons.is_unread |= text.is_err();
            reasons.check(text).filter(|text| !text.is_empty())
        };
        let (points, tier_id) = (text(self.points, "points"), text(self.tier_id, "tier_id"));
        let terms =
            [text(self.vests_at, "vests_at"), text(self.vest_by, "vest_by"), text(self.expires_at, "expires_at")];
        let spend = text(self.qualifying_spend, "qualifying_spend");
        // What a field says that cannot be read, or is cut off, is judged with nothing else.
        let is_whole = !reasons.is_unread && !reasons.is_short;
        if is_whole && tier_id.is_none() && spend.is_some() {
            reasons.add("has a qualifying_spend without a tier_id");
        }
        if is_whole && points.is_none() && terms != [None; 3] {
            reasons.add("has terms of points without points");
        }
        let lot = points.map(|points| self.parse_lot(&mut reasons, points, terms));
        let tier = tier_id.map(|tier_id| self.parse_tier(&mut reasons, tier_id, spend));
        let opening = match (lot, tier) {
            (Some(_), Some(_)) => {
                reasons.add("has both points and a tier_id: give each a line of its own");
                None
            }
            (None, None) => {
                if is_whole {
                    reasons.add("has neither points nor a tier_id");
                }
                None
            }
            (opening, None) | (None, opening) => opening.flatten(),
        };
        let ids = line_id.zip(customer_id);
        let balance = ids.clone().zip(opening).filter(|_| reasons.told.is_empty());
        let balance = balance.map(|((line_id, customer_id), opening)| Balance { line_id, customer_id, opening });
        Ok(Entry { ids, balance: balance.ok_or(reasons.told) })
    }
}

/// What one line says, whether it is good or not.
#[derive(Debug)]
pub(super) struct Entry {
    /// The ids of the line and of its customer, if both are good.
    ids: Option<(String, String)>,
    /// What it brings, or every reason why it cannot be imported.
    balance: Result<Balance, Vec<String>>,
}

impl Entry {
    /// What it brings, or why it cannot be imported.
    pub(super) fn into_balance(self) -> Result<Balance, String> {
        self.balance.map_err(|reasons| told(&reasons))
    }
}

/// All reasons why a line is bad, as they are told.
fn told(reasons: &[String]) -> String {
    reasons.join("; ")
}

/// Collects all reasons why a line is bad.
#[derive(Debug, Default)]
struct Reasons {
    told: Vec<String>,
    /// Whether it was told that the line is too short. More columns that it lacks are no news.
    is_short: bool,
    /// Whether a field could not be read as text.
    is_unread: bool,
}

impl Reasons {
    fn add(&mut self, reason: impl Into<String>) {
        self.told.push(reason.into());
    }

    /// Keeps what is good, and notes what is not.
    fn check<T>(&mut self, checked: Result<T, impl Into<String>>) -> Option<T> {
        checked.map_err(|reason| self.add(reason)).ok()
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
    pub(super) fn of(lines: impl Iterator<Item = Line<Entry>>) -> Self {
        let mut survey = Self { count: Count::default(), tiers: BTreeMap::new(), bad: Refusals::none(TOLD_LINES) };
        // The first line of each customer's line id. The ids are hashed, since they may not fit in memory themselves.
        // Two hashes together are long enough that no two ids share them.
        let mut places: HashMap<(u64, u64), u64> = HashMap::new();
        for (line, entry) in lines {
            let Entry { ids, balance } = entry.unwrap_or_else(|why| Entry { ids: None, balance: Err(vec![why]) });
            let mut reasons = match balance {
                Ok(balance) => {
                    survey.count.add(balance.points());
                    if let Some(tier_id) = balance.tier_id() {
                        *survey.tiers.entry(tier_id.to_owned()).or_default() += 1;
                    }
                    Vec::new()
                }
                Err(reasons) => {
                    survey.count.add(0);
                    reasons
                }
            };
            if let Some((line_id, customer_id)) = ids {
                let first = *places.entry(fingerprint(&line_id, &customer_id)).or_insert(line);
                if first != line {
                    reasons.push(format!("line_id {line_id} of {customer_id} is on line {first} already"));
                }
            }
            if !reasons.is_empty() {
                survey.bad.add(line, told(&reasons));
            }
        }
        survey
    }
}

fn fingerprint(line_id: &str, customer_id: &str) -> (u64, u64) {
    let hash = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, customer_id, line_id).hash(&mut hasher);
        hasher.finish()
    };
    (hash(1), hash(2))
}
