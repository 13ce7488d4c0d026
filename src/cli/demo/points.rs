//! The steps of the demo that spend, hold, refund and give back points.

use goldbook_api::google::Money;
use goldbook_api::v1::{
    CapturePointsRequest, Clawback, CorrectionReason, HoldPointsRequest, RecordActivityRequest, RedeemPointsRequest,
    Refund, ReverseEntryRequest, record_activity_request,
};
use tonic::{Response, Status};

use super::{Play, fresh_key};
use crate::cli::error::CliError;
use crate::cli::output::{self, grouped};
use crate::cli::refusal::{Refusal, trace_id};

/// How many points the referee sets aside, and how many of them are spent.
const HELD: i64 = 120;
const CAPTURED: i64 = 100;
/// How many points the referrer spends, and how many of them come back.
const REDEEMED: i64 = 200;
const REVERSED: i64 = 50;

impl Play {
    /// As [`note`](Play::note), but a refusal does not end the demo: the program's rules may not allow the step.
    fn try_step<T>(
        &mut self,
        step: &str,
        answer: Result<Response<T>, Status>,
        outcome: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let (message, outcome, trace) = match answer {
            Ok(answer) => {
                let trace = trace_id(answer.metadata()).unwrap_or_default();
                let message = answer.into_inner();
                let outcome = outcome(&message);
                (Some(message), outcome, trace)
            }
            Err(status) => (None, format!("refused: {}", Refusal::from_status(&status).summary()), String::new()),
        };
        self.steps.add_row([step, &outcome, &trace]);
        output::keep_whole(&mut self.steps, 2, trace.len());
        message
    }

    /// The referee sets points aside, as a checkout does, and spends most of them.
    pub(super) async fn hold_and_capture(&mut self) {
        let request = HoldPointsRequest {
            program_id: self.program.program_id.clone(),
            customer_id: self.referee.clone(),
            points: HELD,
            end: None,
            note: "a basket at the checkout".to_owned(),
            idempotency_key: fresh_key(),
        };
        let answer = self.client.rewards().hold_points(request).await;
        let held = self.try_step("hold points", answer, |_| format!("the referee holds {HELD} points"));
        let Some(hold) = held.and_then(|held| held.hold) else { return };
        let request = CapturePointsRequest {
            program_id: self.program.program_id.clone(),
            customer_id: self.referee.clone(),
            hold_id: hold.hold_id,
            points: CAPTURED,
            idempotency_key: fresh_key(),
        };
        let answer = self.client.rewards().capture_points(request).await;
        self.try_step("capture points", answer, |answer| {
            format!("{CAPTURED} spent, {} return", answer.points_released)
        });
    }

    /// The referee gives back a part of what they bought, and with it the points that it earned.
    pub(super) async fn refund(&mut self, purchase: &str, amount: &Money) {
        let half = Money { units: amount.units / 2, nanos: 0, ..amount.clone() };
        let refund = Refund {
            purchase_activity_id: purchase.to_owned(),
            amount: Some(half),
            clawback: Clawback::Unspecified.into(),
        };
        let request = RecordActivityRequest {
            program_id: self.program.program_id.clone(),
            customer_id: self.referee.clone(),
            activity_id: fresh_key(),
            activity: Some(record_activity_request::Activity::Refund(refund)),
            happened_at: self.purchased_at,
            enrol: false,
            as_history: false,
        };
        let answer = self.client.activities().record_activity(request).await;
        self.try_step("refund half of it", answer, |answer| {
            let owed =
                if answer.points_owed > 0 { format!(", {} owed", grouped(answer.points_owed)) } else { String::new() };
            format!("{} points taken back{owed}", grouped(answer.points_taken_back))
        });
    }

    /// The referrer spends points, and some of them come back into the very lots they were of.
    pub(super) async fn redeem_and_reverse(&mut self) -> Result<(), CliError> {
        let request = RedeemPointsRequest {
            program_id: self.program.program_id.clone(),
            customer_id: self.referrer.clone(),
            points: REDEEMED,
            note: "a voucher at the till".to_owned(),
            idempotency_key: fresh_key(),
        };
        let answer = self.client.rewards().redeem_points(request).await;
        let spent = self.try_step("redeem points", answer, |_| format!("the referrer spends {REDEEMED} points"));
        let Some(redemption) = spent.and_then(|spent| spent.redemption) else { return Ok(()) };
        let request = ReverseEntryRequest {
            program_id: self.program.program_id.clone(),
            customer_id: self.referrer.clone(),
            entry_id: redemption.redemption_id,
            points: REVERSED,
            reason: CorrectionReason::CustomerRequest.into(),
            note: "a part of the voucher was not used".to_owned(),
            idempotency_key: fresh_key(),
            ..ReverseEntryRequest::default()
        };
        let answer = self.client.rewards().reverse_entry(request).await;
        self.note("reverse a part", answer, |answer| format!("{} points return", answer.points_returned))?;
        Ok(())
    }
}
