//! `CustomerService` on the wire.

mod parse;
mod write;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use goldbook_api::server::{Received, customer_service_server};
use tonic::{Request, Response, Status};

use super::erasure::commands::ToldErasure;
use super::{CustomerExport, Customers};
use crate::access::grpc::admit;
use crate::error::Fields;
use crate::ids::ProgramId;
use crate::paging::PageRequest;
use crate::proto;
use crate::proto::fields::write_instant;
use crate::proto::requests::parse_customer;
use crate::telemetry;
use parse::{parse_create, parse_erase, parse_update};
use write::{write_consent, write_customer, write_erasure};

#[tonic::async_trait]
impl customer_service_server::CustomerService for Customers {
    async fn create_customer(
        &self,
        request: Request<Received<proto::CreateCustomerRequest>>,
    ) -> Result<Response<proto::CreateCustomerResponse>, Status> {
        let (request, caller) = admit(request)?;
        let create = parse_create(request)?;
        telemetry::record_program(create.program_id.as_str());
        let (customer, replayed) = self.create_customer(create, caller.writer().await?).await?;
        Ok(Response::new(proto::CreateCustomerResponse { customer: Some(write_customer(customer)), replayed }))
    }

    async fn get_customer(
        &self,
        request: Request<Received<proto::GetCustomerRequest>>,
    ) -> Result<Response<proto::GetCustomerResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let customer = parse_customer(&mut fields, request.program_id, request.customer_id);
        let (program_id, customer_id) = fields.finish_with(customer)?;
        telemetry::record_program(program_id.as_str());
        let customer = self.get_customer(&program_id, &customer_id).await?;
        let history = self.list_consents(customer.row.account_id).await?;
        let account_id = customer.row.account_id.0.to_string();
        Ok(Response::new(proto::GetCustomerResponse {
            customer: Some(write_customer(customer)),
            account_id,
            marketing_consent_history: history.iter().map(write_consent).collect(),
        }))
    }

    async fn update_customer(
        &self,
        request: Request<Received<proto::UpdateCustomerRequest>>,
    ) -> Result<Response<proto::UpdateCustomerResponse>, Status> {
        let (request, caller) = admit(request)?;
        let update = parse_update(request)?;
        telemetry::record_program(update.program_id.as_str());
        let customer = self.update_customer(update, caller.writer().await?).await?;
        Ok(Response::new(proto::UpdateCustomerResponse { customer: Some(write_customer(customer)) }))
    }

    async fn erase_customer(
        &self,
        request: Request<Received<proto::EraseCustomerRequest>>,
    ) -> Result<Response<proto::EraseCustomerResponse>, Status> {
        let (request, caller) = admit(request)?;
        let erase = parse_erase(request)?;
        telemetry::record_program(erase.program_id.as_str());
        let ToldErasure { erasure, replayed } = self.erase_customer(erase, caller.writer().await?).await?;
        Ok(Response::new(proto::EraseCustomerResponse { erasure: Some(write_erasure(&erasure)), replayed }))
    }

    async fn list_customers(
        &self,
        request: Request<Received<proto::ListCustomersRequest>>,
    ) -> Result<Response<proto::ListCustomersResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let filters = ["customers", &request.program_id];
        let page = PageRequest::parse(&mut fields, request.page_size, &request.page_token, &filters)?;
        let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
        let program_id = fields.finish_with(program_id)?;
        telemetry::record_program(program_id.as_str());
        let (customers, next_page_token) = self.list_customers(&program_id, &page).await?;
        let customers = customers.into_iter().map(write_customer).collect();
        Ok(Response::new(proto::ListCustomersResponse { customers, next_page_token }))
    }
    type ExportCustomerStream = BoxStream<'static, Result<proto::ExportCustomerResponse, Status>>;

    async fn export_customer(
        &self,
        request: Request<Received<proto::ExportCustomerRequest>>,
    ) -> Result<Response<Self::ExportCustomerStream>, Status> {
        let (request, caller) = admit(request)?;
        let mut fields = Fields::default();
        let customer = parse_customer(&mut fields, request.program_id, request.customer_id);
        let (program_id, customer_id) = fields.finish_with(customer)?;
        telemetry::record_program(program_id.as_str());
        let CustomerExport { as_of, chunks } =
            self.export_customer(program_id, customer_id, caller.writer().await?).await?;
        let first = proto::ExportCustomerResponse { as_of: Some(write_instant(as_of)), chunk: Vec::new() };
        let rest = chunks.map(|chunk| Ok(proto::ExportCustomerResponse { chunk: chunk?, as_of: None }));
        Ok(Response::new(caller.while_it_counts(stream::iter([Ok(first)]).chain(rest))))
    }
}
