//! Calls with streams: imports and exports, as traces tell them.

use goldbook::proto;
use goldbook::proto::import_balances_request::Opening;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use crate::collector::{Span, find_server_span, find_spans, links_to, traced, value};
use crate::harness::{SHOP, Service};

fn item(customer_id: &str, key: &str) -> proto::ImportBalancesRequest {
    proto::ImportBalancesRequest {
        item_id: key.to_owned(),
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        enrol: false,
        idempotency_key: key.to_owned(),
        opening: Some(Opening::Lot(proto::OpeningLot { points: 7, ..Default::default() })),
    }
}

#[tokio::test]
async fn an_import_and_an_export_tell_how_much_they_carried() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let items = [item("anna", "one"), item("nobody", "two"), item("anna", "three")];
    let (trace, request) = traced(tokio_stream::iter(items));
    let mut imports = proto::import_service_client::ImportServiceClient::new(service.channel.clone());
    let mut answers = imports.import_balances(request).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    let server = find_server_span(trace).await;
    assert_eq!(server.name, "goldbook.v1.ImportService/ImportBalances");
    assert_eq!(value(&server.attributes, "goldbook.rpc.stream"), Some(Value::BoolValue(true)));
    assert_eq!(value(&server.attributes, "goldbook.stream.items"), Some(Value::IntValue(3)));
    assert_eq!(value(&server.attributes, "goldbook.stream.failed_items"), Some(Value::IntValue(1)));
    find_spans("the items", |spans| {
        let is_item = |span: &&Span| span.parent_span_id == server.span_id && span.name == "book.wait";
        let items: Vec<_> = spans.iter().filter(is_item).collect();
        for item in &items {
            assert_eq!(value(&item.attributes, "goldbook.program.id"), Some(Value::StringValue(SHOP.to_owned())));
            spans.iter().find(|span| span.name == "book.batch" && links_to(item, span) && links_to(span, &server))?;
        }
        (items.len() == 3).then_some(())
    })
    .await;

    let export = proto::ExportEntriesRequest { program_id: SHOP.to_owned(), ..Default::default() };
    let (trace, request) = traced(export);
    let mut answers = service.ledger().export_entries(request).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    let server = find_server_span(trace).await;
    let entries = service.count_entries().await;
    assert_eq!(value(&server.attributes, "goldbook.rpc.stream"), Some(Value::BoolValue(true)));
    // The last entry is of the export itself, which came behind it.
    assert_eq!(value(&server.attributes, "goldbook.stream.items"), Some(Value::IntValue(entries - 1)));
}
