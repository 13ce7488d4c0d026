//! `TierService` on the wire.

mod parse;
mod simulate;
mod statistics;
pub(crate) mod write;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use goldbook_api::server::{Received, tier_service_server};
use tonic::{Request, Response, Status};

use self::parse::{parse_batch, parse_clear_override, parse_reevaluation, parse_set_override};
use self::simulate::{parse_simulation, write_update};
use self::statistics::{parse_statistics, write_counted};
use self::write::{Extent, write_customer_tier, write_reevaluation, write_tier_change};
use super::Tiers;
use crate::access::grpc::admit;
use crate::error::Fields;
use crate::ids::{EntryId, ProgramId};
use crate::proto;
use crate::proto::fields::parse_optional_instant;
use crate::proto::requests::{parse_customer, parse_customer_list};
use crate::telemetry;

#[tonic::async_trait]
impl tier_service_server::TierService for Tiers {
    async fn get_customer_tier(
        &self,
        request: Request<Received<proto::GetCustomerTierRequest>>,
    ) -> Result<Response<proto::GetCustomerTierResponse>, Status> {
        let (request, caller) = admit(request)?;
        let mut fields = Fields::default();
        let customer = parse_customer(&mut fields, request.program_id, request.customer_id);
        let as_of = parse_optional_instant(&mut fields, "as_of", request.as_of.as_ref());
        let (program_id, customer_id) = fields.finish_with(customer)?;
        telemetry::record_program(program_id.as_str());
        let mut customer_tier = self.get_customer_tier(&program_id, &customer_id, as_of).await?;
        // Who of the business decided it, and what they noted, is not for the customer.
        if let Some(set_by) = customer_tier.set_by.as_mut().filter(|_| caller.is_customer()) {
            (set_by.author, set_by.note) = (String::new(), String::new());
        }
        let customer_tier = Some(write_customer_tier(&customer_tier, customer_id, Extent::Whole)?);
        Ok(Response::new(proto::GetCustomerTierResponse { customer_tier }))
    }

    async fn list_tier_changes(
        &self,
        request: Request<Received<proto::ListTierChangesRequest>>,
    ) -> Result<Response<proto::ListTierChangesResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let (customer, page) = parse_customer_list(&mut fields, &request, "tier_changes", &[])?;
        let (program_id, customer_id) = fields.finish_with(customer)?;
        telemetry::record_program(program_id.as_str());
        let (currency, changes, next_page_token) = self.list_tier_changes(&program_id, &customer_id, &page).await?;
        let tier_changes = changes.iter().filter_map(|change| write_tier_change(change, currency)).collect();
        Ok(Response::new(proto::ListTierChangesResponse { tier_changes, next_page_token }))
    }

    async fn batch_get_customer_tiers(
        &self,
        request: Request<Received<proto::BatchGetCustomerTiersRequest>>,
    ) -> Result<Response<proto::BatchGetCustomerTiersResponse>, Status> {
        let (request, _) = admit(request)?;
        let (program_id, customer_ids) = parse_batch(request)?;
        telemetry::record_program(program_id.as_str());
        let found = self.batch_get_customer_tiers(&program_id, &customer_ids).await?;
        let mut response = proto::BatchGetCustomerTiersResponse::default();
        for (customer_id, found) in customer_ids.into_iter().zip(found) {
            match found {
                Some(found) => {
                    response.customer_tiers.push(write_customer_tier(&found, customer_id, Extent::Brief)?);
                }
                None => response.unknown_customer_ids.push(customer_id.into()),
            }
        }
        Ok(Response::new(response))
    }

    async fn set_tier_override(
        &self,
        request: Request<Received<proto::SetTierOverrideRequest>>,
    ) -> Result<Response<proto::SetTierOverrideResponse>, Status> {
        let (request, caller) = admit(request)?;
        let set = parse_set_override(request)?;
        telemetry::record_program(set.subject.program_id.as_str());
        let (entry, currency, replayed) = self.change_by_hand(set, caller.writer().await?).await?;
        let tier_change = write_tier_change(&entry, currency);
        Ok(Response::new(proto::SetTierOverrideResponse { tier_change, replayed }))
    }

    async fn clear_tier_override(
        &self,
        request: Request<Received<proto::ClearTierOverrideRequest>>,
    ) -> Result<Response<proto::ClearTierOverrideResponse>, Status> {
        let (request, caller) = admit(request)?;
        let clear = parse_clear_override(request)?;
        telemetry::record_program(clear.subject.program_id.as_str());
        let (entry, currency, replayed) = self.change_by_hand(clear, caller.writer().await?).await?;
        let tier_change = write_tier_change(&entry, currency);
        Ok(Response::new(proto::ClearTierOverrideResponse { tier_change, replayed }))
    }

    type SimulateTierPolicyStream = BoxStream<'static, Result<proto::SimulateTierPolicyResponse, Status>>;

    async fn simulate_tier_policy(
        &self,
        request: Request<Received<proto::SimulateTierPolicyRequest>>,
    ) -> Result<Response<Self::SimulateTierPolicyStream>, Status> {
        let (request, caller) = admit(request)?;
        let question = parse_simulation(request)?;
        telemetry::record_program(question.program_id.as_str());
        let updates = self.simulate_tier_policy(question, caller.writer().await?.principal_id).await?;
        let answers = updates.map(|update| Ok(write_update(update?)));
        Ok(Response::new(caller.while_it_counts(answers)))
    }

    type ListTierStatisticsStream = BoxStream<'static, Result<proto::ListTierStatisticsResponse, Status>>;

    async fn list_tier_statistics(
        &self,
        request: Request<Received<proto::ListTierStatisticsRequest>>,
    ) -> Result<Response<Self::ListTierStatisticsStream>, Status> {
        let (request, caller) = admit(request)?;
        let request = parse_statistics(request)?;
        telemetry::record_program(request.program_id.as_str());
        let counted = self.list_tier_statistics(request, caller.writer().await?.principal_id).await?;
        let answers = counted.map(|counted| Ok(write_counted(counted?)));
        Ok(Response::new(caller.while_it_counts(answers)))
    }

    async fn reevaluate_tiers(
        &self,
        request: Request<Received<proto::ReevaluateTiersRequest>>,
    ) -> Result<Response<proto::ReevaluateTiersResponse>, Status> {
        let (request, caller) = admit(request)?;
        let order = parse_reevaluation(request)?;
        telemetry::record_program(order.program_id.as_str());
        let (progress, replayed) = self.reevaluate_tiers(order, caller.writer().await?).await?;
        let reevaluation = Some(write_reevaluation(&progress));
        Ok(Response::new(proto::ReevaluateTiersResponse { reevaluation, replayed }))
    }

    async fn get_tier_reevaluation(
        &self,
        request: Request<Received<proto::GetTierReevaluationRequest>>,
    ) -> Result<Response<proto::GetTierReevaluationResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
        let entry_id = fields.check("reevaluation_id", EntryId::try_from(request.reevaluation_id));
        let (program_id, entry_id) = fields.finish_with(program_id.zip(entry_id))?;
        telemetry::record_program(program_id.as_str());
        let progress = self.get_tier_reevaluation(&program_id, entry_id).await?;
        let reevaluation = Some(write_reevaluation(&progress));
        Ok(Response::new(proto::GetTierReevaluationResponse { reevaluation }))
    }
}
