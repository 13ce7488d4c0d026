//! Sends the lines of a file as a stream of requests, and counts what becomes of each.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use super::lines::Line;
use crate::cli::error::CliError;
use crate::cli::output::grouped;
use crate::cli::progress::Progress;

/// How many lines are read ahead of the stream. The stream itself waits for the service; this number only keeps the
/// reading and the sending from waiting for each other.
const LINES_AHEAD: usize = 256;

/// What an import that was interrupted tells.
const BROKEN: &str = "the import was interrupted; repeat it, since what is in the book counts once";

/// Counts what becomes of lines.
pub(super) trait Outcomes<Row, Answer>: Send + 'static {
    /// Notes that a line is about to be sent.
    fn note_sent(&mut self, line: u64, row: &Row);

    /// Counts a line that cannot be sent.
    fn refuse(&mut self, line: u64, why: String);

    /// Counts the service's answer to a line.
    fn count(&mut self, answer: Answer);

    /// How many lines have an outcome.
    fn finished(&self) -> u64;
}

/// What is sent, and how it is told.
pub(super) struct Sending<Lines, Write> {
    /// The lines of the file.
    pub(super) lines: Lines,
    /// Writes the request for a line.
    pub(super) write_request: Write,
    /// What the lines are called.
    pub(super) things: &'static str,
    /// How many lines there are, if that is known.
    pub(super) total: Option<u64>,
}

impl<Lines, Write> Sending<Lines, Write> {
    /// Sends all lines by `call` and counts what becomes of them in `outcomes`.
    ///
    /// # Errors
    /// If the service refuses the stream or breaks it off, or does not answer every line.
    pub(super) async fn send_all<Row, Request, Answer, Count>(
        self,
        outcomes: &Arc<Mutex<Count>>,
        call: impl AsyncFnOnce(ReceiverStream<Request>) -> Result<Response<Streaming<Answer>>, Status>,
    ) -> Result<(), CliError>
    where
        Lines: Iterator<Item = Line<Row>> + Send + 'static,
        Write: FnMut(u64, Row) -> Request + Send + 'static,
        Count: Outcomes<Row, Answer>,
        Request: Send + 'static,
    {
        let Self { lines, write_request, things, total } = self;
        let (requests, stream) = mpsc::channel(LINES_AHEAD);
        let shared = Arc::clone(outcomes);
        // Reading a file may block.
        let reading = tokio::task::spawn_blocking(move || read_all(lines, write_request, &shared, &requests));
        let answer = call(ReceiverStream::new(stream)).await;
        let mut answers = answer.map_err(CliError::refused(BROKEN))?.into_inner();
        let mut progress = Progress::begin(things, total);
        let mut answered: u64 = 0;
        while let Some(answer) = answers.next().await {
            let answer = answer.map_err(CliError::refused(BROKEN))?;
            answered += 1;
            let mut outcomes = locked(outcomes);
            outcomes.count(answer);
            progress.set(outcomes.finished());
        }
        progress.end();
        let sent = reading.await.map_err(reading_failed)?;
        if sent == answered {
            return Ok(());
        }
        let open = grouped(sent.saturating_sub(answered));
        Err(CliError::failed(format_args!("{BROKEN}: {open} lines have no answer")))
    }
}

/// Hands every line that can be sent to the stream, and returns how many these are. Ends early if the stream is closed.
fn read_all<Row, Request, Answer>(
    lines: impl Iterator<Item = Line<Row>>,
    mut write_request: impl FnMut(u64, Row) -> Request,
    outcomes: &Mutex<impl Outcomes<Row, Answer>>,
    requests: &mpsc::Sender<Request>,
) -> u64 {
    let mut sent = 0;
    for (number, line) in lines {
        match line {
            Ok(row) => {
                // The answer may come as soon as the line is sent, so it is noted before.
                locked(outcomes).note_sent(number, &row);
                if requests.blocking_send(write_request(number, row)).is_err() {
                    break;
                }
                sent += 1;
            }
            Err(why) => locked(outcomes).refuse(number, why),
        }
    }
    sent
}

/// The failure of a task that reads a file.
pub(super) fn reading_failed(error: tokio::task::JoinError) -> CliError {
    CliError::failed(format_args!("reading the file failed: {error}"))
}

/// Locks what two tasks count together. If one of them panicked, the count is still whole, since no count stops
/// halfway.
pub(super) fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
