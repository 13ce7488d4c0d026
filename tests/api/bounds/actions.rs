//! A page of privileged actions costs no more where there are many of them, and many ordinary entries between them.

use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use goldbook::proto;
use goldbook::proto::PrivilegedActionKind as Kind;

use super::{History, reads};
use crate::harness::{SHOP, Service};

/// How many rows a page reads at most: of each of the seven kinds of entries a page and one more.
const MOST: i64 = 7 * 51 + 100;

/// Adds so many adjustments of anna's at later instants, as the service never would, of a history that is loaded.
async fn load_adjustments(history: &History, count: i64) {
    let mut connection = history.database.connect(SUPERUSER).await;
    let load = "
        INSERT INTO ledger_entries
            SELECT account_id, 1000000 + seq, program_id, 'points_adjusted', from_pocket, to_pocket, points, detail,
                   gen_random_uuid(), NULL, NULL, principal_id, actor, reason, policy_version, causes, trace_id,
                   effective_at, recorded_at + (seq || ' s')::interval, hash_version, content_hash
            FROM ledger_entries e, generate_series(1, $count::bigint) seq
            WHERE e.account_seq = 3 AND e.kind = 'points_granted'"
        .replace("$count", &count.to_string());
    sqlx::raw_sql(sqlx::AssertSqlSafe(load)).execute(&mut connection).await.unwrap();
}

/// What is read for one page, on a service that serves nothing else; with what was on it.
async fn measure(history: &History, kinds: &[Kind], middle: bool) -> (i64, Vec<Kind>) {
    let before = reads(&history.database).await;
    let options = history.database.options(SERVICE_ROLE);
    let service = Service::start_with(history.database.clone(), options, history.clock.clone()).await;
    let request = proto::ListPrivilegedActionsRequest {
        program_id: SHOP.to_owned(),
        kinds: kinds.iter().map(|kind| i32::from(*kind)).collect(),
        end_time: middle.then(|| history.at(1_000)),
        ..Default::default()
    };
    let actions = service.ledger().list_privileged_actions(request).await.unwrap().into_inner().actions;
    service.stop().await;
    let after = reads(&history.database).await;
    assert_eq!(after.by_scan, before.by_scan, "a list goes through a whole table");
    (after.by_index - before.by_index, actions.iter().map(proto::PrivilegedAction::kind).collect())
}

#[tokio::test]
async fn a_page_of_privileged_actions_reads_no_ordinary_entries_and_no_other_pages() {
    let history = History::load(20_000).await;
    let (few, found) = measure(&history, &[], false).await;
    assert_eq!(found, [Kind::ProgramApplied]);
    assert!(few < 50, "{few} rows for one action among 20,000 entries");

    load_adjustments(&history, 20_000).await;
    for (kinds, middle, expected) in [
        (&[][..], false, vec![Kind::PointsAdjusted; 50]),
        (&[], true, vec![Kind::PointsAdjusted; 50]),
        (&[Kind::ProgramApplied, Kind::CustomerErased], false, vec![Kind::ProgramApplied]),
    ] {
        let (rows, found) = measure(&history, kinds, middle).await;
        assert_eq!(found, expected);
        assert!(rows < MOST, "{rows} rows for a page of {kinds:?}");
    }
}
