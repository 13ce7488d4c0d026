//! Feedback on the wire: proto ⇄ what was said.

use std::collections::BTreeSet;

use crate::book::{AcsiAnswers, Answers, DeliveredValue, FactorAnswer, FeedbackChannel};
use crate::error::Fields;
use crate::ids::{FactorId, SurveyId};
use crate::money::{Currency, Money};
use crate::programs::satisfaction::grpc::MAX_FACTORS;
use crate::proto;
use crate::proto::fields::{parse_money, write_signed_money};
use crate::satisfaction::model::NewFeedback;

const MAX_TEXT: usize = 4_000;
const MAX_BRANDS: i32 = 1_000;

/// Parses feedback. Bad fields are noted below `path`, and are not in what comes back.
pub(crate) fn parse_feedback(fields: &mut Fields, path: &str, feedback: proto::Feedback) -> NewFeedback {
    let proto::Feedback { satisfaction, recommendation, acsi, factors, value, survey_id, text, .. } = &feedback;
    let satisfaction = parse_score(fields, &format!("{path}.satisfaction"), *satisfaction, (1, 5));
    let recommendation = parse_score(fields, &format!("{path}.recommendation"), *recommendation, (0, 10));
    let involvement = parse_score(fields, &format!("{path}.involvement"), feedback.involvement, (1, 5));
    if feedback.satisfaction.is_none() && feedback.recommendation.is_none() && acsi.is_none() {
        fields.refuse(path, "must have satisfaction, recommendation or acsi");
    }
    let acsi = acsi.and_then(|acsi| parse_acsi(fields, &format!("{path}.acsi"), acsi));
    let factors = parse_factors(fields, &format!("{path}.factors"), factors);
    let value = value.as_ref().and_then(|value| parse_value(fields, &format!("{path}.value"), value));
    if feedback.brands.is_some_and(|brands| !(1..=MAX_BRANDS).contains(&brands)) {
        fields.refuse(format!("{path}.brands"), "must be from 1 to 1,000");
    }
    let channel = parse_channel(fields, &format!("{path}.channel"), feedback.channel);
    let survey_id = Some(survey_id).filter(|survey_id| !survey_id.is_empty());
    let survey_id = survey_id
        .and_then(|survey_id| fields.check(format!("{path}.survey_id"), SurveyId::try_from(survey_id.as_str())));
    if text.chars().count() > MAX_TEXT || text.contains('\0') {
        fields.refuse(format!("{path}.text"), "must be at most 4,000 characters without U+0000");
    }
    let answers = Answers {
        satisfaction,
        recommendation,
        acsi,
        factors,
        value: value.map(|(value, _)| value),
        channel,
        involvement,
        brands: feedback.brands,
    };
    let currency = value.map(|(_, currency)| currency);
    NewFeedback { answers, currency, survey_id, text: feedback.text }
}

fn parse_score(fields: &mut Fields, path: &str, score: Option<i32>, (least, most): (i32, i32)) -> Option<i16> {
    let score = score?;
    if !(least..=most).contains(&score) {
        fields.refuse(path, format!("must be from {least} to {most}"));
        return None;
    }
    i16::try_from(score).ok()
}

fn parse_acsi(fields: &mut Fields, path: &str, acsi: proto::AcsiAnswers) -> Option<AcsiAnswers> {
    let mut score = |field: &str, score| parse_score(fields, &format!("{path}.{field}"), Some(score), (1, 10));
    let (satisfaction, expectation) =
        (score("satisfaction", acsi.satisfaction), score("expectation", acsi.expectation));
    Some(AcsiAnswers { ideal: score("ideal", acsi.ideal)?, satisfaction: satisfaction?, expectation: expectation? })
}

fn parse_factors(fields: &mut Fields, path: &str, factors: &[proto::FactorAnswer]) -> Vec<FactorAnswer> {
    if factors.len() > MAX_FACTORS {
        fields.refuse(path, format!("must have at most {MAX_FACTORS} items"));
    }
    let mut factor_ids = BTreeSet::new();
    let parsed = factors.iter().take(MAX_FACTORS).enumerate().filter_map(|(i, factor)| {
        let path = format!("{path}[{i}]");
        let factor_id = fields.check(format!("{path}.factor_id"), FactorId::try_from(factor.factor_id.as_str()));
        if factor_id.as_ref().is_some_and(|factor_id| !factor_ids.insert(factor_id.clone())) {
            fields.refuse(format!("{path}.factor_id"), "must be unique within the feedback");
        }
        let score = parse_score(fields, &format!("{path}.score"), Some(factor.score), (1, 5));
        let importance = parse_score(fields, &format!("{path}.importance"), factor.importance, (1, 5));
        Some(FactorAnswer { factor_id: factor_id?, score: score?, importance })
    });
    parsed.collect()
}

