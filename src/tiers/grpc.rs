//! `TierService` on the wire.

use goldbook_api::server::{Received, tier_service_server};
use tonic::{Request, Response, Status};

use super::model::next_tier;
use super::{CustomerTier, Tiers};
use crate::access::grpc::admit;
use crate::book::{Detail, Entry, TierDetail};
use crate::error::Fields;
use crate::ids::CustomerId;
use crate::programs::grpc::write_benefit;
use crate::proto;
use crate::proto::fields::{parse_optional_instant, write_instant, write_money};
use crate::proto::requests::{parse_customer, parse_customer_list};
use crate::telemetry;

#[tonic::async_trait]
impl tier_service_server::TierService for Tiers {
    async fn get_customer_tier(
        &self,
        request: Request<Received<proto::GetCustomerTierRequest>>,
    ) -> Result<Response<proto::GetCustomerTierResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let customer = parse_customer(&mut fields, request.program_id, request.customer_id);
        let as_of = parse_optional_instant(&mut fields, "as_of", request.as_of.as_ref());
        let (program_id, customer_id) = fields.finish_with(customer)?;
        telemetry::record_program(program_id.as_str());
        let customer_tier = self.get_customer_tier(&program_id, &customer_id, as_of).await?;
        let customer_tier = Some(write_customer_tier(&customer_tier, customer_id));
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
        let (changes, next_page_token) = self.list_tier_changes(&program_id, &customer_id, &page).await?;
        let tier_changes = changes.iter().filter_map(write_tier_change).collect();
        Ok(Response::new(proto::ListTierChangesResponse { tier_changes, next_page_token }))
    }
}

fn write_customer_tier(customer_tier: &CustomerTier, customer_id: CustomerId) -> proto::CustomerTier {
    let CustomerTier { standing, changed, cause, policy, tier, as_of } = customer_tier;
    let money = |minor| Some(write_money(policy.program.money(minor)));
    let next = next_tier(&policy.program, &standing.tier_id, standing.qualifying_spend);
    proto::CustomerTier {
        customer_id: customer_id.into(),
        tier_id: tier.tier_id.to_string(),
        display_name: tier.display_name.clone(),
        since: Some(write_instant(standing.since)),
        policy_version: standing.policy_version,
        qualifying_spend: money(standing.qualifying_spend),
        next: next.map(|(next, missing)| proto::NextTier {
            tier_id: next.tier_id.to_string(),
            display_name: next.display_name.clone(),
            threshold: money(next.threshold),
            missing: money(missing),
        }),
        benefits: tier.benefits.iter().map(write_benefit).collect(),
        // A tier that was taken over is its own beginning.
        cause_entry_ids: Some(cause).filter(|cause| *cause != changed).map(ToString::to_string).into_iter().collect(),
        entry_id: changed.to_string(),
        as_of: Some(write_instant(*as_of)),
    }
}

/// A change of tier on the wire; nothing for any other entry.
#[must_use]
pub(crate) fn write_tier_change(entry: &Entry) -> Option<proto::TierChange> {
    let (from, to) = match &entry.detail {
        Detail::Tier(TierDetail::TierChanged { from, to, .. }) => (from.as_ref(), to),
        Detail::Tier(TierDetail::TierImported { from, to, .. }) if from != to => (Some(from), to),
        Detail::Tier(TierDetail::TierImported { .. })
        | Detail::Program(_)
        | Detail::Customer(_)
        | Detail::Activity(_)
        | Detail::Points(_)
        | Detail::Referral(_) => return None,
    };
    Some(proto::TierChange {
        from_tier_id: from.map(ToString::to_string).unwrap_or_default(),
        to_tier_id: to.to_string(),
        policy_version: entry.policy_version,
        effective_at: Some(write_instant(entry.effective_at)),
        entry_id: entry.id.to_string(),
        cause_entry_ids: entry.causes.iter().map(ToString::to_string).collect(),
    })
}
