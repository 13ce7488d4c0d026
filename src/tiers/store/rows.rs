//! Standings as rows.

use jiff_sqlx::ToSqlx as _;
use uuid::Uuid;

use crate::book::{Defect, OverrideForce};
use crate::database::sent_as;
use crate::ids::{AccountId, TierId};
use crate::programs::tier_policy::windows::DayRange;
use crate::tiers::standing::Standing;

/// The tier that a row of an account names.
pub(super) fn parse_tier_id(account_id: Uuid, text: String) -> Result<TierId, Defect> {
    TierId::try_from(text).map_err(|error| Defect::new(format!("the standing of account {account_id}: {error}")))
}

/// What the override that a row of an account names does.
pub(super) fn parse_force(account_id: Uuid, word: &str) -> Result<OverrideForce, Defect> {
    OverrideForce::from_stored(word)
        .ok_or_else(|| Defect::new(format!("the standing of account {account_id} is forced by {word:?}")))
}

/// The window that earned a tier, if one did.
pub(super) fn window_of(
    is_earned: bool,
    from: Option<jiff_sqlx::Date>,
    until: Option<jiff_sqlx::Date>,
) -> Option<DayRange> {
    let day = |day: Option<jiff_sqlx::Date>| day.map(jiff_sqlx::Date::to_jiff);
    is_earned.then(|| DayRange { from: day(from), until: day(until) })
}

/// The standing in a row: its columns are the same wherever it is stored. The last names the entry after which it was so.
macro_rules! standing_in {
    ($row:ident) => {
        crate::tiers::standing::Standing {
            tier_id: crate::tiers::store::rows::parse_tier_id($row.account_id, $row.tier_id)?,
            since: $row.since.to_jiff(),
            policy_version: $row.policy_version,
            changed_seq: $row.changed_seq,
            cause_seq: $row.cause_seq,
            totals: crate::tiers::counting::Counted {
                spend: $row.qualifying_spend,
                margin: $row.margin,
                points: $row.points,
                purchases: $row.purchases,
                active_days: $row.active_days,
                referrals: $row.referrals,
            },
            accepted: $row.accepted,
            enrolled_on: $row.enrolled_on.map(|day| day.to_jiff()),
            outlook: crate::book::Outlook {
                ends_at: $row.ends_at.map(|instant| instant.to_jiff()),
                decides_at: $row.decides_at.map(|instant| instant.to_jiff()),
            },
            earned: crate::tiers::store::rows::window_of($row.is_earned, $row.earned_from, $row.earned_until),
            former: match $row.former_tier_id {
                Some(tier_id) => Some(crate::tiers::standing::Former {
                    tier_id: crate::tiers::store::rows::parse_tier_id($row.account_id, tier_id)?,
                    ends_at: $row.former_ends_at.map(|instant| instant.to_jiff()),
                    earned: crate::tiers::store::rows::window_of(
                        $row.former_is_earned,
                        $row.former_earned_from,
                        $row.former_earned_until,
                    ),
                }),
                None => None,
            },
            forced: match ($row.forced, $row.forced_tier_id, $row.forced_seq, $row.hidden_tier_id) {
                (Some(force), Some(tier_id), Some(set_seq), Some(hidden)) => {
                    Some(crate::tiers::standing::TierOverride {
                        force: crate::tiers::store::rows::parse_force($row.account_id, &force)?,
                        tier_id: crate::tiers::store::rows::parse_tier_id($row.account_id, tier_id)?,
                        ends_at: $row.forced_until.map(|instant| instant.to_jiff()),
                        set_seq,
                        hidden: crate::tiers::store::rows::parse_tier_id($row.account_id, hidden)?,
                    })
                }
                _ => None,
            },
            last_seq: $row.last_seq,
        }
    };
}
pub(super) use standing_in;

/// What makes a checked statement is given the columns of a standing in the order of [`StandingRow`]: the macro and what
/// comes before the text; columns before them; the column of the last entry; what follows; then the arguments.
macro_rules! standing_rows {
    ($make:ident!($($before:tt)*), $first:literal, $last_seq:literal, $rest:literal $($arguments:tt)*) => {
        $make!(
            $($before)*
            "SELECT " + $first + "account_id, tier_id, since, policy_version, changed_seq, cause_seq, qualifying_spend,
                 margin, points, purchases, active_days, referrals, accepted, enrolled_on, ends_at, decides_at, is_earned,
                 earned_from, earned_until, former_tier_id, former_ends_at, former_is_earned, former_earned_from,
                 former_earned_until, forced, forced_tier_id, forced_until, forced_seq, hidden_tier_id, " + $last_seq + " " + $rest
            $($arguments)*
        )
    };
}
pub(super) use standing_rows;

