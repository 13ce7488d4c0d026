//! The SQL of referral codes and referrals.

mod purchases;

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::model::{Code, Names, Referral, ReferralState, StateWord};
use super::purchases::PurchasesState;
use super::state::ReferralsState;
use crate::book::{Capability, Defect, Depth, Scope, States, Store, Table};
use crate::customers::read_customer_ids;
use crate::database::{
    Listed, ReadPart, Selection, StoreError, Traced as _, WritePart, selection, sent_as, write_part,
};
use crate::ids::{AccountId, EntryId, ProgramId, ReferralCode};

/// The tables of referrals.
const TABLES: &[Table] = &[
    Table::projection("referral_codes", "format('referral code of campaign %s', campaign_id)")
        .with_scanned_strays(&["SELECT n.account_id, 'a referral code''s name belongs to an account without that code'
         FROM names n JOIN accounts a ON a.account_id = n.account_id
         LEFT JOIN referral_codes r ON r.account_id = n.account_id AND r.code = n.name
         WHERE n.space = 'referral_code' AND r.account_id IS NULL"])
        .with_strays(&[
            // A customer without a dossier was forgotten, and the names of their codes with it.
            "SELECT r.account_id, 'a referral code whose name is missing or another''s'
         FROM referral_codes r JOIN customers c ON c.account_id = r.account_id
         LEFT JOIN names n ON n.program_id = c.program_id AND n.space = 'referral_code' AND n.name = r.code
         WHERE n.account_id IS DISTINCT FROM r.account_id",
        ]),
    Table::projection("referrals", "'referral'"),
];

/// The room as the book knows it.
#[must_use]
pub(crate) fn capability() -> Capability {
    Capability::new(ReferralsState::default, ReferralsStore, TABLES)
}

/// The purchases that a conversion by hand looks at, as the book knows them.
#[must_use]
pub(crate) fn purchases_capability() -> Capability {
    Capability::new(PurchasesState::default, purchases::PurchasesStore, &[])
}

struct ReferralsStore;

#[async_trait]
impl Store for ReferralsStore {
    fn has_related(&self) -> bool {
        true
    }

    fn read_parts(&self, states: &States, scope: &Scope) -> Result<Vec<ReadPart<States>>, StoreError> {
        let mut parts = vec![referrals_of(&scope.accounts).into_part(|states: &mut States, rows| {
            let (referrals, _) = into_referrals(rows)?;
            let state: &mut ReferralsState = states.get_mut()?;
            state.referrals = referrals.into_iter().map(|referral| (referral.referee, referral)).collect();
            Ok(())
        })];
        if states.get::<ReferralsState>()?.is_asked_for_codes || scope.depth != Depth::Asked {
            parts.push(codes_of(&scope.accounts).into_part(|states: &mut States, rows| {
                let state: &mut ReferralsState = states.get_mut()?;
                for (owner, code) in into_codes(rows)? {
                    state.codes.insert((owner, code.campaign_id.clone()), code);
                }
                Ok(())
            }));
        }
        Ok(parts)
    }

    async fn load(&self, states: &mut States, scope: &Scope, connection: &mut PgConnection) -> Result<(), StoreError> {
        let state: &mut ReferralsState = states.get_mut()?;
        if state.is_asked_for_names {
            // Those who brought them need not be locked: of a referral that has ended, nothing is written to them.
            let referrers = state.referrals.values().map(|referral| referral.referrer);
            let accounts: BTreeSet<AccountId> = scope.accounts.iter().copied().chain(referrers).collect();
            let accounts: Vec<AccountId> = accounts.into_iter().collect();
            state.names = read_names(connection, &accounts, &accounts).await?;
        }
        Ok(())
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let state: &ReferralsState = states.get()?;
        let codes = state.new_codes.iter().filter_map(|key| Some((key.0, state.codes.get(key)?)));
        let changed = state.changed.iter().filter_map(|id| state.referrals.get(id));
        let erased_now = state.new_codes.iter().filter(|(owner, _)| state.erased.contains(owner));
        let erased_now = erased_now.filter_map(|key| Some((key.0, state.codes.get(key)?)));
        let freed = [free_new_codes(erased_now), free_codes(&state.erased)];
        Ok([insert_codes(codes), upsert_referrals(changed)].into_iter().chain(freed).collect())
    }
}

/// A code as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
struct RawCode {
    account_id: Uuid,
    campaign_id: String,
    code: String,
    account_seq: i64,
    created_at: jiff_sqlx::Timestamp,
}

sent_as!(RawCode, "sent_code");

impl TryFrom<RawCode> for (AccountId, Code) {
    type Error = Defect;

    fn try_from(raw: RawCode) -> Result<Self, Defect> {
        let code = Code {
            campaign_id: parse(raw.account_id, raw.campaign_id)?,
            code: parse(raw.account_id, raw.code)?,
            account_seq: raw.account_seq,
            created_at: raw.created_at.to_jiff(),
        };
        Ok((AccountId(raw.account_id), code))
    }
}

impl From<(AccountId, &Code)> for RawCode {
    fn from((account_id, code): (AccountId, &Code)) -> Self {
        Self {
            account_id: account_id.0,
            campaign_id: code.campaign_id.to_string(),
            code: code.code.to_string(),
            account_seq: code.account_seq,
            created_at: code.created_at.to_sqlx(),
        }
    }
}

fn into_codes(rows: Vec<RawCode>) -> Result<Vec<(AccountId, Code)>, Defect> {
    rows.into_iter().map(TryInto::try_into).collect()
}

fn codes_of(accounts: &[AccountId]) -> Selection<RawCode> {
    let accounts: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    selection!(
        "referral_codes",
        RawCode,
        "SELECT account_id, campaign_id, code, account_seq, created_at FROM referral_codes WHERE account_id = ANY($1)",
        [accounts],
    )
}

/// The codes that can be understood: others hold up nothing that is about the accounts they brought.
fn readable_codes(rows: Vec<RawCode>) -> impl Iterator<Item = (AccountId, Code)> {
    rows.into_iter().filter_map(|row| {
        let read: Result<(AccountId, Code), Defect> = row.try_into();
        read.inspect_err(
            |defect| tracing::error!(failure = %defect, "a referral code is left out that cannot be understood"),
        )
        .ok()
    })
}

/// The names of customers, and of the codes of `owners`. What cannot be understood is left out.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_names(
    connection: &mut PgConnection,
    customers: &[AccountId],
    owners: &[AccountId],
) -> Result<Names, StoreError> {
    let customers = read_customer_ids(connection, customers).await?.into_iter().collect();
    let codes = readable_codes(codes_of(owners).fetch(connection).await?);
    Ok(Names { customers, codes: codes.map(|(owner, code)| ((owner, code.campaign_id), code.code)).collect() })
}

/// Removes the names of all stored codes of accounts.
fn free_codes(accounts: &BTreeSet<AccountId>) -> WritePart {
    write_part!(
        "DELETE FROM names n USING referral_codes r
         WHERE r.account_id = ANY($1::uuid[]) AND n.space = 'referral_code' AND n.name = r.code
           AND n.account_id = r.account_id",
        accounts.iter().map(|account_id| account_id.0).collect::<Vec<Uuid>>(),
    )
}

/// Removes the names of codes that are stored by the same statement.
fn free_new_codes<'a>(codes: impl Iterator<Item = (AccountId, &'a Code)>) -> WritePart {
    write_part!(
        "DELETE FROM names n USING unnest($1::sent_code[]) AS u
         WHERE n.space = 'referral_code' AND n.name = u.code AND n.account_id = u.account_id",
        codes.map(RawCode::from).collect::<Vec<RawCode>>(),
    )
}

