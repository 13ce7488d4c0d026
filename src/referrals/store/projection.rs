//! Codes and referrals as rows to compare and to build anew.

use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use super::ReferralsState;
use crate::book::{Cell, Projection, Row};
use crate::database::Traced as _;
use crate::ids::AccountId;
use crate::referrals::model::{Code, Referral, ReferralState};

impl Projection for ReferralsState {
    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let referral = self.referrals.get(&account_id).map(referral_row);
        // Accounts are few on a state that is compared, and codes few on an account.
        let codes = self.codes.iter().filter(move |((owner, _), _)| *owner == account_id);
        Box::new(referral.into_iter().chain(codes.map(|(_, code)| code_row(code))))
    }

    fn delete<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        account_id: AccountId,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            sqlx::query!("DELETE FROM referral_codes WHERE account_id = $1", account_id.0)
                .execute(&mut *connection)
                .traced("DELETE referral_codes")
                .await?;
            sqlx::query!("DELETE FROM referrals WHERE account_id = $1", account_id.0)
                .execute(connection)
                .traced("DELETE referrals")
                .await
                .map(drop)
        })
    }
}

fn code_row(code: &Code) -> Row<'_> {
    Row {
        noun: "referral code of campaign",
        key: Cell::word(code.campaign_id.as_str()),
        columns: vec![
            ("code", Cell::word(code.code.as_str())),
            ("account_seq", code.account_seq.into()),
            ("created_at", code.created_at.into()),
        ],
    }
}

fn referral_row(referral: &Referral) -> Row<'_> {
    let (state, ended_seq, ended_at, entries) = match referral.state {
        ReferralState::Pending => ("pending", None, None, [None; 3]),
        ReferralState::Converted { seq, at, qualifying, referrer_reward, referee_reward } => {
            ("converted", Some(seq), Some(at), [qualifying, referrer_reward, referee_reward])
        }
        ReferralState::Expired { seq, at } => ("expired", seq, Some(at), [None; 3]),
    };
    let [qualifying, referrer_reward, referee_reward] = entries.map(|id| id.map(|id| id.account_seq));
    Row {
        noun: "referral",
        key: Cell::Absent,
        columns: vec![
            ("referrer_account_id", Cell::text(referral.referrer.0)),
            ("campaign_id", Cell::word(referral.campaign_id.as_str())),
            ("policy_version", referral.policy_version.into()),
            ("state", Cell::word(state)),
            ("created_seq", referral.created_seq.into()),
            ("created_at", referral.created_at.into()),
            ("expires_at", referral.expires_at.into()),
            ("ended_seq", ended_seq.into()),
            ("ended_at", ended_at.into()),
            ("qualifying_seq", qualifying.into()),
            ("referrer_reward_seq", referrer_reward.into()),
            ("referee_reward_seq", referee_reward.into()),
        ],
    }
}
