//! The service and its Postgres are killed again and again, at points of a load that chance picks: what was acknowledged
//! is there once, nothing else is, and the audit finds nothing.
//!
//! `GOLDBOOK_TORTURE_KILLS` says how often, and `GOLDBOOK_TORTURE_SEED` repeats a run's choices, though not its timing.

mod load;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use goldbook::audit::{Asked, Extent};
use goldbook::embedded_postgres::{SERVICE_ROLE, connect_options_of_running, throwaway_dir};
use goldbook::programs::Catalogue;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::ConnectOptions as _;

use self::load::{Load, Worker};
use crate::audit::Told;
use crate::binary::{Serving, run};
use crate::harness::{Clients, create_customer, shop};
use crate::random::{Random, first_seed, number_from_environment};
use crate::wait::until;

/// How often something is killed unless the environment says otherwise.
const KILLS: u64 = 22;
/// How many calls are under way at a time.
const WORKERS: u64 = 8;

/// What is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    /// The service; its Postgres lives on until the next start takes over.
    Service,
    /// Every process of its Postgres; the service ends by itself.
    Postgres,
    ServiceThenPostgres,
    PostgresThenService,
}

impl Victim {
    const DEALT: [Self; 8] = [
        Self::Service,
        Self::Service,
        Self::Postgres,
        Self::ServiceThenPostgres,
        Self::ServiceThenPostgres,
        Self::PostgresThenService,
        Self::PostgresThenService,
        Self::PostgresThenService,
    ];

    const fn kills(self) -> u64 {
        match self {
            Self::Service | Self::Postgres => 1,
            Self::ServiceThenPostgres | Self::PostgresThenService => 2,
        }
    }
}

/// A service with a database of its own, in whichever incarnation.
struct Deployment {
    data_dir: PathBuf,
    serving: Serving,
    clients: Clients,
}

impl Deployment {
    async fn start(data_dir: &Path) -> Self {
        let serving = Serving::start_in(data_dir).await;
        let clients = Clients::connect(serving.address).await;
        Self { data_dir: data_dir.to_path_buf(), serving, clients }
    }

    /// Kills, and returns when the service is gone.
    async fn kill(self, victim: Victim) {
        match victim {
            Victim::Service => self.serving.kill().await,
            Victim::Postgres => {
                kill_postgres(&self.data_dir);
                let (status, _) = self.serving.wait().await;
                assert!(!status.success(), "the service ended in order although its database was gone");
            }
            Victim::ServiceThenPostgres => {
                self.serving.kill().await;
                kill_postgres(&self.data_dir);
            }
            Victim::PostgresThenService => {
                kill_postgres(&self.data_dir);
                self.serving.kill().await;
            }
        }
    }

    async fn assert_sound(&self) -> u64 {
        let database = connect_options_of_running(&self.data_dir, SERVICE_ROLE).unwrap();
        let mut told = Told::default();
        let capabilities =
            goldbook::capabilities::capabilities(&Catalogue::default(), goldbook::capabilities::ErasureKeys::default());
        let asked = Asked { extent: Extent::Full, repair: false };
        let tally = goldbook::audit::audit(&database, &capabilities, asked, &mut told).await.unwrap().record.tally;
        assert!(told.differences.is_empty(), "{:#?}", told.differences);
        tally.entries
    }

    /// How many commands with a key were carried out for customers.
    async fn count_commands(&self) -> u64 {
        let database = connect_options_of_running(&self.data_dir, SERVICE_ROLE).unwrap();
        let mut connection = database.connect().await.unwrap();
        let select = "SELECT count(*) FROM ledger_entries WHERE key_hash IS NOT NULL AND kind <> 'program_applied'";
        let count: i64 = sqlx::query_scalar(select).fetch_one(&mut connection).await.unwrap();
        u64::try_from(count).unwrap()
    }
}

/// Kills every process of the Postgres in this data directory, each by its own number.
pub(super) fn kill_postgres(data_dir: &Path) {
    let cluster = data_dir.join("postgres").canonicalize().unwrap();
    let pid_file = std::fs::read_to_string(cluster.join("postmaster.pid")).unwrap();
    let postmaster: i32 = pid_file.lines().next().unwrap().parse().unwrap();
    // The postmaster first, so that it does not tidy up after its children.
    let works_here = |pid: i32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == cluster);
    assert!(works_here(postmaster), "{postmaster} is not the postmaster of {}", cluster.display());
    let children = children_of(postmaster);
    for pid in std::iter::once(postmaster).chain(children).filter(|pid| works_here(*pid)) {
        // One that has ended meanwhile is as good as killed.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn children_of(parent: i32) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name in brackets: the state, then the parent.
        let parent_of = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<i32>().ok());
        parent_of == Some(parent)
    };
    pids.filter(is_child).collect()
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how long a torture runs")]
async fn whatever_is_killed_each_acknowledged_write_is_there_once() {
    let seed = number_from_environment("GOLDBOOK_TORTURE_SEED").unwrap_or_else(first_seed);
    let wanted = number_from_environment("GOLDBOOK_TORTURE_KILLS").unwrap_or(KILLS);
    println!("GOLDBOOK_TORTURE_SEED={seed}");
    let mut random = Random::of_seed(seed);
    let directory = throwaway_dir().unwrap();
    let data_dir = directory.path().join("data");
    let mut deployment = Deployment::start(&data_dir).await;
    deployment.clients.apply(shop()).await;
    for customer in load::CUSTOMERS {
        deployment.clients.customers().create_customer(create_customer(customer, "enrol")).await.unwrap();
    }
    let load = Arc::new(Load::default());
    let mut workers: Vec<Worker> = (0..WORKERS).map(|number| Worker::new(number, seed ^ number)).collect();
    let (begun, mut kills, mut round) = (Instant::now(), 0, 0_u64);
    while kills < wanted {
        round += 1;
        let target = load.acknowledged() + random.below(160);
        let running: Vec<_> = workers
            .drain(..)
            .map(|worker| tokio::spawn(worker.run(deployment.clients.clone(), load.clone())))
            .collect();
        until("the load", async || (load.acknowledged() >= target).then_some(())).await;
        let victim = *random.one_of(&Victim::DEALT);
        deployment.kill(victim).await;
        kills += victim.kills();
        for worker in running {
            workers.push(worker.await.unwrap());
        }
        deployment = Deployment::start(&data_dir).await;
        let mut unanswered = 0;
        for worker in &mut workers {
            unanswered += u64::from(worker.retry(&deployment.clients, &load).await);
        }
        load.assert_kept(&deployment.clients).await;
        let entries = deployment.assert_sound().await;
        println!(
            "round {round}: {victim:?} killed, {kills} kills, {} acknowledged, {unanswered} unanswered, {entries} entries, {:.0?}",
            load.acknowledged(),
            begun.elapsed()
        );
    }
    load.assert_all_kept(&deployment.clients).await;
    assert_eq!(deployment.count_commands().await, load.written() + load::CUSTOMERS.len() as u64);
    let audited = run(&["audit", "--data-dir", data_dir.to_str().unwrap()]).await;
    assert!(
        audited.status.success() && audited.stdout.contains("nothing differs"),
        "{}{}",
        audited.stdout,
        audited.stderr
    );
    deployment.serving.signal(Signal::SIGTERM);
    let (status, _) = deployment.serving.wait().await;
    assert!(status.success(), "{status}");
}
