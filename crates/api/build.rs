//! Compiles the protos without `protoc`: services, messages, the descriptors that server reflection answers from, and
//! the list of services with a type that has an implementation of each.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost_types::{FileDescriptorSet, ServiceDescriptorProto};
use tonic_prost_build::manual;

const PROTO_ROOT: &str = "../../proto";
const PACKAGE: &str = "goldbook.v1";
/// What the details of refusals are made of. No proto of ours imports it, since details travel as `Any`.
const ERROR_DETAILS: &str = "google/rpc/error_details.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO_ROOT}");
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new([PROTO_ROOT])?;
    // The comments go into the descriptors too, so that a stock client that asks the server can show them.
    compiler.include_imports(true).include_source_info(true).open_files(list_protos("goldbook/v1")?)?;
    let descriptors = compiler.file_descriptor_set();
    // Only reflection tells of it: tonic-types has the types in Rust already.
    compiler.open_file(ERROR_DETAILS)?;
    fs::write(out_dir.join("goldbook_descriptor.bin"), compiler.encode_file_descriptor_set())?;

    let services = list_services(&descriptors);
    fs::write(out_dir.join("services.rs"), write_service_list(&services)?)?;
    fs::write(out_dir.join("implementations.rs"), write_implementations(&services)?)?;
    fs::write(out_dir.join("servers.rs"), write_server_list(&services)?)?;

    let mut config = tonic_prost_build::Config::new();
    // The server looks up by its name which fields a request has, before it is decoded.
    config.enable_type_names();
    tonic_prost_build::configure()
        // tonic-types has this type already, with helpers for its details.
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        // Customer attributes come in one order, whatever the map's hashing.
        .btree_map(".goldbook")
        // Written by others in a markdown that is not rustdoc's.
        .disable_comments([".google"])
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        // Servers are made below, since theirs are other types of requests.
        .build_server(false)
        .compile_fds_with_config(descriptors, config)?;
    write_servers(&services);
    Ok(())
}

/// Writes the servers: one file for each service, in the output folder. Their methods get requests as
/// `crate::server::Received`, which is not yet known to be a message, or to be admitted.
fn write_servers(services: &[ServiceDescriptorProto]) {
    let services: Vec<manual::Service> = services.iter().map(describe_server).collect();
    manual::Builder::new().build_client(false).compile(&services);
}

fn describe_server(service: &ServiceDescriptorProto) -> manual::Service {
    let type_of = |full_name: &str| full_name.rsplit('.').next().unwrap_or_default().to_owned();
    let mut described = manual::Service::builder().name(service.name()).package(PACKAGE);
    for method in &service.method {
        let request = type_of(method.input_type());
        let mut server = manual::Method::builder()
            .name(to_snake_case(method.name()))
            .route_name(method.name())
            .input_type(format!("crate::server::Received<crate::v1::{request}>"))
            .output_type(format!("crate::v1::{}", type_of(method.output_type())))
            .codec_path("crate::server::ServerCodec");
        if method.client_streaming() {
            server = server.client_streaming();
        }
        if method.server_streaming() {
            server = server.server_streaming();
        }
        described = described.method(server.build());
    }
    described.build()
}

/// The protos in `folder`, relative to the root and sorted, so that a new file needs no change here.
fn list_protos(folder: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut protos = Vec::new();
    for entry in fs::read_dir(Path::new(PROTO_ROOT).join(folder))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            protos.push(path.strip_prefix(PROTO_ROOT)?.to_owned());
        }
    }
    protos.sort();
    Ok(protos)
}

/// The services of the package, sorted by name.
fn list_services(descriptors: &FileDescriptorSet) -> Vec<ServiceDescriptorProto> {
    let files = descriptors.file.iter().filter(|file| file.package() == PACKAGE);
    let mut services: Vec<ServiceDescriptorProto> = files.flat_map(|file| file.service.clone()).collect();
    services.sort_by(|one, other| one.name().cmp(other.name()));
    services
}

/// Writes the constant that lists the services.
fn write_service_list(services: &[ServiceDescriptorProto]) -> Result<String, std::fmt::Error> {
    let mut code = String::new();
    writeln!(code, "/// The full names of the services, sorted, as health and reflection know them.")?;
    writeln!(code, "pub const SERVICES: &[&str] = &[")?;
    for service in services {
        writeln!(code, "    \"{PACKAGE}.{}\",", service.name())?;
    }
    writeln!(code, "];")?;
    Ok(code)
}

/// Writes the modules that hold the servers, each from the file that has its code.
fn write_server_list(services: &[ServiceDescriptorProto]) -> Result<String, std::fmt::Error> {
    let mut code = String::new();
    for service in services {
        writeln!(code, "tonic::include_proto!(\"{PACKAGE}.{}\");", service.name())?;
    }
    Ok(code)
}

/// Writes a type with one field for each service, and a function that makes routes of it. A service without an
/// implementation is a missing field, which does not compile.
fn write_implementations(services: &[ServiceDescriptorProto]) -> Result<String, std::fmt::Error> {
    let names: Vec<&str> = services.iter().map(ServiceDescriptorProto::name).collect();
    let parameters = names.join(", ");
    let mut code = String::new();
    writeln!(code, "/// An implementation of every service. A new service is a new field, so none is forgotten.")?;
    writeln!(code, "#[derive(Clone, Debug)]\npub struct Implementations<{parameters}> {{")?;
    for name in &names {
        writeln!(code, "    /// Implements `{PACKAGE}.{name}`.\n    pub {}: {name},", to_snake_case(name))?;
    }
    writeln!(code, "}}\n\nimpl<{parameters}> Implementations<{parameters}>\nwhere")?;
    for name in &names {
        writeln!(code, "    {name}: {}_server::{name},", to_snake_case(name))?;
    }
    writeln!(code, "{{\n    /// The routes of all services, each with the same rules for its messages.")?;
    writeln!(code, "    #[must_use]\n    pub fn into_routes(self, rules: &MessageRules) -> tonic::service::Routes {{")?;
    writeln!(code, "        let mut routes = tonic::service::Routes::default();")?;
    for name in &names {
        let module = to_snake_case(name);
        writeln!(code, "        let server = {module}_server::{name}Server::new(self.{module});")?;
        writeln!(code, "        let server = server.max_decoding_message_size(rules.max_bytes);")?;
        writeln!(
            code,
            "        let compressed = rules.compressions.iter().fold(server, |it, by| it.send_compressed(*by));"
        )?;
        writeln!(code, "        routes = routes.add_service(compressed);")?;
    }
    writeln!(code, "        routes\n    }}\n}}")?;
    Ok(code)
}

/// `TierService` as `tier_service`, which is how modules are named.
fn to_snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
