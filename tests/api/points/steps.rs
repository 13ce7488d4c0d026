//! Random steps, what they mean where a customer stands, and the calls they make.

use goldbook::ids::{AccountId, EntryId};
use goldbook::proto;
use goldbook::proto::{CalendarPeriod, Clawback, Pocket};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tonic::Status;

use super::model::{Expire, Outcome, Purse, Vest};
use super::{write_expiry, write_vesting};
use crate::harness::{SHOP, Service, grant_reward, instant, purchase, reason, usd};

/// How many of the points that there are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    One,
    /// In 256ths.
    Share(u8),
    All,
    Over,
}

impl Part {
    /// A number from 1 on.
    pub(super) fn of(self, whole: i64) -> i64 {
        match self {
            Self::One => 1,
            Self::Share(share) => (whole * i64::from(share) / 256).max(1),
            Self::All => whole.max(1),
            Self::Over => whole + 1,
        }
    }
}

/// A call about one customer; picks are taken modulo what there is.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    Grant { points: i64, vest: Option<u8>, expire: Option<u8> },
    Vest(u8),
    Redeem(Part),
    Hold(Part, Option<&'static str>),
    Capture(u8, Option<Part>),
    Release(u8),
    Reverse { pick: u16, part: Option<Part>, clawback: Option<Clawback>, hours: Option<i64> },
    Adjust { up: bool, part: Part, expire: Option<u8> },
    Purchase { cents: i64, history_hours: Option<i64> },
    Refund { pick: u8, part: Part, clawback: Option<Clawback> },
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        1 => Just(Part::One),
        6 => any::<u8>().prop_map(Part::Share),
        2 => Just(Part::All),
        1 => Just(Part::Over),
    ]
}

fn clawback() -> impl Strategy<Value = Option<Clawback>> {
    prop::option::of(prop::sample::select(vec![Clawback::UnspentOnly, Clawback::WithinBalance, Clawback::AllowDebt]))
}

pub(super) fn deed() -> impl Strategy<Value = Deed> {
    let choice = || prop::option::weighted(0.4, any::<u8>());
    let lasts = prop::option::of(prop::sample::select(vec!["PT1H", "P3D", "P40D"]));
    let cents = prop_oneof![Just(0), 1..90_000_i64, (1..50_i64).prop_map(|points| points * 100)];
    let reverse = (any::<u16>(), prop::option::of(part()), clawback(), prop::option::weighted(0.3, -5..2_000_i64));
    prop_oneof![
        8 => (1..1_000_i64, choice(), choice()).prop_map(|(points, vest, expire)| Deed::Grant { points, vest, expire }),
        2 => any::<u8>().prop_map(Deed::Vest),
        6 => part().prop_map(Deed::Redeem),
        4 => (part(), lasts).prop_map(|(part, lasts)| Deed::Hold(part, lasts)),
        3 => (any::<u8>(), prop::option::of(part())).prop_map(|(pick, part)| Deed::Capture(pick, part)),
        2 => any::<u8>().prop_map(Deed::Release),
        10 => reverse.prop_map(|(pick, part, clawback, hours)| Deed::Reverse { pick, part, clawback, hours }),
        3 => (any::<bool>(), part(), choice()).prop_map(|(up, part, expire)| Deed::Adjust { up, part, expire }),
        6 => (cents, prop::option::weighted(0.2, 0..900_i64))
            .prop_map(|(cents, history_hours)| Deed::Purchase { cents, history_hours }),
        4 => (any::<u8>(), part(), clawback()).prop_map(|(pick, part, clawback)| Deed::Refund { pick, part, clawback }),
    ]
}

/// A request of any method that writes.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Grant(proto::GrantRewardRequest),
    Vest(proto::VestRewardRequest),
    Redeem(proto::RedeemPointsRequest),
    Hold(proto::HoldPointsRequest),
    Capture(proto::CapturePointsRequest),
    Release(proto::ReleasePointsRequest),
    Reverse(proto::ReverseEntryRequest),
    Adjust(proto::AdjustPointsRequest),
    Record(Box<proto::RecordActivityRequest>),
}

