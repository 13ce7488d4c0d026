//! `ComplaintService` on the wire.

mod parse;
mod write;

use goldbook_api::server::{Received, complaint_service_server};
use tonic::{Request, Response, Status};

use self::parse::{
    parse_acknowledgement, parse_due, parse_get, parse_goodwill, parse_metrics, parse_offer, parse_opening,
    parse_reopening, parse_resolution, parse_update,
};
use self::write::{Audience, write_found, write_goodwill_grant, write_listed, write_metrics, write_stands};
use super::commands::StepComplaint;
use super::{Complaints, WrittenComplaint};
use crate::access::grpc::admit;
use crate::book::Writer;
use crate::error::{Error, Fields};
use crate::proto;
use crate::proto::fields::write_instant;
use crate::proto::requests::parse_customer_list;
use crate::telemetry;

impl Complaints {
    async fn take_step(
        &self,
        command: StepComplaint,
        writer: Writer,
        audience: Audience,
    ) -> Result<(proto::Complaint, bool), Error> {
        telemetry::record_program(command.subject.program_id.as_str());
        let customer_id = command.subject.customer_id.clone();
        let WrittenComplaint { stands, currency, replayed } = self.step_complaint(command, writer).await?;
        Ok((write_stands(&stands, &customer_id, currency, audience), replayed))
    }
}

#[tonic::async_trait]
impl complaint_service_server::ComplaintService for Complaints {
    async fn open_complaint(
        &self,
        request: Request<Received<proto::OpenComplaintRequest>>,
    ) -> Result<Response<proto::OpenComplaintResponse>, Status> {
        let (request, caller) = admit(request)?;
        let command = parse_opening(request)?;
        telemetry::record_program(command.subject.program_id.as_str());
        let customer_id = command.subject.customer_id.clone();
        let opened = self.open_complaint(command, caller.writer().await?).await?;
        let WrittenComplaint { stands, currency, replayed } = opened;
        let complaint = Some(write_stands(&stands, &customer_id, currency, Audience::of(&caller)));
        Ok(Response::new(proto::OpenComplaintResponse { complaint, replayed }))
    }

    async fn acknowledge_complaint(
        &self,
        request: Request<Received<proto::AcknowledgeComplaintRequest>>,
    ) -> Result<Response<proto::AcknowledgeComplaintResponse>, Status> {
        let (request, caller) = admit(request)?;
        let step = parse_acknowledgement(request)?;
        let (complaint, replayed) = self.take_step(step, caller.writer().await?, Audience::of(&caller)).await?;
        Ok(Response::new(proto::AcknowledgeComplaintResponse { complaint: Some(complaint), replayed }))
    }

    async fn update_complaint(
        &self,
        request: Request<Received<proto::UpdateComplaintRequest>>,
    ) -> Result<Response<proto::UpdateComplaintResponse>, Status> {
        let (request, caller) = admit(request)?;
        let step = parse_update(request)?;
        let (complaint, replayed) = self.take_step(step, caller.writer().await?, Audience::of(&caller)).await?;
        Ok(Response::new(proto::UpdateComplaintResponse { complaint: Some(complaint), replayed }))
    }

    async fn offer_remedy(
        &self,
        request: Request<Received<proto::OfferRemedyRequest>>,
    ) -> Result<Response<proto::OfferRemedyResponse>, Status> {
        let (request, caller) = admit(request)?;
        let step = parse_offer(request)?;
        let (complaint, replayed) = self.take_step(step, caller.writer().await?, Audience::of(&caller)).await?;
        Ok(Response::new(proto::OfferRemedyResponse { complaint: Some(complaint), replayed }))
    }

    async fn resolve_complaint(
        &self,
        request: Request<Received<proto::ResolveComplaintRequest>>,
    ) -> Result<Response<proto::ResolveComplaintResponse>, Status> {
        let (request, caller) = admit(request)?;
        let step = parse_resolution(request)?;
        let (complaint, replayed) = self.take_step(step, caller.writer().await?, Audience::of(&caller)).await?;
        Ok(Response::new(proto::ResolveComplaintResponse { complaint: Some(complaint), replayed }))
    }

