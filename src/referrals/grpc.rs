//! `ReferralService` on the wire.

use goldbook_api::server::{Received, referral_service_server};
use tonic::{Request, Response, Status};

use super::model::{NamedCode, NamedReferral, ReferralState};
use super::{CreateReferral, Referrals};
use crate::access::grpc::{Admitted, admit};
use crate::error::{Error, Fields, Reason, Refusal};
use crate::ids::{CampaignId, CustomerId, EntryId, IdempotencyKey, ProgramId, ReferralCode};
use crate::proto;
use crate::proto::fields::write_instant;
use crate::proto::requests::{parse_customer, parse_customer_list};
use crate::telemetry;

#[tonic::async_trait]
impl referral_service_server::ReferralService for Referrals {
    async fn create_referral_code(
        &self,
        request: Request<Received<proto::CreateReferralCodeRequest>>,
    ) -> Result<Response<proto::CreateReferralCodeResponse>, Status> {
        let (request, caller) = admit(request)?;
        let mut fields = Fields::default();
        let customer = parse_customer(&mut fields, request.program_id, request.customer_id);
        let campaign_id = fields.check("campaign_id", CampaignId::try_from(request.campaign_id));
        let ((program_id, customer_id), campaign_id) = fields.finish_with(customer.zip(campaign_id))?;
        telemetry::record_program(program_id.as_str());
        let (code, created) =
            self.create_referral_code(program_id.clone(), customer_id, campaign_id, caller.writer().await?).await?;
        let referral_code = Some(write_code(code, &program_id));
        Ok(Response::new(proto::CreateReferralCodeResponse { referral_code, created }))
    }

    async fn get_referral_code(
        &self,
        request: Request<Received<proto::GetReferralCodeRequest>>,
    ) -> Result<Response<proto::GetReferralCodeResponse>, Status> {
        let (request, _) = admit(request)?;
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
        request: Request<Received<proto::CreateReferralRequest>>,
    ) -> Result<Response<proto::CreateReferralResponse>, Status> {
        let (request, caller) = admit(request)?;
        let mut fields = Fields::default();
        let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
        let referee = fields.check("referee_customer_id", CustomerId::try_from(request.referee_customer_id));
        let code = fields.check("code", ReferralCode::parse(&request.code));
        let key = fields.check("idempotency_key", IdempotencyKey::try_from(request.idempotency_key));
        let ((program_id, referee), (code, key)) = fields.finish_with(program_id.zip(referee).zip(code.zip(key)))?;
        telemetry::record_program(program_id.as_str());
        let create = CreateReferral { program_id: program_id.clone(), referee, code, enrol: request.enrol, key };
        let (code, writer) = (create.code.clone(), caller.writer().await?);
        let created = self.create_referral(create, writer).await;
        let (referral, replayed) = created.map_err(|error| hide_code_from(&caller, error, &code))?;
        let referral = Some(write_referral(referral, &program_id, Viewer::referee(&caller)));
        Ok(Response::new(proto::CreateReferralResponse { referral, replayed }))
    }

    async fn get_referral(
        &self,
        request: Request<Received<proto::GetReferralRequest>>,
    ) -> Result<Response<proto::GetReferralResponse>, Status> {
        let (request, caller) = admit(request)?;
        let (program_id, referee) = parse_referee(request.program_id, request.referee_customer_id)?;
        let referral = self.get_referral(&program_id, &referee).await?;
        let referral = Some(write_referral(referral, &program_id, Viewer::referee(&caller)));
        Ok(Response::new(proto::GetReferralResponse { referral }))
    }

    async fn list_referrals(
        &self,
        request: Request<Received<proto::ListReferralsRequest>>,
    ) -> Result<Response<proto::ListReferralsResponse>, Status> {
        let (request, caller) = admit(request)?;
        let mut fields = Fields::default();
        let (referrer, page) = parse_customer_list(&mut fields, &request, "referrals", &[])?;
        let (program_id, referrer) = fields.finish_with(referrer)?;
        telemetry::record_program(program_id.as_str());
        let (referrals, next_page_token) = self.list_referrals(&program_id, &referrer, &page).await?;
        let viewer = Viewer::referrer(&caller);
        let referrals = referrals.into_iter().map(|referral| write_referral(referral, &program_id, viewer)).collect();
        Ok(Response::new(proto::ListReferralsResponse { referrals, next_page_token }))
    }

    async fn convert_referral(
        &self,
        request: Request<Received<proto::ConvertReferralRequest>>,
    ) -> Result<Response<proto::ConvertReferralResponse>, Status> {
        let (request, caller) = admit(request)?;
        let (program_id, referee) = parse_referee(request.program_id, request.referee_customer_id)?;
        let (referral, already_converted) =
            self.convert_referral(program_id.clone(), referee, caller.writer().await?).await?;
        let referral = Some(write_referral(referral, &program_id, Viewer::referee(&caller)));
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

/// Who looks at a referral. A side that is the customer's own looks, and not those who serve both, sees nothing that
/// names the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Viewer {
    Both,
    RefereeOnly,
    ReferrerOnly,
}

impl Viewer {
    /// Whoever asks for the referral of a referee.
    fn referee(caller: &Admitted) -> Self {
        if caller.is_customer() { Self::RefereeOnly } else { Self::Both }
    }

    /// Whoever asks for the referrals of a referrer.
    fn referrer(caller: &Admitted) -> Self {
        if caller.is_customer() { Self::ReferrerOnly } else { Self::Both }
    }
}

/// What a customer is told of a code that cannot be used: always the same, so that they learn nothing about it.
fn hide_code_from(caller: &Admitted, error: Error, code: &ReferralCode) -> Error {
    let is_about_code = |reason| {
        matches!(reason, Reason::ReferralCodeNotFound | Reason::ReferralCodeExpired | Reason::CampaignNotActive)
    };
    if let Error::Refused(refusal) = &error
        && caller.is_customer()
        && is_about_code(refusal.reason)
    {
        return Refusal::new(Reason::ReferralCodeNotFound, "the code cannot be used").with("code", code).into();
    }
    error
}

fn write_referral(named: NamedReferral, program_id: &ProgramId, viewer: Viewer) -> proto::Referral {
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
    let of_referee = |text: String| if viewer == Viewer::ReferrerOnly { String::new() } else { text };
    let of_referrer = |text: String| if viewer == Viewer::RefereeOnly { String::new() } else { text };
    proto::Referral {
        program_id: program_id.to_string(),
        referee_customer_id: of_referee(referee.map(String::from).unwrap_or_default()),
        referrer_customer_id: of_referrer(referrer.map(String::from).unwrap_or_default()),
        campaign_id: referral.campaign_id.to_string(),
        code: code.map(String::from).unwrap_or_default(),
        state: state.into(),
        create_time: Some(write_instant(referral.created_at)),
        expire_time: referral.expires_at.map(write_instant),
        convert_time: convert_time.map(write_instant),
        qualifying_entry_id: of_referee(entry_id(qualifying)),
        referrer_reward_entry_id: of_referrer(entry_id(referrer_reward)),
        referee_reward_entry_id: of_referee(entry_id(referee_reward)),
        policy_version: referral.policy_version,
        entry_id: of_referee(created.to_string()),
    }
}
