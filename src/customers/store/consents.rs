//! The SQL of consents: those that hold, and all that were ever recorded.

use std::collections::{BTreeMap, BTreeSet};

use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::ids;
use crate::book::Defect;
use crate::customers::model::MarketingConsent;
use crate::database::{Selection, StoreError, Traced as _, WritePart, selection, sent_as, write_part};
use crate::ids::AccountId;
use crate::programs::channels::MarketingChannel;

/// A consent as Postgres returns it.
#[derive(sqlx::Decode)]
pub(super) struct RawConsent {
    account_id: Uuid,
    channel: String,
    granted: bool,
    source: String,
    decided_at: jiff_sqlx::Timestamp,
}

impl RawConsent {
    pub(super) fn parse(self) -> Result<(AccountId, MarketingConsent), StoreError> {
        let Self { account_id, channel, granted, source, decided_at } = self;
        let channel = MarketingChannel::from_stored(&channel).ok_or_else(|| {
            Defect::unknown(format!("a consent of account {account_id}: unknown channel {channel:?}"))
        })?;
        Ok((AccountId(account_id), MarketingConsent { channel, granted, decided_at: decided_at.to_jiff(), source }))
    }
}

/// The channels as they are stored. Of others, which a newer version may know, nothing is read.
fn channels() -> Vec<&'static str> {
    MarketingChannel::ALL.iter().map(|channel| channel.as_str()).collect()
}

/// The consents of accounts that hold: of each channel the one decided last, and of those the one recorded last.
pub(super) fn current_consents_of(accounts: &[AccountId]) -> Selection<RawConsent> {
    let (ids, channels): (Vec<Uuid>, _) = (accounts.iter().map(|account| account.0).collect(), channels());
    selection!(
        "marketing_consents",
        RawConsent,
        "SELECT m.account_id, m.channel, m.granted, m.source, m.decided_at
           FROM unnest($1::uuid[]) AS u (account_id) CROSS JOIN unnest($2::text[]) AS k (channel)
           CROSS JOIN LATERAL (
               SELECT * FROM marketing_consents c WHERE c.account_id = u.account_id AND c.channel = k.channel
               ORDER BY c.decided_at DESC, c.revision DESC, c.position DESC LIMIT 1
           ) m",
        [ids, channels],
    )
}

/// The consents of accounts that hold.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::customers) async fn read_current_consents(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<Vec<(AccountId, MarketingConsent)>, StoreError> {
    current_consents_of(accounts).fetch(connection).await?.into_iter().map(RawConsent::parse).collect()
}

