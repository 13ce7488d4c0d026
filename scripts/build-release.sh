#!/usr/bin/env bash
# Builds the program as it is released: in which folders the sources, the crates and the compiler are does not get into it.
# Arguments go to `cargo build`. GOLDBOOK_COMMIT is what `goldbook --version --verbose` names as the commit.
set -euo pipefail

cd "$(dirname "$0")/.."

# Places of panics are named in the program. They are told from the root of the sources, of the crates and of the compiler.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
compiler=$(rustc --print sysroot)
hash=$(rustc --version --verbose | sed -n 's/^commit-hash: //p')
places=("$cargo_home=/cargo" "$PWD=/goldbook" "$compiler/lib/rustlib/src/rust=/rustc/$hash")
if [[ -n ${CARGO_TARGET_DIR:-} ]]; then
    places+=("$CARGO_TARGET_DIR=/goldbook/target")
fi

# The encoded form wins over flags of the shell and of a configuration.
flags=''
for place in "${places[@]}"; do
    flags+="${flags:+$'\x1f'}--remap-path-prefix=$place"
    CFLAGS="${CFLAGS:-} -ffile-prefix-map=$place"
done
export CARGO_ENCODED_RUSTFLAGS=$flags CFLAGS
# Some C names the moment at which it was compiled, unless it is told this one.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0}
export CARGO_INCREMENTAL=0 SQLX_OFFLINE=true

cargo build --release --locked "$@"
