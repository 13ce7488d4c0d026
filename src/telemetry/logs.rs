//! Log lines: for people on a terminal, JSON otherwise, each with the trace and span it belongs to.

use std::fmt;
use std::io::IsTerminal as _;
use std::sync::{Arc, OnceLock};

use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use tracing::dispatcher::WeakDispatch;
use tracing::level_filters::LevelFilter;
use tracing::span::Id;
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_opentelemetry::get_otel_context;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, fmt as lines};

use super::error::InitError;
use super::records::Records;
use super::targets::{OURS, SQL};

/// Filter directives before the user's own. The exporter's warnings repeat with every batch while the collector is
/// away; [`super::sending`] says the same once a minute.
const BASE_DIRECTIVES: &str = "opentelemetry=warn,opentelemetry_sdk=warn,opentelemetry-otlp=error";

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people, in colour where `NO_COLOR` does not forbid it.
    Terminal,
    /// For people, without colour.
    Plain,
    /// One JSON object per line.
    Json,
}

/// Which events are logged, and how.
#[derive(Clone, Debug)]
pub struct Logs {
    /// Directives as in `RUST_LOG`, by target and level: `info`, `goldbook=debug,sqlx=warn`.
    pub filter: String,
    /// Whether lines are for people or for programs.
    pub format: LogFormat,
}

impl Logs {
    /// Filters by `GOLDBOOK_LOG`, else `RUST_LOG`, else `info` without the notices of the database; for people if standard error is a terminal, else JSON.
    #[must_use]
    pub fn from_env() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let filter = set("GOLDBOOK_LOG").or_else(|| set("RUST_LOG")).unwrap_or_else(|| "info,sqlx=warn".to_owned());
        let format = match (std::io::stderr().is_terminal(), set("NO_COLOR")) {
            (true, None) => LogFormat::Terminal,
            (true, Some(_)) => LogFormat::Plain,
            (false, _) => LogFormat::Json,
        };
        Self { filter, format }
    }

    /// Whether the filter is one.
    pub(super) fn check(&self) -> Result<(), InitError> {
        self.directives().map(drop)
    }

    fn directives(&self) -> Result<EnvFilter, InitError> {
        Ok(EnvFilter::builder().parse(format!("{BASE_DIRECTIVES},{}", self.filter))?)
    }
}

/// The outermost layer: decides which spans and events exist at all, and writes the events as lines.
///
/// Filters per layer would do the same, but each looks every span up whenever it is entered, left and closed, which
/// adds up to a third of what tracing a request costs. The log never sees spans: it does without their fields, since
/// the trace id leads to them.
pub(super) struct Gate<S> {
    exporting: bool,
    directives: EnvFilter,
    lines: Box<dyn Layer<S> + Send + Sync>,
    /// Who else gets the lines.
    records: Option<Records>,
    installed: Installed,
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Gate<S> {
    pub(super) fn new<W>(exporting: bool, logs: &Logs, records: Option<Records>, writer: W) -> Result<Self, InitError>
    where
        W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    {
        let directives = logs.directives()?;
        let installed = Installed::default();
        let lines = lines::layer().with_writer(writer);
        let lines = match logs.format {
            LogFormat::Json => {
                let line = lines::format().json().with_current_span(false).with_span_list(false);
                let format = WithTrace { line, json: true, installed: Arc::clone(&installed) };
                lines.fmt_fields(JsonFields::new()).event_format(format).boxed()
            }
            LogFormat::Terminal | LogFormat::Plain => {
                let line = lines::format().with_ansi(logs.format == LogFormat::Terminal);
                lines.event_format(WithTrace { line, json: false, installed: Arc::clone(&installed) }).boxed()
            }
        };
        Ok(Self { exporting, directives, lines, records, installed })
    }

    /// Spans of this crate, and of those the SQL statements only while somebody collects them.
    fn wants(&self, span: &Metadata<'_>) -> bool {
        let target = span.target();
        *span.level() <= LevelFilter::INFO && target.starts_with(OURS) && (self.exporting || target != SQL)
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Gate<S> {
    fn on_register_dispatch(&self, subscriber: &Dispatch) {
        let _ = self.installed.set(subscriber.downgrade());
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if !metadata.is_span() {
            return Layer::<S>::register_callsite(&self.directives, metadata);
        }
        if self.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, ctx: Context<'_, S>) -> bool {
        if metadata.is_span() { self.wants(metadata) } else { self.directives.enabled(metadata, ctx) }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // No hint is no bound.
        Layer::<S>::max_level_hint(&self.directives).map(|events| events.max(LevelFilter::INFO))
    }

    /// Writes and sends the event here and lets it go no further: beyond is only the tracer, which would put a copy of every
    /// line into its span.
    fn event_enabled(&self, event: &Event<'_>, ctx: Context<'_, S>) -> bool {
        if let Some(records) = &self.records {
            let current = ctx.current_span().id().and_then(|id| identity_of(&self.installed, id, event));
            records.send(event, current.as_ref());
        }
        self.lines.on_event(event, ctx);
        false
    }
}

/// The subscriber that a format belongs to, once it is installed. Asking `tracing` for it while an event is being
/// dispatched may answer that there is none.
type Installed = Arc<OnceLock<WeakDispatch>>;

/// Another format's line with the ids of the current trace and span at its end.
struct WithTrace<F> {
    line: F,
    json: bool,
    installed: Installed,
}

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(current) = self.current_span(ctx, event) else {
            return self.line.format_event(ctx, writer, event);
        };
        let mut line = String::new();
        self.line.format_event(ctx, Writer::new(&mut line), event)?;
        let line = line.trim_end();
        let (trace, span) = (current.trace_id(), current.span_id());
        match line.strip_suffix('}').filter(|_| self.json) {
            Some(open) => writeln!(writer, r#"{open},"trace_id":"{trace}","span_id":"{span}"}}"#),
            None => writeln!(writer, "{line} trace_id={trace} span_id={span}"),
        }
    }
}

impl<F> WithTrace<F> {
    /// The current span, asked for past this layer's own filter, which hides spans.
    fn current_span<S, N>(&self, ctx: &FmtContext<'_, S, N>, event: &Event<'_>) -> Option<SpanContext>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
        N: for<'writer> FormatFields<'writer> + 'static,
    {
        identity_of(&self.installed, ctx.current_span().id()?, event)
    }
}

/// What identifies the span that an event belongs to.
fn identity_of(installed: &Installed, span: &Id, event: &Event<'_>) -> Option<SpanContext> {
    // OpenTelemetry may log while it holds the very span's lock.
    if event.metadata().target().starts_with("opentelemetry") {
        return None;
    }
    let subscriber = installed.get()?.upgrade()?;
    let context = get_otel_context(span, &subscriber)?;
    let identity = context.span().span_context().clone();
    identity.is_valid().then_some(identity)
}
