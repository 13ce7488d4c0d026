#!/usr/bin/env bash
# Builds target/debug/goldbook as the tests do. What the tests need of the crates would otherwise make it another program, and
# whoever has run the tests would build most of it again.
set -euo pipefail

cd "$(dirname "$0")/.."
cargo build --locked --workspace --bin goldbook --test architecture
