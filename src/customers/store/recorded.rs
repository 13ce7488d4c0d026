//! The SQL that reads every consent that was ever recorded.

use sqlx::PgConnection;

use super::RawConsent;
use crate::customers::model::MarketingConsent;
use crate::database::{StoreError, Traced as _};
use crate::ids::AccountId;

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
