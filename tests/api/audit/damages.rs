//! One test for each way to damage a book.

use goldbook::audit::model::DifferenceKind;

use super::{Told, assert_clean, audit, count_entries, create_history, sabotage};

/// The account of a customer, in SQL.
pub(super) const ANNA: &str = "(SELECT account_id FROM customers WHERE customer_id = 'anna')";
pub(super) const BEN: &str = "(SELECT account_id FROM customers WHERE customer_id = 'ben')";

/// What an audit tells after this was done to the small history.
async fn damage(statements: &str) -> Told {
    let database = create_history().await;
    sabotage(&database, &statements.replace(":anna", ANNA).replace(":ben", BEN)).await;
    let told = audit(&database).await;
    assert!(told.tally.differences > 0, "the audit found nothing after {statements}");
    assert_eq!(told.tally.entries, count_entries(&database).await);
    told
}

/// Asserts what an audit tells after this was done.
async fn assert_told(statements: &str, kind: DifferenceKind, expected: &[&str]) {
    let told = damage(statements).await;
    for words in expected {
        told.assert_tells(kind, words);
    }
}

#[tokio::test]
async fn audit_finds_changed_points() {
    let statements = "UPDATE ledger_entries SET points = points + 900 WHERE account_id = :anna AND points = 70";
    let told = damage(statements).await;
    told.assert_tells(DifferenceKind::Ledger, ": the content hash is ");
    // What the row says now is not what is stored.
    told.assert_tells(DifferenceKind::Projection, "points is 970 by the entries, 70 as stored (-900)");
}

#[tokio::test]
async fn audit_finds_a_removed_entry() {
    let statements = "DELETE FROM ledger_entries WHERE account_id = :anna AND points = 70";
    assert_told(statements, DifferenceKind::Ledger, &["entry ", " of account ", " is missing"]).await;
}

#[tokio::test]
async fn audit_finds_that_the_last_or_the_first_entry_or_all_were_removed() {
    let last = "DELETE FROM ledger_entries e USING accounts a WHERE e.account_id = a.account_id
                AND a.account_id = :anna AND account_seq = head";
    assert_told(last, DifferenceKind::Ledger, &[" is missing"]).await;
    let first = "DELETE FROM ledger_entries WHERE account_id = :anna AND account_seq <= 2";
    assert_told(first, DifferenceKind::Ledger, &["entries 1 to 2 of account "]).await;
    assert_told("DELETE FROM ledger_entries WHERE account_id = :anna", DifferenceKind::Ledger, &["entries 1 to "])
        .await;
}

#[tokio::test]
async fn audit_finds_a_changed_detail() {
    let statements = "UPDATE ledger_entries SET detail = jsonb_set(detail::jsonb, '{lots,0,points}', '29')::json
                      WHERE account_id = :anna AND kind = 'points_redeemed'";
    assert_told(statements, DifferenceKind::Ledger, &["the content hash is ", "the lots contradict it"]).await;
}

#[tokio::test]
async fn audit_finds_a_detail_a_pocket_and_a_kind_that_mean_nothing() {
    let detail = r#"UPDATE ledger_entries SET detail = '{"kind": "made_up"}' WHERE account_id = :anna AND points = 70"#;
    assert_told(detail, DifferenceKind::Ledger, &["unknown variant `made_up`"]).await;
    let pocket = "UPDATE ledger_entries SET to_pocket = 'elsewhere' WHERE account_id = :anna AND points = 70";
    assert_told(pocket, DifferenceKind::Ledger, &["unknown pocket"]).await;
    let kind = "UPDATE ledger_entries SET kind = 'points_imported' WHERE account_id = :anna AND points = 70";
    assert_told(kind, DifferenceKind::Ledger, &["the kind is points_granted by its detail, points_imported as stored"])
        .await;
}

