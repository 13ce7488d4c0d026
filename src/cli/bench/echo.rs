//! The baseline for reads: a bare tonic server that answers without looking anything up.

use std::net::SocketAddr;

use clap::Args;
use futures_util::stream;
use goldbook_api::server::Received;
use goldbook_api::server::tier_service_server::{TierService, TierServiceServer};
use goldbook_api::v1::{
    BatchGetCustomerTiersRequest, BatchGetCustomerTiersResponse, ClearTierOverrideRequest, ClearTierOverrideResponse,
    CustomerTier, GetCustomerTierRequest, GetCustomerTierResponse, GetTierReevaluationRequest,
    GetTierReevaluationResponse, ListTierChangesRequest, ListTierChangesResponse, ListTierStatisticsRequest,
    ListTierStatisticsResponse, ReevaluateTiersRequest, ReevaluateTiersResponse, SetTierOverrideRequest,
    SetTierOverrideResponse, SimulateTierPolicyRequest, SimulateTierPolicyResponse,
};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::super::error::CliError;
use super::super::error::with_causes;

/// The arguments of the echo.
#[derive(Debug, Args)]
pub(crate) struct EchoArgs {
    /// The address to listen on.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
}

struct Echo;

#[tonic::async_trait]
impl TierService for Echo {
    async fn get_customer_tier(
        &self,
        request: Request<Received<GetCustomerTierRequest>>,
    ) -> Result<Response<GetCustomerTierResponse>, Status> {
        let request = request.into_inner().read();
        let request = request.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let customer_id = request.customer_id;
        let customer_tier = CustomerTier { customer_id, ..CustomerTier::default() };
        Ok(Response::new(GetCustomerTierResponse { customer_tier: Some(customer_tier) }))
    }

    async fn batch_get_customer_tiers(
        &self,
        _: Request<Received<BatchGetCustomerTiersRequest>>,
    ) -> Result<Response<BatchGetCustomerTiersResponse>, Status> {
        Err(only_one())
    }

    async fn list_tier_changes(
        &self,
        _: Request<Received<ListTierChangesRequest>>,
    ) -> Result<Response<ListTierChangesResponse>, Status> {
        Err(only_one())
    }

    async fn set_tier_override(
        &self,
        _: Request<Received<SetTierOverrideRequest>>,
    ) -> Result<Response<SetTierOverrideResponse>, Status> {
        Err(only_one())
    }

    async fn clear_tier_override(
        &self,
        _: Request<Received<ClearTierOverrideRequest>>,
    ) -> Result<Response<ClearTierOverrideResponse>, Status> {
        Err(only_one())
    }

    type ListTierStatisticsStream = stream::Empty<Result<ListTierStatisticsResponse, Status>>;

    async fn list_tier_statistics(
        &self,
        _: Request<Received<ListTierStatisticsRequest>>,
    ) -> Result<Response<Self::ListTierStatisticsStream>, Status> {
        Err(only_one())
    }

    type SimulateTierPolicyStream = stream::Empty<Result<SimulateTierPolicyResponse, Status>>;

    async fn simulate_tier_policy(
        &self,
        _: Request<Received<SimulateTierPolicyRequest>>,
    ) -> Result<Response<Self::SimulateTierPolicyStream>, Status> {
        Err(only_one())
    }

    async fn reevaluate_tiers(
        &self,
        _: Request<Received<ReevaluateTiersRequest>>,
    ) -> Result<Response<ReevaluateTiersResponse>, Status> {
        Err(only_one())
    }

    async fn get_tier_reevaluation(
        &self,
        _: Request<Received<GetTierReevaluationRequest>>,
    ) -> Result<Response<GetTierReevaluationResponse>, Status> {
        Err(only_one())
    }
}

fn only_one() -> Status {
    Status::unimplemented("the echo echoes GetCustomerTier only")
}

/// Runs the echo until the process is stopped.
///
/// # Errors
/// If it cannot listen there.
pub(crate) async fn run(args: EchoArgs) -> Result<(), CliError> {
    let serving = Server::builder().add_service(TierServiceServer::new(Echo)).serve(args.listen).await;
    serving.map_err(|error| CliError::failed(with_causes(&error)))
}
