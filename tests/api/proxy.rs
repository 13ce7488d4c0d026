//! A proxy between a service and its Postgres, which breaks what a test tells it to break.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use goldbook::embedded_postgres::{SERVICE_ROLE, throwaway_dir};
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::harness::Database;
use crate::wait::within;

/// What becomes of one COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It never arrives: the connection is cut before it.
    LoseCommit,
    /// It is carried out, and the connection is cut before the service hears of it.
    LoseAnswer,
    /// The connection is cut as soon as it is sent, so that it may still be under way when the service comes back.
    CutAtCommit,
    /// It is carried out, and the service waits for the answer as long as its connection lasts.
    KeepAnswer,
}

/// Listens in the place of Postgres and passes everything on.
pub(crate) struct Proxy {
    directory: TempDir,
    database: PgConnectOptions,
    rules: Arc<Rules>,
    listening: JoinHandle<()>,
}

struct Rules {
    postgres: PathBuf,
    faults: Mutex<VecDeque<Fault>>,
    /// How many faults have come to pass.
    struck: watch::Sender<usize>,
    /// Whether COMMITs wait here, and how many do.
    held: watch::Sender<bool>,
    holding: watch::Sender<usize>,
    away: watch::Sender<bool>,
    /// How many connections were turned away meanwhile.
    turned_away: watch::Sender<usize>,
    /// What the service has sent: the type of each message, with the text of a statement.
    asked: Mutex<Vec<String>>,
}

impl Proxy {
    /// A proxy that so far changes nothing.
    pub(crate) fn before(database: &Database) -> Self {
        let database = database.options(SERVICE_ROLE);
        let port = database.get_port();
        let socket_name = format!(".s.PGSQL.{port}");
        let rules = Arc::new(Rules {
            postgres: database.get_socket().unwrap().join(&socket_name),
            faults: Mutex::default(),
            struck: watch::Sender::new(0),
            held: watch::Sender::new(false),
            holding: watch::Sender::new(0),
            away: watch::Sender::new(false),
            turned_away: watch::Sender::new(0),
            asked: Mutex::default(),
        });
        let directory = throwaway_dir().unwrap();
        let listener = UnixListener::bind(directory.path().join(socket_name)).unwrap();
        let listening = tokio::spawn({
            let rules = rules.clone();
            async move {
                loop {
                    let (service, _) = listener.accept().await.unwrap();
                    if *rules.away.borrow() {
                        rules.turned_away.send_modify(|count| *count += 1);
                    } else {
                        tokio::spawn(rules.clone().carry(service));
                    }
                }
            }
        });
        Self { directory, database, rules, listening }
    }

    /// How a service reaches its database through here.
    pub(crate) fn options(&self) -> PgConnectOptions {
        self.database.clone().socket(self.directory.path())
    }

    /// Breaks the next COMMITs, one fault each.
    pub(crate) fn break_commits(&self, faults: impl IntoIterator<Item = Fault>) {
        self.rules.faults.lock().unwrap().extend(faults);
    }

    /// Waits until as many faults have come to pass.
    pub(crate) async fn struck(&self, count: usize) {
        within("the fault", self.rules.struck.subscribe().wait_for(|struck| *struck >= count)).await.unwrap();
    }

    /// From now on COMMITs wait here.
    pub(crate) fn hold_commits(&self) {
        self.rules.held.send_replace(true);
    }

    /// Waits until as many COMMITs wait here.
    pub(crate) async fn holds(&self, count: usize) {
        within("the COMMIT", self.rules.holding.subscribe().wait_for(|holding| *holding >= count)).await.unwrap();
    }

    /// Lets the waiting COMMITs go.
    pub(crate) fn release_commits(&self) {
        self.rules.held.send_replace(false);
    }

    /// Cuts every connection and takes no new one.
    pub(crate) fn go_away(&self) {
        self.rules.away.send_replace(true);
    }

    /// Waits until as many connections were turned away.
    pub(crate) async fn turned_away(&self, count: usize) {
        within("the attempts", self.rules.turned_away.subscribe().wait_for(|turned| *turned >= count)).await.unwrap();
    }

