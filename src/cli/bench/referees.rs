//! Customers who were brought by others and have not purchased yet: each can convert a referral once.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use goldbook_api::v1::{Campaign, Conversion, CreateReferralCodeRequest, CreateReferralRequest, RecordActivityRequest};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::super::client::{Client, incomplete_answer};
use super::super::error::CliError;
use super::super::output::grouped;
use super::ground::Ground;

const CAMPAIGN: &str = "bring-a-friend";
/// What each side is paid.
const POINTS: i64 = 100;
/// How many are prepared at the same time.
const AT_A_TIME: u32 = 64;

/// The referees of all measurements, those who are used up included. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Referees {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The referrers.
    ground: Option<Ground>,
    /// One code of each referrer.
    codes: Vec<String>,
    /// Makes the ids of this run's referees differ from those of another.
    run: Uuid,
    /// How many were ever prepared, and how many of these were taken.
    prepared: AtomicU32,
    taken: AtomicU32,
}

impl Referees {
    /// No referees, and no way to make any.
    pub(super) fn none() -> Self {
        Self::new(None, Vec::new())
    }

    fn new(ground: Option<Ground>, codes: Vec<String>) -> Self {
        let (prepared, taken) = (AtomicU32::new(0), AtomicU32::new(0));
        Self { shared: Arc::new(Shared { ground, codes, run: Uuid::now_v7(), prepared, taken }) }
    }

    /// What the program needs so that referrals convert.
    pub(super) fn campaign() -> Campaign {
        Campaign {
            campaign_id: CAMPAIGN.to_owned(),
            display_name: "Bring a friend".to_owned(),
            conversion: Conversion::FirstPurchase.into(),
            referrer_points: POINTS,
            referee_points: POINTS,
            ..Campaign::default()
        }
    }

    /// Gives each customer of this ground a code to share.
    pub(super) async fn of(client: &Client, ground: Ground) -> Result<Self, CliError> {
        let mut codes = Vec::new();
        for number in 0..ground.customers {
            let request = CreateReferralCodeRequest {
                program_id: ground.program_id.clone(),
                customer_id: ground.customer(number),
                campaign_id: CAMPAIGN.to_owned(),
            };
            let answer = client.referrals().create_referral_code(request).await;
            let answer = answer.map_err(CliError::refused("cannot make a referral code"))?.into_inner();
            codes.push(answer.referral_code.ok_or_else(incomplete_answer)?.code);
        }
        Ok(Self::new(Some(ground), codes))
    }

    /// Sees to it that this many are left, who are spread over all referrers.
    pub(super) async fn prepare(&self, client: &Client, count: u32) -> Result<(), CliError> {
        let (from, taken) = (self.shared.prepared.load(Relaxed), self.shared.taken.load(Relaxed));
        let until = taken.min(from).saturating_add(count).max(from);
        eprintln!("preparing {} referrals", grouped(until - from));
        let mut running = JoinSet::new();
        for first in from..until.min(from.saturating_add(AT_A_TIME)) {
            let (client, referees) = (client.clone(), self.clone());
            running.spawn(async move {
                for number in (first..until).step_by(AT_A_TIME.try_into().unwrap_or(1)) {
                    referees.refer(&client, number).await?;
                }
                Ok(())
            });
        }
        while let Some(ended) = running.join_next().await {
            ended.map_err(|error| CliError::failed(format_args!("cannot prepare referrals: {error}")))??;
        }
        // What an earlier measurement asked for beyond its end was not there to be taken.
        self.shared.taken.store(taken.min(from), Relaxed);
        self.shared.prepared.store(until, Relaxed);
        Ok(())
    }

    async fn refer(&self, client: &Client, number: u32) -> Result<(), CliError> {
        let Shared { ground: Some(ground), codes, .. } = &*self.shared else { return Ok(()) };
        let place = usize::try_from(number).unwrap_or_default() % codes.len().max(1);
        let request = CreateReferralRequest {
            program_id: ground.program_id.clone(),
            referee_customer_id: self.name(number),
            code: codes.get(place).cloned().unwrap_or_default(),
            idempotency_key: "referred".to_owned(),
            enrol: true,
        };
        let answer = client.referrals().create_referral(request).await;
        answer.map(drop).map_err(CliError::refused("cannot make a referral"))
    }

    /// The first purchase of the next referee; none if no one is left.
    pub(super) fn next_purchase(&self) -> Option<RecordActivityRequest> {
        let number = self.shared.taken.fetch_add(1, Relaxed);
        let ground = self.shared.ground.as_ref().filter(|_| number < self.shared.prepared.load(Relaxed))?;
        Some(ground.purchase(self.name(number), "first".to_owned(), 10))
    }

    fn name(&self, number: u32) -> String {
        format!("referee-{}-{number}", self.shared.run)
    }
}
