//! Calls about points with what most tests leave as it is.

use goldbook::proto;
use goldbook::proto::adjust_points_request::Change;
use goldbook::proto::hold_points_request::End;
use goldbook::proto::record_activity_request::Activity;
use tonic::Status;

use super::model::{Expire, Rules, Vest};
use super::{program_of, write_expiry, write_vesting};
use crate::harness::{SHOP, Service, at, grant_reward, purchase, usd};

/// A program that says nothing of points: available at once, for ever, without limits.
pub(crate) fn free() -> Rules {
    Rules {
        vest: Vest::Now,
        expire: Expire::Never,
        limits: None,
        per_transaction: None,
        per_period: Vec::new(),
        reinstate: None,
        clawback: proto::Clawback::AllowDebt,
        hold_for: "P7D",
    }
}

/// A service with a program of these rules and the customer anna.
pub(crate) async fn start(rules: &Rules) -> Service {
    let service = Service::start().await;
    service.apply(program_of(rules)).await.unwrap();
    service.enrol("anna").await;
    service
}

pub(crate) fn redeem_points(customer_id: &str, points: i64, key: &str) -> proto::RedeemPointsRequest {
    proto::RedeemPointsRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        points,
        note: String::new(),
        idempotency_key: key.to_owned(),
    }
}

pub(crate) fn hold_points(points: i64, end: Option<End>, key: &str) -> proto::HoldPointsRequest {
    proto::HoldPointsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        points,
        end,
        note: String::new(),
        idempotency_key: key.to_owned(),
    }
}

pub(crate) fn reverse_entry(
    entry_id: &str,
    points: i64,
    clawback: proto::Clawback,
    key: &str,
) -> proto::ReverseEntryRequest {
    proto::ReverseEntryRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        entry_id: entry_id.to_owned(),
        points,
        clawback: clawback.into(),
        expires_at: None,
        reason: proto::CorrectionReason::Correction.into(),
        note: String::new(),
        idempotency_key: key.to_owned(),
    }
}

pub(crate) fn adjust_points(change: Change, key: &str) -> proto::AdjustPointsRequest {
    proto::AdjustPointsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        change: Some(change),
        expiry: None,
        reason: proto::CorrectionReason::Goodwill.into(),
        author: "clerk-7".to_owned(),
        note: String::new(),
        idempotency_key: key.to_owned(),
    }
}

pub(crate) fn refund(purchase_id: &str, amount: &str, service: &Service, id: &str) -> proto::RecordActivityRequest {
    let refund = proto::Refund {
        purchase_activity_id: purchase_id.to_owned(),
        amount: Some(usd(amount)),
        clawback: proto::Clawback::Unspecified.into(),
    };
    proto::RecordActivityRequest {
        activity: Some(Activity::Refund(refund)),
        ..purchase("anna", id, "0.00", service.clock.now())
    }
}

/// Calls about anna; the key of a call names it.
impl Service {
    /// Grants points on terms of their own, and names the lot.
    pub(crate) async fn grant_on(&self, points: i64, vest: Vest, expire: Expire, key: &str) -> String {
        let request = proto::GrantRewardRequest {
            vesting: Some(write_vesting(vest)),
            expiry: Some(write_expiry(expire)),
            ..grant_reward("anna", points, key)
        };
        self.rewards().grant_reward(request).await.unwrap().into_inner().reward.unwrap().reward_id
    }

    /// Grants points on the program's terms, and names the lot.
    pub(crate) async fn give(&self, points: i64, key: &str) -> String {
        self.grant("anna", points, key).await.unwrap().reward.unwrap().reward_id
    }

    pub(crate) async fn redeem(&self, points: i64, key: &str) -> Result<proto::RedeemPointsResponse, Status> {
        Ok(self.rewards().redeem_points(redeem_points("anna", points, key)).await?.into_inner())
    }

    /// Spends points, and names the spend.
    pub(crate) async fn spend(&self, points: i64, key: &str) -> String {
        self.redeem(points, key).await.unwrap().redemption.unwrap().redemption_id
    }

    pub(crate) async fn hold(&self, points: i64, key: &str) -> Result<proto::HoldPointsResponse, Status> {
        Ok(self.rewards().hold_points(hold_points(points, None, key)).await?.into_inner())
    }

    /// Holds points until an instant, and names the hold.
    pub(crate) async fn hold_until(&self, points: i64, ends_at: &str, key: &str) -> String {
        let request = hold_points(points, Some(End::EndsAt(at(ends_at))), key);
        self.rewards().hold_points(request).await.unwrap().into_inner().hold.unwrap().hold_id
    }

    pub(crate) async fn capture(
        &self,
        hold_id: &str,
        points: i64,
        key: &str,
    ) -> Result<proto::CapturePointsResponse, Status> {
        let request = proto::CapturePointsRequest {
            program_id: SHOP.to_owned(),
            customer_id: "anna".to_owned(),
            hold_id: hold_id.to_owned(),
            points,
            idempotency_key: key.to_owned(),
        };
        Ok(self.rewards().capture_points(request).await?.into_inner())
    }

    pub(crate) async fn release(&self, hold_id: &str, key: &str) -> Result<proto::ReleasePointsResponse, Status> {
        let request = proto::ReleasePointsRequest {
            program_id: SHOP.to_owned(),
            customer_id: "anna".to_owned(),
            hold_id: hold_id.to_owned(),
            idempotency_key: key.to_owned(),
        };
        Ok(self.rewards().release_points(request).await?.into_inner())
    }

    /// Undoes what is left of an entry, by the program's clawback.
    pub(crate) async fn reverse(&self, entry_id: &str, key: &str) -> Result<proto::ReverseEntryResponse, Status> {
        self.reverse_part(entry_id, 0, proto::Clawback::Unspecified, key).await
    }

    pub(crate) async fn reverse_part(
        &self,
        entry_id: &str,
        points: i64,
        clawback: proto::Clawback,
        key: &str,
    ) -> Result<proto::ReverseEntryResponse, Status> {
        Ok(self.rewards().reverse_entry(reverse_entry(entry_id, points, clawback, key)).await?.into_inner())
    }

    pub(crate) async fn adjust(&self, change: Change, key: &str) -> Result<proto::AdjustPointsResponse, Status> {
        Ok(self.rewards().adjust_points(adjust_points(change, key)).await?.into_inner())
    }

    pub(crate) async fn vest(&self, reward_id: &str) -> Result<proto::VestRewardResponse, Status> {
        let request = proto::VestRewardRequest {
            program_id: SHOP.to_owned(),
            customer_id: "anna".to_owned(),
            reward_id: reward_id.to_owned(),
        };
        Ok(self.rewards().vest_reward(request).await?.into_inner())
    }

    pub(crate) async fn refund(
        &self,
        purchase_id: &str,
        amount: &str,
        id: &str,
    ) -> Result<proto::RecordActivityResponse, Status> {
        Ok(self.activities().record_activity(refund(purchase_id, amount, self, id)).await?.into_inner())
    }

    /// Anna's lots, the oldest first.
    pub(crate) async fn lots(&self) -> Vec<proto::Lot> {
        let mut request = proto::ListLotsRequest {
            program_id: SHOP.to_owned(),
            customer_id: "anna".to_owned(),
            page_size: 1_000,
            ..Default::default()
        };
        let mut lots = Vec::new();
        loop {
            let page = self.rewards().list_lots(request.clone()).await.unwrap().into_inner();
            lots.extend(page.lots);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                lots.reverse();
                return lots;
            }
        }
    }
}
