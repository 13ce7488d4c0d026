//! No call costs more for a customer with a long history than for one with a short one: told by the rows that Postgres
//! reads for it, and never by a clock.

mod actions;
mod benefits;
mod caps;
mod customer_exports;
mod exports;
mod lookups;
mod past;
mod retention;
mod sayings;
mod uses;

use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use goldbook::proto;
use jiff::Timestamp;
use tonic::Code;

use crate::harness::{Clock, Database, SHOP, Service, assert_refused, at, grant_reward};
use crate::points::calls::reverse_entry;

/// The rows that are read at most for what is within the bounds of a call, beside those of a short history.
const SLACK: i64 = 300;
/// How many entries a page looks through for those of some kinds.
const WINDOW: i64 = 2_000;

/// Rows that Postgres has read of a database's tables: by an index, and by going through whole tables, which are named.
#[derive(Clone, Debug)]
struct Reads {
    by_index: i64,
    by_scan: Vec<(String, i64)>,
}

/// What has been read, once nobody is connected any more.
async fn reads(database: &Database) -> Reads {
    let mut connection = database.connect_alone().await;
    let select = "SELECT relname::text, coalesce(idx_tup_fetch, 0), coalesce(seq_tup_read, 0)
                  FROM pg_stat_user_tables WHERE relname <> '_sqlx_migrations' ORDER BY relname";
    let tables: Vec<(String, i64, i64)> = sqlx::query_as(select).fetch_all(&mut connection).await.unwrap();
    let by_index = tables.iter().map(|(_, by_index, _)| by_index).sum();
    Reads { by_index, by_scan: tables.into_iter().map(|(table, _, by_scan)| (table, by_scan)).collect() }
}

/// A customer whose history was loaded in bulk, with nothing known of it yet to whoever plans statements.
struct History {
    database: Database,
    clock: Clock,
    /// How many entries, and nearly as many open lots.
    entries: i64,
}

/// The id of a lot, by the account and the number of the entry that made it.
fn lot_id(account_id: &str, seq: i64) -> String {
    format!("{}.{seq}", account_id.replace('-', ""))
}

/// The grant that the history is copies of.
const FIRST_LOT: i64 = 3;

impl History {
    /// So many grants of one point that expire at different times, one each second.
    async fn load(entries: i64) -> Self {
        let service = Service::start().await;
        service.apply_shop().await;
        service.enrol("anna").await;
        let expiry = proto::expiry_rule::Rule::At(at("2026-06-01T00:00:00Z"));
        let expiry = Some(proto::ExpiryRule { rule: Some(expiry) });
        let first = proto::GrantRewardRequest { expiry, ..grant_reward("anna", 5, "first") };
        service.rewards().grant_reward(first).await.unwrap();
        let (database, clock) = (service.database.clone(), service.clock.clone());
        service.stop().await;
        let mut connection = database.connect(SUPERUSER).await;
        // Autovacuum would learn about the tables.
        let load = "
            ALTER TABLE ledger_entries SET (autovacuum_enabled = off);
            ALTER TABLE lots SET (autovacuum_enabled = off);
            -- Autovacuum would go through the pages that are not summed up in it yet, which counts as reading the table.
            ALTER INDEX ledger_entries_recorded SET (autosummarize = off);
            INSERT INTO ledger_entries
                SELECT account_id, seq, program_id, kind, from_pocket, to_pocket, 1, detail, gen_random_uuid(), NULL, NULL,
                       principal_id, actor, reason, policy_version, causes, trace_id, effective_at + (seq || ' s')::interval,
                       recorded_at, hash_version, content_hash
                FROM ledger_entries e, generate_series(4, $entries::bigint) seq
                WHERE e.account_seq = 3 AND e.kind = 'points_granted';
            INSERT INTO lots
                SELECT account_id, seq, 1, 0, 1, 0, 0, 0, 0, 0, policy_version,
                       live_since + (seq || ' s')::interval, NULL, NULL,
                       expires_at + (1 + seq % 1000 || ' h')::interval, FALSE, NULL, NULL
                FROM lots l, generate_series(4, $entries::bigint) seq WHERE l.lot_seq = 3;
            INSERT INTO balances
                SELECT account_id, seq, seq + 2, 0, 0, seq + 2, 0, 0, 0, 0
                FROM accounts a, generate_series(64, $entries::bigint, 64) seq WHERE kind = 'customer';
            UPDATE accounts SET head = $entries, issued = $entries + 2, available = $entries + 2,
                effective_at = effective_at + ('$entries s')::interval
            WHERE kind = 'customer';"
            .replace("$entries", &entries.to_string());
        sqlx::raw_sql(sqlx::AssertSqlSafe(load)).execute(&mut connection).await.unwrap();
        drop(connection);
        clock.set("2026-03-01T12:00:00Z".parse().unwrap());
        Self { database, clock, entries }
    }

