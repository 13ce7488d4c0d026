//! Reads what the book says of one customer, and shows it in the tables that `customer` and `demo` share.

use std::collections::HashMap;

use comfy_table::{CellAlignment, Table};
use jiff::tz::TimeZone;

use super::amount::show_money;
use super::client::{Client, LARGEST_PAGE, incomplete_answer};
use super::criteria::{show_criterion, show_way};
use super::error::CliError;
use super::instant;
use super::output::{self, grouped, words};
use goldbook_api::v1::{
    Balance, CustomerTier, Entry, EntryKind, EntryReason, GetBalanceRequest, GetCustomerTierRequest, GetEntryRequest,
    ListEntriesRequest, Pocket, PocketMove, Program, TierForecast, TierOverride, TierOverrideKind,
};

/// Reads one program's book for people.
pub(super) struct Reader {
    client: Client,
    pub(super) program: Program,
    pub(super) zone: TimeZone,
    /// Entries that were read already. Many entries have the same cause, so they are kept.
    known: HashMap<String, Entry>,
}

/// The last entries of an account, oldest first.
pub(super) struct Statement {
    pub(super) entries: Vec<Entry>,
    /// How many entries there are before them.
    pub(super) earlier: usize,
}

impl Reader {
    pub(super) fn new(client: Client, program: Program) -> Result<Self, CliError> {
        let zone = instant::time_zone(&program.time_zone)?;
        Ok(Self { client, program, zone, known: HashMap::new() })
    }

    pub(super) async fn tier(&self, customer_id: &str) -> Result<CustomerTier, CliError> {
        let request = GetCustomerTierRequest {
            program_id: self.program.program_id.clone(),
            customer_id: customer_id.to_owned(),
            as_of: None,
        };
        let answer = self.client.tiers().get_customer_tier(request).await;
        let answer = answer.map_err(CliError::refused("cannot read the customer's tier"))?.into_inner();
        answer.customer_tier.ok_or_else(incomplete_answer)
    }

    pub(super) async fn balance(&self, customer_id: &str) -> Result<Balance, CliError> {
        let request = GetBalanceRequest {
            program_id: self.program.program_id.clone(),
            customer_id: customer_id.to_owned(),
            as_of: None,
        };
        let answer = self.client.rewards().get_balance(request).await;
        let answer = answer.map_err(CliError::refused("cannot read the customer's balance"))?.into_inner();
        answer.balance.ok_or_else(incomplete_answer)
    }

