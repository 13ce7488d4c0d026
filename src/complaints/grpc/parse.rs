//! Parses requests about complaints.

use jiff::Timestamp;

use crate::book::{ComplaintChange, ComplaintOutcome, ComplaintPriority, RemedyKind};
use crate::complaints::commands::{OpenComplaint, Step, StepComplaint, Update};
use crate::complaints::goodwill::commands::{Gift, GrantGoodwill};
use crate::complaints::{DueQuestion, MetricsQuestion};
use crate::error::{Error, Fields};
use crate::ids::{BenefitId, ComplaintCategoryId, CustomerId, EntryId, IdempotencyKey, PrincipalId, ProgramId};
use crate::money::Money;
use crate::paging::PageRequest;
use crate::points::amount::Points;
use crate::points::grpc::{parse_key, parse_note, parse_subject};
use crate::points::subject::Subject;
use crate::programs::complaints::grpc::parse_priority;
use crate::programs::points::grpc::parse_calendar_period;
use crate::proto;
use crate::proto::fields::{parse_money, parse_optional_day, parse_optional_instant, parse_text};
use crate::proto::grant_goodwill_request;
use crate::proto::requests::parse_customer;
use crate::satisfaction::grpc::feedback::parse_channel;

const MAX_TEXT: usize = 4_000;
const MAX_OWNER: usize = 128;
const USUAL_HOURS: i32 = 24;
const MAX_HOURS: i32 = 8_760;

fn parse_words(fields: &mut Fields, text: String) -> String {
    if text.chars().count() > MAX_TEXT || text.contains('\0') {
        fields.refuse("text", "must be at most 4,000 characters without U+0000");
    }
    text
}

fn parse_owner(fields: &mut Fields, owner: &str) -> Option<String> {
    parse_text(fields, "owner", owner, MAX_OWNER)
}

/// A category, if one is named.
fn parse_category(fields: &mut Fields, category_id: String) -> Option<ComplaintCategoryId> {
    let named = Some(category_id).filter(|category_id| !category_id.is_empty());
    named.and_then(|category_id| fields.check("category_id", ComplaintCategoryId::try_from(category_id)))
}

fn parse_handling_score(fields: &mut Fields, score: Option<i32>) -> Option<i16> {
    let score = score?;
    if !(1..=5).contains(&score) {
        fields.refuse("handling_score", "must be from 1 to 5");
    }
    i16::try_from(score).ok()
}

pub(super) fn parse_opening(request: proto::OpenComplaintRequest) -> Result<OpenComplaint, Error> {
    let mut fields = Fields::default();
    let category_id = parse_category(&mut fields, request.category_id);
    let priority = parse_priority(&mut fields, "priority", request.priority);
    let channel = parse_channel(&mut fields, "channel", request.channel);
    let received_at = parse_optional_instant(&mut fields, "received_at", request.received_at.as_ref());
    let owner = parse_owner(&mut fields, &request.owner);
    let text = parse_words(&mut fields, request.text);
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let key = parse_key(&mut fields, request.idempotency_key);
    let parsed = || {
        Some(OpenComplaint {
            subject: subject?,
            category_id,
            priority: priority?.unwrap_or(ComplaintPriority::Normal),
            channel,
            received_at,
            owner: owner?,
            text,
            key: key?,
        })
    };
    fields.finish_with(parsed())
}

/// The fields that the requests of all steps have.
struct StepFields {
    program_id: String,
    customer_id: String,
    complaint_id: String,
    text: String,
    idempotency_key: String,
}

fn parse_step(mut fields: Fields, of: StepFields, step: Option<Step>) -> Result<StepComplaint, Error> {
    let complaint_id: Option<EntryId> = fields.check("complaint_id", of.complaint_id.parse());
    let text = parse_words(&mut fields, of.text);
    let subject = parse_subject(&mut fields, of.program_id, of.customer_id);
    let key = parse_key(&mut fields, of.idempotency_key);
    let parsed =
        || Some(StepComplaint { subject: subject?, complaint_id: complaint_id?, step: step?, text, key: key? });
    fields.finish_with(parsed())
}

/// Takes the fields that the requests of all steps have out of one.
macro_rules! step_fields {
    ($request:ident) => {
        StepFields {
            program_id: $request.program_id,
            customer_id: $request.customer_id,
            complaint_id: $request.complaint_id,
            text: $request.text,
            idempotency_key: $request.idempotency_key,
        }
    };
}