    /// The instant of an entry.
    fn at(&self, seq: i64) -> prost_types::Timestamp {
        let start: Timestamp = crate::harness::START.parse().unwrap();
        crate::harness::instant(start + jiff::SignedDuration::from_secs(seq))
    }

    async fn account_id(&self) -> String {
        let mut connection = self.database.connect(SUPERUSER).await;
        let select = "SELECT account_id::text FROM accounts WHERE kind = 'customer'";
        sqlx::query_scalar(select).fetch_one(&mut connection).await.unwrap()
    }

    /// What one call reads, on a service that serves nothing else.
    async fn measure(&self, call: &Call) -> i64 {
        let account_id = self.account_id().await;
        let before = reads(&self.database).await;
        let service =
            Service::start_with(self.database.clone(), self.database.options(SERVICE_ROLE), self.clock.clone()).await;
        call.make(&service, self, &account_id).await;
        service.stop().await;
        let after = reads(&self.database).await;
        assert_eq!(after.by_scan, before.by_scan, "{call:?} goes through a whole table");
        after.by_index - before.by_index
    }
}

/// A call about anna.
#[derive(Clone, Copy, Debug)]
enum Call {
    Balance,
    PastBalance,
    PastTier,
    Statement,
    Lots,
    OpenLots,
    LotUses,
    TierChanges,
    Rewards,
    Entries,
    EntriesOfAKind,
    EntriesOfAPeriod,
    PrivilegedActions,
    Purchase,
    Redeem,
    Hold,
    AdjustDown,
    ReverseUnspent,
    ReverseSpent,
}

const CALLS: &[Call] = &[
    Call::Balance,
    Call::PastBalance,
    Call::PastTier,
    Call::Statement,
    Call::Lots,
    Call::OpenLots,
    Call::LotUses,
    Call::TierChanges,
    Call::Rewards,
    Call::Entries,
    Call::EntriesOfAKind,
    Call::EntriesOfAPeriod,
    Call::PrivilegedActions,
    Call::Purchase,
    Call::ReverseUnspent,
    Call::Redeem,
    Call::Hold,
    Call::AdjustDown,
    Call::ReverseSpent,
];

impl Call {
    #[expect(clippy::too_many_lines, reason = "one arm for each call")]
    async fn make(self, service: &Service, history: &History, account_id: &str) {
        let (program_id, customer_id) = (SHOP.to_owned(), "anna".to_owned());
        let middle = history.entries / 2;
        let page = |open_only| proto::ListLotsRequest {
            program_id: SHOP.to_owned(),
            customer_id: "anna".to_owned(),
            open_only,
            ..Default::default()
        };
        let lot = |seq| lot_id(account_id, seq);
        match self {
            Self::Balance => {
                let balance = service.balance("anna").await;
                assert_eq!(balance.available, history.entries + 2);
                assert_eq!(balance.next_expiry.unwrap().points, 5);
            }
            Self::PastBalance => {
                let as_of = Some(history.at(middle));
                let request = proto::GetBalanceRequest { program_id, customer_id, as_of };
                let balance = service.rewards().get_balance(request).await.unwrap().into_inner().balance.unwrap();
                assert_eq!((balance.available, balance.is_next_expiry_unknown), (middle + 2, middle > 512));
            }
            Self::PastTier => {
                let as_of = Some(history.at(middle));
                let request = proto::GetCustomerTierRequest { program_id, customer_id, as_of };
                let tier = service.tiers().get_customer_tier(request).await.unwrap().into_inner();
                assert_eq!(tier.customer_tier.unwrap().tier_id, "member");
            }
            Self::Statement => {
                let request = proto::GetStatementRequest {
                    program_id,
                    customer_id,
                    start_time: Some(history.at(middle)),
                    ..Default::default()
                };
                let statement = service.ledger().get_statement(request).await.unwrap().into_inner();
                assert_eq!(statement.opening.unwrap().available, middle + 1);
                assert_eq!(statement.closing.unwrap().available, history.entries + 2);
                assert_eq!(statement.lines.len(), 50);
            }
            Self::Lots | Self::OpenLots => {
                let request = page(matches!(self, Self::OpenLots));
                let lots = service.rewards().list_lots(request).await.unwrap().into_inner().lots;
                assert_eq!((lots.len(), &lots[0].lot_id), (50, &lot(history.entries)));
            }
            Self::LotUses => {
                let request =
                    proto::ListLotUsesRequest { program_id, customer_id, lot_id: lot(middle), ..Default::default() };
                let uses = service.rewards().list_lot_uses(request).await.unwrap().into_inner().uses;
                assert_eq!(uses.len(), 1);
            }
            Self::TierChanges => {
                let request = proto::ListTierChangesRequest { program_id, customer_id, ..Default::default() };
                let changes = service.tiers().list_tier_changes(request).await.unwrap().into_inner().tier_changes;
                assert_eq!(changes.len(), 1);
            }
            Self::Rewards => {
                let request = proto::ListRewardsRequest { program_id, customer_id, ..Default::default() };
                let rewards = service.rewards().list_rewards(request).await.unwrap().into_inner().rewards;
                assert_eq!(rewards.len(), 50);
            }
            Self::Entries | Self::EntriesOfAKind | Self::EntriesOfAPeriod => {
                let mut request = proto::ListEntriesRequest { program_id, customer_id, ..Default::default() };
                match self {
                    Self::EntriesOfAKind => {
                        request.kinds = vec![proto::EntryKind::TierChanged.into()];
                        request.newest_first = true;
                    }
                    Self::EntriesOfAPeriod => request.effective_from = Some(history.at(middle)),
                    _ => {}
                }
                service.ledger().list_entries(request).await.unwrap();
            }
            Self::PrivilegedActions => {
                let request = proto::ListPrivilegedActionsRequest { program_id, ..Default::default() };
                service.ledger().list_privileged_actions(request).await.unwrap();
            }
            Self::Purchase => drop(service.purchase("anna", "order", "3.00").await.unwrap()),
            Self::ReverseUnspent => {
                let reverse = reverse_entry(&lot(middle), 1, proto::Clawback::AllowDebt, "reverse");
                service.rewards().reverse_entry(reverse).await.unwrap();
            }
            Self::Redeem => drop(service.redeem(8, "redeem").await.unwrap()),
            Self::Hold => drop(service.hold(3, "hold").await.unwrap()),
            Self::AdjustDown => {
                let change = proto::adjust_points_request::Change::PointsDown(2);
                let request = crate::points::calls::adjust_points(change, "down");
                service.rewards().adjust_points(request).await.unwrap();
            }
            Self::ReverseSpent => {
                let reverse = reverse_entry(&lot(FIRST_LOT), 4, proto::Clawback::WithinBalance, "spent");
                let reversed = service.rewards().reverse_entry(reverse).await.unwrap().into_inner();
                assert_eq!(reversed.points_reversed, 4);
            }
        }
    }
}

