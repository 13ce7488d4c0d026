//! `LiabilityService` on the wire.

use goldbook_api::server::{Received, liability_service_server};
use tonic::{Request, Response, Status};

use super::Liability;
use super::model::{HORIZONS, RevenueQuestion, Summary, revenue_of, worth_of};
use crate::access::grpc::admit;
use crate::error::{Error, Fields, Reason, Refusal};
use crate::ids::ProgramId;
use crate::money::{Currency, Money};
use crate::programs::model::ProgramVersion;
use crate::proto;
use crate::proto::fields::{parse_money, parse_optional_instant, write_instant, write_signed_money};
use crate::telemetry;

#[tonic::async_trait]
impl liability_service_server::LiabilityService for Liability {
    async fn get_liability(
        &self,
        request: Request<Received<proto::GetLiabilityRequest>>,
    ) -> Result<Response<proto::GetLiabilityResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
        let as_of = parse_optional_instant(&mut fields, "as_of", request.as_of.as_ref());
        let question = request.revenue.and_then(|question| parse_question(&mut fields, &question));
        let program_id = fields.finish_with(program_id)?;
        telemetry::record_program(program_id.as_str());
        let (summary, version) = self.get_liability(&program_id, as_of).await?;
        let currency = version.program.currency;
        let revenue = match question {
            Some((question, before)) => Some(answer(question, before, &summary, currency)?),
            None => None,
        };
        Ok(Response::new(proto::GetLiabilityResponse { liability: Some(write_liability(&summary, &version)), revenue }))
    }
}

type ParsedQuestion = (RevenueQuestion, Option<Money>);

fn parse_question(fields: &mut Fields, question: &proto::RevenueQuestion) -> Option<ParsedQuestion> {
    let allocated = parse_money(fields, "revenue.allocated", question.allocated.as_ref());
    let before = question.recognized_before.as_ref();
    let before = before.and_then(|before| parse_money(fields, "revenue.recognized_before", Some(before)));
    if question.expected_redeemed < 1 {
        fields.refuse("revenue.expected_redeemed", "must be above zero");
    }
    let allocated = allocated?;
    let recognized_before = before.unwrap_or(Money { minor: 0, ..allocated });
    let expected_redeemed = question.expected_redeemed;
    Some((RevenueQuestion { allocated, expected_redeemed, recognized_before }, before))
}

fn answer(
    question: RevenueQuestion,
    before: Option<Money>,
    summary: &Summary,
    currency: Currency,
) -> Result<proto::Revenue, Error> {
    let mut amounts = std::iter::once(question.allocated).chain(before);
    if let Some(foreign) = amounts.find(|amount| amount.currency != currency) {
        let (given, expected) = (foreign.currency.code(), currency.code());
        let message = format!("the program counts in {expected}, not in {given}");
        let refusal = Refusal::new(Reason::CurrencyMismatch, message);
        return Err(refusal.with("expected", expected).with("given", given).into());
    }
    let revenue = revenue_of(&question, summary.sums.redeemed);
    Ok(proto::Revenue {
        cumulative: Some(write_signed_money(currency, revenue.cumulative)),
        period: Some(write_signed_money(currency, revenue.period)),
    })
}

/// A sum over all customers on the wire; the largest number there is stands for so many and more.
fn narrow(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(i64::MAX)
}

fn write_liability(summary: &Summary, version: &ProgramVersion) -> proto::Liability {
    let (sums, program) = (&summary.sums, &version.program);
    let worth = |points: i128| {
        let value = program.points.point_value?;
        let minor = worth_of(points, value, program).map_or(i64::MAX, narrow);
        Some(write_signed_money(program.currency, minor))
    };
    let mut expiring = Vec::with_capacity(HORIZONS.len());
    for (within_days, points) in HORIZONS.into_iter().zip(summary.expiring) {
        expiring.push(proto::ExpiringPoints { within_days, points: narrow(points), value: worth(points) });
    }
    proto::Liability {
        as_of: Some(write_instant(summary.taken_at)),
        issued: narrow(sums.issued),
        owed: narrow(sums.owed),
        pending: narrow(sums.pending),
        available: narrow(sums.available),
        held: narrow(sums.held),
        redeemed: narrow(sums.redeemed),
        expired: narrow(sums.expired),
        cancelled: narrow(sums.cancelled),
        outstanding: narrow(sums.outstanding()),
        outstanding_value: worth(sums.outstanding()),
        expiring,
        program_version: version.version,
        accounts_left_out: summary.left_out,
    }
}