#[tokio::test]
async fn audit_finds_every_change_of_a_column() {
    let database = create_history().await;
    let row = "account_id = :ben AND reason = 'purchase' AND points = 250".replace(":ben", BEN);
    sabotage(&database, &format!("CREATE TABLE kept AS SELECT * FROM ledger_entries WHERE {row}")).await;
    for change in [
        "command_id = gen_random_uuid()",
        "principal_id = gen_random_uuid()",
        "key_hash = sha256('x'), fingerprint = sha256('y')",
        "actor = 'time'",
        "reason = 'fraud'",
        "policy_version = 9",
        "causes = '{}'",
        "trace_id = substring(sha256('x') for 16)",
        "effective_at = effective_at + interval '1 s'",
        "recorded_at = recorded_at + interval '1 s'",
        "content_hash = sha256('x')",
        "hash_version = 2",
    ] {
        sabotage(&database, &format!("UPDATE ledger_entries SET {change} WHERE {row}")).await;
        let words =
            if change.starts_with("hash_version") { "of the unknown version 2" } else { "the content hash is " };
        audit(&database).await.assert_tells(DifferenceKind::Ledger, words);
        let restore = "DELETE FROM ledger_entries e USING kept k
                       WHERE e.account_id = k.account_id AND e.account_seq = k.account_seq;
                       INSERT INTO ledger_entries SELECT * FROM kept";
        sabotage(&database, restore).await;
    }
    assert_clean(&database).await;
}

#[tokio::test]
async fn audit_finds_an_account_whose_time_goes_back() {
    let statements = "UPDATE ledger_entries SET effective_at = effective_at - interval '1 h'
                      WHERE account_id = :anna AND points = 70";
    assert_told(statements, DifferenceKind::Ledger, &["its effective_at goes back by 1h", "the content hash is "])
        .await;
}

#[tokio::test]
async fn audit_finds_a_cause_that_does_not_exist() {
    let elsewhere = "UPDATE ledger_entries SET causes = ARRAY['00000000000000000000000000000007.3']
                     WHERE account_id = :ben AND points = 250 AND reason = 'purchase'";
    assert_told(
        elsewhere,
        DifferenceKind::Ledger,
        &["names entry 00000000000000000000000000000007.3, which does not exist"],
    )
    .await;
    let later = "UPDATE ledger_entries SET causes = ARRAY[replace(account_id::text, '-', '') || '.99']
                 WHERE account_id = :ben AND points = 250 AND reason = 'purchase'";
    assert_told(later, DifferenceKind::Ledger, &[".99 does not stand before it"]).await;
}

#[tokio::test]
async fn audit_finds_a_copied_key() {
    let statements = "DROP INDEX ledger_entries_key_once;
                      UPDATE ledger_entries e SET key_hash = f.key_hash FROM ledger_entries f
                      WHERE e.account_id = :anna AND f.account_id = :anna AND e.points = 70 AND f.points = 100";
    assert_told(statements, DifferenceKind::Ledger, &["its idempotency key was used before", "the content hash is "])
        .await;
}

#[tokio::test]
async fn audit_finds_a_key_on_an_entry_that_is_not_its_commands_first() {
    let statements = "UPDATE ledger_entries SET key_hash = sha256('x'), fingerprint = sha256('y')
                      WHERE account_id = :ben AND points = 250 AND reason = 'purchase'";
    assert_told(statements, DifferenceKind::Ledger, &["it has a key and is not its command's first"]).await;
}

#[tokio::test]
async fn audit_finds_a_changed_head() {
    let pockets = "UPDATE accounts SET available = available + 10, issued = issued + 10 WHERE account_id = :anna";
    let expected =
        ["available is 620 by the entries, 630 as stored (+10)", "issued is 670 by the entries, 680 as stored (+10)"];
    assert_told(pockets, DifferenceKind::Projection, &expected).await;
    let head = "UPDATE accounts SET head = head - 1 WHERE account_id = :anna";
    assert_told(head, DifferenceKind::Projection, &[" as stored (-1)"]).await;
    let time = "UPDATE accounts SET effective_at = effective_at + interval '1 h' WHERE account_id = :anna";
    assert_told(time, DifferenceKind::Projection, &["effective_at is 2026-01-15T12:00:00Z", "(+1h)"]).await;
}

#[tokio::test]
async fn audit_finds_a_missing_head_and_what_it_leaves_alone() {
    let told = damage("DELETE FROM accounts WHERE account_id = :anna").await;
    told.assert_tells(DifferenceKind::Projection, " entries and no head");
    told.assert_tells(DifferenceKind::Projection, "standing of account ");
    told.assert_tells(DifferenceKind::Source, "a dossier of an account that does not exist");
    told.assert_tells(DifferenceKind::Source, "belongs to no account");
}

