#!/usr/bin/env bash
# Runs every target of fuzz/, or those that are named, each for GOLDBOOK_FUZZ_SECONDS (60), and stops at the first failure.
# What was found to be new is in target/fuzz/finds; with GOLDBOOK_FUZZ_KEEP=1 what covers more of the code is kept in
# fuzz/corpus.
set -euo pipefail

cd "$(dirname "$0")/.."
seconds=${GOLDBOOK_FUZZ_SECONDS:-60}
read -ra targets <<<"${*:-$(cargo fuzz list | tr '\n' ' ')}"

# The compiler's stable release has all that is needed, but for the flags themselves. No sanitizer, since those need a
# standard library of their own, and no code here is unsafe. Many units at a time: the build is quick, the runs are not slow.
export RUSTC_BOOTSTRAP=1
export SQLX_OFFLINE=true
common=(--sanitizer none --target-dir target/fuzz --codegen-units 16)
cargo fuzz build "${common[@]}"

# How long one input may take, in seconds, and what the process may hold, in MiB. What an input may have is far above what
# the targets tell apart, and below what would make them slow.
limits=(-timeout=5 -rss_limit_mb=1024 -max_len=16384 -verbosity=1 -print_final_stats=1)
for target in "${targets[@]}"; do
    finds=target/fuzz/finds/$target
    mkdir -p "$finds"
    printf '\n==> %s, %s s\n' "$target" "$seconds"
    cargo fuzz run "${common[@]}" "$target" "$finds" "fuzz/corpus/$target" -- "${limits[@]}" -max_total_time="$seconds" || {
        printf '\nthe input is kept below fuzz/artifacts/%s; repeat it with:\n' "$target" >&2
        printf '  RUSTC_BOOTSTRAP=1 cargo fuzz run %s %s fuzz/artifacts/%s/…\n' "${common[*]}" "$target" "$target" >&2
        exit 1
    }
    if [[ -n ${GOLDBOOK_FUZZ_KEEP:-} ]]; then
        cargo fuzz run "${common[@]}" "$target" "fuzz/corpus/$target" "$finds" -- "${limits[@]}" -set_cover_merge=1
    fi
done