#[tokio::test]
async fn no_call_reads_more_of_a_long_history_even_right_after_it_was_loaded() {
    let (short, long) = (History::load(200).await, History::load(30_000).await);
    let mut told = Vec::new();
    for call in CALLS {
        let (few, many) = (short.measure(call).await, long.measure(call).await);
        let bound = match call {
            Call::EntriesOfAKind | Call::OpenLots => few + WINDOW + SLACK,
            _ => few + SLACK,
        };
        told.push(format!("{call:?}: {few} of 200, {many} of 30,000"));
        assert!(many <= bound, "{}", told.join("\n"));
    }
}

#[tokio::test]
async fn a_spend_of_points_of_too_many_lots_is_refused_and_goes_in_parts() {
    let history = History::load(6_000).await;
    let service = Service::start_on(history.database.clone(), history.clock.clone()).await;
    assert_refused(service.redeem(5_900, "whole").await, Code::FailedPrecondition, "TOO_MANY_LOTS");
    let change = proto::adjust_points_request::Change::PointsDown(5_900);
    let down = service.rewards().adjust_points(crate::points::calls::adjust_points(change, "down")).await;
    assert_refused(down, Code::FailedPrecondition, "TOO_MANY_LOTS");
    for (points, key) in [(4_000, "one"), (1_900, "two")] {
        let spent = service.redeem(points, key).await.unwrap().redemption.unwrap();
        // The first lot has five points.
        assert_eq!(spent.lots.len(), usize::try_from(points).unwrap() - usize::from(key == "one") * 4);
    }
    assert_eq!(service.available("anna").await, 6_002 - 5_900);
}

#[tokio::test]
async fn pages_of_a_filter_that_lets_little_through_lead_to_all_of_it() {
    let history = History::load(4_500).await;
    let service = Service::start_on(history.database.clone(), history.clock.clone()).await;
    service.redeem(8, "redeem").await.unwrap();
    for newest_first in [false, true] {
        let read = |page_token| async {
            let request = proto::ListEntriesRequest {
                program_id: SHOP.to_owned(),
                customer_id: "anna".to_owned(),
                kinds: vec![proto::EntryKind::TierChanged.into(), proto::EntryKind::PointsRedeemed.into()],
                newest_first,
                page_token,
                ..Default::default()
            };
            let page = service.ledger().list_entries(request).await.unwrap().into_inner();
            (page.entries, page.next_page_token)
        };
        let (mut seqs, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let (entries, next) = read(token).await;
            seqs.extend(entries.iter().map(|entry| entry.account_seq));
            pages += 1;
            token = next;
            if token.is_empty() {
                break;
            }
        }
        let expected = if newest_first { [4_501, 2] } else { [2, 4_501] };
        assert_eq!((seqs.as_slice(), pages), (expected.as_slice(), 3));
    }
}
