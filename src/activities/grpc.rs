//! `ActivityService` on the wire.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use goldbook_api::server::{Received, activity_service_server};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::model::{Activity, Purchase, Refund};
use super::state::{ActivityRow, Deed};
use super::{Activities, RecordActivity, Recorded};
use crate::access::grpc::{Batch, admit, answer_each};
use crate::book::{Detail, Entry, EntryReason, PointsDetail, ReferralDetail, Writer};
use crate::error::{Error, Fields};
use crate::ids::{ActivityId, CustomerId};
use crate::money::{Currency, Money};
use crate::programs::points::Clawback;
use crate::programs::points::grpc::parse_optional_clawback;
use crate::proto;
use crate::proto::batch_record_activities_response::Outcome;
use crate::proto::fields::{parse_instant, parse_money, write_instant, write_money};
use crate::proto::requests::{parse_customer, parse_customer_list};
use crate::proto::{activity, record_activity_request};
use crate::satisfaction::grpc::feedback::{parse_feedback, write_feedback};
use crate::satisfaction::model::NewFeedback;
use crate::telemetry;
use crate::tiers::grpc::write::write_tier_change;

#[tonic::async_trait]
impl activity_service_server::ActivityService for Activities {
    async fn record_activity(
        &self,
        request: Request<Received<proto::RecordActivityRequest>>,
    ) -> Result<Response<proto::RecordActivityResponse>, Status> {
        let (request, caller) = admit(request)?;
        let record = parse_record(request, Fields::default())?;
        telemetry::record_program(record.program_id.as_str());
        let echo = record.clone();
        let recorded = self.record_activity(record, caller.writer().await?).await?;
        Ok(Response::new(write_recorded(&recorded, &echo)))
    }

    type BatchRecordActivitiesStream = ReceiverStream<Result<proto::BatchRecordActivitiesResponse, Status>>;

    async fn batch_record_activities(
        &self,
        request: Request<Streaming<Received<proto::BatchRecordActivitiesRequest>>>,
    ) -> Result<Response<Self::BatchRecordActivitiesStream>, Status> {
        Ok(Response::new(answer_each(self, request).await?))
    }

    async fn list_activities(
        &self,
        request: Request<Received<proto::ListActivitiesRequest>>,
    ) -> Result<Response<proto::ListActivitiesResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let (customer, page) = parse_customer_list(&mut fields, &request, "activities", &[])?;
        let (program_id, customer_id) = fields.finish_with(customer)?;
        telemetry::record_program(program_id.as_str());
        let (currency, rows, next_page_token) = self.list_activities(&program_id, &customer_id, &page).await?;
        let activities = rows.into_iter().map(|row| write_activity(row, &customer_id, Some(currency))).collect();
        Ok(Response::new(proto::ListActivitiesResponse { activities, next_page_token }))
    }
}

impl Batch<proto::BatchRecordActivitiesRequest> for Activities {
    type Done = proto::RecordActivityResponse;
    type Answer = proto::BatchRecordActivitiesResponse;

    fn item_id(item: &proto::BatchRecordActivitiesRequest) -> &str {
        &item.item_id
    }

    async fn queue(
        &self,
        item: proto::BatchRecordActivitiesRequest,
        fields: Fields,
        writer: Writer,
    ) -> Result<BoxFuture<'static, Result<Self::Done, Error>>, Error> {
        let record = parse_record(item.activity.unwrap_or_default(), fields)?;
        let echo = record.clone();
        let outcome = self.enqueue_activity(record, writer).await?;
        Ok(async move { Ok(write_recorded(&outcome.await?, &echo)) }.boxed())
    }

    fn answer(item_id: String, outcome: Result<Self::Done, proto::google::Status>) -> Self::Answer {
        let outcome = outcome.map_or_else(Outcome::Error, Outcome::Recorded);
        Self::Answer { item_id, outcome: Some(outcome) }
    }
}

fn parse_record(request: proto::RecordActivityRequest, mut fields: Fields) -> Result<RecordActivity, Error> {
    let customer = parse_customer(&mut fields, request.program_id, request.customer_id);
    let activity_id = fields.check("activity_id", ActivityId::try_from(request.activity_id));
    let happened_at = parse_instant(&mut fields, "happened_at", request.happened_at.as_ref());
    let activity = match request.activity {
        Some(record_activity_request::Activity::Purchase(purchase)) => {
            let amount = parse_money(&mut fields, "purchase.amount", purchase.amount.as_ref());
            let margin = purchase.margin.as_ref();
            let margin = margin.map(|margin| parse_money(&mut fields, "purchase.margin", Some(margin)));
            amount
                .zip(happened_at)
                .zip(margin.map_or(Some(None), |margin| margin.map(Some)))
                .map(|((amount, happened_at), margin)| Activity::Purchase(Purchase { amount, margin, happened_at }))
        }
        Some(record_activity_request::Activity::Refund(refund)) => {
            parse_refund(&mut fields, refund).zip(happened_at).map(|((purchase, amount, clawback), happened_at)| {
                Activity::Refund(Refund { purchase, amount, clawback, happened_at })
            })
        }
        Some(record_activity_request::Activity::Feedback(feedback)) => {
            let feedback = Box::new(parse_feedback(&mut fields, "feedback", feedback));
            happened_at.map(|happened_at| Activity::Feedback(feedback, happened_at))
        }
        None => fields.check("activity", Err("must be set: a purchase, a refund or feedback")),
    };
    let ((program_id, customer_id), (activity_id, activity)) =
        fields.finish_with(customer.zip(activity_id.zip(activity)))?;
    let (enrol, as_history) = (request.enrol, request.as_history);
    Ok(RecordActivity { program_id, customer_id, activity_id, activity, enrol, as_history })
}

