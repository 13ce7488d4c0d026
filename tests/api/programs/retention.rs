//! What a document may say of retention.

use goldbook::proto;

use super::get;
use crate::harness::{Service, shop, sorted_bad_fields};

fn keeping(notes_days: Option<i32>, dossier_days: Option<i32>) -> proto::Program {
    proto::Program { retention: Some(proto::Retention { notes_days, dossier_days }), ..shop() }
}

#[tokio::test]
async fn apply_program_keeps_what_it_says_of_retention() {
    let service = Service::start().await;
    for (version, program) in (1..).zip([
        keeping(Some(365), Some(1_095)),
        keeping(Some(36_500), Some(1)),
        keeping(Some(1), None),
        keeping(None, Some(36_500)),
        shop(),
    ]) {
        assert!(service.apply(program.clone()).await.unwrap().changed);
        assert_eq!(get(&service, version).await.unwrap().program, Some(program));
    }
    // What sets nothing says nothing.
    let applied = service.apply(keeping(None, None)).await.unwrap();
    assert!(!applied.changed);
    assert_eq!(applied.version.unwrap().program, Some(shop()));
}

#[tokio::test]
async fn apply_program_refuses_days_out_of_bounds() {
    let service = Service::start().await;
    for (notes_days, dossier_days) in [(0, -1), (-365, 36_501), (i32::MAX, i32::MIN)] {
        let refused = service.apply(keeping(Some(notes_days), Some(dossier_days))).await;
        assert_eq!(sorted_bad_fields(refused), ["program.retention.dossier_days", "program.retention.notes_days"]);
    }
    let refused = service.apply(keeping(None, Some(0))).await;
    assert_eq!(sorted_bad_fields(refused), ["program.retention.dossier_days"]);
}