    /// The account's last entries. All pages are read, since they begin with the oldest entry.
    pub(super) async fn statement(&mut self, customer_id: &str, last: usize) -> Result<Statement, CliError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut earlier = 0;
        let mut page_token = String::new();
        loop {
            let request = ListEntriesRequest {
                program_id: self.program.program_id.clone(),
                customer_id: customer_id.to_owned(),
                page_size: LARGEST_PAGE,
                page_token,
                ..ListEntriesRequest::default()
            };
            let page = self.client.ledger().list_entries(request).await;
            let page = page.map_err(CliError::refused("cannot read the customer's entries"))?.into_inner();
            entries.extend(page.entries);
            let surplus = entries.len().saturating_sub(last);
            for entry in entries.drain(..surplus) {
                self.known.insert(entry.entry_id.clone(), entry);
            }
            earlier += surplus;
            if page.next_page_token.is_empty() {
                break;
            }
            page_token = page.next_page_token;
        }
        self.known.extend(entries.iter().map(|entry| (entry.entry_id.clone(), entry.clone())));
        Ok(Statement { entries, earlier })
    }

    /// One entry by its id.
    async fn entry(&mut self, entry_id: &str) -> Result<Entry, CliError> {
        if let Some(entry) = self.known.get(entry_id) {
            return Ok(entry.clone());
        }
        let request = GetEntryRequest { program_id: self.program.program_id.clone(), entry_id: entry_id.to_owned() };
        let answer = self.client.ledger().get_entry(request).await;
        let answer = answer.map_err(CliError::refused("cannot read an entry"))?.into_inner();
        let entry = answer.entry.ok_or_else(incomplete_answer)?;
        self.known.insert(entry_id.to_owned(), entry.clone());
        Ok(entry)
    }

    /// A line for each cause: the number and kind of its entry and, if it is on another account, whose.
    pub(super) async fn causes(&mut self, entry_ids: &[String], customer_id: &str) -> Result<Vec<String>, CliError> {
        let mut causes = Vec::new();
        for entry_id in entry_ids {
            let entry = self.entry(entry_id).await?;
            let whose = match entry.customer_id.as_str() {
                own if own == customer_id => String::new(),
                "" => " of another account".to_owned(),
                other => format!(" of {other}"),
            };
            causes.push(format!("{}{whose}", title(&entry)));
        }
        Ok(causes)
    }

    /// Adds the tier and its causes, what is missing to the next tier, and the balance.
    pub(super) async fn add_standing(
        &mut self,
        facts: &mut Table,
        tier: &CustomerTier,
        balance: &Balance,
    ) -> Result<(), CliError> {
        let since = instant::show(tier.since.as_ref(), &self.zone);
        let version = tier.policy_version;
        let tier_line = format!("{} ({}), since {since}, by version {version}", tier.display_name, tier.tier_id);
        facts.add_row(["Tier", &tier_line]);
        if let Some(forced) = &tier.r#override {
            facts.add_row(["Set by hand", &show_override(forced, &tier.hidden_tier_id, &self.zone)]);
        }
        let mut why = Vec::new();
        let entry_ids: Vec<String> = std::iter::once(&tier.entry_id).chain(&tier.cause_entry_ids).cloned().collect();
        for (cause, entry_id) in self.causes(&entry_ids, &tier.customer_id).await?.iter().zip(&entry_ids) {
            why.push(format!("{cause}\n  {entry_id}"));
        }
        if !why.is_empty() {
            facts.add_row(["Because of", &why.join("\n")]);
        }
        let spend = tier.qualifying_spend.as_ref().map(show_money).unwrap_or_default();
        let begins = tier.counted.as_ref().and_then(|counted| counted.from);
        let since = begins.map(|day| format!(" since {:04}-{:02}-{:02}", day.year, day.month, day.day));
        facts.add_row(["Spend that counts", &format!("{spend}{}", since.unwrap_or_default())]);
        if tier.valid_until.is_some() {
            let until = instant::show(tier.valid_until.as_ref(), &self.zone);
            let met = tier.keeping.as_ref().is_some_and(|keeping| keeping.met);
            let then = tier.forecast.first().filter(|_| !met).map(|next| show_loss(next, tier, &self.zone));
            facts.add_row(["Valid until", &format!("{until}{}", then.unwrap_or_default())]);
        }
        if let Some(keeping) = &tier.keeping {
            let way = show_way(&keeping.progress);
            if !way.is_empty() {
                facts.add_row(["To keep it", &way]);
            }
        }
        facts.add_row(["Next tier", &next_tier(tier)]);
        if let Some(next) = &tier.next {
            let way = show_way(&next.progress);
            if !way.is_empty() {
                facts.add_row(["To reach it", &way]);
            }
        }
        facts.add_row(["Balance", &show_balance(balance)]);
        for (what, due) in [("Next to vest", &balance.next_vesting), ("Next to expire", &balance.next_expiry)] {
            if let Some(due) = due {
                let when = instant::show(due.due_at.as_ref(), &self.zone);
                facts.add_row([what, &format!("{} points, {when}", grouped(due.points))]);
            }
        }
        Ok(())
    }

    /// The entries as a table. Each has two lines or more, since its long id has a line of its own.
    pub(super) async fn entry_table(
        &mut self,
        entries: &[Entry],
        customer_id: &str,
        with_causes: bool,
    ) -> Result<Table, CliError> {
        let mut table = output::table(["Entry", "Points", "Effective", "Reason"]);
        for entry in entries {
            let mut what = format!("{}\n{}", title(entry), entry.entry_id);
            if with_causes {
                for cause in self.causes(&entry.cause_entry_ids, customer_id).await? {
                    what.push_str(&format!("\nbecause of {cause}"));
                }
            }
            let effective = instant::show_on_two_lines(entry.effective_at.as_ref(), &self.zone);
            table.add_row([what, show_move(entry.r#move.as_ref()), effective, show_reason(entry)]);
        }
        let longest_id = entries.iter().map(|entry| entry.entry_id.len()).max().unwrap_or_default();
        output::keep_whole(&mut table, 0, longest_id);
        if let Some(points) = table.column_mut(1) {
            points.set_cell_alignment(CellAlignment::Right);
        }
        Ok(table)
    }
}

/// An entry's number on its account, and what happened: `#4 points granted`.
fn title(entry: &Entry) -> String {
    // A kind that is newer than this program still has its number.
    let kind = EntryKind::try_from(entry.kind)
        .map_or_else(|unknown| format!("kind {}", unknown.0), |kind| words(kind.as_str_name(), "ENTRY_KIND_"));
    format!("#{} {kind}", entry.account_seq)
}

/// Why the entry was written: `referral referrer`.
fn show_reason(entry: &Entry) -> String {
    match EntryReason::try_from(entry.reason) {
        Ok(reason) => words(reason.as_str_name(), "ENTRY_REASON_"),
        // A reason that is newer than this program still has its number.
        Err(unknown) => format!("reason {}", unknown.0),
    }
}

/// How many points moved and, unless they were granted, from where to where.
pub(super) fn show_move(movement: Option<&PocketMove>) -> String {
    let Some(movement) = movement else { return String::new() };
    let points = grouped(movement.points);
    match (movement.from(), movement.to()) {
        (Pocket::Issued, Pocket::Available) => points,
        (from, to) => {
            let [from, to] = [from, to].map(|pocket| words(pocket.as_str_name(), "POCKET_"));
            format!("{points}\n{from}\n→ {to}")
        }
    }
}

/// What becomes of a tier that is not earned again by its end: after a grace, if there is one.
fn show_loss(next: &TierForecast, tier: &CustomerTier, zone: &TimeZone) -> String {
    let later = next.at.as_ref().filter(|at| Some(*at) != tier.valid_until.as_ref());
    let from = later.map(|at| format!(" from {}", instant::show(Some(at), zone)));
    format!(", then {}{}", next.tier_id, from.unwrap_or_default())
}

/// An override, and the tier that it hides.
fn show_override(forced: &TierOverride, hidden: &str, zone: &TimeZone) -> String {
    let least = if forced.kind() == TierOverrideKind::Floor { "at least " } else { "" };
    let until = forced.ends_at.as_ref().map(|ends_at| format!(" until {}", instant::show(Some(ends_at), zone)));
    format!("{least}{}{}, {hidden} without that", forced.tier_id, until.unwrap_or_default())
}

fn next_tier(tier: &CustomerTier) -> String {
    let Some(next) = &tier.next else { return "none, this is the highest".to_owned() };
    let name = format!("{} ({})", next.display_name, next.tier_id);
    if let (Some(threshold), Some(missing)) = (&next.threshold, &next.missing) {
        return format!("{name} at {}: {} missing", show_money(threshold), show_money(missing));
    }
    let missing: Vec<String> =
        next.progress.iter().filter_map(|criterion| criterion.missing.as_ref()).filter_map(show_criterion).collect();
    if missing.is_empty() { name } else { format!("{name}: {} missing", missing.join(", ")) }
}

/// The points available, and all other counts that are not zero.
pub(super) fn show_balance(balance: &Balance) -> String {
    let mut text = format!("{} points available", grouped(balance.available));
    let others = [
        (balance.pending, "pending"),
        (balance.held, "held"),
        (balance.owed, "owed"),
        (balance.redeemed, "redeemed so far"),
        (balance.expired, "expired so far"),
        (balance.cancelled, "cancelled so far"),
    ];
    for (points, what) in others.into_iter().filter(|(points, _)| *points != 0) {
        text.push_str(&format!(", {} {what}", grouped(points)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use goldbook_api::google::Money;
    use goldbook_api::v1::{NextTier, TierCondition, TierProgress, tier_condition};

    #[test]
    fn a_balance_shows_what_there_is_and_nothing_else() {
        let balance = Balance { available: 1_750, issued: 1_760, pending: 10, ..Balance::default() };
        assert_eq!(show_balance(&balance), "1,750 points available, 10 pending");
        assert_eq!(show_balance(&Balance::default()), "0 points available");
    }

    #[test]
    fn the_way_to_the_next_tier_is_shown_in_the_currency() {
        let usd = |units| Some(Money { currency_code: "USD".to_owned(), units, nanos: 500_000_000 });
        let next = NextTier {
            tier_id: "gold".to_owned(),
            display_name: "Gold".to_owned(),
            threshold: usd(500),
            missing: usd(99),
            ..NextTier::default()
        };
        let tier = CustomerTier { next: Some(next), ..CustomerTier::default() };
        assert_eq!(next_tier(&tier), "Gold (gold) at 500.50 USD: 99.50 USD missing");
        assert_eq!(next_tier(&CustomerTier::default()), "none, this is the highest");
        let missing = |condition| TierProgress {
            missing: Some(TierCondition { condition: Some(condition) }),
            ..Default::default()
        };
        let progress = vec![
            missing(tier_condition::Condition::ActiveDays(1)),
            TierProgress::default(),
            missing(tier_condition::Condition::Points(2_000)),
        ];
        let next = NextTier { threshold: None, missing: None, progress, ..tier.next.unwrap() };
        let tier = CustomerTier { next: Some(next), ..CustomerTier::default() };
        assert_eq!(next_tier(&tier), "Gold (gold): 1 active day, 2,000 earned points missing");
    }

    #[test]
    fn what_becomes_of_a_tier_tells_the_end_of_a_grace() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let next = TierForecast { tier_id: "silver".to_owned(), at: at(852_094_800), ..TierForecast::default() };
        let tier = |seconds| CustomerTier { valid_until: at(seconds), ..CustomerTier::default() };
        assert_eq!(show_loss(&next, &tier(852_094_800), &TimeZone::UTC), ", then silver");
        let shown = show_loss(&next, &tier(800_000_000), &TimeZone::UTC);
        assert_eq!(shown, ", then silver from 1997-01-01 05:00:00 UTC");
    }

    #[test]
    fn an_override_is_shown_with_its_end_and_what_it_hides() {
        let ends_at = Some(prost_types::Timestamp { seconds: 852_094_800, nanos: 0 });
        let kind = TierOverrideKind::Floor.into();
        let forced = TierOverride { kind, tier_id: "gold".to_owned(), ends_at, ..TierOverride::default() };
        let shown = show_override(&forced, "silver", &TimeZone::UTC);
        assert_eq!(shown, "at least gold until 1997-01-01 05:00:00 UTC, silver without that");
        let lock = TierOverride { kind: TierOverrideKind::Lock.into(), ends_at: None, ..forced };
        assert_eq!(show_override(&lock, "silver", &TimeZone::UTC), "gold, silver without that");
    }

    #[test]
    fn an_entry_is_titled_by_number_and_kind_and_shows_its_points() {
        let movement = |from: Pocket, to: Pocket| Some(PocketMove { from: from.into(), to: to.into(), points: 1_500 });
        let kind = EntryKind::PointsGranted.into();
        let granted = movement(Pocket::Issued, Pocket::Available);
        let mut entry = Entry { account_seq: 4, kind, r#move: granted, ..Entry::default() };
        assert_eq!(title(&entry), "#4 points granted");
        assert_eq!(show_move(entry.r#move.as_ref()), "1,500");
        entry.r#move = movement(Pocket::Available, Pocket::Held);
        assert_eq!(show_move(entry.r#move.as_ref()), "1,500\navailable\n→ held");
        entry.kind = 999;
        assert_eq!(title(&entry), "#4 kind 999");
    }
}
