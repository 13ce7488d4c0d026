//! Where spans go: off, a collector that hangs, and one that is not there.

use std::io;
use std::time::{Duration, Instant};

use super::super::*;

fn traces_to(traces: Collector) -> Export {
    Export { traces, logs: Collector::Off, always_sample: AlwaysSample::default() }
}

#[test]
fn without_a_collector_spans_have_ids_and_statements_are_not_traced() {
    let (provider, counters) = export::tracer_provider("1", &traces_to(Collector::Off)).unwrap();
    assert!(counters.is_none());
    let logs = Logs { filter: "off".to_owned(), format: LogFormat::Plain };
    tracing::subscriber::with_default(
        subscriber(&provider, "1", Gate::new(false, &logs, None, io::sink).unwrap()),
        || {
            let root = tracing::info_span!("root");
            let child = root.in_scope(|| tracing::info_span!("child"));
            assert_ne!(trace_id(&root), TraceId::default());
            assert_eq!(trace_id(&root), trace_id(&child));
            assert_ne!(span_context(&root).span_id(), span_context(&child).span_id());
            for unseen in [statement("SELECT 1"), tracing::info_span!(target: "h2", "frame")] {
                assert_eq!(trace_id(&unseen), TraceId::default());
            }
        },
    );
}

#[tokio::test]
async fn a_hanging_collector_costs_spans_and_nothing_else() {
    // It accepts connections into its backlog and never answers.
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let collector = Collector::At(format!("http://{}", hanging.local_addr().unwrap()));
    let (provider, counters) = export::tracer_provider("1", &traces_to(collector)).unwrap();
    let logs = Logs { filter: "off".to_owned(), format: LogFormat::Plain };
    let subscriber = subscriber(&provider, "1", Gate::new(true, &logs, None, io::sink).unwrap());
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..20_000 {
            drop(tracing::info_span!("work"));
        }
    });
    let telemetry = Telemetry { provider, counters, records: None };
    assert_eq!(telemetry.spans_dropped(), 20_000 - 16_384);
    assert_eq!(telemetry.spans_exported(), 0);
    let begin = Instant::now();
    telemetry.shutdown_within(Duration::from_millis(100)).await;
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_absent_collector_is_counted() {
    let absent = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let (provider, counters) =
        export::tracer_provider("1", &traces_to(Collector::At(format!("http://{absent}")))).unwrap();
    let logs = Logs { filter: "off".to_owned(), format: LogFormat::Plain };
    tracing::subscriber::with_default(
        subscriber(&provider, "1", Gate::new(true, &logs, None, io::sink).unwrap()),
        || {
            drop(tracing::info_span!("work"));
        },
    );
    let telemetry = Telemetry { provider, counters, records: None };
    telemetry.flush().await;
    assert_eq!((telemetry.spans_exported(), telemetry.spans_dropped()), (0, 1));
}

#[test]
fn the_standard_variables_switch_export_on_and_off() {
    let with = |set: &'static [(&str, &str)]| {
        Collector::from_variables(collector::TRACES, |name| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    };
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
    assert_eq!(with(&[]), Collector::Off);
    assert_eq!(with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), Collector::Off);
    assert_eq!(
        Collector::from_variables(collector::TRACES, |name| (name == endpoint.0).then(|| endpoint.1.to_owned())),
        Collector::Environment
    );
    assert_eq!(with(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4317")]), Collector::Environment);
    assert_eq!(with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1"), ("OTEL_SDK_DISABLED", "TRUE")]), Collector::Off);
    assert_eq!(
        with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1"), ("OTEL_TRACES_EXPORTER", "none")]),
        Collector::Off
    );
}
