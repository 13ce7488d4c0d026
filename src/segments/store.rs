//! The SQL of segments: what is known of some customers by an entry of each, in one statement for all of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::model::{Answers, Told, stage_in};
use crate::book::store::{into_entries, select_entries};
use crate::book::{Defect, RelationshipLevel, Stage};
use crate::clock::PartialDate;
use crate::customers::model::ImportantDate;
use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, ValueClassId};
use crate::programs::channels::MarketingChannel;
use crate::satisfaction::model::LOOKED_AT;

/// Accounts, each with the last entry that counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Lasts {
    accounts: Vec<Uuid>,
    seqs: Vec<i64>,
}

impl Lasts {
    pub(super) fn of(all: impl Iterator<Item = (AccountId, i64)>) -> Self {
        let (accounts, seqs) = all.map(|(account_id, last)| (account_id.0, last)).unzip();
        Self { accounts, seqs }
    }
}

/// A class with how closely its customers are looked after.
pub(super) type Class = (ValueClassId, Option<RelationshipLevel>);

/// The value classes of accounts.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_classes(
    connection: &mut PgConnection,
    lasts: &Lasts,
) -> Result<BTreeMap<AccountId, Class>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT v.account_id AS "account_id!", v.class_id AS "class_id!", v.level
           FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, last)
           CROSS JOIN LATERAL (
               SELECT f.account_id, f.class_id, f.level FROM value_classes f
               WHERE f.account_id = u.account_id AND f.account_seq <= u.last ORDER BY f.account_seq DESC LIMIT 1
           ) v"#,
        &lasts.accounts,
        &lasts.seqs,
    )
    .fetch_all(connection)
    .traced("SELECT value_classes")
    .await?;
    let classes = rows.into_iter().map(|row| {
        let damaged = |what: &str| Defect::unknown(format!("the value class of account {}: {what}", row.account_id));
        let class_id = ValueClassId::try_from(row.class_id).map_err(damaged)?;
        let level = row.level.map(|word| RelationshipLevel::from_stored(&word).ok_or_else(|| damaged(&word)));
        Ok((AccountId(row.account_id), (class_id, level.transpose()?)))
    });
    Ok(classes.collect::<Result<_, Defect>>()?)
}

/// The stages of accounts, as they are written.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_stages(
    connection: &mut PgConnection,
    lasts: &Lasts,
) -> Result<BTreeMap<AccountId, Stage>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT l.account_id, l.stage, l.decided_seq <= u.last AS "is_of_then!", d.account_seq AS "decided_then?"
           FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, last)
           JOIN LATERAL (SELECT * FROM lifecycles f WHERE f.account_id = u.account_id OFFSET 0) l ON TRUE
           LEFT JOIN LATERAL (
               SELECT f.account_seq FROM lifecycle_decisions f
               WHERE f.account_id = u.account_id AND f.account_seq <= u.last AND l.decided_seq > u.last
               ORDER BY f.account_seq DESC LIMIT 1
           ) d ON TRUE"#,
        &lasts.accounts,
        &lasts.seqs,
    )
    .fetch_all(&mut *connection)
    .traced("SELECT lifecycles")
    .await?;
    let (mut stages, mut decided) = (BTreeMap::new(), Vec::new());
    for row in rows {
        let unknown = || Defect::unknown(format!("the stage of account {}: {}", row.account_id, row.stage));
        match (row.is_of_then, row.decided_then) {
            (true, _) => {
                let stage = Stage::from_stored(&row.stage).ok_or_else(unknown)?;
                stages.insert(AccountId(row.account_id), stage);
            }
            (false, Some(seq)) => decided.push((AccountId(row.account_id), seq)),
            (false, None) => {}
        }
    }
    if !decided.is_empty() {
        stages.extend(read_decided(connection, &Lasts::of(decided.into_iter())).await?);
    }
    Ok(stages)
}

/// The stages that entries decided.
async fn read_decided(
    connection: &mut PgConnection,
    decided: &Lasts,
) -> Result<BTreeMap<AccountId, Stage>, StoreError> {
    let rows = select_entries!(
        "FROM unnest($1::uuid[], $2::bigint[]) AS u (wanted, seq)
         JOIN LATERAL (
             SELECT * FROM ledger_entries f WHERE f.account_id = u.wanted AND f.account_seq = u.seq OFFSET 0
         ) e ON TRUE",
        &decided.accounts,
        &decided.seqs,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    let stages =
        into_entries(rows)?.into_iter().filter_map(|entry| Some((entry.id.account_id, stage_in(&entry.detail)?)));
    Ok(stages.collect())
}

/// How many complaints of accounts are open; of those that have any.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_open_complaints(
    connection: &mut PgConnection,
    lasts: &Lasts,
) -> Result<BTreeMap<AccountId, i64>, StoreError> {
    // Where nothing came later, the rows tell. Else the steps by then do, since those that were open may be resolved by now.
    let rows = sqlx::query!(
        r#"SELECT u.account_id AS "account_id!", c.open AS "open!"
           FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, last)
           CROSS JOIN LATERAL (
               SELECT count(*) AS open FROM complaints f
               WHERE u.last = 9223372036854775807 AND f.account_id = u.account_id AND f.resolved_at IS NULL
                 AND f.ended_at IS NULL
               UNION ALL
               SELECT coalesce(sum(CASE f.kind WHEN 'complaint_resolved' THEN -1 ELSE 1 END), 0) FROM complaint_steps f
               WHERE u.last < 9223372036854775807 AND f.account_id = u.account_id AND f.account_seq <= u.last
                 AND f.kind IN ('complaint_opened', 'complaint_resolved', 'complaint_reopened')
           ) c
           WHERE c.open > 0"#,
        &lasts.accounts,
        &lasts.seqs,
    )
    .fetch_all(connection)
    .traced("SELECT complaints")
    .await?;
    Ok(rows.into_iter().map(|row| (AccountId(row.account_id), row.open)).collect())
}

