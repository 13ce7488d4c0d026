#!/usr/bin/env bash
# Measures what customers, purchases, grants, redemptions, expiries, and uses and grants of benefits cost the database: rows,
# bytes, write-ahead log, commits, and pages read and written, for docs/sizing.md. Runs a Postgres of its own, with fsync,
# full_page_writes and Goldbook's own settings, and a stock client, Python's grpcio. Installs what it needs with pip. Takes
# some minutes.
#   scripts/measure-sizes.sh PROGRAM [--customers N] [--json FILE] [--sql STATEMENT]
# With --customers 2000 it is a try of a minute, whose figures of pages say little. --sql changes the schema beforehand, as
# its owner: to try other settings. It fails where something that it measures makes no sense.
set -euo pipefail

cd "$(dirname "$0")/.."
if [[ $# -eq 0 ]]; then
    echo 'usage: scripts/measure-sizes.sh PROGRAM [--customers N] [--json FILE] [--sql STATEMENT]' >&2
    exit 2
fi

scripts/install-python-client.sh
client=target/python-client
bin_dir=$(scripts/install-postgres.sh)
program=$1
shift
# Programs are started while calls are open, which concerns nobody.
export GRPC_ENABLE_FORK_SUPPORT=0
PYTHONPATH="$client/stubs:scripts/check-restore" \
    "$client/python/bin/python" scripts/measure-sizes/main.py "$program" "$bin_dir" "$@"