fn insert_codes<'a>(codes: impl Iterator<Item = (AccountId, &'a Code)>) -> WritePart {
    write_part!(
        "INSERT INTO referral_codes (account_id, campaign_id, code, account_seq, created_at)
         SELECT * FROM unnest($1::sent_code[])",
        codes.map(RawCode::from).collect::<Vec<RawCode>>(),
    )
}

/// Parses a stored text, of a row of an account.
fn parse<T: TryFrom<String, Error = &'static str>>(account_id: Uuid, text: String) -> Result<T, Defect> {
    T::try_from(text).map_err(|error| Defect::new(format!("a row of account {account_id}: {error}")))
}

#[derive(sqlx::Decode)]
struct RawReferral {
    account_id: Uuid,
    referrer_account_id: Uuid,
    campaign_id: String,
    policy_version: i32,
    state: String,
    created_seq: i64,
    created_at: jiff_sqlx::Timestamp,
    expires_at: Option<jiff_sqlx::Timestamp>,
    ended_seq: Option<i64>,
    ended_at: Option<jiff_sqlx::Timestamp>,
    qualifying_seq: Option<i64>,
    referrer_reward_seq: Option<i64>,
    referee_reward_seq: Option<i64>,
    told: jiff_sqlx::Timestamp,
}

impl TryFrom<RawReferral> for Referral {
    type Error = Defect;

