#!/usr/bin/env bash
# Tries scripts/check-rules.py on a copy of what it checks, in which much is broken: each fault must be told.
# scripts/check-rules.sh runs it with a migrated database.
# shellcheck disable=SC2016 # dollars and backquotes are those of pages and dashboards
set -euo pipefail

cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
tar -c -f - charts/goldbook/rules charts/goldbook/dashboards docs/runbooks proto scripts | tar -x -C "$copy"
python=$PWD/target/tools/python/bin/python
faults=$copy/faults

# Changes a file of the copy, and fails where that changes nothing.
change() {
    cp "$copy/$1" "$copy/before"
    sed -i -e "$2" "$copy/$1"
    if cmp -s "$copy/$1" "$copy/before"; then
        echo "nothing in $1 is changed by $2" >&2
        exit 1
    fi
}
# The check fails, and tells each of these faults.
must_tell() {
    local fault
    if "$python" -B "$copy/scripts/check-rules.py" --metrics "$copy/metrics.md" >"$faults" 2>&1; then
        echo 'what is broken passes' >&2
        exit 1
    fi
    for fault in "$@"; do
        if ! grep -qF -- "$fault" "$faults"; then
            echo "this is not told: $fault" >&2
            cat "$faults" >&2
            exit 1
        fi
    done
}

printf '| `%s` |\n' goldbook.rpc.active goldbook.nowhere >"$copy/metrics.md"
change charts/goldbook/rules/tests/background.yaml 's/alertname: GoldbookDuesLate/alertname: GoldbookDuesLost/'
change charts/goldbook/rules/goldbook.yaml '/alert: GoldbookRestarts/,/annotations/s/severity: ticket/severity: whim/'
change docs/runbooks/dues.md 's/FROM stuck_dues/FROM lost_dues/'
change docs/runbooks/limits.md 's/`GoldbookLimitsHit`/`GoldbookLimitsMissed`/'
change proto/goldbook/v1/rewards.proto 's/rpc VestReward/rpc RipenReward/'
change charts/goldbook/dashboards/overview.json '0,/"id": 3/s//"id": 2/; 0,/"unit": "percentunit"/s//"unit": ""/'
change charts/goldbook/dashboards/book.json '0,/"x": 8/s//"x": 7/; 0,/"description": "Commands/s//"descriptio": "Commands/'
change charts/goldbook/dashboards/runtime.json 's/\(process_memory_usage_bytes{\)namespace=~\\"$namespace\\", /\1/'
rm "$copy/docs/runbooks/spans.md"
touch "$copy/docs/runbooks/unused.md"
must_tell \
    'GoldbookDuesLate: no test has it fire' \
    'GoldbookDuesLate: no test has it silent' \
    'GoldbookDuesLost: it is tested, and there is no such alert' \
    'GoldbookRestarts: its severity is neither page nor ticket' \
    'GoldbookLimitsHit: docs/runbooks/limits.md does not name it' \
    'limits.md: there is no alert GoldbookLimitsMissed' \
    'GoldbookSpansDropped: there is no page docs/runbooks/spans.md' \
    'unused.md: no alert links it' \
    'unused.md: docs/runbooks/README.md does not link it' \
    'relation "lost_dues" does not exist' \
    'RewardService/RipenReward: it is of the kinds [], and must be of 1' \
    'its id 2 is another' \
    'it has no unit' \
    'it has no description' \
    'it lies over' \
    'process_memory_usage_bytes is not chosen by $namespace and $job' \
    'goldbook.nowhere: no panel and no rule shows it' \
    'process_uptime_seconds: it is asked for, and metrics.md does not list it'

change charts/goldbook/dashboards/overview.json 's/"expr": "sum by (instance) (/&(/'
must_tell 'unclosed left parenthesis'
echo 'each fault of rules, runbooks and dashboards is told'