#[tokio::test]
async fn audit_finds_a_due_that_is_late_or_forgotten_and_lets_it_be_early() {
    let late = "UPDATE accounts SET next_due_at = next_due_at + interval '1 h' WHERE account_id = :anna";
    assert_told(
        late,
        DifferenceKind::Projection,
        &["next_due_at is 2026-01-22T12:00:00Z by the entries", "(late by 1h)"],
    )
    .await;
    let forgotten = "UPDATE accounts SET next_due_at = NULL WHERE account_id = :anna";
    assert_told(
        forgotten,
        DifferenceKind::Projection,
        &["next_due_at is 2026-01-22T12:00:00Z by the entries, none as stored"],
    )
    .await;
    let database = create_history().await;
    sabotage(&database, "UPDATE accounts SET next_due_at = '2026-01-01T00:00:00Z'").await;
    assert_clean(&database).await;
}

#[tokio::test]
async fn audit_finds_changed_lots_missing_lots_and_lots_too_many() {
    let counts = "UPDATE lots SET available = available + 1, redeemed = redeemed - 1
                  WHERE account_id = :anna AND points = 100";
    let expected =
        ["available is 50 by the entries, 51 as stored (+1)", "redeemed is 30 by the entries, 29 as stored (-1)"];
    assert_told(counts, DifferenceKind::Projection, &expected).await;
    let terms = "UPDATE lots SET expires_at = expires_at + interval '1 h' WHERE account_id = :anna AND points = 100";
    assert_told(terms, DifferenceKind::Projection, &["expires_at is 2026-04-15T12:00:00Z by the entries", "(+1h)"])
        .await;
    let missing = "DELETE FROM lots WHERE account_id = :anna AND points = 70";
    assert_told(missing, DifferenceKind::Projection, &["is missing: by the entries it has points 70, available 70"])
        .await;
    let extra = "INSERT INTO lots (account_id, lot_seq, points, pending, available, held, redeemed, expired, cancelled,
                     repaid, policy_version, slides)
                 VALUES (:anna, 1, 5, 0, 5, 0, 0, 0, 0, 0, 1, FALSE)";
    assert_told(extra, DifferenceKind::Projection, &["lot 1 of account ", "is stored and no entry makes it"]).await;
}

#[tokio::test]
async fn audit_finds_uses_of_lots_and_balances_of_the_past_that_no_entry_makes() {
    let uses =
        "INSERT INTO lot_uses SELECT account_id, lot_seq, 3, '{3}' FROM lots WHERE account_id = :anna AND points = 100";
    assert_told(uses, DifferenceKind::Projection, &["lot ", ": uses is ", " as stored"]).await;
    let balance = "INSERT INTO balances VALUES (:anna, 64, 1, 0, 0, 1, 0, 0, 0, 0)";
    assert_told(balance, DifferenceKind::Projection, &["balance after entry 64 of account ", "and no entry makes it"])
        .await;
}

#[tokio::test]
async fn audit_finds_holds_too_many_and_changed_ones() {
    let extra = "INSERT INTO holds VALUES (:anna, 2, 5, 1, now(), '{4}', '{5}')";
    assert_told(extra, DifferenceKind::Projection, &["hold 2 of account ", "is stored and no entry makes it"]).await;
    let changed = "UPDATE holds SET lot_points = '{19}'";
    assert_told(changed, DifferenceKind::Projection, &["parts is 20 of lot ", "19 of lot "]).await;
}

