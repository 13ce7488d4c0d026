//! One run: what it starts, measures and stops.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::super::client::{Client, Credential, endpoint};
use super::super::error::CliError;
use super::super::output::grouped;
use super::args::BenchArgs;
use super::child::{EchoServer, Service};
use super::cpu::{self, Watched};
use super::fairness::OtherCaller;
use super::grounds::Grounds;
use super::load::{Load, Window, connect};
use super::memory;
use super::pgbench::Pgbench;
use super::plan::Stage;
use super::record::{Filled, Settings};
use super::report::Report;
use super::trips::Counter;
use super::workload::{Site, Workload};

/// How long round trips are counted at most, for each workload.
const LONGEST_COUNT: Duration = Duration::from_secs(3);
/// For how long very many customers are read before anything is measured there, for each of them.
const FIRST_LOOK_AT_A_CUSTOMER: Duration = Duration::from_micros(60);

/// What was started for the run and must be stopped.
#[derive(Default)]
pub(super) struct Bench {
    service: Option<Service>,
    echo: Option<EchoServer>,
    /// The one that asks for API keys, on the database of the first.
    keyed: Option<Service>,
    /// The one whose metrics nobody gets, on the same database.
    unmeasured: Option<Service>,
    large: Option<Service>,
    many_customers: Option<Service>,
    /// Another in each round.
    empty: Option<Service>,
    /// The one whose round trips are counted.
    second: Option<Service>,
    pgbench: Option<Pgbench>,
}

/// Where calls go.
#[derive(Default)]
struct Loads {
    main: Option<Load>,
    echo: Option<Load>,
    keyed: Option<Load>,
    unmeasured: Option<Load>,
    other_caller: Option<OtherCaller>,
    large: Option<Load>,
    empty: Option<Load>,
    many_customers: Option<Load>,
}

impl Loads {
    fn at(&self, site: Site) -> Result<&Load, CliError> {
        let load = match site {
            Site::Main | Site::Postgres => &self.main,
            Site::Echo => &self.echo,
            Site::Keyed | Site::OtherCaller => &self.keyed,
            Site::Unmeasured => &self.unmeasured,
            Site::Large => &self.large,
            Site::Empty => &self.empty,
            Site::ManyCustomers => &self.many_customers,
        };
        load.as_ref().ok_or_else(|| CliError::failed("what is to be measured was not started"))
    }
}

impl Bench {
    /// Starts what is needed and measures everything.
    pub(super) async fn measure(&mut self, args: &BenchArgs) -> Result<(Report, Settings), CliError> {
        let stages = args.stages();
        if stages.is_empty() {
            return Err(CliError::usage(
                "fairness needs API keys, which are made for a service of its own: no --address",
            ));
        }
        let mut settings = Settings {
            seconds: args.seconds.as_secs_f64(),
            warmup: args.warmup.as_secs_f64(),
            rounds: args.rounds.get(),
            customers: args.customers.get(),
            connections: args.connections.get(),
            large: None,
            many_customers: None,
        };
        let mut loads = self.start_loads(args, &stages, &mut settings).await?;
        let mut report = Report::default();
        for stage in &stages {
            for round in 1..=args.rounds.get() {
                if stage.is_at(Site::Empty) {
                    loads.empty = Some(self.start_empty(args).await?);
                }
                for workload in &stage.workloads {
                    self.sample(*workload, stage.clients, round, &loads, args.window(), &mut report).await?;
                }
            }
        }
        // What was measured is worth telling without this, too.
        if let Err(error) = self.count_trips(args, &stages, loads.at(Site::Main)?, &mut report).await {
            eprintln!("round trips were not counted: {error}");
        }
        Ok((report, settings))
    }

