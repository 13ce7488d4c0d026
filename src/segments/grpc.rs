//! `SegmentService` on the wire.

use goldbook_api::server::{Received, segment_service_server};
use tonic::{Request, Response, Status};

use super::{SegmentQuestion, Segments};
use crate::access::grpc::admit;
use crate::error::{Defect, Error, Fields};
use crate::ids::{ProgramId, SegmentId};
use crate::paging::PageRequest;
use crate::programs::grpc::tried::{Named, parse_tried};
use crate::programs::next::Tried;
use crate::proto;
use crate::proto::fields::{parse_optional_instant, write_instant};
use crate::proto::requests::parse_customer_at;
use crate::proto::{count_segment_request, list_segment_members_request};
use crate::telemetry;

#[tonic::async_trait]
impl segment_service_server::SegmentService for Segments {
    async fn list_segment_members(
        &self,
        request: Request<Received<proto::ListSegmentMembersRequest>>,
    ) -> Result<Response<proto::ListSegmentMembersResponse>, Status> {
        let (request, caller) = admit(request)?;
        let (question, page) = parse_members(request)?;
        telemetry::record_program(question.program_id.as_str());
        let found = self.list_segment_members(question, &page, caller.writer().await?.principal_id).await?;
        let members = found.customers.into_iter().map(|id| proto::SegmentMember { customer_id: id.into() });
        Ok(Response::new(proto::ListSegmentMembersResponse {
            as_of: Some(write_instant(found.as_of)),
            members: members.collect(),
            next_page_token: found.next_page_token,
            customers_left_out: found.left_out,
        }))
    }

    async fn count_segment(
        &self,
        request: Request<Received<proto::CountSegmentRequest>>,
    ) -> Result<Response<proto::CountSegmentResponse>, Status> {
        let (request, caller) = admit(request)?;
        let question = parse_count(request)?;
        telemetry::record_program(question.program_id.as_str());
        let found = self.count_segment(question, caller.writer().await?.principal_id).await?;
        Ok(Response::new(proto::CountSegmentResponse {
            as_of: Some(write_instant(found.as_of)),
            members: found.members,
            customers: found.customers,
            customers_left_out: found.left_out,
        }))
    }

    async fn list_customer_segments(
        &self,
        request: Request<Received<proto::ListCustomerSegmentsRequest>>,
    ) -> Result<Response<proto::ListCustomerSegmentsResponse>, Status> {
        let (request, _) = admit(request)?;
        let (program_id, customer_id, as_of) =
            parse_customer_at(request.program_id, request.customer_id, request.as_of.as_ref())?;
        telemetry::record_program(program_id.as_str());
        let found = self.list_customer_segments(&program_id, &customer_id, as_of).await?;
        let segments = found.segments.into_iter().map(|segment| proto::CustomerSegment {
            segment_id: segment.segment_id.into(),
            display_name: segment.display_name,
        });
        Ok(Response::new(proto::ListCustomerSegmentsResponse {
            as_of: Some(write_instant(found.as_of)),
            program_version: found.version,
            segments: segments.collect(),
        }))
    }
}

fn parse_members(request: proto::ListSegmentMembersRequest) -> Result<(SegmentQuestion, PageRequest), Error> {
    let proto::ListSegmentMembersRequest { program_id, segment_id, as_of, policy, page_size, page_token } = request;
    let named = policy.map(|policy| match policy {
        list_segment_members_request::Policy::Program(program) => Named::Document(Box::new(program)),
        list_segment_members_request::Policy::Version(version) => Named::Version(version),
    });
    let mut fields = Fields::default();
    let question = parse_question(&mut fields, (program_id, segment_id), as_of.as_ref(), named);
    // A token leads on where the same is asked alone.
    let asked = question.as_ref().map(filters).transpose()?.unwrap_or_default();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let page = PageRequest::parse(&mut fields, page_size, &page_token, &asked);
    let question = fields.finish_with(question)?;
    Ok((question, page?))
}

/// What is asked, as texts.
fn filters(question: &SegmentQuestion) -> Result<[String; 4], Error> {
    let SegmentQuestion { program_id, segment_id, as_of, tried } = question;
    let tried = match tried {
        None => String::new(),
        Some(Tried::Version(version)) => version.to_string(),
        Some(Tried::Document(program)) => {
            let segment = program.segments.iter().find(|segment| segment.segment_id == *segment_id);
            serde_json::to_string(&segment).map_err(|error| Defect::new(format!("a segment as JSON: {error}")))?
        }
    };
    let as_of = as_of.map(|as_of| as_of.to_string()).unwrap_or_default();
    Ok([program_id.to_string(), segment_id.to_string(), as_of, tried])
}

fn parse_count(request: proto::CountSegmentRequest) -> Result<SegmentQuestion, Error> {
    let proto::CountSegmentRequest { program_id, segment_id, as_of, policy } = request;
    let named = policy.map(|policy| match policy {
        count_segment_request::Policy::Program(program) => Named::Document(Box::new(program)),
        count_segment_request::Policy::Version(version) => Named::Version(version),
    });
    let mut fields = Fields::default();
    let question = parse_question(&mut fields, (program_id, segment_id), as_of.as_ref(), named);
    fields.finish_with(question)
}

fn parse_question(
    fields: &mut Fields,
    (program_id, segment_id): (String, String),
    as_of: Option<&prost_types::Timestamp>,
    named: Option<Named>,
) -> Option<SegmentQuestion> {
    let program_id = fields.check("program_id", ProgramId::try_from(program_id));
    let segment_id = fields.check("segment_id", SegmentId::try_from(segment_id));
    let as_of = parse_optional_instant(fields, "as_of", as_of);
    let tried = match named {
        None => Some(None),
        named => parse_tried(fields, program_id.as_ref(), named).map(Some),
    };
    Some(SegmentQuestion { program_id: program_id?, segment_id: segment_id?, as_of, tried: tried? })
}
