//! Rows of lifecycles, as they are stored, and as they are sent.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::{
    Answered, BrandClass, Defect, Facts, LoyaltyClass, Position, SatisfactionClass, Silence, Stage, States,
};
use crate::database::{ReadPart, StoreError, Traced as _, WritePart, selection, sent_as, write_part};
use crate::ids::{AccountId, ProgramId};
use crate::lifecycle::state::{Lifecycle, LifecycleState};

/// Where a customer stands.
#[derive(sqlx::Encode, sqlx::Decode)]
pub(super) struct LifecycleRow {
    account_id: Uuid,
    program_id: String,
    stage: String,
    satisfaction_class: Option<String>,
    loyalty_class: Option<String>,
    brand_class: Option<String>,
    since: jiff_sqlx::Timestamp,
    decided_seq: i64,
    policy_version: i32,
    purchases: i64,
    spend: i64,
    referrals: i64,
    last_purchase_at: Option<jiff_sqlx::Timestamp>,
    satisfaction: Option<i32>,
    satisfaction_at: Option<jiff_sqlx::Timestamp>,
    recommendation: Option<i32>,
    recommendation_at: Option<jiff_sqlx::Timestamp>,
    involvement: Option<i32>,
    involvement_at: Option<jiff_sqlx::Timestamp>,
    brands: Option<i32>,
    brands_at: Option<jiff_sqlx::Timestamp>,
    open_complaints: i64,
    rare_after: Option<i32>,
    at_risk_after: Option<i32>,
    lapsed_after: Option<i32>,
    lost_after: Option<i32>,
    ended_at: Option<jiff_sqlx::Timestamp>,
}

sent_as!(LifecycleRow, "sent_lifecycle");

/// A decision about where a customer stands.
#[derive(sqlx::Encode, sqlx::Decode)]
pub(super) struct DecisionRow {
    account_id: Uuid,
    account_seq: i64,
    since: jiff_sqlx::Timestamp,
}

sent_as!(DecisionRow, "sent_lifecycle_decision");

/// The words of a position: the stage, and the classes.
type Words = (String, [Option<String>; 3]);

fn words_of(position: &Position) -> Words {
    let classes = [
        position.satisfaction.map(|class| class.as_str().to_owned()),
        position.loyalty.map(|class| class.as_str().to_owned()),
        position.brands.map(|class| class.as_str().to_owned()),
    ];
    (position.stage.as_str().to_owned(), classes)
}

fn position_of(account_id: Uuid, (stage, [satisfaction, loyalty, brands]): Words) -> Result<Position, Defect> {
    let unknown = |word: &str| Defect::unknown(format!("the lifecycle of account {account_id}: unknown {word}"));
    Ok(Position {
        stage: Stage::from_stored(&stage).ok_or_else(|| unknown(&stage))?,
        satisfaction: satisfaction
            .map(|word| SatisfactionClass::from_stored(&word).ok_or_else(|| unknown(&word)))
            .transpose()?,
        loyalty: loyalty.map(|word| LoyaltyClass::from_stored(&word).ok_or_else(|| unknown(&word))).transpose()?,
        brands: brands.map(|word| BrandClass::from_stored(&word).ok_or_else(|| unknown(&word))).transpose()?,
    })
}

fn program_of(account_id: Uuid, program_id: String) -> Result<ProgramId, Defect> {
    let bad = |error: &str| Defect::new(format!("the lifecycle of account {account_id}: {error}"));
    ProgramId::try_from(program_id).map_err(bad)
}

impl LifecycleRow {
    pub(super) fn new(account_id: AccountId, row: &Lifecycle) -> Self {
        let (facts, silence) = (&row.facts, &row.silence);
        let (stage, [satisfaction_class, loyalty_class, brand_class]) = words_of(&row.position);
        let instant = |at: Option<Timestamp>| at.map(|at| at.to_sqlx());
        let answer = |it: Option<Answered>| it.map(|it| it.answer);
        let at = |it: Option<Answered>| it.map(|it| it.at.to_sqlx());
        Self {
            account_id: account_id.0,
            program_id: row.program_id.to_string(),
            stage,
            satisfaction_class,
            loyalty_class,
            brand_class,
            since: row.since.to_sqlx(),
            decided_seq: row.decided_seq,
            policy_version: row.policy_version,
            purchases: facts.purchases,
            spend: facts.spend,
            referrals: facts.referrals,
            last_purchase_at: instant(facts.last_purchase_at),
            satisfaction: answer(facts.satisfaction),
            satisfaction_at: at(facts.satisfaction),
            recommendation: answer(facts.recommendation),
            recommendation_at: at(facts.recommendation),
            involvement: answer(facts.involvement),
            involvement_at: at(facts.involvement),
            brands: answer(facts.brands),
            brands_at: at(facts.brands),
            open_complaints: facts.open_complaints,
            rare_after: silence.rare,
            at_risk_after: silence.at_risk,
            lapsed_after: silence.lapsed,
            lost_after: silence.lost,
            ended_at: instant(row.ended_at),
        }
    }

