//! Where one customer stands in the relationship: stage, satisfaction, open complaints, and what they are worth.

use comfy_table::Table;
use goldbook_api::v1::{
    Complaint, ComplaintState, CustomerSegment, GetCustomerValueRequest, GetCustomerValueResponse, GetLifecycleRequest,
    GetLifecycleResponse, GetSatisfactionRequest, GetSatisfactionResponse, GetValueClassRequest, GetValueClassResponse,
    LifecyclePosition, ListComplaintsRequest, ListCustomerSegmentsRequest, ScoreTrend, Trend, ValueForecast,
};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::amount::{show_money, write_money};
use crate::cli::client::{Client, LARGEST_PAGE};
use crate::cli::error::CliError;
use crate::cli::instant;
use crate::cli::output::{grouped, words};

/// What is known of the relationship with a customer. What is known of nothing is empty.
pub(super) struct Relation {
    lifecycle: GetLifecycleResponse,
    satisfaction: GetSatisfactionResponse,
    /// Those that are not resolved, of the thousand that were opened last.
    complaints: Vec<Complaint>,
    value: GetCustomerValueResponse,
    class: GetValueClassResponse,
    segments: Vec<CustomerSegment>,
}

impl Relation {
    /// Reads it.
    ///
    /// # Errors
    /// If the service does not answer or refuses.
    pub(super) async fn read(client: &Client, (program_id, customer_id): (String, String)) -> Result<Self, CliError> {
        const ATTEMPT: &str = "cannot read the relationship with the customer";

        let request =
            GetLifecycleRequest { program_id: program_id.clone(), customer_id: customer_id.clone(), as_of: None };
        let lifecycle =
            client.lifecycles().get_lifecycle(request).await.map_err(CliError::refused(ATTEMPT))?.into_inner();
        let request =
            GetSatisfactionRequest { program_id: program_id.clone(), customer_id: customer_id.clone(), as_of: None };
        let satisfaction =
            client.satisfaction().get_satisfaction(request).await.map_err(CliError::refused(ATTEMPT))?.into_inner();
        let request = ListComplaintsRequest {
            program_id: program_id.clone(),
            customer_id: customer_id.clone(),
            page_size: LARGEST_PAGE,
            page_token: String::new(),
        };
        let mut complaints = client
            .complaints()
            .list_complaints(request)
            .await
            .map_err(CliError::refused(ATTEMPT))?
            .into_inner()
            .complaints;
        complaints.retain(|complaint| complaint.state() != ComplaintState::Resolved);
        let request =
            GetValueClassRequest { program_id: program_id.clone(), customer_id: customer_id.clone(), as_of: None };
        let class = client.value().get_value_class(request).await.map_err(CliError::refused(ATTEMPT))?.into_inner();
        let request = ListCustomerSegmentsRequest {
            program_id: program_id.clone(),
            customer_id: customer_id.clone(),
            as_of: None,
        };
        let segments = client.segments().list_customer_segments(request).await;
        let segments = segments.map_err(CliError::refused(ATTEMPT))?.into_inner().segments;
        let request = GetCustomerValueRequest { program_id, customer_id, as_of: None };
        let value = client.value().get_customer_value(request).await.map_err(CliError::refused(ATTEMPT))?.into_inner();
        Ok(Self { lifecycle, satisfaction, complaints, value, class, segments })
    }

    /// Adds a row for each thing that is known.
    pub(super) fn add_to(&self, facts: &mut Table, zone: &TimeZone) {
        if let Some(position) = &self.lifecycle.position {
            facts.add_row(["Stage", &show_stage(position, &self.lifecycle, zone)]);
        }
        if !self.class.class_id.is_empty() {
            facts.add_row(["Value class", &show_class(&self.class, zone)]);
        }
        if !self.segments.is_empty() {
            let names: Vec<String> = self.segments.iter().map(show_segment).collect();
            facts.add_row(["Segments", &names.join("\n")]);
        }
        let satisfaction = show_satisfaction(&self.satisfaction);
        if !satisfaction.is_empty() {
            facts.add_row(["Satisfaction", &satisfaction]);
        }
        if !self.complaints.is_empty() {
            let lines: Vec<String> = self.complaints.iter().map(|complaint| show_complaint(complaint, zone)).collect();
            facts.add_row(["Complaints", &lines.join("\n")]);
        }
        if self.value.purchase_days > 0 {
            facts.add_row(["Purchases", &show_purchases(&self.value)]);
        }
        if let Some(forecast) = &self.value.forecast {
            facts.add_row(["Will buy", &show_forecast(forecast)]);
        }
    }