pub(super) fn parse_acknowledgement(request: proto::AcknowledgeComplaintRequest) -> Result<StepComplaint, Error> {
    parse_step(Fields::default(), step_fields!(request), Some(Step::Acknowledge))
}

pub(super) fn parse_reopening(request: proto::ReopenComplaintRequest) -> Result<StepComplaint, Error> {
    parse_step(Fields::default(), step_fields!(request), Some(Step::Reopen))
}

pub(super) fn parse_update(request: proto::UpdateComplaintRequest) -> Result<StepComplaint, Error> {
    let mut fields = Fields::default();
    let category_id = parse_category(&mut fields, request.category_id);
    let priority = parse_priority(&mut fields, "priority", request.priority);
    let handling_score = parse_handling_score(&mut fields, request.handling_score);
    let owner = match &request.owner {
        Some(owner) => parse_owner(&mut fields, owner).map(Some),
        None => Some(None),
    };
    let (answered, waiting, extended, escalated) =
        (request.answered, request.waiting, request.extended, request.escalated);
    let change = ComplaintChange {
        category_id,
        priority: priority.flatten(),
        answered,
        took: None,
        waiting,
        extended,
        handling_score,
    };
    let update = Update { change, owner: owner.flatten(), escalated };
    if update == Update::default() && request.text.is_empty() && fields.is_clean() {
        fields.refuse("text", "must be set where nothing else is");
    }
    parse_step(fields, step_fields!(request), Some(Step::Update(Box::new(update))))
}

pub(super) fn parse_offer(request: proto::OfferRemedyRequest) -> Result<StepComplaint, Error> {
    let mut fields = Fields::default();
    let step = match &request.remedy {
        Some(remedy) => parse_remedy(&mut fields, remedy).map(|(remedy, value)| Step::Offer { remedy, value }),
        None => fields.check("remedy", Err("must be set")),
    };
    parse_step(fields, step_fields!(request), step)
}

fn parse_remedy(fields: &mut Fields, remedy: &proto::Remedy) -> Option<(RemedyKind, Option<Money>)> {
    let value = remedy.value.as_ref().map(|value| parse_money(fields, "remedy.value", Some(value)));
    let kind = match proto::RemedyKind::try_from(remedy.kind) {
        Ok(proto::RemedyKind::Apology) => Some(RemedyKind::Apology),
        Ok(proto::RemedyKind::Repair) => Some(RemedyKind::Repair),
        Ok(proto::RemedyKind::Replacement) => Some(RemedyKind::Replacement),
        Ok(proto::RemedyKind::Refund) => Some(RemedyKind::Refund),
        Ok(proto::RemedyKind::Points) => Some(RemedyKind::Points),
        Ok(proto::RemedyKind::Benefit) => Some(RemedyKind::Benefit),
        Ok(proto::RemedyKind::Other) => Some(RemedyKind::Other),
        Ok(proto::RemedyKind::Unspecified) | Err(_) => {
            fields.check("remedy.kind", Err("must be one of the named values"))
        }
    };
    Some((kind?, value.map_or(Some(None), |value| value.map(Some))?))
}

pub(super) fn parse_resolution(request: proto::ResolveComplaintRequest) -> Result<StepComplaint, Error> {
    let mut fields = Fields::default();
    let handling_score = parse_handling_score(&mut fields, request.handling_score);
    let outcome = match proto::ComplaintOutcome::try_from(request.outcome) {
        Ok(proto::ComplaintOutcome::Upheld) => Some(ComplaintOutcome::Upheld),
        Ok(proto::ComplaintOutcome::PartlyUpheld) => Some(ComplaintOutcome::PartlyUpheld),
        Ok(proto::ComplaintOutcome::Rejected) => Some(ComplaintOutcome::Rejected),
        Ok(proto::ComplaintOutcome::Withdrawn) => Some(ComplaintOutcome::Withdrawn),
        Ok(proto::ComplaintOutcome::Unspecified) | Err(_) => {
            fields.check("outcome", Err("must be one of the named values"))
        }
    };
    let step = outcome.map(|outcome| Step::Resolve { outcome, handling_score });
    parse_step(fields, step_fields!(request), step)
}

