#!/usr/bin/env bash
# Checks the rules of Prometheus with promtool and runs their tests, and checks that alerts, runbooks and dashboards fit
# each other. Installs what it needs.
set -euo pipefail

cd "$(dirname "$0")/.."
scripts/install-tools.sh prometheus yaml
postgres_bin=$(scripts/install-postgres.sh)
rules=charts/goldbook/rules

promtool check rules --lint=all --lint-fatal "$rules/goldbook.yaml"
# Without the files that it names, which are mounted in its container.
promtool check config --syntax-only examples/compose/prometheus.yaml

# One file of tests says no more than that it succeeded, and each takes some seconds: at the same time, then.
outputs=$(mktemp -d)
trap 'rm -rf "$outputs"' EXIT
tests=()
for test in "$rules"/tests/*.yaml; do
    promtool test rules "$test" >"$outputs/${test##*/}" 2>&1 &
    tests+=("$!")
done
failed=''
for test in "${tests[@]}"; do wait "$test" || failed=yes; done
cat "$outputs"/*.yaml
if [[ -n $failed ]]; then
    echo 'the rules do not do what their tests say' >&2
    exit 1
fi

python3 -B scripts/check-series.py --self-test
PATH="$postgres_bin:$PATH" scripts/with-database.sh \
    target/tools/python/bin/python -B scripts/check-rules.py --metrics docs/metrics.md
PATH="$postgres_bin:$PATH" scripts/with-database.sh scripts/try-rules.sh