/// What a call was answered: its numbers, whether it is a repetition, and all of it as text.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub numbers: Vec<i64>,
    pub replayed: bool,
    pub text: String,
}

pub(super) fn seq_of(entry_id: &str) -> i64 {
    entry_id.parse::<EntryId>().unwrap().account_seq
}

impl Call {
    /// Sends it; a refusal is told by its reason.
    pub(super) async fn send(&self, service: &Service) -> Result<Answer, String> {
        macro_rules! answer {
            ($response:expr, $reply:ident, $repeats:ident, $numbers:expr) => {{
                let mut $reply = $response.await.map_err(|status: Status| reason(&status))?.into_inner();
                let replayed = std::mem::take(&mut $reply.$repeats);
                let numbers: Vec<i64> = $numbers;
                Ok(Answer { numbers, replayed, text: format!("{:?}", $reply) })
            }};
        }
        let mut rewards = service.rewards();
        match self.clone() {
            Self::Grant(call) => answer!(rewards.grant_reward(call), reply, replayed, {
                let reward = reply.reward.clone().unwrap();
                let Some(proto::reward::Content::Points(points)) = reward.content else { panic!("{reward:?}") };
                vec![seq_of(&reward.reward_id), points, reward.points_uncapped]
            }),
            // To be asked again changes nothing, whoever asks.
            Self::Vest(call) => {
                let reply = rewards.vest_reward(call).await.map_err(|status| reason(&status))?.into_inner();
                Ok(Answer { numbers: vec![reply.already_vested.into()], replayed: false, text: String::new() })
            }
            Self::Redeem(call) => answer!(rewards.redeem_points(call), reply, replayed, {
                let spent = reply.redemption.as_ref().unwrap();
                vec![seq_of(&spent.redemption_id), spent.points]
            }),
            Self::Hold(call) => answer!(rewards.hold_points(call), reply, replayed, {
                let hold = reply.hold.as_ref().unwrap();
                vec![seq_of(&hold.hold_id), hold.points]
            }),
            Self::Capture(call) => answer!(rewards.capture_points(call), reply, replayed, {
                vec![reply.redemption.as_ref().unwrap().points, reply.points_released, reply.points_expired]
            }),
            Self::Release(call) => answer!(rewards.release_points(call), reply, replayed, {
                vec![reply.points_released, reply.points_expired]
            }),
            Self::Reverse(call) => answer!(rewards.reverse_entry(call), reply, replayed, {
                vec![reply.points_reversed, reply.points_returned, reply.points_expired, reply.points_owed]
            }),
            Self::Adjust(call) => answer!(rewards.adjust_points(call), reply, replayed, {
                vec![seq_of(&reply.entry_id), reply.points, reply.points_repaid]
            }),
            Self::Record(call) => {
                let is_purchase = matches!(call.activity, Some(proto::record_activity_request::Activity::Purchase(_)));
                answer!(service.activities().record_activity(*call), reply, replayed, {
                    let bought = vec![reply.points_earned, reply.points_uncapped];
                    if is_purchase { bought } else { vec![reply.points_taken_back, reply.points_owed] }
                })
            }
        }
    }
}

/// Whom a call is about, and where they stand.
pub(super) struct Scene<'a> {
    pub purse: &'a mut Purse,
    pub clock: Timestamp,
    pub account_id: AccountId,
    pub customer_id: String,
    /// Names the call, never used before.
    pub key: String,
}