/// What is said of goodwill in a request.
pub(super) struct SaidGoodwill {
    subject: Subject,
    gift: Gift,
    complaint_id: Option<EntryId>,
    note: String,
    key: IdempotencyKey,
}

impl SaidGoodwill {
    /// The command, by whoever calls.
    pub(super) fn by(self, person: PrincipalId) -> GrantGoodwill {
        let Self { subject, gift, complaint_id, note, key } = self;
        GrantGoodwill { subject, gift, complaint_id, note, key, person }
    }
}

pub(super) fn parse_goodwill(request: proto::GrantGoodwillRequest) -> Result<SaidGoodwill, Error> {
    let mut fields = Fields::default();
    let gift = match request.gift {
        Some(grant_goodwill_request::Gift::Points(points)) => {
            fields.check("points", Points::new(points).ok_or(Points::EXPECTED)).map(Gift::Points)
        }
        Some(grant_goodwill_request::Gift::BenefitId(benefit_id)) => {
            fields.check("benefit_id", BenefitId::try_from(benefit_id)).map(Gift::Benefit)
        }
        None => fields.check("gift", Err("must be set")),
    };
    let complaint_id = match request.complaint_id.as_str() {
        "" => Some(None),
        complaint_id => fields.check("complaint_id", complaint_id.parse()).map(Some),
    };
    let note = parse_note(&mut fields, request.note);
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let key = parse_key(&mut fields, request.idempotency_key);
    let said = || Some(SaidGoodwill { subject: subject?, gift: gift?, complaint_id: complaint_id?, note, key: key? });
    fields.finish_with(said())
}

type Wanted = (ProgramId, CustomerId, EntryId, Option<Timestamp>);

pub(super) fn parse_get(request: proto::GetComplaintRequest) -> Result<Wanted, Error> {
    let mut fields = Fields::default();
    let as_of = parse_optional_instant(&mut fields, "as_of", request.as_of.as_ref());
    let complaint_id = fields.check("complaint_id", request.complaint_id.parse());
    let customer = parse_customer(&mut fields, request.program_id, request.customer_id);
    let parsed = customer.zip(complaint_id);
    fields.finish_with(
        parsed.map(|((program_id, customer_id), complaint_id)| (program_id, customer_id, complaint_id, as_of)),
    )
}

type DueWanted = (ProgramId, DueQuestion, String, PageRequest);

pub(super) fn parse_due(request: proto::ListDueComplaintsRequest) -> Result<DueWanted, Error> {
    let mut fields = Fields::default();
    let within_hours = match request.within_hours {
        0 => Some(USUAL_HOURS),
        hours @ 1..=MAX_HOURS => Some(hours),
        _ => fields.check("within_hours", Err("must be from 1 to 8,760; 0 means 24")),
    };
    let question = match proto::DueComplaints::try_from(request.which) {
        Ok(proto::DueComplaints::Unspecified) => Some(DueQuestion::All),
        Ok(proto::DueComplaints::Late) => Some(DueQuestion::Late),
        Ok(proto::DueComplaints::LateSoon) => within_hours.map(|within_hours| DueQuestion::LateSoon { within_hours }),
        Err(_) => fields.check("which", Err("must be one of the named values")),
    };
    let owner = parse_owner(&mut fields, &request.owner);
    let (which, hours) = (request.which.to_string(), request.within_hours.to_string());
    let filters = ["due complaints", &request.program_id, &which, &hours, &request.owner];
    let page = PageRequest::parse(&mut fields, request.page_size, &request.page_token, &filters)?;
    let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
    let parsed = || Some((program_id?, question?, owner?, page));
    fields.finish_with(parsed())
}

pub(super) fn parse_metrics(request: proto::GetComplaintMetricsRequest) -> Result<MetricsQuestion, Error> {
    let mut fields = Fields::default();
    let from = parse_optional_day(&mut fields, "from", request.from);
    let until = parse_optional_day(&mut fields, "until", request.until);
    let as_of = parse_optional_instant(&mut fields, "as_of", request.as_of.as_ref());
    let each = parse_calendar_period(&mut fields, "each", request.each);
    let category_id = parse_category(&mut fields, request.category_id);
    let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
    let parsed = || Some(MetricsQuestion { program_id: program_id?, from, until, each: each?, as_of, category_id });
    fields.finish_with(parsed())
}