    fn try_from(raw: RawReferral) -> Result<Self, Defect> {
        let (referee, referrer) = (AccountId(raw.account_id), AccountId(raw.referrer_account_id));
        let entry_on = |account_id| move |account_seq| EntryId { account_id, account_seq };
        let damaged = || Defect::new(format!("the referral of account {} is damaged", raw.account_id));
        let word: StateWord = raw.state.parse().map_err(|_| {
            Defect::unknown(format!("the referral of account {}: unknown state {:?}", raw.account_id, raw.state))
        })?;
        let state = match (word, raw.ended_seq, raw.ended_at) {
            (StateWord::Pending, None, None) => ReferralState::Pending,
            (StateWord::Converted, Some(seq), Some(at)) => ReferralState::Converted {
                seq,
                at: at.to_jiff(),
                qualifying: raw.qualifying_seq.map(entry_on(referee)),
                referrer_reward: raw.referrer_reward_seq.map(entry_on(referrer)),
                referee_reward: raw.referee_reward_seq.map(entry_on(referee)),
            },
            (StateWord::Expired, seq, Some(at)) => ReferralState::Expired { seq, at: at.to_jiff() },
            (StateWord::Pending, Some(_), _)
            | (StateWord::Pending, _, Some(_))
            | (StateWord::Converted, None, _)
            | (StateWord::Converted, _, None)
            | (StateWord::Expired, _, None) => return Err(damaged()),
        };
        Ok(Self {
            referee,
            referrer,
            campaign_id: parse(raw.account_id, raw.campaign_id)?,
            policy_version: raw.policy_version,
            state,
            created_seq: raw.created_seq,
            created_at: raw.created_at.to_jiff(),
            expires_at: raw.expires_at.map(jiff_sqlx::Timestamp::to_jiff),
        })
    }
}

/// Referrals, with what the database's clock told as they were read; without referrals it is of no matter.
pub(super) type ReadReferrals = (Vec<Referral>, Timestamp);

fn into_referrals(rows: Vec<RawReferral>) -> Result<ReadReferrals, StoreError> {
    let told = rows.first().map(|row| row.told.to_jiff()).unwrap_or_default();
    let referrals: Result<Vec<Referral>, Defect> = rows.into_iter().map(Referral::try_from).collect();
    Ok((referrals?, told))
}

fn referrals_of(referees: &[AccountId]) -> Selection<RawReferral> {
    let referees: Vec<Uuid> = referees.iter().map(|account| account.0).collect();
    selection!(
        "referrals",
        RawReferral,
        r#"SELECT account_id, referrer_account_id, campaign_id, policy_version, state, created_seq, created_at,
                  expires_at, ended_seq, ended_at, qualifying_seq, referrer_reward_seq, referee_reward_seq,
                  clock_timestamp() AS "told!"
           FROM referrals WHERE account_id = ANY($1)"#,
        [referees],
    )
}

/// The referrals of referees.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_referrals(
    connection: &mut PgConnection,
    referees: &[AccountId],
) -> Result<ReadReferrals, StoreError> {
    into_referrals(referrals_of(referees).fetch(connection).await?)
}

/// The codes of an account.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_codes(connection: &mut PgConnection, owner: AccountId) -> Result<Vec<Code>, StoreError> {
    let codes = into_codes(codes_of(&[owner]).fetch(connection).await?)?;
    Ok(codes.into_iter().map(|(_, code)| code).collect())
}

/// A referral as it is sent.
#[derive(sqlx::Encode)]
struct SentReferral {
    account_id: Uuid,
    referrer_account_id: Uuid,
    campaign_id: String,
    policy_version: i32,
    state: &'static str,
    created_seq: i64,
    created_at: jiff_sqlx::Timestamp,
    expires_at: Option<jiff_sqlx::Timestamp>,
    ended_seq: Option<i64>,
    ended_at: Option<jiff_sqlx::Timestamp>,
    qualifying_seq: Option<i64>,
    referrer_reward_seq: Option<i64>,
    referee_reward_seq: Option<i64>,
}