    /// Starts all that these stages need but for what each round starts anew.
    async fn start_loads(
        &mut self,
        args: &BenchArgs,
        stages: &[Stage],
        settings: &mut Settings,
    ) -> Result<Loads, CliError> {
        let is_any_at = |site| stages.iter().any(|stage| stage.is_at(site));
        let mut loads = Loads { main: Some(self.start_main(args, stages).await?), ..Loads::default() };
        if is_any_at(Site::Echo) {
            let echo = self.echo.insert(EchoServer::start()?);
            echo.ready().await?;
            let grounds = loads.at(Site::Main)?.grounds();
            loads.echo = Some(Load::connect(&echo.endpoint()?, &Credential::none(), args.connections, grounds).await?);
        }
        if is_any_at(Site::Keyed) || is_any_at(Site::OtherCaller) {
            let (keyed, other_caller) = self.start_keyed(args, loads.at(Site::Main)?.grounds()).await?;
            (loads.keyed, loads.other_caller) = (Some(keyed), Some(other_caller));
        }
        if let Some(main) = self.service.as_ref().filter(|_| is_any_at(Site::Unmeasured)) {
            let unmeasured = self.unmeasured.insert(Service::start_unmeasured_beside(&main.socket_dir()?)?);
            unmeasured.ready().await?;
            loads.unmeasured = Some(connect_load(unmeasured, args, loads.at(Site::Main)?.grounds()).await?);
        }
        if let Some(customers) = args.large.filter(|_| is_any_at(Site::Large)) {
            let (load, filled) = self.start_large(args, customers).await?;
            (loads.large, settings.large) = (Some(load), Some(filled));
        }
        if let Some(customers) = args.many_customers.filter(|_| is_any_at(Site::ManyCustomers)) {
            let (load, filled) = self.start_with_many_customers(args, customers).await?;
            (loads.many_customers, settings.many_customers) = (Some(load), Some(filled));
        }
        Ok(loads)
    }

    async fn start_main(&mut self, args: &BenchArgs, stages: &[Stage]) -> Result<Load, CliError> {
        let address = match &args.address {
            Some(address) => {
                let pgbench = args.database_url.clone().map(|url| Pgbench::find(args.postgres_bin.as_deref(), url));
                self.pgbench = pgbench.transpose()?;
                address.clone()
            }
            None => {
                eprintln!("starting a service with a throw-away database");
                let service = start(&mut self.service, args).await?;
                self.pgbench = Some(Pgbench::find(args.postgres_bin.as_deref(), service.owner_connection()?)?);
                service.address()
            }
        };
        let workloads: Vec<Workload> = stages.iter().flat_map(|stage| stage.workloads.clone()).collect();
        let client = connect_client(&address).await?;
        let grounds = Grounds::prepare(&client, &args.program_id, args.customers, &workloads).await?;
        if let Some(pgbench) = &self.pgbench {
            if stages.iter().any(|stage| stage.is_at(Site::Postgres)) {
                pgbench.create_tables().await?;
            }
            pgbench.analyze().await?;
        }
        Load::connect(&endpoint(&address)?, &Credential::none(), args.connections, grounds).await
    }

    /// Starts a service that asks for API keys, and connects two callers to it. Beside the keys, it differs from the main
    /// one only in what it does by itself, which is nothing: the main one does that, on the same machine and in the same
    /// database, whichever of the two is measured.
    async fn start_keyed(&mut self, args: &BenchArgs, grounds: Grounds) -> Result<(Load, OtherCaller), CliError> {
        let main = self.service.as_ref();
        let main = main.ok_or_else(|| CliError::failed("a running service gets no API keys from here"))?;
        let (key, other_key) = (main.create_key("bench").await?, main.create_key("bench-other").await?);
        let keyed = self.keyed.insert(Service::start_keyed_beside(&main.socket_dir()?)?);
        keyed.ready().await?;
        let endpoint = endpoint(&keyed.address())?;
        let load = Load::connect(&endpoint, &key, args.connections, grounds.clone()).await?;
        let other_caller = OtherCaller::connect(endpoint, other_key, grounds).await?;
        Ok((load, other_caller))
    }

