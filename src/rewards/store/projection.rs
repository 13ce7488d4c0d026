//! Lots and what goes with them as rows to compare and to build anew.

use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use super::PointsState;
use crate::book::{Cell, Projection, Row};
use crate::database::Traced as _;
use crate::ids::AccountId;
use crate::rewards::lots::{Earning, Hold, Lot};

impl Projection for PointsState {
    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let whole = (account_id, i64::MIN)..=(account_id, i64::MAX);
        let earnings = self.lots.earnings.get(&account_id).map(earnings_row);
        let holds = self.lots.holds.range(whole.clone()).map(|((_, seq), hold)| hold_row(*seq, hold));
        let lots = self.lots.lots.range(whole.clone()).map(|((_, seq), lot)| lot_row(*seq, lot));
        let reversals = self.lots.reversals.range(whole).map(|((_, seq), reversed)| Row {
            noun: "reversal of entry",
            key: (*seq).into(),
            columns: vec![("reversed", (*reversed).into())],
        });
        Box::new(earnings.into_iter().chain(holds).chain(lots).chain(reversals))
    }

    fn delete<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        account_id: AccountId,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            sqlx::query!("DELETE FROM lots WHERE account_id = $1", account_id.0)
                .execute(&mut *connection)
                .traced("DELETE lots")
                .await?;
            sqlx::query!("DELETE FROM holds WHERE account_id = $1", account_id.0)
                .execute(&mut *connection)
                .traced("DELETE holds")
                .await?;
            sqlx::query!("DELETE FROM earnings WHERE account_id = $1", account_id.0)
                .execute(&mut *connection)
                .traced("DELETE earnings")
                .await?;
            sqlx::query!("DELETE FROM reversals WHERE account_id = $1", account_id.0)
                .execute(connection)
                .traced("DELETE reversals")
                .await
                .map(drop)
        })
    }
}

fn earnings_row(earning: &Earning) -> Row<'_> {
    let earned: Vec<String> =
        earning.earned.iter().map(|(period, (since, points))| format!("{points} in the {period} of {since}")).collect();
    let lapses: Vec<String> = earning.lapses.iter().map(ToString::to_string).collect();
    Row {
        noun: "earnings",
        key: Cell::Absent,
        columns: vec![
            ("slides_to", earning.slides_to.into()),
            ("lapses", if lapses.is_empty() { Cell::Absent } else { Cell::text(lapses.join(", ")) }),
            ("earned", if earned.is_empty() { Cell::Absent } else { Cell::text(earned.join(", ")) }),
        ],
    }
}

fn hold_row(seq: i64, hold: &Hold) -> Row<'_> {
    let parts: Vec<String> = hold.parts.iter().map(|part| format!("{} of lot {}", part.points, part.lot)).collect();
    Row {
        noun: "hold",
        key: seq.into(),
        columns: vec![
            ("points", hold.points.into()),
            ("policy_version", hold.policy_version.into()),
            ("ends_at", hold.ends_at.into()),
            ("parts", if parts.is_empty() { Cell::Absent } else { Cell::text(parts.join(", ")) }),
        ],
    }
}

fn lot_row(seq: i64, lot: &Lot) -> Row<'_> {
    Row {
        noun: "lot",
        key: seq.into(),
        columns: vec![
            ("points", lot.points.into()),
            ("pending", lot.pending.into()),
            ("available", lot.available.into()),
            ("held", lot.held.into()),
            ("redeemed", lot.redeemed.into()),
            ("expired", lot.expired.into()),
            ("cancelled", lot.cancelled.into()),
            ("repaid", lot.repaid.into()),
            ("policy_version", lot.policy_version.into()),
            ("live_since", lot.live_since.into()),
            ("vests_at", lot.terms.vests_at.into()),
            ("vest_by", lot.terms.vest_by.into()),
            ("expires_at", lot.terms.expires_at.into()),
            ("slides", lot.terms.slides.into()),
            ("expiry_rule", lot.terms.expiry_rule.as_deref().map(Cell::word).unwrap_or(Cell::Absent)),
        ],
    }
}
