//! The grounds of all workloads at one service.

use std::num::NonZeroU32;

use super::super::client::Client;
use super::super::error::CliError;
use super::super::program;
use super::ground::Ground;
use super::referees::Referees;
use super::workload::Workload;

/// How many open lots customers with few and with many have.
pub(super) const FEW_LOTS: u32 = 5;
pub(super) const MANY_LOTS: u32 = 400;
/// How many lots other customers begin with.
const USUAL_LOTS: u32 = 4;
/// How many customers with few and with many lots there are, how many referrers, and how many customers of the caller who is
/// measured beside a flood; fewer if there are fewer customers.
const SPECIAL_CUSTOMERS: u32 = 1_000;
/// How many entries each customer of a large ledger has.
const ENTRIES_IN_LARGE: u64 = 10;

/// The grounds of one service.
#[derive(Clone)]
pub(super) struct Grounds {
    usual: Ground,
    few: Ground,
    many: Ground,
    /// Whom no workload but those of fairness calls about.
    apart: Ground,
    pub(super) referees: Referees,
}

impl Grounds {
    /// Applies the programs, enrols the customers that these workloads need, and gives them points. What is there
    /// already stays as it is.
    pub(super) async fn prepare(
        client: &Client,
        program_id: &str,
        customers: NonZeroU32,
        workloads: &[Workload],
    ) -> Result<Self, CliError> {
        let special = customers.get().min(SPECIAL_CUSTOMERS);
        let ground = |prefix, customers| Ground { program_id: program_id.to_owned(), prefix, customers };
        let (usual, few, many) = (ground("bench", customers.get()), ground("few", special), ground("many", special));
        let apart = ground("apart", special);
        program::send(client, program::request(usual.program(Vec::new()))).await?;
        usual.enrol(client).await?;
        usual.fund(client, USUAL_LOTS).await?;
        if workloads.contains(&Workload::RedeemMany) {
            for (ground, lots) in [(&few, FEW_LOTS), (&many, MANY_LOTS)] {
                ground.enrol(client).await?;
                ground.fund(client, lots).await?;
            }
        }
        if workloads.contains(&Workload::Quiet) {
            apart.enrol(client).await?;
        }
        let sharing = Ground { program_id: format!("{program_id}-referrals"), prefix: "bench", customers: special };
        let mut referees = Referees::none();
        if workloads.contains(&Workload::Conversion) {
            // A program of its own: others are measured without campaigns.
            program::send(client, program::request(sharing.program(vec![Referees::campaign()]))).await?;
            sharing.enrol(client).await?;
            referees = Referees::of(client, sharing).await?;
        }
        Ok(Self { usual, few, many, apart, referees })
    }

    /// Fills a ledger: enrols customers, and grants until each has ten entries. Returns how many entries there are.
    pub(super) async fn fill(
        client: &Client,
        program_id: &str,
        customers: NonZeroU32,
    ) -> Result<(Self, u64), CliError> {
        let grounds = Self::usual_alone(program_id, customers);
        let ground = &grounds.usual;
        program::send(client, program::request(ground.program(Vec::new()))).await?;
        let enrolled = ground.enrol(client).await?;
        let each = ENTRIES_IN_LARGE.saturating_sub(enrolled / u64::from(customers.get()));
        let granted = ground.fund(client, each.try_into().unwrap_or(0)).await?;
        Ok((grounds, enrolled + granted))
    }

    /// Enrols very many customers with some purchases. Returns how many entries there are.
    pub(super) async fn fill_with_customers(
        client: &Client,
        program_id: &str,
        customers: NonZeroU32,
    ) -> Result<(Self, u64), CliError> {
        let grounds = Self::usual_alone(program_id, customers);
        let entries = grounds.usual.fill_with_purchases(client).await?;
        Ok((grounds, entries))
    }

    fn usual_alone(program_id: &str, customers: NonZeroU32) -> Self {
        let ground = Ground { program_id: program_id.to_owned(), prefix: "bench", customers: customers.get() };
        let [usual, few, many, apart] = [ground.clone(), ground.clone(), ground.clone(), ground];
        Self { usual, few, many, apart, referees: Referees::none() }
    }

    /// Where this workload's customers are.
    pub(super) fn of(&self, workload: Workload) -> Ground {
        match workload {
            Workload::RedeemFew => self.few.clone(),
            Workload::RedeemMany => self.many.clone(),
            Workload::Quiet | Workload::BesideCalls | Workload::BesideStreams => self.apart.clone(),
            Workload::GrantOne => Ground { customers: 1, ..self.usual.clone() },
            Workload::Grant
            | Workload::GrantKeyed
            | Workload::GrantUnmeasured
            | Workload::Pgbench
            | Workload::Redeem
            | Workload::Tier
            | Workload::TierKeyed
            | Workload::TierMany
            | Workload::Echo
            | Workload::Purchase
            | Workload::Conversion
            | Workload::UseBenefit
            | Workload::Stream
            | Workload::Raw
            | Workload::GrantEmpty
            | Workload::GrantLarge
            | Workload::StreamEmpty
            | Workload::StreamLarge
            | Workload::Simulate
            | Workload::CountTiers => self.usual.clone(),
        }
    }
}