/// What accounts answered last, of the last answers that were recorded.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_answers(
    connection: &mut PgConnection,
    lasts: &Lasts,
) -> Result<BTreeMap<AccountId, Answers>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT u.account_id AS "account_id!", a.satisfaction, a.recommendation
           FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, last)
           CROSS JOIN LATERAL (
               SELECT (array_agg(f.satisfaction ORDER BY f.happened_at DESC, f.account_seq DESC)
                          FILTER (WHERE f.satisfaction IS NOT NULL))[1] AS satisfaction,
                      (array_agg(f.recommendation ORDER BY f.happened_at DESC, f.account_seq DESC)
                          FILTER (WHERE f.recommendation IS NOT NULL))[1] AS recommendation
               FROM (
                   SELECT * FROM feedback f WHERE f.account_id = u.account_id AND f.account_seq <= u.last
                   ORDER BY f.account_seq DESC LIMIT $3
               ) f
           ) a
           WHERE num_nonnulls(a.satisfaction, a.recommendation) > 0"#,
        &lasts.accounts,
        &lasts.seqs,
        LOOKED_AT,
    )
    .fetch_all(connection)
    .traced("SELECT feedback")
    .await?;
    let answers = rows.into_iter().map(|row| {
        let answers = Answers { satisfaction: row.satisfaction, recommendation: row.recommendation };
        (AccountId(row.account_id), answers)
    });
    Ok(answers.collect())
}

/// By which channels accounts have agreed to be contacted, by what they had decided by an instant.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_consents(
    connection: &mut PgConnection,
    lasts: &Lasts,
    as_of: Timestamp,
) -> Result<BTreeMap<AccountId, Vec<MarketingChannel>>, StoreError> {
    // Of channels that a newer version may know, nothing is read.
    let channels: Vec<&str> = MarketingChannel::ALL.iter().map(|channel| channel.as_str()).collect();
    let rows = sqlx::query!(
        r#"SELECT m.account_id AS "account_id!", m.channel AS "channel!"
           FROM unnest($1::uuid[]) AS u (account_id) CROSS JOIN unnest($2::text[]) AS k (channel)
           CROSS JOIN LATERAL (
               SELECT * FROM marketing_consents c
               WHERE c.account_id = u.account_id AND c.channel = k.channel AND c.decided_at <= $3
               ORDER BY c.decided_at DESC, c.revision DESC, c.position DESC LIMIT 1
           ) m
           WHERE m.granted"#,
        &lasts.accounts,
        &channels as _,
        as_of.to_sqlx() as _,
    )
    .fetch_all(connection)
    .traced("SELECT marketing_consents")
    .await?;
    let mut consents = BTreeMap::<AccountId, Vec<MarketingChannel>>::new();
    for row in rows {
        if let Some(channel) = MarketingChannel::from_stored(&row.channel) {
            consents.entry(AccountId(row.account_id)).or_default().push(channel);
        }
    }
    Ok(consents)
}

/// What dossiers say, as far as segments ask.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RawTold {
    language: String,
    region_code: String,
    birth_date: Option<PartialDate>,
    important_dates: Vec<ImportantDate>,
    interests: Vec<String>,
    attributes: BTreeMap<String, String>,
}

/// What the dossiers of accounts say, with these attributes alone.
///
/// # Errors
/// If the database cannot be read, or a dossier is damaged.
pub(super) async fn read_told(
    connection: &mut PgConnection,
    lasts: &Lasts,
    attributes: &[String],
) -> Result<BTreeMap<AccountId, Told>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT c.account_id,
                  jsonb_strip_nulls(jsonb_build_object('language', c.dossier -> 'language',
                      'region_code', c.dossier #> '{address,region_code}', 'birth_date', c.dossier -> 'birth_date',
                      'important_dates', c.dossier -> 'important_dates', 'interests', c.dossier -> 'interests',
                      'attributes', a.attributes)) AS "told!"
           FROM unnest($1::uuid[]) AS u (account_id)
           JOIN LATERAL (SELECT * FROM customers f WHERE f.account_id = u.account_id OFFSET 0) c ON TRUE
           CROSS JOIN LATERAL (
               SELECT jsonb_object_agg(k.key, c.dossier -> 'attributes' -> k.key) AS attributes
               FROM unnest($2::text[]) AS k (key) WHERE c.dossier -> 'attributes' ? k.key
           ) a"#,
        &lasts.accounts,
        attributes,
    )
    .fetch_all(connection)
    .traced("SELECT customers")
    .await?;
    let told = rows.into_iter().map(|row| {
        let damaged = |error| Defect::unread(format_args!("the dossier of account {}", row.account_id), &error);
        let raw: RawTold = serde_json::from_value(row.told).map_err(damaged)?;
        let lower = |important: ImportantDate| ImportantDate { label: important.label.to_lowercase(), ..important };
        let told = Told {
            language: raw.language.to_lowercase(),
            region_code: raw.region_code.to_lowercase(),
            birth_date: raw.birth_date,
            important_dates: raw.important_dates.into_iter().map(lower).collect(),
            interests: raw.interests.iter().map(|interest| interest.to_lowercase()).collect::<BTreeSet<String>>(),
            attributes: raw.attributes,
        };
        Ok((AccountId(row.account_id), told))
    });
    Ok(told.collect::<Result<_, Defect>>()?)
}
