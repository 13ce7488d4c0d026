//! `ValueService` on the wire.

mod write;

use goldbook_api::server::{Received, value_service_server};
use tonic::{Request, Response, Status};

use self::write::{write_backtest, write_model, write_retention, write_scores, write_value};
use super::classes::grpc::{parse_simulation, write_class, write_found_classification, write_simulated};
use super::commands::FitQuestion;
use super::fitting::Rules;
use super::{BacktestQuestion, RetentionQuestion, ScoresQuestion, Value};
use crate::access::grpc::admit;
use crate::book::Figure;
use crate::error::{Error, Fields};
use crate::ids::ProgramId;
use crate::points::grpc::parse_key;
use crate::programs::points::CalendarPeriod;
use crate::programs::points::grpc::parse_calendar_period;
use crate::proto;
use crate::proto::fields::{parse_optional_day, parse_optional_instant};
use crate::proto::requests::{parse_customer_at, parse_optional_segment};
use crate::telemetry;

/// The most days that anything is kept, foretold or looked ahead for: ten years.
const MAX_DAYS: i32 = 3_650;
/// The default of how far ahead a customer is worth something.
const HORIZON_DAYS: i32 = 365;
/// The default of how much less counts what is a year away.
const DISCOUNT: f64 = 0.1;
const MAX_DISCOUNT: f64 = 10.0;
/// Who is a customer with a lower probability leaves, by default.
const ALIVE_BELOW: f64 = 0.5;
/// Who is expected to buy on fewer days leaves, by default.
const EXPECTED_BELOW: f64 = 0.5;
const MAX_EXPECTED_BELOW: f64 = 3_650.0;
const SILENT_WEEKS: i32 = 13;
const MAX_WEEKS: i32 = 520;
const SCORES: i32 = 5;
const AFTER_DAYS: i32 = 90;

#[tonic::async_trait]
impl value_service_server::ValueService for Value {
    async fn get_customer_value(
        &self,
        request: Request<Received<proto::GetCustomerValueRequest>>,
    ) -> Result<Response<proto::GetCustomerValueResponse>, Status> {
        let (request, _) = admit(request)?;
        let (program_id, customer_id, as_of) =
            parse_customer_at(request.program_id, request.customer_id, request.as_of.as_ref())?;
        telemetry::record_program(program_id.as_str());
        let found = self.get_customer_value(&program_id, &customer_id, as_of).await?;
        Ok(Response::new(write_value(&found)))
    }

    async fn fit_value_model(
        &self,
        request: Request<Received<proto::FitValueModelRequest>>,
    ) -> Result<Response<proto::FitValueModelResponse>, Status> {
        let (request, caller) = admit(request)?;
        let question = parse_fit(request)?;
        telemetry::record_program(question.program_id.as_str());
        let (found, replayed) = self.fit_value_model(question, caller.writer().await?).await?;
        Ok(Response::new(proto::FitValueModelResponse { model: Some(write_model(&found)), replayed }))
    }

    async fn get_value_model(
        &self,
        request: Request<Received<proto::GetValueModelRequest>>,
    ) -> Result<Response<proto::GetValueModelResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let version = parse_days(&mut fields, "version", request.version, (0, i32::MAX));
        let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
        let (program_id, version) = fields.finish_with(program_id.zip(version))?;
        telemetry::record_program(program_id.as_str());
        let found = self.get_value_model(&program_id, Some(version).filter(|version| *version > 0)).await?;
        Ok(Response::new(proto::GetValueModelResponse { model: Some(write_model(&found)) }))
    }

    async fn get_value_backtest(
        &self,
        request: Request<Received<proto::GetValueBacktestRequest>>,
    ) -> Result<Response<proto::GetValueBacktestResponse>, Status> {
        let (request, caller) = admit(request)?;
        let question = parse_backtest(request)?;
        telemetry::record_program(question.program_id.as_str());
        let (test, as_of, days) = self.get_value_backtest(question, caller.writer().await?.principal_id).await?;
        Ok(Response::new(write_backtest(&test, as_of, days)))
    }

    async fn get_score_classes(
        &self,
        request: Request<Received<proto::GetScoreClassesRequest>>,
    ) -> Result<Response<proto::GetScoreClassesResponse>, Status> {
        let (request, caller) = admit(request)?;
        let question = parse_classes(request)?;
        telemetry::record_program(question.program_id.as_str());
        let classes = self.get_score_classes(question, caller.writer().await?.principal_id).await?;
        Ok(Response::new(write_scores(&classes)))
    }

    async fn get_retention(
        &self,
        request: Request<Received<proto::GetRetentionRequest>>,
    ) -> Result<Response<proto::GetRetentionResponse>, Status> {
        let (request, caller) = admit(request)?;
        let question = parse_retention(request)?;
        telemetry::record_program(question.program_id.as_str());
        let found = self.get_retention(question, caller.writer().await?.principal_id).await?;
        Ok(Response::new(write_retention(&found)))
    }

    async fn get_value_class(
        &self,
        request: Request<Received<proto::GetValueClassRequest>>,
    ) -> Result<Response<proto::GetValueClassResponse>, Status> {
        let (request, _) = admit(request)?;
        let (program_id, customer_id, as_of) =
            parse_customer_at(request.program_id, request.customer_id, request.as_of.as_ref())?;
        telemetry::record_program(program_id.as_str());
        let found = self.get_value_class(&program_id, &customer_id, as_of).await?;
        Ok(Response::new(write_class(&found)))
    }

    async fn get_value_classification(
        &self,
        request: Request<Received<proto::GetValueClassificationRequest>>,
    ) -> Result<Response<proto::GetValueClassificationResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let until = parse_optional_day(&mut fields, "until", request.until);
        let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
        let program_id = fields.finish_with(program_id)?;
        telemetry::record_program(program_id.as_str());
        let found = self.get_value_classification(&program_id, until).await?;
        Ok(Response::new(found.as_ref().map(write_found_classification).unwrap_or_default()))
    }

    async fn simulate_value_classes(
        &self,
        request: Request<Received<proto::SimulateValueClassesRequest>>,
    ) -> Result<Response<proto::SimulateValueClassesResponse>, Status> {
        let (request, caller) = admit(request)?;
        let (program_id, tried) = parse_simulation(request)?;
        telemetry::record_program(program_id.as_str());
        let found = self.simulate_value_classes(&program_id, tried, caller.writer().await?.principal_id).await?;
        Ok(Response::new(write_simulated(&found)))
    }
}

