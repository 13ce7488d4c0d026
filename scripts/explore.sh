#!/usr/bin/env bash
# Runs every property with new seeds, again and again for GOLDBOOK_EXPLORE_SECONDS (600), and stops at the first failure.
set -euo pipefail

cd "$(dirname "$0")/.."
seconds=${GOLDBOOK_EXPLORE_SECONDS:-600}
cargo test --locked --no-run --workspace --lib --test api --test purchase_models
SECONDS=0

# The unit tests run with the same seeds: properties of rules stand among them.
rounds=0
while [[ $SECONDS -lt $seconds || $rounds -eq 0 ]]; do
    rounds=$((rounds + 1))
    PROPTEST_RNG_SEED=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
    export PROPTEST_RNG_SEED
    printf '\n==> round %s, %s of %s s\n' "$rounds" "$SECONDS" "$seconds"
    for tests in '--workspace --lib' '--test api random_' '--package purchase-models --test purchase_models random_'; do
        # shellcheck disable=SC2086 # each word is an argument
        cargo test --locked --quiet $tests || {
            printf '\nrepeat the whole round with:\n  PROPTEST_RNG_SEED=%s cargo test --locked %s\n' \
                "$PROPTEST_RNG_SEED" "$tests" >&2
            exit 1
        }
    done
done
printf '\n%s rounds, no failure\n' "$rounds"
