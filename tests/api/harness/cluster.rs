//! The test process's own Postgres, and the databases in it.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use goldbook::embedded_postgres::{
    EmbeddedPostgres, GOLDBOOK, OWNER_ROLE, Options, SERVICE_ROLE, SUPERUSER, throwaway_dir,
};
use goldbook::server;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection};

use crate::wait::until;

/// The test process's own Postgres, with a migrated database to copy.
pub(super) struct Cluster {
    socket: PgConnectOptions,
    log: PathBuf,
    made: AtomicU32,
}

static CLUSTER: LazyLock<Cluster> = LazyLock::new(Cluster::start);

/// The folder of PostgreSQL's programs that whoever runs the tests asks for. Otherwise they are found.
pub(crate) fn postgres_bin() -> Option<PathBuf> {
    std::env::var_os(POSTGRES_BIN).map(PathBuf::from)
}

/// What the program has that folder from, too.
pub(crate) const POSTGRES_BIN: &str = "GOLDBOOK_POSTGRES_BIN";

/// The database that every test's is a copy of.
const TEMPLATE: &str = "template_goldbook";

impl Cluster {
    fn start() -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        // A runtime of its own, since the tests' come and go. Postgres ends with the process.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let directory = throwaway_dir().unwrap();
                let data_dir = directory.path().join("data");
                let options = Options { application: GOLDBOOK, data_dir, bin_dir: postgres_bin(), throwaway: true };
                let mut postgres = EmbeddedPostgres::start(options).await.unwrap();
                let owner = postgres.connect_options(OWNER_ROLE, TEMPLATE);
                let superuser = postgres.connect_options(SUPERUSER, "postgres");
                let create = format!("CREATE DATABASE {TEMPLATE} OWNER {OWNER_ROLE}");
                let mut connection = superuser.connect().await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await.unwrap();
                server::migrate(&owner, SERVICE_ROLE).await.unwrap();
                let log = postgres.data_dir().join("postgres.log");
                sender.send((superuser, log)).unwrap();
                postgres.wait().await;
            });
        });
        let (socket, log) = receiver.recv().unwrap();
        Self { socket, log, made: AtomicU32::new(0) }
    }

    /// Makes a copy of a database that nobody is connected to.
    async fn copy_database(&self, template: &str) -> String {
        let name = format!("test_{}", self.made.fetch_add(1, Ordering::SeqCst));
        let create = format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER_ROLE}");
        let mut connection = self.socket.connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await.unwrap();
        name
    }
}

/// A database of the test process's Postgres, to connect to in any role.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    name: String,
}

impl Database {
    /// A migrated, empty database.
    pub(crate) async fn create() -> Self {
        Self { name: CLUSTER.copy_database(TEMPLATE).await }
    }

    /// A copy of this one, to which nobody may be connected.
    pub(crate) async fn copy(&self) -> Self {
        Self { name: CLUSTER.copy_database(&self.name).await }
    }

    /// What Postgres has logged so far, of this database and of all others.
    pub(crate) fn read_log() -> Vec<u8> {
        std::fs::read(&CLUSTER.log).unwrap()
    }

    /// What Postgres knows it by.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How to connect in a role: `OWNER_ROLE`, `SERVICE_ROLE` or `SUPERUSER`.
    pub(crate) fn options(&self, role: &str) -> PgConnectOptions {
        CLUSTER.socket.clone().username(role).database(&self.name)
    }

    /// An administrator's connection once nobody else is connected: a session tells at its end what it read.
    pub(crate) async fn connect_alone(&self) -> PgConnection {
        let mut connection = self.connect(SUPERUSER).await;
        let others = "SELECT count(*) FROM pg_stat_activity
                      WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        until("every session ends", async || {
            let count: i64 = sqlx::query_scalar(others).fetch_one(&mut connection).await.unwrap();
            (count == 0).then_some(())
        })
        .await;
        connection
    }

    /// A connection in a role.
    pub(crate) async fn connect(&self, role: &str) -> PgConnection {
        self.options(role).connect().await.unwrap()
    }
}