impl Scene<'_> {
    fn entry_id(&self, account_seq: i64) -> String {
        EntryId { account_id: self.account_id, account_seq }.to_string()
    }

    fn vest(&self, choice: u8) -> Vest {
        match choice % 5 {
            0 => Vest::Now,
            1 => Vest::At(self.clock + SignedDuration::from_hours(i64::from(choice) - 20)),
            2 => Vest::After("P1M"),
            3 => Vest::After("PT30H"),
            _ => Vest::Event("P10D"),
        }
    }

    fn expire(&self, choice: u8) -> Expire {
        match choice % 5 {
            0 => Expire::Never,
            1 => Expire::At(self.clock + SignedDuration::from_hours(5 * (i64::from(choice) - 10))),
            2 => Expire::After("P1M", CalendarPeriod::Unspecified),
            3 => Expire::After("PT48H", CalendarPeriod::Unspecified),
            _ => Expire::After("P1W", CalendarPeriod::Quarter),
        }
    }

    /// The model as it is by now, without a trace of having looked.
    fn now(&self) -> Purse {
        let mut purse = self.purse.clone();
        purse.apply_dues(self.clock);
        purse
    }

    /// The call that a deed makes here, and what it must answer; nothing, if there is nothing to pick from.
    pub(super) fn play(&mut self, deed: &Deed) -> Option<(Call, Outcome)> {
        let (program_id, customer_id, idempotency_key) = (SHOP.to_owned(), self.customer_id.clone(), self.key.clone());
        let (clock, note) = (self.clock, String::new());
        Some(match deed {
            Deed::Grant { points, vest, expire } => {
                let vest = vest.map(|choice| self.vest(choice));
                let expire = expire.map(|choice| self.expire(choice));
                let (vesting, expiry) = (vest.map(write_vesting), expire.map(write_expiry));
                let plain = grant_reward(&customer_id, *points, &idempotency_key);
                let call = proto::GrantRewardRequest { vesting, expiry, ..plain };
                (Call::Grant(call), self.purse.grant(*points, vest, expire, clock))
            }
            Deed::Vest(pick) => {
                let seq = pick_from(&self.purse.lots, u16::from(*pick))?.seq;
                let reward_id = self.entry_id(seq);
                let call = proto::VestRewardRequest { program_id, customer_id, reward_id };
                (Call::Vest(call), self.purse.vest_reward(seq, clock))
            }
            Deed::Redeem(part) => {
                let points = self.spendable(*part);
                let call = proto::RedeemPointsRequest { program_id, customer_id, points, note, idempotency_key };
                (Call::Redeem(call), self.purse.redeem(points, clock))
            }
            Deed::Hold(part, lasts) => {
                let points = self.spendable(*part);
                let end = lasts.map(|lasts| proto::hold_points_request::End::EndsAfter(lasts.to_owned()));
                let call = proto::HoldPointsRequest { program_id, customer_id, points, end, note, idempotency_key };
                (Call::Hold(call), self.purse.hold(points, *lasts, clock))
            }
            Deed::Capture(pick, part) => {
                let hold = pick_from(&self.purse.holds, u16::from(*pick))?.clone();
                let held = hold.parts.iter().map(|(_, points)| points).sum();
                let points = part.map_or(0, |part| part.of(held));
                let hold_id = self.entry_id(hold.seq);
                let call = proto::CapturePointsRequest { program_id, customer_id, hold_id, points, idempotency_key };
                (Call::Capture(call), self.purse.end_hold(hold.seq, Some(points), clock))
            }
            Deed::Release(pick) => {
                let seq = pick_from(&self.purse.holds, u16::from(*pick))?.seq;
                let hold_id = self.entry_id(seq);
                let call = proto::ReleasePointsRequest { program_id, customer_id, hold_id, idempotency_key };
                (Call::Release(call), self.purse.end_hold(seq, None, clock))
            }
            Deed::Reverse { pick, part, clawback, hours } => self.reverse(*pick, *part, *clawback, *hours)?,
            Deed::Adjust { up, part, expire } => self.adjust(*up, *part, *expire),
            Deed::Purchase { cents, history_hours } => {
                let happened_at = clock - SignedDuration::from_hours(history_hours.unwrap_or(0));
                let amount = format!("{}.{:02}", cents / 100, cents % 100);
                let call = purchase(&customer_id, &idempotency_key, &amount, happened_at);
                let call = proto::RecordActivityRequest { as_history: history_hours.is_some(), ..call };
                (Call::Record(call.into()), self.purse.purchase(&idempotency_key, *cents, happened_at))
            }
            Deed::Refund { pick, part, clawback } => self.refund(*pick, *part, *clawback)?,
        })
    }

    /// A spend that the program's limits mostly allow.
    fn spendable(&self, part: Part) -> i64 {
        let points = part.of(self.now().sum(Pocket::Available));
        match (self.purse.rules.limits, part) {
            (Some((_, step, _)), Part::Share(_)) => (points / step * step).max(1),
            _ => points,
        }
    }

    fn reverse(
        &mut self,
        pick: u16,
        part: Option<Part>,
        clawback: Option<Clawback>,
        hours: Option<i64>,
    ) -> Option<(Call, Outcome)> {
        // Mostly an entry that can be undone.
        let moves: Vec<i64> =
            (1..).zip(&self.purse.entries).filter(|(_, entry)| entry.points > 0).map(|(seq, _)| seq).collect();
        let seq = *pick_from(&moves, pick)?;
        let entry = &self.purse.entries[usize::try_from(seq - 1).unwrap()];
        let points = part.map_or(0, |part| part.of(entry.points - entry.reversed));
        let expires = hours.map(|hours| self.clock + SignedDuration::from_hours(hours));
        let call = proto::ReverseEntryRequest {
            program_id: SHOP.to_owned(),
            customer_id: self.customer_id.clone(),
            entry_id: self.entry_id(seq),
            points,
            clawback: clawback.map_or(0, Into::into),
            expires_at: expires.map(instant),
            reason: proto::CorrectionReason::Correction.into(),
            note: String::new(),
            idempotency_key: self.key.clone(),
        };
        Some((Call::Reverse(call), self.purse.reverse(seq, points, clawback, expires, self.clock)))
    }

    fn adjust(&mut self, up: bool, part: Part, expire: Option<u8>) -> (Call, Outcome) {
        let points = part.of(self.now().sum(Pocket::Available));
        let expire = expire.filter(|_| up).map(|choice| self.expire(choice));
        let change = if up {
            proto::adjust_points_request::Change::PointsUp(points)
        } else {
            proto::adjust_points_request::Change::PointsDown(points)
        };
        let call = proto::AdjustPointsRequest {
            program_id: SHOP.to_owned(),
            customer_id: self.customer_id.clone(),
            change: Some(change),
            expiry: expire.map(write_expiry),
            reason: proto::CorrectionReason::Other.into(),
            author: "clerk-7".to_owned(),
            note: String::new(),
            idempotency_key: self.key.clone(),
        };
        (Call::Adjust(call), self.purse.adjust(if up { points } else { -points }, expire, self.clock))
    }

    fn refund(&mut self, pick: u8, part: Part, clawback: Option<Clawback>) -> Option<(Call, Outcome)> {
        let ids: Vec<String> = self.purse.purchases.keys().cloned().collect();
        let id = pick_from(&ids, u16::from(pick))?.clone();
        let bought = &self.purse.purchases[&id];
        let cents = part.of(bought.cents - bought.refunded);
        let refund = proto::Refund {
            purchase_activity_id: id.clone(),
            amount: Some(usd(&format!("{}.{:02}", cents / 100, cents % 100))),
            clawback: clawback.map_or(0, Into::into),
        };
        let call = proto::RecordActivityRequest {
            activity: Some(proto::record_activity_request::Activity::Refund(refund)),
            ..purchase(&self.customer_id, &self.key, "0.00", self.clock)
        };
        Some((Call::Record(call.into()), self.purse.refund(&id, cents, clawback, self.clock)))
    }
}

fn pick_from<T>(items: &[T], pick: u16) -> Option<&T> {
    items.get(usize::from(pick) % items.len().max(1))
}
