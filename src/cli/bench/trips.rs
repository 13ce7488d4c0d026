//! Counts transactions and round trips between a service and its Postgres, from the outside: a service is started whose
//! connections lead through here. It costs time, so nothing else is measured of that service.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

use embedded_postgres::throwaway_dir;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::super::error::CliError;

/// The socket's name in its folder, for the port that the service's own Postgres has.
const SOCKET: &str = ".s.PGSQL.5432";

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trips {
    /// Transactions that came to their end, and statements outside of any.
    pub(super) transactions: u64,
    /// How often the service said something after an answer of Postgres's.
    pub(super) round_trips: u64,
}

impl Trips {
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            transactions: self.transactions.saturating_sub(earlier.transactions),
            round_trips: self.round_trips.saturating_sub(earlier.round_trips),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { transactions: self.transactions + other.transactions, round_trips: self.round_trips + other.round_trips }
    }
}

/// Listens in the place of Postgres and passes everything on.
pub(super) struct Counter {
    directory: TempDir,
    counts: Arc<Counts>,
    /// Ends with this.
    _listening: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Counts {
    transactions: AtomicU64,
    round_trips: AtomicU64,
}

impl Counter {
    /// Listens for connections to the Postgres whose socket is in this folder.
    pub(super) fn before(socket_dir: &Path) -> Result<Self, CliError> {
        let failed = |error: io::Error| CliError::failed(format_args!("cannot stand before the database: {error}"));
        let directory = throwaway_dir().map_err(failed)?;
        let listener = UnixListener::bind(directory.path().join(SOCKET)).map_err(failed)?;
        let counts = Arc::<Counts>::default();
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, socket_dir.join(SOCKET), counts.clone()));
        Ok(Self { directory, counts, _listening: listening })
    }

    /// The folder of the socket that is listened at.
    pub(super) fn socket_dir(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn read(&self) -> Trips {
        let Counts { transactions, round_trips } = &*self.counts;
        Trips { transactions: transactions.load(Relaxed), round_trips: round_trips.load(Relaxed) }
    }
}

async fn listen(listener: UnixListener, postgres: PathBuf, counts: Arc<Counts>) {
    let mut connections = JoinSet::new();
    while let Ok((service, _)) = listener.accept().await {
        // Whoever is refused by Postgres is refused here.
        if let Ok(postgres) = UnixStream::connect(&postgres).await {
            connections.spawn(carry(service, postgres, counts.clone()));
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Passes on what both sides say until one of them leaves.
async fn carry(service: UnixStream, postgres: UnixStream, counts: Arc<Counts>) {
    let ((from_service, to_service), (from_postgres, to_postgres)) = (service.into_split(), postgres.into_split());
    let is_answered = AtomicBool::new(true);
    let asking = pass_on(from_service, to_postgres, |_| {
        if is_answered.swap(false, Relaxed) {
            counts.round_trips.fetch_add(1, Relaxed);
        }
    });
    let mut messages = Messages::default();
    let answering = pass_on(from_postgres, to_service, |bytes| {
        counts.transactions.fetch_add(messages.count_ends(bytes), Relaxed);
        is_answered.store(true, Relaxed);
    });
    // Nobody is told of an error: both sides see that the connection has ended.
    tokio::select! {
        _ = asking => {}
        _ = answering => {}
    }
}

async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut look: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        look(bytes);
        to.write_all(bytes).await?;
    }
}

/// The messages of Postgres, as their bytes come: each is a letter, a length that counts itself, and a body.
#[derive(Debug, Default)]
struct Messages {
    header: Vec<u8>,
    /// How much of the body is yet to come.
    left: usize,
}

impl Messages {
    /// How often these bytes say that Postgres is ready and in no transaction.
    fn count_ends(&mut self, mut bytes: &[u8]) -> u64 {
        let mut ends = 0;
        while let Some((first, rest)) = bytes.split_first() {
            if self.left == 0 {
                self.header.push(*first);
                bytes = rest;
                if let [_, a, b, c, d] = *self.header.as_slice() {
                    let length = u32::from_be_bytes([a, b, c, d]).saturating_sub(4);
                    self.left = usize::try_from(length).unwrap_or(usize::MAX);
                    if self.left == 0 {
                        self.header.clear();
                    }
                }
                continue;
            }
            // The body of this message is one byte: the state of the transaction.
            ends += u64::from(self.header.first() == Some(&b'Z') && *first == b'I');
            let taken = self.left.min(bytes.len());
            bytes = bytes.get(taken..).unwrap_or_default();
            self.left -= taken;
            if self.left == 0 {
                self.header.clear();
            }
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ParseComplete, a row that looks like the end of a transaction, and three times that Postgres is ready: within a
    /// transaction, in one that failed, and in none.
    const ANSWER: &[u8] = b"1\0\0\0\x04D\0\0\0\x0aZ\0\0\0\x05IZ\0\0\0\x05TZ\0\0\0\x05EZ\0\0\0\x05I";

    #[test]
    fn the_end_of_a_transaction_is_seen_however_the_bytes_come() {
        assert_eq!(Messages::default().count_ends(ANSWER), 1);
        for size in 1..ANSWER.len() {
            let mut messages = Messages::default();
            let ends: u64 = ANSWER.chunks(size).map(|bytes| messages.count_ends(bytes)).sum();
            assert_eq!(ends, 1, "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn what_is_said_after_an_answer_is_a_round_trip_and_passed_on() {
        let directory = throwaway_dir().unwrap();
        let postgres = UnixListener::bind(directory.path().join(SOCKET)).unwrap();
        let counter = Counter::before(directory.path()).unwrap();
        let mut service = UnixStream::connect(counter.socket_dir().join(SOCKET)).await.unwrap();
        let (mut postgres, _) = postgres.accept().await.unwrap();
        for (question, answer) in [(&b"question"[..], ANSWER), (b"another", ANSWER)] {
            let mut read = vec![0; question.len()];
            // In two pieces, which are one question.
            let (first, second) = question.split_at(3);
            service.write_all(first).await.unwrap();
            postgres.read_exact(&mut read[..3]).await.unwrap();
            service.write_all(second).await.unwrap();
            postgres.read_exact(&mut read[3..]).await.unwrap();
            assert_eq!(read, question);
            postgres.write_all(answer).await.unwrap();
            let mut read = vec![0; answer.len()];
            service.read_exact(&mut read).await.unwrap();
            assert_eq!(read, answer);
        }
        assert_eq!(counter.read(), Trips { transactions: 2, round_trips: 2 });
    }
}
