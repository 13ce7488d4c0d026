//! A rule that panics, and one that reads a state without its place in `states`.

use std::any::TypeId;
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::{join, join3};
use goldbook::book::{
    Asking, Book, Capabilities, Capability, Command, CommandKey, Decision, DecisionError, Defect, Entry, NameUse,
    Scope, State, States, Store, Writer, Written,
};
use goldbook::database::StoreError;
use goldbook::embedded_postgres::SERVICE_ROLE;
use goldbook::error::Error;
use goldbook::ids::ProgramId;
use goldbook::telemetry;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use sqlx::PgConnection;
use tonic::{Code, Status};
use tracing::Instrument as _;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::harness::{Clock, Database, SHOP, START};

/// A command without names, which writes nothing.
pub(super) struct Empty {
    program_id: ProgramId,
    panics: bool,
}

impl Empty {
    pub(super) fn new(panics: bool) -> Self {
        Self { program_id: SHOP.try_into().unwrap(), panics }
    }
}

impl Command for Empty {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        Vec::new()
    }

    fn key(&self) -> Option<CommandKey> {
        None
    }

    fn states(&self) -> Vec<TypeId> {
        Vec::new()
    }

    fn decide(&self, _decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        assert!(!self.panics, "seven is not even");
        Ok(())
    }
}

/// A state without rows, which is its own store.
struct Blank;

impl State for Blank {
    fn apply(&mut self, _entry: &Entry) -> Result<(), Defect> {
        Ok(())
    }
}

#[async_trait]
impl Store for Blank {
    async fn load(&self, _: &mut States, _: &Scope, _: &mut PgConnection) -> Result<(), StoreError> {
        Ok(())
    }
}

/// When a command looks at a state.
#[derive(Clone, Copy, Debug)]
enum Look {
    /// When it asks for rows.
    Asking,
    /// When it decides.
    Deciding,
}

/// A command that looks at [`Blank`], and lists it or does not.
struct Reader {
    program_id: ProgramId,
    look: Look,
    lists: bool,
}

impl Command for Reader {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        Vec::new()
    }

    fn key(&self) -> Option<CommandKey> {
        None
    }

    fn states(&self) -> Vec<TypeId> {
        self.lists.then_some(TypeId::of::<Blank>()).into_iter().collect()
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        match self.look {
            Look::Asking => asking.state::<Blank>().map(drop),
            Look::Deciding => Ok(()),
        }
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        match self.look {
            Look::Asking => Ok(()),
            Look::Deciding => decision.state::<Blank>().map(drop),
        }
    }
}

/// What log lines are written on.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Page {
    /// Has this thread write its log here, with spans that have trace ids.
    fn catch_log(&self) -> DefaultGuard {
        let (page, tracer) = (self.clone(), SdkTracerProvider::default().tracer("test"));
        let lines = tracing_subscriber::fmt::layer().json().with_writer(move || page.clone());
        tracing_subscriber::registry()
            .with(tracing_opentelemetry::layer().with_tracer(tracer))
            .with(lines)
            .set_default()
    }

    /// The lines that say this.
    fn lines_with(&self, text: &str) -> Vec<serde_json::Value> {
        let page = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        page.lines().filter(|line| line.contains(text)).map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

// On one thread, so that its log is all there is, and all three commands wait before the lane takes them.
#[tokio::test]
async fn a_rule_that_panics_fails_its_own_command_and_is_logged_once() {
    let page = Page::default();
    let _guard = page.catch_log();
    let database = Database::create().await;
    let clock = Clock::fixed(START.parse().unwrap());
    let (book, lanes) = Book::open(&database.options(SERVICE_ROLE), 1, &Capabilities::new(Vec::new()), &clock);

    let caller = tracing::info_span!("caller");
    let trace_id = telemetry::trace_id(&caller);
    assert_ne!(trace_id, telemetry::TraceId::default());
    let panicking = book.submit(Empty::new(true), Writer::NOBODY).instrument(caller.clone());
    let (first, second) =
        (book.submit(Empty::new(false), Writer::NOBODY), book.submit(Empty::new(false), Writer::NOBODY));
    let (first, failed, second) = join3(first, panicking, second).await;
    for neighbour in [first, second] {
        assert!(matches!(neighbour.unwrap(), Written { entries, replayed: false, .. } if entries.is_empty()));
    }

    let error = failed.unwrap_err();
    assert!(matches!(error, Error::InternalLogged(_)), "{error:?}");
    let status = caller.in_scope(|| Status::from(error));
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.message(), format!("internal error, trace {trace_id}"));

    let lines = page.lines_with("seven is not even");
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let field = |name: &str| line["fields"][name].as_str().unwrap_or_else(|| panic!("no {name} in {line}"));
    assert_eq!(line["level"], "ERROR");
    assert_eq!(field("message"), "a command failed");
    assert_eq!(field("failure"), "a panic: seven is not even");
    assert!(field("command").ends_with("panics::Empty"), "{line}");
    assert_eq!(field("program_id"), SHOP);
    assert_eq!(field("trace_id"), trace_id.to_string());
    assert_eq!(field("command_id").len(), 36);
    assert_eq!(page.lines_with("a request failed").len(), 0);
    // The lane lives on.
    book.submit(Empty::new(false), Writer::NOBODY).await.unwrap();
    drop(book);
    lanes.close().await;
}

// On one thread, as above.
#[tokio::test]
async fn a_command_that_reads_a_state_that_it_does_not_list_fails_and_is_logged() {
    let database = Database::create().await;
    let clock = Clock::fixed(START.parse().unwrap());
    let capabilities = Capabilities::new(vec![Capability::new(|| Blank, Blank, &[])]);
    for look in [Look::Asking, Look::Deciding] {
        let page = Page::default();
        let _guard = page.catch_log();
        // Its lane logs where this thread does.
        let (book, lanes) = Book::open(&database.options(SERVICE_ROLE), 1, &capabilities, &clock);
        let reader = |lists| Reader { program_id: SHOP.try_into().unwrap(), look, lists };
        // Its neighbour in the batch has the state loaded.
        let (listed, unlisted) =
            join(book.submit(reader(true), Writer::NOBODY), book.submit(reader(false), Writer::NOBODY)).await;
        assert!(matches!(listed.unwrap(), Written { entries, replayed: false, .. } if entries.is_empty()));
        let error = unlisted.unwrap_err();
        assert!(matches!(error, Error::InternalLogged(_)), "{look:?}: {error:?}");
        assert_eq!(Status::from(error).code(), Code::Internal);

        let lines = page.lines_with("a command failed");
        let [line] = lines.as_slice() else { panic!("{look:?}: {lines:?}") };
        let field = |name: &str| line["fields"][name].as_str().unwrap_or_else(|| panic!("no {name} in {line}"));
        assert_eq!(line["level"], "ERROR");
        assert!(field("failure").ends_with("panics::Blank, and its `states` do not name it"), "{line}");
        assert!(field("command").ends_with("panics::Reader"), "{line}");
        assert_eq!(field("program_id"), SHOP);
        assert_eq!(field("command_id").len(), 36);
        drop(book);
        lanes.close().await;
    }
}