#[tokio::test]
async fn audit_finds_changed_standings_reversals_and_earnings() {
    let standing = "UPDATE standings SET tier_id = 'gold' WHERE account_id = :ben";
    assert_told(standing, DifferenceKind::Projection, &["tier_id is silver by the entries, gold as stored"]).await;
    let mark = "UPDATE standing_marks SET qualifying_spend = qualifying_spend + 1 WHERE account_id = :ben";
    assert_told(mark, DifferenceKind::Projection, &["standing after entry ", "qualifying_spend is "]).await;
    let day = "UPDATE standing_days SET spend = spend + 1 WHERE account_id = :ben";
    assert_told(day, DifferenceKind::Projection, &["standing day 2", "spend is "]).await;
    let day_mark = "INSERT INTO standing_day_marks VALUES (:anna, '2026-01-15', 3, 1, 0, 0, 1, 1, 0)";
    assert_told(day_mark, DifferenceKind::Projection, &["standing day after entry 2026-01-15 "]).await;
    let used = "INSERT INTO benefit_uses VALUES
                (:anna, 3, 'lounge', now(), 0, 1, NULL, '2026-01-15', 0, 1, 1, 1, 1, 1, 1)";
    assert_told(used, DifferenceKind::Projection, &["benefit use of entry 3 of account ", "no entry makes it"]).await;
    let bought = "INSERT INTO purchases VALUES (:anna, 1, 'shop', '2026-01-15', now(), 5, 0, 1)";
    assert_told(bought, DifferenceKind::Projection, &["purchase of entry 1 of account ", "no entry makes it"]).await;
    let fitted = "INSERT INTO value_models VALUES (:anna, 1, 'shop', 1, now())";
    assert_told(fitted, DifferenceKind::Projection, &["value model of entry 1 of account ", "no entry makes it"]).await;
    let classed =
        "INSERT INTO value_classes VALUES (:anna, 1, 'shop', 'key', NULL, '2026-01-01', now(), now(), 1, 5, 0)";
    assert_told(classed, DifferenceKind::Projection, &["value class of entry 1 of account ", "no entry makes it"])
        .await;
    let told = "INSERT INTO classifications VALUES (:anna, 1, 'shop', '2026-01-01', now())";
    assert_told(told, DifferenceKind::Projection, &["classification of entry 1 of account ", "no entry makes it"])
        .await;
    let said = "INSERT INTO feedback VALUES
                (:anna, 3, 'shop', '2026-01-15', now(), now(), NULL, 5, NULL, NULL, NULL, NULL, '{}', '{}', '{}', NULL, NULL, NULL,
                 NULL, NULL, NULL, NULL)";
    assert_told(said, DifferenceKind::Projection, &["feedback of entry 3 of account ", "no entry makes it"]).await;
    let complaint = "INSERT INTO complaints VALUES
                     (:anna, 3, 'shop', NULL, 'low', NULL, NULL, 'received', now(), now(), 1, NULL, NULL, '{}', '{}', NULL, NULL, NULL,
                      false, NULL, '{}', false, NULL, NULL, NULL, NULL, NULL, NULL, 0, 1, NULL)";
    assert_told(complaint, DifferenceKind::Projection, &["complaint of entry 3 of account ", "no entry makes it"])
        .await;
    let step = "INSERT INTO complaint_steps VALUES
                (:anna, 3, 2, 'shop', now(), 'complaint_updated', NULL, false, false, NULL, false, NULL, NULL, NULL)";
    assert_told(step, DifferenceKind::Projection, &["complaint step of entry 3 of account ", "no entry makes it"])
        .await;
    let owner = "INSERT INTO complaint_owners VALUES (:anna, 3, 'nobody')";
    assert_told(owner, DifferenceKind::Source, &["the owner of complaint 3, which does not exist"]).await;
    let lifecycle =
        "INSERT INTO lifecycles (account_id, program_id, stage, since, decided_seq, policy_version, purchases, spend,
                         referrals, open_complaints)
                     VALUES (:anna, 'shop', 'lost', now(), 3, 1, 0, 0, 0, 0)";
    assert_told(lifecycle, DifferenceKind::Projection, &["lifecycle of account ", "no entry makes it"]).await;
    let decided = "INSERT INTO lifecycle_decisions VALUES (:anna, 3, now())";
    let told = ["lifecycle decided by entry 3 of account ", "no entry makes it"];
    assert_told(decided, DifferenceKind::Projection, &told).await;
    let goodwill = "INSERT INTO goodwill VALUES (:anna, 3, NULL, now(), 5, NULL)";
    assert_told(goodwill, DifferenceKind::Projection, &["goodwill of entry 3 of account ", "no entry makes it"]).await;
    let counts = "INSERT INTO goodwill_counts VALUES (:anna, 3, '2026-01-15', 1, 1, 1, 1, 1, 1)";
    assert_told(counts, DifferenceKind::Projection, &["goodwill counts of account ", "no entry makes it"]).await;
    let granted = "INSERT INTO benefit_grants VALUES (:anna, 3, 'lounge', NULL, 1, now(), 2, false, NULL, NULL)";
    assert_told(granted, DifferenceKind::Projection, &["benefit grant of entry 3 of account "]).await;
    let given = "INSERT INTO packages_given VALUES (:anna, 3, 'box', 'tier_reached', 'gold', 0, NULL)";
    assert_told(given, DifferenceKind::Projection, &["package of entry 3 of account "]).await;
    let owed = "INSERT INTO packages_owed VALUES (:anna, 'gold', 'box', 'shop', 2, now(), 1, NULL)";
    assert_told(owed, DifferenceKind::Projection, &["package owed for tier gold of account "]).await;
    let period = "INSERT INTO tier_periods VALUES (:anna, 3, now())";
    assert_told(period, DifferenceKind::Projection, &["tier period of entry 3 of account "]).await;
    let reversal = "INSERT INTO reversals VALUES (:anna, 4, 12, 0)";
    assert_told(reversal, DifferenceKind::Projection, &["reversal of entry 4 of account ", "it has reversed 12"]).await;
    let earnings = "INSERT INTO earnings VALUES (:anna, now(), '{}', '{}')";
    assert_told(earnings, DifferenceKind::Projection, &["earnings of account "]).await;
}