    /// Starts a service and fills its ledger.
    async fn start_large(&mut self, args: &BenchArgs, customers: NonZeroU32) -> Result<(Load, Filled), CliError> {
        let service = start(&mut self.large, args).await?;
        let begun = Instant::now();
        let client = connect_client(&service.address()).await?;
        let (grounds, entries) = Grounds::fill(&client, &args.program_id, customers).await?;
        let filled = Filled { customers: customers.get(), entries, seconds: begun.elapsed().as_secs_f64() };
        eprintln!("filled a ledger with {} entries in {:.0} s", grouped(entries), filled.seconds);
        analyze(service, args).await?;
        Ok((connect_load(service, args, grounds).await?, filled))
    }

    /// Starts a service and enrols very many customers.
    async fn start_with_many_customers(
        &mut self,
        args: &BenchArgs,
        customers: NonZeroU32,
    ) -> Result<(Load, Filled), CliError> {
        let service = start(&mut self.many_customers, args).await?;
        let begun = Instant::now();
        let client = connect_client(&service.address()).await?;
        let (grounds, entries) = Grounds::fill_with_customers(&client, &args.program_id, customers).await?;
        let filled = Filled { customers: customers.get(), entries, seconds: begun.elapsed().as_secs_f64() };
        eprintln!("enrolled them with {} entries in {:.0} s", grouped(entries), filled.seconds);
        analyze(service, args).await?;
        let load = connect_load(service, args, grounds).await?;
        // Each connection to Postgres comes upon each page for the first time, which costs it far more than later, and which
        // goes on for longer than any warm-up.
        let window = Window { warmup: Duration::ZERO, measured: FIRST_LOOK_AT_A_CUSTOMER * customers.get() };
        let clients = args.clients.first().map_or(1, |clients| clients.get());
        let (looked, _) = load.run(Workload::TierMany, clients, window, || ()).await?;
        if let Some(error) = looked.errors.keys().next() {
            return Err(CliError::failed(format_args!("the customers cannot be read: {error}")));
        }
        Ok((load, filled))
    }

    /// Starts a service with nothing but customers in it, in the place of the last one.
    async fn start_empty(&mut self, args: &BenchArgs) -> Result<Load, CliError> {
        if let Some(last) = self.empty.take() {
            last.stop().await?;
        }
        let service = start(&mut self.empty, args).await?;
        let client = connect_client(&service.address()).await?;
        let grounds = Grounds::prepare(&client, &args.program_id, args.customers, &[]).await?;
        analyze(service, args).await?;
        connect_load(service, args, grounds).await
    }

    async fn sample(
        &self,
        workload: Workload,
        clients: u32,
        round: u32,
        loads: &Loads,
        window: Window,
        report: &mut Report,
    ) -> Result<(), CliError> {
        let watched = self.watched(workload.site());
        let meter = move || cpu::read(watched);
        let load = loads.at(workload.site())?;
        load.refill(workload, window, report.last_rate(workload)).await?;
        if let (Workload::Conversion, Some(pgbench)) = (workload, &self.pgbench) {
            // As after every other preparation.
            pgbench.analyze().await?;
        }
        let measured = match (workload.site(), &self.pgbench, &loads.other_caller) {
            (Site::Postgres, Some(pgbench), _) => pgbench.run(workload, clients, window, meter).await,
            (Site::OtherCaller, _, Some(caller)) => caller.run(workload, clients, window, load, meter).await,
            _ if workload.is_walk() => load.walk(workload, || memory::read(watched.service), meter).await,
            _ => load.run(workload, clients, window, meter).await,
        };
        let (mut sample, [before, after]) = measured?;
        // Of a caller beside a flood it cannot be told.
        let readings = before.zip(after).filter(|_| workload.flood().is_none());
        sample.cpu = readings.map(|(before, after)| after.since(&before));
        report.add(round, sample);
        Ok(())
    }