    /// The same for other tools.
    pub(super) fn write(&self) -> Value {
        let position = self.lifecycle.position.as_ref().map(|position| {
            let [stage, satisfaction, loyalty, brands] = words_of(position);
            json!({"stage": stage, "since": instant::write(self.lifecycle.since.as_ref()),
                   "satisfaction_class": satisfaction, "loyalty_class": loyalty, "brand_class": brands})
        });
        let score = |trend: &Option<ScoreTrend>| {
            trend.as_ref().map(|it| json!({"latest": it.latest, "mean_before": it.mean_before}))
        };
        let complaints = self.complaints.iter().map(|it| {
            json!({"complaint_id": it.complaint_id, "category_id": it.category_id, "state": state_of(it),
                   "late_since": instant::write(it.late_since.as_ref())})
        });
        let forecast = self.value.forecast.as_ref().map(|it| {
            json!({"model_version": it.model_version, "horizon_days": it.horizon_days,
                   "probability_alive": it.probability_alive, "expected_purchase_days": it.expected_purchase_days,
                   "expected_spend": it.expected_spend.as_ref().map(write_money),
                   "lifetime_value": it.lifetime_value.as_ref().map(write_money)})
        });
        let class = (!self.class.class_id.is_empty()).then(|| {
            json!({"class_id": self.class.class_id, "level": level_of(&self.class),
                   "since": instant::write(self.class.since.as_ref()), "ends_below": self.class.ends_below,
                   "measured": self.class.measured.as_ref().map(write_money)})
        });
        json!({
            "lifecycle": position,
            "value_class": class,
            "segments": self.segments.iter().map(|it| &it.segment_id).collect::<Vec<_>>(),
            "satisfaction": score(&self.satisfaction.satisfaction),
            "recommendation": score(&self.satisfaction.recommendation),
            "open_complaints": complaints.collect::<Vec<_>>(),
            "purchases": self.value.purchases,
            "purchase_days": self.value.purchase_days,
            "days_since_last_purchase": (self.value.purchase_days > 0).then_some(self.value.days_since_last_purchase),
            "spend": self.value.spend.as_ref().map(write_money),
            "forecast": forecast,
        })
    }
}

/// The stage and the classes in words; what is not known is empty.
fn words_of(position: &LifecyclePosition) -> [String; 4] {
    let known =
        |name: &str, prefix: &str| Some(words(name, prefix)).filter(|it| it != "unspecified").unwrap_or_default();
    [
        known(position.stage().as_str_name(), "LIFECYCLE_STAGE_"),
        known(position.satisfaction_class().as_str_name(), "SATISFACTION_CLASS_"),
        known(position.loyalty_class().as_str_name(), "LOYALTY_CLASS_"),
        known(position.brand_class().as_str_name(), "BRAND_CLASS_"),
    ]
}

fn show_stage(position: &LifecyclePosition, lifecycle: &GetLifecycleResponse, zone: &TimeZone) -> String {
    let [stage, classes @ ..] = words_of(position);
    let mut shown = format!("{stage} since {}", instant::show(lifecycle.since.as_ref(), zone));
    for class in classes.iter().filter(|class| !class.is_empty()) {
        shown.push_str(&format!(", {class}"));
    }
    // Silence may change the classes alone.
    let next = lifecycle
        .forecast
        .iter()
        .find(|next| next.position.as_ref().is_some_and(|next| next.stage() != position.stage()));
    if let Some((next, to)) = next.and_then(|next| Some((next, next.position.as_ref()?))) {
        let [stage, ..] = words_of(to);
        shown.push_str(&format!("\n{stage} from {} if they do not buy", instant::show(next.at.as_ref(), zone)));
    }
    shown
}

