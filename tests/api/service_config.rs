//! The service config of `docs/clients.md`, which clients call by.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use prost_reflect::DescriptorPool;
use serde_json::Value;

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

fn config() -> Value {
    serde_json::from_str(&read("service-config.json")).unwrap()
}

#[test]
fn every_method_is_repeated_after_unavailable_except_streams() {
    let pool = DescriptorPool::decode(goldbook::proto::FILE_DESCRIPTOR_SET).unwrap();
    let services = pool.services().filter(|service| service.full_name().starts_with("goldbook."));
    let methods: BTreeMap<String, bool> = services
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .map(|method| (method.full_name().to_owned(), method.is_client_streaming() || method.is_server_streaming()))
        .collect();
    assert!(methods.len() > 40, "{methods:?}");
    let config = config();
    let mut listed = BTreeSet::new();
    for entry in config["methodConfig"].as_array().unwrap() {
        for name in entry["name"].as_array().unwrap() {
            // By its name, so that nobody repeats a new method unawares.
            let name = format!("{}.{}", name["service"].as_str().unwrap(), name["method"].as_str().unwrap());
            let streams = methods.get(&name).unwrap_or_else(|| panic!("there is no method {name}"));
            assert_eq!(entry.get("retryPolicy").is_none(), *streams, "{name}");
            assert!(listed.insert(name.clone()), "{name} is there twice");
        }
    }
    assert_eq!(listed, methods.into_keys().collect());
}

#[test]
fn the_page_for_clients_shows_the_service_config_and_names_each_write() {
    let page = read("clients.md");
    let (_, shown) = page.split_once("```json\n").unwrap();
    let mut shown: Value = serde_json::from_str(shown.split_once("```").unwrap().0).unwrap();
    let mut config = config();
    let mut unlisted = Vec::new();
    for settings in [&mut shown, &mut config] {
        for entry in settings["methodConfig"].as_array_mut().unwrap() {
            let names = entry.as_object_mut().unwrap().remove("name").unwrap();
            let methods = names.as_array().unwrap().iter().map(|name| name["method"].as_str().unwrap().to_owned());
            let reads = ["Get", "List", "BatchGet"];
            let is_write = |method: &String| !reads.iter().any(|read| method.starts_with(read));
            unlisted.extend(methods.filter(is_write).filter(|method| !page.contains(&format!("`{method}`"))));
        }
    }
    assert_eq!(shown, config);
    assert_eq!(unlisted, [""; 0]);
}