    pub(super) fn into_lifecycle(self) -> Result<Lifecycle, Defect> {
        let account_id = self.account_id;
        let instant = |at: Option<jiff_sqlx::Timestamp>| at.map(jiff_sqlx::Timestamp::to_jiff);
        let answered = |answer: Option<i32>, at: Option<jiff_sqlx::Timestamp>| {
            answer.zip(instant(at)).map(|(answer, at)| Answered { answer, at })
        };
        let classes = [self.satisfaction_class, self.loyalty_class, self.brand_class];
        Ok(Lifecycle {
            program_id: program_of(account_id, self.program_id)?,
            position: position_of(account_id, (self.stage, classes))?,
            since: self.since.to_jiff(),
            decided_seq: self.decided_seq,
            policy_version: self.policy_version,
            facts: Facts {
                purchases: self.purchases,
                spend: self.spend,
                referrals: self.referrals,
                last_purchase_at: instant(self.last_purchase_at),
                satisfaction: answered(self.satisfaction, self.satisfaction_at),
                recommendation: answered(self.recommendation, self.recommendation_at),
                involvement: answered(self.involvement, self.involvement_at),
                brands: answered(self.brands, self.brands_at),
                open_complaints: self.open_complaints,
            },
            silence: Silence {
                rare: self.rare_after,
                at_risk: self.at_risk_after,
                lapsed: self.lapsed_after,
                lost: self.lost_after,
            },
            ended_at: instant(self.ended_at),
        })
    }
}

impl DecisionRow {
    pub(super) fn new((account_id, account_seq): (AccountId, i64), since: Timestamp) -> Self {
        Self { account_id: account_id.0, account_seq, since: since.to_sqlx() }
    }
}

pub(super) fn lifecycles_part(accounts: Vec<Uuid>) -> ReadPart<States> {
    let all = selection!(
        "lifecycles",
        LifecycleRow,
        "SELECT account_id, program_id, stage, satisfaction_class, loyalty_class, brand_class, since, decided_seq, policy_version,
             purchases, spend, referrals, last_purchase_at, satisfaction, satisfaction_at, recommendation, recommendation_at,
             involvement, involvement_at, brands, brands_at, open_complaints, rare_after, at_risk_after, lapsed_after, lost_after,
             ended_at
         FROM lifecycles WHERE account_id = ANY($1)",
        [accounts],
    );
    all.into_part(|states: &mut States, rows| {
        let state: &mut LifecycleState = states.get_mut()?;
        for row in rows {
            let account_id = AccountId(row.account_id);
            state.rows.insert(account_id, row.into_lifecycle()?);
        }
        Ok(())
    })
}

pub(super) fn decisions_part(accounts: Vec<Uuid>) -> ReadPart<States> {
    let all = selection!(
        "lifecycle_decisions",
        DecisionRow,
        "SELECT account_id, account_seq, since FROM lifecycle_decisions WHERE account_id = ANY($1)",
        [accounts],
    );
    all.into_part(|states: &mut States, rows| {
        let state: &mut LifecycleState = states.get_mut()?;
        for row in rows {
            let key = (AccountId(row.account_id), row.account_seq);
            state.decided.insert(key, row.since.to_jiff());
        }
        Ok(())
    })
}

pub(super) fn upsert_lifecycles(rows: Vec<LifecycleRow>) -> WritePart {
    write_part!(
        "INSERT INTO lifecycles AS l (account_id, program_id, stage, satisfaction_class, loyalty_class, brand_class, since,
             decided_seq, policy_version, purchases, spend, referrals, last_purchase_at, satisfaction, satisfaction_at,
             recommendation, recommendation_at, involvement, involvement_at, brands, brands_at, open_complaints, rare_after,
             at_risk_after, lapsed_after, lost_after, ended_at)
         SELECT * FROM unnest($1::sent_lifecycle[])
         ON CONFLICT (account_id) DO UPDATE SET
             stage = excluded.stage, satisfaction_class = excluded.satisfaction_class,
             loyalty_class = excluded.loyalty_class, brand_class = excluded.brand_class, since = excluded.since,
             decided_seq = excluded.decided_seq, policy_version = excluded.policy_version, purchases = excluded.purchases,
             spend = excluded.spend, referrals = excluded.referrals, last_purchase_at = excluded.last_purchase_at,
             satisfaction = excluded.satisfaction, satisfaction_at = excluded.satisfaction_at,
             recommendation = excluded.recommendation, recommendation_at = excluded.recommendation_at,
             involvement = excluded.involvement, involvement_at = excluded.involvement_at, brands = excluded.brands,
             brands_at = excluded.brands_at, open_complaints = excluded.open_complaints, rare_after = excluded.rare_after,
             at_risk_after = excluded.at_risk_after, lapsed_after = excluded.lapsed_after, lost_after = excluded.lost_after,
             ended_at = excluded.ended_at",
        rows,
    )
}

pub(super) fn insert_decisions(rows: Vec<DecisionRow>) -> WritePart {
    write_part!(
        "INSERT INTO lifecycle_decisions (account_id, account_seq, since)
         SELECT * FROM unnest($1::sent_lifecycle_decision[])",
        rows,
    )
}

/// The last decision about a customer by one of the account's entries: its number, and since when they were in the stage.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::lifecycle) async fn find_decided(
    connection: &mut PgConnection,
    account_id: AccountId,
    last: i64,
) -> Result<Option<(i64, Timestamp)>, StoreError> {
    let row = sqlx::query_as!(
        DecisionRow,
        "SELECT account_id, account_seq, since FROM lifecycle_decisions WHERE account_id = $1 AND account_seq <= $2 ORDER BY account_seq DESC LIMIT 1",
        account_id.0,
        last,
    )
    .fetch_optional(connection)
    .traced("SELECT lifecycle_decisions")
    .await?;
    Ok(row.map(|row| (row.account_seq, row.since.to_jiff())))
}