/// The relationship level in words; none where the program does not say.
fn level_of(class: &GetValueClassResponse) -> Option<String> {
    Some(words(class.level().as_str_name(), "RELATIONSHIP_LEVEL_")).filter(|it| it != "unspecified")
}

fn show_class(class: &GetValueClassResponse, zone: &TimeZone) -> String {
    let level = level_of(class).map(|level| format!(" ({level})")).unwrap_or_default();
    let since = instant::show(class.since.as_ref(), zone);
    let below = match class.ends_below {
        0 => String::new(),
        1 => ", below it at the last end".to_owned(),
        ends => format!(", below it at the last {ends} ends"),
    };
    format!("{}{level} since {since}{below}", class.class_id)
}

fn show_segment(segment: &CustomerSegment) -> String {
    format!("{} ({})", segment.display_name, segment.segment_id)
}

fn show_satisfaction(satisfaction: &GetSatisfactionResponse) -> String {
    let score = |trend: &Option<ScoreTrend>, of: i32, what: &str| {
        let trend = trend.as_ref()?;
        let goes = match trend.trend() {
            Trend::Rising => ", rising",
            Trend::Falling => ", falling",
            Trend::Steady | Trend::Unspecified => "",
        };
        Some(format!("{} of {of}{what}{goes}", trend.latest))
    };
    let satisfied = score(&satisfaction.satisfaction, 5, "");
    let recommends = score(&satisfaction.recommendation, 10, " to recommend");
    let told: Vec<String> = satisfied.into_iter().chain(recommends).collect();
    told.join("; ")
}

fn state_of(complaint: &Complaint) -> String {
    words(complaint.state().as_str_name(), "COMPLAINT_STATE_")
}

fn show_complaint(complaint: &Complaint, zone: &TimeZone) -> String {
    let category = if complaint.category_id.is_empty() { "a complaint" } else { complaint.category_id.as_str() };
    let received = instant::show(complaint.received_at.as_ref(), zone);
    let late = complaint.late_since.as_ref().map(|since| format!(", late since {}", instant::show(Some(since), zone)));
    let (state, late) = (state_of(complaint), late.unwrap_or_default());
    format!("{category} of {received}: {state}{late} ({})", complaint.complaint_id)
}

fn show_purchases(value: &GetCustomerValueResponse) -> String {
    let (purchases, days) = (grouped(value.purchases), grouped(value.purchase_days));
    let spend = value.spend.as_ref().map(show_money).unwrap_or_default();
    format!("{purchases} on {days} days for {spend}, the last {} days ago", grouped(value.days_since_last_purchase))
}

