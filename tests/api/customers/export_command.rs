//! `goldbook customer export`: the document in a file that is there only when it is whole, and only for its owner.

use std::os::unix::fs::PermissionsExt as _;

use super::export::assert_follows_schema;
use crate::binary::run;
use crate::harness::{SHOP, Service};

#[tokio::test]
async fn customer_export_writes_the_document_for_its_owner_alone() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.purchase("anna", "order-1", "20.00").await.unwrap();
    let address = format!("http://{}", service.address);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("anna.json");
    let export = async |customer_id: &str, output: &str| {
        let args = ["--program", SHOP, "--customer", customer_id, "--address", &address, "--output", output];
        run(&[&["customer", "export"], args.as_slice()].concat()).await
    };
    let output = file.to_str().unwrap();
    let missing = export("ben", output).await;
    assert_eq!((missing.status.code(), file.exists()), (Some(1), false));
    assert!(missing.stderr.contains("there is no customer ben"), "{}", missing.stderr);
    std::fs::write(&file, "older").unwrap();
    let ended = export("anna", output).await;
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let document = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_follows_schema(&document);
    assert_eq!(document["activities"][0]["activity_id"], "order-1");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let shown = export("anna", "-").await;
    assert_follows_schema(&serde_json::from_str(&shown.stdout).unwrap());
    // A customer may be called as the command is.
    service.enrol("export").await;
    let shown = run(&["customer", "--address", &address, "--", "export"]).await;
    assert!(shown.status.success() && shown.stdout.contains("Customer"), "{} {}", shown.stdout, shown.stderr);
}
