//! `SatisfactionService` on the wire.

pub(crate) mod feedback;

use std::cmp::Ordering;

use goldbook_api::server::{Received, satisfaction_service_server};
use tonic::{Request, Response, Status};

use self::feedback::{write_acsi, write_value};
use super::index::{AcsiIndex, Distribution, FactorIndex, NetPromoterScore, Tally, divide};
use super::model::Latest;
use super::{CustomerSatisfaction, IndexQuestion, Indexes, Satisfaction};
use crate::access::grpc::admit;
use crate::error::{Error, Fields};
use crate::ids::{AccountId, EntryId, ProgramId};
use crate::programs::model::ProgramVersion;
use crate::programs::points::grpc::parse_calendar_period;
use crate::programs::satisfaction::Factor;
use crate::proto;
use crate::proto::fields::{parse_optional_day, parse_optional_instant, write_day, write_instant};
use crate::proto::requests::{parse_customer_at, parse_optional_segment};
use crate::telemetry;

#[tonic::async_trait]
impl satisfaction_service_server::SatisfactionService for Satisfaction {
    async fn get_satisfaction(
        &self,
        request: Request<Received<proto::GetSatisfactionRequest>>,
    ) -> Result<Response<proto::GetSatisfactionResponse>, Status> {
        let (request, _) = admit(request)?;
        let (program_id, customer_id, as_of) =
            parse_customer_at(request.program_id, request.customer_id, request.as_of.as_ref())?;
        telemetry::record_program(program_id.as_str());
        let found = self.get_satisfaction(&program_id, &customer_id, as_of).await?;
        Ok(Response::new(write_satisfaction(&found)))
    }

    async fn get_satisfaction_index(
        &self,
        request: Request<Received<proto::GetSatisfactionIndexRequest>>,
    ) -> Result<Response<proto::GetSatisfactionIndexResponse>, Status> {
        let (request, caller) = admit(request)?;
        let question = parse_question(request)?;
        telemetry::record_program(question.program_id.as_str());
        let indexes = self.get_satisfaction_index(question, caller.writer().await?.principal_id).await?;
        Ok(Response::new(write_indexes(&indexes)))
    }
}

fn parse_question(request: proto::GetSatisfactionIndexRequest) -> Result<IndexQuestion, Error> {
    let mut fields = Fields::default();
    let from = parse_optional_day(&mut fields, "from", request.from);
    let until = parse_optional_day(&mut fields, "until", request.until);
    let as_of = parse_optional_instant(&mut fields, "as_of", request.as_of.as_ref());
    let each = parse_calendar_period(&mut fields, "each", request.each);
    let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
    let segment_id = parse_optional_segment(&mut fields, request.segment_id);
    let question = || Some(IndexQuestion { program_id: program_id?, from, until, each: each?, as_of, segment_id });
    fields.finish_with(question())
}

fn write_satisfaction(found: &CustomerSatisfaction) -> proto::GetSatisfactionResponse {
    let CustomerSatisfaction { as_of, said, account_id, policy } = found;
    let trend = |latest: Option<Latest>| latest.map(|latest| write_trend(&latest, *account_id));
    let factors = policy.program.satisfaction.factors.iter().filter_map(|factor| {
        let (score, importance) = said.factor(&factor.factor_id)?;
        Some(proto::FactorSatisfaction {
            factor_id: factor.factor_id.to_string(),
            display_name: factor.display_name.clone(),
            score: trend(Some(score)),
            importance: importance.map(Into::into),
        })
    });
    proto::GetSatisfactionResponse {
        as_of: Some(write_instant(*as_of)),
        // At most 100.
        answers: i32::try_from(said.count()).unwrap_or(i32::MAX),
        satisfaction: trend(said.latest(|answers| answers.satisfaction)),
        recommendation: trend(said.latest(|answers| answers.recommendation)),
        factors: factors.collect(),
        acsi: said.acsi().map(write_acsi),
        value: said.value().map(|value| write_value(policy.program.currency, value)),
        involvement: said.last(|answers| answers.involvement).map(Into::into),
        brands: said.last(|answers| answers.brands),
    }
}

fn write_trend(latest: &Latest, account_id: AccountId) -> proto::ScoreTrend {
    let trend = match latest.before {
        None => proto::Trend::Unspecified,
        Some((_, Ordering::Greater)) => proto::Trend::Rising,
        Some((_, Ordering::Equal)) => proto::Trend::Steady,
        Some((_, Ordering::Less)) => proto::Trend::Falling,
    };
    proto::ScoreTrend {
        latest: latest.score.into(),
        happened_at: Some(write_instant(latest.happened_at)),
        entry_id: EntryId { account_id, account_seq: latest.account_seq }.to_string(),
        mean_before: latest.before.map(|(mean, _)| mean),
        trend: trend.into(),
    }
}