#[tokio::test]
async fn audit_finds_changed_referrals_and_codes() {
    let state = "UPDATE referrals SET state = 'expired', qualifying_seq = NULL";
    assert_told(state, DifferenceKind::Projection, &["state is converted by the entries, expired as stored"]).await;
    let code = "UPDATE referral_codes SET account_seq = 1";
    assert_told(code, DifferenceKind::Projection, &["referral code of campaign friends of account "]).await;
    let name = "UPDATE names SET name = 'STOLEN' WHERE space = 'referral_code'";
    let expected = ["a referral code whose name is missing", "belongs to an account without that code"];
    assert_told(name, DifferenceKind::Source, &expected).await;
}

#[tokio::test]
async fn audit_finds_a_changed_program_version_and_a_missing_document() {
    assert_told("UPDATE programs SET versions = ARRAY[2]", DifferenceKind::Projection, &["agenda is 1 from "]).await;
    assert_told("DELETE FROM program_versions", DifferenceKind::Source, &["version 1 of program shop has no document"])
        .await;
    let damaged = "ALTER TABLE program_versions DISABLE TRIGGER ALL;
                   UPDATE program_versions SET document = document - 'tiers'";
    let expected = ["the document of version 1 of program shop cannot be understood: missing field `tiers`"];
    assert_told(damaged, DifferenceKind::Source, &expected).await;
}

#[tokio::test]
async fn audit_finds_changed_missing_and_made_up_activities() {
    let amount = "UPDATE activities SET amount = amount + 1 WHERE activity_id = 'order-1'";
    assert_told(amount, DifferenceKind::Source, &["amount is 25000 by the entry, 25001 as stored"]).await;
    let id = "UPDATE activities SET activity_id = 'order-9' WHERE activity_id = 'order-2'";
    assert_told(id, DifferenceKind::Source, &["its id is not the one that was accepted"]).await;
    let missing = "DELETE FROM activities WHERE activity_id = 'order-1'";
    assert_told(missing, DifferenceKind::Source, &["the row of its activity is missing"]).await;
    let made_up = "INSERT INTO activities SELECT :anna, 1, 'x', kind, purchase_seq, amount, survey_id, happened_at,
                   recorded_at FROM activities LIMIT 1";
    assert_told(made_up, DifferenceKind::Source, &["an activity's row names it, and it accepted none"]).await;
}

#[tokio::test]
async fn audit_finds_names_dossiers_and_notes_that_point_at_nothing() {
    let nobody = "'00000000-0000-0000-0000-000000000007'";
    let name = format!("INSERT INTO names VALUES ('shop', 'customer', 'zoe', {nobody})");
    assert_told(&name, DifferenceKind::Source, &["a name in space customer of program shop belongs to no account"])
        .await;
    let crossed = "UPDATE names SET account_id = :ben WHERE name = 'anna'";
    let expected = ["a dossier whose customer's name is missing or another's", "an account without that dossier"];
    assert_told(crossed, DifferenceKind::Source, &expected).await;
    let note = "INSERT INTO entry_notes VALUES (:anna, 999, 'made up')";
    assert_told(note, DifferenceKind::Source, &["a note beside entry 999, which does not exist"]).await;
    let lot = format!("UPDATE lots SET account_id = {nobody} WHERE points = 70");
    assert_told(
        &lot,
        DifferenceKind::Projection,
        &["which has no head", "is missing: by the entries it has points 70"],
    )
    .await;
}

#[tokio::test]
async fn audit_goes_on_past_rows_that_cannot_be_understood() {
    let statements = "ALTER TABLE referrals DROP CONSTRAINT referrals_end_whole;
                      UPDATE referrals SET ended_at = NULL;
                      UPDATE standings SET tier_id = 'NOT A TIER' WHERE account_id = :anna;
                      UPDATE programs SET versions = ARRAY[3]";
    let told = damage(statements).await;
    let unreadable = told.differences.iter().filter(|difference| difference.what.contains("cannot be understood"));
    assert_eq!(unreadable.count(), 2);
    told.assert_tells(DifferenceKind::Projection, "agenda is 1 from ");
}