sent_as!(SentReferral, "sent_referral");

impl From<&Referral> for SentReferral {
    fn from(referral: &Referral) -> Self {
        let seq_of = |id: EntryId| id.account_seq;
        let (ended_seq, ended_at, qualifying, referrer_reward, referee_reward) = match &referral.state {
            ReferralState::Pending => (None, None, None, None, None),
            ReferralState::Converted { seq, at, qualifying, referrer_reward, referee_reward } => {
                (Some(*seq), Some(*at), *qualifying, *referrer_reward, *referee_reward)
            }
            ReferralState::Expired { seq, at } => (*seq, Some(*at), None, None, None),
        };
        Self {
            account_id: referral.referee.0,
            referrer_account_id: referral.referrer.0,
            campaign_id: referral.campaign_id.to_string(),
            policy_version: referral.policy_version,
            state: referral.state.word(),
            created_seq: referral.created_seq,
            created_at: referral.created_at.to_sqlx(),
            expires_at: referral.expires_at.map(|instant| instant.to_sqlx()),
            ended_seq,
            ended_at: ended_at.map(|instant| instant.to_sqlx()),
            qualifying_seq: qualifying.map(seq_of),
            referrer_reward_seq: referrer_reward.map(seq_of),
            referee_reward_seq: referee_reward.map(seq_of),
        }
    }
}

fn upsert_referrals<'a>(referrals: impl Iterator<Item = &'a Referral>) -> WritePart {
    write_part!(
        "INSERT INTO referrals (account_id, referrer_account_id, campaign_id, policy_version, state, created_seq,
             created_at, expires_at, ended_seq, ended_at, qualifying_seq, referrer_reward_seq, referee_reward_seq)
         SELECT * FROM unnest($1::sent_referral[])
         ON CONFLICT (account_id) DO UPDATE SET policy_version = excluded.policy_version, state = excluded.state,
             ended_seq = excluded.ended_seq, ended_at = excluded.ended_at, qualifying_seq = excluded.qualifying_seq,
             referrer_reward_seq = excluded.referrer_reward_seq, referee_reward_seq = excluded.referee_reward_seq",
        referrals.map(SentReferral::from).collect::<Vec<SentReferral>>(),
    )
}

/// The owner of a code, by its text.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn find_code(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    code: &ReferralCode,
) -> Result<Option<(AccountId, Code)>, StoreError> {
    let row = sqlx::query_as!(
        RawCode,
        "SELECT c.account_id, c.campaign_id, c.code, c.account_seq, c.created_at
         FROM names n JOIN referral_codes c ON c.account_id = n.account_id AND c.code = n.name
         WHERE n.program_id = $1 AND n.space = 'referral_code' AND n.name = $2",
        program_id.as_str(),
        code.as_str(),
    )
    .fetch_optional(connection)
    .traced("SELECT referral_codes")
    .await?;
    Ok(row.map(TryInto::try_into).transpose()?)
}

/// A page of the referrals that a customer made, the newest first.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn list_referrals(
    connection: &mut PgConnection,
    referrer: AccountId,
    before: Option<(Timestamp, AccountId)>,
    limit: i64,
) -> Result<(Vec<Listed<Referral>>, Timestamp), sqlx::Error> {
    let (before_at, before_id) = before.map_or((None, None), |(at, id)| (Some(at.to_sqlx()), Some(id.0)));
    let rows = sqlx::query_as!(
        RawReferral,
        r#"SELECT account_id, referrer_account_id, campaign_id, policy_version, state, created_seq, created_at,
                  expires_at, ended_seq, ended_at, qualifying_seq, referrer_reward_seq, referee_reward_seq,
                  clock_timestamp() AS "told!"
           FROM referrals
           WHERE referrer_account_id = $1
             AND ($2::timestamptz IS NULL OR (created_at, account_id) < ($2, $3))
           ORDER BY created_at DESC, account_id DESC LIMIT $4"#,
        referrer.0,
        before_at as _,
        before_id,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT referrals")
    .await?;
    let told = rows.first().map(|row| row.told.to_jiff()).unwrap_or_default();
    let listed = rows.into_iter().map(|row| Listed {
        cursor: format!("{}.{}", row.created_at.to_jiff().as_microsecond(), row.account_id),
        item: Referral::try_from(row),
    });
    Ok((listed.collect(), told))
}
