//! The generated clients of a service.

use std::net::SocketAddr;

use goldbook::proto;
use goldbook::proto::activity_service_client::ActivityServiceClient;
use goldbook::proto::benefit_service_client::BenefitServiceClient;
use goldbook::proto::complaint_service_client::ComplaintServiceClient;
use goldbook::proto::customer_service_client::CustomerServiceClient;
use goldbook::proto::ledger_service_client::LedgerServiceClient;
use goldbook::proto::lifecycle_service_client::LifecycleServiceClient;
use goldbook::proto::program_service_client::ProgramServiceClient;
use goldbook::proto::referral_service_client::ReferralServiceClient;
use goldbook::proto::reward_service_client::RewardServiceClient;
use goldbook::proto::satisfaction_service_client::SatisfactionServiceClient;
use goldbook::proto::segment_service_client::SegmentServiceClient;
use goldbook::proto::tier_service_client::TierServiceClient;
use goldbook::proto::value_service_client::ValueServiceClient;
use tonic::transport::Channel;
use tonic_health::pb::health_client::HealthClient;

/// The clients of a service of which nothing else is known.
#[derive(Clone)]
pub(crate) struct Clients {
    pub channel: Channel,
}

impl Clients {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { channel: Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap() }
    }

    /// Clients that connect when they first call.
    pub(crate) fn connect_later(address: SocketAddr) -> Self {
        Self { channel: Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy() }
    }

    pub(crate) fn programs(&self) -> ProgramServiceClient<Channel> {
        ProgramServiceClient::new(self.channel.clone())
    }

    pub(crate) fn customers(&self) -> CustomerServiceClient<Channel> {
        CustomerServiceClient::new(self.channel.clone())
    }

    pub(crate) fn activities(&self) -> ActivityServiceClient<Channel> {
        ActivityServiceClient::new(self.channel.clone())
    }

    pub(crate) fn tiers(&self) -> TierServiceClient<Channel> {
        TierServiceClient::new(self.channel.clone())
    }

    pub(crate) fn benefits(&self) -> BenefitServiceClient<Channel> {
        BenefitServiceClient::new(self.channel.clone())
    }

    pub(crate) fn referrals(&self) -> ReferralServiceClient<Channel> {
        ReferralServiceClient::new(self.channel.clone())
    }

    pub(crate) fn rewards(&self) -> RewardServiceClient<Channel> {
        RewardServiceClient::new(self.channel.clone())
    }

    pub(crate) fn lifecycles(&self) -> LifecycleServiceClient<Channel> {
        LifecycleServiceClient::new(self.channel.clone())
    }

    pub(crate) fn complaints(&self) -> ComplaintServiceClient<Channel> {
        ComplaintServiceClient::new(self.channel.clone())
    }

    pub(crate) fn segments(&self) -> SegmentServiceClient<Channel> {
        SegmentServiceClient::new(self.channel.clone())
    }

    /// The value service.
    pub(crate) fn value(&self) -> ValueServiceClient<Channel> {
        ValueServiceClient::new(self.channel.clone())
    }

    pub(crate) fn satisfaction(&self) -> SatisfactionServiceClient<Channel> {
        SatisfactionServiceClient::new(self.channel.clone())
    }

    pub(crate) fn ledger(&self) -> LedgerServiceClient<Channel> {
        LedgerServiceClient::new(self.channel.clone())
    }

    pub(crate) fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel.clone())
    }

    pub(crate) async fn apply(&self, program: proto::Program) {
        let request = proto::ApplyProgramRequest { program: Some(program), ..Default::default() };
        self.programs().apply_program(request).await.unwrap();
    }
}
