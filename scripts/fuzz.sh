#!/usr/bin/env bash
# Runs every target of fuzz/, or those that are named, each for GOLDBOOK_FUZZ_SECONDS (60), and stops at the first failure.
# What was found to be new is in target/fuzz/finds. With GOLDBOOK_FUZZ_KEEP=1 what reaches code that no input of the corpus
# reaches is added to fuzz/corpus, as few inputs as it takes.
set -euo pipefail

cd "$(dirname "$0")/.."
seconds=${GOLDBOOK_FUZZ_SECONDS:-60}
read -ra targets <<<"${*:-$(cargo fuzz list | tr '\n' ' ')}"

# The stable compiler has all that is needed; some of the flags are locked there. No sanitizer, since those need a standard
# library that is built for them, and no code here is unsafe. Several units at a time make the build quick.
unset CARGO_TARGET_DIR
export RUSTC_BOOTSTRAP=1
export SQLX_OFFLINE=true
options=(--sanitizer none --target-dir target/fuzz --codegen-units 16)
cargo fuzz build "${options[@]}"

# How long one input may take, in seconds, what the process may hold, in MiB, and how long an input may be.
limits=(-timeout=5 -rss_limit_mb=1024 -max_len=16384)
for target in "${targets[@]}"; do
    corpus=fuzz/corpus/$target
    finds=target/fuzz/finds/$target
    log=target/fuzz/$target.log
    mkdir -p "$finds"
    printf '\n==> %s, %s s\n' "$target" "$seconds"
    # The first folder is where finds are kept; the corpus is only read.
    if cargo fuzz run "${options[@]}" "$target" "$finds" "$corpus" -- "${limits[@]}" -max_total_time="$seconds" &>"$log"; then
        # How many places of the code were reached (cov) by the corpus, and at the end.
        grep -aE '^#[0-9]+\s+(INITED|DONE)' "$log"
    else
        tail -n 40 "$log" >&2
        printf '\nthe input is kept below fuzz/artifacts/%s; repeat it with\n' "$target" >&2
        printf '  RUSTC_BOOTSTRAP=1 cargo fuzz run %s %s FILE\n' "${options[*]}" "$target" >&2
        exit 1
    fi
    if [[ -n ${GOLDBOOK_FUZZ_KEEP:-} ]]; then
        cargo fuzz run "${options[@]}" "$target" "$corpus" "$finds" -- "${limits[@]}" \
            -set_cover_merge=1 -use_counters=0 &>"$log"
        grep -aoE '[0-9]+ new files .*' "$log" || true
    fi
done
