//! A way through all customers of a program, as `goldbook program diff` and `goldbook tiers` ask the service for it.

use std::time::Instant;

use goldbook_api::v1::ListTierStatisticsRequest;
use tonic::Status;

use super::super::client::Client;
use super::super::refusal::Refusal;
use super::ground::Ground;
use super::sample::Sample;
use super::workload::Workload;

/// Where a way came to its end.
#[derive(Debug, Default)]
struct End {
    customers: i64,
    /// The most memory that was read on the way.
    most_memory: Option<u64>,
}

/// Goes through all customers once, and tells how many a second that is. `memory` is read whenever the service tells how
/// far it has come, and `meter` before and after.
pub(super) async fn walk<T>(
    workload: Workload,
    client: &Client,
    ground: &Ground,
    memory: impl Fn() -> Option<u64>,
    meter: impl Fn() -> T,
) -> (Sample, [T; 2]) {
    let (before, begun) = (meter(), Instant::now());
    let way = if workload == Workload::CountTiers {
        count_tiers(client, ground, memory).await
    } else {
        simulate(client, ground, memory).await
    };
    let seconds = begun.elapsed().as_secs_f64();
    let readings = [before, meter()];
    let mut sample = Sample::new(workload, 1, 0.0, 0);
    match way {
        Ok(end) if end.customers == i64::from(ground.customers) => {
            sample.completed = u64::from(ground.customers);
            sample.per_second = f64::from(ground.customers) / seconds;
            sample.most_memory = end.most_memory;
        }
        Ok(end) => {
            sample.errors.insert(format!("{} customers in place of {}", end.customers, ground.customers), 1);
        }
        Err(status) => {
            sample.errors.insert(Refusal::from_status(&status).summary(), 1);
        }
    }
    (sample, readings)
}

async fn simulate(client: &Client, ground: &Ground, memory: impl Fn() -> Option<u64>) -> Result<End, Status> {
    let mut stream = client.tiers().simulate_tier_policy(ground.simulate()).await?.into_inner();
    let mut end = End::default();
    while let Some(message) = stream.message().await? {
        end.most_memory = end.most_memory.max(memory());
        end.customers = message.simulation.map_or(end.customers, |told| told.customers);
    }
    Ok(end)
}

async fn count_tiers(client: &Client, ground: &Ground, memory: impl Fn() -> Option<u64>) -> Result<End, Status> {
    let request =
        ListTierStatisticsRequest { program_id: ground.program_id.clone(), ..ListTierStatisticsRequest::default() };
    let mut stream = client.tiers().list_tier_statistics(request).await?.into_inner();
    let mut end = End::default();
    while let Some(message) = stream.message().await? {
        end.most_memory = end.most_memory.max(memory());
        end.customers = message.statistics.map_or(end.customers, |told| told.customers);
    }
    Ok(end)
}