fn parse_refund(fields: &mut Fields, refund: proto::Refund) -> Option<(ActivityId, Money, Option<Clawback>)> {
    let clawback = parse_optional_clawback(fields, "refund.clawback", refund.clawback);
    let purchase = fields.check("refund.purchase_activity_id", ActivityId::try_from(refund.purchase_activity_id));
    let amount = parse_money(fields, "refund.amount", refund.amount.as_ref());
    if amount.is_some_and(|amount| amount.minor == 0) {
        fields.refuse("refund.amount", "must be above zero");
    }
    Some((purchase?, amount?, clawback))
}

fn write_recorded(recorded: &Recorded, record: &RecordActivity) -> proto::RecordActivityResponse {
    let Recorded { accepted, entries, replayed } = recorded;
    let sum = |is_counted: &dyn Fn(&Entry) -> bool| {
        let counted = entries.iter().filter(|entry| is_counted(entry)).filter_map(|entry| entry.movement);
        counted.map(|movement| movement.points).sum()
    };
    let is_earned = |entry: &Entry| {
        matches!(entry.detail, Detail::Points(PointsDetail::PointsGranted { .. }))
            && entry.reason == EntryReason::Purchase
    };
    let by_purchase = entries.iter().filter(|entry| entry.reason == EntryReason::Purchase);
    let uncapped = by_purchase.filter_map(|entry| entry.detail.uncapped()).next();
    let multiplied = match &accepted.detail {
        Detail::Activity(detail) => detail.multiplied(),
        Detail::Program(_)
        | Detail::Customer(_)
        | Detail::Points(_)
        | Detail::Tier(_)
        | Detail::Benefit(_)
        | Detail::Referral(_)
        | Detail::Complaint(_)
        | Detail::Goodwill(_)
        | Detail::Lifecycle(_)
        | Detail::Value(_) => None,
    };
    // All amounts of an activity are in one currency, and only what has an amount changes a tier.
    let (what, currency) = match &record.activity {
        Activity::Purchase(purchase) => {
            (Deed::Purchase { amount: purchase.amount.minor }, Some(purchase.amount.currency))
        }
        Activity::Refund(refund) => {
            let bought = accepted.causes.first().copied().unwrap_or(accepted.id);
            let purchase = (bought, refund.purchase.clone());
            (Deed::Refund { purchase, amount: refund.amount.minor }, Some(refund.amount.currency))
        }
        Activity::Feedback(feedback, _) => {
            let NewFeedback { answers, currency, survey_id, text } = NewFeedback::clone(feedback);
            (Deed::Feedback { survey_id, answers: Box::new(answers), text }, currency)
        }
    };
    let row = ActivityRow {
        entry_id: accepted.id,
        activity_id: record.activity_id.clone(),
        what,
        happened_at: record.activity.happened_at(),
        recorded_at: accepted.recorded_at,
    };
    proto::RecordActivityResponse {
        activity: Some(write_activity(row, &record.customer_id, currency)),
        points_earned: sum(&is_earned),
        points_uncapped: uncapped.unwrap_or(0),
        earn_rate_multiplier: multiplied.map(|multiplied| multiplied.by.to_string()).unwrap_or_default(),
        points_taken_back: sum(&|entry| matches!(entry.detail, Detail::Points(PointsDetail::EntryReversed { .. }))),
        points_owed: sum(&|entry| matches!(entry.detail, Detail::Points(PointsDetail::DebtIncurred { .. }))),
        tier_change: entries
            .iter()
            .filter(|entry| entry.reason != EntryReason::Enrolment)
            .find_map(|entry| write_tier_change(entry, currency?)),
        referral_converted: entries
            .iter()
            .any(|entry| matches!(entry.detail, Detail::Referral(ReferralDetail::ReferralConverted { .. }))),
        entry_ids: entries.iter().map(|entry| entry.id.to_string()).collect(),
        replayed: *replayed,
    }
}

/// An activity on the wire, with amounts in a currency, if it has any.
fn write_activity(row: ActivityRow, customer_id: &CustomerId, currency: Option<Currency>) -> proto::Activity {
    let amount = |minor| Some(write_money(Money { currency: currency?, minor }));
    let activity = match row.what {
        Deed::Purchase { amount: paid } => {
            activity::Activity::Purchase(proto::Purchase { amount: amount(paid), margin: None })
        }
        Deed::Refund { purchase: (_, purchase), amount: refunded } => activity::Activity::Refund(proto::Refund {
            purchase_activity_id: purchase.into(),
            amount: amount(refunded),
            clawback: proto::Clawback::Unspecified.into(),
        }),
        Deed::Feedback { survey_id, answers, text } => {
            activity::Activity::Feedback(write_feedback(&answers, currency, survey_id.as_ref(), &text))
        }
    };
    proto::Activity {
        activity_id: row.activity_id.into(),
        customer_id: customer_id.to_string(),
        activity: Some(activity),
        happened_at: Some(write_instant(row.happened_at)),
        recorded_at: Some(write_instant(row.recorded_at)),
        entry_id: row.entry_id.to_string(),
    }
}
