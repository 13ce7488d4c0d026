#!/usr/bin/env bash
# Tries what docs/operations.md says about backups, failover and connection poolers, with a Postgres, a standby and a
# PgBouncer of its own and under the load of a stock client: a restore to an instant, after which callers replay their keys;
# a failover to a standby; and what PgBouncer lets through. Installs what it needs with pip and apt-get.
#   scripts/check-restore.sh [restore] [failover] [pooler]
set -euo pipefail

cd "$(dirname "$0")/.."

as_root() {
    if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

# Debian keeps it where only root looks.
PATH="$PATH:/usr/sbin"
if ! command -v pgbouncer >/dev/null; then
    if ! command -v apt-get >/dev/null; then
        echo "install PgBouncer with this system's package manager" >&2
        exit 1
    fi
    as_root apt-get -o DPkg::Lock::Timeout=300 update </dev/null
    # Its package would start one for everybody, and only its program is wanted.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends pgbouncer </dev/null
fi
scripts/install-python-client.sh
client=target/python-client
bin_dir=$(scripts/install-postgres.sh)

program=${GOLDBOOK_BIN:-}
if [[ -z $program ]]; then
    scripts/build-debug.sh
    program=target/debug/goldbook
fi
# Its threads call while programs are started, which concerns nobody.
export GRPC_ENABLE_FORK_SUPPORT=0
PYTHONPATH="$client/stubs" "$client/python/bin/python" scripts/check-restore/main.py "$program" "$bin_dir" "$@"