/// The consents of an account, at most `limit`: those decided last, the last first.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::customers) async fn read_consents_of(
    connection: &mut PgConnection,
    account_id: AccountId,
    limit: i64,
) -> Result<Vec<MarketingConsent>, StoreError> {
    let rows = sqlx::query_as!(
        RawConsent,
        r#"SELECT m.account_id, m.channel, m.granted, m.source, m.decided_at
           FROM unnest($2::text[]) AS k (channel)
           CROSS JOIN LATERAL (
               SELECT * FROM marketing_consents c WHERE c.account_id = $1 AND c.channel = k.channel
               ORDER BY c.decided_at DESC, c.revision DESC, c.position DESC LIMIT $3
           ) m
           ORDER BY m.decided_at DESC, m.revision DESC, m.position DESC LIMIT $3"#,
        account_id.0,
        &channels() as _,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT marketing_consents")
    .await?;
    rows.into_iter().map(|row| Ok(row.parse()?.1)).collect()
}

/// Which of these consents were recorded before.
pub(super) async fn find_recorded(
    connection: &mut PgConnection,
    asked: &[(AccountId, MarketingConsent)],
) -> Result<BTreeMap<AccountId, Vec<MarketingConsent>>, StoreError> {
    let accounts: Vec<Uuid> = asked.iter().map(|(account_id, _)| account_id.0).collect();
    let channels: Vec<&str> = asked.iter().map(|(_, consent)| consent.channel.as_str()).collect();
    let granted: Vec<bool> = asked.iter().map(|(_, consent)| consent.granted).collect();
    let sources: Vec<&str> = asked.iter().map(|(_, consent)| consent.source.as_str()).collect();
    let decided: Vec<_> = asked.iter().map(|(_, consent)| consent.decided_at.to_sqlx()).collect();
    let rows = sqlx::query_as!(
        RawConsent,
        r#"SELECT u.account_id AS "account_id!", u.channel AS "channel!", u.granted AS "granted!", u.source AS "source!",
                  u.decided_at AS "decided_at!"
           FROM unnest($1::uuid[], $2::text[], $3::bool[], $4::text[], $5::timestamptz[])
               AS u (account_id, channel, granted, source, decided_at)
           WHERE EXISTS (
               SELECT FROM marketing_consents c
               WHERE c.account_id = u.account_id AND c.channel = u.channel AND c.decided_at = u.decided_at
                 AND c.granted = u.granted AND c.source = u.source
           )"#,
        &accounts,
        &channels as _,
        &granted,
        &sources as _,
        &decided,
    )
    .fetch_all(connection)
    .traced("SELECT marketing_consents")
    .await?;
    let mut recorded = BTreeMap::<AccountId, Vec<MarketingConsent>>::new();
    for row in rows {
        let (account_id, consent) = row.parse()?;
        recorded.entry(account_id).or_default().push(consent);
    }
    Ok(recorded)
}

/// Where a consent stands among those of its account: the revision of the dossier that it came with, and its place there.
pub(crate) type ConsentPlace = (i64, i32);

/// The consents of an account in the order in which they were recorded, behind a place; at most `limit`.
///
/// # Errors
/// If the database cannot be read, or a row cannot be understood.
pub(in crate::customers) async fn read_recorded_consents(
    connection: &mut PgConnection,
    account_id: AccountId,
    after: ConsentPlace,
    limit: i64,
) -> Result<Vec<(ConsentPlace, MarketingConsent)>, StoreError> {
    let rows = sqlx::query!(
        "SELECT account_id, revision, position, channel, granted, source, decided_at
         FROM marketing_consents
         WHERE account_id = $1 AND (revision, position) > ($2, $3)
         ORDER BY revision, position LIMIT $4",
        account_id.0,
        after.0,
        after.1,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT marketing_consents")
    .await?;
    rows.into_iter()
        .map(|row| {
            let place = (row.revision, row.position);
            let raw = RawConsent {
                account_id: row.account_id,
                channel: row.channel,
                granted: row.granted,
                source: row.source,
                decided_at: row.decided_at,
            };
            Ok((place, raw.parse()?.1))
        })
        .collect()
}

/// Removes all consents of these accounts.
pub(super) fn delete_consents(accounts: &BTreeSet<AccountId>) -> WritePart {
    write_part!("DELETE FROM marketing_consents WHERE account_id = ANY($1::uuid[])", ids(accounts))
}

/// A consent as it is sent.
#[derive(sqlx::Encode)]
struct SentConsent {
    account_id: Uuid,
    revision: i64,
    position: i32,
    channel: &'static str,
    granted: bool,
    source: String,
    decided_at: jiff_sqlx::Timestamp,
}

sent_as!(SentConsent, "sent_consent");

/// Adds consents, each with the revision of the dossier that it came with.
pub(super) fn insert_consents(consents: &[(AccountId, i64, MarketingConsent)]) -> WritePart {
    let rows = (0..).zip(consents).map(|(position, (account_id, revision, consent))| SentConsent {
        account_id: account_id.0,
        revision: *revision,
        position,
        channel: consent.channel.as_str(),
        granted: consent.granted,
        source: consent.source.clone(),
        decided_at: consent.decided_at.to_sqlx(),
    });
    write_part!(
        "INSERT INTO marketing_consents (account_id, revision, position, channel, granted, source, decided_at)
         SELECT * FROM unnest($1::sent_consent[])",
        rows.collect::<Vec<SentConsent>>(),
    )
}