fn show_forecast(forecast: &ValueForecast) -> String {
    let (days, horizon) = (forecast.expected_purchase_days, grouped(forecast.horizon_days));
    let worth = forecast.lifetime_value.as_ref().map(|worth| format!(", worth {}", show_money(worth)));
    let alive = forecast.probability_alive * 100.0;
    format!("on {days:.1} of the next {horizon} days{}; still a customer by {alive:.0} %", worth.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use goldbook_api::google::Money;
    use goldbook_api::v1::{ForetoldMove, LifecycleStage, LoyaltyClass, RelationshipLevel, SatisfactionClass};

    use super::*;

    fn at(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    fn position(stage: LifecycleStage) -> Option<LifecyclePosition> {
        Some(LifecyclePosition {
            stage: stage.into(),
            satisfaction_class: SatisfactionClass::Apostle.into(),
            loyalty_class: LoyaltyClass::TrueLoyalty.into(),
            brand_class: 0,
        })
    }

    fn relation() -> Relation {
        let next = |stage, seconds| ForetoldMove { at: at(seconds), position: position(stage) };
        let lifecycle = GetLifecycleResponse {
            position: position(LifecycleStage::Repeat),
            since: at(0),
            forecast: vec![next(LifecycleStage::Repeat, 43_200), next(LifecycleStage::AtRisk, 86_400)],
            ..GetLifecycleResponse::default()
        };
        let trend = |latest, trend: Trend| Some(ScoreTrend { latest, trend: trend.into(), ..ScoreTrend::default() });
        let satisfaction = GetSatisfactionResponse {
            satisfaction: trend(4, Trend::Falling),
            recommendation: trend(9, Trend::Steady),
            ..GetSatisfactionResponse::default()
        };
        let complaint = Complaint {
            complaint_id: "7.3".to_owned(),
            category_id: "delivery".to_owned(),
            state: ComplaintState::Escalated.into(),
            received_at: at(0),
            late_since: at(3_600),
            ..Complaint::default()
        };
        let money = |units| Some(Money { currency_code: "USD".to_owned(), units, nanos: 0 });
        let forecast = ValueForecast {
            horizon_days: 365,
            probability_alive: 0.731,
            expected_purchase_days: 2.25,
            lifetime_value: money(50),
            ..ValueForecast::default()
        };
        let value = GetCustomerValueResponse {
            purchase_days: 3,
            purchases: 4,
            spend: money(1_200),
            days_since_last_purchase: 9,
            forecast: Some(forecast),
            ..GetCustomerValueResponse::default()
        };
        let class = GetValueClassResponse {
            class_id: "key".to_owned(),
            level: RelationshipLevel::Partner.into(),
            since: at(0),
            ends_below: 2,
            ..GetValueClassResponse::default()
        };
        let segment = CustomerSegment { segment_id: "quiet".to_owned(), display_name: "Quiet".to_owned() };
        Relation { lifecycle, satisfaction, complaints: vec![complaint], value, class, segments: vec![segment] }
    }

    #[test]
    fn what_is_known_of_the_relationship_is_told_in_words() {
        let relation = relation();
        let position = relation.lifecycle.position.as_ref().unwrap();
        let stage = show_stage(position, &relation.lifecycle, &TimeZone::UTC);
        let expected = "repeat since 1970-01-01 00:00:00 UTC, apostle, true loyalty\n\
                        at risk from 1970-01-02 00:00:00 UTC if they do not buy";
        assert_eq!(stage, expected);
        assert_eq!(show_satisfaction(&relation.satisfaction), "4 of 5, falling; 9 of 10 to recommend");
        let expected = "delivery of 1970-01-01 00:00:00 UTC: escalated, late since 1970-01-01 01:00:00 UTC (7.3)";
        assert_eq!(show_complaint(&relation.complaints[0], &TimeZone::UTC), expected);
        assert_eq!(show_purchases(&relation.value), "4 on 3 days for 1,200.00 USD, the last 9 days ago");
        let expected = "on 2.2 of the next 365 days, worth 50.00 USD; still a customer by 73 %";
        assert_eq!(show_forecast(relation.value.forecast.as_ref().unwrap()), expected);
        let expected = "key (partner) since 1970-01-01 00:00:00 UTC, below it at the last 2 ends";
        assert_eq!(show_class(&relation.class, &TimeZone::UTC), expected);
        assert_eq!(show_segment(&relation.segments[0]), "Quiet (quiet)");
        let written = relation.write();
        assert_eq!(written["segments"], json!(["quiet"]));
        assert_eq!(written["value_class"]["level"], "partner");
        assert_eq!(written["lifecycle"]["stage"], "repeat");
        assert_eq!(written["open_complaints"][0]["state"], "escalated");
    }

    #[test]
    fn of_somebody_unknown_nothing_is_told() {
        let relation = Relation {
            lifecycle: GetLifecycleResponse::default(),
            satisfaction: GetSatisfactionResponse::default(),
            complaints: Vec::new(),
            segments: Vec::new(),
            value: GetCustomerValueResponse::default(),
            class: GetValueClassResponse::default(),
        };
        let mut facts = crate::cli::output::facts();
        relation.add_to(&mut facts, &TimeZone::UTC);
        assert_eq!(facts.row_count(), 0);
        assert_eq!(relation.write()["lifecycle"], Value::Null);
    }
}
