//! `BenefitService` on the wire.

use goldbook_api::server::{Received, benefit_service_server};
use tonic::{Request, Response, Status};

use super::Benefits;
use crate::access::grpc::admit;
use crate::error::Fields;
use crate::programs::benefits::grpc::write_benefit;
use crate::proto;
use crate::proto::fields::{parse_optional_instant, write_instant};
use crate::proto::requests::parse_customer_list;
use crate::telemetry;

#[tonic::async_trait]
impl benefit_service_server::BenefitService for Benefits {
    async fn list_customer_benefits(
        &self,
        request: Request<Received<proto::ListCustomerBenefitsRequest>>,
    ) -> Result<Response<proto::ListCustomerBenefitsResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let as_of = parse_optional_instant(&mut fields, "as_of", request.as_of.as_ref());
        let instant = as_of.map(|as_of| as_of.to_string()).unwrap_or_default();
        let (customer, page) = parse_customer_list(&mut fields, &request, "benefits", &[&instant])?;
        let (program_id, customer_id) = fields.finish_with(customer)?;
        telemetry::record_program(program_id.as_str());
        let (customer_tier, benefits, next_page_token) =
            self.list_customer_benefits(&program_id, &customer_id, as_of, &page).await?;
        let entitlements = benefits.iter().map(|benefit| proto::Entitlement {
            benefit: Some(write_benefit(benefit, customer_tier.policy.program.currency)),
            tier_id: customer_tier.tier.tier_id.to_string(),
            since: Some(write_instant(customer_tier.standing.since)),
            entry_id: customer_tier.changed.to_string(),
        });
        Ok(Response::new(proto::ListCustomerBenefitsResponse { entitlements: entitlements.collect(), next_page_token }))
    }
}
