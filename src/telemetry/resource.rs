//! Who sends: the same for spans, log records and metrics of this process.

use std::env;
use std::sync::LazyLock;

use opentelemetry::{InstrumentationScope, Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector as _};
use uuid::Uuid;

use super::targets::OURS;

/// The version of the OpenTelemetry conventions that the names of attributes follow.
const CONVENTIONS: &str = "https://opentelemetry.io/schemas/1.42.0";

/// What tells this process from other replicas and from its own earlier runs, made once.
static INSTANCE_ID: LazyLock<Uuid> = LazyLock::new(|| uuid::Builder::from_random_bytes(rand::random()).into_uuid());

/// The resource of everything that this process sends. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` are read by the
/// SDK; what they leave out of the service's name and its instance's id is the service's own.
pub(super) fn resource(service_version: &'static str) -> Resource {
    let given = EnvResourceDetector::new().detect();
    let is_given = |name: &'static str| given.get(&Key::new(name)).is_some_and(|value| !value.as_str().is_empty());
    let mut builder = Resource::builder().with_attribute(KeyValue::new("service.version", service_version));
    if !is_given("service.name") && !env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty()) {
        builder = builder.with_service_name(OURS);
    }
    if !is_given("service.instance.id") {
        builder = builder.with_attribute(KeyValue::new("service.instance.id", INSTANCE_ID.to_string()));
    }
    builder.build()
}

/// What makes the spans, log records and measurements: this crate, and the conventions that the names of their attributes
/// follow.
pub(super) fn scope(service_version: &'static str) -> InstrumentationScope {
    InstrumentationScope::builder(OURS).with_version(service_version).with_schema_url(CONVENTIONS).build()
}
