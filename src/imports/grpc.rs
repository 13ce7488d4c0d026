//! `ImportService` on the wire.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use goldbook_api::server::{Received, import_service_server};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{ImportBalance, Imported, Imports, Opening};
use crate::access::grpc::{Batch, answer_each};
use crate::book::{Detail, TierDetail, Writer};
use crate::error::{Error, Fields};
use crate::ids::{IdempotencyKey, TierId};
use crate::points::amount::Points;
use crate::points::grants::opening::{OpeningLot, OpeningVesting};
use crate::programs::points::grpc::{parse_own_expiry, parse_rule_instant};
use crate::proto;
use crate::proto::fields::parse_money;
use crate::proto::import_balances_request as wire;
use crate::proto::import_balances_response::Outcome;
use crate::proto::opening_lot;
use crate::proto::requests::parse_customer;
use crate::tiers::model::OpeningTier;

#[tonic::async_trait]
impl import_service_server::ImportService for Imports {
    type ImportBalancesStream = ReceiverStream<Result<proto::ImportBalancesResponse, Status>>;

    async fn import_balances(
        &self,
        request: Request<Streaming<Received<proto::ImportBalancesRequest>>>,
    ) -> Result<Response<Self::ImportBalancesStream>, Status> {
        Ok(Response::new(answer_each(self, request).await?))
    }
}

impl Batch<proto::ImportBalancesRequest> for Imports {
    type Done = proto::ImportedOpening;
    type Answer = proto::ImportBalancesResponse;

    fn item_id(item: &proto::ImportBalancesRequest) -> &str {
        &item.item_id
    }

    async fn queue(
        &self,
        item: proto::ImportBalancesRequest,
        fields: Fields,
        writer: Writer,
    ) -> Result<BoxFuture<'static, Result<Self::Done, Error>>, Error> {
        let outcome = self.enqueue_balance(parse_import(item, fields)?, writer).await?;
        Ok(async move { Ok(write_imported(&outcome.await?)) }.boxed())
    }

    fn answer(item_id: String, outcome: Result<Self::Done, proto::google::Status>) -> Self::Answer {
        let outcome = outcome.map_or_else(Outcome::Error, Outcome::Imported);
        Self::Answer { item_id, outcome: Some(outcome) }
    }
}

fn parse_import(item: proto::ImportBalancesRequest, mut fields: Fields) -> Result<ImportBalance, Error> {
    let customer = parse_customer(&mut fields, item.program_id, item.customer_id);
    let key = fields.check("idempotency_key", IdempotencyKey::try_from(item.idempotency_key));
    let opening = match item.opening {
        Some(wire::Opening::Lot(lot)) => parse_lot(&mut fields, &lot).map(Opening::Lot),
        Some(wire::Opening::Tier(tier)) => parse_tier(&mut fields, tier).map(Opening::Tier),
        None => fields.check("opening", Err("must be set: a lot or a tier")),
    };
    let ((program_id, customer_id), (opening, key)) = fields.finish_with(customer.zip(opening.zip(key)))?;
    Ok(ImportBalance { program_id, customer_id, enrol: item.enrol, opening, key })
}

fn parse_lot(fields: &mut Fields, lot: &proto::OpeningLot) -> Option<OpeningLot> {
    let points = fields.check("lot.points", Points::new(lot.points).ok_or(Points::EXPECTED));
    let vesting = match &lot.vesting {
        None => Some(OpeningVesting::AtOnce),
        Some(opening_lot::Vesting::VestsAt(at)) => {
            parse_rule_instant(fields, "lot.vests_at", at).map(OpeningVesting::At)
        }
        Some(opening_lot::Vesting::VestBy(at)) => {
            parse_rule_instant(fields, "lot.vest_by", at).map(OpeningVesting::OnEventBy)
        }
    };
    // A rule that did not parse is a bad field, and so never an absent one.
    let expiry = parse_own_expiry(fields, "lot.expiry", lot.expiry.as_ref());
    Some(OpeningLot { points: points?, vesting: vesting?, expiry })
}

fn parse_tier(fields: &mut Fields, tier: proto::OpeningTier) -> Option<OpeningTier> {
    let tier_id = fields.check("tier.tier_id", TierId::try_from(tier.tier_id));
    let spend = tier.qualifying_spend.as_ref();
    let qualifying_spend = spend.and_then(|spend| parse_money(fields, "tier.qualifying_spend", Some(spend)));
    Some(OpeningTier { tier_id: tier_id?, qualifying_spend })
}

fn write_imported(imported: &Imported) -> proto::ImportedOpening {
    let Imported { entry, repaid, replayed } = imported;
    proto::ImportedOpening {
        entry_id: entry.id.to_string(),
        points: entry.movement.map_or(0, |movement| movement.points),
        points_repaid: *repaid,
        tier_id: match &entry.detail {
            Detail::Tier(TierDetail::TierImported { to, .. } | TierDetail::TierChanged { to, .. }) => to.to_string(),
            Detail::Tier(
                TierDetail::ReferralCounted { .. }
                | TierDetail::TierOverridden { .. }
                | TierDetail::TierReleased { .. },
            )
            | Detail::Program(_)
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Benefit(_)
            | Detail::Referral(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_) => String::new(),
        },
        replayed: *replayed,
    }
}
