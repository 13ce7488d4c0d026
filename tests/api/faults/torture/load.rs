//! A load of writes that keeps book of what was answered.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use goldbook::proto;
use tonic::{Code, Status};

use crate::harness::{Clients, SHOP, grant_reward};
use crate::random::Random;

pub(super) const CUSTOMERS: [&str; 4] = ["anna", "ben", "carl", "dora"];

/// A write, to be sent as often as it takes.
#[derive(Clone, Debug)]
enum Call {
    Grant(proto::GrantRewardRequest),
    Redeem(proto::RedeemPointsRequest),
    Hold(proto::HoldPointsRequest),
    Capture(proto::CapturePointsRequest),
    Release(proto::ReleasePointsRequest),
    Reverse(proto::ReverseEntryRequest),
}

/// What a write is known by, and whether it was there before.
#[derive(Clone, Debug)]
struct Answer {
    /// All that was answered but whether it was a repetition.
    content: String,
    replayed: bool,
    /// The entry that it wrote, where that can be used further on.
    entry_id: String,
}

impl Call {
    async fn send(&self, clients: &Clients) -> Result<Answer, Status> {
        /// Calls, and tells the answer without the flag by which a repetition differs.
        macro_rules! answer {
            ($method:ident, $request:expr, |$response:ident| $entry_id:expr) => {{
                let mut $response = clients.rewards().$method($request.clone()).await?.into_inner();
                let replayed = std::mem::take(&mut $response.replayed);
                Ok(Answer { content: format!("{:?}", $response), replayed, entry_id: $entry_id })
            }};
        }
        match self {
            Self::Grant(request) => {
                answer!(grant_reward, request, |response| { response.reward.as_ref().unwrap().reward_id.clone() })
            }
            Self::Redeem(request) => answer!(redeem_points, request, |response| {
                response.redemption.as_ref().unwrap().redemption_id.clone()
            }),
            Self::Hold(request) => {
                answer!(hold_points, request, |response| response.hold.as_ref().unwrap().hold_id.clone())
            }
            Self::Capture(request) => answer!(capture_points, request, |response| String::new()),
            Self::Release(request) => answer!(release_points, request, |response| String::new()),
            Self::Reverse(request) => answer!(reverse_entry, request, |response| String::new()),
        }
    }
}

/// What was answered so far.
#[derive(Debug, Default)]
pub(super) struct Load {
    count: AtomicU64,
    /// Writes that were acknowledged and have not been looked for since.
    fresh: Mutex<Vec<(Call, String)>>,
    seen: Mutex<Vec<(Call, String)>>,
}

