//! `ImportService` on the wire.

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{ImportBalance, Imported, Imports, Opening};
use crate::book::Detail;
use crate::error::{Error, Fields};
use crate::ids::{CustomerId, IdempotencyKey, ProgramId, TierId};
use crate::points::amount::Points;
use crate::points::grants::opening::{OpeningLot, OpeningVesting};
use crate::programs::points::grpc::{parse_own_expiry, parse_rule_instant};
use crate::proto;
use crate::proto::fields::parse_money;
use crate::proto::import_balances_request as wire;
use crate::proto::import_balances_response::Outcome;
use crate::proto::opening_lot;
use crate::proto::stream::{answer_each, check_item_id};
use crate::status::to_rpc_status;
use crate::tiers::model::OpeningTier;

#[tonic::async_trait]
impl proto::import_service_server::ImportService for Imports {
    type ImportBalancesStream = ReceiverStream<Result<proto::ImportBalancesResponse, Status>>;

    async fn import_balances(
        &self,
        request: Request<Streaming<proto::ImportBalancesRequest>>,
    ) -> Result<Response<Self::ImportBalancesStream>, Status> {
        let imports = self.clone();
        let begin = move |item| {
            let imports = imports.clone();
            async move { begin_import(&imports, item).await }.boxed()
        };
        Ok(Response::new(answer_each(request.into_inner(), begin)))
    }
}

/// Queues one item of the stream; what is bad about it becomes its own outcome.
async fn begin_import(
    imports: &Imports,
    item: proto::ImportBalancesRequest,
) -> BoxFuture<'static, proto::ImportBalancesResponse> {
    let item_id = item.item_id.clone();
    let queued = match parse_import(item) {
        Ok(import) => imports.enqueue_balance(import).await,
        Err(error) => Err(error),
    };
    let answer = |outcome| proto::ImportBalancesResponse { item_id, outcome: Some(outcome) };
    match queued {
        Ok(outcome) => outcome
            .map(move |outcome| {
                answer(match outcome {
                    Ok(imported) => Outcome::Imported(write_imported(&imported)),
                    Err(error) => Outcome::Error(to_rpc_status(error)),
                })
            })
            .boxed(),
        Err(error) => ready(answer(Outcome::Error(to_rpc_status(error)))).boxed(),
    }
}

fn parse_import(item: proto::ImportBalancesRequest) -> Result<ImportBalance, Error> {
    let mut fields = Fields::default();
    check_item_id(&mut fields, &item.item_id);
    let program_id = fields.take("program_id", ProgramId::try_from(item.program_id));
    let customer_id = fields.take("customer_id", CustomerId::try_from(item.customer_id));
    let key = fields.take("idempotency_key", IdempotencyKey::try_from(item.idempotency_key));
    let opening = match item.opening {
        Some(wire::Opening::Lot(lot)) => parse_lot(&mut fields, &lot).map(Opening::Lot),
        Some(wire::Opening::Tier(tier)) => parse_tier(&mut fields, tier).map(Opening::Tier),
        None => fields.take("opening", Err("must be set: a lot or a tier")),
    };
    match (program_id, customer_id, opening, key) {
        (Some(program_id), Some(customer_id), Some(opening), Some(key)) if fields.is_clean() => {
            Ok(ImportBalance { program_id, customer_id, enrol: item.enrol, opening, key })
        }
        _ => Err(fields.into_error()),
    }
}

fn parse_lot(fields: &mut Fields, lot: &proto::OpeningLot) -> Option<OpeningLot> {
    let points = fields.take("lot.points", Points::new(lot.points).ok_or("must be above zero"));
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
    let tier_id = fields.take("tier.tier_id", TierId::try_from(tier.tier_id));
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
            Detail::TierImported { to, .. } => to.to_string(),
            _ => String::new(),
        },
        replayed: *replayed,
    }
}
