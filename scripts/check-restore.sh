#!/usr/bin/env bash
# Tries what docs/operations.md says about backups and failover, with a Postgres and a standby of its own and under the load of
# a stock client: a restore to an instant, after which callers replay their keys; and a failover to a standby. Installs what
# it needs with pip and apt-get.
#   scripts/check-restore.sh [restore] [failover]
set -euo pipefail

cd "$(dirname "$0")/.."

scripts/install-python-client.sh
client=target/python-client
bin_dir=$(scripts/install-postgres.sh)

program=${GOLDBOOK_BIN:-}
if [[ -z $program ]]; then
    cargo build --locked
    program=target/debug/goldbook
fi
# Its threads call while programs are started, which concerns nobody.
export GRPC_ENABLE_FORK_SUPPORT=0
PYTHONPATH="$client/stubs" "$client/python/bin/python" scripts/check-restore/main.py "$program" "$bin_dir" "$@"
