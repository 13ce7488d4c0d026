//! `goldbook --version`: which program this is, and how it was built.

use goldbook_api::zones;

use crate::database;
use crate::version::{COMMIT, VERSION};

/// What `--version` prints.
pub(super) fn short() -> String {
    format!("goldbook {VERSION}")
}

/// What `--version --verbose` prints: the same, and each thing that tells builds apart on a line of its own.
pub(super) fn verbose() -> String {
    let lines = [
        short(),
        format!("commit {}", COMMIT.unwrap_or("unknown")),
        format!("target {}", env!("GOLDBOOK_TARGET")),
        format!("compiler {}", env!("GOLDBOOK_COMPILER")),
        format!("profile {}", env!("GOLDBOOK_PROFILE")),
        format!("schema {}", database::needed_schema()),
        format!("time zone data {}", zones::version()),
        "TLS ring".to_owned(),
        "tokens aws-lc-rs".to_owned(),
    ];
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_cryptography_is_that_of_the_dependencies() {
        let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
        let has = |dependency: &str, feature: &str| {
            let features = manifest["dependencies"][dependency]["features"].as_array().unwrap();
            features.iter().any(|named| named.as_str() == Some(feature))
        };
        assert!(has("rustls", "ring") && has("tonic", "tls-ring"));
        assert!(has("jsonwebtoken", "aws_lc_rs"));
    }
}