/// A standing as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
pub(super) struct StandingRow {
    pub(super) account_id: Uuid,
    pub(super) tier_id: String,
    pub(super) since: jiff_sqlx::Timestamp,
    pub(super) policy_version: i32,
    pub(super) changed_seq: i64,
    pub(super) cause_seq: i64,
    pub(super) qualifying_spend: i64,
    pub(super) margin: i64,
    pub(super) points: i64,
    pub(super) purchases: i64,
    pub(super) active_days: i64,
    pub(super) referrals: i64,
    pub(super) accepted: i64,
    pub(super) enrolled_on: Option<jiff_sqlx::Date>,
    pub(super) ends_at: Option<jiff_sqlx::Timestamp>,
    pub(super) decides_at: Option<jiff_sqlx::Timestamp>,
    pub(super) is_earned: bool,
    pub(super) earned_from: Option<jiff_sqlx::Date>,
    pub(super) earned_until: Option<jiff_sqlx::Date>,
    pub(super) former_tier_id: Option<String>,
    pub(super) former_ends_at: Option<jiff_sqlx::Timestamp>,
    pub(super) former_is_earned: bool,
    pub(super) former_earned_from: Option<jiff_sqlx::Date>,
    pub(super) former_earned_until: Option<jiff_sqlx::Date>,
    pub(super) forced: Option<String>,
    pub(super) forced_tier_id: Option<String>,
    pub(super) forced_until: Option<jiff_sqlx::Timestamp>,
    pub(super) forced_seq: Option<i64>,
    pub(super) hidden_tier_id: Option<String>,
    pub(super) last_seq: i64,
}

sent_as!(StandingRow, "sent_standing");

impl StandingRow {
    pub(super) fn new(account_id: AccountId, standing: &Standing) -> Self {
        let Standing { totals, outlook, earned, former, forced, .. } = standing;
        let had = former.as_ref().and_then(|former| former.earned);
        Self {
            account_id: account_id.0,
            tier_id: standing.tier_id.as_str().to_owned(),
            since: standing.since.to_sqlx(),
            policy_version: standing.policy_version,
            changed_seq: standing.changed_seq,
            cause_seq: standing.cause_seq,
            qualifying_spend: totals.spend,
            margin: totals.margin,
            points: totals.points,
            purchases: totals.purchases,
            active_days: totals.active_days,
            referrals: totals.referrals,
            accepted: standing.accepted,
            enrolled_on: standing.enrolled_on.map(|day| day.to_sqlx()),
            ends_at: outlook.ends_at.map(|instant| instant.to_sqlx()),
            decides_at: outlook.decides_at.map(|instant| instant.to_sqlx()),
            is_earned: earned.is_some(),
            earned_from: earned.and_then(|window| window.from).map(|day| day.to_sqlx()),
            earned_until: earned.and_then(|window| window.until).map(|day| day.to_sqlx()),
            former_tier_id: former.as_ref().map(|former| former.tier_id.as_str().to_owned()),
            former_ends_at: former.as_ref().and_then(|former| former.ends_at).map(|instant| instant.to_sqlx()),
            former_is_earned: had.is_some(),
            former_earned_from: had.and_then(|window| window.from).map(|day| day.to_sqlx()),
            former_earned_until: had.and_then(|window| window.until).map(|day| day.to_sqlx()),
            forced: forced.as_ref().map(|forced| forced.force.as_str().to_owned()),
            forced_tier_id: forced.as_ref().map(|forced| forced.tier_id.as_str().to_owned()),
            forced_until: forced.as_ref().and_then(|forced| forced.ends_at).map(|instant| instant.to_sqlx()),
            forced_seq: forced.as_ref().map(|forced| forced.set_seq),
            hidden_tier_id: forced.as_ref().map(|forced| forced.hidden.as_str().to_owned()),
            last_seq: standing.last_seq,
        }
    }
}