impl Load {
    /// How many calls were answered, refusals included.
    pub(super) fn acknowledged(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// How many were carried out.
    pub(super) fn written(&self) -> u64 {
        (self.fresh.lock().unwrap().len() + self.seen.lock().unwrap().len()) as u64
    }

    fn note(&self, call: &Call, outcome: &Outcome) {
        if let Outcome::Written(answer) = outcome {
            self.fresh.lock().unwrap().push((call.clone(), answer.content.clone()));
        }
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Whatever was acknowledged since this was last asked is there, as it was answered.
    pub(super) async fn assert_kept(&self, clients: &Clients) {
        let fresh = std::mem::take(&mut *self.fresh.lock().unwrap());
        assert_replayed(clients, &fresh).await;
        self.seen.lock().unwrap().extend(fresh);
    }

    /// Whatever was ever acknowledged is there.
    pub(super) async fn assert_all_kept(&self, clients: &Clients) {
        self.assert_kept(clients).await;
        let seen = self.seen.lock().unwrap().clone();
        assert_replayed(clients, &seen).await;
    }
}

/// Each is a repetition of what was done before, and answered the same way.
async fn assert_replayed(clients: &Clients, calls: &[(Call, String)]) {
    for some in calls.chunks(64) {
        let asked = some.iter().map(|(call, _)| call.send(clients));
        for ((call, content), again) in some.iter().zip(futures_util::future::join_all(asked).await) {
            let again = again.unwrap_or_else(|status| panic!("{call:?} was acknowledged, and now: {status:?}"));
            assert!(again.replayed, "{call:?} was acknowledged and lost");
            assert_eq!(&again.content, content, "{call:?}");
        }
    }
}

/// How a call ended.
enum Outcome {
    Written(Answer),
    /// The rules refuse it: nothing was written.
    Refused,
    /// Nobody knows.
    Unanswered,
}

/// Calls one after the other, until one is not answered.
pub(super) struct Worker {
    name: String,
    random: Random,
    calls: u64,
    /// The last call, if it was not answered.
    pending: Option<Call>,
    holds: Vec<(String, String)>,
    /// Entries that can be undone.
    entries: Vec<(String, String)>,
}

impl Worker {
    pub(super) fn new(number: u64, seed: u64) -> Self {
        let random = Random::of_seed(seed);
        Self { name: format!("w{number}"), random, calls: 0, pending: None, holds: Vec::new(), entries: Vec::new() }
    }

    /// Calls until the service is gone.
    pub(super) async fn run(mut self, clients: Clients, load: std::sync::Arc<Load>) -> Self {
        loop {
            let call = self.next_call();
            if !self.carry_out(call, &clients, &load).await {
                return self;
            }
        }
    }

    /// Calls again what was not answered; whether there was anything.
    pub(super) async fn retry(&mut self, clients: &Clients, load: &Load) -> bool {
        let Some(call) = self.pending.take() else { return false };
        assert!(self.carry_out(call.clone(), clients, load).await, "{call:?} is not answered by a service that runs");
        true
    }

    async fn carry_out(&mut self, call: Call, clients: &Clients, load: &Load) -> bool {
        let outcome = match call.send(clients).await {
            Ok(answer) => Outcome::Written(answer),
            Err(status) => match status.code() {
                Code::FailedPrecondition => Outcome::Refused,
                Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal => Outcome::Unanswered,
                _ => panic!("{call:?}: {status:?}"),
            },
        };
        if let Outcome::Unanswered = outcome {
            self.pending = Some(call);
            return false;
        }
        load.note(&call, &outcome);
        if let Outcome::Written(Answer { entry_id, .. }) = outcome {
            match call {
                Call::Hold(request) => self.holds.push((request.customer_id, entry_id)),
                Call::Grant(request) => self.entries.push((request.customer_id, entry_id)),
                Call::Redeem(request) => self.entries.push((request.customer_id, entry_id)),
                Call::Capture(_) | Call::Release(_) | Call::Reverse(_) => {}
            }
        }
        true
    }

    fn next_call(&mut self) -> Call {
        self.calls += 1;
        let idempotency_key = format!("{}-{}", self.name, self.calls);
        let (program_id, customer_id) = (SHOP.to_owned(), (*self.random.one_of(&CUSTOMERS)).to_owned());
        let points = 1 + i64::try_from(self.random.below(50)).unwrap();
        match self.random.below(10) {
            0..=2 => {
                let note = String::new();
                Call::Redeem(proto::RedeemPointsRequest { program_id, customer_id, points, note, idempotency_key })
            }
            3 => Call::Hold(proto::HoldPointsRequest {
                program_id,
                customer_id,
                points,
                idempotency_key,
                ..Default::default()
            }),
            4 if !self.holds.is_empty() => {
                let place = usize::try_from(self.random.below(self.holds.len() as u64)).unwrap();
                let (customer_id, hold_id) = self.holds.swap_remove(place);
                if self.random.below(3) == 0 {
                    Call::Release(proto::ReleasePointsRequest { program_id, customer_id, hold_id, idempotency_key })
                } else {
                    let points = i64::try_from(self.random.below(2)).unwrap();
                    Call::Capture(proto::CapturePointsRequest {
                        program_id,
                        customer_id,
                        hold_id,
                        points,
                        idempotency_key,
                    })
                }
            }
            5 if !self.entries.is_empty() => {
                let (customer_id, entry_id) = self.random.one_of(&self.entries).clone();
                Call::Reverse(proto::ReverseEntryRequest {
                    program_id,
                    customer_id,
                    entry_id,
                    points: i64::try_from(self.random.below(2)).unwrap(),
                    reason: proto::CorrectionReason::Correction.into(),
                    idempotency_key,
                    ..Default::default()
                })
            }
            _ => Call::Grant(grant_reward(&customer_id, points, &idempotency_key)),
        }
    }
}