fn parse_value(fields: &mut Fields, path: &str, value: &proto::DeliveredValue) -> Option<(DeliveredValue, Currency)> {
    let received = parse_money(fields, &format!("{path}.received"), value.received.as_ref());
    let mut cost = |field: &str, money: Option<&proto::google::Money>| {
        let path = format!("{path}.{field}");
        let Some(money) = money else { return Some(0) };
        let Money { currency, minor } = parse_money(fields, &path, Some(money))?;
        if received.is_some_and(|received| received.currency != currency) {
            fields.refuse(format!("{path}.currency_code"), "must be that of received");
        }
        Some(minor)
    };
    let (money, time) = (cost("money", value.money.as_ref()), cost("time", value.time.as_ref()));
    let (effort, nerves) = (cost("effort", value.effort.as_ref()), cost("nerves", value.nerves.as_ref()));
    let Money { currency, minor } = received?;
    let parsed = DeliveredValue { received: minor, money: money?, time: time?, effort: effort?, nerves: nerves? };
    if parsed.delivered().is_none() {
        fields.refuse(path, "must not cost more than can be counted");
    }
    Some((parsed, currency))
}

/// How something came; none, if that is not said.
pub(crate) fn parse_channel(fields: &mut Fields, path: &str, channel: i32) -> Option<FeedbackChannel> {
    match proto::FeedbackChannel::try_from(channel) {
        Ok(proto::FeedbackChannel::Unspecified) => None,
        Ok(proto::FeedbackChannel::App) => Some(FeedbackChannel::App),
        Ok(proto::FeedbackChannel::Web) => Some(FeedbackChannel::Web),
        Ok(proto::FeedbackChannel::Email) => Some(FeedbackChannel::Email),
        Ok(proto::FeedbackChannel::Sms) => Some(FeedbackChannel::Sms),
        Ok(proto::FeedbackChannel::Phone) => Some(FeedbackChannel::Phone),
        Ok(proto::FeedbackChannel::Post) => Some(FeedbackChannel::Post),
        Ok(proto::FeedbackChannel::InPerson) => Some(FeedbackChannel::InPerson),
        Err(_) => {
            fields.refuse(path, "must be one of the named values");
            None
        }
    }
}

const fn write_channel(channel: FeedbackChannel) -> proto::FeedbackChannel {
    match channel {
        FeedbackChannel::App => proto::FeedbackChannel::App,
        FeedbackChannel::Web => proto::FeedbackChannel::Web,
        FeedbackChannel::Email => proto::FeedbackChannel::Email,
        FeedbackChannel::Sms => proto::FeedbackChannel::Sms,
        FeedbackChannel::Phone => proto::FeedbackChannel::Phone,
        FeedbackChannel::Post => proto::FeedbackChannel::Post,
        FeedbackChannel::InPerson => proto::FeedbackChannel::InPerson,
    }
}

/// Feedback on the wire, with amounts in a currency, if it has any.
#[must_use]
pub(crate) fn write_feedback(
    answers: &Answers,
    currency: Option<Currency>,
    survey_id: Option<&SurveyId>,
    text: &str,
) -> proto::Feedback {
    let factors = answers.factors.iter().map(|factor| proto::FactorAnswer {
        factor_id: factor.factor_id.to_string(),
        score: factor.score.into(),
        importance: factor.importance.map(Into::into),
    });
    proto::Feedback {
        satisfaction: answers.satisfaction.map(Into::into),
        recommendation: answers.recommendation.map(Into::into),
        acsi: answers.acsi.map(write_acsi),
        factors: factors.collect(),
        value: answers.value.zip(currency).map(|(value, currency)| write_value(currency, value)),
        channel: answers.channel.map_or(proto::FeedbackChannel::Unspecified, write_channel).into(),
        survey_id: survey_id.map(ToString::to_string).unwrap_or_default(),
        text: text.to_owned(),
        involvement: answers.involvement.map(Into::into),
        brands: answers.brands,
    }
}

/// Answers to the three questions of the American Customer Satisfaction Index on the wire.
#[must_use]
pub(crate) fn write_acsi(acsi: AcsiAnswers) -> proto::AcsiAnswers {
    proto::AcsiAnswers {
        satisfaction: acsi.satisfaction.into(),
        expectation: acsi.expectation.into(),
        ideal: acsi.ideal.into(),
    }
}

/// What was received and what it cost, on the wire.
#[must_use]
pub(crate) fn write_value(currency: Currency, value: DeliveredValue) -> proto::DeliveredValue {
    let money = |minor| Some(write_signed_money(currency, minor));
    proto::DeliveredValue {
        received: money(value.received),
        money: money(value.money),
        time: money(value.time),
        effort: money(value.effort),
        nerves: money(value.nerves),
        delivered: value.delivered().and_then(money),
    }
}
