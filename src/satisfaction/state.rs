//! The feedback of a batch's customers, as far as it is in numbers.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;

use crate::book::{ActivityDetail, Answers, Cell, Defect, Detail, Entry, FactorAnswer, Row, State};
use crate::ids::{AccountId, ProgramId};

/// What a customer said once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Feedback {
    /// The program.
    pub program_id: ProgramId,
    /// The local day on which it was given.
    pub day: Date,
    /// When it was given.
    pub happened_at: Timestamp,
    /// When its entry took effect.
    pub effective_at: Timestamp,
    /// What was said.
    pub answers: Answers,
}

/// The feedback of a batch: rows are added, and never changed.
#[derive(Debug, Default)]
pub(crate) struct SatisfactionState {
    pub(super) rows: BTreeMap<(AccountId, i64), Feedback>,
    pub(super) new: BTreeSet<(AccountId, i64)>,
}

impl State for SatisfactionState {
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        let Detail::Activity(ActivityDetail::FeedbackAccepted { happened_at, day, answers, .. }) = &entry.detail else {
            return Ok(());
        };
        let key = (entry.id.account_id, entry.id.account_seq);
        let feedback = Feedback {
            program_id: entry.program_id.clone(),
            day: *day,
            happened_at: *happened_at,
            effective_at: entry.effective_at,
            answers: Answers::clone(answers),
        };
        self.rows.insert(key, feedback);
        self.new.insert(key);
        Ok(())
    }

    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let own = self.rows.range((account_id, i64::MIN)..=(account_id, i64::MAX));
        Box::new(own.map(|((_, seq), feedback)| Row {
            noun: "feedback of entry",
            key: (*seq).into(),
            columns: columns(feedback),
        }))
    }
}

fn columns(feedback: &Feedback) -> Vec<(&'static str, Cell<'_>)> {
    let Feedback { program_id, day, happened_at, effective_at, answers } = feedback;
    let score = |score: Option<i16>| score.map(i64::from).into();
    let minor = |amount: Option<i64>| amount.into();
    let (acsi, value) = (answers.acsi, answers.value);
    let list = |items: Vec<String>| Cell::text(items.join(" "));
    let each = |tell: &dyn Fn(&FactorAnswer) -> String| list(answers.factors.iter().map(tell).collect());
    vec![
        ("program_id", Cell::word(program_id.as_str())),
        ("day", Cell::text(day)),
        ("happened_at", (*happened_at).into()),
        ("effective_at", (*effective_at).into()),
        ("channel", answers.channel.map_or(Cell::Absent, |channel| Cell::word(channel.as_str()))),
        ("satisfaction", score(answers.satisfaction)),
        ("recommendation", score(answers.recommendation)),
        ("acsi_satisfaction", score(acsi.map(|acsi| acsi.satisfaction))),
        ("acsi_expectation", score(acsi.map(|acsi| acsi.expectation))),
        ("acsi_ideal", score(acsi.map(|acsi| acsi.ideal))),
        ("factor_ids", each(&|it| it.factor_id.to_string())),
        ("factor_scores", each(&|it| it.score.to_string())),
        ("importances", each(&|it| it.importance.unwrap_or(0).to_string())),
        ("received", minor(value.map(|value| value.received))),
        ("cost_money", minor(value.map(|value| value.money))),
        ("cost_time", minor(value.map(|value| value.time))),
        ("cost_effort", minor(value.map(|value| value.effort))),
        ("cost_nerves", minor(value.map(|value| value.nerves))),
        ("involvement", score(answers.involvement)),
        ("brands", answers.brands.map(i64::from).into()),
    ]
}