    /// Whose use of the processors is counted.
    fn watched(&self, site: Site) -> Watched {
        let own = |service: &Option<Service>| service.as_ref().and_then(Service::pid);
        let both = |service| Watched { service, postgres_of: service };
        match site {
            Site::Main => both(own(&self.service)),
            Site::Large => both(own(&self.large)),
            Site::Empty => both(own(&self.empty)),
            Site::ManyCustomers => both(own(&self.many_customers)),
            Site::Keyed | Site::OtherCaller => Watched { service: own(&self.keyed), postgres_of: own(&self.service) },
            Site::Unmeasured => Watched { service: own(&self.unmeasured), postgres_of: own(&self.service) },
            Site::Postgres => Watched { service: None, postgres_of: own(&self.service) },
            Site::Echo => Watched { service: self.echo.as_ref().and_then(EchoServer::pid), postgres_of: None },
        }
    }

    /// Counts transactions and round trips of what was measured at the main service, if its database is its own.
    async fn count_trips(
        &mut self,
        args: &BenchArgs,
        stages: &[Stage],
        main: &Load,
        report: &mut Report,
    ) -> Result<(), CliError> {
        let Some(service) = self.service.as_ref().filter(|_| stages.iter().any(|stage| stage.is_at(Site::Main))) else {
            return Ok(());
        };
        let counter = Counter::before(&service.socket_dir()?)?;
        let second = self.second.insert(Service::start_beside(counter.socket_dir())?);
        second.ready().await?;
        let load = connect_load(second, args, main.grounds()).await?;
        let window = args.window();
        let window = Window { warmup: window.warmup.min(LONGEST_COUNT), measured: window.measured.min(LONGEST_COUNT) };
        for stage in stages {
            for workload in stage.workloads.iter().filter(|workload| workload.site() == Site::Main) {
                eprintln!("counting round trips, {} clients: {workload}", stage.clients);
                load.refill(*workload, window, report.last_rate(*workload)).await?;
                let (sample, [before, after]) = load.run(*workload, stage.clients, window, || counter.read()).await?;
                if let Some((error, count)) = sample.errors.iter().next() {
                    eprintln!("not counted, since of its calls {count} were answered: {error}");
                    continue;
                }
                report.add_trips(*workload, stage.clients, sample.completed, after.since(before));
            }
        }
        Ok(())
    }

    /// Stops everything in the reverse order of its start, whatever fails of it.
    pub(super) async fn stop(self) -> Result<(), CliError> {
        let mut outcome = Ok(());
        let services = [self.second, self.empty, self.many_customers, self.large, self.unmeasured, self.keyed];
        for service in services.into_iter().flatten() {
            outcome = outcome.and(service.stop().await);
        }
        if let Some(echo) = self.echo {
            echo.stop().await;
        }
        if let Some(pgbench) = &self.pgbench {
            // A throw-away database is removed as a whole. From any other, the tables are removed.
            if self.service.is_none() {
                outcome = outcome.and(pgbench.drop_tables().await);
            }
        }
        match self.service {
            Some(service) => outcome.and(service.stop().await),
            None => outcome,
        }
    }
}

/// Starts a service in this place, where it is stopped from whatever happens, and waits until it is ready.
async fn start<'a>(place: &'a mut Option<Service>, args: &BenchArgs) -> Result<&'a mut Service, CliError> {
    let service = place.insert(Service::start(args.postgres_bin.as_deref())?);
    service.ready().await?;
    Ok(service)
}

async fn analyze(service: &Service, args: &BenchArgs) -> Result<(), CliError> {
    Pgbench::find(args.postgres_bin.as_deref(), service.owner_connection()?)?.analyze().await
}

async fn connect_client(address: &str) -> Result<Client, CliError> {
    connect(&endpoint(address)?, &Credential::none()).await.map(Client::new)
}

async fn connect_load(service: &Service, args: &BenchArgs, grounds: Grounds) -> Result<Load, CliError> {
    Load::connect(&endpoint(&service.address())?, &Credential::none(), args.connections, grounds).await
}
