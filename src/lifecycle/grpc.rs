//! `LifecycleService` on the wire.

use goldbook_api::server::{Received, lifecycle_service_server};
use tonic::{Request, Response, Status};

use super::{FoundDecision, FoundLifecycle, Lifecycles};
use crate::access::grpc::admit;
use crate::book::{Answered, BrandClass, Facts, LoyaltyClass, Position, SatisfactionClass};
use crate::money::{Currency, Money};
use crate::programs::lifecycle::grpc::write_stage;
use crate::proto;
use crate::proto::fields::{write_instant, write_money};
use crate::proto::requests::parse_customer_at;
use crate::telemetry;

#[tonic::async_trait]
impl lifecycle_service_server::LifecycleService for Lifecycles {
    async fn get_lifecycle(
        &self,
        request: Request<Received<proto::GetLifecycleRequest>>,
    ) -> Result<Response<proto::GetLifecycleResponse>, Status> {
        let (request, _) = admit(request)?;
        let (program_id, customer_id, as_of) =
            parse_customer_at(request.program_id, request.customer_id, request.as_of.as_ref())?;
        telemetry::record_program(program_id.as_str());
        let found = self.get_lifecycle(&program_id, &customer_id, as_of).await?;
        Ok(Response::new(write_lifecycle(&found)))
    }
}

fn write_lifecycle(found: &FoundLifecycle) -> proto::GetLifecycleResponse {
    let FoundLifecycle { as_of, currency, decided } = found;
    let as_of = Some(write_instant(*as_of));
    let Some(decided) = decided else { return proto::GetLifecycleResponse { as_of, ..Default::default() } };
    let FoundDecision { entry_id, decided_at, policy_version, causes, before, position, since, by, forecast } = decided;
    let forecast = forecast.iter().map(|foretold| proto::ForetoldMove {
        at: Some(write_instant(foretold.at)),
        position: Some(write_position(&foretold.to)),
    });
    proto::GetLifecycleResponse {
        as_of,
        position: Some(write_position(position)),
        since: Some(write_instant(*since)),
        before: before.as_ref().map(write_position),
        decided_at: Some(write_instant(*decided_at)),
        entry_id: entry_id.map(|entry_id| entry_id.to_string()).unwrap_or_default(),
        cause_entry_ids: causes.iter().map(ToString::to_string).collect(),
        policy_version: *policy_version,
        facts: Some(write_facts(by, *currency)),
        forecast: forecast.collect(),
    }
}

fn write_facts(facts: &Facts, currency: Currency) -> proto::LifecycleFacts {
    let answer = |answered: Option<Answered>| answered.map(|it| it.answer);
    proto::LifecycleFacts {
        purchases: facts.purchases,
        spend: Some(write_money(Money { currency, minor: facts.spend })),
        referrals: facts.referrals,
        last_purchase_at: facts.last_purchase_at.map(write_instant),
        satisfaction: answer(facts.satisfaction),
        recommendation: answer(facts.recommendation),
        involvement: answer(facts.involvement),
        brands: answer(facts.brands),
        open_complaints: facts.open_complaints,
    }
}

fn write_position(position: &Position) -> proto::LifecyclePosition {
    let satisfaction = position.satisfaction.map_or(proto::SatisfactionClass::Unspecified, write_satisfaction);
    let loyalty = position.loyalty.map_or(proto::LoyaltyClass::Unspecified, write_loyalty);
    let brands = position.brands.map_or(proto::BrandClass::Unspecified, write_brands);
    proto::LifecyclePosition {
        stage: write_stage(position.stage).into(),
        satisfaction_class: satisfaction.into(),
        loyalty_class: loyalty.into(),
        brand_class: brands.into(),
    }
}

const fn write_satisfaction(class: SatisfactionClass) -> proto::SatisfactionClass {
    match class {
        SatisfactionClass::Apostle => proto::SatisfactionClass::Apostle,
        SatisfactionClass::Mercenary => proto::SatisfactionClass::Mercenary,
        SatisfactionClass::Hostage => proto::SatisfactionClass::Hostage,
        SatisfactionClass::Defector => proto::SatisfactionClass::Defector,
    }
}

const fn write_loyalty(class: LoyaltyClass) -> proto::LoyaltyClass {
    match class {
        LoyaltyClass::TrueLoyalty => proto::LoyaltyClass::TrueLoyalty,
        LoyaltyClass::LatentLoyalty => proto::LoyaltyClass::LatentLoyalty,
        LoyaltyClass::SpuriousLoyalty => proto::LoyaltyClass::SpuriousLoyalty,
        LoyaltyClass::NoLoyalty => proto::LoyaltyClass::NoLoyalty,
    }
}

const fn write_brands(class: BrandClass) -> proto::BrandClass {
    match class {
        BrandClass::Loyal => proto::BrandClass::Loyal,
        BrandClass::Habitual => proto::BrandClass::Habitual,
        BrandClass::ManyBrand => proto::BrandClass::ManyBrand,
        BrandClass::Switcher => proto::BrandClass::Switcher,
    }
}
