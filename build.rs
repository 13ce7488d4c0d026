//! Compiles the protos without `protoc`: services, messages, and the descriptors that server reflection answers from.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

const PROTO_ROOT: &str = "proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO_ROOT}");
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new([PROTO_ROOT])?;
    // The comments go into the descriptors too, so that a stock client that asks the server can show them.
    compiler.include_imports(true).include_source_info(true).open_files(list_protos("goldbook/v1")?)?;
    fs::write(out_dir.join("goldbook_descriptor.bin"), compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        // The service already speaks this type; a second one with the same fields would only need converting.
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        // Customer attributes come in one order, whatever the map's hashing.
        .btree_map(".goldbook")
        // Written by others in a markdown that is not rustdoc's.
        .disable_comments([".google"])
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
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