fn write_indexes(indexes: &Indexes) -> proto::GetSatisfactionIndexResponse {
    let Indexes { as_of, parts, policy } = indexes;
    let parts = parts.iter().map(|((from, until), tally)| proto::SatisfactionIndex {
        from: Some(write_day(*from)),
        until: Some(write_day(*until)),
        ..write_index(tally, policy)
    });
    let least = policy.program.satisfaction.minimum_answers();
    proto::GetSatisfactionIndexResponse {
        as_of: Some(write_instant(*as_of)),
        // At most a million.
        minimum_answers: i32::try_from(least).unwrap_or(i32::MAX),
        indexes: parts.collect(),
    }
}

/// An index, but for its days.
fn write_index(tally: &Tally, policy: &ProgramVersion) -> proto::SatisfactionIndex {
    let program = &policy.program;
    let least = program.satisfaction.minimum_answers();
    let acsi = AcsiIndex::of(tally.acsi, tally.acsi_sums, &program.satisfaction).filter(|_| tally.acsi >= least);
    let mean = |place: fn([f64; 3]) -> f64| acsi.map(|acsi| place(acsi.means));
    let (values, value) = tally.value.map_or((0, None), |(answers, mean)| (answers, Some(mean)));
    proto::SatisfactionIndex {
        from: None,
        until: None,
        answers: tally.answers,
        satisfaction: Some(write_scores(tally, least)),
        recommendation: Some(write_recommendation(tally, least)),
        acsi: Some(proto::AcsiIndex {
            answers: tally.acsi,
            index: acsi.map(|acsi| acsi.index),
            satisfaction: mean(|[satisfaction, _, _]| satisfaction),
            expectation: mean(|[_, expectation, _]| expectation),
            ideal: mean(|[_, _, ideal]| ideal),
        }),
        factors: write_factors(tally, &program.satisfaction.factors, least),
        value: Some(proto::DeliveredValueIndex {
            answers: values,
            mean: value.filter(|_| values >= least).map(|mean| write_value(program.currency, mean)),
        }),
    }
}

fn write_scores(tally: &Tally, least: i64) -> proto::SatisfactionScores {
    let scores = Distribution::of(1, &tally.satisfaction);
    let is_enough = scores.answers >= least;
    proto::SatisfactionScores {
        answers: scores.answers,
        scores: write_shares(&scores, is_enough),
        mean: scores.mean.filter(|_| is_enough),
        top_two: is_enough.then(|| scores.share_from(4)),
    }
}

fn write_recommendation(tally: &Tally, least: i64) -> proto::NetPromoterScore {
    let scores = Distribution::of(0, &tally.recommendation);
    let is_enough = scores.answers >= least;
    let [promoters, passives, detractors] = if is_enough { divide(&tally.recommendation) } else { [0; 3] };
    let nps = NetPromoterScore::of([promoters, passives, detractors]);
    proto::NetPromoterScore {
        answers: scores.answers,
        promoters,
        passives,
        detractors,
        score: nps.map(|nps| nps.score),
        adjusted: nps.map(|nps| nps.adjusted),
        margin: nps.map(|nps| nps.margin),
        scores: write_shares(&scores, is_enough),
    }
}

fn write_shares(scores: &Distribution, is_enough: bool) -> Vec<proto::ScoreShare> {
    let all = scores.scores.iter().filter(|_| is_enough);
    all.map(|(score, answers, share)| proto::ScoreShare { score: *score, answers: *answers, share: *share }).collect()
}

/// The factor to mend first first.
fn write_factors(tally: &Tally, factors: &[Factor], least: i64) -> Vec<proto::FactorIndex> {
    let index = |factor: &Factor| {
        let counted = tally.factors.get(&factor.factor_id).copied().unwrap_or_default();
        FactorIndex::of(counted, least)
    };
    let mut indexes: Vec<(&Factor, FactorIndex)> = factors.iter().map(|factor| (factor, index(factor))).collect();
    let priority = |index: &FactorIndex| index.priority().unwrap_or(f64::NEG_INFINITY);
    // Those with the same priority stay in the order of the document.
    indexes.sort_by(|(_, a), (_, b)| priority(b).total_cmp(&priority(a)));
    let written = indexes.into_iter().map(|(factor, index)| proto::FactorIndex {
        factor_id: factor.factor_id.to_string(),
        display_name: factor.display_name.clone(),
        answers: index.tally.answers,
        score: index.score,
        importance_answers: index.tally.importance_answers,
        importance: index.importance,
        priority: index.priority(),
    });
    written.collect()
}