    /// What services have sent so far, each message by its type and the text of a statement; a first one is `start`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.rules.asked.lock().unwrap().clone()
    }

    /// Takes connections again.
    pub(crate) fn come_back(&self) {
        self.rules.away.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.rules.away.send_replace(true);
    }
}

/// What becomes of the answers of one connection.
#[derive(Default)]
struct Answers {
    /// The next one does not reach the service.
    withheld: AtomicBool,
    /// And the connection lasts nevertheless.
    kept: AtomicBool,
}

impl Rules {
    /// One connection, until either side or a fault ends it.
    async fn carry(self: Arc<Self>, service: UnixStream) {
        let mut away = self.away.subscribe();
        let Ok(postgres) = UnixStream::connect(&self.postgres).await else { return };
        let (from_service, to_service) = service.into_split();
        let (from_postgres, to_postgres) = postgres.into_split();
        let answers = Answers::default();
        // Whoever is done first drops both connections.
        tokio::select! {
            _ = self.pass_requests(from_service, to_postgres, &answers) => {}
            _ = self.pass_answers(from_postgres, to_service, &answers) => {}
            _ = away.wait_for(|away| *away) => {}
        }
    }

    async fn pass_requests(&self, from: OwnedReadHalf, mut to: OwnedWriteHalf, answers: &Answers) -> io::Result<()> {
        let mut from = BufReader::new(from);
        let mut message = read_start(&mut from).await?;
        self.asked.lock().unwrap().push("start".to_owned());
        loop {
            if message == b"Q\0\0\0\x0bCOMMIT\0" {
                self.hold().await;
                let fault = self.faults.lock().unwrap().pop_front();
                match fault {
                    None => {}
                    Some(Fault::LoseCommit) => return self.strike(),
                    Some(Fault::CutAtCommit) => {
                        to.write_all(&message).await?;
                        return self.strike();
                    }
                    Some(fault @ (Fault::LoseAnswer | Fault::KeepAnswer)) => {
                        answers.kept.store(fault == Fault::KeepAnswer, Ordering::SeqCst);
                        answers.withheld.store(true, Ordering::SeqCst);
                    }
                }
            }
            to.write_all(&message).await?;
            message = read_message(&mut from).await?;
            let (kind, text) = (char::from(message[0]), String::from_utf8_lossy(&message[5..]));
            let text = if matches!(kind, 'Q' | 'P') { text.trim_matches('\0') } else { "" };
            self.asked.lock().unwrap().push(format!("{kind}{text}"));
        }
    }

    async fn pass_answers(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, answers: &Answers) -> io::Result<()> {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = from.read(&mut bytes).await?;
            if count == 0 {
                return Ok(());
            }
            if answers.withheld.load(Ordering::SeqCst) {
                // It answers when it is done, so the COMMIT is durable now.
                self.strike()?;
                if !answers.kept.load(Ordering::SeqCst) {
                    return Ok(());
                }
                std::future::pending::<()>().await;
            }
            to.write_all(&bytes[..count]).await?;
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "ends a connection like everything else does")]
    fn strike(&self) -> io::Result<()> {
        self.struck.send_modify(|struck| *struck += 1);
        Ok(())
    }

    async fn hold(&self) {
        if *self.held.borrow() {
            self.holding.send_modify(|holding| *holding += 1);
            let _ = self.held.subscribe().wait_for(|held| !held).await;
            self.holding.send_modify(|holding| *holding -= 1);
        }
    }
}

/// The first message has no type.
async fn read_start(from: &mut BufReader<OwnedReadHalf>) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    read_body(from, length.to_be_bytes().to_vec(), length).await
}

async fn read_message(from: &mut BufReader<OwnedReadHalf>) -> io::Result<Vec<u8>> {
    let kind = from.read_u8().await?;
    let length = from.read_u32().await?;
    let mut message = vec![kind];
    message.extend(length.to_be_bytes());
    read_body(from, message, length).await
}

/// The length counts itself.
async fn read_body(from: &mut BufReader<OwnedReadHalf>, mut head: Vec<u8>, length: u32) -> io::Result<Vec<u8>> {
    let begin = head.len();
    head.resize(begin + usize::try_from(length).unwrap() - 4, 0);
    from.read_exact(&mut head[begin..]).await?;
    Ok(head)
}