    async fn reopen_complaint(
        &self,
        request: Request<Received<proto::ReopenComplaintRequest>>,
    ) -> Result<Response<proto::ReopenComplaintResponse>, Status> {
        let (request, caller) = admit(request)?;
        let step = parse_reopening(request)?;
        let (complaint, replayed) = self.take_step(step, caller.writer().await?, Audience::of(&caller)).await?;
        Ok(Response::new(proto::ReopenComplaintResponse { complaint: Some(complaint), replayed }))
    }

    async fn grant_goodwill(
        &self,
        request: Request<Received<proto::GrantGoodwillRequest>>,
    ) -> Result<Response<proto::GrantGoodwillResponse>, Status> {
        let (request, caller) = admit(request)?;
        let parsed = parse_goodwill(request)?;
        let writer = caller.writer().await?;
        let command = parsed.by(caller.person().await?);
        telemetry::record_program(command.subject.program_id.as_str());
        let written = self.grant_goodwill(command, writer).await?;
        Ok(Response::new(write_goodwill_grant(&written)))
    }

    async fn get_complaint(
        &self,
        request: Request<Received<proto::GetComplaintRequest>>,
    ) -> Result<Response<proto::GetComplaintResponse>, Status> {
        let (request, caller) = admit(request)?;
        let (program_id, customer_id, complaint_id, as_of) = parse_get(request)?;
        telemetry::record_program(program_id.as_str());
        let found = self.get_complaint(&program_id, &customer_id, complaint_id, as_of).await?;
        let complaint = write_found(&found, &customer_id, complaint_id, Audience::of(&caller));
        Ok(Response::new(proto::GetComplaintResponse { complaint: Some(complaint) }))
    }

    async fn list_complaints(
        &self,
        request: Request<Received<proto::ListComplaintsRequest>>,
    ) -> Result<Response<proto::ListComplaintsResponse>, Status> {
        let (request, caller) = admit(request)?;
        let mut fields = Fields::default();
        let (customer, page) = parse_customer_list(&mut fields, &request, "complaints", &[])?;
        let (program_id, customer_id) = fields.finish_with(customer)?;
        telemetry::record_program(program_id.as_str());
        let (currency, listed, next_page_token) = self.list_complaints(&program_id, &customer_id, &page).await?;
        let audience = Audience::of(&caller);
        let complaints = listed.iter().map(|it| write_listed(it, &customer_id, currency, audience)).collect();
        Ok(Response::new(proto::ListComplaintsResponse { complaints, next_page_token }))
    }

    async fn list_due_complaints(
        &self,
        request: Request<Received<proto::ListDueComplaintsRequest>>,
    ) -> Result<Response<proto::ListDueComplaintsResponse>, Status> {
        let (request, caller) = admit(request)?;
        let (program_id, question, owner, page) = parse_due(request)?;
        telemetry::record_program(program_id.as_str());
        let (currency, listed, next_page_token) =
            self.list_due_complaints(&program_id, question, &owner, &page).await?;
        let audience = Audience::of(&caller);
        let write = |(customer_id, it): &(_, _)| write_listed(it, customer_id, currency, audience);
        let complaints = listed.iter().map(write).collect();
        Ok(Response::new(proto::ListDueComplaintsResponse { complaints, next_page_token }))
    }

    async fn get_complaint_metrics(
        &self,
        request: Request<Received<proto::GetComplaintMetricsRequest>>,
    ) -> Result<Response<proto::GetComplaintMetricsResponse>, Status> {
        let (request, caller) = admit(request)?;
        let question = parse_metrics(request)?;
        telemetry::record_program(question.program_id.as_str());
        let principal_id = caller.writer().await?.principal_id;
        let (as_of, parts) = self.get_complaint_metrics(question, principal_id).await?;
        let metrics = parts.iter().map(|(days, tally)| write_metrics(*days, tally)).collect();
        Ok(Response::new(proto::GetComplaintMetricsResponse { as_of: Some(write_instant(as_of)), metrics }))
    }
}