/// A whole number within bounds, such as of days.
fn parse_days(fields: &mut Fields, field: &str, days: i32, (least, most): (i32, i32)) -> Option<i32> {
    if (least..=most).contains(&days) {
        return Some(days);
    }
    fields.refuse(field, format!("must be between {least} and {most}"));
    None
}

/// The same, where 0 stands for a default.
fn parse_days_or(fields: &mut Fields, field: &str, days: i32, most: i32, default: i32) -> Option<i32> {
    Some(match parse_days(fields, field, days, (0, most))? {
        0 => default,
        days => days,
    })
}

/// A number above zero, or from zero on, up to a bound.
fn parse_number(fields: &mut Fields, field: &str, number: f64, (is_zero_one, most): (bool, f64)) -> Option<f64> {
    if number <= most && (number > 0.0 || is_zero_one && number == 0.0) {
        return Some(number);
    }
    let least = if is_zero_one { "between 0 and" } else { "above 0 and at most" };
    fields.refuse(field, format!("must be {least} {most}"));
    None
}

fn parse_fit(request: proto::FitValueModelRequest) -> Result<FitQuestion, Error> {
    let mut fields = Fields::default();
    let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
    let from = parse_optional_day(&mut fields, "from", request.from);
    let until = parse_optional_day(&mut fields, "until", request.until);
    let holdout_days =
        request.holdout_days.and_then(|days| parse_days(&mut fields, "holdout_days", days, (0, MAX_DAYS)));
    let horizon_days = parse_days_or(&mut fields, "horizon_days", request.horizon_days, MAX_DAYS, HORIZON_DAYS);
    let discount = request.annual_discount.unwrap_or(DISCOUNT);
    let discount = parse_number(&mut fields, "annual_discount", discount, (true, MAX_DISCOUNT));
    // There is one zero.
    let discount = discount.and_then(|discount| Figure::new(discount + 0.0));
    let key = parse_key(&mut fields, request.idempotency_key);
    let question = || {
        let (program_id, horizon_days, discount) = (program_id?, horizon_days?, discount?);
        Some(FitQuestion { program_id, from, until, holdout_days, horizon_days, discount, key: key? })
    };
    fields.finish_with(question())
}

fn parse_backtest(request: proto::GetValueBacktestRequest) -> Result<BacktestQuestion, Error> {
    let mut fields = Fields::default();
    let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
    let from = parse_optional_day(&mut fields, "from", request.from);
    let until = parse_optional_day(&mut fields, "until", request.until);
    let holdout_days = parse_days(&mut fields, "holdout_days", request.holdout_days, (0, MAX_DAYS));
    let alive_below = request.alive_below.unwrap_or(ALIVE_BELOW);
    let alive_below = parse_number(&mut fields, "alive_below", alive_below, (false, 1.0));
    let expected_below = request.expected_below.unwrap_or(EXPECTED_BELOW);
    let expected_below = parse_number(&mut fields, "expected_below", expected_below, (false, MAX_EXPECTED_BELOW));
    let silent_weeks = parse_days_or(&mut fields, "silent_weeks", request.silent_weeks, MAX_WEEKS, SILENT_WEEKS);
    let question = || {
        let rules = Rules { alive_below: alive_below?, expected_below: expected_below?, silent_weeks: silent_weeks? };
        let holdout_days = Some(holdout_days?).filter(|days| *days > 0);
        Some(BacktestQuestion { program_id: program_id?, from, until, holdout_days, rules })
    };
    fields.finish_with(question())
}

fn parse_classes(request: proto::GetScoreClassesRequest) -> Result<ScoresQuestion, Error> {
    let mut fields = Fields::default();
    let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
    let until = parse_optional_day(&mut fields, "until", request.until);
    let scores = match request.classes {
        0 => Some(SCORES.into()),
        3 | 5 => Some(request.classes.into()),
        _ => fields.check("classes", Err("must be 3 for terciles or 5 for quintiles")),
    };
    let after_days = parse_days_or(&mut fields, "after_days", request.after_days, MAX_DAYS, AFTER_DAYS);
    let as_of = parse_optional_instant(&mut fields, "as_of", request.as_of.as_ref());
    let question =
        || Some(ScoresQuestion { program_id: program_id?, until, scores: scores?, after_days: after_days?, as_of });
    fields.finish_with(question())
}

fn parse_retention(request: proto::GetRetentionRequest) -> Result<RetentionQuestion, Error> {
    let mut fields = Fields::default();
    let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
    let from = parse_optional_day(&mut fields, "from", request.from);
    let until = parse_optional_day(&mut fields, "until", request.until);
    let each = parse_calendar_period(&mut fields, "each", request.each);
    let as_of = parse_optional_instant(&mut fields, "as_of", request.as_of.as_ref());
    let segment_id = parse_optional_segment(&mut fields, request.segment_id);
    let question = || {
        let each = each?.unwrap_or(CalendarPeriod::Month);
        Some(RetentionQuestion { program_id: program_id?, from, until, each, as_of, segment_id })
    };
    fields.finish_with(question())
}
