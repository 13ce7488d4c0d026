//! `ReferralService` on the wire.

use tonic::{Request, Response, Status};

use super::model::{NamedCode, NamedReferral, ReferralState};
use super::{CreateReferral, Referrals};
use crate::error::Fields;
use crate::ids::{CampaignId, CustomerId, EntryId, IdempotencyKey, ProgramId, ReferralCode};
use crate::proto;
use crate::proto::fields::{deadline_of, write_instant};
use crate::proto::requests::{parse_customer, parse_customer_list};
use crate::telemetry;

#[tonic::async_trait]
impl proto::referral_service_server::ReferralService for Referrals {
    async fn create_referral_code(
        &self,
        request: Request<proto::CreateReferralCodeRequest>,
    ) -> Result<Response<proto::CreateReferralCodeResponse>, Status> {
        let deadline = deadline_of(&request);
        let request = request.into_inner();
        let mut fields = Fields::default();
        let customer = parse_customer(&mut fields, request.program_id, request.customer_id);
        let campaign_id = fields.check("campaign_id", CampaignId::try_from(request.campaign_id));
        let ((program_id, customer_id), campaign_id) = fields.finish_with(customer.zip(campaign_id))?;
        telemetry::record_program(program_id.as_str());
        let (code, created) = self.create_referral_code(program_id.clone(), customer_id, campaign_id, deadline).await?;
        let referral_code = Some(write_code(code, &program_id));
        Ok(Response::new(proto::CreateReferralCodeResponse { referral_code, created }))
    }

    async fn get_referral_code(
        &self,
        request: Request<proto::GetReferralCodeRequest>,
    ) -> Result<Response<proto::GetReferralCodeResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
        let code = fields.check("code", ReferralCode::parse(&request.code));
        let (program_id, code) = fields.finish_with(program_id.zip(code))?;
        telemetry::record_program(program_id.as_str());
        let code = self.get_referral_code(&program_id, &code).await?;
        let referral_code = Some(write_code(code, &program_id));
        Ok(Response::new(proto::GetReferralCodeResponse { referral_code }))
    }

    async fn create_referral(
        &self,
        request: Request<proto::CreateReferralRequest>,
    ) -> Result<Response<proto::CreateReferralResponse>, Status> {
        let deadline = deadline_of(&request);
        let request = request.into_inner();
        let mut fields = Fields::default();
        let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
        let referee = fields.check("referee_customer_id", CustomerId::try_from(request.referee_customer_id));
        let code = fields.check("code", ReferralCode::parse(&request.code));
        let key = fields.check("idempotency_key", IdempotencyKey::try_from(request.idempotency_key));
        let ((program_id, referee), (code, key)) = fields.finish_with(program_id.zip(referee).zip(code.zip(key)))?;
        telemetry::record_program(program_id.as_str());
        let create = CreateReferral { program_id: program_id.clone(), referee, code, enrol: request.enrol, key };
        let (referral, replayed) = self.create_referral(create, deadline).await?;
        let referral = Some(write_referral(referral, &program_id));
        Ok(Response::new(proto::CreateReferralResponse { referral, replayed }))
    }

    async fn get_referral(
        &self,
        request: Request<proto::GetReferralRequest>,
    ) -> Result<Response<proto::GetReferralResponse>, Status> {
        let request = request.into_inner();
        let (program_id, referee) = parse_referee(request.program_id, request.referee_customer_id)?;
        let referral = self.get_referral(&program_id, &referee).await?;
        let referral = Some(write_referral(referral, &program_id));
        Ok(Response::new(proto::GetReferralResponse { referral }))
    }

    async fn list_referrals(
        &self,
        request: Request<proto::ListReferralsRequest>,
    ) -> Result<Response<proto::ListReferralsResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let (referrer, page) = parse_customer_list(&mut fields, &request, "referrals", &[])?;
        let (program_id, referrer) = fields.finish_with(referrer)?;
        telemetry::record_program(program_id.as_str());
        let (referrals, next_page_token) = self.list_referrals(&program_id, &referrer, &page).await?;
        let referrals = referrals.into_iter().map(|referral| write_referral(referral, &program_id)).collect();
        Ok(Response::new(proto::ListReferralsResponse { referrals, next_page_token }))
    }

    async fn convert_referral(
        &self,
        request: Request<proto::ConvertReferralRequest>,
    ) -> Result<Response<proto::ConvertReferralResponse>, Status> {
        let deadline = deadline_of(&request);
        let request = request.into_inner();
        let (program_id, referee) = parse_referee(request.program_id, request.referee_customer_id)?;
        let (referral, already_converted) = self.convert_referral(program_id.clone(), referee, deadline).await?;
        let referral = Some(write_referral(referral, &program_id));
        Ok(Response::new(proto::ConvertReferralResponse { referral, already_converted }))
    }
}

fn parse_referee(program_id: String, referee: String) -> Result<(ProgramId, CustomerId), Status> {
    let mut fields = Fields::default();
    let program_id = fields.check("program_id", ProgramId::try_from(program_id));
    let referee = fields.check("referee_customer_id", CustomerId::try_from(referee));
    let (program_id, referee) = fields.finish_with(program_id.zip(referee))?;
    telemetry::record_program(program_id.as_str());
    Ok((program_id, referee))
}

fn write_code(named: NamedCode, program_id: &ProgramId) -> proto::ReferralCode {
    proto::ReferralCode {
        code: named.code.code.to_string(),
        program_id: program_id.to_string(),
        campaign_id: named.code.campaign_id.to_string(),
        customer_id: named.customer_id.into(),
        create_time: Some(write_instant(named.code.created_at)),
        expire_time: named.expires_at.map(write_instant),
        entry_id: named.entry_id.to_string(),
    }
}

fn write_referral(named: NamedReferral, program_id: &ProgramId) -> proto::Referral {
    let NamedReferral { referral, referee, referrer, code } = named;
    let entry_id = |id: Option<EntryId>| id.map(|id| id.to_string()).unwrap_or_default();
    let (state, convert_time, qualifying, referrer_reward, referee_reward) = match referral.state {
        ReferralState::Pending => (proto::ReferralState::Pending, None, None, None, None),
        ReferralState::Converted { at, qualifying, referrer_reward, referee_reward, .. } => {
            (proto::ReferralState::Converted, Some(at), qualifying, referrer_reward, referee_reward)
        }
        ReferralState::Expired { .. } => (proto::ReferralState::Expired, None, None, None, None),
    };
    let created = EntryId { account_id: referral.referee, account_seq: referral.created_seq };
    proto::Referral {
        program_id: program_id.to_string(),
        referee_customer_id: referee.map(String::from).unwrap_or_default(),
        referrer_customer_id: referrer.map(String::from).unwrap_or_default(),
        campaign_id: referral.campaign_id.to_string(),
        code: code.map(String::from).unwrap_or_default(),
        state: state.into(),
        create_time: Some(write_instant(referral.created_at)),
        expire_time: referral.expires_at.map(write_instant),
        convert_time: convert_time.map(write_instant),
        qualifying_entry_id: entry_id(qualifying),
        referrer_reward_entry_id: entry_id(referrer_reward),
        referee_reward_entry_id: entry_id(referee_reward),
        policy_version: referral.policy_version,
        entry_id: created.to_string(),
    }
}
