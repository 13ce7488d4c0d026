#!/usr/bin/env bash
# Tries migrations on a large database under load: those that the last release does not have, and one of each kind that
# docs/upgrades.md permits (scripts/migration-samples, which the linter's own trial reads, too). The last release fills a
# database and serves a stock client, Python's grpcio, while this version migrates. No call may fail or wait for long, and
# an audit must find nothing; migrations that the linter refuses must be noticed.
#   scripts/try-migrations.sh                  5,000,000 entries: some minutes, and some gigabytes below /tmp
#   ENTRIES=10000 scripts/try-migrations.sh    so many
#   OLD=program NEW=program scripts/try-migrations.sh    these programs as the last release and as this version
# From a million entries on it builds releases. Installs what it needs with pip.
set -euo pipefail

cd "$(dirname "$0")/.."
export ENTRIES=${ENTRIES:-5000000}

scripts/install-python-client.sh
client=target/python-client
bin_dir=$(scripts/install-postgres.sh)

profile=dev
if [[ $ENTRIES -ge 1000000 ]]; then profile=release; fi
new=${NEW:-}
if [[ -z $new ]]; then
    if [[ $profile == dev ]]; then scripts/build-debug.sh; else cargo build --locked --release; fi
    new=target/${profile/#dev/debug}/goldbook
fi
# It waits for Postgres, so it need not be quick.
cargo build --locked --example migrate_one
old=${OLD:-$(scripts/build-last-release.sh "$profile")}
if [[ -z $old ]]; then
    echo 'the new version stands in for the last release'
    old=$new
fi

# Its threads call while programs are started, which concerns nobody.
export GRPC_ENABLE_FORK_SUPPORT=0
export PYTHONDONTWRITEBYTECODE=1
PYTHONPATH="$client/stubs:scripts/check-restore" "$client/python/bin/python" scripts/try-migrations/main.py \
    "$old" "$new" target/debug/examples/migrate_one "$bin_dir"
